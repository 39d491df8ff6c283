"""How sites and the witness talk: HTTP, each request signed with a key made from the master key.

The master key is the one thing that both sites have before the first contact, and it never travels. A request
carries the key's fingerprint, so that different master keys are not taken for a forged request. The
signature is over method, host, path, time, a nonce and the digest of the body; it is looked at before the
body is read, and a nonce counts once. Secrets in the rows stay sealed as they are in the database; the rest,
hashes of passwords among it, is as private as the link, which is therefore https or of one host.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
from starlette.requests import Request

from seawall.infra import tracing
from seawall.infra.settings import DrSettings
from seawall.kernel.errors import ForbiddenError, PreconditionError, UnavailableError

PREFIX = "/internal/dr"
# Clocks of two sites may differ by so much (seconds).
_SKEW = 300.0
# A request is remembered until its time has passed, however the clocks differ.
NONCE_SECONDS = 2 * _SKEW
_BODY_LIMIT = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Signed:
    """What a good signature says of its request: its nonce, and the SHA-256 of its body in hex."""

    nonce: str
    digest: str


class Memory:
    """Nonces that this process has seen, where no other one serves."""

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}

    async def is_new(self, nonce: str) -> bool:
        """Whether the nonce is seen for the first time."""
        now = time.time()
        for old in [key for key, at in self._seen.items() if at < now - NONCE_SECONDS]:
            del self._seen[old]
        if nonce in self._seen:
            return False
        self._seen[nonce] = now
        return True


class Signer:
    """Makes and checks signatures."""

    def __init__(self, master: bytes, *others: bytes) -> None:
        """`others` are master keys of the other site that are taken too, while they are replaced."""
        self._others = [Signer(other) for other in others]
        self._key = hmac.new(master, b"seawall-dr", hashlib.sha256).digest()
        self.fingerprint = hmac.new(self._key, b"fingerprint", hashlib.sha256).hexdigest()[:16]

    def sign(self, method: str, host: str, path: str, body: bytes) -> str:
        """The Authorization header of a request; `host` as in its Host header."""
        at, nonce, digest = str(int(time.time())), secrets.token_hex(16), hashlib.sha256(body).hexdigest()
        mac = self._mac(method, host, path, at, nonce, digest)
        return f"Seawall-DR {self.fingerprint}.{at}.{nonce}.{digest}.{mac}"

    def verify(self, header: str, method: str, host: str, path: str) -> Signed:
        """What the header says of the request. Raises ForbiddenError with the reason."""
        scheme, _, value = header.partition(" ")
        parts = value.strip().split(".")
        if scheme != "Seawall-DR" or len(parts) != 5:
            raise ForbiddenError("the request is not signed")
        fingerprint, at, nonce, digest, mac = parts
        if fingerprint != self.fingerprint:
            for other in self._others:
                if fingerprint == other.fingerprint:
                    return other.verify(header, method, host, path)
            raise ForbiddenError("the two sites have different master keys; give both the same one")
        expected = self._mac(method, host, path, at, nonce, digest)
        if not hmac.compare_digest(mac.encode(), expected.encode()):
            raise ForbiddenError("the signature is wrong; a proxy on the way must keep the Host header")
        if not at.isdigit() or abs(time.time() - int(at)) > _SKEW:
            raise ForbiddenError("the clocks of the two sites differ by more than five minutes")
        return Signed(nonce, digest)

    def _mac(self, method: str, host: str, path: str, at: str, nonce: str, digest: str) -> str:
        text = f"{method}\n{host.lower()}\n{path}\n{at}\n{nonce}\n{digest}"
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()


async def received(
    request: Request, signer: Signer, is_new: Callable[[str], Awaitable[bool]]
) -> dict[str, Any]:
    """The signed JSON object of a request. Raises ForbiddenError, PreconditionError.

    `is_new` says whether a nonce is seen for the first time.
    """
    header, host = request.headers.get("authorization", ""), request.headers.get("host", "")
    signed = signer.verify(header, request.method, host, request.url.path)
    parts: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > _BODY_LIMIT:
            raise PreconditionError("the request is too large")
        parts.append(chunk)
    body = b"".join(parts)
    if not hmac.compare_digest(hashlib.sha256(body).hexdigest(), signed.digest):
        raise ForbiddenError("the body is not what was signed")
    if not await is_new(signed.nonce):
        raise ForbiddenError("the request has been made before")
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        raise PreconditionError("not a JSON object") from None
    if not isinstance(value, dict):
        raise PreconditionError("not a JSON object")
    return value


class Peer:
    """The other end: a site, or the witness."""

    def __init__(self, url: str, signer: Signer, settings: DrSettings) -> None:
        self.url = url
        self._signer = signer
        verify: Any = True if settings.ca_file is None else str(settings.ca_file)
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(settings.timeout_seconds, pool=30),
            verify=verify,
            trust_env=False,
            limits=httpx.Limits(max_connections=16, keepalive_expiry=20),
        )

    async def ask(self, verb: str, timeout: float | None = None, **body: Any) -> dict[str, Any]:
        """The answer to `POST PREFIX/verb`.

        Raises UnavailableError when there is none, PreconditionError with the other's reason for a refusal.
        """
        try:
            answer = await self._client.send(self.request(verb, body, timeout))
        except httpx.HTTPError as error:
            raise UnavailableError(
                f"{self.url} does not answer: {str(error) or type(error).__name__}"
            ) from None
        return _value(self.url, answer)

    def request(self, verb: str, body: dict[str, Any], timeout: float | None = None) -> httpx.Request:
        """A signed request."""
        path, data = f"{PREFIX}/{verb}", json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        extra = {} if timeout is None else {"timeout": timeout}
        request = self._client.build_request("POST", self.url + path, content=data, headers=headers, **extra)  # type: ignore[arg-type]
        request.headers["Authorization"] = self._signer.sign("POST", request.headers["Host"], path, data)
        tracing.inject(request.headers)
        return request

    async def stream(self, verb: str, timeout: float | None = None, **body: Any) -> httpx.Response:
        """An open answer of 200, to be read and closed. Raises as `ask`."""
        try:
            answer = await self._client.send(self.request(verb, body, timeout), stream=True)
            if answer.status_code != 200:
                await answer.aread()
                await answer.aclose()
                _value(self.url, answer)
            return answer
        except httpx.HTTPError as error:
            raise UnavailableError(
                f"{self.url} does not answer: {str(error) or type(error).__name__}"
            ) from None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _value(url: str, answer: httpx.Response) -> dict[str, Any]:
    try:
        value = answer.json()
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise UnavailableError(f"{url} answers {answer.status_code} and not as a Seawall site does")
    if answer.status_code == 200:
        return value
    reason = str(value.get("error") or answer.status_code)[:500]
    if answer.status_code in (403, 404, 409):
        raise PreconditionError(f"{url} refuses: {reason}")
    raise UnavailableError(f"{url}: {reason}")
