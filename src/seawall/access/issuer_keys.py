"""Keys of issuers that robots trust: by discovery, kept for a while, fetched again when they are rotated.

Source: OpenID Connect Discovery 1.0, section 4; RFC 7517 (JWKS).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import httpx
import structlog
from joserfc.jwk import KeySet

from seawall.access.trusted_issuers import check_url, key_set
from seawall.infra.addresses import Network
from seawall.infra.outgoing import LIMIT, AiohttpTransport, Reach, trusted
from seawall.kernel.errors import InvalidError, UnavailableError

log: Any = structlog.get_logger("seawall.federation")
_BYTES = 1024 * 1024
_SECONDS = 5.0
# Keys are fetched again after this; with the issuer down they are used for so long.
_FRESH_SECONDS = 600.0
_STALE_SECONDS = 3600.0
# An issuer is not asked again for so long, whatever tokens come; for less when it did not answer.
_PAUSE_SECONDS = 10.0
_FAILED_SECONDS = 2.0


@dataclass(slots=True)
class _Known:
    keys: KeySet | None = None
    fetched: float = 0.0
    asked: float = -_PAUSE_SECONDS


class IssuerKeys:
    """Fetches and remembers keys, for one process."""

    def __init__(self, allow: tuple[Network, ...]) -> None:
        """`allow`: networks inside ours in which issuers may be; others must have addresses of the world."""
        self._allow = allow
        self._known: dict[str, _Known] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def of(self, issuer: str, key_id: object) -> KeySet:
        """The issuer's keys. They are fetched again when none is called `key_id`, every ten seconds at most.

        Raises UnavailableError when the issuer cannot be asked.
        """
        known = self._known.get(issuer)
        if known is None:
            if len(self._known) > 1000:
                self._known.clear()
            known = self._known[issuer] = _Known()
        # One at a time: the others find what the first has fetched.
        lock = self._locks.setdefault(issuer, asyncio.Lock())
        async with lock:
            now = time.monotonic()
            keys, age = known.keys, now - known.fetched
            if keys is not None and age < _FRESH_SECONDS and _has(keys, key_id):
                return keys
            if now - known.asked >= _PAUSE_SECONDS:
                known.asked = now
                try:
                    known.keys, known.fetched = await self._fetch(issuer), time.monotonic()
                except UnavailableError as error:
                    known.asked = now - _PAUSE_SECONDS + _FAILED_SECONDS
                    log.warning("an issuer cannot be asked", issuer=issuer, error=str(error))
                    if keys is None or age >= _STALE_SECONDS or not _has(keys, key_id):
                        # A key that is not known may be a new one, which cannot be decided now.
                        known.fetched = min(known.fetched, now - _FRESH_SECONDS)
                        raise
                return known.keys or keys  # type: ignore[return-value]
            if keys is None or age >= _STALE_SECONDS:
                raise UnavailableError(f"{issuer} could not be asked for its keys a moment ago")
            if age >= _FRESH_SECONDS and not _has(keys, key_id):
                raise UnavailableError(f"{issuer} could not be asked for its keys a moment ago")
            return keys

    async def _fetch(self, issuer: str) -> KeySet:
        try:
            async with asyncio.timeout(_SECONDS * 2):
                document = await self._get(issuer.rstrip("/") + "/.well-known/openid-configuration")
                # Discovery 4.3: an issuer other than the one asked could speak for it.
                if document.get("issuer") != issuer:
                    raise UnavailableError(f"{issuer}: its discovery document names another issuer")
                address = document.get("jwks_uri")
                if not isinstance(address, str):
                    raise UnavailableError(f"{issuer}: its discovery document names no keys")
                check_url(address.partition("?")[0])
                return key_set(await self._get(address), tolerant=True)
        except InvalidError as error:
            raise UnavailableError(f"{issuer}: {error}") from None
        except TimeoutError:
            raise UnavailableError(f"{issuer} did not answer in time") from None

    async def _get(self, url: str) -> dict[str, Any]:
        # Who may change a robot names the issuer, and need not be the administrator: no host is exempt.
        transport = AiohttpTransport(trusted(), reach=Reach(allow=self._allow))
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        try:
            async with httpx.AsyncClient(transport=transport, timeout=_SECONDS, headers=headers) as client:
                response = await client.get(url, extensions={LIMIT: _BYTES})
            document = response.json() if response.status_code == 200 else None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as error:
            raise UnavailableError(f"{url} cannot be read: {type(error).__name__}") from None
        if not isinstance(document, dict):
            raise UnavailableError(f"{url} answered {response.status_code} without a JSON object")
        return document


def _has(keys: KeySet, key_id: object) -> bool:
    return key_id is None or any(key.kid == key_id for key in keys.keys)
