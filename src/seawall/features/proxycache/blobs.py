"""Blobs of proxy-cache projects: passed on to the client while they are stored, once in the whole cluster."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import structlog

from seawall.features.proxycache.breaker import told
from seawall.features.proxycache.upstreams import Upstream, Upstreams
from seawall.features.replication.endpoint import LocalEndpoint
from seawall.features.replication.remote import RemoteError
from seawall.infra import leases
from seawall.infra.db import Database
from seawall.infra.storage.base import UploadBusyError
from seawall.kernel.context import SYSTEM, actor
from seawall.kernel.errors import RegistryError, SeawallError
from seawall.kernel.presence import while_here

log: Any = structlog.get_logger("seawall.proxy")

# A blob is waited for so long, and a second more for each _RATE bytes.
_SECONDS = 600.0
_RATE = 8192


@dataclass(slots=True)
class Passing:
    """A blob on its way through: size in bytes and the bytes."""

    size: int
    stream: AsyncIterator[bytes]


class ProxiedBlobs:
    """Fetches the blobs that are not here."""

    def __init__(self, upstreams: Upstreams, db: Database, local: LocalEndpoint) -> None:
        self._upstreams = upstreams
        self._db = db
        self._local = local

    async def size(self, upstream: Upstream, repository: str, digest: str) -> int:
        """The size of a blob that is not here. Raises RegistryError."""
        size, stream = await self._open(upstream, repository, digest)
        await stream.aclose()
        return size

    async def get(self, upstream: Upstream, repository: str, digest: str) -> Passing | None:
        """A blob that is not here, on its way through; None when it is here after all.

        Raises RegistryError, TOOMANYREQUESTS with `max_upstream_conn` blobs of the repository under way.
        """
        lease = await self._lease(repository, digest)
        if lease is None:
            return None
        held = [lease]
        try:
            if upstream.connections:
                held.append(await self._connection(upstream, repository))
            size, stream = await self._open(upstream, repository, digest)
        except BaseException:
            for item in held:
                await item.release()
            raise
        # Bounded: a slow client slows the download, memory stays flat.
        queue: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue(16)
        reader = _Reader(queue)
        self._upstreams.later(self._store(repository, digest, size, stream, reader, held))
        return Passing(size, reader.read())

    async def fetch(self, upstream: Upstream, repository: str, digest: str) -> None:
        """Make sure a blob is here. Raises RegistryError."""
        passing = await self.get(upstream, repository, digest)
        if passing is not None:
            async for _ in passing.stream:
                pass

    async def _open(self, upstream: Upstream, repository: str, digest: str) -> tuple[int, Any]:
        name = upstream.name_of(repository)
        if not upstream.breakers.lets_through(name):
            raise upstream.breakers.refusal(name)
        try:
            found = await upstream.adapter.client.open_blob(name, digest)
        except RemoteError as error:
            self._upstreams.failed(upstream, repository, error)
            raise told(error) from None
        self._upstreams.answered(upstream, repository)
        if found is None:
            raise RegistryError("BLOB_UNKNOWN", detail={"digest": digest})
        return found

    async def _connection(self, upstream: Upstream, repository: str) -> leases.Lease:
        name = "pc-" + hashlib.sha256(repository.encode()).hexdigest()[:24]
        slot = await leases.acquire_slot(self._db, name, upstream.connections)
        if slot is None:
            raise RegistryError(
                "TOOMANYREQUESTS",
                "too many connections to the upstream registry",
                headers={"Retry-After": "1"},
            )
        return slot

    async def _lease(self, repository: str, digest: str) -> leases.Lease | None:
        """The right to fetch a blob; None once it is here."""
        seed = hashlib.sha256(f"{repository}@{digest}".encode()).hexdigest()
        while not await self._local.has_blob(repository, digest):
            try:
                lease = await leases.acquire(self._db, f"px-{seed[:32]}")
            except UploadBusyError:
                # One that has gone would ask on for as long as the other fetch takes.
                await while_here(asyncio.ensure_future(asyncio.sleep(0.2)))
                continue
            if await self._local.has_blob(repository, digest):
                await lease.release()
                return None
            return lease
        return None

    async def _store(
        self, repository: str, digest: str, size: int, stream: Any, reader: _Reader, held: list[leases.Lease]
    ) -> None:
        actor.set(SYSTEM)

        last = b""

        async def source(_offset: int) -> AsyncIterator[bytes]:
            # The client gets the last piece when the digest has been found right, so never the whole of
            # something else.
            nonlocal last
            async for data in stream:
                if last:
                    await reader.pass_on(last)
                last = data
                yield data

        async def opened(_location: str) -> None:
            """No session outlives this fetch."""

        try:
            async with asyncio.timeout(_SECONDS + size / _RATE):
                await self._local.put_blob(
                    repository,
                    digest,
                    size,
                    source,
                    session=None,
                    opened=opened,
                    by_chunk=False,
                    mount_from=None,
                )
            if last:
                await reader.pass_on(last)
            await reader.pass_on(None)
        except BaseException as error:
            await reader.pass_on(_failure(error))
            if isinstance(error, SeawallError | TimeoutError):
                log.warning(
                    "a blob from an upstream could not be stored",
                    repository=repository,
                    digest=digest,
                    error=str(error),
                )
                return
            raise
        finally:
            await stream.aclose()
            for item in held:
                await item.release()


def _failure(error: BaseException) -> Exception:
    """What the client is to hear."""
    if isinstance(error, RemoteError):
        return told(error)
    if isinstance(error, TimeoutError):
        return told(RemoteError("the upstream registry is too slow"))
    return error if isinstance(error, Exception) else RuntimeError("stopped")


class _Reader:
    """The client's end of a blob that is being stored."""

    def __init__(self, queue: asyncio.Queue[bytes | BaseException | None]) -> None:
        self._queue = queue
        self._gone = False

    async def pass_on(self, item: bytes | BaseException | None) -> None:
        """Give the client a part, its end (None) or the failure; nothing once the client is gone."""
        while not self._gone:
            try:
                await asyncio.wait_for(self._queue.put(item), 1)
            except TimeoutError:
                continue
            return

    async def read(self) -> AsyncIterator[bytes]:
        """The parts."""
        try:
            while (item := await self._queue.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            self._gone = True
