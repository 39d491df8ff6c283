"""Fetching blobs from peers."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
import uuid

from prometheus_client import Counter
from sqlalchemy import Connection, delete, select

from seawall.availability.peers import schema as t
from seawall.availability.peers.client import Peer, PeerError
from seawall.features.replication.endpoint import LocalEndpoint
from seawall.features.replication.uploads import WHOLE_LIMIT
from seawall.infra import leases
from seawall.infra.db import Database
from seawall.infra.storage.base import UploadBusyError
from seawall.kernel.errors import SeawallError
from seawall.registry.local import LocalRegistry

FILLED = Counter("seawall_peer_blobs_total", "Blobs brought from peers")
FILLED_BYTES = Counter("seawall_peer_blob_bytes_total", "Bytes of blobs brought from peers")


class PeerCopyEnd(LocalEndpoint):
    """This registry as the end of a copy from a peer: projects come by themselves, and no quota refuses."""

    replica = True

    async def prepare(self, repository: str) -> None:
        """A project that is not here must not be made by what is in it."""
        await self._content.repositories.get(repository)


class BlobFetcher:
    """Brings blobs from whichever peer has them."""

    def __init__(self, db: Database, content: LocalRegistry, local: PeerCopyEnd, peers: list[Peer]) -> None:
        self._db = db
        self._content = content
        self._local = local
        self._peers = peers

    async def bring(self, repository: str, digest: str, size: int | None = None) -> None:
        """Have a blob here. Raises PeerError when no reachable peer has it."""
        if await self._local.has_blob(repository, digest):
            return
        holder = await self._local.holder(digest)
        if holder is not None and await self._content.blobs.mount(repository, digest, holder, replica=True):
            return
        if size is not None and size <= WHOLE_LIMIT and await self._copy_small(repository, digest):
            return
        lease = await self._lease(repository, digest)
        if lease is None:
            return
        try:
            await self._copy_blob(repository, digest, size)
        finally:
            await lease.release()

    async def _copy_small(self, repository: str, digest: str) -> bool:
        """Fetch a blob in one request; that two processes may do so at once costs less than a lease."""
        content = self._content
        for peer in self._peers:
            if not peer.up:
                continue
            try:
                parts = await peer.open_blob(repository, digest)
            except PeerError:
                continue
            writer = await content.storage.open_upload(str(uuid.uuid4()), 0, {})
            try:
                async with contextlib.aclosing(parts):
                    async for part in parts:
                        await writer.write(part)
                blob = await content.uploads.finish(None, writer, repository, digest, replica=True)
            except BaseException as error:
                await asyncio.shield(writer.abort())
                if isinstance(error, SeawallError):
                    continue
                raise
            FILLED.inc()
            FILLED_BYTES.inc(blob.size)
            return True
        return False

    async def _copy_blob(self, repository: str, digest: str, size: int | None) -> None:
        table = t.peer_transfers
        here = (table.c.digest == digest, table.c.repository == repository)
        session = await self._db.read(lambda c: c.execute(select(table.c.session).where(*here)).scalar())
        error: SeawallError | None = None
        for peer in self._peers:
            if not peer.up:
                continue
            try:
                answer = await peer.call("blob", repository=repository, digest=digest)
                if "size" not in answer:
                    continue

                async def opened(location: str) -> None:
                    def remember_session(connection: Connection) -> None:
                        connection.execute(delete(table).where(*here))
                        row = {"digest": digest, "repository": repository, "session": location}
                        connection.execute(table.insert().values(**row, at=time.time()))

                    await self._db.write(remember_session, durable=False)

                sent = await self._local.put_blob(
                    repository,
                    digest,
                    answer["size"] if size is None else size,
                    lambda offset, peer=peer: peer.blob(repository, digest, offset),  # type: ignore[misc]
                    session=session,
                    opened=opened,
                    by_chunk=False,
                    mount_from=None,
                )
            except SeawallError as failure:
                error = failure
                continue
            FILLED.inc()
            FILLED_BYTES.inc(sent)
            await self._db.write(lambda c: c.execute(delete(table).where(*here)), durable=False)
            return
        raise error or PeerError(f"no peer that can be reached has blob {digest} of {repository}")

    async def _lease(self, repository: str, digest: str) -> leases.Lease | None:
        """The right to fetch a blob; None once it is here."""
        seed = hashlib.sha256(f"{repository}@{digest}".encode()).hexdigest()
        while not await self._local.has_blob(repository, digest):
            try:
                return await leases.acquire(self._db, f"px-{seed[:32]}")
            except UploadBusyError:
                await asyncio.sleep(0.2)
        return None
