"""Blobs that Debian's nginx sends, with the configuration that `seawall ha lb-config nginx` prints."""

from __future__ import annotations

import email
import email.policy
import os
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from seawall.availability.cluster.balancer import Balancer, nginx
from seawall.kernel.errors import InvalidError
from tests.support.digests import digest_of
from tests.support.processes import free_port
from tests.support.registry import Registry
from tests.support.servers.balancers import BalancerServer

DATA = os.urandom(3 * 1024 * 1024 + 17)
DIGEST = digest_of(DATA)
HEADERS = {
    "Content-Type": "application/octet-stream",
    "Docker-Content-Digest": DIGEST,
    "ETag": f'"{DIGEST}"',
    "Cache-Control": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "Docker-Distribution-Api-Version": "registry/2.0",
}
URL = f"/v2/private/app/blobs/{DIGEST}"
STRANGER = "127.0.0.77"


def client_of(url: str, auth: tuple[str, str] | None = None, *, address: str = "127.0.0.1") -> httpx.Client:
    transport = httpx.HTTPTransport(local_address=address)
    return httpx.Client(base_url=url, auth=auth, timeout=60, transport=transport)


class Setup:
    """A registry, nginx before it, and a client of each."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        settings = {
            "SEAWALL_EXTERNAL_URL": url,
            "SEAWALL_HTTP__TRUSTED_PROXIES": "127.0.0.1",
            "SEAWALL_HTTP__ACCELERATE": "nginx",
        }
        self.registry = Registry(folder / "data", settings)
        self.nginx = BalancerServer("nginx", port)
        try:
            self.registry.start()
            self.registry.create_project("private")
            printed = self.registry.cli(
                "ha", "lb-config", "nginx", "--bind", f"127.0.0.1:{port}", "--instance", self.registry.url
            )
            assert printed.returncode == 0, printed.stderr
            self.nginx.start(printed.stdout)
            self.front = client_of(url, self.registry.admin)
            self.behind = client_of(self.registry.url, self.registry.admin)
            posted = self.front.post(
                "/v2/private/app/blobs/uploads/", params={"digest": DIGEST}, content=DATA
            )
            assert posted.status_code == 201, posted.text
        except BaseException:
            self.close()
            raise

    def file(self, digest: str = DIGEST) -> Path:
        """Where the blob is on disk."""
        found = list((self.registry.data_dir / "blobs" / "blobs").glob(f"*/{digest.partition(':')[2]}.*"))
        assert len(found) == 1
        return found[0]

    def sent(self) -> float:
        """Bytes of blobs that the registry itself has sent."""
        text = self.behind.get("/metrics").raise_for_status().text
        found = re.search(
            r'^seawall_http_sent_bytes_total\{route="/v2/\*/blobs"\} (\S+)$', text, re.MULTILINE
        )
        return float(found[1]) if found else 0.0

    def close(self) -> None:
        """End both."""
        self.nginx.close()
        self.registry.close()


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    made = Setup(tmp_path_factory.mktemp("accelerated"))
    yield made
    made.close()


def assert_headers(got: httpx.Response) -> None:
    for name, value in HEADERS.items():
        assert got.headers.get_list(name) == [value], (name, got.headers)
    assert got.headers.get_list("X-Request-Id")
    assert "X-Accel-Redirect" not in got.headers
    assert "Last-Modified" not in got.headers


def test_nginx_sends_whole_blobs_and_ranges(setup: Setup) -> None:
    before = setup.sent()
    whole = setup.front.get(URL)
    assert (whole.status_code, whole.content) == (200, DATA)
    assert_headers(whole)
    assert whole.headers.get_list("Accept-Ranges") == ["bytes"]
    for header, start, end in (
        ("bytes=5-9", 5, 10),
        ("bytes=1048576-", 1048576, len(DATA)),
        ("bytes=-7", len(DATA) - 7, len(DATA)),
        (f"bytes=0-{10**12}", 0, len(DATA)),
    ):
        part = setup.front.get(URL, headers={"Range": header})
        assert (part.status_code, part.content) == (206, DATA[start:end]), header
        assert part.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(DATA)}"
        assert_headers(part)
    assert setup.sent() == before, "the registry has sent bytes itself"


def test_head_and_what_nginx_does_not_send(setup: Setup) -> None:
    head = setup.front.head(URL)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == str(len(DATA))
    assert_headers(head)
    several = setup.front.get(URL, headers={"Range": "bytes=90-99,10-19"})
    assert several.status_code == 206
    kind = several.headers["Content-Type"].encode()
    parts = email.message_from_bytes(
        b"Content-Type: " + kind + b"\r\n\r\n" + several.content, policy=email.policy.HTTP
    )
    assert [part.get_payload(decode=True) for part in parts.iter_parts()] == [DATA[90:100], DATA[10:20]]
    resumed = setup.front.get(URL, headers={"Range": "bytes=1-2", "If-Range": f'"{DIGEST}"'})
    assert (resumed.status_code, resumed.content) == (206, DATA[1:3])
    other = setup.front.get(URL, headers={"Range": "bytes=1-2", "If-Range": '"sha256:0"'})
    assert (other.status_code, other.content) == (200, DATA)
    for header in ("bytes=99999999-", "bytes=9-5"):
        refused = setup.front.get(URL, headers={"Range": header})
        assert refused.status_code == 416
        assert refused.json()["errors"][0]["code"] == "SIZE_INVALID"
    ignored = setup.front.get(URL, headers={"Range": "lines=1-2"})
    assert (ignored.status_code, ignored.content) == (200, DATA)
    for header in ("bytes=5-9,", "Bytes=5-9", "bytes=5-9,99999999999-"):
        part = setup.front.get(URL, headers={"Range": header})
        assert (part.status_code, part.content) == (206, DATA[5:10]), header
    late = {"If-Modified-Since": "Fri, 01 Jan 2999 00:00:00 GMT"}
    assert setup.front.get(URL, headers=late).content == DATA


def test_only_a_trusted_proxy_learns_of_files(setup: Setup) -> None:
    """The header that asks for them is believed of nobody else, and the place is closed to clients."""
    with client_of(setup.registry.url, setup.registry.admin, address=STRANGER) as stranger:
        got = stranger.get(URL, headers={"X-Seawall-Accelerate": "nginx"})
        assert got.content == DATA
        assert "X-Accel-Redirect" not in got.headers
    # A trusted proxy of another kind, or that does not ask.
    for headers in ({}, {"X-Seawall-Accelerate": "haproxy"}, {"X-Seawall-Accelerate": ""}):
        assert setup.behind.get(URL, headers=headers).content == DATA
    asked = setup.behind.get(URL, headers={"X-Seawall-Accelerate": "nginx"})
    place = asked.headers["X-Accel-Redirect"]
    assert asked.content == b""
    assert place == f"/_seawall/files/{setup.file().relative_to(setup.registry.data_dir / 'blobs')}"
    for path in (place, place.replace("/_seawall/", "/%5fseawall/"), f"/v2/..{place}", f"/.{place}"):
        for auth in (setup.registry.admin, None):
            refused = httpx.get(f"{str(setup.front.base_url).rstrip('/')}{path}", auth=auth)
            assert refused.status_code in (400, 401, 404), (path, refused)
    # What a client says of itself does not pass nginx.
    injected = {"X-Seawall-Accelerate": "haproxy", "X-Accel-Redirect": "/_seawall/files/blobs/x"}
    assert setup.front.get(URL, headers=injected).content == DATA


def test_checks_come_first(setup: Setup) -> None:
    refused = httpx.get(f"{str(setup.front.base_url).rstrip('/')}{URL}")
    assert refused.status_code == 401
    assert refused.json()["errors"][0]["code"] == "UNAUTHORIZED"
    unknown = setup.front.get(f"/v2/private/other/blobs/{DIGEST}")
    assert unknown.status_code == 404
    assert unknown.json()["errors"][0]["code"] == "NAME_UNKNOWN"


@pytest.mark.parametrize("damage", ["removed", "cut"])
def test_lost_bytes_are_the_registry_s_error(setup: Setup, damage: str) -> None:
    data = os.urandom(100_000)
    digest = digest_of(data)
    setup.front.post("/v2/private/app/blobs/uploads/", params={"digest": digest}, content=data)
    file = setup.file(digest)
    if damage == "removed":
        file.unlink()
    else:
        os.truncate(file, 5)
    got = setup.front.get(f"/v2/private/app/blobs/{digest}")
    assert got.status_code == 404
    assert got.json()["errors"][0]["code"] == "BLOB_UNKNOWN"


def test_without_the_files_the_registry_sends(setup: Setup, tmp_path: Path) -> None:
    """nginx lacks the directory, as on another host: clients get the bytes, and no path."""
    port = free_port()
    server = BalancerServer("nginx", port)
    url = f"http://127.0.0.1:{port}"
    text = nginx(Balancer(url, [setup.registry.url], bind=f"127.0.0.1:{port}", files=str(tmp_path / "no")))
    try:
        server.start(text)
        with client_of(url, setup.registry.admin) as client:
            got = client.get(URL)
            assert (got.status_code, got.content) == (200, DATA)
            assert_headers(got)
            part = client.get(URL, headers={"Range": "bytes=5-9"})
            assert (part.status_code, part.content) == (206, DATA[5:10])
            missing = client.get(f"/v2/private/app/blobs/{digest_of(b'none')}")
            assert missing.json()["errors"][0]["code"] == "BLOB_UNKNOWN"
            assert str(tmp_path) not in missing.text + str(missing.headers)
    finally:
        server.close()


@pytest.mark.parametrize("files", ["blobs", "/a b", '/a";', "/a$uri", "/a{", "/a\n"])
def test_paths_that_nginx_would_misread(files: str) -> None:
    with pytest.raises(InvalidError):
        nginx(Balancer("http://x", ["http://a:1"], files=files))
