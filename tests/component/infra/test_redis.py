"""Redis: one server, TLS, Sentinel, Cluster; and the registry without it."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from seawall.infra.redis import RedisClient, RedisUnavailableError
from seawall.infra.settings import RedisSettings
from tests.support.processes import free_port
from tests.support.registry import Registry
from tests.support.servers.redis import RedisNode, RedisSentinel
from tests.support.waiting import until


@pytest.fixture
def node() -> Iterator[RedisNode]:
    """A Redis of the test's own."""
    found = RedisNode()
    found.start()
    yield found
    found.close()


def use(settings: RedisSettings, work: Callable[[RedisClient], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        client = RedisClient(settings)
        try:
            return await work(client)
        finally:
            await client.close()

    return asyncio.run(run())


async def round_trip(client: RedisClient) -> None:
    assert await client.status() == "ok"
    await client.set("a", "1", 10)
    assert await client.get("a") == b"1"
    await client.refresh("a", "2", 10, unless="1")
    assert await client.get("a") == b"1"
    await client.refresh("a", "2", 10, unless="-")
    assert await client.get("a") == b"2"
    await client.delete("a")
    assert await client.get("a") is None


def test_one_server(node: RedisNode) -> None:
    use(RedisSettings(url=node.url), round_trip)

    async def messages(client: RedisClient) -> None:
        heard = client.listen("c")
        first = asyncio.ensure_future(anext(heard))
        for _ in range(100):
            await client.publish("c", "hello")
            await asyncio.sleep(0.05)
            if first.done():
                break
        assert await first == "hello"
        await heard.aclose()  # type: ignore[attr-defined]

    use(RedisSettings(url=node.url), messages)


def test_not_configured() -> None:
    async def work(client: RedisClient) -> None:
        assert await client.status() == "off"
        with pytest.raises(RedisUnavailableError):
            await client.get("a")

    use(RedisSettings(), work)


def _certificate(directory: Path) -> tuple[Path, Path]:
    """Files of a key and its certificate for 127.0.0.1."""
    key, crt = directory / "k.pem", directory / "c.pem"
    subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=r -addext subjectAltName=IP:127.0.0.1 "
        f"-keyout {key} -out {crt}".split(),
        check=True,
        capture_output=True,
    )
    return key, crt


def test_tls(tmp_path: Path) -> None:
    key, crt = _certificate(tmp_path)
    port = free_port()
    node = RedisNode(
        options={
            "tls-port": str(port),
            "port": "0",
            "tls-cert-file": str(crt),
            "tls-key-file": str(key),
            "tls-ca-cert-file": str(crt),
            "tls-auth-clients": "no",
        }
    )
    try:
        node.start()
        use(RedisSettings(url=f"rediss://127.0.0.1:{port}", tls_ca_file=crt), round_trip)

        async def untrusted(client: RedisClient) -> None:
            assert await client.status() == "ConnectionError"

        use(RedisSettings(url=f"rediss://127.0.0.1:{port}"), untrusted)
    finally:
        node.close()


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
def test_sentinel_moves_to_the_promoted_replica(tmp_path: Path, encrypted: bool) -> None:
    tls = _certificate(tmp_path) if encrypted else None
    group = RedisSentinel(tls=tls)
    try:
        group.start()

        async def work(client: RedisClient) -> None:
            await round_trip(client)
            group.primary.kill()
            deadline = time.monotonic() + 30
            while True:
                try:
                    await client.set("b", "1", 10)
                    break
                except RedisUnavailableError:
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.1)
            await round_trip(client)

        use(RedisSettings(sentinel=group.addresses, tls=encrypted, tls_ca_file=tls[1] if tls else None), work)
    finally:
        group.close()


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
def test_cluster(tmp_path: Path, encrypted: bool) -> None:
    tls = _certificate(tmp_path) if encrypted else None
    options = {"cluster-enabled": "yes"}
    nodes = [RedisNode(port=free_port(), options=options, tls=tls) for _ in range(3)]
    try:
        for node in nodes:
            node.start()
        addresses = [f"127.0.0.1:{node.port}" for node in nodes]
        subprocess.run(
            [
                *("redis-cli", "--cluster", "create", *addresses, "--cluster-yes"),
                *(["--tls", "--insecure"] if encrypted else []),
            ],
            check=True,
            capture_output=True,
            timeout=60,
        )
        until(lambda: not any("cluster_state:ok" not in node.ask("CLUSTER", "INFO") for node in nodes))
        where = ",".join(addresses)
        use(RedisSettings(cluster=where, tls=encrypted, tls_ca_file=tls[1] if tls else None), round_trip)
        if encrypted:

            async def untrusted(client: RedisClient) -> None:
                assert await client.status() != "ok"

            use(RedisSettings(cluster=where, tls=True), untrusted)
        for node in nodes:
            node.kill()

        async def lost(client: RedisClient) -> None:
            assert await client.status() not in ("ok", "off")
            with pytest.raises(RedisUnavailableError):
                await client.get("a")

        use(RedisSettings(cluster=where, tls=encrypted, tls_ca_file=tls[1] if tls else None), lost)
    finally:
        for node in nodes:
            node.close()


def test_registry_without_its_redis(fresh_registry: Registry, node: RedisNode) -> None:
    registry = fresh_registry
    registry.environment["SEAWALL_REDIS__URL"] = node.url
    registry.start()
    ready = httpx.get(f"{registry.url}/readyz")
    assert ready.json() == {
        "status": "ok",
        "checks": {"database": "ok", "storage": "ok", "redis": "ok"},
    }
    node.kill()
    ready = httpx.get(f"{registry.url}/readyz")
    assert ready.status_code == 200
    assert ready.json()["status"] == "degraded"
    assert ready.json()["checks"]["redis"] == "ConnectionError"
    with httpx.Client(base_url=f"{registry.url}/v2/library/app", auth=registry.admin) as client:
        location = client.post("/blobs/uploads/").raise_for_status().headers["Location"]
        digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
        assert client.put(location, params={"digest": digest}, content=b"hello").status_code == 201
        assert client.get(f"/blobs/{digest}").content == b"hello"
    node.start()
    until(lambda: httpx.get(f"{registry.url}/readyz").json()["status"] == "ok")


def test_redis_without_memory_is_degraded(node: RedisNode) -> None:
    """It still answers pings, and takes no more writes."""

    async def work() -> None:
        client = RedisClient(RedisSettings(url=node.url))
        assert await client.status() == "ok"
        await client.run(lambda redis: redis.config_set("maxmemory-policy", "noeviction"))
        await client.run(lambda redis: redis.config_set("maxmemory", "1"))
        assert await client.status() == "no memory left"
        await client.close()

    asyncio.run(work())
