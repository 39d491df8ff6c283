"""Many clients push at once through HAProxy to three instances: no error, few connections, and fairly.

`python -m bench.storm` does it with 3,000.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.support.cluster import Cluster
from tests.support.processes import free_port
from tests.support.servers.balancers import BalancerServer
from tests.support.servers.postgres import Postgres
from tests.support.storm import Pusher, Storm, more_files, storm

CLIENTS = 240
POOL = 6
PROJECTS = ("crowd", "quiet")


class Setup:
    """Three instances behind HAProxy, with the configuration that Seawall prints for it."""

    def __init__(self, postgres: Postgres, root: Path) -> None:
        more_files(4 * CLIENTS + 1000)
        self.url = url = postgres.migrated()
        self.database = url.rpartition("/")[2].partition("?")[0]
        self.port = free_port()
        settings = {
            "SEAWALL_EXTERNAL_URL": f"http://127.0.0.1:{self.port}",
            "SEAWALL_HTTP__TRUSTED_PROXIES": "127.0.0.1",
            # So that a small storm makes lines too.
            "SEAWALL_HTTP__PUSHES": "8",
            "SEAWALL_DATABASE__POOL_SIZE": str(POOL),
        }
        self.cluster = Cluster(root, url, settings=settings)
        self.balancer = BalancerServer("haproxy", self.port)
        try:
            self.cluster.start()
            for project in PROJECTS:
                self.cluster.instances[0].create_project(project)
            instances = [item for one in self.cluster.instances for item in ("--instance", one.url)]
            bind = f"127.0.0.1:{self.port}"
            printed = self.cluster.instances[0].cli("ha", "lb-config", "haproxy", "--bind", bind, *instances)
            assert printed.returncode == 0, printed.stderr
            self.balancer.start(printed.stdout)
        except BaseException:
            self.close()
            raise

    def connections(self) -> int:
        """Connections to the database of the registry now."""
        # From another database, so that this one is not counted.
        with psycopg.connect(self.url.replace(f"/{self.database}", "/postgres")) as connection:
            # A server that is slow to answer is asked on another connection, for a moment, whether it hangs.
            question = (
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = %s AND backend_start < now() - interval '3 seconds'"
            )
            row = connection.execute(question, [self.database]).fetchone()
        assert row is not None
        return int(row[0])

    def close(self) -> None:
        """End all."""
        self.balancer.close()
        self.cluster.close()


@pytest.fixture(scope="module")
def setup(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    made = Setup(postgres, tmp_path_factory.mktemp("storm"))
    yield made
    made.close()


@pytest.mark.timeout(600)
def test_a_storm_has_no_errors_and_leaves_others_their_turn(setup: Setup) -> None:
    """All pushes of the crowd succeed, with few connections; another project's take less time."""

    async def body() -> tuple[Storm, Storm, int]:
        quiet = Pusher(setup.port, "quiet", setup.cluster.admin)
        assert await quiet.image()
        crowd = asyncio.create_task(storm(setup.port, "crowd", CLIENTS, images=2, auth=setup.cluster.admin))
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, await asyncio.to_thread(setup.connections))
                await asyncio.sleep(0.2)

        watching = asyncio.create_task(watch())
        # When the crowd has come.
        await asyncio.sleep(1)
        while not crowd.done():
            await quiet.image()
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        quiet.close()
        return await crowd, quiet.storm, most

    crowd, quiet, most = asyncio.run(body())
    assert not crowd.answers, crowd.answers
    assert not quiet.answers, quiet.answers
    assert len(crowd.seconds) == 2 * CLIENTS
    assert most <= POOL * len(setup.cluster.instances)
    during = quiet.seconds[1:]
    assert len(during) >= 3
    assert sorted(during)[len(during) // 2] < crowd.median / 2, (during, crowd.median)


def test_past_the_stated_limit_clients_are_told_when_to_come(setup: Setup) -> None:
    """The lines are bounded: only the last request of the longest line gets 429, in the registry's format."""
    odd = setup.cluster.instances[2]
    odd.stop()
    odd.environment |= {"SEAWALL_HTTP__PUSHES": "1", "SEAWALL_HTTP__PUSHES_WAITING": "6"}
    odd.start()

    async def body() -> tuple[Storm, Storm]:
        crowd = asyncio.create_task(storm(odd.port, "crowd", 40, auth=setup.cluster.admin))
        quiet = Pusher(odd.port, "quiet", setup.cluster.admin)
        while not crowd.done():
            await quiet.image()
        quiet.close()
        return await crowd, quiet.storm

    crowd, quiet = asyncio.run(body())
    assert not quiet.answers, "the crowd's pushes took the place of another project's"
    assert quiet.seconds
    assert set(crowd.codes) == {"TOOMANYREQUESTS"}
    assert sum(crowd.codes.values()) == sum(crowd.answers.values()), crowd.answers
    assert all(1 <= wait <= 60 for wait in crowd.waits)
    assert crowd.seconds, "nobody's push succeeded"
    metrics = httpx.get(f"{odd.url}/metrics").text
    assert f'seawall_push_refusals_total{{why="full"}} {len(crowd.waits)}.0' in metrics
