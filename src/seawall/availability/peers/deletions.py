"""Whether something that a peer deleted goes here too."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, or_, select

from seawall.availability.peers import schema as t
from seawall.availability.peers.documents import Kind, Names
from seawall.availability.peers.kinds import CONTENT
from seawall.availability.peers.local import project_of
from seawall.availability.peers.model import MissingError, dump
from seawall.availability.peers.pending import Pending
from seawall.availability.peers.versions import Entry


class Deletions:
    """Holds deletions of peers against what is here."""

    def __init__(self, pending: Pending) -> None:
        self._pending = pending

    def needed(
        self,
        connection: Connection,
        kind: Kind,
        key: list[Any],
        row: Any,
        deletion: Entry,
        names: Names,
        *,
        last: bool,
    ) -> str:
        """Why an entity stays although a peer deleted it, "" when it goes.

        Nothing that was acknowledged without knowing of the deletion goes with it. A peer deletes nothing
        that something it knows of needs. So what is here and needs it was not known there, whichever of the
        two is older by the clock; unless it was deleted too, which is not known until everything that the
        peer has was taken (`last`). Raises MissingError while it is open.
        """
        if deletion.cascade and kind.name not in CONTENT:
            project = project_of(kind, key)
            if project is not None and names.id(connection, "project", project) is not None:
                return self._unless_open(connection, "its project stays", [("project", [project])], last)
        if kind.name == "registry":
            users = select(t.projects.c.name).where(t.projects.c.registry_id == row.id)
            policies = select(t.replication_policies.c.name).where(
                or_(
                    t.replication_policies.c.src_registry_id == row.id,
                    t.replication_policies.c.dest_registry_id == row.id,
                )
            )
            using = connection.execute(users).scalar() or connection.execute(policies).scalar()
            if using:
                return f"{using} uses it"
        if kind.name in ("project", "repository"):
            where = t.manifests.c[f"{kind.name}_id"] == row.id
            query = (
                select(t.repositories.c.name, t.manifests.c.digest)
                .join(t.repositories, t.repositories.c.id == t.manifests.c.repository_id)
                .where(where)
            )
            held = [("manifest", list(found)) for found in connection.execute(query)]
            if held:
                return self._unless_open(connection, "something was pushed to it", held, last)
        if kind.name == "manifest":
            tags = connection.execute(select(t.tags.c.name).where(t.tags.c.manifest_id == row.id)).scalars()
            for tag in tags.all():
                waiting = self._pending.find(connection, "tag", dump([key[0], tag]))
                if waiting is not None and waiting.document is not None:
                    raise MissingError(f"tag {tag} has other content that is not here yet")
                # A deletion that knew of the tag has come with the tag's.
                return f"tag {tag} is on it"
            references = t.manifest_references
            parents = connection.execute(
                select(t.manifests.c.digest)
                .join(references, references.c.manifest_id == t.manifests.c.id)
                .where(
                    references.c.repository_id == row.repository_id,
                    references.c.digest == row.digest,
                    references.c.kind == "manifest",
                )
            ).scalars()
            held = [("manifest", [key[0], parent]) for parent in parents.all()]
            if held:
                return self._unless_open(connection, f"index {held[0][1][1]} has it", held, last)
        return ""

    def _unless_open(
        self, connection: Connection, reason: str, held: list[tuple[str, list[Any]]], last: bool
    ) -> str:
        """`reason`, once it is known that what is held was not deleted too. Raises MissingError before."""
        if not last:
            raise MissingError(f"{reason}, as far as is known yet")
        for kind, key in held:
            waiting = self._pending.find(connection, kind, dump(key))
            if waiting is not None and waiting.entry.deleted:
                raise MissingError(f"{reason}; it is not known yet whether that is deleted too")
        return reason
