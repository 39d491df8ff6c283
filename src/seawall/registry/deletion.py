"""Deletion of manifests, tags and whole repositories."""

from __future__ import annotations

import time

from sqlalchemy import Connection, delete, insert, literal, select

from seawall.infra.db import Database
from seawall.infra.db.batch import later
from seawall.kernel.context import Actor, actor
from seawall.kernel.errors import RegistryError
from seawall.kernel.names import check_digest, is_tag
from seawall.registry import accounting, index
from seawall.registry.belongings import parent
from seawall.registry.hooks import Deletion
from seawall.registry.model import Repository
from seawall.registry.repositories import Repositories, lock
from seawall.registry.tables import manifest_trash, manifests, tags
from seawall.registry.writes import ContentWrites


class Deletions:
    """Deletes manifests and tags, and what belongs to them."""

    def __init__(self, db: Database, repositories: Repositories, writes: ContentWrites) -> None:
        self._db = db
        self._repositories = repositories
        self._writes = writes

    async def delete(self, name: str, reference: str) -> None:
        """Delete a manifest with all its tags (by digest), or one tag only (by tag).

        Raises MANIFEST_UNKNOWN, NAME_UNKNOWN, DIGEST_INVALID, and DENIED (412) for a part of an index, which
        would be broken without it.
        """
        # A tag on it that a peer took goes with it, and an index that a peer took forbids it.
        await self._writes.elsewhere.ready_repository(name)
        repository = await self._repositories.get(name)
        if ":" in reference:
            check_digest(reference)
        elif not is_tag(reference):
            raise RegistryError("MANIFEST_UNKNOWN", detail={"reference": reference[:128]})
        who = actor.get()

        def delete_whole(connection: Connection) -> bool:
            # The lock keeps an index from being pushed between the question and the deletion.
            lock(connection, [repository.id])
            if ":" in reference and parent(connection, repository.id, reference) is not None:
                raise RegistryError("DENIED", "it is part of an index; delete that first", status=412)
            return self.delete_in(connection, repository, reference, who)

        if not await self._db.write(delete_whole):
            raise RegistryError("MANIFEST_UNKNOWN", detail={"reference": reference[:128]})
        self._writes.committed()

    def delete_in(
        self,
        connection: Connection,
        repository: Repository,
        reference: str,
        who: Actor,
        *,
        deep: bool = False,
        root: bool = True,
        replica: bool = False,
    ) -> bool:
        """`delete` inside a transaction of the caller's; False when `reference` is unknown.

        `deep`: what belongs to the manifest goes with it: accessories (signatures, SBOMs, ...), and
        children that have no tag and no other parent. `root` is for the method's own use. `replica`: a
        peer has deleted it already, so nobody is asked.
        """
        lock(connection, [repository.id])
        deletion = _deletion(connection, repository, reference, who, root)
        if deletion is None:
            return False
        for hook in self._writes.hooks.of("before_delete", replica=replica):
            hook(connection, deletion)
        below: list[int] = []
        if deletion.tag is None:
            below = index.children(connection, deletion.manifest_id)
            gone = delete(manifests).where(manifests.c.id == deletion.manifest_id)
            listed, size = connection.execute(gone.returning(manifests.c.listed, manifests.c.size)).one()
            trashed = {
                "repository": repository.name,
                "digest": deletion.digest,
                "size": size,
                "deleted_at": deletion.at,
            }
            later(connection, insert(manifest_trash), [trashed])
            accounting.release(connection, repository.project_id, [deletion.digest])
            attached_ids = index.accessories(connection, repository.id, [deletion.digest])
            index.relist(connection, repository.id, [*below, *attached_ids], removed=int(listed))
        else:
            connection.execute(
                delete(tags).where(tags.c.repository_id == repository.id, tags.c.name == deletion.tag)
            )
            index.relist(connection, repository.id, [deletion.manifest_id])
        for hook in self._writes.hooks.of("after_delete", replica=replica):
            hook(connection, deletion)
        if deep and deletion.tag is None:
            attached = select(manifests.c.digest).where(
                manifests.c.repository_id == repository.id, manifests.c.accessory_of == deletion.digest
            )
            # A child that is listed now has lost its last parent; one with a tag was pushed for itself.
            orphans = select(manifests.c.digest).where(
                manifests.c.id.in_(below),
                manifests.c.listed.is_(True),
                ~select(literal(1)).where(tags.c.manifest_id == manifests.c.id).exists(),
            )
            for digest in [*connection.execute(attached).scalars(), *connection.execute(orphans).scalars()]:
                self.delete_in(connection, repository, digest, who, deep=True, root=False)
        return True


def _deletion(
    connection: Connection, repository: Repository, reference: str, who: Actor, root: bool
) -> Deletion | None:
    """What deleting `reference` means, its manifest's row locked until commit; None when it is unknown."""
    query = select(manifests.c.id, manifests.c.digest, manifests.c.media_type).where(
        manifests.c.repository_id == repository.id
    )
    if ":" in reference:
        query = query.where(manifests.c.digest == reference)
    else:
        query = query.join(tags, tags.c.manifest_id == manifests.c.id).where(
            tags.c.repository_id == repository.id, tags.c.name == reference
        )
    row = connection.execute(query.with_for_update(of=manifests)).first()
    if row is None:
        return None
    names = connection.execute(select(tags.c.name).where(tags.c.manifest_id == row[0])).scalars()
    tag = None if ":" in reference else reference
    return Deletion(repository, row[0], row[1], row[2], tag, tuple(names), who, time.time(), root)
