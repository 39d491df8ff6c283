"""A database that is away: every door says 503 in its own format, and opens again by itself."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.registry import Registry
from tests.support.servers.postgres import PostgresNode
from tests.support.waiting import until


@pytest.fixture
def node() -> Iterator[PostgresNode]:
    """A PostgreSQL of the test's own."""
    root = Path(tempfile.mkdtemp(prefix="seawall-away-"))
    root.chmod(0o755)
    server = PostgresNode(root / "pg")
    server.init()
    server.start()
    yield server
    server.kill()
    shutil.rmtree(root, ignore_errors=True)


def test_every_door_says_503(node: PostgresNode, tmp_path: Path) -> None:
    registry = Registry(
        tmp_path / "data",
        {
            "SEAWALL_DATABASE__URL": f"postgresql://seawall@127.0.0.1:{node.port}/postgres",
            "SEAWALL_DATABASE__RETRY_SECONDS": "0.5",
            "SEAWALL_HA__UNREADY_SECONDS": "1",
            "SEAWALL_HTTP__WORKERS": "1",
            "SEAWALL_JOBS__EMBEDDED": "false",
        },
    )
    doors = {
        "/v2/library/a/tags/list": "UNAVAILABLE",
        "/service/token?service=seawall": "UNAVAILABLE",
        "/api/v2.0/projects": "UNAVAILABLE",
    }
    try:
        registry.start()
        with httpx.Client(base_url=registry.url, auth=registry.admin, timeout=30) as client:
            before = {door: client.get(door).status_code for door in doors}
            node.kill()
            for door, code in doors.items():
                answer = client.get(door)
                assert answer.status_code == 503, f"{door}: {answer.status_code} {answer.text}"
                assert answer.json()["errors"][0]["code"] == code
            deadline = time.monotonic() + 20
            while (ready := client.get("/readyz")).status_code != 503:
                assert time.monotonic() < deadline
                time.sleep(0.2)
            assert ready.json()["checks"]["database"] != "ok"
            assert client.get("/healthz").status_code == 200
            node.start()
            until(lambda: {door: client.get(door).status_code for door in doors} == before)
            # Readiness is what the last check found, and the check runs once a second or so.
            until(lambda: client.get("/readyz").status_code == 200, lambda: client.get("/readyz").text)
    finally:
        registry.close()
