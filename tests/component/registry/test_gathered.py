"""Slow uploads hold little memory, however many there are."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest

from seawall.registry import receive
from tests.support.digests import digest_of
from tests.support.lab import Lab, Run

UPLOADS = 40
PIECE = 8192
PIECES = 60


def test_bytes_that_wait_are_bounded_in_all(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty uploads stop just before the batch that each may gather: it would be 19 MiB."""
    monkeypatch.setattr(receive, "_GATHERED", 1 << 20)

    async def body(lab: Lab) -> None:
        await lab.project()
        receiver = lab.content._receiver
        go_on = asyncio.Event()
        sent = 0
        most = 0

        async def slow(data: bytes) -> AsyncIterator[bytes]:
            nonlocal sent, most
            for start in range(0, len(data), PIECE):
                yield data[start : start + PIECE]
                most = max(most, receiver._gathered)
                await asyncio.sleep(0)
            sent += 1
            await go_on.wait()

        blobs = [uuid.uuid4().bytes * (PIECE // 16) * PIECES for _ in range(UPLOADS)]
        uploads = [
            asyncio.create_task(lab.content.put_blob("p/app", digest_of(data), slow(data))) for data in blobs
        ]
        async with asyncio.timeout(60):
            while sent < UPLOADS:
                await asyncio.sleep(0.01)
        assert most <= (1 << 20) + UPLOADS * (receive._LITTLE + PIECE)
        assert receiver._gathered > 0
        go_on.set()
        assert await asyncio.gather(*uploads) == [digest_of(data) for data in blobs]
        assert receiver._gathered == 0

    run(body)
