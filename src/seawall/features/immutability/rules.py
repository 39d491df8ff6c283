"""Immutable tags: rules of a project by which existing tags can be neither moved nor deleted.

A rule names tags and repositories by globs. It protects a tag once that exists: the first push is free, a
later push of other content under the tag is refused, and so are deletions of the tag and of its manifest.
Pushing the very manifest that the tag has changes nothing and is let through (Harbor refuses it), so that a
client may repeat a push whose answer it did not get.

cosign adds a signature by pushing to the same tag (`sha256-<hex>.sig`) a manifest that has the old layers and
the new one. That changes nothing of what is protected and is let through too. So is a list of referrers
(`sha256-<hex>`) that grows.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    BindParameter,
    Connection,
    Select,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from seawall.features.immutability.tables import immutable_rules
from seawall.infra.db.batch import Asked
from seawall.infra.db.listing import Field, Fields, Page
from seawall.kernel import selectors
from seawall.kernel.errors import ConflictError, InvalidError, NotFoundError, RegistryError
from seawall.registry import virtual
from seawall.registry.belongings import names_subject
from seawall.registry.hooks import ContentHook, Deletion, Push
from seawall.registry.lookups import find_manifest, payload_of
from seawall.registry.model import Repository
from seawall.registry.tags import tags_of_repository

RULE_LIMIT = 100
_LOOK = "immutability.rules"


@dataclass(frozen=True, slots=True)
class ImmutabilityRule:
    """One rule; `rule` has `tag_selectors`, `scope_selectors` and `params`."""

    id: int
    project_id: int
    disabled: bool
    priority: int
    rule: dict[str, Any]

    def protects(self, repository: str, tag: str) -> bool:
        """Whether the rule covers the tag (`repository` without its project)."""
        if self.disabled:
            return False
        repositories = self.rule["scope_selectors"].get("repository", [])
        return selectors.together(
            [(item["decoration"], selectors.selects_repository(item, repository)) for item in repositories]
        ) and selectors.together(
            [(item["decoration"], selectors.selects_tag(item, tag)) for item in self.rule["tag_selectors"]]
        )


def rules_query(project_id: int | BindParameter[int]) -> Select[Any]:
    """A query of the project's rules; its rows make `Rule(*row)`."""
    return select(
        immutable_rules.c.id,
        immutable_rules.c.project_id,
        immutable_rules.c.disabled,
        immutable_rules.c.priority,
        immutable_rules.c.rule,
    ).where(immutable_rules.c.project_id == project_id)


_RULES = rules_query(bindparam("b_project", type_=BigInteger)).order_by(immutable_rules.c.id)


def rules(connection: Connection, project_id: int) -> list[ImmutabilityRule]:
    """The project's rules, oldest first."""
    query = rules_query(project_id).order_by(immutable_rules.c.id)
    return [ImmutabilityRule(*row) for row in connection.execute(query)]


def immutable(found: list[ImmutabilityRule], repository: str, tag: str) -> bool:
    """Whether any rule covers the tag (`repository` with its project)."""
    short = repository.partition("/")[2]
    return any(rule.protects(short, tag) for rule in found)


def checked(raw: dict[str, Any]) -> dict[str, Any]:
    """The rule document to store. Raises InvalidError."""
    tag = raw.get("tag_selectors") or []
    scope = raw.get("scope_selectors") or {}
    if not tag:
        raise InvalidError("an immutable tag rule needs a tag selector")
    if not scope.get("repository"):
        raise InvalidError("an immutable tag rule needs a repository selector")
    if len(tag) > 10 or len(scope["repository"]) > 10:
        raise InvalidError("a rule has at most 10 selectors of a kind")
    return {
        "tag_selectors": [selectors.checked(item, selectors.TAG_DECORATIONS) for item in tag],
        "scope_selectors": {
            "repository": [
                selectors.checked(item, selectors.REPOSITORY_DECORATIONS) for item in scope["repository"]
            ]
        },
        "params": raw.get("params") or {},
    }


def create(connection: Connection, project_id: int, raw: dict[str, Any]) -> int:
    """Add a rule; returns its id.

    Raises InvalidError, ConflictError (the project has the same rule), PreconditionError (a virtual project).
    """
    virtual.refuse(connection, project_id, "immutable tag rules")
    wanted = checked(raw)
    if any(item.rule == wanted for item in rules(connection, project_id)):
        raise ConflictError("immutable rule already exists")
    count = connection.execute(
        select(func.count()).where(immutable_rules.c.project_id == project_id)
    ).scalar_one()
    if count >= RULE_LIMIT:
        raise InvalidError(f"a project has at most {RULE_LIMIT} immutable tag rules")
    now = time.time()
    values = {
        "project_id": project_id,
        "disabled": bool(raw.get("disabled")),
        "priority": int(raw.get("priority") or 0),
        "rule": wanted,
        "created_at": now,
        "updated_at": now,
    }
    return int(
        connection.execute(
            insert(immutable_rules).values(**values).returning(immutable_rules.c.id)
        ).scalar_one()
    )


