"""Images pushed into one project by many clients, with a database that is near or far.

`python -m bench.scale` starts a PostgreSQL and instances with one server process each on one directory,
behind HAProxy, and pushes images to them in turns: with the database beside them, and with a relay between
that adds 1 ms each way, as another zone does. `--python` (more than once) compares checkouts, A, B, ...: each
gives the interpreter of one. All of it shares one host. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.support.servers.postgres import Postgres

from bench import load
from bench.host import Process, free_port, missing_packages
from bench.instances import Servers
from bench.report import Row


def main() -> int:
    """Run and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--instances", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--clients", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--python", action="append", default=[])
    options = parser.parse_args()
    missing = [name for name in missing_packages() if name == "haproxy"]
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
    servers: list[tuple[str, Servers]] = []
    rows: dict[tuple[int, int], Row] = {}
    names: list[str] = []
    try:
        for number, python in enumerate(options.python or [sys.executable]):
            for delay in (0, 1):
                port = free_port()
                numbers = [str(port), str(postgres.port), str(delay / 1000)]
                argv = [sys.executable, "-m", "tests.support.trips", *numbers]
                folder = root / f"{number}-{delay}"
                folder.mkdir()
                relays.append(Process(argv, port, folder / "relay.log", {"PYTHONPATH": os.getcwd()}))
                url = postgres.database().replace(f":{postgres.port}/", f":{port}/") + "?sslmode=disable"
                made = Servers(folder)
                servers.append((f"{'ABC'[number]}, {delay} ms", made))
                made.instances(url, max(options.instances), python=python)
        for _ in range(options.rounds):
            for name, made in servers:
                if name not in names:
                    names.append(name)
                for count in options.instances:
                    for clients in options.clients:
                        title = f"{count} instance{'s' if count > 1 else ''}, {clients} clients"
                        row = rows.setdefault((count, clients), Row(title, title, "images/s"))
                        row.add(name, load.image_rate(made.targets[count - 1], clients, options.seconds))
    finally:
        for _, made in servers:
            made.stop()
        for relay in relays:
            relay.stop()
        postgres.stop()
        shutil.rmtree(root, ignore_errors=True)
    print("| images/s | " + " | ".join(names) + " |")
    print("|---|" + "--:|" * len(names))
    for row in rows.values():
        print(f"| {row.title} | " + " | ".join(f"{row.median(name) or 0:,.1f}" for name in names) + " |")
    print(
        f"\n{os.cpu_count()} processors for clients, balancer, relay, database and instances together; "
        f"medians of {options.rounds} rounds; load average at the start {before:.1f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
