"""What an OpenID provider is asked: its discovery document, its keys, its tokens and its claims.

ID tokens are checked as OpenID Connect Core 1.0, 3.1.3.7 asks.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from seawall.access.identities import DEFAULT
from seawall.access.trusted_issuers import key_set
from seawall.infra.outgoing import LIMIT, guarded
from seawall.kernel.errors import ForbiddenError, InvalidError
from seawall.kernel.extras import optional

if TYPE_CHECKING:
    from authlib.integrations import httpx_client
else:
    httpx_client = optional("authlib.integrations.httpx_client")

_TIMEOUT = 10.0
_DOCUMENT_BYTES = 1024 * 1024
# Clocks of providers and ours may differ by this much (seconds).
_LEEWAY = 60
_METADATA_SECONDS = 600
# None of the symmetric ones (a key that clients know) and not "none".
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


class ProviderError(ForbiddenError):
    """The provider cannot be reached, or says what it must not; the message says which."""


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """The provider as configured: the configuration's `oidc_*` items, without the prefix."""

    endpoint: str
    client_id: str
    client_secret: str
    scope: str
    user_claim: str
    groups_claim: str
    admin_group: str
    group_filter: str
    auto_onboard: bool
    verify_cert: bool
    extra_redirect_parms: str
    logout: bool


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the provider says it is. `username` is what the user is to be called here."""

    issuer: str
    subject: str
    username: str
    email: str
    realname: str
    groups: tuple[str, ...]
    admin: bool
    # JSON of the refresh token and when it was last used; None when the provider gave none.
    token: dict[str, Any] | None
    # Name of the source, and what names of its users begin with.
    source: str = DEFAULT
    prefix: str = ""


class Providers:
    """Asks providers, and remembers their documents and keys for a while."""

    def __init__(self) -> None:
        self._metadata: dict[str, tuple[float, dict[str, Any]]] = {}
        self._key_sets: dict[str, KeySet] = {}
        self._keys_after: dict[str, float] = {}

    @staticmethod
    def client(settings: OidcSettings, callback: str | None = None) -> httpx_client.AsyncOAuth2Client:
        """A client of the provider, for sign-ins that come back to `callback`."""
        scope = " ".join(part for part in re.split(r"[,\s]+", settings.scope) if part)
        return httpx_client.AsyncOAuth2Client(
            client_id=settings.client_id,
            client_secret=settings.client_secret or None,
            redirect_uri=callback,
            scope=scope or "openid profile email",
            code_challenge_method="S256",
            transport=guarded(settings.endpoint, verify=settings.verify_cert, proxies=True),
            timeout=_TIMEOUT,
        )

    async def metadata(self, endpoint: str, verify: bool) -> dict[str, Any]:
        """The provider's discovery document (OpenID Connect Discovery 1.0). Raises ProviderError."""
        endpoint = endpoint.rstrip("/")
        if not endpoint:
            raise ProviderError("oidc_endpoint is not set")
        known = self._metadata.get(endpoint)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        document = await get_document(endpoint, f"{endpoint}/.well-known/openid-configuration", verify)
        # Discovery 4.3: an issuer other than the one asked could speak for it.
        if str(document.get("issuer", "")).rstrip("/") != endpoint:
            raise ProviderError("the provider's discovery document names another issuer")
        if not all(isinstance(document.get(k), str) for k in ("authorization_endpoint", "token_endpoint")):
            raise ProviderError("the provider's discovery document lacks endpoints")
        self._metadata[endpoint] = (time.monotonic() + _METADATA_SECONDS, document)
        return document

    async def claims(
        self, settings: OidcSettings, metadata: dict[str, Any], token: str, nonce: str | None
    ) -> dict[str, Any]:
        """The claims of a valid ID token for us. Raises ProviderError."""
        uri = str(metadata.get("jwks_uri", ""))
        claims: dict[str, Any] | None = None
        for fresh in (False, True):
            keys = self._key_sets.get(uri)
            if keys is None or fresh:
                # A key that is not known may be new: asked for once, not for every bad token.
                if fresh and keys is not None and self._keys_after.get(uri, 0) > time.monotonic():
                    break
                self._keys_after[uri] = time.monotonic() + 10
                try:
                    found = await get_document(settings.endpoint, uri, settings.verify_cert)
                    keys = key_set(found, tolerant=True)
                except InvalidError as error:
                    raise ProviderError(f"the provider's keys: {error}") from None
                self._key_sets[uri] = keys
            try:
                claims = jwt.decode(token, keys, algorithms=_ALGORITHMS).claims
                break
            except (JoseError, ValueError, TypeError):
                continue
        if claims is None:
            raise ProviderError("the ID token is not signed by the provider")
        now, audience = time.time(), claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        problems = (
            (claims.get("iss") != metadata["issuer"], "issuer"),
            (settings.client_id not in audiences, "audience"),
            (len(audiences) > 1 and claims.get("azp") != settings.client_id, "authorized party"),
            (not isinstance(claims.get("exp"), int | float) or claims["exp"] < now - _LEEWAY, "expiry"),
            (not isinstance(claims.get("iat"), int | float) or claims["iat"] > now + _LEEWAY, "issue time"),
            (nonce is not None and claims.get("nonce") != nonce, "nonce"),
            # Core 2: at most 255 characters.
            (not isinstance(claims.get("sub"), str) or not 0 < len(claims["sub"]) <= 255, "subject"),
        )
        for wrong, what in problems:
            if wrong:
                raise ProviderError(f"the ID token has a wrong {what}")
        return claims


