"""How sites and the witness talk: HTTP, each request signed with a key made from the master key.

The master key is the one thing that both sites have before the first contact, and it never travels. A request
carries the key's fingerprint, so that different master keys are told apart from a forged request. Secrets in
the rows stay sealed as they are in the database; the rest is as private as the link: use https between sites.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from typing import Any

import httpx
from starlette.requests import Request

from seawall.infra.settings import DrSettings
from seawall.kernel.errors import ForbiddenError, PreconditionError, UnavailableError

PREFIX = "/internal/dr"
# Clocks of two sites may differ; a request repeated within this time finds an epoch that has passed.
_SKEW = 300.0
_BODY_LIMIT = 64 * 1024 * 1024


class Signer:
    """Makes and checks signatures."""

    def __init__(self, master: bytes, *others: bytes) -> None:
        """`others` are master keys of the other site that are taken too, while they are replaced."""
        self._others = [Signer(other) for other in others]
        self._key = hmac.new(master, b"seawall-dr", hashlib.sha256).digest()
        self.fingerprint = hmac.new(self._key, b"fingerprint", hashlib.sha256).hexdigest()[:16]

    def sign(self, path: str, body: bytes) -> str:
        """The Authorization header of a request."""
        at, nonce = str(int(time.time())), secrets.token_hex(8)
        return f"Seawall-DR {self.fingerprint}.{at}.{nonce}.{self._mac(path, at, nonce, body)}"

    def verify(self, header: str, path: str, body: bytes) -> None:
        """Raises ForbiddenError with the reason."""
        scheme, _, value = header.partition(" ")
        parts = value.strip().split(".")
        if scheme != "Seawall-DR" or len(parts) != 4:
            raise ForbiddenError("the request is not signed")
        fingerprint, at, nonce, mac = parts
        if fingerprint != self.fingerprint:
            for other in self._others:
                if fingerprint == other.fingerprint:
                    other.verify(header, path, body)
                    return
            raise ForbiddenError("the two sites have different master keys; give both the same one")
        if not hmac.compare_digest(mac, self._mac(path, at, nonce, body)):
            raise ForbiddenError("the signature is wrong")
        if not at.isdigit() or abs(time.time() - int(at)) > _SKEW:
            raise ForbiddenError("the clocks of the two sites differ by more than five minutes")

    def _mac(self, path: str, at: str, nonce: str, body: bytes) -> str:
        text = f"{path}\n{at}\n{nonce}\n{hashlib.sha256(body).hexdigest()}"
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()


async def received(request: Request, signer: Signer) -> dict[str, Any]:
    """The signed JSON object of a request. Raises ForbiddenError, PreconditionError."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _BODY_LIMIT:
            raise PreconditionError("the request is too large")
    signer.verify(request.headers.get("authorization", ""), request.url.path, body)
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
        headers = {"Authorization": self._signer.sign(path, data), "Content-Type": "application/json"}
        extra = {} if timeout is None else {"timeout": timeout}
        return self._client.build_request("POST", self.url + path, content=data, headers=headers, **extra)  # type: ignore[arg-type]

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
