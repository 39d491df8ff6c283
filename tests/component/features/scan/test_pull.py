"""Where a foreign registry may send the scanner on, with a token service and a redirect of its own."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from seawall.features.scan.inventory import ScanError
from seawall.features.scan.pull import RemoteImage
from tests.support.digests import digest_of

MANIFEST = json.dumps({"layers": []}).encode()
INSIDE = ipaddress.ip_network("127.0.0.2/32")


class Servers:
    """A registry at 127.0.0.1, and what it sends its clients on to at 127.0.0.2."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.challenge = ""
        self.location = ""
        outer = self

        class Inner(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.path, self.headers.get("Authorization")))
                self.answer(200, b'{"token": "t"}' if "scope" in self.path else MANIFEST)

            def answer(self, status: int, data: bytes, **headers: str) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_arguments: Any) -> None:
                pass

        class Front(Inner):
            def do_GET(self) -> None:
                if outer.location:
                    self.answer(307, b"", Location=outer.location)
                elif outer.challenge and not str(self.headers.get("Authorization")).startswith("Bearer"):
                    self.answer(401, b"", WWW_Authenticate=outer.challenge)
                else:
                    self.answer(200, MANIFEST)

        self.servers = [
            ThreadingHTTPServer(("127.0.0.1", 0), Front),
            ThreadingHTTPServer(("127.0.0.2", 0), Inner),
        ]
        for server in self.servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        self.front, self.inner = (
            f"http://{host}:{server.server_port}"
            for host, server in zip(("127.0.0.1", "127.0.0.2"), self.servers, strict=True)
        )

    def layers(self, authorization: str = "", *, allow: bool = False) -> list[Any]:
        """Read the image as the scanner does."""

        async def read() -> list[Any]:
            networks = (INSIDE,) if allow else ()
            async with RemoteImage(
                self.front, authorization, "a/b", digest_of(MANIFEST), allow=networks
            ) as image:
                return await image.layers()

        return asyncio.run(read())


@pytest.fixture
def servers() -> Iterator[Servers]:
    """The two."""
    found = Servers()
    yield found
    for server in found.servers:
        server.shutdown()
        server.server_close()


def test_a_token_service_inside_is_not_asked(servers: Servers) -> None:
    servers.challenge = f'Bearer realm="{servers.inner}/token",service="s"'
    with pytest.raises(ScanError, match="token service cannot be used"):
        servers.layers()
    assert servers.asked == []
    assert servers.layers(allow=True) == []
    assert [secret for _, secret in servers.asked] == [None]


def test_a_password_is_not_sent_elsewhere_in_clear(servers: Servers) -> None:
    servers.challenge = f'Bearer realm="{servers.inner}/token",service="s"'
    with pytest.raises(ScanError, match="another host in clear"):
        servers.layers("Basic YTpi", allow=True)
    assert servers.asked == []


def test_a_redirect_leads_nowhere_inside(servers: Servers) -> None:
    servers.location = f"{servers.inner}/bytes"
    with pytest.raises(ScanError, match="may not be reached from here"):
        servers.layers()
    assert servers.asked == []
    assert servers.layers("Basic YTpi", allow=True) == []
    assert servers.asked == [("/bytes", None)]
