"""A client of the management API."""

from __future__ import annotations

import secrets

import httpx

from tests.support.processes import PASSWORD
from tests.support.registry import Registry

PREFIX = "/api/v2.0"


class Api(httpx.Client):
    """A client of one server's management API."""

    def __init__(self, registry: Registry, auth: tuple[str, str] | None = None) -> None:
        super().__init__(base_url=registry.url + PREFIX, auth=auth, timeout=60)

    def made(self, path: str, body: object) -> int:
        """POST, which must succeed; returns the id in Location."""
        response = self.post(path, json=body)
        assert response.status_code == 201, f"{path}: {response.status_code} {response.text}"
        return int(response.headers["Location"].rpartition("/")[2])

    def project(self, **metadata: str) -> str:
        """A new project's name."""
        name = f"p{secrets.token_hex(5)}"
        self.made("/projects", {"project_name": name, "metadata": metadata})
        return name

    def user(self) -> tuple[int, str]:
        """A new user's id and name; the password is PASSWORD."""
        name = f"u{secrets.token_hex(5)}"
        return self.made("/users", {"username": name, "password": PASSWORD}), name

    def member(self, project: str, username: str, role: int) -> int:
        """Make the user a member; returns the member's id."""
        body = {"role_id": role, "member_user": {"username": username}}
        return self.made(f"/projects/{project}/members", body)


def code(response: httpx.Response) -> str:
    """The code in Harbor's envelope; there must be exactly one error."""
    [error] = response.json()["errors"]
    assert error["message"]
    return str(error["code"])
