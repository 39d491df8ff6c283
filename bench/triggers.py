"""What the counting triggers cost a push, measured alone.

`python -m bench.triggers` starts a PostgreSQL and lists artifacts in one project as a push does: a row of
`manifests`, then the update that lists it, in one transaction. It does so with the trigger that counts
artifacts by time (`artifact_windows`) and without, in turns, by one client and by eight, which then share
the project's counters until each commits. Prints Markdown. It never fails because of a time.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import threading
import time
from collections.abc import Iterator

import psycopg
from tests.support.servers.postgres import running_postgres

import seawall.process.tables  # noqa: F401 - migrations compare with them
from seawall.infra.db import migrate

_ROW = """INSERT INTO manifests (id, repository_id, project_id, digest, media_type, kind, size, total_size,
    listed, attributes, pushed_at) VALUES (%s, %s, 1000, %s, 'm', 'IMAGE', 1, 1, false, '{}', %s)"""
_LISTED = "UPDATE manifests SET listed = true WHERE id = %s"
_ON, _OFF = "with the trigger", "without"


def main() -> int:
    """Measure and print; exit code 0."""
    parser = argparse.ArgumentParser(prog="python -m bench.triggers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--artifacts", type=int, default=1000, help="of each client, in each round")
    options = parser.parse_args()
    print("| clients | " + " | ".join(f"{way}, artifacts/s" for way in (_ON, _OFF)) + " | ratio |")
    print("|---|--:|--:|--:|")
    with running_postgres() as server:
        url = server.database()
        migrate.upgrade(url)
        plain = url.replace("+psycopg", "")
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute(
                """INSERT INTO projects (id, name, public, created_at, updated_at)
                VALUES (1000, 'p', true, 1, 1)"""
            )
            connection.execute(
                """INSERT INTO repositories (id, project_id, name, created_at, updated_at, pushed_at,
                artifact_count) SELECT 1000 + n, 1000, 'p/r' || n, 1, 1, 1, 0 FROM generate_series(0, 7) n"""
            )
            numbers = itertools.count(1000)
            for clients in (1, 8):
                rates: dict[str, list[float]] = {_ON: [], _OFF: []}
                for _ in range(options.rounds):
                    for way, samples in rates.items():
                        change = "ENABLE" if way == _ON else "DISABLE"
                        connection.execute(f"ALTER TABLE manifests {change} TRIGGER seawall_windows")
                        samples.append(_rate(plain, clients, options.artifacts, numbers))
                on, off = (statistics.median(rates[way]) for way in (_ON, _OFF))
                print(f"| {clients} | {on:,.0f} | {off:,.0f} | {on / off:.2f} |", flush=True)
    return 0


def _rate(url: str, clients: int, count: int, numbers: Iterator[int]) -> float:
    """Artifacts listed a second, by clients that push to a repository each."""

    def push(client: int) -> None:
        with psycopg.connect(url) as connection:
            for _ in range(count):
                number = next(numbers)
                now = time.time()
                connection.execute(_ROW, (number, 1000 + client, f"sha256:{number:064x}", now))
                connection.execute(_LISTED, (number,))
                connection.commit()

    threads = [threading.Thread(target=push, args=(client,)) for client in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return clients * count / (time.perf_counter() - started)


if __name__ == "__main__":
    sys.exit(main())
