"""Key material shared by every instance: kept once in the database, encrypted under the master key.

Three keys make up the cluster's identity, each with versions (table `cluster_keys`):

- `token-signing`: the RSA key that signs tokens, with a self-signed certificate (`root.crt`);
- `csrf`: authenticates CSRF tokens;
- `secret`: encrypts stored credentials (registries, webhooks, OIDC, ...), see `KeyRing.encrypt`.

The first instance to start generates them, or imports them from files; all others read them. A rotation
publishes a new version that is used only from `active_at` on, when every instance has seen it, while the
older versions are still accepted until `retire_at`. So no request meets an instance that lacks a key.

The master key itself is 32 random bytes: from the environment, a file (a Kubernetes secret, say), or a
file made at first start below `data_dir`.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import datetime
import hmac
import os
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc.jwk import RSAKey
from sqlalchemy import Connection, Table, insert, select, update
from sqlalchemy.exc import IntegrityError

from seawall.infra.db import Database
from seawall.infra.db.metadata import all_tables
from seawall.infra.db.notify import listen, notify
from seawall.infra.secrets.tables import cluster_keys
from seawall.infra.settings import KeysSettings, Settings
from seawall.kernel.errors import ConfigError, ConflictError, RegistryError

TOKEN, CSRF, SECRET = "token-signing", "csrf", "secret"
NAMES = (TOKEN, CSRF, SECRET)
_CHANNEL = "seawall_keys"
_SEALED = re.compile(r"sealed:v(\d+):([a-z0-9.-]{1,64}):([A-Za-z0-9_-]+={0,2})")

log: Any = structlog.get_logger("seawall.keys")


# -- the master key ------------------------------------------------------------------------------------


def load_master_key(settings: Settings, *, create: bool = True) -> bytes:
    """The 32-byte master key: `master_key`, `master_key_file`, or `data_dir/master.key`.

    The last is made when missing, if `create`. A file holds 32 bytes, raw or in base64. Raises ConfigError
    naming the source when it is missing or not a key.
    """
    if settings.master_key is not None:
        if settings.master_key_file is not None:
            raise ConfigError("master_key and master_key_file are both set; set one")
        return _parse_master(settings.master_key.encode(), "master_key (SEAWALL_MASTER_KEY)")
    path = settings.master_key_file or settings.data_dir / "master.key"
    if settings.master_key_file is None and not path.exists():
        if not create:
            raise ConfigError(
                "the database holds keys encrypted under a master key, and this instance has none: set "
                f"master_key_file or SEAWALL_MASTER_KEY to the cluster's, or copy it to {path}"
            )
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        _create(path)
    return read_master_key(path)


def other_master_keys(settings: Settings) -> tuple[bytes, ...]:
    """The master keys besides `load_master_key`'s that may open what is stored. Raises ConfigError."""
    path = settings.other_master_key_file
    return () if path is None else (read_master_key(path),)


def read_master_key(path: Path) -> bytes:
    """The master key in a file. Raises ConfigError naming it."""
    try:
        return _parse_master(path.read_bytes(), f"master key {path}")
    except OSError as error:
        raise ConfigError(f"master key {path}: {error.strerror}") from None


def _parse_master(value: bytes, source: str) -> bytes:
    if len(value) == 32:
        return value
    try:
        key = base64.b64decode(value.strip(), validate=True)
    except binascii.Error:
        raise ConfigError(f"{source}: neither 32 bytes nor base64") from None
    if len(key) != 32:
        raise ConfigError(f"{source}: must be 32 bytes in base64, has {len(key)}")
    return key


def _create(path: Path) -> None:
    # Written aside and linked into place: of several processes starting together one wins, and nobody
    # ever reads half a key.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as handle:
        handle.write(base64.b64encode(secrets.token_bytes(32)) + b"\n")
        handle.flush()
        os.fsync(handle.fileno())
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()


def encrypt(master: bytes, plain: bytes, purpose: str) -> bytes:
    """AES-256-GCM; `purpose` is bound to the result, so one stored secret cannot stand in for another."""
    nonce = secrets.token_bytes(12)
    return nonce + AESGCM(master).encrypt(nonce, plain, purpose.encode())


def decrypt(master: bytes, sealed: bytes, purpose: str) -> bytes:
    """Reverse of `encrypt`. Raises ConfigError when the master key is not the one that encrypted."""
    try:
        return AESGCM(master).decrypt(sealed[:12], sealed[12:], purpose.encode())
    except InvalidTag:
        raise ConfigError(
            f"the master key does not open the cluster's {purpose} key: this instance has another master "
            "key than the one that wrote the database; give it the cluster's (master_key_file or "
            "SEAWALL_MASTER_KEY)"
        ) from None


