"""Where other domains take part in what happens to content.

Quotas, immutable tags, retention, audit, webhooks, replication and scanning hook in here, so that the
registry need not know them. Hooks run in the order of registration. Those that get a Connection run
inside the transaction of the change: what they write commits with it or not at all, and a RegistryError
they raise undoes it. The transaction may be run again (see `seawall.db`), so they touch nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from seawall.infra.db.batch import Asked
from seawall.kernel.context import Actor

if TYPE_CHECKING:
    from seawall.registry.manifest import Manifest
    from seawall.registry.model import Repository, StoredManifest


@dataclass(frozen=True, slots=True)
class Push:
    """A manifest push: what the client sent, and the tags it is to have."""

    repository: Repository
    digest: str
    manifest: Manifest
    size: int
    tags: tuple[str, ...]
    actor: Actor
    at: float
    # When the repository was made (Unix seconds).
    repository_created: float = 0.0
    # The tags of the push that are there already, here or at a peer, and the digests that they stand for.
    taken: Mapping[str, str] = field(default_factory=dict)
    # What the queries of `ContentHook.looks` have found: their rows by name.
    seen: Mapping[str, list[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Deletion:
    """Deletion of a manifest (`tag` None, `tags` those it had) or of one tag only."""

    repository: Repository
    manifest_id: int
    digest: str
    media_type: str
    tag: str | None
    tags: tuple[str, ...]
    actor: Actor
    at: float
    # False for what goes along with another deletion: accessories, children of an index.
    root: bool = True


@dataclass(frozen=True, slots=True)
class BlobPush:
    """A blob being linked to a repository, by upload or mount: digest and size in bytes."""

    repository: Repository
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Tagging:
    """A tag given to an artifact that is there already (not by a push)."""

    repository: Repository
    manifest_id: int
    digest: str
    tag: str
    actor: Actor
    at: float


@dataclass(frozen=True, slots=True)
class QuotaNotice:
    """A project's storage reached 85 % of its quota, or (`exceeded`) a change was refused. Bytes."""

    project_id: int
    used: int
    hard: int
    exceeded: bool
    actor: Actor
    message: str


class ContentHook:
    """Base of hooks: override what is of interest. Every method may raise RegistryError to refuse.

    `replicas`: hear also of content that comes from a peer, which took it from a client before. `blind`:
    `after_push` does not look at the manifest's rows, so these may be written with what it writes itself
    (see `seawall.infra.db.batch.later`), and the push waits for the database less often. `policies`: names of
    project settings (letters and underscores). With some, `before_pull` is not called for a manifest of a
    project in which no hook's are "true"; the look-up that finds the manifest sees that too.
    """

    replicas = False
    blind = False
    policies: tuple[str, ...] = ()

    def looks(self, push: Push) -> dict[str, Asked]:
        """Queries by name that are asked along with the registry's own, before a manifest is stored.

        Their rows are in the `seen` of the Push that the other methods get; `push` has only what the client
        sent. Names are those of all hooks together.
        """
        raise NotImplementedError

    def before_blob(self, connection: Connection, blob: BlobPush) -> None:
        """A blob is about to be linked to a repository (also when it is linked already)."""

    def before_push(self, connection: Connection, push: Push) -> None:
        """A manifest is about to be stored; nothing of it is written yet."""

    def after_push(self, connection: Connection, push: Push, manifest_id: int) -> None:
        """The manifest's rows and tags are written, not committed."""

    def after_tag(self, connection: Connection, tagging: Tagging) -> None:
        """A tag was added through the API; its row is written, not committed."""

    def before_delete(self, connection: Connection, deletion: Deletion) -> None:
        """A manifest or tag is about to be deleted."""

    def after_delete(self, connection: Connection, deletion: Deletion) -> None:
        """Its rows are gone, not committed."""

    def before_delete_repository(self, connection: Connection, repository: Repository) -> None:
        """A repository is about to be deleted with all that is in it, in pieces after this."""

    def quota(self, connection: Connection, notice: QuotaNotice) -> None:
        """Quota warning (in the transaction of the push) or refusal (in one of its own)."""

    async def before_pull(self, repository: str, manifest: StoredManifest, reference: str) -> None:
        """A manifest is about to be sent (GET only, not HEAD). Must be cheap: every pull waits for it."""

    def committed(self) -> None:
        """A change has been committed, on the event loop: for nudging background work."""


@dataclass(slots=True)
class Hooks:
    """The registered hooks."""

    items: list[ContentHook] = field(default_factory=list)
    # Those of all hooks.
    policies: tuple[str, ...] = ()
    _of: dict[tuple[str, bool], list[Any]] = field(default_factory=dict)

    def add(self, hook: ContentHook) -> None:
        """Register; overridden methods only are called, so an absent hook costs nothing."""
        self.items.append(hook)
        self._of.clear()
        self.policies = tuple(sorted({*self.policies, *hook.policies}))

    def of(self, name: str, *, replica: bool = False) -> list[Any]:
        """Bound methods `name` of the hooks that override it (`replica`: that want to learn of replicas)."""
        found = self._of.get((name, replica))
        if found is None:
            found = self._of[(name, replica)] = [
                getattr(hook, name)
                for hook in self.items
                if getattr(type(hook), name) is not getattr(ContentHook, name)
                and (hook.replicas or not replica)
            ]
        return found
