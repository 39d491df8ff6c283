"""Issuers that a robot account trusts: whose tokens stand for its secret, and which of their tokens.

A token is taken when it is of the issuer, for the audience, and every condition on its claims holds. An
issuer signs for many: without a condition, a token of anybody there would do, so at least one is required.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import re2
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, RSAKey

from seawall.kernel.errors import InvalidError

# Public keys only: with a key that others know, anybody could sign (RFC 8725, 3.1 and 3.2).
_KEY_TYPES = ("RSA", "EC", "OKP")
# RFC 7518, 3.3.
_RSA_BITS = 2048
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# What these say is the same in tokens of everybody, or of no meaning.
_OF_EVERYBODY = frozenset({"iss", "aud", "exp", "iat", "nbf", "jti"})
_MOST = 20
_TEXT = 1024


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """One issuer and what its tokens must say.

    `claims`: by name of a claim, patterns; one of them must match. `jwks`: its keys; None: by discovery.
    `any_address`: a token shown as a password may come again from any address, not from its first only.
    """

    issuer: str
    audience: str
    claims: dict[str, tuple[str, ...]]
    jwks: dict[str, Any] | None = None
    any_address: bool = False

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "claims": {name: list(found) for name, found in self.claims.items()}}

    def mismatch(self, claims: dict[str, Any]) -> str | None:
        """The first claim that is not as it must be, None when all are."""
        for name, patterns in self.claims.items():
            values = _values(claims, name)
            if not any(_compiled(pattern).fullmatch(value) for pattern in patterns for value in values):
                return name
        return None


def parse(items: list[dict[str, Any]]) -> list[TrustedIssuer]:
    """Issuers as an administrator gives them. Raises InvalidError."""
    if len(items) > _MOST:
        raise InvalidError(f"a robot trusts at most {_MOST} issuers")
    return [_one(item) for item in items]


def stored(issuers: list[TrustedIssuer]) -> str:
    """Issuers for the table."""
    return json.dumps([item.document() for item in issuers]) if issuers else ""


def known(text: str) -> list[TrustedIssuer]:
    """Issuers as the table has them."""
    return [
        TrustedIssuer(
            item["issuer"],
            item["audience"],
            {name: tuple(found) for name, found in item["claims"].items()},
            item.get("jwks"),
            item.get("any_address", False),
        )
        for item in json.loads(text or "[]")
    ]


def check_url(url: str) -> None:
    """Raise InvalidError unless keys may be fetched from a URL: https, or this host for a trial."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InvalidError(f"issuer {url[:200]!r} is not a URL") from None
    if not host or parts.username is not None or parts.query or parts.fragment or re.search(r"\s|\\", url):
        raise InvalidError(f"issuer {url[:200]!r} must be a URL without user, query and fragment")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in _LOOPBACK):
        raise InvalidError(f"issuer {url[:200]!r} must start with https://")


def is_text(text: str) -> bool:
    """Whether UTF-8 has a text. JSON can write half of a surrogate pair, which is none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _one(item: dict[str, Any]) -> TrustedIssuer:
    issuer, audience, jwks = item.get("issuer"), item.get("audience"), item.get("jwks")
    if not isinstance(issuer, str) or not 0 < len(issuer) <= _TEXT or "\0" in issuer:
        raise InvalidError("a trusted issuer needs its issuer")
    if not isinstance(audience, str) or not 0 < len(audience) <= _TEXT or "\0" in audience:
        raise InvalidError(f"issuer {issuer[:200]}: an audience is required")
    if jwks is None:
        check_url(issuer)
    else:
        key_set(jwks)
    conditions = {name: _patterns(name, found) for name, found in (item.get("claims") or {}).items()}
    if len(conditions) > _MOST:
        raise InvalidError(f"issuer {issuer[:200]}: at most {_MOST} claims")
    if not any(
        name not in _OF_EVERYBODY and all(pattern.strip("*/:") for pattern in found)
        for name, found in conditions.items()
    ):
        raise InvalidError(
            f"issuer {issuer[:200]}: a condition on a claim is required, or any token of the issuer would do"
        )
    any_address = item.get("any_address", False)
    if not isinstance(any_address, bool):
        raise InvalidError(f"issuer {issuer[:200]}: any_address must be true or false")
    return TrustedIssuer(issuer, audience, conditions, jwks, any_address)


def _patterns(name: str, found: object) -> tuple[str, ...]:
    patterns = [found] if isinstance(found, str) else found
    if not name or len(name) > 255 or "\0" in name or not is_text(name):
        raise InvalidError("a claim needs a name of 1 to 255 characters")
    if not isinstance(patterns, list) or not 0 < len(patterns) <= _MOST:
        raise InvalidError(f"claim {name}: must be a text, or a list of 1 to {_MOST} texts")
    for pattern in patterns:
        if not isinstance(pattern, str) or not 0 < len(pattern) <= _TEXT or "\0" in pattern:
            raise InvalidError(f"claim {name}: must be a text of 1 to {_TEXT} characters")
        if not is_text(pattern):
            raise InvalidError(f"claim {name}: has half of a surrogate pair")
    return tuple(patterns)


def key_set(document: object, *, tolerant: bool = False) -> KeySet:
    """The public signing keys of a JWKS (RFC 7517). Raises InvalidError where it has none.

    `tolerant`: of an issuer, whose keys of a kind that is not known here are left out; not a person's list.
    """
    found = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(found, list) or len(found) > 100:
        raise InvalidError("the keys of an issuer are a JWKS: an object with a list called keys")
    keys = []
    for item in found:
        if not isinstance(item, dict) or item.get("kty") not in _KEY_TYPES or item.get("use", "sig") != "sig":
            continue
        try:
            keys.append(_key(item))
        except InvalidError:
            if not tolerant:
                raise
    if not keys:
        raise InvalidError("the keys of an issuer have no public key to sign with (RSA, EC or OKP)")
    return KeySet(keys)


def _key(item: dict[str, Any]) -> Any:
    if "d" in item:
        raise InvalidError("the keys of an issuer must be public ones")
    try:
        (key,) = KeySet.import_key_set({"keys": [item]}).keys
    except (JoseError, ValueError, TypeError, KeyError):
        raise InvalidError("the keys of an issuer cannot be read") from None
    if isinstance(key, RSAKey) and key.public_key.key_size < _RSA_BITS:
        raise InvalidError(f"the keys of an issuer have an RSA key of less than {_RSA_BITS} bits")
    return key


def _values(claims: dict[str, Any], name: str) -> list[str]:
    """A claim's values as texts: of that name, or in an object (`kubernetes.io/namespace`)."""
    found: Any = claims
    if name in claims:
        found = claims[name]
    else:
        for part in name.split("/"):
            found = found.get(part) if isinstance(found, dict) else None
    items = found if isinstance(found, list) else [found]
    return [text for item in items if (text := _text(item)) is not None]


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return value if isinstance(value, str) and is_text(value) else None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> Any:
    """`*` is any text without `/` and `:`, so that it stays within one part of a subject; `**` is any text.

    RE2, whose time is bounded: claims come from outside.
    """
    parts = re.split(r"(\*+)", pattern)
    text = "".join(
        ("[^/:]*" if part == "*" else ".*") if part.startswith("*") else re2.escape(part) for part in parts
    )
    return re2.compile(f"(?s){text}")
