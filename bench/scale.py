"""Seawall with 1, 2 and 3 instances beside docker-registry, behind HAProxy, near and far from the database.

`python -m bench.scale` starts a PostgreSQL, and for each way (the database beside the instances, or behind a
relay that adds 1 ms each way, as another zone does; without and with authentication) instances on one
directory, with `--workers` server processes each. It measures all of them and docker-registry in turns, and
prints medians, ratios to docker-registry, and processor time of instances and database. docker-registry never
asks who calls: the rows with authentication compare Seawall that does with it. Then it says what a push costs
at the database. `--quick` does all of it in short, to see that it works. `--python` (more than once) compares
checkouts: each gives the interpreter of one. All of it shares one host. Prints Markdown.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.metered import metered
from tests.support.servers.postgres import Postgres

from bench import load
from bench.client import Connection, Source
from bench.host import Process, cpu_seconds, free_port, missing_packages
from bench.instances import Servers
from bench.report import Row
from bench.targets import MANIFEST_TYPE, REGISTRY, REPOSITORY, Target

_KINDS = {
    "tag": ("manifest GET by tag", "requests/s"),
    "blob": ("blob GET 4 KiB", "requests/s"),
    "put": ("blob PUT 4 KiB, 8 clients", "blobs/s"),
    "images": ("images into one project, {} clients", "images/s"),
}
# What one image of `bench.load` is made of.
_BLOBS = 3


@dataclass
class Group:
    """Servers of one way: instances on one database, or docker-registry."""

    name: str
    servers: Servers


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="of each measurement")
    parser.add_argument("--instances", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--clients", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--delays", type=float, nargs="+", default=[0, 1], help="ms that are added each way")
    parser.add_argument("--auth", choices=["off", "on"], nargs="+", default=["off", "on"])
    parser.add_argument("--workers", type=int, default=1, help="server processes of an instance")
    parser.add_argument("--only", choices=list(_KINDS), nargs="+", default=list(_KINDS))
    parser.add_argument("--python", action="append", default=[])
    parser.add_argument("--quick", action="store_true", help="one short round: whether it works")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds, options.clients = 1, 1, [8]
        options.instances = [1, max(options.instances)]
    return options


def main() -> int:
    """Run and print the tables."""
    options = _options()
    missing = [name for name in missing_packages() if name in ("haproxy", "wrk", "docker-registry")]
    if missing:
        print(f"bench: install these Debian packages first: {' '.join(missing)}", file=sys.stderr)
        return 1
    root = Path(tempfile.mkdtemp(prefix="seawall-scale-"))
    root.chmod(0o755)
    (root / "pg").mkdir()
    before = os.getloadavg()[0]
    postgres = Postgres(root / "pg")
    postgres.start()
    relays: list[Process] = []
    groups: list[Group] = []
    try:
        _start(root, postgres, options, relays, groups)
        rows = _measure(root, groups, options, postgres)
    finally:
        for group in groups:
            group.servers.stop()
        for relay in relays:
            relay.stop()
        postgres.stop()
        shutil.rmtree(root, ignore_errors=True)
    for line in _tables(rows, [group.name for group in groups[:-1]], options.instances):
        print(line)
    print(
        f"\n{os.cpu_count()} processors for clients, balancer, relay, database and instances together; "
        f"medians of {options.rounds} rounds of {options.seconds:g} s; load average at the start {before:.1f}"
    )
    return 0


def _start(
    root: Path, postgres: Postgres, options: argparse.Namespace, relays: list[Process], groups: list[Group]
) -> None:
    """Start the servers of each way, and last docker-registry."""
    pythons = options.python or [sys.executable]
    for number, python in enumerate(pythons):
        for auth in options.auth:
            for delay in options.delays:
                name = f"{delay:g} ms" + (", auth" if auth == "on" else "")
                if len(pythons) > 1:
                    name = f"{'ABC'[number]}, {name}"
                folder = root / f"{number}-{auth}-{delay:g}"
                folder.mkdir()
                url = postgres.database()
                if delay:
                    url = _delayed(url, postgres, delay, folder, relays)
                made = Servers(folder)
                groups.append(Group(name, made))
                made.instances(
                    url, max(options.instances), python=python, auth=auth == "on", workers=options.workers
                )
    folder = root / "peer"
    folder.mkdir()
    peer = Servers(folder)
    groups.append(Group(REGISTRY, peer))
    peer.registry()


def _delayed(url: str, postgres: Postgres, delay: float, folder: Path, relays: list[Process]) -> str:
    """`url` by way of a relay, which is a process of its own and takes processor time too."""
    port = free_port()
    argv = [sys.executable, "-m", "tests.support.trips", str(port), str(postgres.port), str(delay / 1000)]
    relays.append(Process(argv, port, folder / "relay.log", {"PYTHONPATH": os.getcwd()}))
    return url.replace(f":{postgres.port}/", f":{port}/") + "?sslmode=disable&gssencmode=disable"


def _turns(groups: list[Group], counts: list[int]) -> Iterator[tuple[str, Target, Servers]]:
    for group in groups:
        for number, target in enumerate(group.servers.targets, 1):
            if group.name == REGISTRY:
                yield REGISTRY, target, group.servers
            elif number in counts:
                yield f"{group.name}, {number}", target, group.servers


def _measure(
    root: Path, groups: list[Group], options: argparse.Namespace, postgres: Postgres
) -> dict[str, Row]:
    source = Source(root / "source", 4096)
    rows: dict[str, Row] = {}

    def add(key: str, title: str, unit: str, name: str, value: float) -> None:
        rows.setdefault(key, Row(key, title, unit)).add(name, value)

    content = {}
    for name, target, _ in _turns(groups, options.instances):
        with Connection(target.port, target.token(REPOSITORY)) as connection:
            body = source.variant()
            connection.push_blob(REPOSITORY, body)
            content[name] = body, load._push_image(connection, REPOSITORY, "bench")
    for _ in range(options.rounds):
        for name, target, servers in _turns(groups, options.instances):
            body, manifest = content[name]
            headers = target.token(REPOSITORY)
            for key in options.only:
                title, unit = _KINDS[key]
                for clients in options.clients if key == "images" else [8]:
                    began = _cpu(servers, postgres)
                    if key == "tag":
                        path = f"/v2/{REPOSITORY}/manifests/bench"
                        wanted = {**headers, "Accept": MANIFEST_TYPE}
                        rate = load.request_rate(target.port, path, wanted, manifest.size, options.seconds)
                    elif key == "blob":
                        path = f"/v2/{REPOSITORY}/blobs/{body.digest}"
                        rate = load.request_rate(target.port, path, headers, body.size, options.seconds)
                    elif key == "put":
                        rate = load.put_rate(target, source, clients, options.seconds)
                    else:
                        rate = load.image_rate(target, clients, options.seconds)
                    add(f"{key} {clients}", title.format(clients), unit, name, rate)
                    done = max(rate * options.seconds, 1)
                    for what, used in zip(("instances", "database"), _cpu(servers, postgres), strict=True):
                        spent = used - began[what == "database"]
                        unit_ms = f"ms of processor, {what}"
                        add(
                            f"{key} {clients} {what}",
                            title.format(clients),
                            unit_ms,
                            name,
                            spent / done * 1e3,
                        )
    return rows


def _cpu(servers: Servers, postgres: Postgres) -> tuple[float, float]:
    """Processor seconds that instances and database have used so far."""
    pid = int((postgres.root / "data" / "postmaster.pid").read_text().split()[0])
    return sum(process.cpu_seconds() for process in servers.served), cpu_seconds(pid)


def _tables(rows: dict[str, Row], names: list[str], counts: list[int]) -> Iterator[str]:
    for name in names:
        heads = [f"{count} instance{'s' if count > 1 else ''}" for count in counts]
        yield f"\nDatabase {name}:\n"
        yield f"| | unit | {' | '.join(heads)} | {REGISTRY} | ratios |"
        yield "|---|---|" + "--:|" * (len(counts) + 2)
        for row in rows.values():
            found = [row.median(f"{name}, {count}") for count in counts]
            peer = row.median(REGISTRY)
            cells = [f"{value:,.1f}" if value is not None else "" for value in found]
            timed = row.unit.startswith("ms")
            ratios = "" if timed else ", ".join(f"{(value or 0) / (peer or 1):.2f}" for value in found)
            beside = "" if timed else f"{peer or 0:,.1f}"
            yield f"| {row.title} | {row.unit} | {' | '.join(cells)} | {beside} | {ratios} |"
    yield from _costs()


def _costs() -> Iterator[str]:
    """What requests cost at the database: round trips, statements and time with the quota locked."""
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="seawall-costs-")))
        root.chmod(0o755)
        (root / "pg").mkdir()
        postgres = Postgres(root / "pg")
        postgres.start()
        stack.callback(postgres.stop)
        meter = stack.enter_context(metered(postgres, root / "data"))
        costs = meter.costs("library/bench")
    yield "\n| at the database | round trips | statements | ms with the quota locked |"
    yield "|---|--:|--:|--:|"
    for title, cost in costs.items():
        yield f"| {title} | {cost.trips} | {len(cost.statements)} | {cost.held * 1000:.1f} |"
    parts = [costs["upload started"], costs["blob PUT that ends an upload"]] * _BLOBS + [
        costs["manifest PUT"]
    ]
    trips, statements = sum(cost.trips for cost in parts), sum(len(cost.statements) for cost in parts)
    held = sum(cost.held for cost in parts) * 1000
    yield f"| an image ({_BLOBS} blobs and a manifest) | {trips} | {statements} | {held:.1f} |"


if __name__ == "__main__":
    sys.exit(main())
