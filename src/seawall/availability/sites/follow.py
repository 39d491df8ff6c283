"""The standby's work: take what changed on the active, bytes first, rows in one transaction last.

The rows of one answer are a consistent snapshot, so after each transaction this site is what the active was
at one moment. Ids are kept. Blobs lie under keys of this site's own storage; each is verified by its digest
and noted in `dr_blobs` as soon as it is durable, so an interrupted round goes on where it was. A blob that
the active no longer has goes to `blob_trash`, and its bytes when readers have had time to finish.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import tempfile
import time
import uuid
from dataclasses import dataclass
from typing import IO, Any

import httpx
import structlog
from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.exc import IntegrityError

from seawall.availability.sites import state
from seawall.availability.sites.apply import Gone, ResyncError, apply_changes, apply_full, lines
from seawall.availability.sites.tables import dr_blobs
from seawall.availability.sites.wire import Peer
from seawall.infra.db import Database, changes, dialect, fence, migrate
from seawall.infra.storage import BlobStorage
from seawall.kernel.errors import PreconditionError, UnavailableError
from seawall.registry.tables import blob_trash, blobs

log: Any = structlog.get_logger("seawall.dr")

_BATCH = 500
_PARALLEL = 6
# Readers that found a key have this long to finish (seconds).
_READERS = 900.0


@dataclass(slots=True)
class Step:
    """What one round did. `full`: it was a snapshot."""

    full: bool
    rows: int
    blobs: int
    epoch: int


class Follower:
    """Rounds of following. Every transaction asks whether `who` still leads this site's work."""

    def __init__(self, db: Database, storage: BlobStorage, peer: Peer, who: str) -> None:
        self._db = db
        self._storage = storage
        self._peer = peer
        self._who = who

    async def step(self, row: dict[str, Any], timeout: float | None = None) -> Step:
        """One round from `row` (`state.read`) on.

        Raises UnavailableError when the peer or its bytes cannot be reached now, PreconditionError when it
        must not be followed, or its schema is newer.
        """
        began = time.time()
        cursor = row["cursor"]
        with tempfile.TemporaryFile(prefix="seawall-dr-") as file:
            head = await self._receive(file, cursor, row, timeout)
            own = await self._db.read(migrate.current)
            revisions = f"{own}:{head['revision']}"
            if head["revision"] not in migrate.revisions():
                raise PreconditionError(
                    f"the active has schema {head['revision']}, which this Seawall does not know; upgrade "
                    "the standby first"
                )
            if not head["full"] and revisions != row["revisions"]:
                # One of the two was upgraded: rows have columns that they had not before.
                await self._db.write(lambda c: state.put(c, cursor=None))
                return Step(False, 0, 0, head["epoch"])
            fetched = await self._fetch_missing(file)

            def apply(connection: Connection) -> int:
                # A snapshot is one long transaction.
                dialect.allow_long(connection)
                state.hold(connection, self._who, state.STANDBY, row["epoch"])
                with fence.applying(connection), changes.unlogged(connection):
                    count = apply_full(connection, file) if head["full"] else apply_changes(connection, file)
                now = time.time()
                state.put(
                    connection,
                    cursor=head["cursor"],
                    revisions=revisions,
                    complete=True,
                    epoch=max(row["epoch"], int(head["epoch"])),
                    lineage=head["lineage"],
                    syncing="following",
                    error=None,
                    behind=0,
                    synced_at=began,
                    **({"applied_at": now} if count or head["full"] else {}),
                )
                return count

            try:
                count = await self._db.write(apply)
            except (ResyncError, IntegrityError) as error:
                if head["full"]:
                    raise
                log.warning("changes do not fit; starting again from a snapshot", error=str(error)[:300])
                await self._db.write(lambda c: state.put(c, cursor=None))
                return Step(False, 0, fetched, head["epoch"])
        return Step(head["full"], count, fetched, head["epoch"])

    async def _receive(
        self, file: IO[bytes], cursor: str | None, row: dict[str, Any], timeout: float | None
    ) -> dict[str, Any]:
        # A snapshot takes its time before the first byte.
        patience = timeout if cursor is not None else 600.0
        answer = await self._peer.stream(
            "changes", patience, cursor=cursor, site=row["site"], epoch=row["epoch"]
        )
        last = b""
        try:
            async for part in answer.aiter_raw(262144):
                await asyncio.to_thread(file.write, part)
                last = (last + part)[-200:]
        except httpx.HTTPError as error:
            raise UnavailableError(f"the link broke: {str(error) or type(error).__name__}") from None
        finally:
            await answer.aclose()
        if b'{"end":' not in last.rstrip().rpartition(b"\n")[2]:
            raise UnavailableError("the link broke in the middle of an answer")
        file.seek(0)
        head: dict[str, Any] = json.loads(file.readline())
        if head["role"] not in (state.ACTIVE, state.FENCED) or int(head["epoch"]) < row["epoch"]:
            raise PreconditionError(
                f"the other site is {head['role']} at epoch {head['epoch']}; this one has followed epoch "
                f"{row['epoch']}"
            )
        if row["lineage"] and head["lineage"] != row["lineage"]:
            raise PreconditionError("the other site is another registry: the two were not made as one pair")
        return head

    # -- blobs ----------------------------------------------------------------------------------------

    async def _fetch_missing(self, file: IO[bytes]) -> int:
        wanted: dict[str, int] = {}
        for name, item in lines(file):
            if name == "blobs" and not isinstance(item, Gone):
                wanted[item["digest"]] = item["size"]
        digests = sorted(wanted)

        def here(connection: Connection) -> set[str]:
            found: set[str] = set()
            for start in range(0, len(digests), _BATCH):
                part = digests[start : start + _BATCH]
                for table in (blobs, dr_blobs):
                    query = select(table.c.digest).where(table.c.digest.in_(part))
                    found.update(connection.execute(query).scalars())
            return found

        present = await self._db.read(here) if digests else set()
        missing = [digest for digest in digests if digest not in present]
        gate = asyncio.Semaphore(_PARALLEL)

        async def one(digest: str) -> None:
            async with gate:
                await self._fetch(digest, wanted[digest])
                # A long round must not lose its place.
                await self._db.write(lambda c: state.lead(c, self._who), durable=False)

        tasks = [asyncio.create_task(one(digest)) for digest in missing]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return len(missing)

    async def _fetch(self, digest: str, size: int) -> None:
        key = await fetch_blob(self._peer, self._storage, digest)

        def note(connection: Connection) -> None:
            connection.execute(
                insert(dr_blobs).values(digest=digest, storage_key=key, size=size, at=time.time())
            )

        try:
            await self._db.write(note)
        except IntegrityError:
            # Another process of this site had it in hand too.
            await self._storage.delete(key)

    async def sweep(self) -> None:
        """Delete bytes that no row has named for a while."""
        before = time.time() - _READERS
        keys = await self._db.read(
            lambda c: list(
                c.execute(
                    select(blob_trash.c.storage_key).where(blob_trash.c.trashed_at < before).limit(_BATCH)
                ).scalars()
            )
        )
        for key in keys:
            await self._storage.delete(key)
        if keys:
            await self._db.write(
                lambda c: c.execute(delete(blob_trash).where(blob_trash.c.storage_key.in_(keys)))
            )


async def fetch_blob(peer: Peer, storage: BlobStorage, digest: str) -> str:
    """Copy a blob of the peer's to `storage`, verified and durable; returns its key.

    Raises UnavailableError, PreconditionError.
    """
    algorithm, _, value = digest.partition(":")
    answer = await peer.stream("blob", digest=digest)
    writer = await storage.open_upload(str(uuid.uuid4()), 0, {})
    running = hashlib.new(algorithm)
    try:
        async for part in answer.aiter_raw(1024 * 1024):
            running.update(part)
            await writer.write(part)
        if running.hexdigest() != value:
            raise UnavailableError(f"blob {digest} came damaged")
        key = await writer.commit(f"{value}.{algorithm}.{secrets.token_hex(4)}")
    except httpx.HTTPError as error:
        await writer.abort()
        raise UnavailableError(f"the link broke: {str(error) or type(error).__name__}") from None
    except BaseException:
        await writer.abort()
        raise
    finally:
        await answer.aclose()
    await writer.finish()
    return key


# -- rows ---------------------------------------------------------------------------------------------