async def get_document(endpoint: str, url: str, verify: bool) -> dict[str, Any]:
    """A document of the provider at `endpoint`, at an address that it may have named itself."""
    transport = guarded(endpoint, verify=verify, proxies=True)
    headers = {"Accept-Encoding": "identity"}
    try:
        async with (
            httpx.AsyncClient(transport=transport, timeout=_TIMEOUT, headers=headers) as client,
            asyncio.timeout(_TIMEOUT * 3),
        ):
            response = await client.get(url, extensions={LIMIT: _DOCUMENT_BYTES})
        document = response.json() if response.status_code == 200 else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError, TimeoutError) as error:
        raise ProviderError(f"the provider cannot be reached: {type(error).__name__}") from None
    if not isinstance(document, dict):
        raise ProviderError(f"the provider answered {response.status_code} without a JSON document")
    return document


async def userinfo(
    client: httpx_client.AsyncOAuth2Client, metadata: dict[str, Any], claims: dict[str, Any]
) -> dict[str, Any]:
    """Claims of the UserInfo endpoint, if there is one; of this very subject (Core 5.3.2)."""
    if "userinfo_endpoint" not in metadata:
        return {}
    response = await client.get(metadata["userinfo_endpoint"])
    if response.status_code != 200:
        return {}
    try:
        info = response.json()
    except (ValueError, RecursionError):
        return {}
    return info if isinstance(info, dict) and info.get("sub") == claims["sub"] else {}


def identity_of(settings: OidcSettings, claims: dict[str, Any]) -> Identity:
    """Who the claims are about."""
    wanted = settings.user_claim or "name"
    name = str(claims.get(wanted) or "")
    if not name and not settings.user_claim:
        name = str(claims.get("preferred_username") or claims.get("email") or "")
    groups = claims.get(settings.groups_claim) if settings.groups_claim else None
    if isinstance(groups, str):
        groups = [groups]
    names = [str(g).strip() for g in groups if g] if isinstance(groups, list) else []
    admin = bool(settings.admin_group) and settings.admin_group in names
    if settings.group_filter:
        names = [g for g in names if re.search(settings.group_filter, g)]
    return Identity(
        str(claims["iss"]),
        str(claims["sub"]),
        re.sub(r"\s+", "_", name.strip()),
        str(claims.get("email") or ""),
        str(claims.get("name") or "")[:255],
        tuple(dict.fromkeys(g[:255].strip() for g in names if g)),
        admin,
        None,
    )


def issuer_of(token: str) -> str:
    """Who a token says that it is of, without a slash at the end; nothing is checked."""
    parts = token.split(".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1].encode() + b"===")) if len(parts) == 3 else {}
    except (ValueError, RecursionError):
        return ""
    return str(claims.get("iss", "")).rstrip("/") if isinstance(claims, dict) else ""
