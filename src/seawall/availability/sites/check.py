"""What `seawall ha check` says of the two sites."""

from __future__ import annotations

from typing import Any

from seawall.availability.cluster.report import CheckReport
from seawall.availability.sites.state import ACTIVE, FENCED, STANDBY

# A standby that is further behind than this (seconds) is worth a word.
LAG_SECONDS = 30.0


def check_sites(told: dict[str, Any], report: CheckReport) -> None:
    """Add the faults in `told` (`DrService.status`) to the report."""
    role, site, peer = told["role"], told["site"], told["peer"] or {}
    where = [url for url in (peer.get("url"),) if url]
    if not peer.get("reachable"):
        report.fault(
            "dr-peer",
            where,
            f"site {site} does not reach the other site ({peer.get('url')})",
            "check the link between the sites, and dr.peer; until then writes are at one site only",
        )
    elif role == ACTIVE and peer.get("role") == ACTIVE:
        report.fault(
            "dr-two-actives",
            where,
            f"{site} and {peer['site']} are both active",
            "they are two registries: one was started without dr.start_as standby; start that one again",
        )
    elif role == ACTIVE and peer.get("role") == FENCED:
        report.fault(
            "dr-fenced", where, f"{peer['site']} does not follow yet", "see its log and `seawall dr status`"
        )
    if role == ACTIVE and not told["writable"]:
        report.fault(
            "dr-lease",
            where,
            f"{site} is active and takes no writes: its lease has run out",
            "bring the witness or the other site back; the lease is then renewed by itself",
        )
    if role == FENCED:
        report.fault(
            "dr-fenced",
            where,
            f"{site} takes no writes and does not follow an active site",
            "`seawall dr promote` at a site",
        )
    if told["witness"] is not None and not told["witness"]["reachable"]:
        report.fault(
            "dr-witness",
            [told["witness"]["url"]],
            f"site {site} does not reach the witness",
            "start it (`seawall dr witness`); without it and the other site no writes are taken",
        )
    lag = told["lag_seconds"]
    if lag is not None and lag > LAG_SECONDS:
        report.fault(
            "dr-lag", where, f"the standby is {lag:.0f} s behind", "see the standby's log and the link"
        )
    if role == STANDBY and told["error"]:
        report.fault("dr-follow", where, f"{site} does not follow: {told['error']}", "remove that cause")
    if told["syncing"] == "snapshot":
        report.fault("dr-sync", where, f"{site} is still receiving its first copy", "wait")
