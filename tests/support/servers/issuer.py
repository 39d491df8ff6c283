"""An issuer of tokens on loopback: discovery, keys, and what CI systems and clusters sign."""

from __future__ import annotations

import base64
import hmac
import http.server
import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from joserfc import jws
from joserfc.jwk import RSAKey

AUDIENCE = "seawall.example.com"


class Issuer:
    """Its keys and how it behaves: `down` answers nothing but 503, `document` and `jwks` replace answers."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys = [self.new_key()]
        self.more_keys: list[dict[str, Any]] = []
        self.down = False
        self.document: dict[str, Any] = {}
        self.asked: Counter[str] = Counter()

    @staticmethod
    def new_key() -> RSAKey:
        """A signing key with an id of its own."""
        return RSAKey.generate_key(2048, {"kid": secrets.token_hex(4), "use": "sig"})

    @property
    def jwks(self) -> dict[str, Any]:
        """What is published."""
        return {"keys": [*self.more_keys, *(key.as_dict(private=False) for key in self.keys)]}

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Claims as GitHub Actions has them; a change to None leaves one out."""
        now = int(time.time())
        found = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "repo:acme/app:ref:refs/heads/main",
            "repository": "acme/app",
            "jti": secrets.token_hex(8),
            "iat": now,
            "nbf": now,
            "exp": now + 300,
        } | changes
        return {name: value for name, value in found.items() if value is not None}

    def token(self, key: RSAKey | None = None, key_id: str | None = None, **changes: Any) -> str:
        """A signed token."""
        key = key or self.keys[-1]
        header = {"alg": "RS256", "kid": key_id or key.kid, "typ": "JWT"}
        # With escapes, which can write what UTF-8 has not.
        return jws.serialize_compact(header, json.dumps(self.claims(**changes)).encode(), key)

    def confused(self) -> str:
        """A token that is signed by HMAC, with the published key as the secret."""
        head = _encoded(json.dumps({"alg": "HS256", "kid": self.keys[-1].kid}).encode())
        signed = f"{head}.{_encoded(json.dumps(self.claims()).encode())}"
        secret = self.keys[-1].as_pem(private=False)
        return f"{signed}.{_encoded(hmac.digest(secret, signed.encode(), 'sha256'))}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@contextmanager
def open_issuer() -> Iterator[Issuer]:
    """One that runs in a thread."""
    issuer: Issuer

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.asked[self.path] += 1
            discovery = self.path == "/.well-known/openid-configuration"
            document = {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"} | issuer.document
            body = json.dumps(document if discovery else issuer.jwks).encode()
            self.send_response(503 if issuer.down else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer = Issuer(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
