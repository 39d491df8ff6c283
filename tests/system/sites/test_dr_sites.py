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

Made by `make dr` (`tests/system/sites/dr_run.py`). Two sites, each with one instance and a PostgreSQL of its
own, and a witness, each host in a network namespace of its own; links are cut by dropping packets silently.
Two clients push images of two blobs one after the other, each to the site whose `/readyz?writes=1` says yes.
Each phase lasts {seconds:.0f} s; the lease is {lease:.0f} s, changes are asked for every 0.3 s.

| Case | RPO | pushes lost | carried over or listed | RTO | both took writes |
|---|--:|--:|--:|--:|--:|
{rows}

*RPO*: from the first acknowledged push that the new active did not have to the last one that the old active
acknowledged. *Pushes lost*: acknowledged, and not at the new active when it was promoted; the next column is
how many of them were there, or told of, when the old active had returned. *RTO*: from the fault (planned:
from the last push at the old site) to the first push that the new active acknowledged. `promote` was called
at the moment of the fault, so add the time that you take to decide; in the unplanned cases the RTO is mostly
the wait for the lease to run out. *Both took writes*: pushes that the old active acknowledged after one had
begun at the new active.

While nothing failed the lag was at most {steady[lag]:.1f} s. With the link between the sites cut for
{link[cut]} s the active acknowledged {link[acks]} pushes; {link[caught_up]} s after it was healed the standby
had them. The isolated active acknowledged its last push {isolated[stopped]} s after the cut. An old active
that came back was a standby after {isolated[returned]} s (isolated) and {killed[returned]} s (killed, with
its start).

After all of it: {end[acks]} pushes acknowledged, missing at either site: {missing}; rows that differ between
the databases: {end[differences]}; damaged or missing blobs by `seawall fsck`: {damaged}.

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
