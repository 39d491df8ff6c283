"""Blobs of repositories: looked up, read, mounted and unlinked.

Garbage collection runs at the same time (see `seawall.registry.gc`). The rule that makes it safe: a caller
that relies on a blob first moves its `touched_at` forward in the same transaction, and the collector's DELETE
asks for an old `touched_at`, so the two cannot both succeed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, literal, select, update

from seawall.infra.db import Database
from seawall.infra.db.batch import rows
from seawall.infra.db.dialect import upsert
from seawall.infra.db.gather import Gatherer, for_each
from seawall.kernel.errors import RegistryError
from seawall.kernel.names import check_digest
from seawall.registry import accounting
from seawall.registry.hooks import BlobPush
from seawall.registry.model import Blob, Repository
from seawall.registry.reads import PointReads
from seawall.registry.repositories import Repositories, find_repository
from seawall.registry.tables import blobs, manifest_references, repositories, repository_blobs
from seawall.registry.writes import ContentWrites


class Blobs:
    """The blobs of the registry, by repository and digest."""

    def __init__(
        self,
        db: Database,
        reads: PointReads,
        repositories: Repositories,
        writes: ContentWrites,
        *,
        grace_seconds: float,
    ) -> None:
        """`grace_seconds`: how long the collector leaves a blob that somebody has just relied on."""
        self._db = db
        self._reads = reads
        self._repositories = repositories
        self._writes = writes
        self._grace = grace_seconds
        self._together: Gatherer[tuple[str, str], Any] = Gatherer(db, _find_blobs)

    async def get(self, name: str, digest: str) -> Blob:
        """The blob `digest` of repository `name`. Raises BLOB_UNKNOWN, DIGEST_INVALID, NAME_UNKNOWN."""
        check_digest(digest)
        row = await self._reads.get(
            ("b", name, digest), lambda c: _blob(c, name, digest), lambda: self._with_others(name, digest)
        )
        assert row is not None
        found, touched_at = row
        # "It exists" is a promise to a client that then skips the upload: make it hold for a while.
        # Written at most once per half grace period, so ordinary pulls stay reads.
        if time.time() - touched_at > self._grace / 2 and not await self._touch(name, digest):
            raise RegistryError("BLOB_UNKNOWN", detail={"digest": digest})
        return found

    async def _with_others(self, name: str, digest: str) -> tuple[Blob, float]:
        return _checked(await self._together.get((name, digest)), name, digest)

    async def mount(self, name: str, digest: str, source: str, *, replica: bool = False) -> bool:
        """Link blob `digest` of repository `source` into `name`; False when there is none to link.

        `replica`: a copy of what a peer has acknowledged; neither quota nor rule refuses it.
        """
        check_digest(digest)
        before = self._writes.hooks.of("before_blob", replica=replica)

        def mount_blob(connection: Connection, target: Repository, exact: bool) -> bool:
            found = find_blob(connection, source, digest)
            if found is None:
                return False
            for hook in before:
                hook(connection, BlobPush(target, digest, found[0].size))
            now = time.time()
            if not touch(connection, digest, now):
                return False
            account = self._writes.account(target.project_id, free=replica, exact=exact)
            accounting.charge_link(connection, account, target.id, digest, found[0].size, now)
            self._writes.warn(connection, account)
            return True

        async def mount_into(target: Repository) -> bool:
            return await self._writes.charged(lambda c, exact: mount_blob(c, target, exact))

        return await self._repositories.writing(name, mount_into)

    async def link(self, name: str, digest: str, size: int, key: str) -> None:
        """Name the bytes at `key`, unless the blob has some, and link it to repository `name`.

        For bytes that were proven and that a lost push has left; neither quota nor rule refuses them.
        """

        def link_blob(connection: Connection, target: Repository) -> None:
            now = time.time()
            row = {"digest": digest, "size": size, "storage_key": key, "created_at": now, "touched_at": now}
            connection.execute(upsert(connection, blobs, row, ["digest"], ["touched_at"]))
            account = self._writes.account(target.project_id, free=True, exact=False)
            accounting.charge_link(connection, account, target.id, digest, size, now)

        async def link_into(target: Repository) -> None:
            await self._writes.charged(lambda c, _exact: link_blob(c, target))

        await self._repositories.writing(name, link_into)

    async def delete(self, name: str, digest: str) -> None:
        """Remove the blob from the repository; its bytes go with the next garbage collection.

        Raises BLOB_UNKNOWN, and DENIED while a manifest of the repository needs the blob.
        """
        check_digest(digest)
        repository = await self._repositories.get(name)

        def unlink_blob(connection: Connection) -> int:
            link = and_(
                repository_blobs.c.repository_id == repository.id, repository_blobs.c.digest == digest
            )
            # The lock orders this against a manifest push that is about to refer to the blob.
            row = connection.execute(select(repository_blobs.c.digest).where(link).with_for_update()).first()
            if row is None:
                raise RegistryError("BLOB_UNKNOWN", detail={"digest": digest})
            used = connection.execute(
                select(literal(1)).where(
                    manifest_references.c.repository_id == repository.id,
                    manifest_references.c.digest == digest,
                )
            ).first()
            if used:
                raise RegistryError("DENIED", "blob is in use by a manifest of this repository", status=405)
            removed = connection.execute(delete(repository_blobs).where(link)).rowcount
            accounting.release(connection, repository.project_id, [digest] * removed)
            return removed

        await self._db.write(unlink_blob)

    async def _touch(self, name: str, digest: str) -> bool:
        def touch_blob(connection: Connection) -> bool:
            repository = find_repository(connection, name)
            now = time.time()
            if repository is None or not touch(connection, digest, now):
                return False
            return bool(
                connection.execute(
                    update(repository_blobs)
                    .where(
                        repository_blobs.c.repository_id == repository.id, repository_blobs.c.digest == digest
                    )
                    .values(touched_at=now)
                ).rowcount
            )

        return await self._db.write(touch_blob)


_BLOB = (
    select(blobs.c.digest, blobs.c.size, blobs.c.storage_key, repository_blobs.c.touched_at)
    .select_from(repositories)
    .outerjoin(
        repository_blobs,
        and_(
            repository_blobs.c.repository_id == repositories.c.id,
            repository_blobs.c.digest == bindparam("b_digest"),
        ),
    )
    .outerjoin(blobs, blobs.c.digest == repository_blobs.c.digest)
    .where(repositories.c.name == bindparam("b_name"))
)


_BLOBS = for_each(_BLOB, "b_name", "b_digest")


def known_key(connection: Connection, digest: str) -> str | None:
    """Where the bytes of a blob are in storage; None for a blob that no repository ever had."""
    return connection.execute(select(blobs.c.storage_key).where(blobs.c.digest == digest)).scalar()


def find_blob(connection: Connection, name: str, digest: str) -> tuple[Blob, float] | None:
    """(blob `digest` of repository `name`, when it was last relied on), None when it is not there."""
    row = _look(connection, name, digest)
    return (Blob(row[0], row[1], row[2]), row[3]) if row is not None and row[0] is not None else None


def _blob(connection: Connection, name: str, digest: str) -> tuple[Blob, float]:
    """`find_blob`. Raises NAME_UNKNOWN, BLOB_UNKNOWN."""
    return _checked(_look(connection, name, digest), name, digest)


def _checked(row: Any, name: str, digest: str) -> tuple[Blob, float]:
    """What a row of `_BLOB` says. Raises NAME_UNKNOWN, BLOB_UNKNOWN."""
    if row is None:
        raise RegistryError("NAME_UNKNOWN", detail={"name": name})
    if row[0] is None:
        raise RegistryError("BLOB_UNKNOWN", detail={"digest": digest})
    return Blob(row[0], row[1], row[2]), row[3]


def _find_blobs(
    connection: Connection, keys: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], tuple[Any, ...]]:
    """What `_look` finds, for several (name, digest)."""
    if len(keys) == 1:
        row = _look(connection, *keys[0])
        return {} if row is None else {keys[0]: tuple(row)}
    asked = {"all_b_name": [name for name, _ in keys], "all_b_digest": [digest for _, digest in keys]}
    return {keys[row[0] - 1]: tuple(row)[1:] for row in connection.execute(_BLOBS, asked)}


def _look(connection: Connection, name: str, digest: str) -> Any:
    """digest, size, key and `touched_at` of the blob, all None without it; None without the repository."""
    found = rows(connection, _BLOB, {"b_name": name, "b_digest": digest})
    return found[0] if found else None


def touch(connection: Connection, digest: str, now: float) -> bool:
    """Keep the collector off the blob; False when it is gone."""
    found = update(blobs).where(blobs.c.digest == digest).values(touched_at=now)
    return bool(connection.execute(found).rowcount)
