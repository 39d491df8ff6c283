"""Whether something that a peer deleted goes here too."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, or_, select

from seawall.availability.peers import schema as t
from seawall.availability.peers.documents import Kind, Names
from seawall.availability.peers.entries import Entries
from seawall.availability.peers.kinds import CONTENT
from seawall.availability.peers.local import project_of
from seawall.availability.peers.model import MissingError, dump
from seawall.availability.peers.pending import Pending
from seawall.availability.peers.versions import Entry


class Deletions:
    """Holds deletions of peers against what is here."""

    def __init__(self, entries: Entries, pending: Pending) -> None:
        self._entries = entries
        self._pending = pending

    def needed(
        self, connection: Connection, kind: Kind, key: list[Any], row: Any, deletion: Entry, names: Names
    ) -> str:
        """Why an entity stays although a peer deleted it, "" when it goes.

        Nothing that was acknowledged later, or without knowing of the deletion, goes with it.
        """
        if deletion.cascade and kind.name not in CONTENT:
            project = project_of(kind, key)
            if project is not None and names.id(connection, "project", project) is not None:
                return "its project stays"
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
        if kind.name == "project" and self._later(
            connection, t.manifests.c.project_id == row.id, deletion.version
        ):
            return "something was pushed to it"
        if kind.name == "repository" and self._later(
            connection, t.manifests.c.repository_id == row.id, deletion.version
        ):
            return "something was pushed to it"
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
            for parent in parents.all():
                entry = self._entries.entry(connection, "manifest", dump([key[0], parent]))
                if entry is None or entry.version > deletion.version:
                    return f"index {parent} has it"
        return ""

    def _later(self, connection: Connection, where: Any, version: str) -> bool:
        """Whether manifests are here that came after `version`, or that nobody has recorded yet."""
        query = (
            select(t.repositories.c.name, t.manifests.c.digest)
            .join(t.repositories, t.repositories.c.id == t.manifests.c.repository_id)
            .where(where)
        )
        for name, digest in connection.execute(query):
            entry = self._entries.entry(connection, "manifest", dump([name, digest]))
            if entry is None or entry.deleted or entry.version > version:
                return True
        return False
