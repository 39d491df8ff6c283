"""Tokens of trusted issuers in place of a robot's secret ("workload identity federation").

Source: RFC 7519 (claims), RFC 8725 (what goes wrong with JWTs), RFC 8693 (token exchange, whose endpoint is
in `seawall.web.oci.token`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from sqlalchemy import Connection, delete, select

from seawall.access.issuer_keys import IssuerKeys
from seawall.access.tables import used_tokens
from seawall.access.trusted_issuers import TrustedIssuer, is_text, key_set
from seawall.infra.addresses import counted_as
from seawall.infra.db import Database
from seawall.infra.db.dialect import added
from seawall.kernel.errors import SeawallError, StandbyError

log: Any = structlog.get_logger("seawall.federation")
# None of the symmetric ones (a key that others know) and not "none".
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
# Clocks of issuers and ours may differ by this much (seconds).
LEEWAY = 30
_BYTES = 16384
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")


class TokenRefusedError(SeawallError):
    """The token does not stand for the robot; the message says why."""


@dataclass(frozen=True, slots=True)
class Admission:
    """A token that was taken: whose it is, and for which robot (full name, project's id)."""

    issuer: str
    subject: str
    robot_id: int
    robot: str
    project_id: int | None
    address: str


# Notes an admission, in the transaction that marks its token as used.
Note = Callable[[Connection, Admission], None]


def is_token(secret: str) -> bool:
    """Whether a secret has the form of a signed token (three parts, the first a JSON object)."""
    return secret.startswith("eyJ") and len(secret) <= _BYTES and _TOKEN.fullmatch(secret) is not None


class Federation:
    """Checks tokens of issuers."""

    def __init__(
        self, db: Database, keys: IssuerKeys, note: Note, *, longest_seconds: float = 24 * 3600
    ) -> None:
        """`longest_seconds`: what a token may live, from its `iat` (from now without one) to its `exp`."""
        self._longest = longest_seconds
        self._db = db
        self._keys = keys
        self._note = note

    async def admit(
        self,
        robot: tuple[int, str, int | None],
        issuers: list[TrustedIssuer],
        token: str,
        address: str,
        *,
        once: bool,
    ) -> None:
        """Raise unless the token stands for the robot, (id, full name, project's id).

        A token with a `jti` is taken once. Without `once` it may come again from the same address (from any,
        where the issuer's entry says so), for clients that show the same password for each request; never
        for another robot, nor after an exchange.

        Raises TokenRefusedError; UnavailableError when its issuer cannot be asked.
        """
        claims, trusted = await self._verified(issuers, token)
        admission = Admission(trusted.issuer, claims["sub"], *robot, address)
        use = "" if once else counted_as(address)
        jti = claims.get("jti")
        mark = None
        if jti is not None:
            if not isinstance(jti, str) or not jti or not is_text(jti):
                raise TokenRefusedError("the token's jti is not a text")
            mark = hashlib.sha256(f"{trusted.issuer}\0{jti}".encode()).hexdigest()
        until = float(claims["exp"]) + 2 * LEEWAY

        def take(connection: Connection) -> bool:
            first = mark is None or self._first(connection, mark, robot[0], use, until)
            if first:
                self._note(connection, admission)
            return first

        def take_unnoted(connection: Connection) -> bool:
            return mark is None or self._first(connection, mark, robot[0], use, until)

        try:
            first = await self._db.write(take)
        except StandbyError:
            # The log is the active site's; a standby remembers which tokens were used there.
            first = await self._db.write(take_unnoted) if mark is not None else True
        if first:
            log.info("token accepted", issuer=trusted.issuer, subject=claims["sub"], robot=robot[1])
            return
        if use:
            query = select(used_tokens.c.robot_id, used_tokens.c.address).where(used_tokens.c.mark == mark)
            found = await self._db.point(lambda c: c.execute(query).first())
            # Without an address it was exchanged.
            before = found.address if found is not None and found.robot_id == robot[0] else ""
            if before and (trusted.any_address or before == use[:64]):
                return
        raise TokenRefusedError("the token was used before")

    def _first(self, connection: Connection, mark: str, robot_id: int, use: str, until: float) -> bool:
        connection.execute(delete(used_tokens).where(used_tokens.c.expires_at < self._db.now()))
        row = {"mark": mark, "robot_id": robot_id, "address": use[:64], "expires_at": until}
        return added(connection, used_tokens, row, "mark")

    async def _verified(
        self, issuers: list[TrustedIssuer], token: str
    ) -> tuple[dict[str, Any], TrustedIssuer]:
        if not is_token(token):
            raise TokenRefusedError("the token is malformed")
        try:
            parts = jws.extract_compact(token.encode())
            header, unverified = parts.headers(), _payload(parts.payload)
        except (JoseError, ValueError, TypeError, RecursionError):
            raise TokenRefusedError("the token is malformed") from None
        if header.get("alg") not in _ALGORITHMS:
            raise TokenRefusedError("the token is not signed by a public key's owner")
        # Only issuers that the robot trusts are asked: a token must not send us anywhere.
        mine = [item for item in issuers if item.issuer == unverified.get("iss")]
        if not mine:
            raise TokenRefusedError("the robot does not trust the token's issuer")
        refused = TokenRefusedError("the token is not signed by its issuer")
        for item in mine:
            keys = key_set(item.jwks) if item.jwks else await self._keys.of(item.issuer, header.get("kid"))
            claims = _signed(token, keys)
            if claims is None:
                continue
            problem = self._problem(claims, item)
            if problem is None:
                return claims, item
            refused = TokenRefusedError(problem)
        raise refused

    def _problem(self, claims: dict[str, Any], trusted: TrustedIssuer) -> str | None:
        """Why claims that the issuer has signed are not enough, None when they are."""
        now, audience = self._db.now(), claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        expires: Any = claims.get("exp")
        if claims.get("iss") != trusted.issuer:
            return "the robot does not trust the token's issuer"
        if trusted.audience not in audiences:
            return "the token is for another audience"
        if not _is_time(expires):
            return "the token does not say when it expires"
        if expires <= now - LEEWAY:
            return "the token has expired"
        for moment in (claims.get("iat"), claims.get("nbf")):
            if moment is not None and (not _is_time(moment) or moment > now + LEEWAY):
                return "the token is not valid yet; compare the clocks"
        # Such a token is a password that was written down somewhere, and not a pipeline's.
        issued = now if claims.get("iat") is None else min(claims["iat"], now)
        if expires - issued > self._longest + LEEWAY:
            return "the token lives longer than auth.issuer_token_hours allows"
        subject = claims.get("sub")
        # The log of the database stores it.
        if not isinstance(subject, str) or not subject or not is_text(subject) or "\0" in subject:
            return "the token has no subject"
        wrong = trusted.mismatch(claims)
        return None if wrong is None else f"the token's claim {wrong} is not one that the robot trusts"


def _payload(text: bytes | None) -> dict[str, Any]:
    found = json.loads(text or b"")
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found


def _signed(token: str, keys: KeySet) -> dict[str, Any] | None:
    try:
        return jwt.decode(token, keys, algorithms=_ALGORITHMS).claims
    except (JoseError, ValueError, TypeError, KeyError):
        return None


def _is_time(value: Any) -> bool:
    # A number of JSON may have any size; this one is below the year 5138, and NaN is below nothing.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e11
