"""Requests to addresses that users choose, kept off the inside of the network (SSRF).

The host is resolved once, every address it has is looked at, and the connection goes to one of those very
addresses, so that a second answer of the name server cannot send it elsewhere ("DNS rebinding"). Redirects
are not followed and proxies of the environment are not used.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from seawall.infra import tracing
from seawall.infra.addresses import Network, RefusedError, networks, resolve
from seawall.kernel.errors import InvalidError

__all__ = ["Answer", "RefusedError", "check_url", "networks", "post"]

_ANSWER_LIMIT = 2048


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: HTTP status and the beginning of the body."""

    status: int
    body: str


def check_url(url: str) -> str:
    """Return `url` if a webhook may have it. Raises InvalidError."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidError("the webhook's address is not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidError("the webhook's address must start with http:// or https:// and name a host")
    if parts.username or parts.password:
        raise InvalidError("the webhook's address must not have a user or password in it")
    if port == 0 or len(url) > 2048 or any(ord(character) < 33 for character in url):
        raise InvalidError("the webhook's address is not a URL")
    return url


async def post(
    url: str,
    content: bytes,
    headers: dict[str, str],
    *,
    allow: Iterable[Network] = (),
    verify: bool = True,
    seconds: float = 10,
) -> Answer:
    """POST to `url`, pinned to the address that was checked.

    Raises RefusedError, or httpx.HTTPError when no answer came.
    """
    parts = urlsplit(check_url(url))
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = await resolve(host, port, tuple(allow))
    literal = f"[{address}]" if address.version == 6 else str(address)
    path = parts.path or "/"
    pinned = f"{parts.scheme}://{literal}:{port}{path}" + (f"?{parts.query}" if parts.query else "")
    context: ssl.SSLContext | bool = False
    if parts.scheme == "https":
        context = ssl.create_default_context()
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
    sent = {**headers, "Host": parts.netloc}
    with tracing.span(f"POST {host}", "client", **{"server.address": host}):
        tracing.inject(sent)
        return await _post(pinned, content, sent, context, host, seconds)


async def _post(
    url: str,
    content: bytes,
    headers: dict[str, str],
    context: ssl.SSLContext | bool,
    host: str,
    seconds: float,
) -> Answer:
    async with (
        httpx.AsyncClient(verify=context, trust_env=False, follow_redirects=False, timeout=seconds) as client,
        asyncio.timeout(seconds * 2),
        client.stream(
            "POST",
            url,
            content=content,
            headers=headers,
            # The certificate is checked against the name, not the address.
            extensions={"sni_hostname": host},
        ) as response,
    ):
        body = b""
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) >= _ANSWER_LIMIT:
                break
        return Answer(response.status_code, body[:_ANSWER_LIMIT].decode("utf-8", "replace"))
