"""The registry of instances, and the check that names what is wrong between them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from seawall.availability.cluster.instances import config_hash, own_address
from seawall.infra.loading import load
from tests.support.cluster import Cluster
from tests.support.instances import check, kinds
from tests.support.servers.postgres import Postgres
from tests.support.servers.redis import RedisNode


@pytest.fixture
def redis() -> Iterator[RedisNode]:
    """A Redis of the test's own."""
    node = RedisNode()
    node.start()
    yield node
    node.close()


@pytest.fixture
def cluster(postgres: Postgres, redis: RedisNode, tmp_path: Path) -> Iterator[Cluster]:
    """Three instances, not started."""
    # A sound cluster has somebody who does its jobs.
    settings = {"SEAWALL_REDIS__URL": redis.url, "SEAWALL_JOBS__EMBEDDED": "true"}
    found = Cluster(tmp_path, postgres.migrated(), settings=settings)
    yield found
    found.close()


def test_a_sound_cluster(cluster: Cluster) -> None:
    # The first instance is the balancer's stand-in here; tests of real balancers are in test_balancers.
    cluster.instances[0].start()
    for instance in cluster.instances[1:]:
        instance.start()
    report = check(cluster)
    # external_url is not set yet: that, and only that, is told.
    assert kinds(report) == {"external_url"}
    assert report["pairs"] == 6
    assert set(report["tested"]) >= {"keys", "tokens", "database", "storage", "redis", "versions", "clocks"}
    api = httpx.get(f"{cluster.instances[1].url}/api/v2.0/seawall/ha/check", auth=cluster.admin, timeout=30)
    assert api.status_code == 200
    assert [fault["kind"] for fault in api.json()["faults"]] == ["external_url"]
    listed = httpx.get(f"{cluster.instances[1].url}/api/v2.0/seawall/ha/instances", auth=cluster.admin)
    assert [item["alive"] for item in listed.json()] == [True] * 3
    assert {item["address"] for item in listed.json()} == {item.url for item in cluster.instances}
    for path in ("check", "instances"):
        url = f"{cluster.instances[1].url}/api/v2.0/seawall/ha/{path}"
        assert httpx.get(url).status_code == 401
    cluster.instances[0].create_user("eve", "Eve-1234567")
    assert (
        httpx.get(
            f"{cluster.instances[1].url}/api/v2.0/seawall/ha/check", auth=("eve", "Eve-1234567")
        ).status_code
        == 403
    )
    leftover = [p for p in (cluster.root / "shared").rglob("*") if "probe" in p.name]
    assert leftover == []

    # One dies, one stops in good order.
    cluster.instances[1].kill()
    assert cluster.instances[2].stop() == 0
    deadline = time.monotonic() + 20
    while "dead" not in kinds(report := check(cluster)):
        assert time.monotonic() < deadline
        time.sleep(0.3)
    dead = next(fault for fault in report["faults"] if fault["kind"] == "dead")
    assert dead["instances"] == [cluster.instances[1].url]
    states = {item["address"]: item["alive"] for item in report["instances"]}
    assert states == {cluster.instances[0].url: True, cluster.instances[1].url: False}
    assert "dead" in cluster.instances[0].cli("ha", "status").stdout
    cluster.instances[1].start()
    assert "dead" not in kinds(check(cluster)), "it came back at the same address"


def test_each_fault_is_named(cluster: Cluster, postgres: Postgres) -> None:
    first, odd, other = cluster.instances
    odd.environment |= {
        "SEAWALL_STORAGE__ROOT": str(cluster.root / "own"),
        "SEAWALL_EXTERNAL_URL": "http://elsewhere.example",
    }
    del odd.environment["SEAWALL_REDIS__URL"]
    other.environment["SEAWALL_HA__ADDRESS"] = "http://127.0.0.1:9"
    cluster.start()
    report = check(cluster)
    assert kinds(report) >= {"storage", "external_url", "redis", "configuration", "unreachable"}
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for fault in report["faults"]:
        assert fault["cure"]
        by_kind.setdefault(fault["kind"], []).append(fault)
    assert [f["instances"] for f in by_kind["storage"]] == [sorted([first.url, odd.url])] * 2
    assert "does not see what" in by_kind["storage"][0]["message"]
    assert by_kind["redis"][0]["instances"] == [odd.url]
    assert by_kind["configuration"][0]["instances"] == [odd.url]
    assert by_kind["unreachable"][0]["instances"] == ["http://127.0.0.1:9"]
    text = first.cli("ha", "check")
    assert text.returncode == 1
    assert text.stdout.count("FAULT") == len(report["faults"])
    assert text.stdout.count("cure:") == len(report["faults"])


def test_a_wrong_clock_is_named(cluster: Cluster) -> None:
    first, odd, _ = cluster.instances
    odd.environment |= {
        "LD_PRELOAD": "/usr/$LIB/faketime/libfaketime.so.1",
        "FAKETIME": "+40s",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    first.start()
    odd.start()
    report = check(cluster)
    clock = next(fault for fault in report["faults"] if fault["kind"] == "clock")
    said = re.search(rf"the clock of {odd.url} is ([0-9.]+) s ahead of that of {first.url}", clock["message"])
    assert said
    assert 38 < float(said[1]) < 42
    states = {item["address"]: item for item in report["instances"]}
    assert states[odd.url]["alive"], "a wrong clock does not make an instance look dead"
    assert 39 < states[odd.url]["clock_skew"] < 41


def test_the_probe_is_for_the_cluster_only(cluster: Cluster) -> None:
    cluster.instances[0].start()
    url = f"{cluster.instances[0].url}/_seawall/probe"
    assert httpx.post(url, json={}).status_code == 404
    token = httpx.get(f"{cluster.instances[0].url}/service/token?service=seawall", auth=cluster.admin).json()[
        "token"
    ]
    # An ordinary token is signed with the same key, but not meant for this.
    assert httpx.post(url, json={}, headers={"Authorization": f"Bearer {token}"}).status_code == 404


def test_versions() -> None:
    from seawall.availability.cluster.check import _versions
    from seawall.availability.cluster.report import CheckReport

    for found, fine in (
        (["1.2.0", "1.3.5"], True),
        (["1.2.0", "1.4.0"], False),
        (["1.9.0", "2.0.0"], False),
        (["1.2.0"], True),
    ):
        report = CheckReport()
        _versions(report, {f"http://{n}": {"version": version} for n, version in enumerate(found)})
        assert report.ok == fine, found


def test_settings_that_must_agree(tmp_path: Path) -> None:
    one = load(None, {"data_dir": tmp_path / "a", "http": {"port": 1}, "log": {"level": "debug"}})
    two = load(None, {"data_dir": tmp_path / "b", "http": {"port": 2, "workers": 7}})
    three = load(None, {"auth": {"token_minutes": 7}})
    assert config_hash(one) == config_hash(two)
    assert config_hash(one) != config_hash(three)
    assert own_address(one) == "http://127.0.0.1:1"
    assert own_address(load(None, {"ha": {"address": "http://x:1/"}})) == "http://x:1"
    everywhere = own_address(load(None, {"http": {"host": "0.0.0.0", "port": 5}}))
    assert everywhere.endswith(":5")
    assert "0.0.0.0" not in everywhere
