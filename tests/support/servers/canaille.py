"""Canaille, an OpenID provider, on a free loopback port, with users and groups.

Run as a module it is the server (Canaille's own application, keys and login pages, over its in-memory
store); imported, it is what starts and drives it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

CLIENT_ID, CLIENT_SECRET = "seawall", "Provider-secret-12345"


def password_of(user: str) -> str:
    """The password of a user of the provider."""
    return f"{user}-Passw0rd-9f3k"


class Canaille:
    """The provider as a child process. `users` maps names to their groups."""

    def __init__(self, root: Path, port: int, redirect_uri: str, users: dict[str, list[str]]) -> None:
        self.root, self.port = root, port
        self.url = f"http://127.0.0.1:{port}"
        self._setup = {"port": port, "redirect_uri": redirect_uri, "users": users}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait for its discovery document."""
        command = [sys.executable, "-m", "tests.support.servers.canaille", json.dumps(self._setup)]
        with (self.root / "canaille.log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while True:
            try:
                if httpx.get(f"{self.url}/.well-known/openid-configuration").status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            assert self.process.poll() is None, (self.root / "canaille.log").read_text()
            assert time.monotonic() < deadline, "the provider did not start"
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop it."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)
            self.process = None

    def sign_in(self, browser: httpx.Client, address: str, user: str) -> str:
        """Go to the provider at `address`, sign in as `user`; returns where it sends the browser back to."""
        response = browser.get(address)
        for _ in range(10):
            if response.is_redirect:
                address = str(response.next_request.url) if response.next_request else ""
                if not address.startswith(self.url):
                    return address
                response = browser.get(address)
                continue
            fields = dict(re.findall(r'<input[^>]*name="([^"]+)"[^>]*value="([^"]*)"', response.text))
            form = {"csrf_token": fields.get("csrf_token", ""), "answer": "y"}
            if 'name="login"' in response.text:
                form["login"] = user
            if 'name="password"' in response.text:
                form["password"] = password_of(user)
            response = browser.post(str(response.url), data=form)
        raise AssertionError(f"the provider does not let {user} in: {response.text[:2000]}")


def _serve(setup: dict[str, Any]) -> None:
    from canaille import create_app
    from canaille.app import models
    from canaille.backends import Backend
    from werkzeug.serving import run_simple

    app = create_app(
        {
            "SECRET_KEY": "only-for-tests" * 4,
            "SERVER_NAME": f"127.0.0.1:{setup['port']}",
            "PREFERRED_URL_SCHEME": "http",
            "CANAILLE": {"DATABASE": "memory", "ACL": {"DEFAULT": {"PERMISSIONS": ["use_oidc"]}}},
            "CANAILLE_OIDC": {},
        },
        init_backend=True,
    )
    with app.app_context(), Backend.instance.session():
        groups: dict[str, list[Any]] = {}
        for name, held in setup["users"].items():
            user = models.User(
                user_name=name,
                formatted_name=f"The {name}",
                family_name=name,
                emails=[f"{name}@provider.test"],
                password=password_of(name),
            )
            Backend.instance.save(user)
            for group in held:
                groups.setdefault(group, []).append(user)
        for name, people in groups.items():
            Backend.instance.save(models.Group(display_name=name, members=people))
        client = models.Client(
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            client_name="Seawall",
            client_uri=f"http://127.0.0.1:{setup['port']}",
            redirect_uris=[setup["redirect_uri"]],
            post_logout_redirect_uris=[setup["redirect_uri"].removesuffix("c/oidc/callback")],
            grant_types=["authorization_code", "refresh_token"],
            response_types=["code"],
            scope=["openid", "profile", "email", "groups"],
            token_endpoint_auth_method="client_secret_basic",
        )
        Backend.instance.save(client)
        client.audience = [client]
        Backend.instance.save(client)
    run_simple("127.0.0.1", setup["port"], app, threaded=True)


if __name__ == "__main__":
    _serve(json.loads(sys.argv[1]))
