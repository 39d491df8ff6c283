"""Users, members, groups and robots over HTTP, on both databases."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.support.api import Api, code
from tests.support.oci.client import unique
from tests.support.processes import PASSWORD
from tests.support.registry import Registry
from tests.support.waiting import until

NEW = "Another-12345"


def test_user_life(admin: Api, as_user: Callable[..., Api], anonymous: Api) -> None:
    user_id, name = admin.user()
    again = admin.post("/users", json={"username": name, "password": PASSWORD})
    assert (again.status_code, code(again)) == (409, "CONFLICT")
    weak = admin.post("/users", json={"username": name + "x", "password": "weak"})
    assert weak.status_code == 400
    me = as_user(name)
    current = me.get("/users/current").json()
    assert (current["user_id"], current["username"], current["sysadmin_flag"]) == (user_id, name, False)
    assert "password" not in str(current)
    assert me.put(f"/users/{user_id}", json={"email": f"{name}@x.test", "realname": "R"}).status_code == 200
    assert admin.get(f"/users/{user_id}").json()["email"] == f"{name}@x.test"
    assert me.get("/users/1").status_code == 403
    assert me.get("/users").status_code == 403
    assert anonymous.get("/users/current").status_code == 401
    assert me.get("/users/search", params={"username": name[1:]}).json() == [
        {"user_id": user_id, "username": name}
    ]
    assert me.put(f"/users/{user_id}/sysadmin", json={"sysadmin_flag": True}).status_code == 403
    wrong = me.put(f"/users/{user_id}/password", json={"old_password": "x", "new_password": NEW})
    assert wrong.status_code == 403
    right = me.put(f"/users/{user_id}/password", json={"old_password": PASSWORD, "new_password": NEW})
    assert right.status_code == 200
    assert me.get("/users/current").status_code == 401
    assert as_user(name, NEW).get("/users/current").status_code == 200
    assert admin.put(f"/users/{user_id}/cli_secret", json={"secret": NEW}).status_code == 412
    assert admin.put(f"/users/{user_id}/sysadmin", json={"sysadmin_flag": True}).status_code == 200
    # As the Terraform provider says no: it leaves false out, and sends all that it knows of the user.
    assert admin.put(f"/users/{user_id}/sysadmin", json={"username": name}).status_code == 200
    assert admin.get(f"/users/{user_id}").json()["sysadmin_flag"] is False
    assert admin.put(f"/users/{user_id}/sysadmin", json={"sysadmin_flag": True}).status_code == 200
    assert as_user(name, NEW).get("/users").status_code == 200
    found = admin.get("/users", params={"q": f"username=~{name}"})
    assert found.headers["X-Total-Count"] == "1"
    assert admin.delete("/users/1").status_code == 403
    assert admin.delete(f"/users/{user_id}").status_code == 200
    assert admin.get(f"/users/{user_id}").status_code == 404
    assert as_user(name, NEW).get("/users/current").status_code == 401


def test_one_name_whatever_the_case_of_its_letters(admin: Api) -> None:
    """Beyond ASCII too, whose case the databases do not know; `_` stands for itself."""
    mark = unique("x")
    for taken in (f"Übung_{mark}", f"Übung-{mark}"):
        assert admin.post("/users", json={"username": taken, "password": PASSWORD}).status_code == 201
        for same in (taken, taken.upper(), taken.lower()):
            again = admin.post("/users", json={"username": same, "password": PASSWORD})
            assert (again.status_code, code(again)) == (409, "CONFLICT")


def test_members_and_roles(admin: Api, as_user: Callable[..., Api]) -> None:
    project = admin.project()
    _, name = admin.user()
    me = as_user(name)
    assert me.get(f"/projects/{project}").status_code == 403
    assert me.get("/projects", params={"name": project}).json() == []
    member = admin.member(project, name, 3)
    assert me.get(f"/projects/{project}").json()["current_user_role_id"] == 3
    assert [item["name"] for item in me.get("/projects", params={"name": project}).json()] == [project]
    body = {"role_id": 3, "member_user": {"username": name}}
    assert admin.post(f"/projects/{project}/members", json=body).status_code == 409
    body = {"role_id": 9, "member_user": {"username": name}}
    assert admin.post(f"/projects/{project}/members", json=body).status_code == 400
    listed = me.get(f"/projects/{project}/members", params={"entityname": name}).json()
    assert listed == [
        {
            "id": member,
            "project_id": listed[0]["project_id"],
            "entity_name": name,
            "role_name": "guest",
            "role_id": 3,
            "entity_id": listed[0]["entity_id"],
            "entity_type": "u",
        }
    ]
    assert me.put(f"/projects/{project}/members/{member}", json={"role_id": 1}).status_code == 403
    assert admin.put(f"/projects/{project}/members/{member}", json={"role_id": 1}).status_code == 200
    assert me.put(f"/projects/{project}", json={"metadata": {"public": "true"}}).status_code == 200
    permissions = me.get(
        "/users/current/permissions",
        params={"scope": f"/project/{listed[0]['project_id']}", "relative": "true"},
    ).json()
    assert {"resource": ".", "action": "delete"} in permissions
    assert {"resource": "robot", "action": "create"} in permissions
    other = admin.project()
    assert admin.get(f"/projects/{other}/members/{member}").status_code == 404
    assert admin.delete(f"/projects/{project}/members/{member}").status_code == 200
    assert me.get(f"/projects/{project}/members").status_code == 403


def test_groups(admin: Api, as_user: Callable[..., Api]) -> None:
    project = admin.project()
    group = admin.made("/usergroups", {"group_name": f"g-{project}", "group_type": 3})
    assert admin.post("/usergroups", json={"group_name": f"g-{project}", "group_type": 3}).status_code == 409
    assert admin.post("/usergroups", json={"group_name": "x", "group_type": 1}).status_code == 400
    body = {"role_id": 2, "member_group": {"id": group}}
    member = admin.made(f"/projects/{project}/members", body)
    found = admin.get(f"/projects/{project}/members/{member}").json()
    assert (found["entity_type"], found["entity_name"]) == ("g", f"g-{project}")
    _, name = admin.user()
    me = as_user(name)
    assert me.get("/usergroups").status_code == 403
    assert me.get("/usergroups/search", params={"groupname": project}).json() == [
        {"id": group, "group_name": f"g-{project}", "group_type": 3}
    ]
    assert admin.put(f"/usergroups/{group}", json={"group_name": f"h-{project}"}).status_code == 200
    assert admin.get(f"/usergroups/{group}").json()["group_name"] == f"h-{project}"
    assert admin.delete(f"/usergroups/{group}").status_code == 200
    assert admin.get(f"/projects/{project}/members/{member}").status_code == 404


def test_project_admins_make_up_no_groups(admin: Api, as_user: Callable[..., Api]) -> None:
    project = admin.project()
    _, name = admin.user()
    admin.member(project, name, 1)
    me = as_user(name)
    # Users sign in by passwords here, so a group comes with nobody: it could only mislead who looks for it.
    for kind, dn in ((3, ""), (2, ""), (1, "cn=admins,dc=example")):
        made_up = {"group_name": f"ops-{project}", "group_type": kind, "ldap_group_dn": dn}
        answer = me.post(f"/projects/{project}/members", json={"role_id": 2, "member_group": made_up})
        assert (answer.status_code, code(answer)) == (400, "BAD_REQUEST"), answer.text
    assert me.get("/usergroups/search", params={"groupname": f"ops-{project}"}).json() == []
    # A group that is known may be a member.
    group = admin.made("/usergroups", {"group_name": f"ops-{project}", "group_type": 3})
    known = {"group_name": f"ops-{project}", "group_type": 3}
    assert me.made(f"/projects/{project}/members", {"role_id": 2, "member_group": known})
    assert me.get("/usergroups/search", params={"groupname": f"ops-{project}"}).json()[0]["id"] == group


def _grant(namespace: str, *pairs: tuple[str, str], kind: str = "project") -> dict[str, Any]:
    return {
        "kind": kind,
        "namespace": namespace,
        "access": [{"resource": resource, "action": action} for resource, action in pairs],
    }


PULL = (("repository", "pull"),)
PUSH = (("repository", "pull"), ("repository", "push"))


def test_project_robot(admin: Api, as_user: Callable[..., Api], registry: Registry) -> None:
    project, other = admin.project(), admin.project()
    body = {"name": "ci", "level": "project", "duration": 1, "permissions": [_grant(project, *PUSH)]}
    made = admin.post("/robots", json=body)
    assert made.status_code == 201, made.text
    robot = made.json()
    assert robot["name"] == f"robot${project}+ci"
    assert abs(robot["expires_at"] - time.time() - 86400) < 60
    assert admin.post("/robots", json=body).status_code == 409
    stranger = {**body, "name": "x", "permissions": [_grant("*", *PUSH)]}
    assert admin.post("/robots", json=stranger).status_code == 404
    shown = admin.get(f"/robots/{robot['id']}").json()
    assert robot["secret"] not in str(shown)
    assert shown["level"] == "project"
    # The registry knows it, by Basic and by token.
    auth = (robot["name"], robot["secret"])
    upload = httpx.post(f"{registry.url}/v2/{project}/a/blobs/uploads/", auth=auth)
    assert upload.status_code == 202
    assert httpx.post(f"{registry.url}/v2/{other}/a/blobs/uploads/", auth=auth).status_code == 403
    scope = f"repository:{project}/a:pull,push,delete"
    token = httpx.get(f"{registry.url}/service/token", params={"scope": scope}, auth=auth).json()["token"]
    bearer = {"Authorization": f"Bearer {token}"}
    tags = httpx.get(f"{registry.url}/v2/{project}/a/tags/list", headers=bearer)
    assert tags.status_code in (200, 404)
    assert httpx.delete(f"{registry.url}/v2/{project}/a/manifests/x", headers=bearer).status_code == 401
    # And the API, within its permissions.
    me = as_user(*auth)
    assert me.get(f"/projects/{project}").status_code == 403
    assert me.post("/projects", json={"project_name": "robots-own"}).status_code == 403
    # A member with enough rights manages it; others do not see it.
    _, name = admin.user()
    admin.member(project, name, 2)
    developer = as_user(name)
    assert developer.get(f"/robots/{robot['id']}").status_code == 200
    assert developer.delete(f"/robots/{robot['id']}").status_code == 403
    assert as_user(admin.user()[1]).get(f"/robots/{robot['id']}").status_code == 403
    project_id = admin.get(f"/projects/{project}").json()["project_id"]
    listed = developer.get("/robots", params={"q": f"Level=project,ProjectID={project_id}"})
    assert [item["id"] for item in listed.json()] == [robot["id"]]
    # A new secret takes the old one's place at once; a disabled robot is nobody.
    fresh = admin.patch(f"/robots/{robot['id']}", json={"secret": ""}).json()["secret"]
    assert me.get("/statistics").status_code == 401
    renewed = as_user(robot["name"], fresh)
    assert renewed.get("/statistics").status_code == 200
    update = {**shown, "disable": True}
    assert admin.put(f"/robots/{robot['id']}", json=update).status_code == 200
    assert renewed.get("/statistics").status_code == 401
    assert admin.delete(f"/robots/{robot['id']}").status_code == 200
    assert admin.get(f"/robots/{robot['id']}").status_code == 404


def test_system_robot(admin: Api, as_user: Callable[..., Api]) -> None:
    project = admin.project()
    grants = [
        _grant("/", ("project", "create"), ("robot", "create"), kind="system"),
        _grant("*", ("project", "read"), ("repository", "pull")),
    ]
    body = {"name": f"s{project}", "level": "system", "duration": -1, "permissions": grants}
    robot = admin.post("/robots", json=body).json()
    assert robot["expires_at"] == -1
    me = as_user(robot["name"], robot["secret"])
    assert me.get(f"/projects/{project}").status_code == 200
    assert me.get(f"/projects/{project}/members").status_code == 403
    assert me.get("/users").status_code == 403
    assert me.post("/projects", json={"project_name": f"{project}-r"}).status_code == 201
    assert admin.get(f"/projects/{project}-r").json()["owner_name"] == "admin"
    # No robot gives more than it has.
    more = {**body, "name": f"m{project}", "permissions": [_grant("*", ("repository", "push"))]}
    assert me.post("/robots", json=more).status_code == 403
    same = {**body, "name": f"n{project}", "permissions": [_grant(project, ("repository", "pull"))]}
    assert me.post("/robots", json=same).status_code == 201
    unknown = {**body, "name": f"k{project}", "permissions": [_grant("*", ("repository", "fly"))]}
    assert admin.post("/robots", json=unknown).status_code == 400


def test_permissions_list(admin: Api, as_user: Callable[..., Api]) -> None:
    everything = admin.get("/permissions").json()
    assert {"resource": "repository", "action": "push"} in everything["project"]
    assert {"resource": "project", "action": "create"} in everything["system"]
    project = admin.project()
    _, name = admin.user()
    me = as_user(name)
    assert me.get("/permissions").status_code == 403
    admin.member(project, name, 1)
    assert "system" not in me.get("/permissions").json()


@pytest.mark.parametrize("path", ["/projects", "/users", "/usergroups", "/audit-logs", "/robots"])
def test_secrets_are_not_shown(admin: Api, path: str) -> None:
    text = admin.get(path, params={"page_size": 100}).text
    assert "argon2" not in text
    assert "secret_hash" not in text
    assert PASSWORD not in text


def test_system_endpoints(admin: Api, anonymous: Api, as_user: Callable[..., Api]) -> None:
    assert anonymous.get("/ping").text == "Pong"
    info = anonymous.get("/systeminfo").json()
    assert info["auth_mode"] == "db_auth"
    assert "harbor_version" not in info
    assert admin.get("/systeminfo").json()["harbor_version"].startswith("v2.")
    until(lambda: anonymous.get("/health").json()["status"] == "healthy", "healthy")
    health = anonymous.get("/health").json()
    assert {"core", "database", "registry"} <= {item["name"] for item in health["components"]}
    assert admin.get("/systeminfo/volumes").json()["storage"][0]["total"] > 0
    statistics = admin.get("/statistics").json()
    assert statistics["total_project_count"] >= 1
    others = as_user(admin.user()[1]).get("/statistics").json()
    assert {name: count for name, count in others.items() if name.startswith("total_")} == {
        "total_project_count": 0,
        "total_repo_count": 0,
        "total_storage_consumption": 0,
    }
    assert anonymous.get("/statistics").status_code == 401
    assert anonymous.get("/systeminfo/getcert").status_code == 404


def test_configuration(admin: Api, as_user: Callable[..., Api], registry: Registry) -> None:
    before = admin.get("/configurations").json()
    assert before["robot_name_prefix"] == {"value": "robot$", "editable": True}
    assert "ldap_search_password" not in before
    for wrong in (
        {"token_expiration": 0},
        {"token_expiration": "x"},
        {"auth_mode": "uaa_auth"},
        {"ldap_scope": 7},
        {"oidc_group_filter": "("},
        {"nothing": 1},
        {"robot_name_prefix": ""},
    ):
        response = admin.put("/configurations", json=wrong)
        assert (response.status_code, code(response)) == (400, "BAD_REQUEST"), wrong
    secret = "Topsecret-configuration-value"
    assert admin.put("/configurations", json={"ldap_search_password": secret}).status_code == 200
    assert secret not in admin.get("/configurations").text
    assert secret not in admin.get("/internalconfig").text
    assert secret not in admin.get("/auditlog-exts").text
    assert secret not in registry.log.read_text()
    try:
        restriction = {"project_creation_restriction": "adminonly"}
        assert admin.put("/configurations", json=restriction).status_code == 200
        _, name = admin.user()
        deadline = time.monotonic() + 20
        while as_user(name).post("/projects", json={"project_name": f"{name}-x"}).status_code != 403:
            assert time.monotonic() < deadline, "a worker kept the old value"
            admin.delete(f"/projects/{name}-x")
            time.sleep(0.2)
        assert as_user(name).put("/configurations", json=restriction).status_code == 403
    finally:
        admin.put("/configurations", json={"project_creation_restriction": "everyone"})
        # Until every worker has it, for the tests that follow.
        time.sleep(2.1)


def test_items_that_only_harbor_has(admin: Api) -> None:
    """They are shown, as harbor-cli needs them, and what was read can be written back; nothing else can."""
    shown = admin.get("/configurations").json()
    uaa = ["uaa_client_id", "uaa_client_secret", "uaa_endpoint", "uaa_verify_cert"]
    kinds = ("endpoint", "tokenreview_endpoint", "admin_groups", "admin_usernames", "verify_cert")
    proxy = [f"http_authproxy_{kind}" for kind in (*kinds, "skip_search", "server_certificate")]
    names = [*uaa, *proxy, "ldap_group_attach_parallel"]
    assert all(shown[name]["editable"] is False for name in (*names, "scan_all_policy"))
    same = {name: shown[name]["value"] for name in names}
    assert admin.put("/configurations", json=same).status_code == 200
    for name in names:
        other = not same[name] if isinstance(same[name], bool) else "x"
        refused = admin.put("/configurations", json={name: other})
        assert (refused.status_code, code(refused)) == (400, "BAD_REQUEST"), name


def test_cve_allowlist(admin: Api, as_user: Callable[..., Api]) -> None:
    body = {"items": [{"cve_id": "CVE-2021-44228"}], "expires_at": 4102444800}
    assert admin.put("/system/CVEAllowlist", json=body).status_code == 200
    found = as_user(admin.user()[1]).get("/system/CVEAllowlist").json()
    assert (found["items"], found["expires_at"], found["project_id"]) == (body["items"], 4102444800, 0)
    assert admin.put("/system/CVEAllowlist", json={"items": [{"cve_id": "?"}]}).status_code == 400


def test_audit_log(admin: Api, as_user: Callable[..., Api]) -> None:
    project = admin.project()
    _, name = admin.user()
    admin.member(project, name, 3)
    assert as_user(name).delete(f"/projects/{project}").status_code == 403
    logs = admin.get("/auditlog-exts", params={"q": f"operation_description=~{project}"}).json()
    told = {(item["operation"], item["resource_type"], item["operation_result"]) for item in logs}
    assert {("create", "project", True), ("create", "member", True)} <= told
    of_project = admin.get(f"/projects/{project}/auditlog-exts").json()
    assert [item["operation_result"] for item in of_project if item["operation"] == "delete"] == [False]
    assert all(item["client_address"] == "127.0.0.1" for item in of_project)
    assert [item["resource_type"] for item in admin.get(f"/projects/{project}/logs").json()].count(
        "member"
    ) == 1
    # A guest may not list the log, and sees nothing of it in the system's.
    assert as_user(name).get(f"/projects/{project}/logs").status_code == 403
    assert as_user(name).get("/audit-logs").json() == []
    since = admin.get("/audit-logs", params={"q": "op_time=[2100-01-01 00:00:00~]"})
    assert (since.json(), since.headers["X-Total-Count"]) == ([], "0")
    assert admin.get("/auditlog-exts/events").json()


def test_proxy_cache_project(admin: Api, as_user: Callable[..., Api], registry: Registry) -> None:
    name = admin.project() + "-proxy"
    absent = {"project_name": name, "registry_id": 2**40}
    assert admin.post("/projects", json=absent).status_code == 404
    # Its upstream is this very server: it has to answer.
    credential = {"type": "basic", "access_key": "admin", "access_secret": PASSWORD}
    upstream = {"name": name, "type": "docker-registry", "url": registry.url, "credential": credential}
    registry_id = admin.made("/registries", upstream)
    body = {"project_name": name, "registry_id": registry_id}
    assert as_user(admin.user()[1]).post("/projects", json=body).status_code == 403
    admin.made("/projects", body)
    assert admin.get(f"/projects/{name}").json()["registry_id"] == registry_id
    assert admin.get(f"/projects/{name}/summary").json()["registry"]["name"] == name
