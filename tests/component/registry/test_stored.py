"""Storage that lost bytes, or returns wrong ones: nothing is promised or given that is not proven."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from seawall.kernel.errors import RegistryError, UnavailableError
from seawall.registry import stored
from tests.support.lab import Lab, Run

SIZES = [1000, 3_000_000]


class Liar:
    """Flips a bit in so many of the next reads."""

    def __init__(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        self._stream = lab.services.storage.stream
        monkeypatch.setattr(lab.services.storage, "stream", self.stream)

    async def stream(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        lies, self.times = self.times > 0, max(0, self.times - 1)
        async for data in self._stream(key, start, end):
            yield bytes([data[0] ^ 1]) + data[1:] if lies else data
            lies = False


async def pull(lab: Lab, name: str, digest: str) -> bytes:
    found = await lab.content.open_blob(name, digest, whole=True)
    if found.data is not None:
        return found.data
    return b"".join([part async for part in found.read(0, found.size)])


async def lose(lab: Lab, name: str, digest: str) -> None:
    blob = await lab.content.blobs.get(name, digest)
    await lab.services.storage.delete(blob.key)


@pytest.mark.parametrize("size", SIZES)
def test_a_push_brings_back_what_storage_lost(run: Run, size: int) -> None:
    async def body(lab: Lab) -> None:
        await lab.project()
        data = secrets.token_bytes(size)
        digest = await lab.blob("p/a", data)
        await lose(lab, "p/a", digest)
        unknown: list[Any] = [
            lambda: lab.content.blob_size("p/a", digest),
            lambda: pull(lab, "p/a", digest),
        ]
        for ask in unknown:
            with pytest.raises(RegistryError) as caught:
                await ask()
            assert caught.value.code == "BLOB_UNKNOWN"
            assert caught.value.status == 404
        # A mount would link what nobody can pull.
        await lab.content.repositories.ensure("p/b")
        assert not await lab.content.mount_blob("p/b", digest, "p/a")
        # Clients that push it at once, to two repositories.
        await asyncio.gather(*(lab.blob(name, data) for name in ("p/a", "p/b") * 3))
        for name in ("p/a", "p/b"):
            assert await lab.content.blob_size(name, digest) == size
            assert await pull(lab, name, digest) == data
        assert await lab.content.mount_blob("p/b", digest, "p/a")
        kept = [item.key async for item in lab.services.storage.list()]
        assert [(await lab.content.blobs.get("p/a", digest)).key] == kept

    run(body)


def test_a_file_counts_as_there_for_a_second_only(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at the disk for each pull would cost as much as the pull; a hung disk must not stop the loop."""

    async def body(lab: Lab) -> None:
        await lab.project()
        digest = await lab.blob("p/a", secrets.token_bytes(SIZES[1]))
        size, looks = lab.services.storage.size, 0

        async def counted(key: str) -> int | None:
            nonlocal looks
            looks += 1
            return await size(key)

        monkeypatch.setattr(lab.services.storage, "size", counted)
        for _ in range(20):
            assert (await lab.content.open_blob("p/a", digest, whole=True)).path is not None
        assert looks == 1
        await lose(lab, "p/a", digest)
        with pytest.raises(RegistryError, match="missing from storage"):
            await lab.content.blob_size("p/a", digest)
        monkeypatch.setattr(stored, "_SEEN_SECONDS", 0.0)
        with pytest.raises(RegistryError, match="missing from storage"):
            await lab.content.open_blob("p/a", digest, whole=True)

    run(body)


def test_a_push_leaves_bytes_that_are_there(run: Run) -> None:
    async def body(lab: Lab) -> None:
        await lab.project()
        data = secrets.token_bytes(100)
        digest = await lab.blob("p/a", data)
        key = (await lab.content.blobs.get("p/a", digest)).key
        await lab.blob("p/b", data)
        assert (await lab.content.blobs.get("p/b", digest)).key == key
        assert [item.key async for item in lab.services.storage.list()] == [key]

    run(body)


def test_small_blobs_are_proven_before_they_are_kept(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(lab: Lab) -> None:
        await lab.project()
        data = secrets.token_bytes(SIZES[0])
        digest = await lab.blob("p/a", data)
        liar = Liar(lab, monkeypatch)
        liar.times = 2
        with pytest.raises(UnavailableError):
            await pull(lab, "p/a", digest)
        liar.times = 1
        assert await pull(lab, "p/a", digest) == data
        liar.times = 1
        assert await pull(lab, "p/a", digest) == data
        assert liar.times == 1, "it was answered from memory"

    run(body)


def test_a_stream_of_wrong_bytes_does_not_come_to_its_end(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(lab: Lab) -> None:
        await lab.project()
        data = secrets.token_bytes(SIZES[1])
        digest = await lab.blob("p/a", data)
        liar = Liar(lab, monkeypatch)
        liar.times = 1
        found = await lab.content.open_blob("p/a", digest, whole=True)
        got = bytearray()

        async def read() -> None:
            async for part in found.read(0, found.size):
                got.extend(part)

        with pytest.raises(UnavailableError):
            await read()
        assert len(got) < len(data)
        assert await pull(lab, "p/a", digest) == data

    run(body)
