"""The endpoint for the other site: signed first, once, and for nobody to read on the way."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
import socket
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from seawall.availability.sites.wire import PREFIX, Memory, Signer, received
from seawall.infra.settings import DrSettings
from seawall.kernel.errors import ForbiddenError
from seawall.web.internal.sites import is_private
from tests.support.processes import free_port
from tests.support.registry import Registry

MASTER = secrets.token_bytes(32)


@pytest.fixture
def site(fresh_registry: Registry) -> Registry:
    fresh_registry.environment.update(
        SEAWALL_MASTER_KEY=base64.b64encode(MASTER).decode(),
        SEAWALL_DR__SITE="a",
        SEAWALL_DR__PEER=f"http://127.0.0.1:{free_port()}",
        SEAWALL_DR__START_AS="active",
        SEAWALL_HTTP__WORKERS="2",
    )
    fresh_registry.start()
    return fresh_registry


def test_a_request_counts_once_whoever_serves_it(site: Registry) -> None:
    signer, body = Signer(MASTER), b"{}"
    headers = {"Authorization": signer.sign("POST", site.host, f"{PREFIX}/keys", body)}
    answers = [
        httpx.post(f"{site.url}{PREFIX}/keys", content=body, headers=headers, timeout=60).status_code
        for _ in range(8)
    ]
    assert answers == [200] + [403] * 7
    # The same words for another verb, another host, another body.
    for path, host, sent in (
        ("keys", site.host, body),
        ("hello", "elsewhere.example", body),
        ("hello", site.host, b'{"epoch": 9}'),
    ):
        headers = {
            "Authorization": signer.sign("POST", site.host, f"{PREFIX}/hello", body),
            "Host": host,
        }
        answer = httpx.post(f"{site.url}{PREFIX}/{path}", content=sent, headers=headers, timeout=60)
        assert answer.status_code == 403, (path, host, sent)


def test_nothing_is_read_of_a_stranger(site: Registry) -> None:
    with socket.create_connection(("127.0.0.1", int(site.url.rpartition(":")[2])), timeout=60) as sent:
        head = (
            f"POST {PREFIX}/hello HTTP/1.1\r\nHost: {site.host}\r\nAuthorization: Seawall-DR a.1.b.c.d\r\n"
            "Content-Length: 60000000\r\n\r\n"
        )
        # The answer comes although the body never does.
        sent.sendall(head.encode())
        assert b" 403 " in sent.recv(4096)


def request(
    headers: dict[str, str], body: bytes, *, client: str = "192.0.2.1", scheme: str = "http"
) -> Request:
    """A request of the other site, as the endpoint sees it."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "http",
        "method": "POST",
        "path": f"{PREFIX}/hello",
        "scheme": scheme,
        "client": (client, 1),
        "server": ("seawall", 80),
        "query_string": b"",
        "headers": raw,
    }
    return Request(scope, receive)


def test_the_signature_covers_all_of_it() -> None:
    signer = Signer(MASTER)
    header = signer.sign("POST", "b.example", f"{PREFIX}/hello", b"{}")

    def told(change: Callable[[str], str], body: bytes = b"{}", host: str = "b.example") -> Any:
        headers = {"Authorization": change(header), "Host": host}
        return asyncio.run(received(request(headers, body), signer, Memory().is_new))

    assert told(lambda same: same) == {}
    digest = hashlib.sha256(b"{}").hexdigest()
    other = hashlib.sha256(b"[]").hexdigest()
    for change, body, host in (
        (lambda text: text.replace(digest, other), b"[]", "b.example"),
        (lambda text: text, b"[]", "b.example"),
        (lambda text: text, b"{}", "c.example"),
        (lambda text: text[:-1] + ("0" if text[-1] != "0" else "1"), b"{}", "b.example"),
        (lambda text: text.replace("Seawall-DR", "Basic"), b"{}", "b.example"),
    ):
        with pytest.raises(ForbiddenError):
            told(change, body, host)
    at = str(int(time.time()))
    assert at[:8] in header
    with pytest.raises(ForbiddenError):
        told(lambda text: text.replace(f".{header.split('.')[1]}.", ".1000000000."))


def test_only_private_links() -> None:
    assert is_private(request({}, b"", client="127.0.0.1"))
    assert is_private(request({}, b"", scheme="https"))
    assert not is_private(request({}, b""))
    assert DrSettings(site="a", peer="https://b.example").peer
    assert DrSettings(site="a", peer="http://localhost:8080").peer
    with pytest.raises(ValueError, match="must be https"):
        DrSettings(site="a", peer="http://b.example")
    assert json.loads(DrSettings(site="a", peer="http://b.example", allow_http=True).model_dump_json())
