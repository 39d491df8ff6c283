"""Two requests write to one upload session: the second one is refused, and the first one goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import Connection, select

from seawall.kernel.errors import RegistryError
from seawall.registry.model import Chunk
from seawall.registry.tables import repositories, uploads
from tests.support.digests import digest_of
from tests.support.lab import Lab, Run, stream


def test_a_second_writer_of_a_new_session_is_refused(run: Run) -> None:
    async def body(lab: Lab) -> None:
        registry = lab.services.registry
        await lab.project()
        session = await registry.start_upload("p/app")
        holds, go_on = asyncio.Event(), asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b"a" * 1024 * 1024
            holds.set()
            await go_on.wait()

        async def quick() -> AsyncIterator[bytes]:
            yield b"b"

        first = asyncio.create_task(registry.append_upload("p/app", session, Chunk(slow())))
        await holds.wait()
        with pytest.raises(RegistryError) as refused:
            await registry.append_upload("p/app", session, Chunk(quick()))
        assert (refused.value.code, refused.value.status) == ("BLOB_UPLOAD_INVALID", 409)
        go_on.set()
        assert await first == 3 * 1024 * 1024

    run(body)


@pytest.mark.parametrize("begun", [b"", b"first"], ids=["its first chunk", "a later chunk"])
def test_nobody_writes_before_a_chunk_is_recorded(run: Run, begun: bytes) -> None:
    """The record of a chunk waits; another request must not write over what it names."""

    async def body(lab: Lab) -> None:
        registry = lab.services.registry
        await lab.project()
        session = await lab.session("p/app", begun)
        async with _records_wait(lab):
            first = asyncio.create_task(registry.append_upload("p/app", session, Chunk(stream(b"good"))))
            while await lab.services.storage.upload_size(session) != len(begun) + 4:
                await asyncio.sleep(0.01)
            # What it has written is closed, or closed soon: another request finds nobody writing.
            await asyncio.sleep(0.2)
            second = asyncio.create_task(
                registry.append_upload("p/app", session, Chunk(stream(b"evil bytes")))
            )
            await asyncio.wait([second], timeout=1)
        assert await first == len(begun) + 4
        with pytest.raises(RegistryError) as refused:
            await second
        assert refused.value.status in (409, 416)
        await registry.close_upload("p/app", session, digest_of(begun + b"good"), Chunk(stream(b"")))
        assert await _stored(lab, digest_of(begun + b"good")) == begun + b"good"

    run(body)


@pytest.mark.parametrize("begun", [b"", b"first"], ids=["unrecorded", "recorded"])
def test_what_was_recorded_after_the_look_at_a_session_is_not_cut(run: Run, begun: bytes) -> None:
    async def body(lab: Lab) -> None:
        registry, sessions = lab.services.registry, lab.content.uploads
        await lab.project()
        session = await lab.session("p/app", begun)
        async with _records_wait(lab):
            first = asyncio.create_task(registry.append_upload("p/app", session, Chunk(stream(b"good"))))
            while await lab.services.storage.upload_size(session) != len(begun) + 4:
                await asyncio.sleep(0.01)
            seen = await sessions.get("p/app", session)
        await first
        with pytest.raises(RegistryError) as refused:
            await sessions.open_writer(seen)
        assert (refused.value.code, refused.value.status) == ("BLOB_UPLOAD_INVALID", 409)
        await registry.close_upload("p/app", session, digest_of(begun + b"good"), Chunk(stream(b"")))
        assert await _stored(lab, digest_of(begun + b"good")) == begun + b"good"

    run(body)


def test_a_record_that_comes_late_does_not_vouch_for_bytes_of_another_request(run: Run) -> None:
    """A commit that hung comes through after another request has written over what it names."""

    async def body(lab: Lab) -> None:
        registry, storage = lab.services.registry, lab.services.storage
        await lab.project()
        session = await lab.session("p/app", b"first")
        recorded = await lab.content.uploads.get("p/app", session)
        await registry.append_upload("p/app", session, Chunk(stream(b"good")))
        other = await storage.open_upload(session, recorded.offset, recorded.state)
        await other.write(b"evil")
        await other.release()
        with pytest.raises(RegistryError) as refused:
            await registry.close_upload("p/app", session, digest_of(b"firstgood"), Chunk(stream(b"")))
        assert refused.value.code == "DIGEST_INVALID"

    run(body)


async def _stored(lab: Lab, digest: str) -> bytes:
    blob = await lab.content.blobs.get("p/app", digest)
    pieces = [piece async for piece in lab.services.storage.stream(blob.key, 0, blob.size)]
    return b"".join(pieces)


@asynccontextmanager
async def _records_wait(lab: Lab) -> AsyncIterator[None]:
    """Hold what the record of a session needs: rows of its tables; on SQLite the one writer."""
    holds, go_on = threading.Event(), threading.Event()

    def hold(connection: Connection) -> None:
        connection.execute(select(uploads.c.id).with_for_update())
        connection.execute(select(repositories.c.id).with_for_update())
        holds.set()
        go_on.wait(30)

    task = asyncio.create_task(lab.db.write(hold))
    try:
        assert await asyncio.to_thread(holds.wait, 30)
        yield
    finally:
        go_on.set()
        await task
