"""Stored credentials go to the address they were given for, whatever another side says."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from seawall.features.replication.client import RegistryClient
from seawall.features.replication.login import Credentials
from seawall.features.replication.remote import RemoteError
from seawall.infra.addresses import networks
from tests.support.api import Api
from tests.support.scan import spec
from tests.support.side import Side, sides

__all__ = ["sides"]

SECRET = "Stored12345"
BASIC = "Basic " + base64.b64encode(f"robot:{SECRET}".encode()).decode()


def token(_method: str, _path: str, _auth: str | None) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/json"}, json.dumps({"token": "t", "expires_in": 300}).encode()


def challenges(realm: Callable[[], str]) -> Callable[..., tuple[int, dict[str, str], bytes]]:
    """Answers of a registry that names `realm()` as its token server."""

    def answer(_method: str, path: str, auth: str | None) -> tuple[int, dict[str, str], bytes]:
        if auth == "Bearer t":
            return 200, {"Content-Type": "application/json"}, b'{"tags": []}'
        return 401, {"WWW-Authenticate": f'Bearer realm="{realm()}/token",service="s"'}, b"{}"

    return answer


def endpoint(name: str, url: str) -> dict[str, Any]:
    credential = {"type": "basic", "access_key": "robot", "access_secret": SECRET}
    return {"name": name, "type": "docker-registry", "url": url, "credential": credential}


def test_the_token_server_is_pinned(admin: Api, sides: Callable[[], Side]) -> None:
    upstream, tokens, thief = sides(), sides(), sides()
    tokens.answer = thief.answer = token
    realm = [tokens.url]
    upstream.answer = challenges(lambda: realm[0])
    name = f"e{secrets.token_hex(4)}"
    number = admin.made("/registries", endpoint(name, upstream.url))
    assert tokens.secrets == [BASIC]
    # Shown to the administrator.
    assert admin.get(f"/registries/{number}").json()["token_server"] == tokens.url
    assert admin.put(f"/registries/{number}", json={"description": "d"}).status_code == 200
    # From now on another realm gets nothing: not by a ping, not by an anonymous pull through a proxy project.
    realm[0] = thief.url
    assert admin.post("/registries/ping", json={"id": number}).status_code == 400
    changed = admin.put(f"/registries/{number}", json={"description": "e"})
    assert changed.status_code == 400
    assert thief.url in changed.text
    project = f"p{secrets.token_hex(4)}"
    body = {"project_name": project, "registry_id": number, "metadata": {"public": "true"}}
    assert admin.post("/projects", json=body).status_code == 201
    base = str(admin.base_url).rpartition("/api/")[0]
    pulled = httpx.get(f"{base}/v2/{project}/app/manifests/v1", timeout=60)
    scoped = httpx.get(
        f"{base}/service/token",
        params={"service": "seawall", "scope": f"repository:{project}/app:pull"},
        timeout=60,
    ).json()["token"]
    pulled = httpx.get(
        f"{base}/v2/{project}/app/manifests/v1",
        headers={"Authorization": f"Bearer {scoped}"},
        timeout=60,
    )
    assert pulled.status_code == 503
    assert thief.heard == []
    # With the secret, an administrator takes up another one.
    assert admin.put(f"/registries/{number}", json={"access_secret": SECRET}).status_code == 200
    assert thief.secrets == [BASIC]


def test_a_new_address_gets_no_stored_secret(admin: Api, sides: Callable[[], Side]) -> None:
    upstream, thief = sides(), sides()
    upstream.answer = thief.answer = lambda _method, _path, auth: (
        (200, {}, b"{}") if auth else (401, {"WWW-Authenticate": 'Basic realm="r"'}, b"{}")
    )
    number = admin.made("/registries", endpoint(f"e{secrets.token_hex(4)}", upstream.url))
    assert admin.put(f"/registries/{number}", json={"url": thief.url}).status_code == 400
    assert thief.secrets == []
    thief.answer = lambda _method, _path, _auth: (200, {}, b"{}")
    assert admin.put(f"/registries/{number}", json={"url": thief.url}).status_code == 200
    assert admin.get(f"/registries/{number}").json()["credential"].get("access_secret") is None
    assert thief.secrets == []
    assert admin.put(f"/registries/{number}", json={"url": upstream.url}).status_code == 400


def test_scanners_and_networks_at_new_addresses_get_no_stored_secret(admin: Api) -> None:
    mark = secrets.token_hex(4)
    adapter = spec.Adapter(spec.TRIVY, [])
    scanner = {"name": f"s{mark}", "auth": "Bearer", "access_credential": SECRET}
    with adapter.serve():
        scanner["url"] = adapter.url
        made = admin.post("/scanners", json=scanner)
    assert made.status_code == 201, made.text
    path = f"/scanners/{made.headers['Location'].rpartition('/')[2]}"
    kept = {key: value for key, value in scanner.items() if key != "access_credential"}
    assert admin.put(path, json=kept).status_code == 200
    moved = admin.put(path, json={**kept, "url": f"http://127.0.0.1:9/other{mark}"})
    assert moved.status_code == 400
    assert "access_credential" in moved.text
    network = {
        "name": f"n{mark}",
        "vendor": "dragonfly",
        "endpoint": f"http://127.0.0.1:9/{mark}",
        "auth_mode": "BASIC",
        "auth_info": {"username": "u", "password": SECRET},
    }
    made = admin.post("/p2p/preheat/instances", json=network)
    assert made.status_code == 201, made.text
    path = f"/p2p/preheat/instances/{network['name']}"
    assert admin.put(path, json={"description": "d"}).status_code == 200
    assert admin.put(path, json={"endpoint": f"http://127.0.0.1:9/other{mark}"}).status_code == 400


def test_uploads_elsewhere_carry_no_token(sides: Callable[[], Side]) -> None:
    upstream, elsewhere = sides(), sides()
    elsewhere.answer = lambda _method, _path, _auth: (201, {}, b"")
    upstream.answer = lambda method, _path, auth: (
        (401, {"WWW-Authenticate": 'Basic realm="r"'}, b"{}")
        if not auth
        else (202, {"Location": f"{elsewhere.url}/upload"}, b"")
        if method == "POST"
        else (200, {}, b"{}")
    )

    async def main() -> None:
        allow = networks(["127.0.0.0/8"])
        client = RegistryClient(upstream.url, Credentials("robot", SECRET), allow=allow)
        data = b"x" * 100

        async def source(offset: int) -> Any:
            yield data[offset:]

        try:
            await client.put_blob("team/app", "sha256:" + "0" * 64, len(data), source)
            with pytest.raises(RemoteError):
                await client.put_blob("team/app", "sha256:" + "0" * 64, len(data), source, by_chunk=True)
        finally:
            await client.close()

    asyncio.run(main())
    assert [method for method, _, _ in elsewhere.heard] == ["PUT", "PATCH"]
    assert elsewhere.secrets == []
