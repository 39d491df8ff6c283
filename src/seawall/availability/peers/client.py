"""Calls to one peer."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx

from seawall.availability.peers import wire
from seawall.infra import tracing
from seawall.infra.secrets.keyring import KeyRing
from seawall.kernel.errors import SeawallError

_PART = 1024 * 1024


class PeerError(SeawallError):
    """A peer is away, or does not do what was asked."""


class Peer:
    """Another instance, at `url`. `name` is known once it has answered."""

    def __init__(self, url: str, keys: KeyRing, timeout: float) -> None:
        self.url = url
        self.name = ""
        # It is this instance itself, which has a list of all.
        self.mine = False
        self.error: str | None = None
        self._keys = keys
        self._timeout = httpx.Timeout(timeout, connect=min(timeout, 1.5))
        self._client: httpx.AsyncClient | None = None
        self._away = False
        self.running = asyncio.Lock()
        self.waiting: asyncio.Task[None] | None = None

    @property
    def up(self) -> bool:
        """Whether it answered the last time: only then a client's request waits for it."""
        return not self.mine and not self._away

    def away(self, error: str) -> None:
        """It did not answer."""
        self.error = error
        self._away = True

    @property
    def http(self) -> httpx.AsyncClient:
        """The connections to it, through no proxy of the environment's, which is for what is outside.

        Certificates name hosts, not these addresses: the master key proves it.
        """
        if self._client is None:
            self._client = httpx.AsyncClient(verify=False, trust_env=False, timeout=self._timeout)  # noqa: S501
        return self._client

    async def close(self) -> None:
        """Close connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def call(self, operation: str, _timeout: float | None = None, **arguments: Any) -> dict[str, Any]:
        """Ask for something. Raises PeerError."""
        patience = self._timeout if _timeout is None else httpx.Timeout(_timeout)
        # While the master key is being replaced, the peer may have either only.
        for fingerprint in self._keys.masters.peer_keys("message"):
            request, signed = self._question(fingerprint, {"op": operation, **arguments}, patience)
            answer = await self._sent(request)
            if answer.status_code != 403:
                break
        if answer.status_code != 200:
            self.away(_refusal(answer))
            raise PeerError(f"{self.url} {self.error}")
        try:
            found = wire.unseal(self._keys, signed, "answer", answer.content)
        except wire.WireError as error:
            self.away(str(error))
            raise PeerError(f"{self.url}: {error}") from None
        self._away = False
        if "error" in found:
            raise PeerError(f"{self.url}: {found['error']}")
        return found

    def _question(
        self, fingerprint: str, message: dict[str, Any], patience: httpx.Timeout
    ) -> tuple[httpx.Request, wire.Signed]:
        # The seal is bound to the nonce, and the signature is over the digest of what is sealed.
        nonce = wire.new_nonce()
        body = wire.seal(self._keys, wire.Signed(fingerprint, nonce, {}), "question", message)
        claims = {wire.BODY: wire.digest(body)}
        return self._request("POST", wire.PATH, claims, fingerprint, nonce, content=body, timeout=patience)

    def _request(
        self,
        method: str,
        target: str,
        claims: dict[str, str],
        fingerprint: str,
        nonce: str | None = None,
        **more: Any,
    ) -> tuple[httpx.Request, wire.Signed]:
        """A signed request."""
        request = self.http.build_request(method, self.url + target, **more)
        signed = wire.sign(self._keys, fingerprint, method, request.headers["Host"], target, claims, nonce)
        request.headers.update(signed.claims)
        tracing.inject(request.headers)
        return request, signed

    async def _sent(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        try:
            return await self.http.send(request, stream=stream)
        except httpx.HTTPError as error:
            self.away(f"does not answer: {type(error).__name__}")
            raise PeerError(f"{self.url} {self.error}") from None

    async def blob(self, repository: str, digest: str, offset: int = 0) -> AsyncIterator[bytes]:
        """Bytes of a blob from `offset` on. Raises PeerError."""
        parts = await self.open_blob(repository, digest, offset)
        async with contextlib.aclosing(parts):
            async for part in parts:
                yield part

    async def open_blob(self, repository: str, digest: str, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """The bytes of a blob. Raises PeerError, also while they come."""
        target = f"{wire.PATH}/blob?repository={quote(repository, safe='')}&digest={digest}&offset={offset}"
        headers = {"Accept-Encoding": "identity"}
        for fingerprint in self._keys.masters.peer_keys("request"):
            request, signed = self._request("GET", target, {}, fingerprint, headers=headers)
            answer = await self._sent(request, stream=True)
            if answer.status_code != 403:
                break
            await answer.aclose()
        if answer.status_code != 200:
            await answer.aclose()
            raise PeerError(f"{self.url} does not give blob {digest} ({answer.status_code})")

        async def parts() -> AsyncGenerator[bytes, None]:
            try:
                async for part in wire.unframed(self._keys, signed, "answer", answer.aiter_raw(_PART)):
                    yield part
            except httpx.HTTPError as error:
                raise PeerError(f"{self.url} stopped sending: {type(error).__name__}") from None
            except wire.WireError as error:
                raise PeerError(f"{self.url}: {error}") from None
            finally:
                await answer.aclose()

        return parts()

    async def forward(
        self, method: str, target: str, claims: dict[str, str], body: AsyncIterator[bytes]
    ) -> httpx.Response:
        """A client's request, for the instance that has its upload session. Raises PeerError."""
        # The peer has answered under this key just now: it said that the session is there.
        [fingerprint, *_] = self._keys.masters.peer_keys("request")
        nonce = wire.new_nonce()
        sealed = wire.frames(self._keys, wire.Signed(fingerprint, nonce, {}), "question", body)
        request, signed = self._request(
            method,
            target,
            claims,
            fingerprint,
            nonce,
            content=sealed,
            timeout=httpx.Timeout(900, connect=2),
        )
        answer = await self._sent(request)
        if answer.status_code != 200:
            raise PeerError(f"{self.url} {_refusal(answer)}")
        try:
            found = wire.unseal(self._keys, signed, "answer", answer.content)
            content = base64.b64decode(found["body"])
            return httpx.Response(int(found["status"]), headers=dict(found["headers"]), content=content)
        except (wire.WireError, KeyError, TypeError, ValueError) as error:
            raise PeerError(f"{self.url}: {error}") from None


def _refusal(answer: httpx.Response) -> str:
    with contextlib.suppress(ValueError):
        reason = answer.json().get("error")
        if isinstance(reason, str):
            return reason[:300]
    return f"answers {answer.status_code}: is a Seawall with peers there?"
