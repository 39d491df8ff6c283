"""Notary v1's server and signer: collections of TUF metadata, verified as they are published.

A collection (Notary: "gun", globally unique name) is a repository's name. The server holds each
collection's timestamp key, and its snapshot key if the publisher leaves it to the server; both are kept
encrypted. Every accepted version is kept, so a client that has begun with one snapshot can finish with it.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.exc import IntegrityError

from seawall.features.trust import tuf
from seawall.features.trust.collections import (
    Change,
    Stored,
    all_metadata,
    insert_metadata,
    latest_metadata,
    newest_key,
    project_of,
    record_change,
    stored_metadata,
)
from seawall.features.trust.tables import tuf_changes, tuf_keys, tuf_metadata
from seawall.features.trust.tuf import Document, Key, TufError
from seawall.infra.db import Database
from seawall.infra.secrets.keyring import KeyRing
from seawall.kernel.errors import ConflictError, NotFoundError

# Notary's lifetimes: short for the timestamp, which says "this is the newest", long for the snapshot.
TIMESTAMP_DAYS = 14
SNAPSHOT_DAYS = 3 * 365
# Signed again on a read when less than this is left, so that nobody ever gets an expired one.
_RENEW = {"timestamp": datetime.timedelta(days=7), "snapshot": datetime.timedelta(days=30)}
_PURPOSE = "tuf"
T = TypeVar("T")
FEED_LIMIT = 1000


class NotaryService:
    """Publishes and serves collections."""

    def __init__(self, db: Database, keys: KeyRing, *, now: Callable[[], float] = time.time) -> None:
        """`now` is the clock, in Unix seconds."""
        self._db = db
        self._keys = keys
        self._clock = now

    def _now(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self._clock(), datetime.UTC)

    # -- reading -----------------------------------------------------------------------------------

    async def get(self, gun: str, role: str) -> Stored:
        """The newest metadata of a role. Raises NotFoundError.

        Timestamp, and the snapshot if its key is here, are signed again when they are about to expire.
        """
        if role in _RENEW:
            found = await self._db.point(lambda c: latest_metadata(c, gun, role))
            if found is not None and found.expires - self._now() < _RENEW[role]:
                await self._retried(lambda c: self._renew(c, gun))
        stored = await self._db.point(lambda c: stored_metadata(c, gun, tuf_metadata.c.role == role))
        if stored is None:
            raise NotFoundError(f"no trust data for {gun}, role {role}")
        return stored

    async def get_by_checksum(self, gun: str, role: str, checksum: str) -> Stored:
        """The version of a role with this SHA-256 (hex). Raises NotFoundError."""
        wanted = (tuf_metadata.c.role == role, tuf_metadata.c.sha256 == checksum.lower())
        return await self._one(gun, *wanted)

    async def get_by_version(self, gun: str, role: str, version: int) -> Stored:
        """A version of a role. Raises NotFoundError."""
        return await self._one(gun, tuf_metadata.c.role == role, tuf_metadata.c.version == version)

    async def _one(self, gun: str, *wanted: Any) -> Stored:
        stored = await self._db.point(lambda c: stored_metadata(c, gun, *wanted))
        if stored is None:
            raise NotFoundError(f"no such trust data for {gun}")
        return stored

    async def changes(self, gun: str | None, after: int, count: int) -> list[Change]:
        """The change feed after id `after`, of one collection or of all; `count` < 0: backwards from there.

        `after` -1 with a negative `count`: from the newest.
        """
        query = select(*tuf_changes.c).limit(min(abs(count), FEED_LIMIT))
        if gun is not None:
            query = query.where(tuf_changes.c.gun == gun)
        if count < 0:
            query = query.order_by(tuf_changes.c.id.desc())
            if after >= 0:
                query = query.where(tuf_changes.c.id < after)
        else:
            query = query.order_by(tuf_changes.c.id).where(tuf_changes.c.id > after)
        return await self._db.read(lambda c: [Change(*row) for row in c.execute(query)])

    # -- keys --------------------------------------------------------------------------------------

    async def key(self, gun: str, role: str) -> Key:
        """The server's public key for `role` (timestamp or snapshot), made when there is none.

        Raises NotFoundError when the project does not exist.
        """
        return await self._retried(lambda c: self._server_key(c, gun, role))

    async def rotate_key(self, gun: str, role: str) -> Key:
        """A key to be used next for `role`; it counts once a root that names it is published.

        One that was made before and is in no root yet is given again.
        """

        def make_key(connection: Connection) -> Key:
            newest = newest_key(connection, gun, role)
            root = latest_metadata(connection, gun, "root")
            used = set(tuf.role_of(root, role).keys) if root is not None else set()
            if newest is not None and newest.id not in used:
                return newest
            return self._make_key(connection, gun, role)

        return await self._retried(make_key)

    def _server_key(self, connection: Connection, gun: str, role: str) -> Key:
        return newest_key(connection, gun, role) or self._make_key(connection, gun, role)

    def _make_key(self, connection: Connection, gun: str, role: str) -> Key:
        key, private = tuf.generate()
        connection.execute(
            insert(tuf_keys).values(
                project_id=project_of(connection, gun),
                gun=gun,
                role=role,
                key_id=key.id,
                public=key.public,
                private=self._keys.encrypt(_PURPOSE, private),
                created_at=self._clock(),
            )
        )
        return key

    def _private(self, connection: Connection, gun: str, ids: Iterable[str]) -> list[tuple[str, bytes]]:
        rows = connection.execute(
            select(tuf_keys.c.key_id, tuf_keys.c.private)
            .where(tuf_keys.c.gun == gun, tuf_keys.c.key_id.in_(list(ids)))
            .order_by(tuf_keys.c.id)
        )
        return [(identifier, self._keys.decrypt(_PURPOSE, private)) for identifier, private in rows]

    # -- writing -----------------------------------------------------------------------------------

    async def publish(self, gun: str, files: dict[str, bytes]) -> None:
        """Take new metadata of some roles, all of it or nothing.

        Raises TufError when it does not verify, ConflictError when a newer version is here already, and
        NotFoundError when the project does not exist.
        """
        sent = {}
        for role, payload in files.items():
            if not tuf.is_role(role) or role == "timestamp":
                raise TufError("ErrValidation", f"{role} is not a role that can be published")
            sent[role] = tuf.parse(role, payload)
        if not sent:
            raise TufError("ErrValidation", "nothing was sent")
        try:
            await self._db.write(lambda c: self._publish(c, gun, sent))
        except IntegrityError:
            # Somebody else published the same versions in between.
            raise ConflictError("a newer version of this metadata is here already") from None

    def _publish(self, connection: Connection, gun: str, sent: dict[str, Document]) -> None:
        now = self._now()
        project_id = project_of(connection, gun)
        current = all_metadata(connection, gun)
        new = {
            role: d for role, d in sent.items() if role not in current or d.payload != current[role].payload
        }
        for role, document in new.items():
            if role in current and document.version <= current[role].version:
                raise ConflictError(f"version {current[role].version} of {role} is here already")
            if document.expired(now):
                raise TufError("ErrValidation", f"{role} has expired")
        state = {**current, **new}
        root = self._check_root(connection, gun, current.get("root"), state.get("root"))
        targets = _check_targets(root, state)
        snapshot = new.get("snapshot")
        if snapshot is None:
            if set(new) - {"root"} or "snapshot" not in state or "root" in new:
                snapshot = self._sign_snapshot(connection, gun, root, state, targets, now)
                new["snapshot"] = snapshot
        else:
            _check_snapshot(root, snapshot, state, targets)
        if snapshot is not None:
            new["timestamp"] = self._sign_timestamp(connection, gun, root, snapshot, current, now)
        for document in new.values():
            insert_metadata(connection, project_id, gun, document, self._clock())
        if "timestamp" in new:
            record_change(
                connection, gun, new["timestamp"].version, new["timestamp"].sha256, "update", self._clock()
            )

    def _check_root(
        self, connection: Connection, gun: str, old: Document | None, root: Document | None
    ) -> Document:
        if root is None:
            raise TufError("ErrBadHierarchy", "there is no root, and none was sent")
        if root is old:
            return root
        for role in tuf.BASE_ROLES:
            tuf.role_of(root, role)
        tuf.verify(root, tuf.role_of(root, "root"), "ErrBadRoot")
        if old is None:
            if root.version != 1:
                raise TufError("ErrBadRoot", "the first root must have version 1")
        else:
            # Who could sign before must have agreed: that is what makes a rotation trustworthy.
            tuf.verify(root, tuf.role_of(old, "root"), "ErrBadRoot")
            if root.version != old.version + 1:
                raise TufError("ErrBadRoot", f"root must have version {old.version + 1}")
        timestamp = tuf.role_of(root, "timestamp")
        if not self._private(connection, gun, timestamp.keys):
            raise TufError("ErrBadRoot", "root's timestamp key is not this server's")
        if timestamp.threshold != 1:
            raise TufError("ErrBadRoot", "timestamp must have a threshold of 1")
        return root

    def _sign_snapshot(
        self,
        connection: Connection,
        gun: str,
        root: Document,
        state: dict[str, Document],
        targets: list[str],
        now: datetime.datetime,
    ) -> Document:
        role = tuf.role_of(root, "snapshot")
        keys = self._private(connection, gun, role.keys)[: role.threshold]
        if len(keys) < role.threshold:
            raise TufError("ErrBadHierarchy", "no snapshot was sent, and its key is not this server's")
        old = state.get("snapshot")
        signed = {
            "_type": "Snapshot",
            "expires": tuf.expiry(now, SNAPSHOT_DAYS),
            "meta": {name: tuf.meta_of(state[name]) for name in ("root", *targets)},
            "version": old.version + 1 if old else 1,
        }
        return tuf.sign("snapshot", signed, keys)

    def _sign_timestamp(
        self,
        connection: Connection,
        gun: str,
        root: Document,
        snapshot: Document,
        current: dict[str, Document],
        now: datetime.datetime,
    ) -> Document:
        keys = self._private(connection, gun, tuf.role_of(root, "timestamp").keys)[-1:]
        if not keys:
            raise TufError("ErrBadRoot", "root's timestamp key is not this server's")
        old = current.get("timestamp")
        signed = {
            "_type": "Timestamp",
            "expires": tuf.expiry(now, TIMESTAMP_DAYS),
            "meta": {"snapshot": tuf.meta_of(snapshot)},
            "version": old.version + 1 if old else 1,
        }
        return tuf.sign("timestamp", signed, keys)

    def _renew(self, connection: Connection, gun: str) -> None:
        now = self._now()
        current = all_metadata(connection, gun)
        if not any(role in current and current[role].expires - now < left for role, left in _RENEW.items()):
            return  # another request was faster
        root, snapshot = current["root"], current["snapshot"]
        project_id = project_of(connection, gun)
        if snapshot.expires - now < _RENEW["snapshot"]:
            role = tuf.role_of(root, "snapshot")
            if len(self._private(connection, gun, role.keys)) >= role.threshold:
                targets = [name for name in current if name.partition("/")[0] == "targets"]
                snapshot = self._sign_snapshot(connection, gun, root, current, targets, now)
                insert_metadata(connection, project_id, gun, snapshot, self._clock())
        timestamp = self._sign_timestamp(connection, gun, root, snapshot, current, now)
        insert_metadata(connection, project_id, gun, timestamp, self._clock())

    async def delete(self, gun: str) -> None:
        """Forget a collection, its keys included; the change feed says so."""

        def delete_collection(connection: Connection) -> None:
            removed = connection.execute(delete(tuf_metadata).where(tuf_metadata.c.gun == gun)).rowcount
            connection.execute(delete(tuf_keys).where(tuf_keys.c.gun == gun))
            if removed:
                record_change(connection, gun, 0, "", "deletion", self._clock())

        await self._db.write(delete_collection)

    async def _retried(self, fn: Callable[[Connection], T]) -> T:
        # Two requests may make the same first key or renew at once: the second then finds what it wanted.
        try:
            return await self._db.write(fn)
        except IntegrityError:
            return await self._db.write(fn)


def _check_targets(root: Document, state: dict[str, Document]) -> list[str]:
    """Verify targets and every delegation under it; returns the names of all of them."""
    if "targets" not in state:
        raise TufError("ErrBadHierarchy", "there is no targets role, and none was sent")
    tuf.verify(state["targets"], tuf.role_of(root, "targets"), "ErrBadTargets")
    names = ["targets"]
    for name in sorted(state):
        if not name.startswith("targets/"):
            continue
        parent = name.rpartition("/")[0]
        if parent not in state:
            raise TufError("ErrBadHierarchy", f"{name} was sent, but {parent} is not there")
        try:
            role = tuf.delegated(state[parent], name)
        except TufError:
            # Its parent no longer delegates to it: it is not part of the collection any more.
            continue
        try:
            tuf.verify(state[name], role, "ErrBadTargets")
        except TufError:
            # Keys of a delegation were taken away: what they signed stays out until it is signed again.
            continue
        if parent in names:
            names.append(name)
    return names


def _check_snapshot(
    root: Document, snapshot: Document, state: dict[str, Document], targets: list[str]
) -> None:
    tuf.verify(snapshot, tuf.role_of(root, "snapshot"), "ErrBadSnapshot")
    meta = snapshot.signed.get("meta")
    if not isinstance(meta, dict):
        raise TufError("ErrBadSnapshot", "snapshot has no meta")
    for name in ("root", "targets"):
        if not tuf.matches(meta.get(name), state[name]):
            raise TufError("ErrBadSnapshot", f"snapshot is about another {name}")
    for name in meta:
        if name.startswith("targets/") and (name not in state or not tuf.matches(meta[name], state[name])):
            raise TufError("ErrBadSnapshot", f"snapshot is about another {name}")
        if name.startswith("targets/") and name not in targets:
            raise TufError("ErrBadSnapshot", f"snapshot has {name}, which does not verify")


def signed_tags(connection: Connection, gun: str, now: datetime.datetime) -> dict[str, str]:
    """Tags that the collection's signers vouch for: target name -> digest (`sha256:...`).

    From targets and targets/releases, which is where Docker Content Trust signs; later ones do not
    override earlier ones. What has expired, or does not verify under the current root, does not count.
    """
    state = all_metadata(connection, gun)
    root = state.get("root")
    if root is None or root.expired(now) or "targets" not in state:
        return {}
    try:
        names = _check_targets(root, state)
    except TufError:
        return {}
    found: dict[str, str] = {}
    for name in ("targets/releases", "targets"):
        document = state.get(name)
        if name not in names or document is None or document.expired(now):
            continue
        targets = document.signed.get("targets")
        for tag, entry in (targets if isinstance(targets, dict) else {}).items():
            stated = entry.get("hashes") if isinstance(entry, dict) else None
            value = stated.get("sha256") if isinstance(stated, dict) else None
            if isinstance(value, str):
                found.setdefault(str(tag), f"sha256:{_hex(value)}")
    return found


def _hex(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).hex()
    except binascii.Error:
        return ""
