"""Cases about users of a directory; a second registry, since one has one way to sign in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.harbor.caller import Caller
from tests.support.processes import free_port
from tests.support.registry import Registry
from tests.support.servers.slapd import ADMIN_DN, ADMIN_PASSWORD, GROUPS, PEOPLE, Slapd

SECRET = "zhu88jie-Zhu88jie"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    server = Slapd(tmp_path_factory.mktemp("slapd"), free_port())
    server.start()
    try:
        people = {name: server.add_user(name, SECRET) for name in ("ann", "dev", "guest", "mike", "stranger")}
        for name, member in (("admins", "ann"), ("devs", "dev"), ("guests", "guest"), ("users", "mike")):
            server.add_group(name, people[member])
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def root(directory: Slapd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """The administrator of a registry whose users are the directory's."""
    registry = Registry(tmp_path_factory.mktemp("ldap") / "data", {"SEAWALL_HTTP__WORKERS": "1"})
    registry.start()
    try:
        caller = Caller(registry)
        settings = {
            "auth_mode": "ldap_auth",
            "ldap_url": directory.url,
            "ldap_search_dn": ADMIN_DN,
            "ldap_search_password": ADMIN_PASSWORD,
            "ldap_base_dn": PEOPLE,
            "ldap_uid": "uid",
            "ldap_filter": "",
            "ldap_group_base_dn": GROUPS,
            "ldap_group_attribute_name": "cn",
            "ldap_group_search_filter": "objectclass=groupOfNames",
            "ldap_group_search_scope": 2,
        }
        caller.call("PUT", "/configurations", body=settings)
        yield caller
    finally:
        registry.close()


def person(root: Caller, name: str) -> Caller:
    return Caller(root.registry, name, SECRET)


def test_roles_of_groups(root: Caller) -> None:
    project, name = root.project()
    for group, role in (("admins", 1), ("devs", 2), ("guests", 3)):
        member = {"role_id": role, "member_group": {"ldap_group_dn": f"cn={group},{GROUPS}"}}
        root.made(f"/projects/{project}/members", member)
    ann, dev, guest, stranger = (person(root, who) for who in ("ann", "dev", "guest", "stranger"))
    [shown] = ann.call("GET", "/projects", name=name)
    assert shown["current_user_role_id"] == 1
    mike = person(root, "mike").call("GET", "/users/current")["user_id"]
    ann.member(project, mike, 3)
    for who in (dev, guest):
        who.member(project, mike, 3, expect=403)
    for who, repository in ((ann, "haproxy"), (dev, "alpine")):
        who.image(f"{name}/{repository}")
        assert len(who.call("GET", f"/projects/{name}/repositories/{repository}/artifacts")) == 1
    assert "unauthorized to access repository" in guest.refused_push(f"{name}/busybox")
    assert guest.call("GET", f"/projects/{name}/repositories/busybox/artifacts") == []
    assert ann.call("GET", f"/projects/{name}/auditlog-exts")
    for who in (dev, guest, stranger):
        who.call("GET", f"/projects/{name}/auditlog-exts", 403)
    for repository in ("haproxy", "alpine"):
        ann.call("DELETE", f"/projects/{name}/repositories/{repository}")


def test_administrators_by_group(root: Caller) -> None:
    root.call("PUT", "/configurations", body={"ldap_group_admin_dn": f"cn=users,{GROUPS}"})
    mike = person(root, "mike")
    project, name = mike.project()
    assert mike.http.head("/api/v2.0/projects", params={"project_name": name}).status_code == 200
    me = mike.call("GET", "/users/current")
    assert (me["sysadmin_flag"], me["admin_role_in_auth"]) == (False, True)
    mike.call("DELETE", f"/projects/{project}")


def test_groups_come_and_are_renamed(root: Caller) -> None:
    body = {"group_name": "harbor_group123", "group_type": 1, "ldap_group_dn": f"cn=admins,{GROUPS}"}
    made = root.http.post("/api/v2.0/usergroups", json=body)
    # A member of an earlier case may be this very group.
    assert made.status_code in (201, 409)
    [found] = [
        item for item in root.call("GET", "/usergroups") if item["ldap_group_dn"] == body["ldap_group_dn"]
    ]
    root.call("PUT", f"/usergroups/{found['id']}", body={"group_name": "newharbor_group"})
    assert root.call("GET", f"/usergroups/{found['id']}")["group_name"] == "newharbor_group"
    root.call("DELETE", f"/usergroups/{found['id']}")
