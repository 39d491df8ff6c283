"""What instances ask each other: the caller's proof, and the answers.

The proof is a token of the cluster's signing key for the audience `seawall-ha`, good for an hour (not less,
because clocks that differ are among what is looked for). Answers say what the instance is and what it can
see; a probe can write nothing but a small object of its own. `seawall.web.internal.probe` serves them.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Callable
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from sqlalchemy import select

from seawall import __version__
from seawall.availability.cluster.health import Health
from seawall.availability.cluster.instances import InstanceRegistry
from seawall.availability.cluster.tables import instances
from seawall.infra.db import Database
from seawall.infra.redis import RedisClient
from seawall.infra.redis import RedisUnavailableError as RedisUnavailableError
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.storage import BlobStorage
from seawall.kernel.errors import RegistryError, SeawallError

PATH = "/_seawall/probe"
_AUDIENCE = "seawall-ha"
_KEY = re.compile(r"probe-[0-9a-f]{16,64}")


def probe_token(keys: KeyRing) -> str:
    """A caller's proof."""
    kid, key = keys.signing()
    now = int(time.time())
    claims = {"aud": _AUDIENCE, "nbf": now - 3600, "exp": now + 3660, "iat": now}
    return jwt.encode({"alg": "RS256", "kid": kid, "typ": "JWT"}, claims, key)


def probe_token_valid(keys: KeyRing, token: str) -> bool:
    """Whether `token` is such a proof."""
    try:
        kid = jws.extract_compact(token.encode()).headers().get("kid")
        key = keys.verifying(kid) if isinstance(kid, str) else None
        if key is None:
            return False
        claims: dict[str, Any] = jwt.decode(token, key, algorithms=["RS256"]).claims
    except (JoseError, ValueError, TypeError, RegistryError):
        return False
    expiry = claims.get("exp")
    return claims.get("aud") == _AUDIENCE and isinstance(expiry, int) and expiry > time.time()


class Probe:
    """What one instance answers."""

    def __init__(
        self,
        db: Database,
        storage: BlobStorage,
        redis: RedisClient,
        keys: KeyRing,
        instances: InstanceRegistry,
        health: Health,
        external_url: str | None,
        authority: Callable[[], str],
    ) -> None:
        """`authority` gives the digest of the CA certificates that clients are offered, "" for none."""
        self._db = db
        self._storage = storage
        self._redis = redis
        self._keys = keys
        self._instances = instances
        self._health = health
        self._external_url = external_url or ""
        self._authority = authority

    def welcome(self, token: str) -> bool:
        """Whether `token` is the proof of a caller that holds the cluster's key."""
        return probe_token_valid(self._keys, token)

    async def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """The answer to a probe.

        Without anything in `question`: what this instance is. `row`: whether the database has this row of
        `instances`. `write`, `read`, `delete`: keys of probe objects in storage. `say`, `hear`: keys in
        Redis. `verify`: tokens of other instances. `hold`: seconds to wait with the answer, at most one.
        """
        if "hold" in question:
            await asyncio.sleep(min(max(float(question["hold"]), 0.0), 1.0))
        registry = self._instances
        found: dict[str, Any] = {"id": registry.id}
        if not question:
            status, parts = await self._health.check()
            found |= {
                "version": __version__,
                "address": registry.address,
                "external_url": self._external_url,
                "config_hash": registry.config_hash,
                "ca": await asyncio.to_thread(self._authority),
                "fingerprints": self._keys.fingerprints(),
                "time": time.time(),
                "status": status,
                "health": parts,
                "token": probe_token(self._keys),
                "csrf": self._keys.csrf_token("ha-check"),
                "sealed": self._keys.encrypt("ha-check", b"ha-check"),
            }
        for name, ask in (
            ("row", self._row),
            ("write", self._write),
            ("read", self._read),
            ("say", self._say),
            ("hear", self._hear),
        ):
            if name in question:
                try:
                    found[name] = await asyncio.wait_for(ask(question[name]), 10)
                except Exception as error:
                    text = str(error).strip().splitlines()
                    found[name] = {"error": f"{type(error).__name__}: {text[0] if text else ''}"[:300]}
        if "delete" in question:
            for key in _probe_keys(question["delete"]):
                await self._storage.delete(key)
        if "verify" in question:
            found["verify"] = [_verify(self._keys, item) for item in question["verify"]]
        return found

    async def _row(self, value: Any) -> bool:
        return await self._db.read(
            lambda c: (
                c.execute(select(instances.c.id).where(instances.c.id == str(value))).first() is not None
            )
        )

    async def _write(self, value: Any) -> str:
        (key,) = _probe_keys([value])
        await self._storage.put(key, hashlib.sha256(key.encode()).digest())
        return key

    async def _read(self, value: Any) -> dict[str, bool]:
        """For each key whether its right bytes are there."""
        found = {}
        for key in _probe_keys(value):
            data = b""
            try:
                async for chunk in self._storage.stream(key, 0, 32):
                    data += chunk
            except FileNotFoundError:
                data = b""
            found[key] = data == hashlib.sha256(key.encode()).digest()
        return found

    async def _say(self, value: Any) -> str:
        (key,) = _probe_keys([value])
        try:
            await self._redis.set(key, key, 60)
        except RedisUnavailableError:
            return await self._redis.status()
        return "ok"

    async def _hear(self, value: Any) -> dict[str, bool]:
        found = {}
        for key in _probe_keys(value):
            try:
                found[key] = await self._redis.get(key) == key.encode()
            except RedisUnavailableError:
                found[key] = False
        return found


def _verify(keys: KeyRing, item: dict[str, str]) -> list[str]:
    """The parts of `item` (`token`, `csrf`, `sealed` of another instance) that are not accepted here."""
    refused = []
    if not probe_token_valid(keys, str(item.get("token"))):
        refused.append("token")
    if not keys.csrf_valid("ha-check", str(item.get("csrf"))):
        refused.append("csrf")
    try:
        keys.decrypt("ha-check", str(item.get("sealed")))
    except SeawallError:
        refused.append("secret")
    return refused


def _probe_keys(value: Any) -> list[str]:
    return [key for key in value if isinstance(key, str) and _KEY.fullmatch(key)][:256]
