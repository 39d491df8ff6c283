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

`make chaos` writes this page (`tests/system/cluster/chaos.py`; `SEAWALL_CHAOS_SECONDS` is the length of
each fault). The parts that fail are real: PostgreSQL with a synchronous streaming replica, Redis with
three Sentinels, OpenStack Swift's S3 API, HAProxy and three instances. Each runs in a network namespace
of its own. A link is cut by dropping its packets silently. Timeouts and retries have Seawall's
defaults.

Seven clients make the load. Three push images of two blobs in chunks. Three pull what was acknowledged
and verify it. One is skopeo (`--retry-times 1`), which pushes and pulls. Each client repeats an
operation until it succeeds, and every request that failed is counted. Debian's skopeo 1.9.3 gives up
after a 503 within an upload, because `--retry-times` does not cover that. The load then runs skopeo
again.

Each fault lasts {seconds:.0f} s. A request is *slow* when it takes longer than {slow:.0f} s. That limit
is 5 s, or twice the longest request while nothing failed. The columns:

- *failed*: requests that failed.
- *reads out*, *writes out*: the longest time in which no read, or no write, succeeded. While a
  synchronous standby hangs, every commit waits for it. Writes are then out until the standby wakes up,
  or until somebody removes it from `synchronous_standby_names`. Reads go on.
- *recovery*: the time from the beginning of the fault to the end of the last request that failed or was
  slow.
- *longest*: the longest request.
- *skopeo*: runs of skopeo; in brackets, how many of them failed.
- *failed after*, *recovery after*: the same, counted from the end of the fault. A request that the next
  fault broke counts in both rows.

| Fault | requests | failed | reads out | writes out | recovery | longest | skopeo | {after} |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|
{rows}

Acknowledged: {manifests} manifests and {blobs} blobs; lost: {lost}. Wrong content: {fatal}. 401 to good
credentials: {unauthorized}. Histories of moving tags ({operations} operations): linearizable. At the end
`seawall ha check` found no faults.

*Linearizable* means: every read of a tag gave the last acknowledged push of it, or a newer one
([consistency](consistency.md)).

What failed, in the clients' words. Each line begins with the name of its case in `chaos.py`; `calm` is
*nothing fails*:

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
        after="failed after | recovery after",
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
