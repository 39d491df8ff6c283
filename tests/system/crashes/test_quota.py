"""kill -9 among pushes and deletes of a project near its limit: the sum stays exact and below the limit."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Connection, func, select

from seawall.infra.db import open_database
from seawall.registry import accounting
from seawall.registry.ledger import USED
from seawall.registry.tables import project_blobs, quotas
from tests.support.digests import digest_of
from tests.support.oci.bare import image, put_manifest
from tests.support.registry import Registry
from tests.support.servers.postgres import Postgres
from tests.support.waiting import until

LIMIT = 60_000
ROUNDS = 3
CLIENTS = 8


class Clients:
    """Threads that push shared and own content, and delete some of it, until the server is gone."""

    def __init__(self, server: Registry, seed: int) -> None:
        self._server = server
        self.refused = self.done = 0
        self.wrong: list[str] = []
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._live, args=(seed * 100 + number,)) for number in range(CLIENTS)
        ]
        for thread in self._threads:
            thread.start()

    def _live(self, seed: int) -> None:
        chance = random.Random(seed)
        shared = [random.Random(number).randbytes(1500) for number in range(4)]
        with (
            contextlib.suppress(httpx.HTTPError),
            httpx.Client(base_url=self._server.url, auth=self._server.admin, timeout=60) as client,
        ):
            while True:
                repository = f"tight/r{chance.randrange(3)}"
                blobs = [chance.choice(shared), chance.randbytes(chance.randrange(200, 4000))]
                if not all(self._taken(self._blob(client, repository, data)) for data in blobs):
                    continue
                payload = image(blobs)
                answer = put_manifest(client, repository, f"t{chance.randrange(5)}", payload)
                # What a delete by another client took away is pushed again by real clients.
                if answer.status_code == 404 or not self._taken(answer):
                    continue
                if chance.random() < 0.5:
                    client.delete(f"/v2/{repository}/manifests/{digest_of(payload)}")

    def _blob(self, client: httpx.Client, repository: str, data: bytes) -> httpx.Response:
        url = f"/v2/{repository}/blobs/uploads/"
        return client.post(url, params={"digest": digest_of(data)}, content=data)

    def _taken(self, answer: httpx.Response) -> bool:
        with self._lock:
            if answer.status_code == 201:
                self.done += 1
                return True
            if answer.status_code == 403:
                self.refused += 1
            elif answer.status_code != 503:
                self.wrong.append(f"{answer.status_code} {answer.text}")
            return False

    def join(self) -> None:
        """Wait for their end."""
        for thread in self._threads:
            thread.join(120)
            assert not thread.is_alive()


def figures(connection: Connection, limit: int) -> tuple[int, int, int]:
    """(project, stored usage, what the project is charged for)."""
    project, used = connection.execute(
        select(quotas.c.project_id, USED).where(quotas.c.hard_storage == limit, USED > 0)
    ).one()
    held = func.coalesce(func.sum(project_blobs.c.size), 0)
    charged = connection.execute(select(held).where(project_blobs.c.project_id == project)).scalar_one()
    return int(project), int(used), int(charged)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("backend", "limit"),
    [("sqlite", LIMIT), ("postgresql", LIMIT), ("postgresql", accounting.UNLIMITED)],
    ids=["sqlite", "postgresql", "postgresql-unlimited"],
)
def test_the_sum_survives_crashes(backend: str, limit: int, postgres: Postgres, tmp_path: Path) -> None:
    settings = {"SEAWALL_JOBS__EMBEDDED": "false", "SEAWALL_LOG__ACCESS": "false"}
    if backend == "postgresql":
        settings["SEAWALL_DATABASE__URL"] = postgres.migrated()
    server = Registry(tmp_path / "data", settings)
    url = settings.get("SEAWALL_DATABASE__URL", f"sqlite:///{tmp_path}/data/seawall.db")
    chance = random.Random(17)
    refused = 0
    try:
        server.start()
        server.api("POST", "/projects", json={"project_name": "tight", "storage_limit": limit})
        for number in range(ROUNDS):
            clients = Clients(server, number)
            until(lambda clients=clients: clients.done >= 20 or clients.wrong)  # type: ignore[misc]
            # Until then some were refused, from the second round on.
            time.sleep(chance.uniform(0.2, 1.5))
            server.kill()
            clients.join()
            assert not clients.wrong, clients.wrong[:3]
            refused += clients.refused
            server.start()
            db = open_database(url)
            project, used, charged = db.sync_read(lambda c: figures(c, limit))
            assert used == charged
            assert limit < 0 or used <= limit
            before, after = db.sync_write(lambda c, p=project: accounting.refresh(c, p))  # type: ignore[misc]
            assert before == after == used, "what is counted is not what is held"
            db.sync_read(lambda c: None)
        assert bool(refused) == (limit > 0), "the limit was never reached"
    finally:
        server.close()
