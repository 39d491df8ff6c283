"""What `seawall login` says of a registry that it cannot ask: what is wrong, and the cure."""

from __future__ import annotations

import contextlib
import http.server
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from seawall.process.credentials import LoginError, ask
from tests.support.signing import Authority, certificate_pem


class _Answer(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, *_: object) -> None:
        """Nothing is written."""


@contextlib.contextmanager
def served(context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server's port; with `context` it speaks TLS."""
    server = http.server.HTTPServer(("127.0.0.1", 0), _Answer)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def said(url: str, ca_file: str | None = None) -> str:
    with pytest.raises(LoginError) as raised:
        ask(url, "/oauth/token", ca_file)
    text = str(raised.value)
    assert "Errno" not in text
    assert "_ssl" not in text
    return text


def test_a_plain_registry_named_without_http() -> None:
    with served() as port:
        url = f"https://127.0.0.1:{port}"
        assert said(url) == (
            f"{url} does not speak TLS; a registry on this computer may be named as http://HOST:PORT"
        )
        assert said(f"http://127.0.0.1:{port}").endswith("does not answer as a Seawall does")


def test_a_port_where_nobody_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        assert said(url) == f"{url} does not answer: nothing listens there"


def test_a_host_that_is_not_known() -> None:
    url = "https://registry.invalid"
    assert said(url) == f"{url} does not answer: no such host is known"


def test_a_certificate_that_is_not_trusted(tmp_path: Path) -> None:
    authority, pair = Authority.make(), tmp_path / "pair.pem"
    key = authority.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pair.write_text(key.decode() + certificate_pem(authority.certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    with served(context) as port:
        assert "not trusted" in (text := said(f"https://127.0.0.1:{port}"))
        assert text.endswith("give its CA with --ca-file")


def test_files_that_hold_no_authority(tmp_path: Path) -> None:
    missing, empty = tmp_path / "missing.pem", tmp_path / "empty.pem"
    empty.write_text("")
    url = "https://registry.invalid"
    assert said(url, str(missing)) == f"{missing}: No such file or directory"
    assert said(url, str(empty)) == f"{empty}: no certificate is in it"