# -- versions ------------------------------------------------------------------------------------------


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


class KeyRing:
    """The cluster's keys as this process knows them; `watch` keeps them fresh.

    Every method but `refresh` and `watch` is synchronous and safe in any thread.
    """

    def __init__(
        self, db: Database, master: bytes, settings: KeysSettings, others: tuple[bytes, ...] = ()
    ) -> None:
        """`others` are master keys that open stored keys too, while the master key is replaced."""
        self._db = db
        self._masters = (master, *others)
        # The one that the stored keys are sealed under.
        self._master = master
        self._settings = settings
        self._keys: dict[str, tuple[Key, ...]] = dict.fromkeys(NAMES, ())
        self._rsa: dict[str, RSAKey] = {}
        self._seen: object = None
        self._sealed: dict[tuple[str, int], bytes] = {}
        self._fresh = 0.0
        self._wake: asyncio.Event | None = None
        self._told = False
        # Grows whenever the set of keys changes; caches that depend on keys compare it.
        self.generation = 0

    @classmethod
    def open(cls, db: Database, settings: Settings, *, files: bool = True) -> KeyRing:
        """The ring of the cluster in `db`: keys that are missing are imported from files or generated.

        Raises ConfigError: no or a wrong master key, an unreadable key file, or a key file that is not
        the cluster's (unless `keys.on_mismatch` is `heal`). `files` False leaves the key files alone.
        """
        existing = db.sync_read(lambda c: c.execute(select(cluster_keys.c.name).limit(1)).first())
        master = load_master_key(settings, create=existing is None)
        ring = cls(db, master, settings.keys, other_master_keys(settings))
        given = _KeyFiles(settings.keys) if files else None
        ring.reload()
        missing = [name for name in NAMES if not any(key.version > 0 for key in ring._keys[name])]
        if missing:
            ring._publish_first(
                {name: (given.material(name) if given else None) or _generate(name) for name in missing}
            )
            ring.reload()
        ring._add_certificates()
        if given is not None:
            given.compare(ring, heal=settings.keys.on_mismatch == "heal")
        return ring

    # -- use ---------------------------------------------------------------------------------------

    def current(self, name: str) -> Key:
        """The version in use for new signatures or encryption."""
        now = time.time()
        own = [key for key in self._keys[name] if key.version > 0]
        usable = [key for key in own if key.active_at <= now and not _over(key, now)]
        # All published ones still in the future happens only with a badly set clock; the oldest is right.
        return usable[-1] if usable else own[0]

    def accepted(self, name: str) -> list[Key]:
        """Versions that verifiers take now: current, next, and older ones in their overlap."""
        now = time.time()
        return [key for key in self._keys[name] if key.material and not _over(key, now)]

    def versions(self, name: str) -> tuple[Key, ...]:
        """Every version, oldest first."""
        return self._keys[name]

    @property
    def csrf_key(self) -> bytes:
        """32 bytes, derived from the current CSRF key."""
        return _derive(self.current(CSRF).material, "csrf")

    def csrf_token(self, session: str) -> str:
        """A CSRF token bound to `session` (any text that identifies the browser's session)."""
        key = self.current(CSRF)
        nonce = secrets.token_urlsafe(12)
        return f"{key.version}.{nonce}.{_csrf_mac(key, session, nonce)}"

    def csrf_valid(self, session: str, token: str) -> bool:
        """Whether `token` was made by `csrf_token` for `session`, on whichever instance."""
        _, _, rest = token.partition(".")
        nonce, _, mac = rest.partition(".")
        # The version is no help: keys of peers have other numbers here than there.
        return any(
            hmac.compare_digest(_csrf_mac(key, session, nonce), mac)
            for key in self.accepted(CSRF)
            if mac.isascii()
        )

    def signing(self) -> tuple[str, RSAKey]:
        """(key id, key) that signs tokens now. The id is the RFC 7638 thumbprint."""
        key = self.current(TOKEN)
        return key.fingerprint, self._rsa[key.fingerprint]

    def verifying(self, kid: str) -> RSAKey | None:
        """The accepted signing key `kid`, None when there is none.

        Raises RegistryError UNAVAILABLE when the key is unknown and the ring could not be refreshed for a
        while: then "unknown" would be a guess, and a guess must not cost a client its login.
        """
        now = time.time()
        for key in self._keys[TOKEN]:
            if key.fingerprint == kid:
                return None if _over(key, now) else self._rsa.get(kid)
        self.wake()
        if self._wake is not None and time.monotonic() - self._fresh > max(
            10.0, 5 * self._settings.poll_seconds
        ):
            raise RegistryError("UNAVAILABLE", "this instance cannot read the cluster's keys now")
        return None

    def jwks(self) -> dict[str, Any]:
        """The public signing keys as a JWK set (RFC 7517)."""
        keys = []
        for key in self.accepted(TOKEN):
            jwk = self._rsa[key.fingerprint].as_dict(private=False)
            keys.append({**jwk, "kid": key.fingerprint, "alg": "RS256", "use": "sig"})
        return {"keys": keys}

    @property
    def certificate(self) -> str:
        """PEM of the current signing key's certificate (`root.crt`)."""
        return self.current(TOKEN).public

    def encrypt(self, purpose: str, plain: bytes) -> str:
        """`plain` sealed under the secret key, as ASCII text to store (`sealed:v<version>:<purpose>:...`).

        `purpose` (lower-case letters, digits, `.` and `-`) is bound to the text and must be given again to
        open it. Mark the column that holds it `info={"sealed": True}` (text or JSON), so that a rotation
        of the secret key finds it.
        """
        key = self.current(SECRET)
        sealed = encrypt(_derive(key.material, "seal"), plain, purpose)
        text = f"sealed:v{key.version}:{purpose}:{base64.urlsafe_b64encode(sealed).decode()}"
        assert _SEALED.fullmatch(text), "purpose has other characters than a-z 0-9 . -"
        return text

    def decrypt(self, purpose: str, sealed: str) -> bytes:
        """Reverse of `encrypt`. Raises ConfigError when it is not ours, or was sealed for something else."""
        match = _SEALED.fullmatch(sealed)
        if match is None or match[2] != purpose:
            raise ConfigError(f"a stored {purpose} credential is not readable: not sealed by this cluster")
        version = int(match[1])
        key = self._secret(version)
        if key is None:
            self.reload()
            key = self._secret(version)
        if key is None:
            raise ConfigError(
                f"a stored {purpose} credential needs secret key version {version}, which is gone"
            )
        data = base64.urlsafe_b64decode(match[3])
        # Keys of peers: a browser may bring to one instance what another sealed for it.
        for candidate in (key, *(k for k in self._keys[SECRET] if k.version < 0 and k.material)):
            with contextlib.suppress(InvalidTag):
                opener = AESGCM(_derive(candidate.material, "seal"))
                return opener.decrypt(data[:12], data[12:], purpose.encode())
        raise ConfigError(f"a stored {purpose} credential is damaged or from another cluster")

    def _secret(self, version: int) -> Key | None:
        return next((k for k in self._keys[SECRET] if k.version == version and k.material), None)

    def fingerprints(self) -> dict[str, str]:
        """Fingerprint of the master key and of each key in use, to compare instances by."""
        found = {name: self.current(name).fingerprint for name in NAMES}
        return {"master": self.master_fingerprint, **found}

    # -- keys of peers (own-storage HA) ------------------------------------------------------------

    def peer_key(self, purpose: str) -> bytes:
        """32 bytes that those derive who have the same master key."""
        return _derive(self._master, f"peers {purpose}")

    def peer_keys(self, purpose: str) -> dict[str, bytes]:
        """`peer_key` of each master key that is held, by its fingerprint; the one in use first."""
        masters = dict.fromkeys((self._master, *self._masters))
        return {_master_fingerprint(master): _derive(master, f"peers {purpose}") for master in masters}

    @property
    def master_fingerprint(self) -> str:
        """Tells master keys apart without giving anything away."""
        return _master_fingerprint(self._master)

    def open_material(self, name: str, material: bytes) -> bytes:
        """The plain material of a row of `cluster_keys`."""
        return self._opened(name, bytes(material))[0] if material else b""

    def _opened(self, name: str, material: bytes) -> tuple[bytes, bytes]:
        """The plain material and the master key that opened it."""
        for master in self._masters[1:]:
            with contextlib.suppress(ConfigError):
                return decrypt(master, material, name), master
        return decrypt(self._masters[0], material, name), self._masters[0]

    @property
    def held_masters(self) -> list[str]:
        """Fingerprints of the master keys that this instance has."""
        return [_master_fingerprint(master) for master in self._masters]

    def rotate_master(self, new: bytes) -> int:
        """Seal every stored key under the master key `new`, in one transaction; returns how many.

        Raises ConfigError when this ring lacks the key that they are sealed under.
        """

        def run(connection: Connection) -> int:
            query = select(cluster_keys).where(cluster_keys.c.name.in_(NAMES)).with_for_update()
            changed = 0
            for row in connection.execute(query).all():
                if not row.material:
                    continue
                plain, master = self._opened(row.name, bytes(row.material))
                if master == new:
                    continue
                values: dict[str, Any] = {"material": encrypt(new, plain, row.name)}
                if row.fingerprint:
                    values["fingerprint"] = _fingerprint(new, row.name, plain)
                where = (cluster_keys.c.name == row.name, cluster_keys.c.version == row.version)
                connection.execute(update(cluster_keys).where(*where).values(values))
                changed += 1
            notify(connection, _CHANNEL)
            return changed

        self._masters = tuple(dict.fromkeys((*self._masters, new)))
        changed = self._db.sync_write(run)
        self.reload()
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
                material=encrypt(self._master, material, name) if material else b"",
                public=public,
                fingerprint=fingerprint,
                created_at=created_at,
                active_at=0.0,
                retire_at=retire_at,
            )
        )

    # -- freshness ---------------------------------------------------------------------------------

    def wake(self) -> None:
        """Ask `watch` to look for new keys now."""
        if self._wake is not None:
            self._wake.set()

    async def watch(self) -> None:
        """Follow the cluster's keys until cancelled; finish secret rotations that others began."""
        self._wake = asyncio.Event()
        told = asyncio.create_task(self._listen())
        try:
            await self._follow()
        finally:
            told.cancel()
            await asyncio.gather(told, return_exceptions=True)

    async def _listen(self) -> None:
        """Look at once when another process says that it has changed the keys."""
        assert self._wake is not None
        async for _ in listen(self._db, _CHANNEL):
            self._told = True
            self._wake.set()

    async def _follow(self) -> None:
        assert self._wake is not None
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._settings.poll_seconds)
                if not self._told:
                    # Unknown key ids come from outside: they must not set the pace of database reads.
                    await asyncio.sleep(0.5)
            self._told = False
            self._wake.clear()
            try:
                self._take(await self._db.point(_rows))
                if self._secret_rotation_due():
                    await self._db.write(self._reseal_all)
            except ConfigError:
                raise
            except Exception as error:
                log.warning("keys cannot be refreshed", error=type(error).__name__)

    def reload(self) -> None:
        """Read the keys now. Raises ConfigError when the master key does not open them."""
        self._take(self._db.sync_read(_rows))

    def _take(self, rows: list[Any]) -> None:
        seen = [(*row[:2], bytes(row[2] or b""), *row[4:]) for row in rows]
        self._fresh = time.monotonic()
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
                plain, master = self._opened(name, bytes(material))
                if version > 0:
                    self._master = master
                print_ = fingerprint or self._fingerprint(name, plain)
            else:
                plain, print_ = b"", fingerprint
            found[name].append(
                Key(name, version, plain, public or "", print_, created_at, active_at, retire_at)
            )
        rsa_keys = {}
        for key in found[TOKEN]:
            if key.material:
                rsa_keys[key.fingerprint] = self._rsa.get(key.fingerprint) or RSAKey.import_key(key.material)
        self._rsa = rsa_keys
        self._keys = {name: tuple(keys) for name, keys in found.items()}
        self._seen = seen
        self.generation += 1

    def _fingerprint(self, name: str, material: bytes) -> str:
        return _fingerprint(self._master, name, material)

    def file_fingerprint(self, name: str, material: bytes) -> str:
        """Fingerprint that `material` would have as key `name`."""
        return self._fingerprint(name, material)

    # -- rotation ----------------------------------------------------------------------------------

    def _publish_first(self, made: dict[str, tuple[bytes, str]]) -> None:
        rows = [
            {
                "name": name,
                "version": 1,
                "material": encrypt(self._master, material, name),
                "public": public or None,
                "fingerprint": self._fingerprint(name, material),
                "created_at": time.time(),
                "active_at": 0.0,
            }
            for name, (material, public) in made.items()
        ]
        # All in one transaction: of instances that start together one provides every key. On a conflict
        # another instance was first, and its keys are the cluster's.
        with contextlib.suppress(IntegrityError):
            self._db.sync_write(lambda c: c.execute(insert(cluster_keys), rows))

    def _add_certificates(self) -> None:
        # Keys of a Seawall from before certificates were kept.
        for key in self._keys[TOKEN]:
            if key.public or not key.material:
                continue
            where = (cluster_keys.c.name == TOKEN, cluster_keys.c.version == key.version)
            values = {"public": _certificate(_rsa_key(key.material)), "fingerprint": key.fingerprint}
            query = update(cluster_keys).where(*where, cluster_keys.c.public.is_(None)).values(values)
            self._db.sync_write(lambda c, query=query: c.execute(query))  # type: ignore[misc]
            self.reload()

    def rotate(self, name: str, *, overlap_seconds: float, at_once: bool = False) -> Key:
        """Publish the next version of key `name`; it is used `keys.publish_seconds` from now.

        Older versions are accepted for `overlap_seconds` after that (older secret keys always can decrypt).
        `at_once`: the new key is used now and the old ones are refused now, for a key that leaked; logins
        made with the old one are over. Raises ConflictError while the last rotation is not in use yet.
        """
        material, public = _generate(name)
        now = time.time()
        active = now if at_once else now + self._settings.publish_seconds
        sealed, print_ = encrypt(self._master, material, name), self._fingerprint(name, material)

        def run(connection: Connection) -> None:
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
            notify(connection, _CHANNEL)

        self._db.sync_write(run)
        self.reload()
        return self._keys[name][-1]

    def _secret_rotation_due(self) -> bool:
        # A while after the new key came into use, so that nobody still seals with the old one.
        current = self.current(SECRET)
        older = [k for k in self._keys[SECRET] if 0 < k.version < current.version and k.retire_at is None]
        return bool(older) and time.time() > current.active_at + 3 * self._settings.poll_seconds

    def finish_secret_rotation(self) -> int:
        """Seal every stored credential with the current secret key; returns how many were not yet."""
        self.reload()
        return self._db.sync_write(self._reseal_all)

    def _reseal_all(self, connection: Connection) -> int:
        changed = 0
        for table, column in sealed_columns():
            changed += self._reseal_column(connection, table, column)
        current = self.current(SECRET).version
        # Retired means "nothing is stored under it that we know of". The material stays: a restored
        # backup may need it.
        connection.execute(
            update(cluster_keys)
            .where(
                cluster_keys.c.name == SECRET,
                cluster_keys.c.version < current,
                cluster_keys.c.version > 0,
                cluster_keys.c.retire_at.is_(None),
            )
            .values(retire_at=time.time())
        )
        return changed

    def _reseal_column(self, connection: Connection, table: Table, column: str) -> int:
        keys = list(table.primary_key.columns)
        rows = connection.execute(
            select(*keys, table.c[column]).where(table.c[column].is_not(None)).with_for_update()
        ).all()
        changed = 0
        for row in rows:
            value = _walk(row[-1], self._reseal)
            if value != row[-1]:
                where = [key == part for key, part in zip(keys, row[:-1], strict=True)]
                connection.execute(update(table).where(*where).values({column: value}))
                changed += 1
        return changed

    def _reseal(self, text: str) -> str:
        match = _SEALED.fullmatch(text)
        if match is None or int(match[1]) == self.current(SECRET).version:
            return text
        try:
            return self.encrypt(match[2], self.decrypt(match[2], text))
        except ConfigError as error:
            # One that cannot be read any more must not keep the others from their new key.
            log.warning("a stored credential is left as it is", error=str(error))
            return text


