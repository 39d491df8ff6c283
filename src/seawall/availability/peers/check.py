"""What `ha check` says of peers: who is away, how far behind this instance is, and every difference."""

from __future__ import annotations

from seawall.availability.cluster.check import CLOCK_SECONDS
from seawall.availability.cluster.report import CheckReport
from seawall.availability.peers.status import Status, Statuses

_SHOWN = 100


async def check_peers(statuses: Statuses, report: CheckReport) -> None:
    """Add the faults between this instance and its peers, each with its cure."""
    report.tested.append("peers")
    for item in await statuses.all(_SHOWN):
        where = [item.url]
        name = item.name or item.url
        if not item.reachable:
            lag = "" if item.lag_seconds is None else f"; this instance followed it until {_ago(item)}"
            cure = "start it, open the port between the hosts, or correct peers.urls"
            if item.error and "master key" in item.error:
                cure = "give all instances the same master key (master_key_file), and restart"
            report.fault("peer-away", where, f"peer {name} is away ({item.error}){lag}", cure)
            continue
        if item.error:
            report.fault("peer", where, f"peer {name}: {item.error}", "see `seawall peers status`")
        if item.clock is not None and abs(item.clock) > CLOCK_SECONDS:
            report.fault(
                "clock",
                where,
                f"the clock of peer {name} differs by {item.clock:+.1f} s from the one here; of two changes "
                "made at the same time the one with the later clock is kept",
                "run an NTP client on every host",
            )
        if item.behind:
            report.fault(
                "peer-lag",
                where,
                f"{item.behind} changes of peer {name} are not here yet; it was followed until {_ago(item)}",
                "wait; if it does not end, see what each waits for in `seawall peers status`",
            )
        for entry in item.differences:
            report.fault(
                "difference",
                where,
                f"{entry['kind']} {entry['key']}: {entry['here']} here, {entry['there']} at {name}",
                "run `seawall peers sync` on both; a reason that is named must be corrected first",
            )


def _ago(item: Status) -> str:
    return "never" if item.lag_seconds is None else f"{item.lag_seconds:.0f} s ago"
