"""Nobody keeps, lends or widens a right that was not given: administrators, robots, scanners."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from typing import Any

import httpx

from seawall.access.rbac import ROBOT_PROJECT, ROLE_IDS, ROLES
from tests.support.api import PREFIX, Api
from tests.support.processes import PASSWORD
from tests.support.registry import Registry
from tests.support.scan import spec


def robot(maker: Api, duration: int, *pairs: tuple[str, str]) -> httpx.Response:
    """The answer to making a system robot with these permissions on the system."""
    access = [{"resource": resource, "action": action} for resource, action in pairs]
    body = {
        "name": f"r{secrets.token_hex(4)}",
        "level": "system",
        "duration": duration,
        "permissions": [{"kind": "system", "namespace": "/", "access": access}],
    }
    return maker.post("/robots", json=body)


def as_robot(as_user: Callable[..., Api], answer: httpx.Response) -> Api:
    """A client with the new robot's credentials."""
    assert answer.status_code == 201, answer.text
    made = answer.json()
    return as_user(made["name"], made["secret"])


def test_a_robot_makes_none_that_outlives_it(admin: Api, as_user: Callable[..., Api]) -> None:
    one_day = as_robot(as_user, robot(admin, 1, ("robot", "create"), ("robot", "read")))
    for duration in (-1, 2, 30):
        answer = robot(one_day, duration, ("robot", "read"))
        assert answer.status_code == 403, answer.text
        assert "outlives" in answer.text
    month = as_robot(as_user, robot(admin, 30, ("robot", "create"), ("robot", "read")))
    assert robot(month, 29, ("robot", "read")).status_code == 201
    endless = as_robot(as_user, robot(admin, -1, ("robot", "create"), ("robot", "read")))
    assert robot(endless, -1, ("robot", "read")).status_code == 201


def test_a_robot_does_not_touch_administrators(admin: Api, as_user: Callable[..., Api]) -> None:
    rights = [("user", action) for action in ("create", "read", "update", "list", "delete")]
    client = as_robot(as_user, robot(admin, 1, *rights))
    boss, _ = admin.user()
    assert admin.put(f"/users/{boss}/sysadmin", json={"sysadmin_flag": True}).status_code == 200
    other, name = admin.user()
    profile = {"email": "taken@example.com", "realname": "x", "comment": ""}
    for user_id in (1, boss):
        assert client.put(f"/users/{user_id}", json=profile).status_code == 403
        assert client.delete(f"/users/{user_id}").status_code == 403
        assert client.put(f"/users/{user_id}/sysadmin", json={"sysadmin_flag": False}).status_code == 403
    # A password that it set would let it in as that user, a project's administrator for one.
    for user_id in (1, boss, other):
        answer = client.put(f"/users/{user_id}/password", json={"new_password": "Stolen1234"})
        assert answer.status_code == 403
    assert as_user(name).get("/users/current").status_code == 200
    assert client.delete(f"/users/{other}").status_code == 200


def test_a_robot_gives_no_role_that_is_more_than_its_rights(admin: Api, as_user: Callable[..., Api]) -> None:
    project = admin.project()
    _, name = admin.user()
    _, other = admin.user()

    def with_rights(*pairs: tuple[str, str]) -> Api:
        access = [{"resource": resource, "action": action} for resource, action in pairs]
        body = {
            "name": f"r{secrets.token_hex(4)}",
            "level": "project",
            "duration": 1,
            "permissions": [{"kind": "project", "namespace": project, "access": access}],
        }
        return as_robot(as_user, admin.post("/robots", json=body))

    members = [("member", action) for action in ("create", "update", "list", "read")]
    manager = with_rights(*members, ("repository", "pull"))
    reader = with_rights(*members, *(pair for pair in ROLES["limitedGuest"] if pair in ROBOT_PROJECT),
                         ("project", "read"))  # fmt: skip
    path = f"/projects/{project}/members"
    for number in ROLE_IDS.values():
        body = {"role_id": number, "member_user": {"username": name}}
        assert manager.post(path, json=body).status_code == 403
    # What it has itself it may give, and no more later.
    answer = reader.post(path, json={"role_id": ROLE_IDS["limitedGuest"], "member_user": {"username": name}})
    assert answer.status_code == 201, answer.text
    made = answer.headers["Location"].rpartition("/")[2]
    for higher in ("guest", "developer", "maintainer", "projectAdmin"):
        assert reader.put(f"{path}/{made}", json={"role_id": ROLE_IDS[higher]}).status_code == 403
    body = {"role_id": ROLE_IDS["projectAdmin"], "member_user": {"username": other}}
    assert with_rights(*ROBOT_PROJECT).post(path, json=body).status_code == 201


def signed_in(registry: Registry, name: str) -> httpx.Client:
    """A browser with a session of the user."""
    browser = httpx.Client(base_url=registry.url, timeout=60)
    token = browser.get(f"{PREFIX}/systeminfo").headers["X-Harbor-CSRF-Token"]
    form = {"principal": name, "password": PASSWORD}
    answer = browser.post("/c/login", data=form, headers={"X-Harbor-CSRF-Token": token})
    assert answer.status_code == 200, answer.text
    return browser


def test_who_gives_up_administration_has_lost_it(registry: Registry, admin: Api) -> None:
    user_id, name = admin.user()
    assert admin.put(f"/users/{user_id}/sysadmin", json={"sysadmin_flag": True}).status_code == 200
    with contextlib.closing(signed_in(registry, name)) as browser:
        answer = browser.get(f"{PREFIX}/users")
        assert answer.status_code == 200
        header = {"X-Harbor-CSRF-Token": answer.headers["X-Harbor-CSRF-Token"]}
        path = f"{PREFIX}/users/{user_id}/sysadmin"
        assert browser.put(path, json={"sysadmin_flag": False}, headers=header).status_code == 200
        assert browser.get(f"{PREFIX}/users").status_code in (401, 403)
    # Taken by somebody else, behind the session's back, it is gone as well.
    assert admin.put(f"/users/{user_id}/sysadmin", json={"sysadmin_flag": True}).status_code == 200
    with contextlib.closing(signed_in(registry, name)) as browser:
        assert admin.put(f"/users/{user_id}/sysadmin", json={"sysadmin_flag": False}).status_code == 200
        assert browser.get(f"{PREFIX}/users").status_code in (401, 403)


def test_a_public_project_does_not_say_where_the_scanner_is(
    admin: Api, anonymous: Api, as_user: Callable[..., Api]
) -> None:
    adapter = spec.Adapter(spec.TRIVY, [])
    with adapter.serve():
        url = adapter.url
        made = admin.post("/scanners", json={"name": f"s{secrets.token_hex(4)}", "url": url})
    assert made.status_code == 201, made.text
    uuid = made.headers["Location"].rpartition("/")[2]
    project = admin.project(public="true")
    assert admin.put(f"/projects/{project}/scanner", json={"uuid": uuid}).status_code == 200
    _, stranger = admin.user()
    _, guest = admin.user()
    admin.member(project, guest, 3)
    for client in (anonymous, as_user(stranger), as_user(guest)):
        shown: dict[str, Any] = client.get(f"/projects/{project}/scanner").json()
        assert shown["uuid"] == uuid
        assert shown["url"] == ""
        # "unhealthy" would say that the adapter was asked.
        assert shown.get("health") is None
    assert admin.get(f"/projects/{project}/scanner").json()["url"] == url


def test_https_is_kept_to(registry: Registry) -> None:
    assert "Strict-Transport-Security" not in httpx.get(f"{registry.url}/healthz").headers
