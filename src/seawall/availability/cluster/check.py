"""`seawall ha check`: whether the instances are one registry, tested pair by pair.

Runs on any host that reaches the database: on an instance, or from the command line. Instances are asked at
their own addresses (see `seawall.availability.cluster.probe`), and through `external_url` until each has
answered there.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import ssl
import time
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

import httpx
from sqlalchemy import delete, insert, text

from seawall import __version__
from seawall.availability.cluster.instances import Instance, InstanceRegistry, config_hash
from seawall.availability.cluster.probe import PATH, probe_token
from seawall.availability.cluster.tables import instances
from seawall.infra.ca import read_ca
from seawall.infra.db import Database, dialect
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.settings import Settings
from seawall.kernel.errors import NotFoundError

CLOCK_SECONDS = 5.0
_PATIENCE = 15.0
# How long an instance may take to be chosen by the balancer, how long each question is held there, and how
# many are asked at once.
_BALANCER_SECONDS = 8.0
_HOLD = 0.3
_MOST_QUESTIONS = 64


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong: between which instances (addresses), and how to mend it."""

    kind: str
    instances: list[str]
    message: str
    cure: str


@dataclass(slots=True)
class CheckReport:
    """What a check found. `pairs`: ordered pairs of instances that were tested against each other."""

    instances: list[dict[str, Any]] = field(default_factory=list)
    pairs: int = 0
    tested: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    def fault(self, kind: str, where: list[str], message: str, cure: str) -> None:
        """Note a fault."""
        self.faults.append(Fault(kind, sorted(where), message, cure))


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
                "start it again, or ignore this when it was taken away on purpose",
            )
    if not alive:
        report.fault("none", [], "no instance is alive", "start instances with `seawall serve`")
        return report
    async with _Prober(keys, settings) as prober:
        facts = await _direct(prober, report, alive)
        report.pairs = len(facts) * (len(facts) - 1)
        _same(report, settings, keys, facts)
        _authorities(report, facts)
        _versions(report, facts)
        _clocks(report, facts)
        await _accepted(prober, report, facts)
        await _database(prober, report, db, facts)
        await _storage(prober, report, facts)
        await _redis(prober, report, facts)
        await _balancer(prober, report, settings, facts)
    return report


def shown(item: Instance) -> dict[str, Any]:
    """JSON-able facts about an instance."""
    return {
        "id": item.id,
        "hostname": item.hostname,
        "address": item.address,
        "version": item.version,
        "alive": item.alive,
        "seen_seconds_ago": round(item.age, 1),
        "started_at": item.started_at,
        "clock_skew": item.clock_skew,
        "external_url": item.external_url,
        "health": item.health,
    }


class _Prober:
    """Sends probes."""

    def __init__(self, keys: KeyRing, settings: Settings) -> None:
        self._token = probe_token(keys)
        # By address, instances have no certificate that names it; the cluster's key tells them instead.
        self._direct = httpx.AsyncClient(verify=False, timeout=_PATIENCE)  # noqa: S501
        context: Any = ssl.create_default_context()
        with contextlib.suppress(NotFoundError):
            context.load_verify_locations(cadata=read_ca(settings).decode())
        self._balanced_context = context

    async def __aenter__(self) -> _Prober:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._direct.aclose()

    async def ask(self, address: str, question: dict[str, Any]) -> dict[str, Any]:
        """The answer of the instance at `address`. Raises httpx.HTTPError, PermissionError."""
        return await self._post(self._direct, address, question)

    async def through(self, url: str) -> dict[str, Any]:
        """An instance's answer through the balancer, on a connection of its own."""
        async with httpx.AsyncClient(verify=self._balanced_context, timeout=_PATIENCE) as client:
            return await self._post(client, url, {"row": "-", "hold": _HOLD})

    async def _post(self, client: httpx.AsyncClient, url: str, question: dict[str, Any]) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._token}"}
        answer = await client.post(url + PATH, json=question, headers=headers)
        if answer.status_code == 404:
            raise PermissionError
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


async def _direct(prober: _Prober, report: CheckReport, alive: list[Instance]) -> dict[str, dict[str, Any]]:
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
                f"at {item.address} answers another instance ({found['id']}) than the registered one",
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
            "upgrade one minor version at a time: version N runs beside N + 1 and no other",
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


