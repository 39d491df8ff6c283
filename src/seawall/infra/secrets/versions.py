"""Versions of the cluster's keys, and what this process knows of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from joserfc.jwk import RSAKey
from sqlalchemy import Connection, select

from seawall.infra.db import Database
from seawall.infra.secrets.master import MasterKeys
from seawall.infra.secrets.material import NAMES, TOKEN, signing_key
from seawall.infra.secrets.tables import cluster_keys

CHANNEL = "seawall_keys"


@dataclass(frozen=True, slots=True)
class Key:
    """One version of one key.

    `material` is a PEM (token-signing) or raw bytes; `public` the certificate PEM of a signing key. It is
    used for new tokens from `active_at` on and no longer accepted after `retire_at` (Unix seconds).
    `fingerprint` tells versions apart without giving anything away.
    """

    name: str
    version: int
    material: bytes
    public: str
    fingerprint: str
    created_at: float
    active_at: float
    retire_at: float | None

    def state(self, now: float) -> str:
        """`next` (published, not used yet), `accepted` or `retired`; a ring knows which is current."""
        if self.retire_at is not None and self.retire_at <= now:
            return "retired"
        return "next" if self.active_at > now else "accepted"


class KeyVersions:
    """Every version of every key, as last read from the database."""

    def __init__(self, db: Database, masters: MasterKeys) -> None:
        self._db = db
        self._masters = masters
        self._keys: dict[str, tuple[Key, ...]] = dict.fromkeys(NAMES, ())
        self._rsa: dict[str, RSAKey] = {}
        self._seen: object = None
        self._sealed: dict[tuple[str, int], bytes] = {}
        self.read_at = 0.0
        """monotonic time of the last read"""
        # Grows whenever the set of keys changes; caches that depend on keys compare it.
        self.generation = 0

    def current(self, name: str) -> Key:
        """The version in use for new signatures or encryption."""
        now = time.time()
        own = [key for key in self._keys[name] if key.version > 0]
        usable = [key for key in own if key.active_at <= now and not is_over(key, now)]
        # All published ones still in the future happens only with a badly set clock; the oldest is right.
        return usable[-1] if usable else own[0]

    def accepted(self, name: str) -> list[Key]:
        """Versions that verifiers take now: current, next, and older ones in their overlap."""
        now = time.time()
        return [key for key in self._keys[name] if key.material and not is_over(key, now)]

    def all(self, name: str) -> tuple[Key, ...]:
        """Every version, oldest first."""
        return self._keys[name]

    def rsa(self, fingerprint: str) -> RSAKey | None:
        """The signing key of that fingerprint."""
        return self._rsa.get(fingerprint)

    def reload(self) -> None:
        """Read the keys now. Raises ConfigError when the master key does not open them."""
        self._take(self._db.sync_read(_rows))

    async def refresh(self) -> None:
        """`reload` on the event loop."""
        self._take(await self._db.point(_rows))

    def _take(self, rows: list[Any]) -> None:
        seen = [(*row[:2], bytes(row[2] or b""), *row[4:]) for row in rows]
        self.read_at = time.monotonic()
        if seen == self._seen:
            return
        known = {(key.name, key.version): key for name in NAMES for key in self._keys[name]}
        found: dict[str, list[Key]] = {name: [] for name in NAMES}
        sealed, self._sealed = self._sealed, {(row[0], row[1]): bytes(row[2] or b"") for row in rows}
        for name, version, material, public, fingerprint, created_at, active_at, retire_at in rows:
            if name not in found:
                continue
            old = known.get((name, version))
            if old is not None and sealed.get((name, version)) == bytes(material or b""):
                plain, print_ = old.material, old.fingerprint
            elif material:
                plain, master = self._masters.opened(name, bytes(material))
                if version > 0:
                    self._masters.in_use = master
                print_ = fingerprint or self._masters.key_fingerprint(name, plain)
            else:
                plain, print_ = b"", fingerprint
            found[name].append(
                Key(name, version, plain, public or "", print_, created_at, active_at, retire_at)
            )
        rsa_keys = {}
        for key in found[TOKEN]:
            if key.material:
                rsa_keys[key.fingerprint] = self._rsa.get(key.fingerprint) or signing_key(key.material)
        self._rsa = rsa_keys
        self._keys = {name: tuple(keys) for name, keys in found.items()}
        self._seen = seen
        self.generation += 1


def is_over(key: Key, now: float) -> bool:
    """Whether a version is no longer accepted."""
    return key.retire_at is not None and key.retire_at <= now


def _rows(connection: Connection) -> list[Any]:
    columns = cluster_keys.c
    return list(
        connection.execute(
            select(
                columns.name,
                columns.version,
                columns.material,
                columns.public,
                columns.fingerprint,
                columns.created_at,
                columns.active_at,
                columns.retire_at,
            ).order_by(columns.name, columns.version)
        )
    )
