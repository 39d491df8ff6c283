"""Cases about users, administrators and robot accounts."""

from __future__ import annotations

import time
from typing import Any

from tests.support.harbor.caller import Caller, artifact
from tests.support.registry import Registry


def test_the_administrators_flag_counts_at_once(admin: Caller) -> None:
    user_id, user = admin.user()
    for flag, expect, minutes in ((True, 200, 60), (False, 403, 70), (True, 200, 80)):
        admin.call("PUT", f"/users/{user_id}/sysadmin", body={"sysadmin_flag": flag})
        user.call("PUT", "/configurations", expect, {"token_expiration": minutes})
    assert admin.call("GET", "/configurations")["token_expiration"]["value"] == 80
    admin.call("PUT", "/configurations", body={"token_expiration": 30})


def test_the_life_of_a_user(admin: Caller, site: Registry) -> None:
    user_id, user = admin.user()
    assert admin.call("GET", "/users", page_size=100)
    me = user.call("GET", "/users/current")
    assert (me["username"], me["user_id"], me["sysadmin_flag"]) == (user.name, user_id, False)
    assert user.call("GET", "/users/search", username=user.name) == [
        {"user_id": user_id, "username": user.name}
    ]
    profile = {"email": f"new-{user_id}@example.test", "realname": "New", "comment": "For testing"}
    user.call("PUT", f"/users/{user_id}", body=profile)
    shown = user.call("GET", f"/users/{user_id}")
    assert {key: shown[key] for key in profile} == profile
    admin.call("PUT", f"/users/{user_id}/sysadmin", body={"sysadmin_flag": True})
    assert user.call("GET", f"/users/{user_id}")["sysadmin_flag"] is True
    new, newest = "Aa1234567-New", "Aa1234567-New-Edit"
    user.call("PUT", f"/users/{user_id}/password", body={"old_password": user.password, "new_password": new})
    refused = user.call("GET", "/users/search", 401, username=user.name)
    assert "unauthorized" in str(refused).lower()
    user = Caller(site, user.name, new)
    admin.call("PUT", f"/users/{user_id}/password", body={"old_password": new, "new_password": newest})
    user.call("GET", "/users/search", 401, username=user.name)
    user = Caller(site, user.name, newest)
    assert user.call("GET", "/users/current/permissions", scope="/project/1/repository", relative=True)
    admin.call("DELETE", f"/users/{user_id}")
    assert f"user {user_id} not found" in str(admin.call("GET", f"/users/{user_id}", 404))


def test_the_allowlist_of_the_system(admin: Caller) -> None:
    user_id, user = admin.user()
    path = "/system/CVEAllowlist"
    assert user.call("GET", path)["items"] == []
    items = [{"cve_id": "CVE-2019-12310"}]
    user.call("PUT", path, 403, {"items": items})
    admin.call("PUT", f"/users/{user_id}/sysadmin", body={"sysadmin_flag": True})
    user.call("PUT", path, body={"items": items})
    shown = user.call("GET", path)
    assert (shown["items"], shown.get("expires_at")) == (items, None)
    ends = int(time.time()) + 3600
    user.call("PUT", path, body={"items": items, "expires_at": ends})
    assert user.call("GET", path)["expires_at"] == ends
    admin.call("PUT", path, body={"items": []})


# The rights that a system robot has in each of four projects, in this order.
RIGHTS = (
    ("repository", "pull"),
    ("repository", "push"),
    ("artifact", "delete"),
    ("tag", "create"),
    ("tag", "delete"),
    ("artifact-label", "create"),
    ("scan", "create"),
)
GIVEN = ("1110101", "0000110", "1011011", "0000110")


def access(given: str) -> list[dict[str, str]]:
    return [
        {"resource": resource, "action": action}
        for (resource, action), has in zip(RIGHTS, given, strict=True)
        if has == "1"
    ]


