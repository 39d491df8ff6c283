"""Two sites in network namespaces under push load: nothing acknowledged is lost without a word.

`SEAWALL_DR_SECONDS` is how long each phase lasts (2 unless told). `make dr` runs longer phases, with
PostgreSQL at both sites, and writes docs/dr-results.md.
"""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import pytest

from tests.support.dr_hosts import HOSTS, LEASE
from tests.support.processes import ROOT
from tests.support.testbed import in_own_network

SECONDS = os.environ.get("SEAWALL_DR_SECONDS", "2")
FULL = "SEAWALL_DR_SECONDS" in os.environ
PAGE = ROOT / "docs" / "dr-results.md"


@pytest.mark.timeout(900)
def test_two_sites_lose_nothing_without_a_word(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    done = in_own_network("tests.system.sites.dr_run", SECONDS, str(file), "1" if FULL else "0", hosts=HOSTS)
    assert file.exists(), done.stderr[-8000:]
    result: dict[str, Any] = json.loads(file.read_text())
    print(done.stderr)
    told = json.dumps(result, indent=1)[-8000:]
    phases = result["phases"]
    # The active goes on while the standby is away.
    assert phases["link"]["acks"] > 0, told
    for name in ("planned", "failback"):
        assert phases[name]["lost"] == 0, told
    for name in ("isolated", "killed"):
        # What the new active did not have is there after the old one's return, and was told of.
        assert phases[name]["still"] == 0, told
        assert phases[name]["told"] == phases[name]["lost"], told
    # The isolated site acknowledged pushes that the other could not know of.
    assert phases["isolated"]["lost"] > 0, told
    for name in ("planned", "failback", "isolated", "killed"):
        assert phases[name]["together"] == 0, "two sites took writes at one time: " + told
    assert phases["end"]["missing"] == [0, 0], told
    assert phases["end"]["differences"] == 0, told
    assert phases["end"]["damaged"] == [], told
    if FULL:
        PAGE.write_text(page(result))


_PAGE = """# Disaster recovery: results

`make dr` writes this page (`tests/system/sites/dr_run.py`). There are two sites, each with one instance
and a PostgreSQL of its own, and a witness. Each host runs in a network namespace of its own. A link is
cut by dropping its packets silently. Two clients push images of two blobs, one after the other, to the
site whose `/readyz?writes=1` answers 200. Each phase lasts {seconds:.0f} s. The lease
(`dr.lease_seconds`) is {lease:.0f} s, and the standby asks for changes every 0.3 s (`dr.poll_seconds`).

| Case | RPO | pushes lost | carried over or listed | RTO | both took writes |
|---|--:|--:|--:|--:|--:|
{rows}

- *RPO* (recovery point objective): the time over which pushes were lost. It begins with the first
  acknowledged push that the new active site did not have, and ends with the last push that the old one
  acknowledged.
- *pushes lost*: acknowledged pushes that the new active site did not have when it was promoted.
- *carried over or listed*: how many of the lost pushes `seawall dr divergences` named once the old site
  had returned. It names what was carried over and what was not.
- *RTO* (recovery time objective): the time without writes. It begins with the fault, or with the last
  push at the old site of a planned switch, and ends with the first push that the new active site
  acknowledged. The run called `promote` at the moment of the fault, so add the time that you take to
  decide. In the unplanned cases most of the RTO is the wait for the end of the lease.
- *both took writes*: pushes that the old active site acknowledged after one had begun at the new active
  site.

While nothing failed, the standby was at most {steady[lag]:.1f} s behind. Then the link between the
sites was cut for {link[cut]} s. Meanwhile the active acknowledged {link[acks]} pushes, and
{link[caught_up]} s after the repair the standby had them. The isolated active acknowledged its last
push {isolated[stopped]} s after the cut. An old active that came back was a standby after
{isolated[returned]} s (isolated) and after {killed[returned]} s (killed; this includes its start).

At the end {end[acks]} pushes were acknowledged. Missing at either site: {missing}. Rows that differ
between the databases: {end[differences]}. Damaged or missing blobs by `seawall fsck`: {damaged}.

Host: {cpus} CPUs for all of it, Python {python}.
"""

_CASES = {
    "planned": "planned switch (`failback`)",
    "failback": "switch back",
    "isolated": "the active is cut off from standby and witness; clients still reach it",
    "killed": "the active is killed (`kill -9` of instance and database)",
}


def page(result: dict[str, Any]) -> str:
    """docs/dr-results.md."""
    phases = result["phases"]
    rows = []
    for name, title in _CASES.items():
        case = phases[name]
        rows.append(
            f"| {title} | {case.get('rpo', 0)} s | {case['lost']} | {case.get('told', '-')} "
            f"| {case['rto']} s | {case['together']} |"
        )
    return _PAGE.format(
        **phases,
        rows="\n".join(rows),
        seconds=result["seconds"],
        lease=LEASE,
        missing=sum(phases["end"]["missing"]),
        damaged=len(phases["end"]["damaged"]),
        cpus=os.cpu_count(),
        python=platform.python_version(),
    )
