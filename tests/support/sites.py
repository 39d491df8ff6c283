"""Two sites on loopback, each a registry of its own, and a witness."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Connection, create_engine, select
from sqlalchemy.pool import NullPool

import seawall.process.tables  # noqa: F401 - rows of every table are compared
from seawall.infra.db import dump
from seawall.infra.db.plain import postgres_engine
from tests.support import forked
from tests.support.cluster import FAST
from tests.support.digests import digest_of
from tests.support.processes import clean_environment, free_port
from tests.support.registry import Registry
from tests.support.waiting import until

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Site(Registry):
    """One site; `dr` is its state as its API tells it."""

    def dr(self) -> dict[str, Any]:
        """GET /dr."""
        answer: dict[str, Any] = self.api("GET", "/dr").json()
        return answer

    @property
    def database(self) -> str:
        """URL of its database."""
        return self.environment.get("SEAWALL_DATABASE__URL") or f"sqlite:///{self.data_dir / 'seawall.db'}"

    def push(self, repository: str, tag: str, data: bytes) -> str:
        """Push an image of two blobs; returns its digest. Raises httpx.HTTPStatusError."""
        return push(self.url, self.admin, repository, tag, data)

    def tag(self, repository: str, tag: str) -> httpx.Response:
        """GET a manifest."""
        return httpx.get(
            f"{self.url}/v2/{repository}/manifests/{tag}",
            auth=self.admin,
            headers={"Accept": MANIFEST},
            timeout=30,
        )


def push(url: str, auth: tuple[str, str], repository: str, tag: str, data: bytes) -> str:
    """Push an image of two blobs; returns its digest once the registry has acknowledged it."""
    with httpx.Client(base_url=url, auth=auth, timeout=30) as client:
        config = json.dumps({"architecture": "amd64", "os": "linux", "x": hashlib.sha256(data).hexdigest()})
        blobs = []
        for blob in (config.encode(), data):
            digest = digest_of(blob)
            start = client.post(f"/v2/{repository}/blobs/uploads/").raise_for_status()
            place = start.headers["location"]
            client.put(place, params={"digest": digest}, content=blob).raise_for_status()
            blobs.append((digest, len(blob)))
        manifest = image(*blobs)
        client.put(
            f"/v2/{repository}/manifests/{tag}", content=manifest, headers={"Content-Type": MANIFEST}
        ).raise_for_status()
    return digest_of(manifest)


def image(config: tuple[str, int], layer: tuple[str, int]) -> bytes:
    """A manifest."""
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": config[0],
                "size": config[1],
            },
            "layers": [
                {
                    "mediaType": "application/vnd.oci.image.layer.v1.tar",
                    "digest": layer[0],
                    "size": layer[1],
                }
            ],
        }
    ).encode()


class Sites:
    """Site `a` starts as the active one, `b` as its standby."""

    def __init__(
        self, root: Path, urls: tuple[str | None, str | None], *, witness: bool = False, lease: float = 3
    ) -> None:
        self.root = root
        self.master = base64.b64encode(secrets.token_bytes(32)).decode()
        self.witness_port = free_port()
        self.witness_process: forked.Forked | subprocess.Popen[bytes] | None = None
        self.a, self.b = Site(root / "a"), Site(root / "b")
        for site, other, url in ((self.a, self.b, urls[0]), (self.b, self.a, urls[1])):
            name = "ab"[site is self.b]
            site.environment |= {
                **FAST,
                "SEAWALL_MASTER_KEY": self.master,
                "SEAWALL_EXTERNAL_URL": site.url,
                "SEAWALL_DR__SITE": name,
                "SEAWALL_DR__PEER": other.url,
                "SEAWALL_DR__START_AS": "active" if name == "a" else "standby",
                "SEAWALL_DR__POLL_SECONDS": "0.2",
                "SEAWALL_DR__TIMEOUT_SECONDS": "3",
                "SEAWALL_DR__LEASE_SECONDS": str(lease),
            }
            if url is not None:
                site.environment["SEAWALL_DATABASE__URL"] = url
            if witness:
                site.environment["SEAWALL_DR__WITNESS"] = f"http://127.0.0.1:{self.witness_port}"
        self.has_witness = witness

    def start(self) -> None:
        """Start witness and sites, until `b` follows."""
        if self.has_witness:
            self.start_witness()
        self.a.start()
        self.b.launch()
        self.b.wait_ready()
        wait(lambda: self.status(self.b)["syncing"] == "following", self.b.log.read_text)

    def start_witness(self) -> None:
        """Start the witness."""
        environment = clean_environment(SEAWALL_DATA_DIR=str(self.root / "w"), SEAWALL_MASTER_KEY=self.master)
        command = ["dr", "witness", "--port", str(self.witness_port)]
        with (self.root / "w.log").open("ab") as log:
            self.witness_process = forked.started(command, environment, self.root, log.fileno())
        wait(lambda: httpx.get(f"http://127.0.0.1:{self.witness_port}/healthz").status_code == 200)

    def stop_witness(self) -> None:
        """kill -9 the witness."""
        if self.witness_process is not None:
            self.witness_process.kill()
            self.witness_process.wait()
            self.witness_process = None

    def status(self, site: Site) -> dict[str, Any]:
        """GET /dr, {} like while the site's users are not there yet."""
        answer = httpx.get(f"{site.url}/api/v2.0/dr", auth=site.admin, timeout=30)
        value: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
        return {"syncing": None, "role": None, **value}

    def caught_up(self, standby: Site, active: Site) -> None:
        """Wait until both have the same rows."""
        wait(lambda: not differences(active.database, standby.database), lambda: self.told(active, standby))

    def told(self, active: Site, standby: Site) -> str:
        """What is wrong."""
        found = differences(active.database, standby.database)
        return f"{json.dumps(found)[:3000]}\n{self.status(standby)}\n{standby.log.read_text()[-3000:]}"

    def close(self) -> None:
        """Kill everything."""
        self.stop_witness()
        for site in (self.a, self.b):
            site.close()


def differences(one: str, other: str) -> dict[str, list[Any]]:
    """Rows that only one of two databases has, by table; storage keys are each site's own."""
    first, second = rows(one), rows(other)
    found = {}
    for name in first:
        odd = first[name] ^ second[name]
        if odd:
            found[name] = sorted(odd)[:6]
    return found


def rows(url: str) -> dict[str, set[str]]:
    """Every row that is followed."""
    engine = create_engine(url, poolclass=NullPool) if url.startswith("sqlite") else postgres_engine(url, 1)
    try:
        with engine.connect() as connection:
            return {table.name: _rows(connection, table) for table in dump.tables()}
    finally:
        engine.dispose()


def _rows(connection: Connection, table: Any) -> set[str]:
    found = set()
    for row in connection.execute(select(table)).mappings():
        value = {key: item for key, item in row.items() if key != "storage_key"}
        found.add(json.dumps(value, sort_keys=True, default=dump.encode))
    return found


def damaged_blobs(site: Site) -> list[str]:
    """Blobs whose bytes a site does not have."""
    done = site.cli("fsck")
    return [] if done.returncode == 0 else done.stdout.splitlines()


def wait(ready: Callable[[], object], told: Callable[[], str] = str, seconds: float = 120) -> None:
    """Wait until `ready`."""
    until(ready, told, seconds, ignoring=(httpx.HTTPError, ValueError, KeyError))


def noise(size: int = 20_000) -> bytes:
    """Bytes nobody has seen."""
    return os.urandom(size)
