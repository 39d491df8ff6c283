"""Bearer tokens for the registry API (JWT, RS256), as Docker's token authentication has them.

Source: CNCF Distribution "Token Authentication Implementation" and "Token Scope Documentation";
RFC 7519, RFC 7638 (key id).
"""

from __future__ import annotations

import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError

from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.secrets.material import TOKEN

_SCOPE = re.compile(
    r"(?P<type>[a-z]+(?:\([a-z0-9]+\))?):(?P<name>[^\s\0]+):(?P<actions>[a-z*]+(?:,[a-z*]+)*)"
)


@dataclass(frozen=True, slots=True)
class Scope:
    """One resource and the actions asked for or granted on it.

    `since`: when they were granted (Unix seconds), see `AuthService.is_older`.
    """

    type: str
    name: str
    actions: frozenset[str]
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """A verified token: its subject ("" for anonymous), expiry (Unix seconds) and access.

    `since`: when the access to each resource was granted.
    """

    subject: str
    expires: float
    access: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    since: dict[tuple[str, str], float] = field(default_factory=dict)

    def allows(self, type_: str, name: str, action: str) -> bool:
        """Whether the token permits `action` on the resource."""
        actions = self.access.get((type_, name), frozenset())
        return action in actions or "*" in actions


def parse_scopes(values: list[str]) -> list[Scope]:
    """Scopes of `scope` parameters; each may hold several separated by spaces. Malformed ones are left out.

    Leaving out instead of refusing follows Docker's token servers: the token simply lacks that access.
    """
    scopes: list[Scope] = []
    for value in values:
        for item in value.split():
            match = _SCOPE.fullmatch(item)
            if match and len(scopes) < 64:
                scopes.append(Scope(match["type"], match["name"], frozenset(match["actions"].split(","))))
    return scopes


class TokenService:
    """Issues and verifies tokens with the cluster's signing keys."""

    def __init__(
        self, keys: KeyRing, *, service: str, minutes: int, now: Callable[[], float] = time.time
    ) -> None:
        """`now`: the clock that tokens are dated by; the database's, which the instances share."""
        self._now = now
        self._keys = keys
        self._generation = keys.generation
        self.service = service
        self.lifetime = minutes * 60
        self._verified: OrderedDict[str, Grant] = OrderedDict()

    def issue(self, subject: str, scopes: list[Scope], lifetime: int | None = None) -> tuple[str, int]:
        """A signed token and its issue time (Unix seconds); it lives for `lifetime` seconds."""
        now = int(self._now())
        claims = {
            "iss": self.service,
            "sub": subject,
            "aud": self.service,
            "exp": now + (lifetime or self.lifetime),
            # Half a minute of leeway for clients and instances whose clocks differ.
            "nbf": now - 30,
            "iat": now,
            "jti": secrets.token_hex(8),
            "access": [
                {"type": item.type, "name": item.name, "actions": sorted(item.actions)}
                | ({} if item.since is None else {"since": item.since})
                for item in scopes
            ],
        }
        kid, key = self._keys.signing()
        return jwt.encode({"alg": "RS256", "kid": kid, "typ": "JWT"}, claims, key), now

    def verify(self, token: str) -> Grant | None:
        """The token's grant, or None when it is malformed, of another key or service, or expired.

        Raises RegistryError UNAVAILABLE when it cannot be decided (see `KeyRing.verifying`).
        """
        now = self._now()
        if self._generation != self._keys.generation:
            # A key may have been withdrawn: what was verified with it is verified again.
            self._generation = self._keys.generation
            self._verified.clear()
        grant = self._verified.get(token)
        if grant is None:
            grant = self._decode(token, now)
            if grant is None:
                return None
            self._verified[token] = grant
            if len(self._verified) > 2048:
                self._verified.popitem(last=False)
        return grant if grant.expires > now else None

    def refusal(self, token: str) -> str | None:
        """Why `verify` does not take the token, in a sentence for client and operator; None when it does."""
        if self.verify(token) is not None:
            return None
        try:
            kid = jws.extract_compact(token.encode()).headers().get("kid")
        except (JoseError, ValueError, TypeError):
            return "the token is malformed"
        key = self._keys.verifying(kid) if isinstance(kid, str) else None
        if key is None:
            if any(known.fingerprint == kid for known in self._keys.versions(TOKEN)):
                return "the token was signed by a key that is no longer accepted"
            return "the token was signed by a key that this registry does not know"
        try:
            claims: dict[str, Any] = jwt.decode(token, key, algorithms=["RS256"]).claims
        except (JoseError, ValueError, TypeError):
            return "the token's signature is wrong"
        if claims.get("iss") != self.service or claims.get("aud") != self.service:
            return "the token is for another service"
        if isinstance(claims.get("exp"), int) and claims["exp"] <= time.time():
            return "the token has expired"
        return "the token is not valid yet; compare the clocks of the hosts"

    def _decode(self, token: str, now: float) -> Grant | None:
        try:
            kid = jws.extract_compact(token.encode()).headers().get("kid")
            key = self._keys.verifying(kid) if isinstance(kid, str) else None
            if key is None:
                return None
            claims: dict[str, Any] = jwt.decode(token, key, algorithms=["RS256"]).claims
        except (JoseError, ValueError, TypeError):
            return None
        if claims.get("iss") != self.service or claims.get("aud") != self.service:
            return None
        if not isinstance(claims.get("exp"), int) or claims.get("nbf", 0) > now + 30:
            return None
        access = {
            (item["type"], item["name"]): frozenset(item["actions"]) for item in claims.get("access", [])
        }
        # The time of issue has no fractions.
        issued = float(claims.get("iat", 0)) + 1
        since = {
            (item["type"], item["name"]): float(item.get("since", issued))
            for item in claims.get("access", [])
        }
        return Grant(str(claims.get("sub", "")), float(claims["exp"]), access, since)