async def _all(
    prober: _Prober, report: CheckReport, questions: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    async def one(address: str, question: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        try:
            return address, await prober.ask(address, question)
        except (httpx.HTTPError, PermissionError, ValueError) as error:
            report.fault(
                "unreachable",
                [address],
                f"{address} stopped answering: {type(error).__name__}",
                "look at its log, then run the check again",
            )
            return address, {}

    return dict(await asyncio.gather(*(one(a, q) for a, q in questions.items())))


async def _accepted(prober: _Prober, report: CheckReport, facts: dict[str, dict[str, Any]]) -> None:
    """Tokens, CSRF tokens and sealed credentials of each instance on every other."""
    report.tested.append("tokens")
    order = list(facts)
    made = [{name: facts[a][name] for name in ("token", "csrf", "sealed")} for a in order]
    answers = await _all(prober, report, {address: {"verify": made} for address in order})
    for address, found in answers.items():
        for other, refused in zip(order, found.get("verify", []), strict=False):
            if refused:
                report.fault(
                    "keys",
                    [address, other],
                    f"{address} does not accept what {other} made: {', '.join(refused)}",
                    "wait some seconds if a rotation is under way; else restart both with the cluster's keys",
                )


async def _database(
    prober: _Prober, report: CheckReport, db: Database, facts: dict[str, dict[str, Any]]
) -> None:
    report.tested.append("database")
    await _replication(report, db)
    row = f"check{secrets.token_hex(8)}"

    def put(connection: Any) -> None:
        now = dialect.now(connection)
        values: dict[str, Any] = {"hostname": "check", "address": "check", "version": __version__}
        values |= {"started_at": 0, "seen_at": now, "fingerprints": {}, "health": {}}
        connection.execute(insert(instances).values(id=row, **values))

    await db.write(put)
    try:
        answers = await _all(prober, report, {address: {"row": row} for address in facts})
    finally:
        await db.write(lambda c: c.execute(delete(instances).where(instances.c.id == row)))
    for address, found in answers.items():
        if found and found.get("row") is not True:
            report.fault(
                "database",
                [address],
                f"{address} does not see what was written to the database here: {_error(found.get('row'))}",
                "give it the same database.url as the others",
            )


async def _replication(report: CheckReport, db: Database) -> None:
    """Whether a promoted standby of the database would have everything that was acknowledged."""
    if db.dialect != "postgresql":
        return

    def ask(connection: Any) -> tuple[str, str]:
        names = connection.execute(text("SELECT current_setting('synchronous_standby_names')")).scalar_one()
        level = connection.execute(text("SELECT current_setting('synchronous_commit')")).scalar_one()
        standbys = connection.execute(
            text(
                "SELECT coalesce(string_agg(coalesce(application_name, 'a standby'), ', '), '')"
                " FROM pg_stat_replication"
            )
        ).scalar_one()
        waits = bool(names) and level not in ("off", "local")
        return ("" if waits else standbys), str(level)

    asynchronous, level = await db.read(ask)
    if asynchronous:
        report.fault(
            "replication",
            [],
            f"the database replicates asynchronously to {asynchronous} (synchronous_commit {level}): "
            "promoting a standby can lose what was acknowledged",
            "set synchronous_standby_names = 'ANY 1 (*)' and synchronous_commit = on (see docs/database.md)",
        )


async def _storage(prober: _Prober, report: CheckReport, facts: dict[str, dict[str, Any]]) -> None:
    """Each instance writes an object, every other reads it."""
    report.tested.append("storage")
    keys = {address: f"probe-{secrets.token_hex(12)}" for address in facts}
    try:
        written = await _all(prober, report, {a: {"write": key} for a, key in keys.items()})
        for address, found in written.items():
            if found and found.get("write") != keys[address]:
                report.fault(
                    "storage",
                    [address],
                    f"{address} cannot write to storage: {_error(found.get('write'))}",
                    "look at its storage settings, credentials and network",
                )
        ready = {a: keys[a] for a, found in written.items() if found.get("write") == keys[a]}
        answers = await _all(prober, report, {a: {"read": list(ready.values())} for a in facts})
        for reader, found in answers.items():
            seen = found.get("read", {})
            if "error" in seen:
                report.fault(
                    "storage",
                    [reader],
                    f"{reader} cannot read storage: {_error(seen)}",
                    "look at its storage settings, credentials and network",
                )
                continue
            for writer, key in ready.items():
                if found and not seen.get(key):
                    report.fault(
                        "storage",
                        [reader, writer],
                        f"{reader} does not see what {writer} wrote to storage",
                        "give both the same bucket, or a filesystem that they share",
                    )
    finally:
        if facts:
            address = next(iter(facts))
            await _all(prober, report, {address: {"delete": list(keys.values())}})


async def _redis(prober: _Prober, report: CheckReport, facts: dict[str, dict[str, Any]]) -> None:
    having = {address for address, fact in facts.items() if "redis" in fact["health"]}
    if not having:
        return
    report.tested.append("redis")
    without = sorted(set(facts) - having)
    if without:
        report.fault(
            "redis",
            without,
            f"{', '.join(without)}: no Redis is configured, but it is on the others",
            "give all instances the same redis settings",
        )
    usable = {a for a in having if facts[a]["health"]["redis"] == "ok"}
    keys = {address: f"probe-{secrets.token_hex(12)}" for address in usable}
    await _all(prober, report, {a: {"say": key} for a, key in keys.items()})
    answers = await _all(prober, report, {a: {"hear": list(keys.values())} for a in usable})
    for reader, found in answers.items():
        for writer, key in keys.items():
            if found and not found.get("hear", {}).get(key):
                report.fault(
                    "redis",
                    [reader, writer],
                    f"{reader} does not see what {writer} wrote to Redis",
                    "give all instances the same redis settings",
                )


async def _balancer(
    prober: _Prober, report: CheckReport, settings: Settings, facts: dict[str, dict[str, Any]]
) -> None:
    """Ask through `external_url` until each instance has answered."""
    url = settings.external_url or next((f["external_url"] for f in facts.values() if f["external_url"]), "")
    if not url:
        return
    report.tested.append("balancer")
    missing = {fact["id"]: address for address, fact in facts.items()}
    strangers: list[str] = []
    error = ""
    failures = 0

    async def ask() -> str | Exception:
        try:
            return str((await prober.through(url))["id"])
        except PermissionError:
            strangers.append(url)
            return ""
        except (httpx.HTTPError, ValueError, KeyError) as problem:
            return problem

    # A balancer that chooses the instance with the fewest requests chooses none that is busier than the
    # others (this one is, with the check): so questions are held, and more of them are asked each time. One
    # that has just started is chosen only after some health checks of the balancer, so there is time in
    # between. Peers (own-storage HA) answer at the balancer too.
    count = 2 * (len(facts) + len(settings.peers.urls))
    deadline = time.monotonic() + _BALANCER_SECONDS
    while True:
        for answer in await asyncio.gather(*(ask() for _ in range(count))):
            if isinstance(answer, str):
                missing.pop(answer, None)
            else:
                error = f"{type(answer).__name__}: {answer}".splitlines()[0][:200]
                failures += 1
        if not missing or strangers or failures >= 5 or time.monotonic() > deadline:
            break
        count = min(2 * count, _MOST_QUESTIONS)
        await asyncio.sleep(0.5)
    if strangers:
        report.fault(
            "clusters",
            list(facts),
            f"these are two clusters: behind {url} answers a registry that does not know this one's keys, so "
            "clients get 401 wherever the next request goes to the other one",
            "give all of them the same database.url and master key (one cluster), or `peers.urls` with the "
            "same keys (`seawall keys import DIR`, docs/peers.md), or keep each client at one of them "
            "(`balance source` in HAProxy, `ip_hash` in nginx) with replication policies between them",
        )
    elif error:
        report.fault(
            "balancer",
            list(missing.values()) or list(facts),
            f"{url}: {error}",
            "see that the balancer runs, that external_url is its address, and (with a CA of your own) "
            "that ca_download names the CA",
        )
    elif missing:
        report.fault(
            "balancer",
            list(missing.values()),
            f"the balancer at {url} does not send requests to {', '.join(sorted(missing.values()))}",
            "add it to the balancer (`seawall ha lb-config`) and look at its health check there",
        )


def _error(value: Any) -> str:
    return str(value.get("error", "not found")) if isinstance(value, dict) else "not found"


__all__ = ["CheckReport", "Fault", "check"]
