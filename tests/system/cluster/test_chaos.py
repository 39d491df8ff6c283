"""The chaos run, short: no acknowledged write lost, no wrong content, no random 401, clients go on.

`SEAWALL_CHAOS_SECONDS` is how long each fault lasts (6 unless told). `make chaos` runs longer faults, holds
the outages against ten seconds and writes docs/ha-results.md.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import ROOT
from tests.support.testbed import in_own_network

SECONDS = os.environ.get("SEAWALL_CHAOS_SECONDS", "6")
FULL = "SEAWALL_CHAOS_SECONDS" in os.environ
PAGE = ROOT / "docs" / "ha-results.md"


@pytest.mark.timeout(3600 if FULL else 600)
def test_nothing_is_lost_whatever_fails(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    done = in_own_network("tests.system.cluster.chaos", SECONDS, str(file))
    assert file.exists(), done.stderr[-6000:]
    result: dict[str, Any] = json.loads(file.read_text())
    print(done.stderr)
    told = json.dumps(result, indent=1)[-8000:]
    assert result["fatal"] == [], told
    assert result["lost"] == [], told
    assert result["unauthorized"] == [], told
    assert result["linearizable"]
    assert all(result["linearizable"].values()), json.dumps(result["wrong"], indent=1)
    assert result["check"] == [], "after all of it the cluster is sound"
    cases = {case["name"]: case for case in result["cases"]}
    assert set(cases) >= {"kill", "primary", "redis", "cut-database", "cut-storage", "cut-balancer", "keys"}
    for name in ("calm", "keys", "redis"):
        assert cases[name]["fault"]["failed"] == 0, cases[name]
    for case in cases.values():
        # Clients go on during the fault and after it.
        assert case["fault"]["requests"] > case["fault"]["failed"], case
        assert case["mended"]["requests"] > case["mended"]["failed"], case
    assert done.returncode == 0, done.stderr[-3000:]
    if FULL:
        PAGE.write_text(page(result))
        for name in set(cases) - {"calm"}:
            assert cases[name]["fault"]["reads_out"] < 10, cases[name]
            # A commit waits for a synchronous standby as long as that hangs.
            assert cases[name]["fault"]["writes_out"] < 10 or name == "hang-standby", cases[name]


_PAGE = """# High availability: results

Made by `make chaos` (`tests/system/cluster/chaos.py`). What fails is real: PostgreSQL with a synchronous
streaming replica, Redis with three Sentinels, OpenStack Swift's S3 API, HAProxy and three instances, each in
a network namespace of its own. Links are cut by dropping packets silently. Timeouts and retries are those
that Seawall ships.

The load: three clients that push images of two blobs in chunks, three that pull and verify what was
acknowledged, one skopeo that pushes and pulls (`--retry-times 1`). Each repeats an operation until it
succeeds; every request that failed is counted. (Debian's skopeo 1.9.3 ends at a 503 within an upload: its
`--retry-times` does not cover that, so such a push is tried again by the load.)

Each fault lasts {seconds:.0f} s. *Recovery* is the time from the fault to the end of the last request that
failed or took longer than {slow:.0f} s (5 s, or twice the longest request while nothing failed); *longest* is
the longest request; the last columns are the same from the moment at which the fault was mended. A
request that the next fault broke counts in both rows.

*Reads out* and *writes out* are the longest times in which no read and no write succeeded. While a
synchronous standby hangs, every commit waits for it, so writes are out until it wakes up or is taken off
`synchronous_standby_names`; reads are not.

| Fault | requests | failed | reads out | writes out | recovery | longest | skopeo | mended: failed | after |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|
{rows}

Acknowledged: {manifests} manifests and {blobs} blobs; lost: {lost}. Wrong content: {fatal}. 401 to good
credentials: {unauthorized}. Histories of moving tags ({operations} operations): linearizable.
`seawall ha check` at the end: no faults.

What failed, in the clients' words:

{errors}

Host: {cpus} CPUs for all of it, load average {busy} before and at the end, Python {python}, {haproxy}.

[Other faults](ha-faults.md) have tests of their own.
"""


def page(result: dict[str, Any]) -> str:
    """docs/ha-results.md."""
    rows, errors = [], []
    for case in result["cases"]:
        fault, mended = case["fault"], case["mended"]
        rows.append(
            f"| {case['title']} | {fault['requests']} | {fault['failed']} "
            f"| {fault['reads_out']} s | {fault['writes_out']} s | {fault['recovery']} s "
            f"| {fault['longest']} s | {fault['skopeo']} ({fault['skopeo_failed']}) "
            f"| {mended['failed']} | {mended['recovery']} s |"
        )
        for error in [*fault["errors"], *mended["errors"]]:
            errors.append(f"- {case['name']}: `{' '.join(error.split())[:150]}`")
    version = subprocess.run(["haproxy", "-v"], capture_output=True, text=True).stdout.split(" - ")[0]
    return _PAGE.format(
        seconds=result["seconds"],
        slow=result["slow"],
        busy=" and ".join(map(str, result["load_average"])),
        rows="\n".join(rows),
        errors="\n".join(errors) or "nothing",
        manifests=result["manifests"],
        blobs=result["blobs"],
        lost=len(result["lost"]),
        fatal=len(result["fatal"]),
        unauthorized=len(result["unauthorized"]),
        operations=sum(result["operations"].values()),
        cpus=os.cpu_count(),
        python=platform.python_version(),
        haproxy=version,
    )
