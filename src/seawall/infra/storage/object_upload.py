"""Upload sessions in an object store: see `seawall.infra.storage.objects` for the layout."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from seawall.infra.storage.base import UploadLostError
from seawall.infra.storage.object_faults import faults
from seawall.infra.storage.spool import Memory, Spool
from seawall.kernel.errors import UnavailableError
from seawall.kernel.extras import optional

if TYPE_CHECKING:
    import obstore
    from obstore import Attributes
else:
    obstore = optional("obstore")

_TIDY_SECONDS = 2.0
# S3 allows 10,000 parts; a request that brings more than that begins another object.
_MAX_PARTS = 9000


class Bucket(Protocol):
    """What a session needs of its storage; `hashes`: running hashes of paused sessions."""

    store: Any
    part_bytes: int
    parallel: int
    attributes: Attributes
    hashes: OrderedDict[tuple[str, str], Any]
    memory: Memory

    async def put(self, key: str, data: bytes | bytearray) -> None:
        """Write an object."""

    async def size(self, key: str) -> int | None:
        """An object's bytes, None when there is none."""

    def stream(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """An object's bytes."""

    def path(self, key: str) -> str:
        """The object's name in the bucket."""

    async def remove(self, paths: Iterable[str]) -> None:
        """Delete objects."""


class ObjectWriter:
    """One request's writing to a session.

    State, as JSON: `since` (Unix seconds), `parts` (names and sizes of the objects written so far) and
    `sha256` of all their bytes where it is known. A running hash cannot leave its process; when the session
    moves to another one, the bytes are hashed again only at the end, in the pass that joins the parts anyway.
    """

    def __init__(self, storage: Bucket, upload_id: str, offset: int, state: dict[str, Any]) -> None:
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
            self._hash = storage.hashes.pop((upload_id, self._parts[-1][0]), None)
        self._spool = Spool(storage.memory)
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
        view = memoryview(data)
        while view:
            if self._spool.size == self._storage.part_bytes:
                await self._send()
            room = self._storage.part_bytes - self._spool.size
            await self._spool.add(view[:room])
            view = view[room:]

    async def _send(self) -> None:
        """Send a part of an object that has more parts to come."""
        if self._stream is None:
            self._stream = self._open()
        async with self._spool.taken() as data:
            await self._stream.send(data)
        if self._stream.size >= _MAX_PARTS * self._storage.part_bytes:
            await self._flush()

    @property
    def surplus(self) -> bool:
        """See UploadWriter.surplus: what no record names is in objects of its own."""
        return False

    async def leave(self) -> None:
        """See UploadWriter.leave: nothing is locked here."""

    async def pause(self, *, held: bool = False) -> dict[str, Any]:
        """See UploadWriter.pause."""
        del held
        await self._flush()
        state: dict[str, Any] = {"since": self._since, "parts": [list(part) for part in self._parts]}
        known = self._hash.hexdigest() if self._hash is not None else self._known
        if known:
            state["sha256"] = known
        if self._hash is not None and self._parts:
            hashes = self._storage.hashes
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
            await asyncio.to_thread(self._spool.hash_into, running)
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
            async with self._spool.taken() as data:
                await self._storage.put(key, data)
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
        self._spool.close()
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
        return _PartStream(self._storage, name, self._path(name), part_bytes or self._storage.part_bytes)

    async def _flush(self) -> None:
        """Everything received so far is durable in objects afterwards."""
        size = self._spool.size
        if self._stream is None and not size:
            return
        if self._stream is not None:
            if size:
                async with self._spool.taken() as data:
                    await self._stream.send(data)
            stream, self._stream = self._stream, None
            await stream.close()
            name, size = stream.name, stream.size
        else:
            name = secrets.token_hex(8)
            async with self._spool.taken() as data:
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
        part_bytes = max(self._storage.part_bytes, -(-total // _MAX_PARTS))
        # What is read ahead, and the part that is gathered of it.
        async with self._storage.memory.lent(3 * part_bytes):
            await self._join_by(running, part_bytes)

    async def _join_by(self, running: Any, part_bytes: int) -> None:
        stream = self._open(part_bytes)
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
    """A multipart upload that is fed as bytes come.

    While few are under way, obstore sends some parts of each at a time. Otherwise one at a time, and `send`
    waits until the store has it: what obstore holds is no more than what callers count for theirs.
    """

    def __init__(self, storage: Bucket, name: str, path: str, part_bytes: int) -> None:
        self.name = name
        self.size = 0
        self._memory = storage.memory
        # Those being sent, the next one, and what obstore gathers for it.
        self._reserved = (storage.parallel + 2) * part_bytes
        self._free = storage.memory.reserve(self._reserved)
        self._queue: asyncio.Queue[bytes | bytearray | memoryview | _AbandonedError | None] = asyncio.Queue(1)
        self._task = asyncio.ensure_future(
            obstore.put_async(
                storage.store,
                path,
                self._feed(),
                use_multipart=True,
                chunk_size=part_bytes,
                max_concurrency=storage.parallel if self._free else 1,
                attributes=storage.attributes,
            )
        )
        self._task.add_done_callback(self._ended)

    def _ended(self, _task: object) -> None:
        if self._free:
            self._free = False
            self._memory.give_back(self._reserved)

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
        if not self._free:
            # obstore takes the second one only when it may send a further part, and so has sent this one;
            # that it has taken the second one shows when the third has room.
            for _ in range(3):
                await self._put(b"")
        self.size += len(data)

    async def close(self) -> None:
        """Complete the object; it is durable afterwards."""
        await self._put(None)
        with faults():
            await self._task

    async def abort(self) -> None:
        """Make the store forget what it has."""
        with contextlib.suppress(UnavailableError, _AbandonedError):
            if not self._task.done():
                await self._put(_AbandonedError())
            with faults():
                await self._task

    async def _put(self, item: bytes | bytearray | memoryview | _AbandonedError | None) -> None:
        putting = asyncio.ensure_future(self._queue.put(item))
        try:
            await asyncio.wait({putting, self._task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not putting.done():
                putting.cancel()
        if self._task.done() and not putting.done():
            with faults():
                await self._task
            raise UnavailableError("storage ended an upload early")
