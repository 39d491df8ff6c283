"""Instances whose clocks are ten minutes apart take each other's tokens: they are dated by the database's."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.support.cluster import Cluster
from tests.support.servers.postgres import Postgres

SCOPE = "repository:library/a:pull,push"


def test_tokens_of_instances_with_clocks_far_apart(postgres: Postgres, tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, postgres.migrated(), count=2, settings={"SEAWALL_AUTH__TOKEN_MINUTES": "5"})
    cluster.instances[1].environment |= {
        "LD_PRELOAD": "/usr/$LIB/faketime/libfaketime.so.1",
        "FAKETIME": "-600s",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    try:
        cluster.start()
        one, other = cluster.instances
        for source, target in ((one, other), (other, one)):
            answer = httpx.get(
                f"{source.url}/service/token",
                params={"service": "seawall", "scope": SCOPE},
                auth=cluster.admin,
                timeout=60,
            )
            token = answer.json()["token"]
            for place in (source, target):
                for _ in range(3):
                    used = httpx.post(
                        f"{place.url}/v2/library/a/blobs/uploads/",
                        headers={"Authorization": f"Bearer {token}"},
                        timeout=60,
                    )
                    assert used.status_code == 202, f"{place.url}: {used.text}"
    finally:
        cluster.close()
