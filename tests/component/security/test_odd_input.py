"""What an administrator mistypes, or a stranger makes up, is an error that says so."""

from __future__ import annotations

import json
import secrets

import pytest

from tests.support.api import Api
from tests.support.processes import PASSWORD


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (
            "/registries/ping",
            {"type": "docker-registry", "url": "http://127.0.0.1:9", "internal_networks": ["x"]},
        ),
        ("/registries/ping", {"type": "docker-registry", "url": "http://127.0.0.1:9", "ca_certificate": "x"}),
        ("/registries", {"name": "x", "type": "harbor", "url": "http://127.0.0.1:9", "ca_certificate": "x"}),
        ("/scanners", {"name": "x", "url": "http://[::1"}),
        ("/scanners", {"name": "x", "url": "http://host:port"}),
        ("/scanners/ping", {"name": "x", "url": "http://\u0000/"}),
        ("/scanners/ping", {"name": "x", "url": "http://"}),
        ("/export/cve", {"job_name": "x", "projects": [1 << 64]}),
        ("/export/cve", {"job_name": "x", "projects": [1], "labels": [-(1 << 63) - 1]}),
    ],
)
def test_values_that_are_none(admin: Api, path: str, body: dict[str, object]) -> None:
    answer = admin.post(path, json=body)
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["errors"][0]["message"]


def test_names_that_look_like_others(admin: Api) -> None:
    name = f"u{secrets.token_hex(4)}"

    def create(username: str) -> int:
        mail = f"{secrets.token_hex(4)}@example.com"
        person = {"username": username, "email": mail, "realname": "x", "password": PASSWORD}
        # Escaped: httpx cannot send half of a surrogate pair otherwise.
        head = {"Content-Type": "application/json"}
        return admin.post("/users", content=json.dumps(person), headers=head).status_code

    assert create(name) == 201
    assert create(name.upper()) == 409
    assert create("ADMIN") == 409
    for odd in (f"{name}\u0000", f"{name}\u200b", f"\u202e{name}", f"{name}\ud800", f"{name}\x7f"):
        assert create(odd) in (400, 422), repr(odd)
