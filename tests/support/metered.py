"""A Seawall in this process whose PostgreSQL is behind a relay, and what each request of a push costs there.

`python -m tests.support.metered` prints the statements of each, wait by wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import httpx

from seawall.access.accounts import ensure_admin
from seawall.infra import configuration
from seawall.infra.db import migrate, open_database
from seawall.infra.settings import Settings
from seawall.process import server
from seawall.process.wiring import Process, open_process
from seawall.registry import receipts
from seawall.registry.manifest import OCI_MANIFEST
from seawall.registry.projects import make_library
from tests.support.digests import digest_of
from tests.support.lab import CONFIG, descriptor
from tests.support.processes import PASSWORD
from tests.support.servers.postgres import Postgres, running_postgres
from tests.support.trips import Cost, Relay

_ADMIN = ("admin", PASSWORD)


class Metered:
    """Requests to one process, without its background work, each with its cost."""

    def __init__(self, process: Process, app: Any, relay: Relay) -> None:
        self.process = process
        self.relay = relay
        self._loop = asyncio.new_event_loop()
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
        self._client = httpx.AsyncClient(transport=transport, base_url="http://registry.test")
        self.token = ""

    def send(self, method: str, url: str, **options: Any) -> tuple[httpx.Response, Cost]:
        """Send a request with the token, if there is one."""
        if self.token and "auth" not in options:
            options.setdefault("headers", {})["Authorization"] = f"Bearer {self.token}"
        with self.relay.counting() as cost:
            answer = self._loop.run_until_complete(self._client.request(method, url, **options))
        assert answer.status_code < 500, answer.text
        return answer, cost

    def all(self, method: str, urls: Sequence[str]) -> tuple[list[httpx.Response], Cost]:
        """Send requests with the token, all at once."""
        headers = {"Authorization": f"Bearer {self.token}"}

        async def send_all() -> list[httpx.Response]:
            return await asyncio.gather(*(self._client.request(method, url, headers=headers) for url in urls))

        with self.relay.counting() as cost:
            return self._loop.run_until_complete(send_all()), cost

    def run(self, work: Any) -> Any:
        """The result of a coroutine."""
        return self._loop.run_until_complete(work)

    def close(self) -> None:
        """Close the process."""
        self.run(self._client.aclose())
        self.run(self.process.close())
        self._loop.close()

    # -- a push and a pull -------------------------------------------------------------------------

    def project(self, name: str, limit: int) -> None:
        """Make a project with a limit of bytes."""
        body = {"project_name": name, "storage_limit": limit}
        answer, _ = self.send("POST", "/api/v2.0/projects", auth=_ADMIN, json=body)
        assert answer.status_code == 201, answer.text

    def authenticate(self, repository: str) -> Cost:
        """Get a token for pushing."""
        url = f"/service/token?scope=repository:{repository}:pull,push"
        self.token = ""
        answer, cost = self.send("GET", url, auth=_ADMIN)
        self.token = answer.json()["token"]
        return cost

    def start(self, repository: str) -> tuple[str, Cost]:
        """Start an upload; returns where it goes on."""
        answer, cost = self.send("POST", f"/v2/{repository}/blobs/uploads/")
        assert answer.status_code == 202, answer.text
        return urlsplit(answer.headers["location"]).path, cost

    def close_upload(self, location: str, data: bytes) -> Cost:
        """Send all bytes of an upload with the request that ends it."""
        answer, cost = self.send("PUT", f"{location}?digest={digest_of(data)}", content=data)
        assert answer.status_code == 201, answer.text
        return cost

    def put_blob(self, repository: str, data: bytes) -> Cost:
        """Push a blob in one request."""
        url = f"/v2/{repository}/blobs/uploads/?digest={digest_of(data)}"
        answer, cost = self.send("POST", url, content=data)
        assert answer.status_code == 201, answer.text
        return cost

    def image(self, repository: str, layers: int = 1) -> bytes:
        """Push a config and layers; returns a manifest of them."""
        config = json.dumps({"os": secrets.token_hex(8)}).encode()
        pushed = [secrets.token_bytes(64) for _ in range(layers)]
        for data in (config, *pushed):
            self.put_blob(repository, data)
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(config, CONFIG),
            "layers": [descriptor(layer, "application/vnd.oci.image.layer.v1.tar+gzip") for layer in pushed],
        }
        return json.dumps(document).encode()

    def put_manifest(self, repository: str, reference: str, payload: bytes) -> Cost:
        """Push a manifest."""
        url = f"/v2/{repository}/manifests/{reference}"
        answer, cost = self.send("PUT", url, content=payload, headers={"Content-Type": OCI_MANIFEST})
        assert answer.status_code == 201, answer.text
        return cost

    def costs(self, repository: str) -> dict[str, Cost]:
        """The cost of each kind of request, the least of three: what is cached for seconds is warm then."""
        found: dict[str, Cost] = {}

        def note(name: str, cost: Cost) -> None:
            if name not in found or cost.trips < found[name].trips:
                found[name] = cost

        self.authenticate(repository)
        for _ in range(3):
            note("token", self.authenticate(repository))
            data = secrets.token_bytes(64)
            location, cost = self.start(repository)
            note("upload started", cost)
            note("blob PUT that ends an upload", self.close_upload(location, data))
            note("blob in one request", self.put_blob(repository, secrets.token_bytes(64)))
            url = f"/v2/{repository}/blobs"
            note("blob HEAD", self.send("HEAD", f"{url}/{digest_of(data)}")[1])
            note("blob HEAD, not there", self.send("HEAD", f"{url}/{digest_of(secrets.token_bytes(9))}")[1])
            payload, tag = self.image(repository), f"t{secrets.token_hex(4)}"
            note("manifest PUT", self.put_manifest(repository, tag, payload))
            note(
                "manifest PUT of a tag that moves", self.put_manifest(repository, tag, self.image(repository))
            )
            url = f"/v2/{repository}/manifests"
            note("manifest GET by tag", self.send("GET", f"{url}/{tag}")[1])
            note("manifest GET by digest", self.send("GET", f"{url}/{digest_of(payload)}")[1])
        return found


@contextlib.contextmanager
def metered(postgres: Postgres, folder: Path, *, delay: float = 0.0, **settings: Any) -> Iterator[Metered]:
    """A process over a fresh database; `delay`: seconds that the way to it takes, each way."""
    direct = postgres.database()
    migrate.upgrade(direct)
    db = open_database(direct)
    ensure_admin(db, PASSWORD, make_library)
    asyncio.run(db.close())
    relay = Relay(postgres.port, delay=delay)
    opened: list[Process] = []

    def note(*arguments: Any, **options: Any) -> Process:
        opened.append(open_process(*arguments, **options))
        return opened[-1]

    given: dict[str, Any] = {
        "data_dir": folder,
        "database": {"url": relay.url(direct), "pool_size": 20},
        "log": {"access": False},
        **settings,
    }
    with mock.patch.object(server, "open_process", note):
        app = server.build(Settings(**given))
    meter = Metered(opened[0], app, relay)
    try:
        # On a loaded machine every request would read these again.
        with (
            mock.patch.object(configuration, "_SECONDS", 3600.0),
            mock.patch.object(receipts, "_ASK_SECONDS", 3600.0),
        ):
            yield meter
    finally:
        meter.close()
        relay.close()


def main() -> None:
    """Print the costs."""
    with (
        running_postgres() as postgres,
        tempfile.TemporaryDirectory() as folder,
        metered(postgres, Path(folder)) as meter,
    ):
        meter.project("limited", 10**9)
        for project in ("library", "limited"):
            for name, cost in meter.costs(f"{project}/app").items():
                print(
                    f"{project}: {name}: {cost.trips} round trips, {len(cost.statements)} statements, "
                    f"{cost.held * 1000:.1f} ms with the quota's row"
                )
                if "-v" in sys.argv:
                    print(cost)


if __name__ == "__main__":
    main()
