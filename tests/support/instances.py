"""The check of a cluster, and what it finds."""

from __future__ import annotations

import json
from typing import Any

from tests.support.cluster import Cluster


def check(cluster: Cluster, number: int = 0) -> dict[str, Any]:
    """What `seawall ha check` reports; but that the cluster has no job runner, which shows after a while."""
    done = cluster.instances[number].cli("ha", "check", "--json")
    assert done.returncode in (0, 1), done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["ok"] == (done.returncode == 0)
    report["faults"] = [fault for fault in report["faults"] if fault["kind"] != "jobs"]
    report["ok"] = not report["faults"]
    return report


def kinds(report: dict[str, Any]) -> set[str]:
    return {fault["kind"] for fault in report["faults"]}
