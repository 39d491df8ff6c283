"""Writing the content that peers announced into the database: manifests, tags, and their deletion."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, delete, or_, select, update

from seawall.availability.peers import schema as t
from seawall.availability.peers.documents import Kind, Names
from seawall.availability.peers.model import Context, Document, MissingError
from seawall.availability.peers.rows import put_row
from seawall.kernel.context import REPLICATOR
from seawall.registry import accounting, index, repositories
from seawall.registry import manifest as manifests_
from seawall.registry.belongings import names_subject
from seawall.registry.local import LocalRegistry
from seawall.registry.model import Repository


class ContentWriter:
    """Applies what peers sent about repositories, manifests and tags."""

    def __init__(self, context: Context, content: LocalRegistry) -> None:
        self._context = context
        self._content = content

    def drop(self, connection: Connection, kind: Kind, key: list[Any], row: Any) -> None:
        """Delete an entity of whatever kind, with what is in it."""
        if kind.name in ("manifest", "tag"):
            repository = _repository(connection, key[0])
            if repository is not None:
                self._content.deletions.delete_in(connection, repository, key[1], REPLICATOR, replica=True)
            return
        if kind.name == "repository":
            repository = _repository(connection, key[0])
            assert repository is not None
            repositories.lock(connection, [repository.id], leaving=True)
            digests = select(t.manifests.c.digest).where(t.manifests.c.repository_id == repository.id)
            for digest in connection.execute(digests.order_by(t.manifests.c.id.desc())).scalars().all():
                self._content.deletions.delete_in(connection, repository, digest, REPLICATOR, replica=True)
            linked = connection.execute(
                delete(t.repository_blobs)
                .where(t.repository_blobs.c.repository_id == repository.id)
                .returning(t.repository_blobs.c.digest)
            ).scalars()
            accounting.release(connection, repository.project_id, linked.all())
        kind.drop(connection, self._context, row)

    def announce(self, connection: Connection, repository: str, document: Document) -> None:
        """Something is to come into a repository: from now on it exists, as it does where that was pushed.

        So nobody takes its project for empty and deletes it.
        """
        mine = t.repositories.c
        connection.execute(
            update(t.repositories)
            .where(mine.name == repository, mine.pushed_at.is_(None))
            .values(pushed_at=document["pushed_at"])
        )

    def put_manifest(
        self, connection: Connection, kind: Kind, key: list[Any], document: Document, names: Names
    ) -> None:
        """Give a manifest that is here what the document says. Raises MissingError."""
        row = kind.find(connection, key, names)
        if row is None:
            raise MissingError("its content is not here yet")
        connection.execute(
            update(t.manifests)
            .where(t.manifests.c.id == row.id)
            .values(pushed_at=document["pushed_at"], media_type=document["media_type"])
        )

    def put_tag(self, connection: Connection, key: list[Any], document: Document) -> None:
        """Put a tag on a manifest that is here. Raises MissingError."""
        repository = _repository(connection, key[0])
        if repository is None:
            raise MissingError("its content is not here yet")
        manifests = t.manifests.c
        found = connection.execute(
            select(manifests.id, manifests.accessory_of).where(
                manifests.repository_id == repository.id, manifests.digest == document["digest"]
            )
        ).first()
        if found is None:
            raise MissingError("its content is not here yet")
        repositories.lock(connection, [repository.id])
        affected = {found.id, *index.holders(connection, repository.id, [key[1]])}
        put_row(
            connection,
            t.tags,
            {"repository_id": repository.id, "name": key[1]},
            {"manifest_id": found.id, "pushed_at": document["pushed_at"]},
        )
        if found.accessory_of is None and names_subject(key[1]):
            payload = connection.execute(
                select(t.manifest_payloads.c.payload).where(t.manifest_payloads.c.manifest_id == found.id)
            ).scalar_one()
            attached = index.accessory(manifests_.parse(bytes(payload), None), document["digest"], [key[1]])
            if attached is not None:
                connection.execute(
                    update(t.manifests)
                    .where(manifests.id == found.id)
                    .values(accessory_type=attached[0], accessory_of=attached[1])
                )
        index.relist(connection, repository.id, affected)
        mine = t.repositories.c
        connection.execute(
            update(t.repositories)
            .where(
                mine.id == repository.id,
                or_(mine.pushed_at.is_(None), mine.pushed_at < document["pushed_at"]),
            )
            .values(pushed_at=document["pushed_at"])
        )


def _repository(connection: Connection, name: str) -> Repository | None:
    row = connection.execute(
        select(t.repositories.c.id, t.repositories.c.name, t.repositories.c.project_id, t.projects.c.public)
        .join(t.projects, t.projects.c.id == t.repositories.c.project_id)
        .where(t.repositories.c.name == name)
    ).first()
    return Repository(*row) if row else None
