"""An OpenID provider on loopback that lets in whom the test names, and may behave badly."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.support.servers.issuer import Issuer

CLIENT_ID, CLIENT_SECRET = "seawall", "Provider-secret-12345"


class Provider(Issuer):
    """Who signs in next (`person`: claims), and how it behaves.

    `says_iss`: whether answers name it (RFC 9207). `sends_to`: the authorization endpoint of another provider
    that browsers are sent on to, as in a mix-up. `redirect_to`: where those come back to, instead of ours.
    `shown`: codes that came to its token endpoint.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.person: dict[str, Any] = {}
        self.says_iss = False
        self.sends_to = ""
        self.redirect_to = ""
        self.shown: list[str] = []
        self._codes: dict[str, dict[str, Any]] = {}
        self.document = {
            "authorization_endpoint": f"{url}/authorize",
            "token_endpoint": f"{url}/token",
        }

    def authorize(self, query: dict[str, str]) -> str:
        """Where the browser goes."""
        if self.sends_to:
            return f"{self.sends_to}?{urlencode(query | {'redirect_uri': self.redirect_to})}"
        code = secrets.token_hex(8)
        self._codes[code] = {"query": query, "person": self.person}
        answer = {"code": code, "state": query["state"]}
        if self.says_iss:
            answer["iss"] = self.url
        return f"{query['redirect_uri']}?{urlencode(answer)}"

    def answer(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Status and body of the token endpoint."""
        self.shown.append(form.get("code", ""))
        held = self._codes.pop(form.get("code", ""), None)
        if held is None:
            return 400, {"error": "invalid_grant"}
        query = held["query"]
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if challenge != query["code_challenge"] or form.get("redirect_uri") != query["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        token = self.token(aud=CLIENT_ID, nonce=query["nonce"], jti=None, repository=None, **held["person"])
        return 200, {"access_token": "x", "token_type": "Bearer", "expires_in": 300, "id_token": token}

    def id_token(self, **person: Any) -> str:
        """An ID token for the registry, as a program may have one."""
        return self.token(aud=CLIENT_ID, jti=None, repository=None, iat=int(time.time()), **person)


@contextmanager
def open_provider() -> Iterator[Provider]:
    """One that runs in a thread."""
    provider: Provider

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            where = urlsplit(self.path)
            if where.path == "/authorize":
                query = {name: values[0] for name, values in parse_qs(where.query).items()}
                self.send_response(302)
                self.send_header("Location", provider.authorize(query))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            document = {"issuer": provider.url, "jwks_uri": f"{provider.url}/keys"} | provider.document
            if provider.says_iss:
                document["authorization_response_iss_parameter_supported"] = True
            found = document if where.path == "/.well-known/openid-configuration" else provider.jwks
            self._json(503 if provider.down else 200, found)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._json(*provider.answer({name: values[0] for name, values in parse_qs(body).items()}))

        def _json(self, status: int, document: dict[str, Any]) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider = Provider(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
