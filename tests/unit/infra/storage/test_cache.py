"""The disk cache of an object store: its bound, its checksums, and a disk that fails."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import multiprocessing
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from seawall.infra.storage import cache as module
from seawall.infra.storage.cache import PIECE, DiskCache
from seawall.kernel.errors import ConfigError
from tests.support.digests import digest_of


async def keep(cache: DiskCache, data: bytes) -> bool:
    """Whether the cache took the blob."""
    filling = await cache.fill(digest_of(data), len(data))
    if filling is None:
        return False
    for start in range(0, len(data), 300_000):
        await filling.write(data[start : start + 300_000])
    await filling.commit()
    return True


async def kept(cache: DiskCache, data: bytes, start: int = 0, end: int | None = None) -> bytes | None:
    """What the cache has of the blob, None for nothing."""
    found = await cache.open(digest_of(data), len(data))
    if found is None:
        return None
    return b"".join([part async for part in found.read(start, len(data) if end is None else end)])


def stored(root: Path) -> int:
    total = 0
    for room in ("blobs", "filling"):
        for file in (root / room).rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                total += file.stat().st_size if file.is_file() else 0
    return total


@pytest.mark.parametrize("size", [1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 17])
def test_gives_back_what_it_got(tmp_path: Path, size: int) -> None:
    async def body() -> None:
        data = random.Random(size).randbytes(size)
        cache = DiskCache(tmp_path, 64 * PIECE)
        assert await kept(cache, data) is None
        assert await keep(cache, data)
        assert not await keep(cache, data), "once is enough"
        # Of another process too.
        for reader in (cache, DiskCache(tmp_path, 64 * PIECE)):
            assert await kept(reader, data) == data
            for _ in range(20):
                start, end = sorted(random.Random(size).choices(range(size + 1), k=2))
                assert await kept(reader, data, start, end) == data[start:end]

    asyncio.run(body())


@pytest.mark.parametrize("where", ["data", "sums", "cut", "longer"])
def test_wrong_bytes_are_noticed_and_dropped(tmp_path: Path, where: str) -> None:
    async def body() -> None:
        data = os.urandom(3 * PIECE)
        cache = DiskCache(tmp_path, 64 * PIECE)
        assert await keep(cache, data)
        file = cache.path(digest_of(data))
        content = bytearray(file.read_bytes())
        if where == "cut":
            content = content[:-1]
        elif where == "longer":
            content += b"x"
        else:
            content[PIECE + 5 if where == "data" else 3 * PIECE + 17] ^= 1
        file.write_bytes(content)
        # The piece before it is right; nothing of the wrong one gets out.
        assert await kept(cache, data) in (data[:PIECE], None)
        assert not file.exists()
        assert await keep(cache, data)
        assert await kept(cache, data) == data

    asyncio.run(body())


def test_keeps_its_bound_and_what_is_used(tmp_path: Path) -> None:
    async def body() -> None:
        limit = 8 * PIECE
        caches = [DiskCache(tmp_path, limit) for _ in range(3)]
        blobs = [os.urandom(PIECE) for _ in range(30)]
        for number, data in enumerate(blobs[:7]):
            assert await keep(caches[number % 3], data)
            os.utime(caches[0].path(digest_of(data)), (number, number))
        assert not await keep(caches[0], blobs[7]), "asked for once, it pushes out nothing"
        assert await kept(caches[1], blobs[0]) == blobs[0], "used now"
        assert await keep(caches[0], blobs[7])
        assert await kept(caches[0], blobs[0]) == blobs[0]
        assert await kept(caches[0], blobs[1]) is None, "used longest ago"

        async def client(seed: int) -> None:
            choose = random.Random(seed)
            for _ in range(40):
                data = choose.choice(blobs)
                found = await kept(caches[seed % 3], data)
                assert found in (data, None)
                if found is None:
                    await keep(caches[seed % 3], data)
                # While nobody makes room or begins to write: or what has gone meanwhile would be counted.
                with caches[0]._account():
                    assert stored(tmp_path) <= limit

        await asyncio.gather(*(client(seed) for seed in range(6)))

    asyncio.run(body())


def test_what_is_too_large_or_ends_early_is_not_kept(tmp_path: Path) -> None:
    async def body() -> None:
        cache = DiskCache(tmp_path, 8 * PIECE)
        large = os.urandom(2 * PIECE + 1)
        assert not await keep(cache, large)
        data = os.urandom(PIECE)
        for commit in (True, False):
            filling = await cache.fill(digest_of(data), len(data))
            assert filling is not None
            await filling.write(data[:100])
            await (filling.commit() if commit else filling.abort())
            assert await kept(cache, data) is None
            assert stored(tmp_path) == 0
        assert await keep(cache, data)

    asyncio.run(body())


def _fill_and_hang(root: Path, ready: Any) -> None:
    async def body() -> None:
        cache = DiskCache(root, 8 * PIECE)
        filling = await cache.fill(digest_of(b"x" * PIECE), PIECE)
        assert filling is not None
        await filling.write(b"x" * 1000)
        ready.set()
        time.sleep(600)

    asyncio.run(body())


def test_what_a_killed_process_wrote_goes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_fill_and_hang, args=(tmp_path, ready))
    process.start()
    assert ready.wait(60)

    async def full() -> int:
        cache = DiskCache(tmp_path, 8 * PIECE)
        for _ in range(2):
            for number in range(8):
                await keep(cache, bytes([number]) * PIECE)
        return len(list((tmp_path / "filling").iterdir()))

    assert asyncio.run(full()) == 1, "it is being written"
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    (tmp_path / "account").write_bytes(b"broken")
    assert asyncio.run(full()) == 0
    assert stored(tmp_path) <= 8 * PIECE


@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite", "rename", "pread", "open"])
def test_a_failing_disk_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    async def body() -> None:
        cache = DiskCache(tmp_path, 8 * PIECE)
        data, other = os.urandom(PIECE), os.urandom(PIECE)
        assert await keep(cache, data)

        class Failing:
            def __getattr__(self, name: str) -> Any:
                if name == call:
                    raise OSError(errno.EIO if call == "pread" else errno.ENOSPC, "no")
                return getattr(os, name)

        with monkeypatch.context() as patch:
            patch.setattr(module, "os", Failing())
            await keep(cache, other)
            assert await kept(cache, data) in (None, b"", data)
        monkeypatch.setattr(cache, "_paused_until", 0.0)
        assert await kept(cache, data) in (None, data)
        await keep(cache, other)
        assert await kept(cache, other) == other
        assert len(list((tmp_path / "filling").iterdir())) == 0

    asyncio.run(body())


def test_a_root_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="Not a directory"):
        DiskCache(tmp_path / "file", 8 * PIECE)


def test_another_s_folder_is_left_alone(tmp_path: Path) -> None:
    """The layout of driver filesystem begins like the cache's: its old root has blobs to be copied."""
    (tmp_path / "uploads").mkdir(mode=0o755)
    tmp_path.chmod(0o755)
    with pytest.raises(ConfigError, match="needs its own folder"):
        DiskCache(tmp_path, 8 * PIECE)
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_removes_only_its_own_files(tmp_path: Path) -> None:
    theirs = [tmp_path / "blobs" / "ab" / f"{'ab' * 32}.sha256.0123abcd", tmp_path / "filling" / "notes"]
    for file in theirs:
        file.parent.mkdir(parents=True)
        file.write_bytes(bytes(8 * PIECE))

    async def body() -> None:
        cache = DiskCache(tmp_path, 8 * PIECE)
        for number in range(12):
            for _ in range(2):
                await keep(cache, bytes([number]) * PIECE)
        assert await kept(cache, bytes([11]) * PIECE)

    asyncio.run(body())
    assert all(file.stat().st_size == 8 * PIECE for file in theirs)


