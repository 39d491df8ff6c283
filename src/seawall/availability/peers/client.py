"""Calls to one peer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx

from seawall.availability.peers import wire
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
        """The connections to it. Certificates name hosts, not these addresses: the master key proves it."""
        if self._client is None:
            self._client = httpx.AsyncClient(verify=False, timeout=self._timeout)  # noqa: S501
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
        for fingerprint, key in self._keys.masters.peer_keys("message").items():
            body = wire.seal(key, {"op": operation, **arguments}, b"question")
            headers = {wire.KEY_HEADER: fingerprint}
            try:
                answer = await self.http.post(
                    self.url + wire.PATH, content=body, headers=headers, timeout=patience
                )
            except httpx.HTTPError as error:
                self.away(f"does not answer: {type(error).__name__}")
                raise PeerError(f"{self.url} {self.error}") from None
            if answer.status_code != 403:
                break
        if answer.status_code != 200:
            self.away(_refusal(answer))
            raise PeerError(f"{self.url} {self.error}")
        try:
            found = wire.unseal(key, answer.content, b"answer" + body[:12])
        except (wire.WireError, ValueError) as error:
            self.away(str(error))
            raise PeerError(f"{self.url}: {error}") from None
        self._away = False
        if "error" in found:
            raise PeerError(f"{self.url}: {found['error']}")
        return found

    async def blob(self, repository: str, digest: str, offset: int = 0) -> AsyncIterator[bytes]:
        """Bytes of a blob from `offset` on. Raises PeerError."""
        _, parts = await self.open_blob(repository, digest, offset)
        async with contextlib.aclosing(parts):
            async for part in parts:
                yield part

    async def open_blob(
        self, repository: str, digest: str, offset: int = 0
    ) -> tuple[int, AsyncGenerator[bytes, None]]:
        """(bytes left, the bytes) of a blob. Raises PeerError."""
        target = f"{wire.PATH}/blob?repository={quote(repository, safe='')}&digest={digest}&offset={offset}"
        headers = {wire.PROOF_HEADER: wire.proof(self._keys, "GET", target), "Accept-Encoding": "identity"}
        request = self.http.build_request("GET", self.url + target, headers=headers)
        try:
            answer = await self.http.send(request, stream=True)
        except httpx.HTTPError as error:
            self.away(f"does not answer: {type(error).__name__}")
            raise PeerError(f"{self.url} {self.error}") from None
        if answer.status_code != 200:
            await answer.aclose()
            raise PeerError(f"{self.url} does not give blob {digest} ({answer.status_code})")

        async def parts() -> AsyncGenerator[bytes, None]:
            try:
                async for part in answer.aiter_raw(_PART):
                    yield part
            except httpx.HTTPError as error:
                raise PeerError(f"{self.url} stopped sending: {type(error).__name__}") from None
            finally:
                await answer.aclose()

        return int(answer.headers.get("content-length", "0")), parts()

    async def forward(
        self, method: str, target: str, headers: dict[str, str], body: AsyncIterator[bytes]
    ) -> httpx.Response:
        """A client's request, for the instance that has its upload session. Raises PeerError."""
        sent = {**headers, wire.PROOF_HEADER: wire.proof(self._keys, method, target)}
        try:
            return await self.http.request(
                method, self.url + target, headers=sent, content=body, timeout=httpx.Timeout(900, connect=2)
            )
        except httpx.HTTPError as error:
            self.away(f"does not answer: {type(error).__name__}")
            raise PeerError(f"{self.url} {self.error}") from None


def _refusal(answer: httpx.Response) -> str:
    with contextlib.suppress(ValueError):
        reason = answer.json().get("error")
        if isinstance(reason, str):
            return reason[:300]
    return f"answers {answer.status_code}: is a Seawall with peers there?"
