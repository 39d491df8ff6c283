"""`seawall ha check`: whether the instances are one registry, tested pair by pair.

Runs on any host that reaches the database: on an instance, or from the command line. Instances are asked at
their own addresses (see `seawall.availability.cluster.probe`), and through `external_url` until each has
answered there.
"""

from __future__ import annotations

import asyncio
import time
from itertools import permutations
from typing import Any

import httpx

from seawall.availability.cluster.check_balancer import check_balancer
from seawall.availability.cluster.check_services import (
    check_accepted,
    check_database,
    check_redis,
    check_storage,
)
from seawall.availability.cluster.instances import Instance, InstanceRegistry, config_hash
from seawall.availability.cluster.prober import Prober
from seawall.availability.cluster.report import CheckReport, shown
from seawall.infra.db import Database
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.settings import Settings

CLOCK_SECONDS = 5.0


async def check(db: Database, settings: Settings, keys: KeyRing) -> CheckReport:
    """Test every pair of living instances."""
    registry = InstanceRegistry(db, settings, keys)
    report = CheckReport()
    known = await registry.list()
    alive = [item for item in known if item.alive]
    for item in known:
        report.instances.append(shown(item))
        if not item.alive and item.age < 3600:
            report.fault(
                "dead",
                [item.address],
                f"{item.address} ({item.hostname}) was last seen {item.age:.0f} s ago",
                "start it again, or ignore this if you removed it on purpose",
            )
    if not alive:
        report.fault("none", [], "no instance is alive", "start instances with `seawall serve`")
        return report
    async with Prober(keys, settings) as prober:
        facts = await _direct(prober, report, alive)
        report.pairs = len(facts) * (len(facts) - 1)
        _same(report, settings, keys, facts)
        _authorities(report, facts)
        _versions(report, facts)
        _clocks(report, facts)
        await check_accepted(prober, report, facts)
        await check_database(prober, report, db, facts)
        await check_storage(prober, report, facts)
        await check_redis(prober, report, facts)
        await check_balancer(prober, report, settings, facts)
    return report


async def _direct(prober: Prober, report: CheckReport, alive: list[Instance]) -> dict[str, dict[str, Any]]:
    """Facts of each instance that answers, by address."""

    async def one(item: Instance) -> tuple[str, dict[str, Any] | None]:
        started = time.time()
        try:
            found = await prober.ask(item.address, {})
        except PermissionError:
            report.fault(
                "keys",
                [item.address],
                f"{item.address} does not accept the token signing key of this database",
                "give it the cluster's database.url and master key, and restart it",
            )
            return item.address, None
        except (httpx.HTTPError, ValueError) as error:
            report.fault(
                "unreachable",
                [item.address],
                f"{item.address} lives but does not answer there: {type(error).__name__}",
                "open the port between the hosts, or set ha.address to where others reach it",
            )
            return item.address, None
        found["skew"] = found["time"] - (started + time.time()) / 2
        if found["id"] != item.id:
            report.fault(
                "address",
                [item.address],
                f"another instance than the registered one answers at {item.address} ({found['id']})",
                "set ha.address of each instance to an address of its own",
            )
            return item.address, None
        for part, state in found["health"].items():
            if state != "ok":
                report.fault(
                    part,
                    [item.address],
                    f"{item.address} cannot use its {part}: {state}",
                    f"look at the network and the settings of {part} there",
                )
        return item.address, found

    report.tested.append("reachable")
    answers = await asyncio.gather(*(one(item) for item in alive))
    return {address: found for address, found in answers if found is not None}


def _groups(facts: dict[str, dict[str, Any]], key: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for address, fact in facts.items():
        found.setdefault(str(fact[key]), []).append(address)
    return found


def _same(report: CheckReport, settings: Settings, keys: KeyRing, facts: dict[str, dict[str, Any]]) -> None:
    report.tested += ["keys", "external_url", "configuration"]
    for name, own in keys.fingerprints().items():
        different = [address for address, fact in facts.items() if fact["fingerprints"].get(name) != own]
        if different:
            report.fault(
                "keys",
                different,
                f"{', '.join(different)}: the {name} key is not the cluster's",
                "wait some seconds if a rotation is under way; else restart it with the cluster's "
                "database.url and master key",
            )
    urls = _groups(facts, "external_url")
    if len(urls) > 1:
        told = "; ".join(f"{url or '(none)'}: {', '.join(who)}" for url, who in sorted(urls.items()))
        report.fault(
            "external_url",
            list(facts),
            f"instances have different external_url: {told}",
            "set external_url to the balancer's address on all of them",
        )
    elif len(facts) > 1 and not next(iter(urls)):
        report.fault(
            "external_url",
            list(facts),
            "external_url is not set",
            "set external_url to the balancer's address on all instances",
        )
    hashes = _groups(facts, "config_hash")
    # Versions may know different settings: their hashes say nothing about each other.
    if len(hashes) > 1 and len(_groups(facts, "version")) == 1:
        own_hash = config_hash(settings)
        odd = [a for value, who in hashes.items() if value != own_hash for a in who] or list(facts)
        report.fault(
            "configuration",
            odd,
            f"settings that must be the same on all instances differ: {', '.join(sorted(odd))}",
            "compare `seawall config check` there with the others'",
        )


def _authorities(report: CheckReport, facts: dict[str, dict[str, Any]]) -> None:
    report.tested.append("ca_download")
    # Instances from before this was asked say nothing about it.
    known = {address: fact for address, fact in facts.items() if "ca" in fact}
    groups = _groups(known, "ca")
    if len(groups) > 1:
        told = "; ".join(f"{ca or 'none'}: {', '.join(sorted(who))}" for ca, who in sorted(groups.items()))
        report.fault(
            "ca_download",
            list(known),
            f"instances offer different CA certificates to clients: {told}",
            "copy the same *.crt files to the folder ca_download of each",
        )


def _versions(report: CheckReport, facts: dict[str, dict[str, Any]]) -> None:
    report.tested.append("versions")
    versions = {address: _minor(fact["version"]) for address, fact in facts.items()}
    if not versions:
        return
    low, high = min(versions.values()), max(versions.values())
    if high[0] != low[0] or high[1] - low[1] > 1:
        behind = [address for address, version in versions.items() if version == low]
        report.fault(
            "versions",
            behind,
            f"versions {low[0]}.{low[1]} and {high[0]}.{high[1]} run together",
            "upgrade one minor version at a time: version N runs next to N + 1 and no other",
        )


def _minor(version: str) -> tuple[int, int]:
    parts = [*version.split("."), "0"][:2]
    return (int(parts[0]), int(parts[1])) if all(part.isdigit() for part in parts) else (0, 0)


def _clocks(report: CheckReport, facts: dict[str, dict[str, Any]]) -> None:
    report.tested.append("clocks")
    for one, two in permutations(facts, 2):
        skew = facts[one]["skew"] - facts[two]["skew"]
        if skew > CLOCK_SECONDS:
            report.fault(
                "clock",
                [one, two],
                f"the clock of {one} is {skew:.1f} s ahead of that of {two}",
                "run a time service (chrony, systemd-timesyncd) on both hosts",
            )