def test_a_process_that_keeps_the_account_stops_no_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when it was stopped, or is itself freed of a file by the garbage collector while it counts."""
    monkeypatch.setattr(module, "_LOCK_SECONDS", 0.1, raising=False)

    async def body() -> None:
        cache = DiskCache(tmp_path, 8 * PIECE)
        data, other = os.urandom(PIECE), os.urandom(PIECE)
        assert await keep(cache, data)
        with DiskCache(tmp_path, 8 * PIECE)._account():
            async with asyncio.timeout(5):
                assert not await keep(cache, other)
        monkeypatch.setattr(cache, "_paused_until", 0.0)
        assert await kept(cache, data) == data
        assert await keep(cache, other)

    asyncio.run(body())


def test_a_file_is_counted_until_it_is_gone(tmp_path: Path) -> None:
    """Gone before it is subtracted, a count of all files in between would subtract it twice."""
    cache = DiskCache(tmp_path, 8 * PIECE)
    data = os.urandom(PIECE)
    assert asyncio.run(keep(cache, data))
    file = cache.path(digest_of(data))
    thread = threading.Thread(target=cache.release, args=(file, file.stat().st_size))
    with cache._account():
        thread.start()
        thread.join(0.1)
        assert file.exists()
    thread.join()
    assert not file.exists()
