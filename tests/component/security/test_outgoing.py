"""What other sides answer does not lead us inside, fill our memory, or reach clients unverified."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import json
import secrets
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from seawall.access import oidc_provider
from seawall.features.proxycache.breaker import counts_as_failure
from seawall.features.replication import client as module
from seawall.features.replication.client import RegistryClient
from seawall.features.replication.login import Credentials
from seawall.features.replication.remote import RemoteError
from seawall.features.replication.session import Patience
from seawall.features.webhooks import guard
from seawall.infra.addresses import networks
from seawall.registry.manifest import OCI_INDEX
from tests.support.api import Api
from tests.support.registry import Registry
from tests.support.side import Side, sides

__all__ = ["sides"]

DIGEST = "sha256:" + "0" * 64


def ask(side: Side, question: Callable[[RegistryClient], Any], **options: Any) -> Any:
    """What a client of the side is told."""

    async def main() -> Any:
        client = RegistryClient(side.url, **options)
        try:
            return await question(client)
        finally:
            await client.close()

    return asyncio.run(main())


async def blob(client: RegistryClient) -> bytes:
    found = await client.open_blob("team/app", DIGEST)
    assert found is not None
    return b"".join([part async for part in found[1]])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_redirects_lead_nowhere_inside(sides: Callable[[], Side], host: str) -> None:
    upstream, inside = sides(), sides()
    inside.answer = lambda _method, _path, _auth: (200, {}, b"metadata")
    target = inside.url.replace("127.0.0.1", host)
    upstream.answer = lambda _method, _path, _auth: (307, {"Location": f"{target}/latest"}, b"")
    with pytest.raises(RemoteError, match="may not be reached"):
        ask(upstream, blob)
    with pytest.raises(RemoteError, match="may not be reached"):
        ask(upstream, lambda client: client.manifest("team/app", "v1"))
    assert inside.heard == []
    # Where the administrator allows it, for a blob store of the registry's own.
    assert ask(upstream, blob, allow=networks(["127.0.0.0/8", "::1"])) == b"metadata"


def test_a_token_server_is_no_way_inside(sides: Callable[[], Side]) -> None:
    upstream, inside = sides(), sides()
    challenge = {"WWW-Authenticate": f'Bearer realm="{inside.url}/token",service="s"'}
    upstream.answer = lambda _method, _path, _auth: (401, challenge, b"{}")
    # Without credentials, with a token server pinned to the registry itself.
    with pytest.raises(RemoteError, match="may not be reached"):
        ask(upstream, lambda client: client.tags("team/app"), token_origin="")
    assert inside.heard == []


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "gopher://127.0.0.1:70/x",
        "//127.1:{port}/x",
        "http://2130706433:{port}/x",
        "http://0177.0.0.1:{port}/x",
        "http://0x7f.1:{port}/x",
        "http://[::ffff:127.0.0.1]:{port}/x",
        "http://[::ffff:7f00:1]:{port}/x",
        "http://[64:ff9b::7f00:1]:{port}/x",
        "http://[2002:7f00:1::]:{port}/x",
        "http://user:secret@127.0.0.1:{port}/x",
        "http://registry.example@localhost:{port}/x",
        "http://127.0.0.1.:{port}/x",
        "http://[",
        "http://127.0.0.1:99999999/x",
        "http://\u2460\u2461\u2466.0.0.1:{port}/x",
    ],
)
def test_no_spelling_of_an_address_leads_inside(sides: Callable[[], Side], location: str) -> None:
    """As a redirect, as the next page, as the place of an upload and as a token server."""
    upstream, inside = sides(), sides()
    once = Patience(attempts=1)
    target = location.format(port=inside.url.rpartition(":")[2]).encode("utf-8").decode("latin-1")
    questions: list[tuple[Callable[[RegistryClient], Any], dict[str, str], int]] = [
        (blob, {"Location": target}, 307),
        (lambda client: client.manifest("team/app", DIGEST), {"Location": target}, 302),
        (lambda client: client.tags("team/app"), {"WWW-Authenticate": f'Bearer realm="{target}"'}, 401),
    ]
    for question, headers, status in questions:
        told = (status, headers, b"{}")
        upstream.answer = lambda _method, _path, _auth, told=told: told  # type: ignore[misc]
        with pytest.raises(RemoteError):
            ask(upstream, question, credentials=Credentials("u", "s"), token_origin="", patience=once)
    # Of the next page's address only path and query count.
    page = (200, {"Link": f'<{target}>; rel="next"'}, b'{"tags": ["a"]}')
    upstream.answer = lambda _method, _path, _auth: page
    with contextlib.suppress(RemoteError):
        assert ask(upstream, lambda client: client.tags("team/app"), patience=once) == ["a"]
    assert inside.heard == []


def test_the_next_page_is_the_registrys_own(sides: Callable[[], Side]) -> None:
    """A path that does not begin with a slash would make the address `http://registry@elsewhere`."""
    upstream, inside = sides(), sides()
    host = inside.url.removeprefix("http://")
    for link in (f"x:@{host}/v2/", f"x:http://{host}/v2/", f"//{host}/v2/", f"http://{host}/v2/"):
        page = b'{"tags": ["a"]}'
        linked = (200, {"Link": f'<{link}>; rel="next"'}, page)
        upstream.answer = lambda _method, path, _auth, linked=linked, page=page: (  # type: ignore[misc]
            linked if "tags/list" in path else (200, {}, page)
        )
        allow = networks(["127.0.0.0/8"])
        assert ask(upstream, lambda client: client.tags("team/app"), allow=allow) == ["a"]
    assert inside.heard == []


def test_large_answers_are_not_read(sides: Callable[[], Side]) -> None:
    upstream = sides()
    upstream.answer = lambda _method, _path, _auth: (200, {}, b" " * (17 * 1024 * 1024))
    with pytest.raises(RemoteError, match="has more than"):
        ask(upstream, lambda client: client.manifest("team/app", DIGEST))
    bomb = gzip.compress(b" " * (64 * 1024 * 1024))
    upstream.answer = lambda _method, _path, _auth: (200, {"Content-Encoding": "gzip"}, bomb)
    with pytest.raises(RemoteError, match="compressed"):
        ask(upstream, lambda client: client.manifest("team/app", DIGEST))


def test_answers_to_webhooks_are_not_unpacked(sides: Callable[[], Side]) -> None:
    """GHSA-jw3v-7jvc-pfmx: what a receiver answers is logged, and only its first bytes."""
    receiver = sides()
    bomb = gzip.compress(b"x" * (64 * 1024 * 1024))
    for headers, body in (({"Content-Encoding": "gzip"}, bomb), ({}, b"x" * (8 * 1024 * 1024))):
        receiver.answer = lambda _method, _path, _auth, told=(500, headers, body): told  # type: ignore[misc]
        allow = networks(["127.0.0.0/8"])
        answer = asyncio.run(guard.post(receiver.url, b"{}", {}, allow=allow, verify=True, seconds=60))
        assert answer.status == 500
        assert len(answer.body) <= 2048


def test_endless_lists_are_given_up(sides: Callable[[], Side], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAGES", 20)
    upstream = sides()

    def answer(_method: str, path: str, _auth: str | None) -> tuple[int, dict[str, str], bytes]:
        following = f'<{path.partition("?")[0]}?last={secrets.token_hex(4)}>; rel="next"'
        return 200, {"Link": following}, json.dumps({"tags": [secrets.token_hex(4)]}).encode()

    upstream.answer = answer
    with pytest.raises(RemoteError, match="no end"):
        ask(upstream, lambda client: client.tags("team/app"))
    assert len(upstream.heard) <= 21
    circle = {"Link": '</v2/team/app/tags/list?n=1000>; rel="next"'}
    upstream.answer = lambda _method, _path, _auth: (200, circle, b'{"tags": ["a"]}')
    with pytest.raises(RemoteError, match="circle"):
        ask(upstream, lambda client: client.tags("team/app"))


def test_referrers_are_bounded_by_bytes(sides: Callable[[], Side], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REFERRERS_BYTES", 200_000)
    upstream = sides()

    def answer(_method: str, path: str, _auth: str | None) -> tuple[int, dict[str, str], bytes]:
        following = f'<{path.partition("?")[0]}?last={secrets.token_hex(4)}>; rel="next"'
        item = {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": "sha256:" + secrets.token_hex(32),
            "size": 2,
            "annotations": {"x": "y" * 20_000},
        }
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [item]}
        return 200, {"Link": following}, json.dumps(index).encode()

    upstream.answer = answer
    with pytest.raises(RemoteError, match="no end"):
        ask(upstream, lambda client: client.referrers("team/app", DIGEST))
    assert len(upstream.heard) < 15


@pytest.mark.parametrize(
    "names", ['["a", "\\ud800", 7, null, "b\\n", "c"]', "[" * 50_000], ids=["odd", "deep"]
)
def test_names_that_are_none_are_left_out(sides: Callable[[], Side], names: str) -> None:
    upstream = sides()
    upstream.answer = lambda _method, _path, _auth: (200, {}, b'{"tags": ' + names.encode() + b"}")
    if names.startswith("[["):
        with pytest.raises(RemoteError, match="not understood"):
            ask(upstream, lambda client: client.tags("team/app"))
    else:
        assert ask(upstream, lambda client: client.tags("team/app")) == ["a", "c"]


def test_what_is_refused_does_not_say_that_the_registry_is_away(sides: Callable[[], Side]) -> None:
    """One repository with odd answers must not stop the pulls of the others (see `Breaker`)."""
    upstream, inside = sides(), sides()
    bearer = {"WWW-Authenticate": f'Bearer realm="{inside.url}/token"'}
    for told in (
        (307, {"Location": inside.url}, b""),
        (307, {"Location": "/v2/"}, b""),
        (200, {}, b" " * (17 * 1024 * 1024)),
        (200, {"Content-Encoding": "gzip"}, b"x"),
        (401, bearer, b""),
    ):
        upstream.answer = lambda _method, _path, _auth, told=told: told  # type: ignore[misc]
        with pytest.raises(RemoteError) as caught:
            ask(
                upstream,
                lambda client: client.manifest("team/app", DIGEST),
                credentials=Credentials("u", "s"),
                token_origin="",
                patience=Patience(attempts=1),
            )
        assert not counts_as_failure(caught.value), caught.value


def test_a_provider_names_no_documents_inside(sides: Callable[[], Side]) -> None:
    provider, inside = sides(), sides()
    with pytest.raises(oidc_provider.ProviderError):
        asyncio.run(oidc_provider.get_document(provider.url, f"{inside.url}/keys", True))
    assert inside.heard == []
    assert asyncio.run(oidc_provider.get_document(provider.url, f"{provider.url}/keys", True)) == {}


def always(data: bytes) -> Callable[[str, str, str | None], tuple[int, dict[str, str], bytes]]:
    return lambda _method, _path, _auth: (200, {}, data)


def received(url: str, headers: dict[str, str]) -> bytes:
    """What a client has when the answer ends or breaks off."""
    got = b""
    with (
        contextlib.suppress(httpx.HTTPError),
        httpx.stream("GET", url, headers=headers, timeout=60) as answer,
    ):
        # What fails before its first byte is refused.
        for part in answer.iter_raw() if answer.status_code == 200 else ():
            got += part
    return got


def test_a_proxy_never_gives_out_the_whole_of_a_wrong_blob(
    registry: Registry, admin: Api, sides: Callable[[], Side]
) -> None:
    upstream = sides()
    number = admin.made(
        "/registries",
        {"name": f"e{secrets.token_hex(4)}", "type": "docker-registry", "url": upstream.url},
    )
    project = f"p{secrets.token_hex(4)}"
    body = {"project_name": project, "registry_id": number, "metadata": {"public": "true"}}
    assert admin.post("/projects", json=body).status_code == 201
    scope = {"service": "seawall", "scope": f"repository:{project}/app:pull"}
    token = httpx.get(f"{registry.url}/service/token", params=scope, timeout=60).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    for size in (1000, 3 * 1024 * 1024):
        data = secrets.token_bytes(size)
        upstream.answer = always(data)
        good = "sha256:" + hashlib.sha256(data).hexdigest()
        wrong = "sha256:" + hashlib.sha256(data + b"x").hexdigest()
        url = f"{registry.url}/v2/{project}/app/blobs"
        got = received(f"{url}/{wrong}", headers)
        assert len(got) < size
        assert httpx.get(f"{url}/{good}", headers=headers, timeout=60).content == data
    # Less than it says, and in a coding that nobody asked for: the upstream's fault, and said as such.
    data = secrets.token_bytes(1000)
    for told in ({"Content-Length": "2000"}, {"Content-Encoding": "gzip"}):
        upstream.answer = lambda _method, _path, _auth, told=told: (200, told, data)  # type: ignore[misc]
        unknown = "sha256:" + secrets.token_hex(32)
        answer = httpx.get(f"{registry.url}/v2/{project}/app/blobs/{unknown}", headers=headers, timeout=60)
        assert answer.status_code in (502, 503), answer.text
        assert answer.json()["errors"][0]["code"] == "UNAVAILABLE"
