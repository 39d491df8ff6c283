"""Changes of artifacts beyond the registry API: tags, and deletion with all that belongs to them."""

from __future__ import annotations

import time

from sqlalchemy import (
    Connection,
    delete,
    insert,
    literal,
    select,
    update,
)

from seawall.infra.db import Database
from seawall.infra.db.together import Also, nothing
from seawall.kernel.context import Actor, actor
from seawall.kernel.errors import (
    ConflictError,
    InvalidError,
    NotFoundError,
    PreconditionError,
)
from seawall.kernel.names import is_tag
from seawall.registry import accounting, index
from seawall.registry.artifacts.model import Artifact
from seawall.registry.artifacts.reading import ArtifactReader
from seawall.registry.belongings import parent
from seawall.registry.hooks import Tagging
from seawall.registry.local import LocalRegistry
from seawall.registry.model import Repository
from seawall.registry.receipts import Receipt
from seawall.registry.repositories import lock
from seawall.registry.tables import (
    manifests,
    repositories,
    repository_blobs,
    tags,
)

_DELETE_BATCH = 200


class ArtifactChanges:
    """Tags and deletes artifacts."""

    def __init__(self, db: Database, content: LocalRegistry, reader: ArtifactReader) -> None:
        self._db = db
        self._content = content
        self._reader = reader

    async def create_tag(self, name: str, reference: str, tag: str, *, also: Also = nothing) -> Artifact:
        """Give an artifact one more tag. Raises NotFoundError, InvalidError, ConflictError."""
        if not is_tag(tag):
            raise InvalidError(f"tag {tag[:128]!r} is not valid")
        repository = await self._reader.repository(name)
        item = await self._reader.get(name, reference)
        who, now = actor.get(), time.time()
        hooks = self._content.writes.hooks.of("after_tag")

        def tag_artifact(connection: Connection) -> None:
            lock(connection, [repository.id])
            row = connection.execute(
                select(manifests.c.id).where(manifests.c.id == item.id).with_for_update(read=True)
            ).first()
            if row is None:
                raise NotFoundError(f"artifact {name}@{item.digest} not found")
            if connection.execute(
                select(literal(1)).where(tags.c.repository_id == repository.id, tags.c.name == tag)
            ).first():
                raise ConflictError(f"tag {name}:{tag} exists")
            connection.execute(
                insert(tags).values(repository_id=repository.id, name=tag, manifest_id=item.id, pushed_at=now)
            )
            index.relist(connection, repository.id, [item.id])
            connection.execute(
                update(repositories).where(repositories.c.id == repository.id).values(updated_at=now)
            )
            for hook in hooks:
                hook(connection, Tagging(repository, item.id, item.digest, tag, who, now))

        await self._db.write(tag_artifact, also=also)
        self._content.writes.committed()
        receipt = Receipt(name, item.digest, item.manifest_media_type, (tag,), now)
        await self._content.writes.receipts.add(receipt)
        return item

    async def delete_tag(self, name: str, reference: str, tag: str, *, also: Also = nothing) -> None:
        """Take a tag from the artifact. Raises NotFoundError, RegistryError 412 (immutable)."""
        item = await self._reader.get(name, reference)
        repository = await self._reader.repository(name)
        who = actor.get()

        def untag_artifact(connection: Connection) -> bool:
            owner = connection.execute(
                select(tags.c.manifest_id).where(tags.c.repository_id == repository.id, tags.c.name == tag)
            ).scalar()
            return owner == item.id and self._content.deletions.delete_in(connection, repository, tag, who)

        if not await self._db.write(untag_artifact, also=also):
            raise NotFoundError(f"tag {name}:{tag} not found")
        self._content.writes.committed()

    async def delete(self, name: str, reference: str, *, also: Also = nothing) -> Artifact:
        """Delete an artifact with its accessories and children.

        Raises NotFoundError, PreconditionError while an index names it, RegistryError 412 (immutable).
        """
        item = await self._reader.get(name, reference)
        repository = await self._reader.repository(name)
        who = actor.get()

        def delete_artifact(connection: Connection) -> bool:
            lock(connection, [repository.id])
            if parent(connection, repository.id, item.digest) is not None:
                raise PreconditionError(f"artifact {item.digest} is part of another one")
            return self._content.deletions.delete_in(connection, repository, item.digest, who, deep=True)

        if not await self._db.write(delete_artifact, also=also):
            raise NotFoundError(f"artifact {name}@{item.digest} not found")
        self._content.writes.committed()
        return item

    async def delete_repository(self, name: str, *, also: Also = nothing) -> None:
        """Delete a repository with everything in it.

        Raises NotFoundError, RegistryError 412 when it has an immutable tag.
        """
        repository = await self._reader.repository(name)
        who = actor.get()

        def ask_hooks(connection: Connection) -> None:
            for hook in self._content.writes.hooks.of("before_delete_repository"):
                hook(connection, repository)

        await self._db.read(ask_hooks)
        # In pieces: one transaction over a large repository would hold up every push to the project.
        while not await self._db.write(lambda c: _delete_some(c, self._content, repository, who), also=also):
            pass
        self._content.writes.committed()


def _delete_some(connection: Connection, content: LocalRegistry, repository: Repository, who: Actor) -> bool:
    """Delete some of a repository's manifests, at last its links and row; True when all is gone."""
    lock(connection, [repository.id], leaving=True)
    digests = connection.execute(
        select(manifests.c.digest)
        .where(manifests.c.repository_id == repository.id)
        .order_by(manifests.c.id.desc())
        .limit(_DELETE_BATCH)
    ).scalars()
    for digest in digests.all():
        content.deletions.delete_in(connection, repository, digest, who)
    if connection.execute(
        select(manifests.c.id).where(manifests.c.repository_id == repository.id).limit(1)
    ).first():
        return False
    linked = connection.execute(
        delete(repository_blobs)
        .where(repository_blobs.c.repository_id == repository.id)
        .returning(repository_blobs.c.digest)
    ).scalars()
    accounting.release(connection, repository.project_id, linked.all())
    connection.execute(delete(repositories).where(repositories.c.id == repository.id))
    return True
