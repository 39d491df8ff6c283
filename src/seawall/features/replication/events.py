"""How changes of content set off event-based policies, and what is refused because it came from here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Connection

from seawall.features.replication.model import ReplicationPolicy
from seawall.features.replication.origin import SETTLED, came_from, cluster_id, registry_mark
from seawall.features.replication.policies import anyone_listens, event_based, policy_of_values
from seawall.features.replication.service import Replication
from seawall.infra.db.batch import Asked
from seawall.infra.outbox.events import Handler, Subscribers
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.secrets.material import TOKEN
from seawall.kernel.context import Actor
from seawall.kernel.errors import RegistryError
from seawall.registry.belongings import cosign_subject, names_of
from seawall.registry.hooks import ContentHook, Deletion, Push
from seawall.registry.tags import pushed_later, set_pushed_at

PUSHED = "REPLICATION_PUSH"
DELETED = "REPLICATION_DELETE"
_LOOK = "replication.listening"
_LISTENING = event_based()


class ReplicationHook(ContentHook):
    """Records pushes and deletions for event-based policies, in their own transactions."""

    blind = True

    def __init__(self, events: Subscribers, nudge: Callable[[], None], own: Callable[[], str]) -> None:
        self._events = events
        self._nudge = nudge
        self._own = own

    def looks(self, push: Push) -> dict[str, Asked]:
        """See ContentHook.looks."""
        return {_LOOK: (_LISTENING, {})} if push.tags or push.manifest.subject else {}

    def before_push(self, connection: Connection, push: Push) -> None:
        """Refuse what came from here, and what is older than a push that goes the other way."""
        self._not_ours(push.actor)
        if push.actor.pushed_at is None or not push.tags:
            return
        listening = (policy_of_values(row) for row in push.seen[_LOOK])
        if not any(item.wants_repository(push.repository.name) for item in listening):
            # Nothing goes the other way: the sender's word is the last.
            return
        later = pushed_later(connection, push.repository.id, push.tags, push.actor.pushed_at, push.digest)
        if later is not None:
            raise RegistryError("DENIED", f"tag {later} was pushed here later", status=412, detail=SETTLED)

    def before_delete(self, connection: Connection, deletion: Deletion) -> None:
        """Refuse what came from here."""
        self._not_ours(deletion.actor)

    def _not_ours(self, who: Actor) -> None:
        if who.passed and came_from(who, self._own()):
            raise RegistryError("DENIED", "the change came from here", status=412, detail=SETTLED)

    def after_push(self, connection: Connection, push: Push, manifest_id: int) -> None:
        """See ContentHook.after_push."""
        if push.actor.pushed_at is not None and push.tags:
            # A tag keeps the time of its first push on its way.
            set_pushed_at(connection, push.repository.id, push.tags, push.actor.pushed_at)
        # Children of an index go with it; signatures and the like have a subject to go to.
        if push.seen.get(_LOOK):
            data = {
                "repository": push.repository.name,
                "references": list(push.tags) or [push.digest],
                "names": _owner_names(connection, push.repository.id, push.tags, push.manifest.subject),
                "path": list(push.actor.passed),
            }
            self._events.record(connection, PUSHED, data)

    def after_delete(self, connection: Connection, deletion: Deletion) -> None:
        """See ContentHook.after_delete."""
        if anyone_listens(connection):
            gone = [deletion.tag] if deletion.tag else list(deletion.tags)
            data = {
                "repository": deletion.repository.name,
                "references": [deletion.tag or deletion.digest],
                "tags": gone,
                "names": _owner_names(connection, deletion.repository.id, gone, None),
                "path": list(deletion.actor.passed),
            }
            self._events.record(connection, DELETED, data)

    def committed(self) -> None:
        """See ContentHook.committed."""
        self._nudge()


def _owner_names(
    connection: Connection, repository_id: int, tags: Iterable[str], subject: str | None
) -> list[str]:
    """The tags of what a manifest with these tags and this subject belongs to, see `belongings.names_of`."""
    owners = [found[0] for tag in tags if (found := cosign_subject(tag)) is not None]
    if subject is not None:
        owners.append(subject)
    return sorted(names_of(connection, repository_id, owners)) if owners else []


def wanted(policy: ReplicationPolicy, kind: str, data: dict[str, Any]) -> list[str]:
    """The references of an event that a policy's tag filters let through.

    What belongs to an artifact is wanted where the artifact is (`names` are its tags), whatever its own tag
    is called. What is pushed before its artifact comes with it later; what is deleted after it goes too.
    """
    names = data.get("names", [])
    with_owner = not policy.filters_tags or any(policy.wants_tag(name) for name in names)

    def passes(reference: str) -> bool:
        if ":" in reference or cosign_subject(reference) is not None:
            return with_owner
        return policy.wants_tag(reference) or (bool(names) and with_owner)

    if kind == PUSHED:
        return [item for item in data["references"] if passes(item)]
    gone = data["tags"]
    if not gone or any(passes(tag) or (cosign_subject(tag) is not None and not names) for tag in gone):
        return list(data["references"])
    return []


def own_id(keys: KeyRing, external_url: str | None) -> str:
    """How this cluster calls itself in paths (`replication.origin`)."""
    return cluster_id(keys.versions(TOKEN)[0].fingerprint, external_url or "")


def handler(replication: Replication) -> Handler:
    """The outbox subscriber that starts executions."""

    async def handle(kind: str, data: dict[str, Any]) -> None:
        for policy in await replication.policies.all():
            if not policy.enabled or policy.trigger != "event_based":
                continue
            if not policy.wants_repository(data["repository"]):
                continue
            path = data.get("path", [])
            if policy.dest_registry_id is not None and registry_mark(policy.dest_registry_id) in path:
                continue
            if kind == DELETED and not policy.replicate_deletion:
                continue
            references = wanted(policy, kind, data)
            if references:
                resource = {
                    "operation": "copy" if kind == PUSHED else "deletion",
                    "repository": data["repository"],
                    "references": references,
                    "path": path,
                    "event": True,
                }
                await replication.executions.start(policy.id, "event_based", [resource])

    return handle
