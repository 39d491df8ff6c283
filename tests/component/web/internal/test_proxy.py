"""Behind a proxy: client address, scheme and host; and the CA that the proxy's certificate needs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.infra.loading import load
from seawall.kernel.errors import ConfigError
from seawall.web.internal.proxy import TrustedProxies
from tests.support.registry import Registry
from tests.support.servers.certificates import Authority


def seen(peer: str, headers: dict[str, str], trusted: tuple[str, ...] = ("10.0.0.0/8", "::1")) -> Any:
    """(client, scheme, host, other headers) as the application sees them."""
    found: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found.update(scope)

    scope = {
        "type": "http",
        "scheme": "http",
        "client": (peer, 1234),
        "headers": [(b"host", b"inner:8080")]
        + [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
    }
    asyncio.run(TrustedProxies(app, trusted)(scope, None, None))  # type: ignore[arg-type]
    given = dict(found["headers"])
    host = given.pop(b"host").decode()
    return found["client"][0], found["scheme"], host, given


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("10.0.0.1", "203.0.113.9, 192.0.2.7", "192.0.2.7"),
        ("10.0.0.1", "203.0.113.9, 192.0.2.7, 10.1.1.1", "192.0.2.7"),
        ("10.0.0.1", "10.2.2.2", "10.2.2.2"),
        ("10.0.0.1", "192.0.2.7:5555", "192.0.2.7"),
        ("::1", "[2001:db8::1]:443", "2001:db8::1"),
        ("::ffff:10.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("10.0.0.1", "1.2.3.4, nonsense", "10.0.0.1"),
        ("192.0.2.1", "203.0.113.9", "192.0.2.1"),
    ],
)
def test_client(peer: str, forwarded: str, client: str) -> None:
    assert seen(peer, {"X-Forwarded-For": forwarded})[0] == client


def test_scheme_and_host() -> None:
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "registry.example:8443", "Accept": "a"}
    assert seen("10.0.0.1", headers) == (
        "10.0.0.1",
        "https",
        "registry.example:8443",
        {b"accept": b"a"},
    )
    assert seen("192.0.2.1", headers) == ("192.0.2.1", "http", "inner:8080", {b"accept": b"a"})
    wrong = {"X-Forwarded-Proto": "gopher", "X-Forwarded-Host": 'a" b'}
    assert seen("10.0.0.1", wrong) == ("10.0.0.1", "http", "inner:8080", {})


@given(st.text(st.characters(max_codepoint=255)), st.text(st.characters(max_codepoint=255)))
def test_anything_in_the_headers(forwarded: str, host: str) -> None:
    client, scheme, shown, _ = seen("10.0.0.1", {"X-Forwarded-For": forwarded, "X-Forwarded-Host": host})
    assert client
    assert scheme == "http"
    assert '"' not in shown


def test_setting() -> None:
    http = load(None, {"http": {"trusted_proxies": "10.0.0.0/8, 192.0.2.1"}}).http
    assert http.trusted_proxies == ["10.0.0.0/8", "192.0.2.1"]
    with pytest.raises(ConfigError, match="neither an address nor a CIDR"):
        load(None, {"http": {"trusted_proxies": ["nowhere"]}})


def test_throttling_counts_the_client_not_the_proxy(fresh_registry: Registry) -> None:
    registry = fresh_registry
    registry.environment["SEAWALL_HTTP__TRUSTED_PROXIES"] = "127.0.0.1"
    registry.start()

    def login(address: str, password: str) -> httpx.Response:
        return httpx.get(
            f"{registry.url}/v2/",
            auth=("admin", password),
            headers={
                "X-Forwarded-For": address,
                "X-Forwarded-Proto": "https",
                "X-Forwarded-Host": "reg.example",
            },
        )

    challenge = login("192.0.2.1", "wrong").headers["WWW-Authenticate"]
    assert 'realm="https://reg.example/service/token"' in challenge
    for number in range(5):
        login("192.0.2.1", f"wrong {number}")
    assert login("192.0.2.1", "another").status_code == 429
    assert login("192.0.2.2", registry.admin[1]).status_code == 200


def test_external_url_is_the_one_address(fresh_registry: Registry) -> None:
    registry = fresh_registry
    registry.environment["SEAWALL_EXTERNAL_URL"] = "https://reg.example/"
    registry.start()
    challenge = httpx.get(f"{registry.url}/v2/").headers["WWW-Authenticate"]
    assert 'realm="https://reg.example/service/token"' in challenge
    started = httpx.post(
        f"{registry.url}/v2/library/a/blobs/uploads/",
        auth=registry.admin,
        headers={"X-Forwarded-Host": "evil.example", "Host": "inner.example"},
    )
    assert started.headers["Location"].startswith("https://reg.example/v2/library/a/blobs/uploads/")


def test_ca_download(fresh_registry: Registry, tmp_path: Path) -> None:
    """Read at each request: the file may come, change and go; a missing one is no reason not to start."""
    first, second = Authority(tmp_path / "1").certificate, Authority(tmp_path / "2").certificate
    registry = fresh_registry
    registry.start()
    pages = ("/ca.crt", "/ca", "/api/v2.0/systeminfo/getcert")
    assert [httpx.get(registry.url + page).status_code for page in pages] == [404, 404, 404]
    folder = registry.data_dir / "ca_download"
    folder.mkdir()
    assert registry.api("GET", "/systeminfo").json()["has_ca_root"] is False
    (folder / "registry.example.com.crt").write_bytes(first.read_bytes())
    answer = httpx.get(f"{registry.url}/ca.crt")
    assert answer.content == first.read_bytes()
    assert "attachment" in answer.headers["Content-Disposition"]
    assert "/ca.crt" in httpx.get(f"{registry.url}/ca").text
    assert httpx.get(registry.url + pages[2]).content == first.read_bytes()
    assert registry.api("GET", "/systeminfo").json()["has_ca_root"] is True
    # Another one beside it; nothing secret and nothing else is given.
    (folder / "b.crt").write_bytes(second.read_bytes())
    (folder / "key.crt").write_text("-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n")
    (folder / "note.txt").write_text("x")
    found = httpx.get(f"{registry.url}/ca.crt").content
    assert found == second.read_bytes() + first.read_bytes()
    for file in folder.iterdir():
        file.unlink()
    assert [httpx.get(registry.url + page).status_code for page in pages] == [404, 404, 404]
    registry.stop()
    # A file instead of the folder.
    registry.environment["SEAWALL_CA_DOWNLOAD"] = str(tmp_path / "later.crt")
    registry.start()
    assert httpx.get(f"{registry.url}/ca.crt").status_code == 404
    (tmp_path / "later.crt").write_bytes(first.read_bytes())
    assert httpx.get(f"{registry.url}/ca.crt").content == first.read_bytes()
