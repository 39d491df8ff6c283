"""The instances of the cluster: each says every few seconds that it lives, and what it is.

An instance is one `seawall serve`; its server processes share the id that the parent made. Times in the
table are the database's, so an instance with a wrong clock does not look like a dead one. A row goes when its
instance stops in good order; of one that died it stays for a day, for `seawall ha status`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import secrets
import socket
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import structlog
from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.engine import make_url

from seawall import __version__
from seawall.availability.cluster.health import Health
from seawall.availability.cluster.tables import instances
from seawall.infra.db import Database, dialect
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.settings import Settings
from seawall.kernel.errors import UnavailableError

log: Any = structlog.get_logger("seawall.instances")
ID_VARIABLE = "SEAWALL_INSTANCE_ID"
_FORGET_SECONDS = 86400


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance as the registry knows it. Times are Unix seconds by the database's clock.

    `clock_skew`: its clock minus the database's, in seconds. `age`: seconds since it was last seen.
    """

    id: str
    hostname: str
    address: str
    version: str
    started_at: float
    seen_at: float
    clock_skew: float
    external_url: str
    config_hash: str
    fingerprints: dict[str, str]
    health: dict[str, Any]
    age: float
    alive: bool


class InstanceRegistry:
    """Keeps this instance's row and reads everybody's."""

    def __init__(self, db: Database, settings: Settings, keys: KeyRing) -> None:
        self._db = db
        self._settings = settings
        self._keys = keys
        self.id = os.environ.get(ID_VARIABLE) or secrets.token_hex(8)
        self.address = own_address(settings)
        self.config_hash = config_hash(settings)
        self._started = time.time()
        self._stopping = False

    async def beat(self, health: Health) -> None:
        """Say every `ha.heartbeat_seconds` that this instance lives, until cancelled."""
        while True:
            status, parts = await health.check()
            with contextlib.suppress(UnavailableError):
                await self._write({"status": status, **parts})
            await asyncio.sleep(self._settings.ha.heartbeat_seconds)

    async def leave(self) -> None:
        """Remove this instance's row: it stops in good order."""
        self._stopping = True
        with contextlib.suppress(UnavailableError):
            await self._db.write(lambda c: c.execute(delete(instances).where(instances.c.id == self.id)))

    async def list(self) -> list[Instance]:
        """Every instance known, the living first, by host name."""

        def read_instances(connection: Connection) -> list[Instance]:
            now = dialect.now(connection)
            dead = self._settings.ha.dead_seconds
            rows: Any = connection.execute(select(instances).where(instances.c.started_at > 0)).all()
            return [
                Instance(*row, max(0.0, now - row.seen_at), now - row.seen_at < dead)  # type: ignore[call-arg]
                for row in rows
            ]

        found = await self._db.read(read_instances)
        return sorted(found, key=lambda item: (not item.alive, item.hostname, item.address))

    async def _write(self, health: dict[str, Any]) -> None:
        def write_heartbeat(connection: Connection) -> None:
            # The middle of the question's way is the best guess for when the database read its clock.
            before = time.time()
            now = dialect.now(connection)
            skew = (before + time.time()) / 2 - now
            values = {
                "hostname": socket.gethostname()[:255],
                "address": self.address,
                "version": __version__,
                "seen_at": now,
                "clock_skew": round(skew, 3),
                "external_url": self._settings.external_url or "",
                "config_hash": self.config_hash,
                "fingerprints": {
                    **self._keys.fingerprints(),
                    "held": ",".join(self._keys.masters.fingerprints),
                },
                "health": health,
            }
            if self._stopping:
                return
            query = update(instances).where(instances.c.id == self.id).values(values)
            if not connection.execute(query).rowcount:
                # Two server processes of this instance may both find no row.
                with contextlib.suppress(Exception), connection.begin_nested():
                    connection.execute(insert(instances).values(id=self.id, started_at=now, **values))
                # What was at this address before has ended, however it did; and the dead are forgotten.
                connection.execute(
                    delete(instances).where(
                        instances.c.id != self.id,
                        (instances.c.address == self.address) | (instances.c.seen_at < now - _FORGET_SECONDS),
                    )
                )

        await self._db.write(write_heartbeat, durable=False)


def own_address(settings: Settings) -> str:
    """URL at which other instances reach this one: `ha.address`, or else where it listens."""
    if settings.ha.address:
        return settings.ha.address.rstrip("/")
    host = settings.http.host
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - listens everywhere: the way to the database says where
        host = _address_towards(settings)
    scheme = "https" if settings.http.tls_certificate else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.http.port}"


def _address_towards(settings: Settings) -> str:
    target = "192.0.2.1"
    if settings.database.url and not settings.database.url.startswith("sqlite"):
        with contextlib.suppress(Exception):
            netloc = urlsplit(settings.database.url).netloc.rpartition("@")[2]
            target = make_url(f"postgresql://{netloc.split(',')[0]}").host or target
    for family in (socket.AF_INET, socket.AF_INET6):
        # Connecting a datagram socket sends nothing; it only chooses the route and so the address.
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((target, 9))
            return str(probe.getsockname()[0])
    return socket.gethostname()


# What each instance may have of its own; everything else must be the same on all.
_OWN: dict[str, set[str] | bool] = {
    "data_dir": True,
    "admin_password": True,
    "master_key": True,
    "master_key_file": True,
    "other_master_key_file": True,
    "keys": {
        "private_key_file",
        "root_crt_file",
        "csrf_key_file",
        "secret_key_file",
        "on_mismatch",
    },
    "redis": True,
    "database": True,
    "http": True,
    "log": True,
    "ha": {"address"},
    "ca_download": True,
    "metrics": {"token"},
}


def config_hash(settings: Settings) -> str:
    """Fingerprint of the settings that must be the same on every instance."""
    shared = settings.model_dump(mode="json", exclude=_OWN)
    return hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()[:16]


__all__ = ["Instance", "InstanceRegistry", "config_hash", "own_address"]
