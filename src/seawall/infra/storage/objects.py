"""Blobs in an object store (S3, Google Cloud Storage, Azure), through obstore.

Layout below the configured prefix: `blobs/<2 hex>/<key>` for blobs and `uploads/<session>/<part>` for what a
session has received: one object for each request that brought bytes, written while they arrive (as a
multipart upload once they are more than one part). Nothing is ever appended to or overwritten, so any
instance can go on with a session, and two that try to at once cannot mix their bytes: each writes objects of
its own, and only the one whose state the database accepts counts.

`commit` makes no copy in the usual case, where one request brought all bytes: that object *is* the blob from
then on, under a key that says where it is (`upload.<session>.<part>`). A blob below one part's size goes to
`blobs/` in a single PUT. Only a session of several requests is read and written once more, into one object.

The sweep for orphans (garbage collection) sees the parts of running sessions among the blobs. A session is
therefore refused after `SESSION_SECONDS`, and `list` dates its parts that much later than they are: a part
is swept only when no session can need it any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import secrets
import socket
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError

from seawall.infra.storage.base import Location, StoredObject, UploadLostError
from seawall.infra.storage.multipart import S3Multipart
from seawall.kernel.errors import StorageFullError, UnavailableError, WritesRefusedError

if TYPE_CHECKING:
    from obstore import Attributes

MIB = 1024 * 1024
SESSION_SECONDS = 7 * 86400.0
_SESSION_MARGIN = 86400.0  # for clocks that differ
_KEY = re.compile(r"upload\.(?P<session>[0-9a-f-]{1,64})\.(?P<part>[0-9a-f]{16})")
# S3 allows 10,000 parts; a request that brings more than that begins another object.
_MAX_PARTS = 9000
# How stores say that a quota is used up or that they are full: Ceph, MinIO, OpenStack Swift, RFC 4918.
_FULL = re.compile(
    r"QuotaExceeded|StorageFull|InsufficientStorage|InsufficientCapacity|EntityTooLargeQuota|\b507\b"
    r"|Upload exceeds quota|AccountOverQuota",
    re.IGNORECASE,
)
_READ = 4 * MIB
_READ_AHEAD = 4
_CHECK_SECONDS = 4.0
_TIDY_SECONDS = 2.0


class ObjectStorage:
    """Storage in one bucket; see the module text for layout and guarantees."""

    locks_sessions = False

    def __init__(
        self,
        store: Any,
        *,
        prefix: str = "",
        redirect: bool = False,
        signer: Any = None,
        redirect_seconds: int = 1200,
        part_bytes: int = 10 * MIB,
        parallel: int = 3,
        multipart: S3Multipart | None = None,
        attributes: Attributes | None = None,
    ) -> None:
        """`store`: an obstore store. `redirect`: readers are sent to presigned URLs.

        `signer`: the same bucket at the address that clients use, when it is another. `part_bytes` and
        `parallel`: size of a multipart upload's parts, and how many are sent at a time. `attributes`: what
        the store is told of each new object, for instance its storage class.
        """
        self.store = store
        self.part_bytes = part_bytes
        self.parallel = parallel
        self._multipart = multipart
        self.attributes: Attributes = attributes or {}
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._redirect = redirect
        self._signer = signer or store
        self._expires = timedelta(seconds=redirect_seconds)
        # Running hashes of paused sessions: the next request often comes to the same process.
        self._hashes: OrderedDict[tuple[str, str], Any] = OrderedDict()
        self._probe = (
            f"{self._prefix}probes/{re.sub('[^A-Za-z0-9-]', '-', socket.gethostname())}-{os.getpid()}"
        )

    async def open_upload(self, upload_id: str, offset: int, state: dict[str, Any]) -> ObjectWriter:
        """See BlobStorage.open_upload."""
        if offset and time.time() - float(state.get("since", 0)) > SESSION_SECONDS - _SESSION_MARGIN:
            raise UploadLostError("the session is too old")
        if sum(size for _, size in state.get("parts", [])) != offset:
            raise UploadLostError("its record is incomplete")
        return ObjectWriter(self, upload_id, offset, state)

    async def drop_upload(self, upload_id: str, state: dict[str, Any]) -> None:
        """See BlobStorage.drop_upload."""
        del state  # also what broken requests left is removed
        names = []
        with _faults():
            async for batch in obstore.list(self.store, prefix=f"{self._prefix}uploads/{upload_id}/"):
                names += [item["path"] for item in batch]
        await self.remove(names)

    async def drop_broken(self, before: float) -> int:
        """See BlobStorage.drop_broken: multipart uploads that a killed instance left."""
        if self._multipart is None:
            return 0
        return await self._multipart.abort_older(self._prefix, before)

    async def put(self, key: str, data: bytes) -> None:
        """See BlobStorage.put."""
        with _faults():
            await obstore.put_async(
                self.store, self.path(key), data, use_multipart=False, attributes=self.attributes
            )

    async def size(self, key: str) -> int | None:
        """See BlobStorage.size."""
        try:
            with _faults():
                return int((await obstore.head_async(self.store, self.path(key)))["size"])
        except FileNotFoundError:
            return None

    def locate(self, key: str) -> Location:
        """See BlobStorage.locate."""
        if not self._redirect:
            return Location()
        with _faults():
            return Location(url=obstore.sign(self._signer, "GET", self.path(key), self._expires))

    async def stream(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """See BlobStorage.stream.

        Ranges are fetched ahead of the reader, more of them while it has to wait for the store, fewer while
        it is the slower one: many slow readers then hold little memory.
        """
        path = self.path(key)
        ahead: list[asyncio.Future[Any]] = []
        # One at first: an absent object costs one request, not several.
        wanted = 1
        try:
            while start < end or ahead:
                while start < end and len(ahead) < wanted:
                    until = min(start + _READ, end)
                    ahead.append(
                        asyncio.ensure_future(
                            obstore.get_range_async(self.store, path, start=start, end=until)
                        )
                    )
                    start = until
                following = ahead.pop(0)
                wanted = max(wanted - 1, 1) if following.done() else min(wanted + 1, _READ_AHEAD)
                with _faults():
                    data = bytes(await following)
                if not data:
                    raise OSError(f"blob {key} is shorter than its record says")
                yield data
        finally:
            for future in ahead:
                future.cancel()

    async def delete(self, key: str) -> None:
        """See BlobStorage.delete."""
        await self.remove([self.path(key)])

    async def list(self) -> AsyncIterator[StoredObject]:
        """See BlobStorage.list."""
        for room, later in (("blobs", 0.0), ("uploads", SESSION_SECONDS)):
            with _faults():
                async for batch in obstore.list(self.store, prefix=f"{self._prefix}{room}/"):
                    for item in batch:
                        name = item["path"].removeprefix(f"{self._prefix}{room}/")
                        parent, _, last = name.rpartition("/")
                        key = last if room == "blobs" else f"upload.{parent}.{last}"
                        yield StoredObject(key, item["size"], item["last_modified"].timestamp() + later)

    async def check(self) -> None:
        """See BlobStorage.check."""
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                await obstore.put_async(self.store, self._probe, b"x", use_multipart=False)
                await obstore.delete_async(self.store, self._probe)
        except TimeoutError:
            raise OSError(5, "storage does not answer") from None
        except BaseError as error:
            await self._check_reading(error)

    async def _check_reading(self, refused: BaseError) -> None:
        """A write was refused. Raises WritesRefusedError when reading works all the same, else OSError."""
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                async for _ in obstore.list(self.store, prefix=f"{self._prefix}blobs/", chunk_size=1):
                    break
        except (TimeoutError, BaseError):
            raise OSError(5, _reason(refused)) from refused
        with _faults():
            raise refused

    def path(self, key: str) -> str:
        """The object's name in the bucket; keys come from the domain, never from a client."""
        part = _KEY.fullmatch(key)
        if part is not None:
            return f"{self._prefix}uploads/{part['session']}/{part['part']}"
        return f"{self._prefix}blobs/{key[:2]}/{key}"

    async def remove(self, paths: Iterable[str]) -> None:
        """Delete objects; absent ones are ignored."""
        for path in paths:
            with contextlib.suppress(FileNotFoundError), _faults():
                await obstore.delete_async(self.store, path)


