"""A storage backend that counts its operations: how long each takes, and which fail."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from seawall.infra import tracing
from seawall.infra.storage.base import (
    BlobStorage,
    Location,
    StoredObject,
    UploadBusyError,
    UploadLostError,
    UploadWriter,
)
from seawall.infra.telemetry import Counter, Histogram

_ACTIONS = ("open", "write", "digest", "commit", "put", "size", "read", "delete", "check")

SECONDS = Histogram(
    "seawall_storage_seconds",
    "Time of a storage operation; read: until the first bytes",
    ["driver", "action"],
)
ERRORS = Counter("seawall_storage_errors_total", "Storage operations that failed", ["driver", "action"])
BYTES = Counter("seawall_storage_bytes_total", "Bytes to and from storage", ["driver", "direction"])

# What a client causes is not a fault of the storage.
_NO_FAULT = (FileNotFoundError, UploadBusyError, UploadLostError, asyncio.CancelledError, GeneratorExit)


class _Meters:
    """Measures the operations of one backend."""

    def __init__(self, driver: str) -> None:
        self.driver = driver
        for action in _ACTIONS:
            ERRORS.inc(driver, action, by=0)
        for direction in ("in", "out"):
            BYTES.inc(driver, direction, by=0)

    @contextlib.contextmanager
    def failing(self, action: str) -> Iterator[None]:
        try:
            yield
        except _NO_FAULT:
            raise
        except Exception:
            ERRORS.inc(self.driver, action)
            raise

    @contextlib.contextmanager
    def time(self, action: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            with self.failing(action), tracing.span(f"storage {action}", "client", driver=self.driver):
                yield
        finally:
            SECONDS.observe(time.perf_counter() - started, self.driver, action)

    @contextlib.contextmanager
    def time_piece(self, action: str, size: int) -> Iterator[None]:
        """`time` for one of many: a sum in the current span, in place of a span for each."""
        started = time.perf_counter()
        try:
            with self.failing(action):
                yield
        finally:
            seconds = time.perf_counter() - started
            SECONDS.observe(seconds, self.driver, action)
            above = tracing.current()
            if above is not None and above.recording:
                above.add(f"seawall.storage.{action}_seconds", seconds)
                above.add(f"seawall.storage.{action}_bytes", size)


class _Writer:
    """See UploadWriter."""

    def __init__(self, inner: UploadWriter, meters: _Meters) -> None:
        self._inner = inner
        self._meters = meters

    @property
    def offset(self) -> int:
        """See UploadWriter.offset."""
        return self._inner.offset

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """See UploadWriter.write."""
        with self._meters.time_piece("write", len(data)):
            await self._inner.write(data)
        BYTES.inc(self._meters.driver, "in", by=len(data))

    @property
    def surplus(self) -> bool:
        """See UploadWriter.surplus."""
        return self._inner.surplus

    async def pause(self, *, held: bool = False) -> dict[str, Any]:
        """See UploadWriter.pause."""
        return await self._inner.pause(held=held)

    async def leave(self) -> None:
        """See UploadWriter.leave."""
        await self._inner.leave()

    async def digest(self, algorithm: str) -> str:
        """See UploadWriter.digest."""
        with self._meters.time("digest"):
            return await self._inner.digest(algorithm)

    async def commit(self, key: str) -> str:
        """See UploadWriter.commit."""
        with self._meters.time("commit"):
            return await self._inner.commit(key)

    async def finish(self) -> None:
        """See UploadWriter.finish."""
        await self._inner.finish()

    async def abort(self) -> None:
        """See UploadWriter.abort."""
        await self._inner.abort()

    async def release(self) -> None:
        """See UploadWriter.release."""
        await self._inner.release()


class MeasuredStorage:
    """See BlobStorage; `driver` is the label of what it measures."""

    def __init__(self, inner: BlobStorage, driver: str) -> None:
        self._inner = inner
        self._meters = _Meters(driver)

    @property
    def locks_sessions(self) -> bool:
        """See BlobStorage.locks_sessions."""
        return self._inner.locks_sessions

    async def begin_upload(self, upload_id: str) -> bool:
        """See BlobStorage.begin_upload."""
        with self._meters.time("open"):
            return await self._inner.begin_upload(upload_id)

    async def upload_size(self, upload_id: str) -> int | None:
        """See BlobStorage.upload_size."""
        with self._meters.time("size"):
            return await self._inner.upload_size(upload_id)

    async def open_upload(
        self, upload_id: str, offset: int, state: dict[str, Any], *, last: bool = False
    ) -> UploadWriter:
        """See BlobStorage.open_upload."""
        with self._meters.time("open"):
            return _Writer(await self._inner.open_upload(upload_id, offset, state, last=last), self._meters)

    async def drop_upload(self, upload_id: str, state: dict[str, Any]) -> None:
        """See BlobStorage.drop_upload."""
        with self._meters.time("delete"):
            await self._inner.drop_upload(upload_id, state)

    async def drop_resting(self, before: float) -> int:
        """See BlobStorage.drop_resting."""
        return await self._inner.drop_resting(before)

    async def drop_broken(self, before: float) -> int:
        """See BlobStorage.drop_broken."""
        return await self._inner.drop_broken(before)

    async def put(self, key: str, data: bytes) -> None:
        """See BlobStorage.put."""
        with self._meters.time("put"):
            await self._inner.put(key, data)
        BYTES.inc(self._meters.driver, "in", by=len(data))

    async def size(self, key: str) -> int | None:
        """See BlobStorage.size."""
        with self._meters.time("size"):
            return await self._inner.size(key)

    def locate(self, key: str) -> Location:
        """See BlobStorage.locate."""
        return self._inner.locate(key)

    async def stream(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """See BlobStorage.stream."""
        found = self._inner.stream(key, start, end)
        try:
            with self._meters.time("read"):
                piece = await anext(found, None)
            while piece is not None:
                BYTES.inc(self._meters.driver, "out", by=len(piece))
                yield piece
                with self._meters.failing("read"):
                    piece = await anext(found, None)
        finally:
            close = getattr(found, "aclose", None)
            if close is not None:
                await close()

    async def delete(self, key: str) -> None:
        """See BlobStorage.delete."""
        with self._meters.time("delete"):
            await self._inner.delete(key)

    async def delete_all(self, keys: Sequence[str]) -> None:
        """See BlobStorage.delete_all."""
        with self._meters.time("delete"):
            await self._inner.delete_all(keys)

    def list(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        """See BlobStorage.list."""
        return self._inner.list(prefix)

    def list_tree(self) -> AsyncIterator[StoredObject]:
        """See BlobStorage.list_tree."""
        return self._inner.list_tree()

    async def check(self) -> None:
        """See BlobStorage.check."""
        with self._meters.time("check"):
            await self._inner.check()