def change(connection: Connection, project_id: int, rule_id: int, raw: dict[str, Any]) -> None:
    """Replace a rule; without selectors only whether it is disabled. Raises NotFoundError, InvalidError."""
    values: dict[str, Any] = {"updated_at": time.time(), "disabled": bool(raw.get("disabled"))}
    if raw.get("tag_selectors"):
        values |= {"rule": checked(raw), "priority": int(raw.get("priority") or 0)}
    if not connection.execute(
        update(immutable_rules)
        .where(immutable_rules.c.project_id == project_id, immutable_rules.c.id == rule_id)
        .values(**values)
    ).rowcount:
        raise NotFoundError(f"immutable tag rule {rule_id} not found")


def remove(connection: Connection, project_id: int, rule_id: int) -> None:
    """Delete a rule. Raises NotFoundError."""
    if not connection.execute(
        delete(immutable_rules).where(
            immutable_rules.c.project_id == project_id, immutable_rules.c.id == rule_id
        )
    ).rowcount:
        raise NotFoundError(f"immutable tag rule {rule_id} not found")


class ImmutableTags(ContentHook):
    """Refuses what the rules forbid, at the registry API and everywhere else."""

    def looks(self, push: Push) -> dict[str, Asked]:
        """See ContentHook.looks."""
        return {_LOOK: (_RULES, {"b_project": push.repository.project_id})} if push.tags else {}

    def before_push(self, connection: Connection, push: Push) -> None:
        """See ContentHook.before_push."""
        found = [ImmutabilityRule(*row) for row in push.seen.get(_LOOK, ())]
        if not found:
            return
        protected = [tag for tag in push.tags if immutable(found, push.repository.name, tag)]
        for tag in protected:
            other = push.taken.get(tag, push.digest) != push.digest
            if other and not _adds_to(connection, push, tag):
                raise refusal(push.repository.name, tag, "updated")

    def before_delete(self, connection: Connection, deletion: Deletion) -> None:
        """See ContentHook.before_delete."""
        names = (deletion.tag,) if deletion.tag is not None else deletion.tags
        if not names:
            return
        found = rules(connection, deletion.repository.project_id)
        for tag in names:
            if immutable(found, deletion.repository.name, tag):
                raise refusal(deletion.repository.name, tag)

    def before_delete_repository(self, connection: Connection, repository: Repository) -> None:
        """See ContentHook.before_delete_repository."""
        found = rules(connection, repository.project_id)
        if not found:
            return
        for tag, _ in tags_of_repository(connection, repository.id):
            if immutable(found, repository.name, tag):
                raise refusal(repository.name, tag)


def _adds_to(connection: Connection, push: Push, tag: str) -> bool:
    """Whether the tag names a subject, and the manifest pushed has all that is under the tag now.

    These are the layers, or the manifests that a list of referrers names.
    """
    if not names_subject(tag):
        return False
    found = find_manifest(connection, push.repository.name, tag)
    if found is None:
        return False
    now = msgspec.json.decode(payload_of(connection, found.id) or b"{}")
    had = {item["digest"] for item in now.get("layers") or now.get("manifests") or []}
    return bool(had) and had <= {*push.manifest.blobs, *push.manifest.manifests}


def refusal(repository: str, tag: str, change: str = "deleted") -> RegistryError:
    """The error for a protected tag: 412, in Harbor's words; `change`: deleted or updated."""
    return RegistryError(
        "DENIED", f"{repository}:{tag} is configured as immutable, cannot be {change}", status=412
    )


_FIELDS: Fields = {
    "id": Field(immutable_rules.c.id, "int"),
    "priority": Field(immutable_rules.c.priority, "int"),
    "disabled": Field(immutable_rules.c.disabled, "bool"),
}


def list_rules(connection: Connection, project_id: int, page: Page) -> tuple[int, list[ImmutabilityRule]]:
    """Rules of the project, oldest first."""
    total, rows = page.fetch(connection, rules_query(project_id), _FIELDS, immutable_rules.c.id)
    return total, [ImmutabilityRule(*row) for row in rows]