class ObjectWriter:
    """One request's writing to a session.

    State, as JSON: `since` (Unix seconds), `parts` (names and sizes of the objects written so far) and
    `sha256` of all their bytes where it is known. A running hash cannot leave its process; when the session
    moves to another one, the bytes are hashed again only at the end, in the pass that joins the parts anyway.
    """

    def __init__(self, storage: ObjectStorage, upload_id: str, offset: int, state: dict[str, Any]) -> None:
        self._storage = storage
        self._id = upload_id
        self._offset = offset
        self._since = float(state.get("since") or time.time())
        self._parts: list[tuple[str, int]] = [(name, int(size)) for name, size in state.get("parts", [])]
        self._mine: list[str] = []  # paths of objects that this writer made
        self._superseded: list[str] = []
        self._known: str | None = state.get("sha256")
        self._hash: Any = hashlib.sha256() if offset == 0 else None
        if offset and self._parts:
            self._hash = storage._hashes.pop((upload_id, self._parts[-1][0]), None)
        self._buffer = bytearray()
        self._stream: _PartStream | None = None

    @property
    def offset(self) -> int:
        """Bytes the session holds."""
        return self._offset

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """See UploadWriter.write."""
        if not data:
            return
        self._known = None
        self._offset += len(data)
        if self._hash is not None:
            await asyncio.to_thread(self._hash.update, data)
        if self._stream is None:
            self._buffer += data
            if len(self._buffer) <= self._storage.part_bytes:
                return
            self._stream = self._open()
            data, self._buffer = self._buffer, bytearray()
        await self._stream.send(data)
        if self._stream.size >= _MAX_PARTS * self._storage.part_bytes:
            await self._flush()

    async def pause(self) -> dict[str, Any]:
        """See UploadWriter.pause."""
        await self._flush()
        state: dict[str, Any] = {"since": self._since, "parts": [list(part) for part in self._parts]}
        known = self._hash.hexdigest() if self._hash is not None else self._known
        if known:
            state["sha256"] = known
        if self._hash is not None and self._parts:
            hashes = self._storage._hashes
            hashes[(self._id, self._parts[-1][0])] = self._hash
            if len(hashes) > 1000:
                hashes.popitem(last=False)
        return state

    async def digest(self, algorithm: str) -> str:
        """See UploadWriter.digest."""
        if algorithm == "sha256":
            if self._hash is not None:
                return str(self._hash.hexdigest())
            if self._known is not None:
                return self._known
        running = hashlib.new(algorithm)
        if not self._parts and self._stream is None:
            running.update(self._buffer)
            return running.hexdigest()
        await self._flush()
        if len(self._parts) > 1:
            await self._join(running)
        else:
            async for data in self._read():
                await asyncio.to_thread(running.update, data)
        return running.hexdigest()

    async def commit(self, key: str) -> str:
        """See UploadWriter.commit."""
        if not self._parts and self._stream is None:
            # In one PUT, straight to its place.
            await self._storage.put(key, bytes(self._buffer))
            return key
        await self._flush()
        if len(self._parts) > 1:
            await self._join_proven()
        name, size = self._parts[0]
        if await self._storage.size(self._key(name)) != size:
            raise UploadLostError("its bytes are gone")
        # From here on they may be a blob's, whatever becomes of this request: not ours to remove.
        self._parts, self._mine = [], []
        return self._key(name)

    async def finish(self) -> None:
        """See UploadWriter.finish."""
        # The client has its blob: it must not wait for a store that has gone away meanwhile. What is left
        # over is swept later.
        with contextlib.suppress(UnavailableError, TimeoutError):
            await asyncio.wait_for(self._storage.remove(self._superseded), _TIDY_SECONDS)

    async def abort(self) -> None:
        """See UploadWriter.abort."""
        await self.release()
        await self._storage.remove([self._path(name) for name, _ in self._parts])
        await self._storage.remove(self._superseded)

    async def release(self) -> None:
        """See UploadWriter.release."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            await stream.abort()
        mine, self._mine = self._mine, []
        await self._storage.remove(mine)

    def _key(self, name: str) -> str:
        return f"upload.{self._id}.{name}"

    def _path(self, name: str) -> str:
        return self._storage.path(self._key(name))

    def _open(self, part_bytes: int | None = None) -> _PartStream:
        name = secrets.token_hex(8)
        return _PartStream(
            self._storage.store,
            name,
            self._path(name),
            part_bytes or self._storage.part_bytes,
            self._storage.parallel,
            self._storage.attributes,
        )

    async def _flush(self) -> None:
        """Everything received so far is durable in objects afterwards."""
        if self._stream is None and not self._buffer:
            return
        if self._stream is not None:
            stream, self._stream = self._stream, None
            await stream.close()
            name, size = stream.name, stream.size
        else:
            name, size = secrets.token_hex(8), len(self._buffer)
            data, self._buffer = bytes(self._buffer), bytearray()
            await self._storage.put(self._key(name), data)
        self._parts.append((name, size))
        self._mine.append(self._path(name))

    async def _read(self) -> AsyncIterator[bytes]:
        for name, size in self._parts:
            try:
                async for data in self._storage.stream(self._key(name), 0, size):
                    yield data
            except FileNotFoundError:
                raise UploadLostError("its bytes are gone") from None

    async def _join_proven(self) -> None:
        """Join the parts into one object whose bytes are those that the client sent.

        Raises UnavailableError when the store returns other bytes twice; the parts stay.
        """
        sent = self._hash.hexdigest() if self._hash is not None else self._known
        for _ in range(2):
            parts, superseded = list(self._parts), list(self._superseded)
            running = hashlib.sha256()
            await self._join(running)
            if sent in (None, running.hexdigest()):
                return
            await self._storage.remove([self._path(name) for name, _ in self._parts])
            self._parts, self._superseded = parts, superseded
        raise UnavailableError("storage returns other bytes than it was given")

    async def _join(self, running: Any) -> None:
        """Write all parts into one object, which takes their place; hashes into `running` on the way."""
        total = sum(size for _, size in self._parts)
        stream = self._open(max(self._storage.part_bytes, -(-total // _MAX_PARTS)))
        try:
            async for data in self._read():
                await asyncio.to_thread(running.update, data)
                await stream.send(data)
            await stream.close()
        except BaseException:
            await asyncio.shield(stream.abort())
            raise
        # The old parts stay until the metadata are committed: a crash before that loses nothing.
        self._superseded += [self._path(name) for name, _ in self._parts]
        self._mine.append(self._path(stream.name))
        self._parts = [(stream.name, stream.size)]


class _AbandonedError(Exception):
    """Raised into an upload to make the object store forget it."""


class _PartStream:
    """A multipart upload that is fed as bytes come; obstore sends the parts in parallel."""

    def __init__(
        self, store: Any, name: str, path: str, part_bytes: int, parallel: int, attributes: Attributes
    ) -> None:
        self.name = name
        self.size = 0
        self._queue: asyncio.Queue[bytes | bytearray | memoryview | _AbandonedError | None] = asyncio.Queue(1)
        self._task = asyncio.ensure_future(
            obstore.put_async(
                store,
                path,
                self._feed(),
                use_multipart=True,
                chunk_size=part_bytes,
                max_concurrency=parallel,
                attributes=attributes,
            )
        )

    async def _feed(self) -> AsyncIterator[bytes | bytearray | memoryview]:
        while True:
            item = await self._queue.get()
            if item is None:
                return
            if isinstance(item, _AbandonedError):
                raise item
            yield item

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        """Hand over bytes; waits while the store is slower than the client."""
        await self._put(data)
        self.size += len(data)

    async def close(self) -> None:
        """Complete the object; it is durable afterwards."""
        await self._put(None)
        with _faults():
            await self._task

    async def abort(self) -> None:
        """Make the store forget what it has."""
        with contextlib.suppress(UnavailableError, _AbandonedError):
            if not self._task.done():
                await self._put(_AbandonedError())
            with _faults():
                await self._task

    async def _put(self, item: bytes | bytearray | memoryview | _AbandonedError | None) -> None:
        putting = asyncio.ensure_future(self._queue.put(item))
        try:
            await asyncio.wait({putting, self._task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not putting.done():
                putting.cancel()
        if self._task.done() and not putting.done():
            with _faults():
                await self._task
            raise UnavailableError("storage ended an upload early")


@contextlib.contextmanager
def _faults() -> Iterator[None]:
    """An object store that fails is an UnavailableError; an absent object stays FileNotFoundError."""
    try:
        yield
    except BaseError as error:
        reason = _reason(error)
        if _FULL.search(str(error)):
            raise StorageFullError(f"storage is full: {reason}") from error
        if isinstance(error, PermissionDeniedError):
            raise WritesRefusedError(f"storage takes no writes: {reason}") from error
        raise UnavailableError(f"storage: {reason}") from error


def _reason(error: BaseError) -> str:
    # The rest of obstore's text is for its developers.
    return str(error).strip().splitlines()[0][:300]
