"""The bytes of uploads: taken from a request, hashed and stored while the next ones arrive."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from seawall.infra.storage import BlobStorage, UploadWriter
from seawall.kernel.errors import RegistryError, StorageFullError
from seawall.kernel.names import check_digest
from seawall.registry.blobs import Blobs
from seawall.registry.model import Chunk, Upload, UploadPositionError
from seawall.registry.repositories import Repositories
from seawall.registry.uploads import Uploads, session_errors

# Request bytes are gathered to this much before they go to a storage thread: large enough that hashing
# and writing dwarf the hand-over, small enough that memory stays flat.
_BATCH = 1024 * 1024
# Once all uploads of the process have gathered this much, each hands over what it has from `_LITTLE` on.
# Thousands of slow uploads then hold little each.
_GATHERED = 64 * 1024 * 1024
_LITTLE = 16 * 1024


class Receiver:
    """Takes the bytes of uploads. Errors are RegistryError with OCI codes."""

    def __init__(
        self, storage: BlobStorage, repositories: Repositories, blobs: Blobs, uploads: Uploads
    ) -> None:
        self._storage = storage
        self._repositories = repositories
        self._blobs = blobs
        self._uploads = uploads
        # Bytes that uploads have gathered and not handed over yet.
        self._gathered = 0

    async def put(self, name: str, digest: str, body: AsyncIterator[bytes]) -> str:
        """Store a blob that comes in one request, without a session; returns its digest."""
        check_digest(digest)
        await self._repositories.ensure(name)
        writer = await self._storage.open_upload(str(uuid.uuid4()), 0, {}, last=True)
        try:
            await self._receive(body, writer)
            blob = await self._uploads.finish(None, writer, name, digest)
        except BaseException:
            # No session was promised to the client, so nothing of a failed request is kept.
            await asyncio.shield(writer.abort())
            raise
        return blob.digest

    async def append(self, name: str, upload_id: str, chunk: Chunk) -> int:
        """Add a chunk to a session; returns the session's new offset.

        Raises UploadPositionError, and BLOB_UPLOAD_UNKNOWN. What arrived of a chunk that ends early is kept.
        """
        upload = await self._uploads.get(name, upload_id, sure=_is_long(chunk))
        return await self._uploads.save_progress(upload, await self._write(upload, chunk, last=False))

    async def close(self, name: str, upload_id: str, digest: str, chunk: Chunk) -> str:
        """Add the last chunk to a session, whose bytes become the blob `digest`; returns the digest.

        A session that is not there has been closed before when the repository has the blob: an instance may
        die between the commit and its answer, and the client then asks another one.
        """
        data = await _whole(chunk) if chunk.position is None and 0 < (chunk.length or 0) <= _LITTLE else None
        if data is not None:
            if await self._close_fresh(name, upload_id, digest, data):
                return digest
            chunk = replace(chunk, body=data.again())
        try:
            upload = await self._uploads.get(name, upload_id, sure=_is_long(chunk))
        except RegistryError as error:
            if error.code != "BLOB_UPLOAD_UNKNOWN":
                raise
            try:
                await self._blobs.get(name, digest)
            except RegistryError:
                raise error from None
            async for _ in chunk.body:
                pass
            return digest
        check_digest(digest)
        writer = await self._write(upload, chunk, last=True)
        return (await self._uploads.finish(upload, writer, name, digest)).digest

    async def _close_fresh(self, name: str, upload_id: str, digest: str, data: _Whole) -> bool:
        """Store a small blob that comes whole in a session that has no bytes; False where it is not so.

        Most are like this. The session is looked at when its file is taken, not before that too.
        """
        limit = self._uploads.blob_limit
        right = data.error is None and digest == f"sha256:{hashlib.sha256(data.data).hexdigest()}"
        upload = await self._uploads.fresh(name, upload_id) if right else None
        if upload is None or (limit and len(data.data) > limit):
            return False
        try:
            writer = await self._uploads.open_writer(upload, last=True)
            await writer.write(data.data)
            await self._uploads.finish(upload, writer, name, digest)
        except RegistryError as error:
            # The session is not there, or has bytes or another writer: nothing was done to it.
            if error.code in ("BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID"):
                return False
            raise
        return True

    async def _write(self, upload: Upload, chunk: Chunk, *, last: bool) -> UploadWriter:
        _check_position(upload, chunk)
        writer = await self._uploads.open_writer(upload, last=last)
        try:
            # A file is opened, and locked, at its first byte.
            with session_errors():
                await self._receive(chunk.body, writer, chunk.position)
        except StorageFullError:
            # What arrived would keep the disk full; the client already knows that it cannot stay.
            await asyncio.shield(self._uploads.discard_full(upload, writer))
            raise
        except BaseException:
            # What arrived is kept, so that the client can ask for the offset and go on from there.
            await asyncio.shield(self._uploads.save_progress(upload, writer))
            raise
        return writer

    async def _receive(
        self, body: AsyncIterator[bytes], writer: UploadWriter, position: tuple[int, int] | None = None
    ) -> None:
        """Write the body: one batch is hashed and stored in a thread while the next one arrives."""
        limit = self._uploads.blob_limit
        batch = bytearray()
        pending: asyncio.Task[None] | None = None
        total = writer.offset
        try:
            async for chunk in body:
                if position is not None and total + len(chunk) > position[1] + 1:
                    raise RegistryError("SIZE_INVALID", "the chunk is longer than its Content-Range")
                batch += chunk
                total += len(chunk)
                self._gathered += len(chunk)
                if limit and total > limit:
                    raise RegistryError(
                        "SIZE_INVALID", "blob is larger than this registry allows", status=413
                    )
                if len(batch) >= (_BATCH if self._gathered < _GATHERED else _LITTLE):
                    if pending is not None:
                        await pending
                    pending = asyncio.ensure_future(writer.write(batch))
                    self._gathered -= len(batch)
                    batch = bytearray()
            if position is not None and total <= position[1]:
                raise RegistryError("SIZE_INVALID", "the chunk is shorter than its Content-Range")
        finally:
            self._gathered -= len(batch)
            # Also when the client went away: a write in flight must end before the writer is used again.
            if pending is not None:
                await asyncio.shield(pending)
            if batch:
                await asyncio.shield(writer.write(batch))


def _is_long(chunk: Chunk) -> bool:
    """Whether to take the chunk costs more than to ask first whether it can be kept."""
    return chunk.length is None or chunk.length > _BATCH


@dataclass(frozen=True, slots=True)
class _Whole:
    """A small body; `error`: it broke off with that."""

    data: bytes
    error: Exception | None

    async def again(self) -> AsyncIterator[bytes]:
        """The body, as it came."""
        if self.data:
            yield self.data
        if self.error is not None:
            raise self.error


async def _whole(chunk: Chunk) -> _Whole:
    data = bytearray()
    try:
        async for piece in chunk.body:
            data += piece
    except Exception as error:
        return _Whole(bytes(data), error)
    return _Whole(bytes(data), None)


def _check_position(upload: Upload, chunk: Chunk) -> None:
    if chunk.position is None:
        return
    start, end = chunk.position
    if start != upload.offset:
        raise UploadPositionError(
            f"chunk starts at {start}, the session is at {upload.offset}", upload.offset
        )
    if chunk.length is not None and chunk.length != end - start + 1:
        raise UploadPositionError("Content-Length and Content-Range differ", upload.offset)
