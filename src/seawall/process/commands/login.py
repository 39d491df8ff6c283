"""`seawall login` and `seawall logout`: sign in at a registry through the browser."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import os
import platform
import secrets
import sys
import time
import urllib.parse
import webbrowser
from pathlib import Path
from typing import Annotated, Any

import typer

from seawall.kernel.errors import ConfigError
from seawall.process import credentials
from seawall.process.credentials import LoginError

app = typer.Typer()
_BROWSER_SECONDS = 300
_LOOPBACK = ("127.0.0.1", "[::1]", "localhost")


@app.command("login")
def log_in(
    registry: Annotated[str, typer.Argument(help="host and port of the registry, or its URL")],
    device: Annotated[
        bool, typer.Option("--device", help="show a code to enter in a browser elsewhere")
    ] = False,
    scope: Annotated[
        str,
        typer.Option(
            "--scope",
            help="permissions to ask for: pull, push, api-read, api-write, with spaces between them",
        ),
    ] = "push api-read",
    ca_file: Annotated[Path | None, typer.Option("--ca-file", help="CA of the registry (PEM)")] = None,
    docker: Annotated[
        bool, typer.Option("--docker/--no-docker", help="add the credential helper to Docker's config.json")
    ] = True,
) -> None:
    """Sign in to a registry through a browser; docker and others then use docker-credential-seawall.

    Example: seawall login registry.example.com
    """
    try:
        host, url = credentials.host_of(registry), _url(registry)
        authority = str(ca_file.absolute()) if ca_file is not None else None
        here = device or not _has_browser()
        given = _by_device(url, authority, scope) if here else _by_browser(url, authority, scope)
        with credentials.opened() as kept:
            credentials.keep(kept, host, url, given, authority)
    except LoginError as error:
        raise ConfigError(str(error)) from None
    if docker:
        _name_helper(host)
    print(f"signed in at {host} as {given['username']}")


@app.command("logout")
def log_out(
    registry: Annotated[str, typer.Argument(help="host and port of the registry, or its URL")],
) -> None:
    """End the login at a registry.

    Example: seawall logout registry.example.com
    """
    try:
        was = credentials.forget(registry)
    except LoginError as error:
        raise ConfigError(str(error)) from None
    print("signed out" if was else "there was no login")


def _url(registry: str) -> str:
    host = credentials.host_of(registry)
    if registry.startswith("http://") and host.rpartition(":")[0] not in _LOOPBACK and host not in _LOOPBACK:
        raise LoginError("a login over http:// can be read on the way; use https://")
    return f"{'http' if registry.startswith('http://') else 'https'}://{host}"


def _has_browser() -> bool:
    if os.environ.get("SSH_CONNECTION") or not sys.stdin.isatty():
        return False
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


def _name() -> str:
    return f"seawall on {platform.node() or 'a computer'}"


def _by_device(url: str, ca_file: str | None, scope: str) -> dict[str, Any]:
    begun = credentials.ask(url, "/oauth/device_authorization", ca_file, scope=scope, client_name=_name())
    print(f"open {begun['verification_uri']} in a browser and enter {begun['user_code']}", flush=True)
    wait, until = int(begun.get("interval", 5)), time.time() + int(begun["expires_in"])
    fields = {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "device_code": str(begun["device_code"]),
    }
    while time.time() < until:
        time.sleep(wait)
        try:
            return credentials.ask(url, "/oauth/token", ca_file, **fields)
        except LoginError as error:
            if error.code == "slow_down":
                wait += 5
            elif error.code in ("", "temporarily_unavailable"):
                # The registry may restart meanwhile.
                wait = min(wait * 2, 30)
            elif error.code != "authorization_pending":
                raise
    raise LoginError("nobody entered the code in time; begin again")


class _Loopback(http.server.HTTPServer):
    answer: dict[str, str] | None = None
    state = ""


class _Catcher(http.server.BaseHTTPRequestHandler):
    server: _Loopback

    def do_GET(self) -> None:
        """The browser comes back with the code; whatever does not know the state is not our browser."""
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        right = secrets.compare_digest(query.get("state", "").encode(), self.server.state.encode())
        if right:
            self.server.answer = query
        text = (
            "Signed in. This page can be closed." if right else "This is not the answer that was waited for."
        )
        self.send_response(200 if right else 400)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_args: Any) -> None:
        """Nothing: the address has the code in it."""


def _by_browser(url: str, ca_file: str | None, scope: str) -> dict[str, Any]:
    verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    with _Loopback(("127.0.0.1", 0), _Catcher) as server:
        server.state = state
        server.timeout = 1
        redirect = f"http://127.0.0.1:{server.server_port}/"
        query = {
            "response_type": "code",
            "client_id": credentials.CLIENT_ID,
            "redirect_uri": redirect,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "state": state,
            "scope": scope,
            "client_name": _name(),
        }
        address = f"{url}/oauth/authorize?{urllib.parse.urlencode(query)}"
        print(f"opening the browser; if it does not open, go to\n{address}", flush=True)
        webbrowser.open(address)
        until = time.time() + _BROWSER_SECONDS
        while server.answer is None and time.time() < until:
            server.handle_request()
        found = server.answer
    if found is None:
        raise LoginError("nobody signed in in time; on a computer without a browser, use --device")
    if "code" not in found:
        raise LoginError("the user refused")
    return credentials.ask(
        url,
        "/oauth/token",
        ca_file,
        grant_type="authorization_code",
        code=found["code"],
        code_verifier=verifier,
        redirect_uri=redirect,
    )


def _name_helper(host: str) -> None:
    """Name docker-credential-seawall for the host in Docker's configuration."""
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    file = folder / "config.json"
    try:
        content: Any = json.loads(file.read_text()) if file.exists() else {}
    except ValueError:
        raise ConfigError(f"{file} is not JSON; correct it, or use --no-docker") from None
    if not isinstance(content, dict) or not isinstance(content.setdefault("credHelpers", {}), dict):
        raise ConfigError(f"{file} is not Docker's configuration; use --no-docker")
    if content["credHelpers"].get(host) == "seawall":
        return
    content["credHelpers"][host] = "seawall"
    # A password that docker login left there would go before the helper.
    if isinstance(content.get("auths"), dict):
        content["auths"].pop(host, None)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = file.with_suffix(".seawall")
    fresh.write_text(json.dumps(content, indent=2) + "\n")
    fresh.chmod(0o600)
    fresh.replace(file)
