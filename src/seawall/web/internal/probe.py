"""What instances ask each other: `POST /_seawall/probe`, for callers that hold the cluster's key.

The caller's proof is a token of the cluster's signing key for the audience `seawall-ha`, good for an hour
(not less, because clocks that differ are among what is looked for). Answers say what the instance is and what
it can see; a probe can write nothing but a small object of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from typing import TYPE_CHECKING, Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from sqlalchemy import select
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from seawall import __version__
from seawall.availability.cluster.tables import instances
from seawall.infra.redis import UnavailableError as RedisUnavailableError
from seawall.infra.secrets.keyring import KeyRing
from seawall.kernel.errors import RegistryError, SeawallError

if TYPE_CHECKING:
    from seawall.process.wiring import Services

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


def probe_routes(services: Services) -> list[BaseRoute]:
    """The endpoint."""

    async def probe(request: Request) -> Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not probe_token_valid(services.keys, token.strip()):
            # The same to everybody else: nobody learns that this is here.
            return JSONResponse({"error": "not found"}, 404)
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > 65536:
                return JSONResponse({"error": "too large"}, 413)
        try:
            question = json.loads(body or b"{}")
            if not isinstance(question, dict):
                raise ValueError
        except ValueError:
            return JSONResponse({"error": "not a JSON object"}, 400)
        return JSONResponse(await answer(services, question), headers={"Cache-Control": "no-store"})

    return [Route(PATH, probe, methods=["POST"])]


async def answer(services: Services, question: dict[str, Any]) -> dict[str, Any]:
    """The answer to a probe.

    Without anything in `question`: what this instance is. `row`: whether the database has this row of
    `instances`. `write`, `read`, `delete`: keys of probe objects in storage. `say`, `hear`: keys in Redis.
    `verify`: tokens of other instances. `hold`: seconds to wait with the answer, at most one.
    """
    if "hold" in question:
        await asyncio.sleep(min(max(float(question["hold"]), 0.0), 1.0))
    registry = services.instances
    found: dict[str, Any] = {"id": registry.id}
    if not question:
        status, parts = await services.health.check()
        found |= {
            "version": __version__,
            "address": registry.address,
            "external_url": services.settings.external_url or "",
            "config_hash": registry.config_hash,
            "fingerprints": services.keys.fingerprints(),
            "time": time.time(),
            "status": status,
            "health": parts,
            "token": probe_token(services.keys),
            "csrf": services.keys.csrf_token("ha-check"),
            "sealed": services.keys.encrypt("ha-check", b"ha-check"),
        }
    for name, ask in (("row", _row), ("write", _write), ("read", _read), ("say", _say), ("hear", _hear)):
        if name in question:
            try:
                found[name] = await asyncio.wait_for(ask(services, question[name]), 10)
            except Exception as error:
                text = str(error).strip().splitlines()
                found[name] = {"error": f"{type(error).__name__}: {text[0] if text else ''}"[:300]}
    if "delete" in question:
        for key in _keys(question["delete"]):
            await services.storage.delete(key)
    if "verify" in question:
        found["verify"] = [_verify(services.keys, item) for item in question["verify"]]
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


def _keys(value: Any) -> list[str]:
    return [key for key in value if isinstance(key, str) and _KEY.fullmatch(key)][:256]


async def _row(services: Services, value: Any) -> bool:
    return await services.db.read(
        lambda c: c.execute(select(instances.c.id).where(instances.c.id == str(value))).first() is not None
    )


async def _write(services: Services, value: Any) -> str:
    (key,) = _keys([value])
    await services.storage.put(key, hashlib.sha256(key.encode()).digest())
    return key


async def _read(services: Services, value: Any) -> dict[str, bool]:
    """For each key whether its right bytes are there."""
    found = {}
    for key in _keys(value):
        data = b""
        try:
            async for chunk in services.storage.stream(key, 0, 32):
                data += chunk
        except FileNotFoundError:
            data = b""
        found[key] = data == hashlib.sha256(key.encode()).digest()
    return found


async def _say(services: Services, value: Any) -> str:
    (key,) = _keys([value])
    try:
        await services.redis.set(key, key, 60)
    except RedisUnavailableError:
        return await services.redis.status()
    return "ok"


async def _hear(services: Services, value: Any) -> dict[str, bool]:
    found = {}
    for key in _keys(value):
        try:
            found[key] = await services.redis.get(key) == key.encode()
        except RedisUnavailableError:
            found[key] = False
    return found
