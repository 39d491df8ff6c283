"""PostgreSQL commits a push, and the connection breaks before the answer: the push has happened."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from seawall.infra.settings import DatabaseSettings, Settings
from seawall.process.wiring import open_process
from seawall.registry.model import Chunk
from tests.support.digests import digest_of
from tests.support.lab import Lab, stream
from tests.support.servers.postgres import Postgres
from tests.support.servers.proxy import TcpProxy


@pytest.fixture
def proxy(postgres: Postgres) -> Iterator[TcpProxy]:
    made = TcpProxy(("127.0.0.1", postgres.port))
    # The answers of a whole commit go with it.
    made.gather_seconds = 0.02
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("way", ["in one request", "of a new session", "of a session with bytes"])
def test_a_blob_is_there_once(postgres: Postgres, proxy: TcpProxy, tmp_path: Path, way: str) -> None:
    url = postgres.migrated().replace(f":{postgres.port}/", f":{proxy.port}/") + "?sslmode=disable"
    settings = Settings(data_dir=tmp_path / "data", database=DatabaseSettings(url=url, pool_size=8))

    async def body(lab: Lab) -> None:
        registry = lab.services.registry
        await lab.project()
        # The first push makes the repository; later ones compile nothing.
        for data in (b"first", b"second"):
            await registry.put_blob("p/app", digest_of(data), stream(data))
        for again in range(2):
            # What is there already must keep the bytes that it has, and they alone.
            data = b"second" if again else secrets.token_bytes(3000)
            session = await registry.start_upload("p/app")
            if way == "of a session with bytes":
                await registry.append_upload("p/app", session, Chunk(stream(data[:5])))
            broken: list[bool] = []

            def on_request(sent: bytes, broken: list[bool] = broken) -> str:
                if b"COMMIT" in sent and not broken:
                    broken.append(True)
                    return "last"
                return "pass"

            proxy.on_request = on_request
            if way == "in one request":
                await registry.put_blob("p/app", digest_of(data), stream(data))
            else:
                rest = data[5:] if way == "of a session with bytes" else data
                await registry.close_upload("p/app", session, digest_of(data), Chunk(stream(rest)))
            assert broken
            proxy.on_request = lambda _sent: "pass"
            blob = await lab.content.blobs.get("p/app", digest_of(data))
            pieces = [piece async for piece in lab.services.storage.stream(blob.key, 0, blob.size)]
            assert b"".join(pieces) == data
            stored = [item.key async for item in lab.services.storage.list()]
            assert stored.count(blob.key) == 1
            assert len(stored) == 3

    async def main() -> None:
        services = open_process(settings)
        try:
            await body(Lab(services))
        finally:
            await services.close()

    asyncio.run(main())
