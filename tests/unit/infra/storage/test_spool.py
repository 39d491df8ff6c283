"""What uploads hold in memory, and what they hold in files."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.infra.storage.spool import Memory, Spool
from seawall.kernel.errors import StorageFullError


@given(st.lists(st.binary(max_size=40)), st.integers(0, 60))
def test_bytes_come_back_wherever_they_were(pieces: list[bytes], limit: int) -> None:
    async def check() -> None:
        memory = Memory(2 * limit)
        spool = Spool(memory)
        for piece in pieces:
            await spool.add(piece)
        whole = b"".join(pieces)
        assert spool.size == len(whole)
        running = hashlib.sha512()
        spool.hash_into(running)
        assert running.digest() == hashlib.sha512(whole).digest()
        async with spool.taken() as data:
            assert data == whole
        assert spool.size == 0
        # All is counted back: as much as before may wait again.
        assert memory.keep(limit)

    asyncio.run(check())


def test_memory_is_shared_and_files_take_the_rest() -> None:
    async def check() -> None:
        memory = Memory(20)
        spools = [Spool(memory) for _ in range(5)]
        for spool in spools:
            await spool.add(b"1234")
        # Two of four bytes fit the ten that may wait; the other three are in files.
        assert not memory.keep(4)
        # What grows beyond is moved as a whole.
        await spools[0].add(b"5678")
        assert memory.keep(6)
        memory.forget(6)
        for spool in spools:
            async with spool.taken() as data:
                assert data == (b"12345678" if spool is spools[0] else b"1234")
        assert memory.keep(10)

    asyncio.run(check())


def test_no_more_is_sent_at_once_than_the_share() -> None:
    async def check() -> None:
        memory = Memory(20)
        now = most = 0

        async def send(size: int) -> None:
            nonlocal now, most
            async with memory.lent(size):
                now += size
                most = max(most, now)
                await asyncio.sleep(0)
                now -= size

        # One is larger than the share: it goes alone.
        await asyncio.wait_for(asyncio.gather(*(send(size) for size in [4, 3, 12, 5, 4, 1, 9, 2] * 5)), 10)
        assert most == 12
        assert memory.reserve(10)

    asyncio.run(check())


def test_who_gives_up_keeps_nobody_waiting() -> None:
    async def check() -> None:
        memory = Memory(20)
        entered = asyncio.Event()

        async def send(size: int) -> None:
            async with memory.lent(size):
                entered.set()

        async with memory.lent(10):
            first, second = asyncio.ensure_future(send(8)), asyncio.ensure_future(send(2))
            await asyncio.sleep(0)
            first.cancel()
            # Its turn comes while it is being cancelled, or before: either way the next one gets it.
        with contextlib.suppress(asyncio.CancelledError):
            await first
        await asyncio.wait_for(second, 10)
        assert entered.is_set()
        assert memory.reserve(10)

    asyncio.run(check())


def test_a_full_disk_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)

    async def check() -> None:
        with pytest.raises(StorageFullError, match="No space left on device"):
            await Spool(Memory(0)).add(b"1")

    asyncio.run(check())
