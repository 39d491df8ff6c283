"""Two requests write to one upload session: the second one is refused, and the first one goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from seawall.kernel.errors import RegistryError
from seawall.registry.model import Chunk
from tests.support.lab import Lab, Run


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