def test_a_robot_of_a_project(admin: Caller) -> None:
    _, user = admin.user()
    names = [user.project(public=public)[1] for public in (False, False, True)]
    for name in names:
        user.image(f"{name}/app")
    own, other, public = names
    both = [{"kind": "project", "namespace": own, "access": access("1100000")}]
    robot_id, robot = user.robot("project", both)
    assert user.call("GET", f"/robots/{robot_id}")["name"] == robot.name
    robot.pull(f"{own}/app", "latest")
    robot.image(f"{own}/more")
    assert "unauthorized to access repository" in robot.refused_push(f"{other}/app")
    assert "unauthorized to access repository" in robot.pull(f"{other}/app", "latest", 403).text
    robot.pull(f"{public}/app", "latest")
    assert "unauthorized to access repository" in robot.refused_push(f"{public}/app")
    shown = user.call("GET", f"/robots/{robot_id}")
    user.call("PUT", f"/robots/{robot_id}", body={**shown, "disable": True})
    robot.pull(f"{own}/app", "latest", 401)
    robot.refused_push(f"{own}/app")
    user.call("DELETE", f"/robots/{robot_id}")
    _, stranger = admin.user()
    _, foreign = stranger.project(public=True)
    body = {"name": "r", "level": "project", "duration": 30}
    theirs = [{"kind": "project", "namespace": foreign, "access": access("1100000")}]
    user.call("POST", "/robots", 403, {**body, "permissions": theirs})


def test_a_robot_of_the_system(admin: Caller, site: Registry) -> None:
    projects = [admin.project() for _ in GIVEN]
    permissions: list[dict[str, Any]] = [
        {"kind": "project", "namespace": name, "access": access(given)}
        for (_, name), given in zip(projects, GIVEN, strict=True)
    ]
    robot_id, robot = admin.robot("system", permissions)
    for (project, name), given in zip(projects, GIVEN, strict=True):
        pull, push, drop, tag, untag, label, scan = (has == "1" for has in given)
        if push:
            robot.image(f"{name}/pushed")
        else:
            assert "unauthorized to access repository" in robot.refused_push(f"{name}/pushed")
        app = f"{name}/app"
        admin.image(app, "latest", "for_delete")
        refused = robot.pull(app, "latest", 200 if pull else 403).text
        assert pull or f"unauthorized to access repository: {app}, action: pull" in refused
        robot.tag(app, "latest", "1.0", 201 if tag else 403)
        robot.call("DELETE", f"{artifact(app, 'latest')}/tags/for_delete", 200 if untag else 403)
        number = admin.made("/labels", {"name": "mine", "scope": "p", "project_id": project})
        robot.call("POST", f"{artifact(app, 'latest')}/labels", 200 if label else 403, {"id": number})
        robot.scan(app, "latest", expect=202 if scan else 403)
        robot.call("DELETE", artifact(app, "latest"), 200 if drop else 403)
    pushable = projects[0][1]
    body = {"name": robot.name, "level": "system", "permissions": permissions}
    admin.call("PUT", f"/robots/{robot_id}", body={**body, "disable": True})
    robot.refused_push(f"{pushable}/off")
    admin.call("PUT", f"/robots/{robot_id}", body={**body, "disable": False})
    robot.image(f"{pushable}/on")
    secret = "new_secret_At_321"
    admin.call("PATCH", f"/robots/{robot_id}", body={"secret": secret})
    robot.refused_push(f"{pushable}/old")
    robot = Caller(site, robot.name, secret)
    robot.image(f"{pushable}/new")
    extra_id, extra = admin.project(public=True)
    more = [*permissions, {"kind": "project", "namespace": extra, "access": access("1110101")}]
    admin.call("PUT", f"/robots/{robot_id}", body={**body, "permissions": more})
    robot.image(f"{extra}/app")
    admin.call("PUT", f"/robots/{robot_id}", body=body)
    assert "unauthorized to access repository" in robot.refused_push(f"{extra}/app")
    admin.call("DELETE", f"/projects/{extra}/repositories/app")
    admin.call("DELETE", f"/projects/{extra_id}")
    assert robot_id in [item["id"] for item in admin.call("GET", "/robots", page_size=100)]
    admin.call("DELETE", f"/robots/{robot_id}")
    robot.refused_push(f"{pushable}/gone")
    everywhere = [{"kind": "project", "namespace": "*", "access": access("1111111")}]
    _, robot = admin.robot("system", everywhere)
    for _, name in projects:
        robot.image(f"{name}/everywhere")