def sealed_columns() -> list[tuple[Table, str]]:
    """(table, column) of every column that is marked to hold sealed credentials."""
    return [
        (table, column.name)
        for table in all_tables()
        for column in table.columns
        if column.info.get("sealed")
    ]


def _walk(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _walk(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_walk(item, change) for item in value]
    return value


def _fingerprint(master: bytes, name: str, material: bytes) -> str:
    if name == TOKEN:
        return RSAKey.import_key(material).thumbprint()
    # Keyed, so that a weak secret from a file cannot be found by trying candidates.
    return hmac.digest(master, name.encode() + b"\0" + material, "sha256").hex()[:32]


def _master_fingerprint(master: bytes) -> str:
    return hmac.digest(master, b"master", "sha256").hex()[:32]


def _over(key: Key, now: float) -> bool:
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


def _csrf_mac(key: Key, session: str, nonce: str) -> str:
    message = f"{nonce}\0{session}".encode()
    digest = hmac.digest(_derive(key.material, "csrf"), message, "sha256")
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _derive(material: bytes, purpose: str) -> bytes:
    # Files of operators have any length and form; HKDF makes a 256-bit key of whatever they hold.
    return HKDF(hashes.SHA256(), 32, salt=None, info=b"seawall " + purpose.encode()).derive(material)


def _generate(name: str) -> tuple[bytes, str]:
    """New (material, certificate PEM or "") for key `name`."""
    if name != TOKEN:
        return secrets.token_bytes(32), ""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return _pem(key), _certificate(key)


def _rsa_key(pem: bytes) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(pem, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def _pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _certificate(key: rsa.RSAPrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "seawall-token")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


# -- key files, as Harbor's operators keep them ----------------------------------------------------------


class _KeyFiles:
    """The key files that settings name, read once. Raises ConfigError naming a file that is no key."""

    def __init__(self, settings: KeysSettings) -> None:
        self._files: dict[str, tuple[Path, bytes]] = {}
        self._public = ""
        self._root: tuple[Path, str] | None = None
        for name, path in (
            (TOKEN, settings.private_key_file),
            (CSRF, settings.csrf_key_file),
            (SECRET, settings.secret_key_file),
        ):
            if path is not None:
                data = _read(path)
                self._files[name] = (path, _private_key(path, data) if name == TOKEN else _random(path, data))
        if settings.root_crt_file is not None:
            path = settings.root_crt_file
            if TOKEN not in self._files:
                raise ConfigError(f"keys.root_crt_file {path} is given without keys.private_key_file")
            self._root = (path, _root_crt(path, *self._files[TOKEN]))

    def material(self, name: str) -> tuple[bytes, str] | None:
        """(material, certificate) from the file for key `name`, None without one."""
        if name not in self._files:
            return None
        _path, material = self._files[name]
        if name != TOKEN:
            return material, ""
        if self._root is not None:
            return material, self._root[1]
        return material, _certificate(_rsa_key(material))

    def compare(self, ring: KeyRing, *, heal: bool) -> None:
        """Hold the files against the cluster's keys. Raises ConfigError naming the first that differs.

        A file that holds an older version, from before a rotation, is no fault: it is only out of date.
        """
        for name, (path, material) in self._files.items():
            fingerprint = ring.file_fingerprint(name, material)
            versions = ring.versions(name)
            if fingerprint == versions[-1].fingerprint:
                continue
            if any(fingerprint == key.fingerprint for key in versions):
                log.warning("key file is out of date after a rotation; it may be removed", file=str(path))
                continue
            self._differs(path, name, heal)
        if self._root is not None:
            path, certificate = self._root
            known = {key.public for key in ring.versions(TOKEN)}
            if certificate not in known:
                self._differs(path, "token certificate", heal)

    def _differs(self, path: Path, name: str, heal: bool) -> None:
        if heal:
            log.warning("key file differs from the cluster's key, which is used", file=str(path), key=name)
            return
        raise ConfigError(
            f"{path} differs from the cluster's {name} key: replace it with the other instances' file, "
            "remove it, or set keys.on_mismatch to heal to use the cluster's"
        )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"key file {path}: {error.strerror}") from None


def _private_key(path: Path, data: bytes) -> bytes:
    try:
        key = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError):
        raise ConfigError(f"key file {path}: not a PEM private key without password") from None
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < 2048:
        raise ConfigError(f"key file {path}: must be an RSA key of 2048 bits or more")
    return _pem(key)


def _random(path: Path, data: bytes) -> bytes:
    data = data.strip()
    if len(data) < 16:
        raise ConfigError(f"key file {path}: must hold 16 bytes or more, has {len(data)}")
    return data


def _root_crt(path: Path, key_path: Path, key_pem: bytes) -> str:
    try:
        certificate = x509.load_pem_x509_certificate(_read(path))
    except ValueError:
        raise ConfigError(f"key file {path}: not a PEM certificate") from None
    key = serialization.load_pem_private_key(key_pem, None)
    if certificate.public_key() != key.public_key():
        raise ConfigError(f"key file {path}: is not the certificate of {key_path}")
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


__all__ = [
    "CSRF",
    "NAMES",
    "SECRET",
    "TOKEN",
    "Key",
    "KeyRing",
    "load_master_key",
    "other_master_keys",
    "read_master_key",
    "sealed_columns",
]
