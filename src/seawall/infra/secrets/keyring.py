"""Key material shared by every instance: kept once in the database, encrypted under the master key.

Three keys make up the cluster's identity, each with versions (table `cluster_keys`):

- `token-signing`: the RSA key that signs tokens, with a self-signed certificate (`root.crt`);
- `csrf`: authenticates CSRF tokens;
- `secret`: encrypts stored credentials (registries, webhooks, OIDC, ...), see `Sealer`.

The first instance to start generates them, or imports them from files; all others read them. How one is
replaced: see `rotation`.
"""

from __future__ import annotations

import base64
import hmac
import secrets
import time
from typing import Any

from joserfc.jwk import RSAKey
from sqlalchemy import select

from seawall.infra.db import Database
from seawall.infra.secrets.files import KeyFiles
from seawall.infra.secrets.master import MasterKeys, load_master_key, other_master_keys
from seawall.infra.secrets.material import CSRF, NAMES, TOKEN, derive, generate
from seawall.infra.secrets.rotation import KeyRotation
from seawall.infra.secrets.sealing import Sealer
from seawall.infra.secrets.tables import cluster_keys
from seawall.infra.secrets.versions import Key, KeyVersions, is_over
from seawall.infra.secrets.watch import KeyWatch
from seawall.infra.settings import KeysSettings, Settings
from seawall.kernel.errors import RegistryError


class KeyRing:
    """The cluster's keys as this process uses them; `watch` keeps them fresh.

    Every method but `watch` is synchronous and safe in any thread.
    """

    def __init__(
        self, db: Database, master: bytes, settings: KeysSettings, others: tuple[bytes, ...] = ()
    ) -> None:
        """`others` are master keys that open stored keys too, while the master key is replaced."""
        self.masters = MasterKeys(master, others)
        self._versions = KeyVersions(db, self.masters)
        self._sealer = Sealer(self._versions)
        self.rotation = KeyRotation(db, self.masters, self._versions, self._sealer, settings)
        self._watch = KeyWatch(db, self._versions, self.rotation, settings)
        self.current = self._versions.current
        self.accepted = self._versions.accepted
        self.versions = self._versions.all
        self.reload = self._versions.reload
        self.encrypt = self._sealer.encrypt
        self.decrypt = self._sealer.decrypt
        self.watch = self._watch.run

    @classmethod
    def open(
        cls,
        db: Database,
        settings: Settings,
        *,
        files: bool = True,
        generate_missing: bool = True,
        master: bytes | None = None,
    ) -> KeyRing:
        """The ring of the cluster in `db`: keys that are missing are imported from files or generated.

        Without `generate_missing` they stay missing. `master` opens stored keys too, and is the master key
        where nothing is stored yet.

        Raises ConfigError: no or a wrong master key, an unreadable key file, or a key file that is not
        the cluster's (unless `keys.on_mismatch` is `heal`). `files` False leaves the key files alone.
        """
        existing = db.sync_read(lambda c: c.execute(select(cluster_keys.c.name).limit(1)).first())
        others = other_master_keys(settings)
        if master is not None and existing is None:
            own = master
        else:
            own = load_master_key(settings, create=existing is None)
        if master is not None:
            others = (*others, master)
        ring = cls(db, own, settings.keys, others)
        ring.reload()
        held = tuple(name for name in NAMES if any(key.version > 0 for key in ring.versions(name)))
        given = KeyFiles(settings.keys, held=held) if files else None
        missing = [name for name in NAMES if name not in held]
        if missing and generate_missing:
            ring.rotation.publish_first(
                {name: (given.material(name) if given else None) or generate(name) for name in missing}
            )
            ring.reload()
        ring.rotation.add_certificates()
        if given is not None:
            given.compare(ring.masters, ring._versions, heal=settings.keys.on_mismatch == "heal")
        return ring

    @property
    def generation(self) -> int:
        """Grows whenever the set of keys changes; caches that depend on keys compare it."""
        return self._versions.generation

    # -- CSRF tokens -------------------------------------------------------------------------------

    @property
    def csrf_key(self) -> bytes:
        """32 bytes, derived from the current CSRF key."""
        return derive(self.current(CSRF).material, "csrf")

    def csrf_token(self, session: str) -> str:
        """A CSRF token bound to `session` (any text that identifies the browser's session)."""
        key = self.current(CSRF)
        nonce = secrets.token_urlsafe(12)
        return f"{key.version}.{nonce}.{_csrf_mac(key, session, nonce)}"

    def csrf_valid(self, session: str, token: str) -> bool:
        """Whether `token` was made by `csrf_token` for `session`, on whichever instance."""
        _, _, rest = token.partition(".")
        nonce, _, mac = rest.partition(".")
        # The version does not help: keys of peers have other numbers here than there.
        return any(
            hmac.compare_digest(_csrf_mac(key, session, nonce), mac)
            for key in self.accepted(CSRF)
            if mac.isascii()
        )

    # -- tokens ------------------------------------------------------------------------------------

    def signing(self) -> tuple[str, RSAKey]:
        """(key id, key) that signs tokens now. The id is the RFC 7638 thumbprint."""
        key = self.current(TOKEN)
        return key.fingerprint, self._rsa(key)

    def verifying(self, kid: str) -> RSAKey | None:
        """The accepted signing key `kid`, None when there is none.

        Raises RegistryError UNAVAILABLE when the key is unknown and the ring could not be refreshed for a
        while: then "unknown" would be a guess, and a guess must not cost a client its login.
        """
        now = time.time()
        known = [key for key in self.versions(TOKEN) if key.fingerprint == kid]
        if known:
            # A key may be there twice: once retired, and then brought again.
            return None if all(is_over(key, now) for key in known) else self._versions.rsa(kid)
        self._watch.wake()
        if self._watch.overdue:
            raise RegistryError("UNAVAILABLE", "this instance cannot read the cluster's keys now")
        return None

    def jwks(self) -> dict[str, Any]:
        """The public signing keys as a JWK set (RFC 7517)."""
        keys = []
        for key in self.accepted(TOKEN):
            jwk = self._rsa(key).as_dict(private=False)
            keys.append({**jwk, "kid": key.fingerprint, "alg": "RS256", "use": "sig"})
        return {"keys": keys}

    def _rsa(self, key: Key) -> RSAKey:
        found = self._versions.rsa(key.fingerprint)
        assert found is not None
        return found

    @property
    def certificate(self) -> str:
        """PEM of the current signing key's certificate (`root.crt`)."""
        return self.current(TOKEN).public

    # -- comparing instances, peers ----------------------------------------------------------------

    def fingerprints(self) -> dict[str, str]:
        """Fingerprint of the master key and of each key in use, to compare instances by."""
        found = {name: self.current(name).fingerprint for name in NAMES}
        return {"master": self.masters.fingerprint, **found}

    def open_material(self, name: str, material: bytes) -> bytes:
        """The plain material of a row of `cluster_keys`."""
        return self.masters.opened(name, bytes(material))[0] if material else b""


def _csrf_mac(key: Key, session: str, nonce: str) -> str:
    message = f"{nonce}\0{session}".encode()
    digest = hmac.digest(derive(key.material, "csrf"), message, "sha256")
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
