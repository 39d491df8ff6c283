"""Thousands of clients push at once into one project, while another project's client goes on pushing.

`python -m bench.storm` starts a PostgreSQL, three instances with one server process each on one directory and
HAProxy with the configuration of `seawall ha lb-config`, and lets 3,000 clients begin at once, each with a
login, a connection and an image of its own. It says how many pushes failed, what the quiet project's pushes
took meanwhile, and how many connections PostgreSQL had. All of it shares one host. Prints Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
from tests.support.cluster import Cluster
from tests.support.processes import free_port
from tests.support.servers.balancers import BalancerServer
from tests.support.servers.postgres import Postgres
from tests.support.storm import Pusher, Storm, more_files, storm

from bench.host import missing_packages, proportional_memory


def main() -> int:
    """Run and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.storm", description=__doc__)
    parser.add_argument("--clients", type=int, default=3000)
    parser.add_argument("--instances", type=int, default=3)
    parser.add_argument("--images", type=int, default=1, help="images of each client, one after the other")
    parser.add_argument("--pool", type=int, default=10, help="database.pool_size")
    parser.add_argument("--quick", action="store_true", help="100 clients: whether it works")
    options = parser.parse_args()
    clients = 100 if options.quick else options.clients
    missing = [name for name in missing_packages() if name == "haproxy"]
    if missing:
        print(f"bench: install these Debian packages first: {' '.join(missing)}", file=sys.stderr)
        return 1
    # A connection of the client, and two of HAProxy.
    more_files(4 * clients + 1000)
    root = Path(tempfile.mkdtemp(prefix="seawall-storm-"))
    root.chmod(0o755)
    (root / "pg").mkdir()
    before = os.getloadavg()[0]
    postgres = Postgres(root / "pg")
    postgres.start()
    port = free_port()
    settings = {
        "SEAWALL_EXTERNAL_URL": f"http://127.0.0.1:{port}",
        "SEAWALL_HTTP__TRUSTED_PROXIES": "127.0.0.1",
        "SEAWALL_DATABASE__POOL_SIZE": str(options.pool),
    }
    url = postgres.migrated()
    cluster = Cluster(root, url, count=options.instances, settings=settings)
    balancer = BalancerServer("haproxy", port)
    try:
        cluster.start()
        for project in ("crowd", "quiet"):
            cluster.instances[0].create_project(project)
        instances = [item for one in cluster.instances for item in ("--instance", one.url)]
        bind = ("--bind", f"127.0.0.1:{port}")
        printed = cluster.instances[0].cli("ha", "lb-config", "haproxy", *bind, *instances)
        balancer.start(printed.stdout)
        with _largest(cluster) as memory:
            measured = asyncio.run(_measure(port, url, clients, options.images, cluster.admin))
    finally:
        balancer.close()
        cluster.close()
        postgres.stop()
        shutil.rmtree(root, ignore_errors=True)
    _print(measured, clients, options.instances, options.pool)
    print(f"| most proportional memory of an instance, MiB | {max(memory) / 2**20:.0f} |")
    print(f"\n{os.cpu_count()} processors for everything; load average at the start {before:.1f}")
    return 1 if measured[0].answers or measured[1].answers else 0


@contextlib.contextmanager
def _largest(cluster: Cluster) -> Iterator[list[int]]:
    """Bytes of memory of each instance, looked at each second; the most at the end."""
    found: list[int] = [0]
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(1):
            for instance in cluster.instances:
                assert instance.process is not None
                with contextlib.suppress(OSError):
                    found.append(proportional_memory(instance.process.pid))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield found
    finally:
        ended.set()
        looking.join()


async def _measure(
    port: int, url: str, clients: int, images: int, auth: tuple[str, str]
) -> tuple[Storm, Storm, float, int, float]:
    """(crowd, quiet, seconds of a quiet push before, most connections, seconds of all)."""
    quiet = Pusher(port, "quiet", auth)
    for _ in range(5):
        await quiet.image()
    alone = quiet.storm.median
    quiet.storm = Storm()
    began = time.monotonic()
    crowd = asyncio.create_task(storm(port, "crowd", clients, images=images, auth=auth))
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, await asyncio.to_thread(_connections, url))
            await asyncio.sleep(0.5)

    watching = asyncio.create_task(watch())
    await asyncio.sleep(1)
    while not crowd.done():
        await quiet.image()
    found, seconds = await crowd, time.monotonic() - began
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    quiet.close()
    return found, quiet.storm, alone, most, seconds


def _connections(url: str) -> int:
    """Connections to the registry's database, asked from another one."""
    base, _, name = url.rpartition("/")
    with psycopg.connect(f"{base}/postgres") as connection:
        # A server that is slow to answer is asked on another connection, for a moment, whether it hangs.
        question = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = %s AND backend_start < now() - interval '3 seconds'"
        )
        row = connection.execute(question, [name]).fetchone()
    return int(row[0]) if row else 0


def _print(measured: tuple[Storm, Storm, float, int, float], clients: int, instances: int, pool: int) -> None:
    crowd, quiet, alone, most, seconds = measured
    middle = statistics.median(quiet.seconds) if quiet.seconds else float("nan")
    print(f"| {clients:,} clients, {instances} instances | |")
    print("|---|--:|")
    print(f"| images pushed | {len(crowd.seconds):,} in {seconds:.0f} s |")
    print(f"| answers that were errors | {sum(crowd.answers.values()):,} |")
    print(f"| of them 429 | {sum(crowd.codes.values()):,} |")
    print(f"| seconds of a push, median | {crowd.median if crowd.seconds else float('nan'):.1f} |")
    print(f"| seconds of a push to the quiet project, median (before: {alone:.2f}) | {middle:.2f} |")
    print(f"| errors there | {sum(quiet.answers.values())} of {len(quiet.seconds)} |")
    print(f"| most connections of PostgreSQL (pool x instances: {pool * instances}) | {most} |")
    for answer, count in (crowd.answers + quiet.answers).most_common(5):
        print(f"  {count} x {answer}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
