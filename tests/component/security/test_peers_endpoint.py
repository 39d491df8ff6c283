"""The endpoint for peers: signed first, once, and nothing of a stranger is read."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from seawall.availability.peers import wire
from seawall.infra.secrets.master import MasterKeys
from seawall.web.internal.peers import PeerEndpoint
from tests.support.processes import free_port
from tests.support.registry import Registry

MASTER = secrets.token_bytes(32)
KEYS: Any = SimpleNamespace(masters=MasterKeys(MASTER))
[FINGERPRINT] = KEYS.masters.peer_keys("request")


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    server = Registry(
        tmp_path_factory.mktemp("peers") / "data",
        {
            "SEAWALL_MASTER_KEY": base64.b64encode(MASTER).decode(),
            "SEAWALL_PEERS__NAME": "a",
            "SEAWALL_PEERS__URLS": f"http://127.0.0.1:{free_port()}",
            "SEAWALL_HTTP__WORKERS": "2",
        },
    )
    server.start()
    yield server
    server.close()


def question(host: str, message: dict[str, Any]) -> tuple[dict[str, str], bytes, wire.Signed]:
    """Headers and body of what a peer asks."""
    nonce = wire.new_nonce()
    body = wire.seal(KEYS, wire.Signed(FINGERPRINT, nonce, {}), "question", message)
    made = wire.sign(KEYS, FINGERPRINT, "POST", host, wire.PATH, {wire.BODY: wire.digest(body)}, nonce)
    return dict(made.claims), body, made


def test_a_request_counts_once_whoever_serves_it(instance: Registry) -> None:
    headers, body, made = question(instance.host, {"op": "hello"})
    answers = [
        httpx.post(instance.url + wire.PATH, content=body, headers=headers, timeout=60) for _ in range(8)
    ]
    assert [answer.status_code for answer in answers] == [200] + [403] * 7
    assert wire.unseal(KEYS, made, "answer", answers[0].content) == {"name": "a"}


def test_body_host_and_actor_are_signed(instance: Registry) -> None:
    headers, _, _ = question(instance.host, {"op": "hello"})
    _, other, _ = question(
        instance.host, {"op": "drop blob", "repository": "library/x", "digest": "sha256:0"}
    )
    answer = httpx.post(instance.url + wire.PATH, content=other, headers=headers, timeout=60)
    assert (answer.status_code, "not what was signed" in answer.text) == (403, True)
    headers, body, _ = question("elsewhere.example", {"op": "hello"})
    assert httpx.post(instance.url + wire.PATH, content=body, headers=headers, timeout=60).status_code == 403
    upload = f"{wire.PATH}/v2/library/x/blobs/uploads/00000000-0000-0000-0000-000000000000"
    made = wire.sign(KEYS, FINGERPRINT, "GET", instance.host, upload, {wire.ACTOR: "alice"})
    for changed, wanted in (({wire.ACTOR: "admin"}, 403), ({wire.RANGE: "0-9"}, 403), ({}, 200)):
        sent = {**made.claims, **changed}
        answer = httpx.get(instance.url + upload, headers=sent, timeout=60)
        assert answer.status_code == wanted, answer.text
    # What the session's instance answers is sealed too.
    told = wire.unseal(KEYS, made, "answer", answer.content)
    assert told["status"] == 404
    assert json.loads(base64.b64decode(told["body"]))["errors"][0]["code"] == "BLOB_UPLOAD_UNKNOWN"


def test_nothing_is_read_of_a_stranger(instance: Registry) -> None:
    with socket.create_connection(("127.0.0.1", instance.port), timeout=60) as sent:
        head = (
            f"POST {wire.PATH} HTTP/1.1\r\nHost: {instance.host}\r\n{wire.HEADER}: {FINGERPRINT}.a.b.1\r\n"
            "Content-Length: 60000000\r\n\r\n"
        )
        # The answer comes although the body never does.
        sent.sendall(head.encode())
        assert b" 403 " in sent.recv(4096)


@pytest.mark.parametrize(
    ("client", "scheme", "allow", "wanted"),
    [
        ("192.0.2.1", "http", False, 403),
        ("192.0.2.1", "https", False, 404),
        ("192.0.2.1", "http", True, 404),
        ("127.0.0.1", "http", False, 404),
    ],
)
def test_no_http_between_hosts(
    tmp_path: Path, client: str, scheme: str, allow: bool, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def first(_db: Any, _nonce: str) -> bool:
        return True

    monkeypatch.setattr("seawall.web.internal.peers.is_new", first)
    service: Any = SimpleNamespace(settings=SimpleNamespace(allow_http=allow), db=None)
    endpoint = PeerEndpoint(service, SimpleNamespace(), KEYS, SimpleNamespace())  # type: ignore[arg-type]
    path = f"{wire.PATH}/nothing"
    made = wire.sign(KEYS, FINGERPRINT, "GET", "a.example", path, {})
    headers = {"host": "a.example", **made.claims}
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "scheme": scheme,
        "client": (client, 1),
        "server": ("a.example", 80),
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("nothing is to be read")

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(endpoint(scope, receive, send))
    assert sent[0]["status"] == wanted
