"""What a page of somebody else can do with a signed-in browser, and a stranger with a new installation."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from seawall.access.accounts import ensure_admin
from seawall.access.tables import robots, users
from seawall.infra.db import migrate, open_database
from seawall.registry.projects import make_library
from tests.support import openapi
from tests.support.api import Api
from tests.support.registry import Registry

HEADER = "X-Harbor-CSRF-Token"


def changing() -> list[tuple[str, str]]:
    """(method, path) of every operation of the API that is no mere question."""
    found = []
    for path, item in openapi.document()["paths"].items():
        for method in item:
            if method in {"post", "put", "patch", "delete"}:
                filled = path
                while "{" in filled:
                    start, end = filled.index("{"), filled.index("}")
                    filled = filled[:start] + "1" + filled[end + 1 :]
                found.append((method.upper(), filled))
    return found


@pytest.fixture
def browser(registry: Registry) -> httpx.Client:
    """A browser in which the administrator is signed in."""
    client = httpx.Client(base_url=registry.url, timeout=60)
    token = client.get("/api/v2.0/systeminfo").headers[HEADER]
    name, password = registry.admin
    answer = client.post("/c/login", data={"principal": name, "password": password}, headers={HEADER: token})
    assert answer.status_code == 200, answer.text
    assert "samesite=lax" in answer.headers["Set-Cookie"].lower()
    return client


def test_no_change_without_the_token(registry: Registry, browser: httpx.Client) -> None:
    """CVE-2019-19025, CVE-2023-4959 (Quay): each route by itself, as another site's page would send it."""
    elsewhere = {"Origin": "https://evil.example", "Referer": "https://evil.example/"}
    operations = changing()
    assert len(operations) > 90
    passed = []
    for method, path in operations:
        for kind in ("application/json", "text/plain"):
            headers = {**elsewhere, "Content-Type": kind}
            answer = browser.request(method, path, content=b"{}", headers=headers)
            if answer.status_code != 403 or "CSRF" not in answer.text:
                passed.append((method, path, kind, answer.status_code))
    assert passed == []
    # The token of another session, and one from nowhere, are none.
    other = httpx.get(f"{registry.url}/api/v2.0/systeminfo", timeout=60).headers[HEADER]
    for token in (other, "", "null", "1.."):
        answer = browser.post("/api/v2.0/projects", json={"project_name": "forged"}, headers={HEADER: token})
        assert answer.status_code == 403, token
    assert browser.get("/api/v2.0/users/current").status_code == 200
    assert browser.head("/api/v2.0/projects", params={"project_name": "forged"}).status_code == 404
    # Nor is the session's cookie taken where programs talk: no page makes a browser push or fetch a token.
    for path in ("/service/token", "/v2/_catalog"):
        answer = browser.get(path, params={"scope": "registry:catalog:*"})
        assert answer.status_code == 401 or "catalog" not in answer.text
    assert browser.post("/v2/library/x/blobs/uploads/").status_code == 401
    browser.close()


def test_no_password_is_known_before(tmp_path: Path) -> None:
    """CVE-2026-4404."""
    made = set()
    for number in range(2):
        url = f"sqlite:///{tmp_path}/{number}.db"
        migrate.upgrade(url)
        db = open_database(url)
        password = ensure_admin(db, None, make_library)
        assert password is not None
        assert len(password) >= 16
        made.add(password)
        asyncio.run(db.close())
    assert len(made) == 2


def test_secrets_are_hashes_in_the_database(registry: Registry, admin: Api) -> None:
    """CVE-2019-10205 (Quay)."""
    _, name = admin.user()
    project = admin.project()
    access = [{"resource": "repository", "action": "pull"}]
    body = {
        "name": f"r{secrets.token_hex(4)}",
        "level": "project",
        "duration": 1,
        "permissions": [{"kind": "project", "namespace": project, "access": access}],
    }
    made = admin.post("/robots", json=body).json()
    url = registry.environment.get("SEAWALL_DATABASE__URL") or f"sqlite:///{registry.data_dir}/seawall.db"
    db = open_database(url)
    robot = db.sync_read(lambda c: c.execute(select(robots).where(robots.c.id == made["id"])).one())
    user = db.sync_read(lambda c: c.execute(select(users).where(users.c.username == name)).one())
    asyncio.run(db.close())
    assert robot.secret_hash.startswith("$argon2id$")
    assert user.password_hash.startswith("$argon2id$")
    assert made["secret"] not in str(tuple(robot))
