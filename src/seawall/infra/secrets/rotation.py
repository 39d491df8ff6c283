"""Writing versions of keys: the first ones, the next ones, those of peers, and a new master key.

A rotation publishes a new version that is used only from `active_at` on, when every instance has seen it,
while the older versions are still accepted until `retire_at`. So no request meets an instance without a key.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from seawall.infra.db import Database
from seawall.infra.db.notify import notify
from seawall.infra.secrets.master import MasterKeys, encrypt
from seawall.infra.secrets.material import (
    NAMES,
    SECRET,
    TOKEN,
    fingerprint,
    generate,
    make_certificate,
    rsa_key,
)
from seawall.infra.secrets.sealing import Sealer
from seawall.infra.secrets.tables import cluster_keys
from seawall.infra.secrets.versions import CHANNEL, Key, KeyVersions
from seawall.infra.settings import KeysSettings
from seawall.kernel.errors import ConflictError


class KeyRotation:
    """Publishes versions of the cluster's keys."""

    def __init__(
        self,
        db: Database,
        masters: MasterKeys,
        versions: KeyVersions,
        sealer: Sealer,
        settings: KeysSettings,
    ) -> None:
        self._db = db
        self._masters = masters
        self._versions = versions
        self._sealer = sealer
        self._settings = settings

    def publish_first(self, made: dict[str, tuple[bytes, str]]) -> None:
        """Store (material, certificate) of keys that the cluster lacks, unless another instance was first."""
        rows = [
            {
                "name": name,
                "version": 1,
                "material": encrypt(self._masters.in_use, material, name),
                "public": public or None,
                "fingerprint": self._masters.key_fingerprint(name, material),
                "created_at": time.time(),
                "active_at": 0.0,
            }
            for name, (material, public) in made.items()
        ]
        # All in one transaction: of instances that start together one provides every key. On a conflict
        # another instance was first, and its keys are the cluster's.
        with contextlib.suppress(IntegrityError):
            self._db.sync_write(lambda c: c.execute(insert(cluster_keys), rows))

    def add_certificates(self) -> None:
        """Give signing keys that have none a certificate."""
        # Keys of a Seawall from before certificates were kept.
        for key in self._versions.all(TOKEN):
            if key.public or not key.material:
                continue
            where = (cluster_keys.c.name == TOKEN, cluster_keys.c.version == key.version)
            values = {"public": make_certificate(rsa_key(key.material)), "fingerprint": key.fingerprint}
            query = update(cluster_keys).where(*where, cluster_keys.c.public.is_(None)).values(values)
            self._db.sync_write(lambda c, query=query: c.execute(query))  # type: ignore[misc]
            self._versions.reload()

    def rotate(self, name: str, *, overlap_seconds: float, at_once: bool = False) -> Key:
        """Publish the next version of key `name`; it is used `keys.publish_seconds` from now.

        Older versions are accepted for `overlap_seconds` after that (older secret keys always can decrypt).
        `at_once`: the new key is used now and the old ones are refused now, for a key that leaked; logins
        made with the old one are over. Raises ConflictError while the last rotation is not in use yet.
        """
        return self.publish(name, generate(name), overlap_seconds=overlap_seconds, at_once=at_once)

    def bring(
        self, name: str, key: tuple[bytes, str], *, overlap_seconds: float, at_once: bool
    ) -> Key | None:
        """`publish` a key from elsewhere; None when it is the one in use, or the next, already.

        A signing key's certificate is replaced where only that differs. Before the first start the key is the
        cluster's first.
        """
        own = [known for known in self._versions.all(name) if known.version > 0]
        if not own:
            self.publish_first({name: key})
            self._versions.reload()
            return self._versions.all(name)[-1]
        material, public = key
        if own[-1].fingerprint != self._masters.key_fingerprint(name, material):
            return self.publish(name, key, overlap_seconds=overlap_seconds, at_once=at_once)
        if public and public != own[-1].public:
            where = (cluster_keys.c.name == name, cluster_keys.c.version == own[-1].version)
            query = update(cluster_keys).where(*where).values(public=public)
            self._db.sync_write(lambda c: c.execute(query))
            self._versions.reload()
        return None

    def publish(
        self, name: str, key: tuple[bytes, str], *, overlap_seconds: float, at_once: bool = False
    ) -> Key:
        """`rotate` with (material, certificate) that is at hand."""
        material, public = key
        now = time.time()
        active = now if at_once else now + self._settings.publish_seconds
        sealed, print_ = (
            encrypt(self._masters.in_use, material, name),
            self._masters.key_fingerprint(name, material),
        )

        def publish(connection: Connection) -> None:
            rows = connection.execute(
                select(cluster_keys.c.version, cluster_keys.c.active_at)
                .where(cluster_keys.c.name == name)
                .order_by(cluster_keys.c.version)
                .with_for_update()
            ).all()
            if rows and rows[-1][1] > now and not at_once:
                raise ConflictError(
                    f"the last rotation of {name} takes effect in {rows[-1][1] - now:.0f} s; wait for it"
                )
            if name != SECRET:
                over = now if at_once else active + overlap_seconds
                connection.execute(
                    update(cluster_keys)
                    .where(
                        cluster_keys.c.name == name,
                        # A peer's keys are the peer's to retire.
                        cluster_keys.c.version > 0,
                        cluster_keys.c.retire_at.is_(None) | (cluster_keys.c.retire_at > over),
                    )
                    .values(retire_at=over)
                )
            connection.execute(
                insert(cluster_keys).values(
                    name=name,
                    version=(rows[-1][0] if rows else 0) + 1,
                    material=sealed,
                    public=public or None,
                    fingerprint=print_,
                    created_at=now,
                    active_at=active,
                )
            )
            notify(connection, CHANNEL)

        self._db.sync_write(publish)
        self._versions.reload()
        return self._versions.all(name)[-1]

    def _secret_rotation_due(self) -> bool:
        # A while after the new key came into use, so that nobody still seals with the old one.
        current = self._versions.current(SECRET)
        older = [
            k for k in self._versions.all(SECRET) if 0 < k.version < current.version and k.retire_at is None
        ]
        return bool(older) and time.time() > current.active_at + 3 * self._settings.poll_seconds

    def finish_secret_rotation(self) -> int:
        """Seal every stored credential with the current secret key; returns how many were not yet."""
        self._versions.reload()
        return self._db.sync_write(self._sealer.reseal_all)

    async def finish_if_due(self) -> None:
        """`finish_secret_rotation` once every instance seals with the new key."""
        if self._secret_rotation_due():
            await self._db.write(self._sealer.reseal_all)

    def rotate_master(self, new: bytes) -> int:
        """Seal every stored key under the master key `new`, in one transaction; returns how many.

        Raises ConfigError when this ring lacks the key that they are sealed under.
        """

        def seal_again(connection: Connection) -> int:
            query = select(cluster_keys).where(cluster_keys.c.name.in_(NAMES)).with_for_update()
            changed = 0
            for row in connection.execute(query).all():
                if not row.material:
                    continue
                plain, master = self._masters.opened(row.name, bytes(row.material))
                if master == new:
                    continue
                values: dict[str, Any] = {"material": encrypt(new, plain, row.name)}
                if row.fingerprint:
                    values["fingerprint"] = fingerprint(new, row.name, plain)
                where = (cluster_keys.c.name == row.name, cluster_keys.c.version == row.version)
                connection.execute(update(cluster_keys).where(*where).values(values))
                changed += 1
            notify(connection, CHANNEL)
            return changed

        self._masters.hold(new)
        changed = self._db.sync_write(seal_again)
        self._versions.reload()
        return changed

    def accept(
        self,
        connection: Connection,
        name: str,
        fingerprint: str,
        material: bytes,
        public: str | None,
        *,
        created_at: float,
        retire_at: float | None,
    ) -> None:
        """Take what a peer made with this key as made here, until `retire_at`.

        Such keys have negative versions: nothing is signed or sealed with them. One that is here as an own
        key (imported from the same file) stays that.
        """
        here = (cluster_keys.c.name == name, cluster_keys.c.fingerprint == fingerprint)
        versions = list(connection.execute(select(cluster_keys.c.version).where(*here)).scalars())
        if versions:
            if max(versions) < 0:
                connection.execute(update(cluster_keys).where(*here).values(retire_at=retire_at))
            return
        lowest = connection.execute(
            select(cluster_keys.c.version)
            .where(cluster_keys.c.name == name)
            .order_by(cluster_keys.c.version)
            .limit(1)
        ).scalar()
        connection.execute(
            insert(cluster_keys).values(
                name=name,
                version=min(lowest or 0, 0) - 1,
                material=encrypt(self._masters.in_use, material, name) if material else b"",
                public=public,
                fingerprint=fingerprint,
                created_at=created_at,
                active_at=0.0,
                retire_at=retire_at,
            )
        )
