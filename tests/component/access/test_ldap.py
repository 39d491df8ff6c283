"""Users and groups of a real slapd: login, roles by group, search, import."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.support.api import Api, code
from tests.support.processes import PASSWORD, free_port
from tests.support.registry import Registry
from tests.support.servers.slapd import ADMIN_DN, ADMIN_PASSWORD, GROUPS, PEOPLE, Slapd


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    server = Slapd(tmp_path_factory.mktemp("slapd"), free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def server(directory: Slapd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry whose users are in the directory. One worker: configuration is seen at once."""
    registry = Registry(tmp_path_factory.mktemp("ldap") / "data", {"SEAWALL_HTTP__WORKERS": "1"})
    registry.start()
    try:
        with Api(registry, registry.admin) as admin:
            done = admin.put(
                "/configurations",
                json={
                    "auth_mode": "ldap_auth",
                    "ldap_url": directory.url,
                    "ldap_search_dn": ADMIN_DN,
                    "ldap_search_password": ADMIN_PASSWORD,
                    "ldap_base_dn": PEOPLE,
                    "ldap_uid": "uid",
                    "ldap_filter": "(objectClass=inetOrgPerson)",
                    "ldap_group_base_dn": GROUPS,
                    "ldap_group_attribute_name": "cn",
                    "ldap_group_search_filter": "objectClass=groupOfNames",
                    "ldap_group_admin_dn": f"CN=Admins, {GROUPS}",
                },
            )
            assert done.status_code == 200, done.text
        yield registry
    finally:
        registry.close()


@pytest.fixture
def root(server: Registry) -> Iterator[Api]:
    with Api(server, server.admin) as client:
        yield client


def test_login_makes_the_user_known(server: Registry, root: Api, directory: Slapd) -> None:
    directory.add_user("ann", "Ann-password-1")
    with Api(server, ("ann", "Ann-password-1")) as ann:
        me = ann.get("/users/current").json()
        assert (me["username"], me["realname"], me["email"]) == ("ann", "The ann", "ann@seawall.test")
        assert me["sysadmin_flag"] is False
        # The directory keeps the account, so it cannot be changed here.
        own = {"old_password": "Ann-password-1", "new_password": "Other-12345"}
        assert ann.put(f"/users/{me['user_id']}/password", json=own).status_code == 403
    for password in ("wrong", "", "*"):
        assert httpx.get(f"{server.url}/api/v2.0/users/current", auth=("ann", password)).status_code == 401
    # No injection into the search filter, and a local administrator stays.
    for name in ("a*", "ann)(uid=*", "nobody"):
        answer = httpx.get(f"{server.url}/api/v2.0/users/current", auth=(name, "Ann-password-1"))
        assert answer.status_code == 401
    assert root.get("/users/current").json()["username"] == "admin"
    refused = root.post("/users", json={"username": "local", "password": PASSWORD})
    assert (refused.status_code, code(refused)) == (403, "FORBIDDEN")


def test_registry_login(server: Registry, root: Api, directory: Slapd) -> None:
    directory.add_user("pia", "Pia-password-1")
    project = root.project()
    root.member(project, "pia", 2)
    auth = ("pia", "Pia-password-1")
    upload = httpx.post(f"{server.url}/v2/{project}/a/blobs/uploads/", auth=auth)
    assert upload.status_code == 202
    scope = f"repository:{project}/a:pull,push"
    token = httpx.get(f"{server.url}/service/token", params={"scope": scope}, auth=auth)
    assert token.status_code == 200


def test_roles_by_group(server: Registry, root: Api, directory: Slapd) -> None:
    dn = directory.add_user("tom", "Tom-password-1")
    team = directory.add_group("team", dn)
    project = root.project()
    body = {"role_id": 3, "member_group": {"group_type": 1, "ldap_group_dn": team.upper()}}
    root.made(f"/projects/{project}/members", body)
    with Api(server, ("tom", "Tom-password-1")) as tom:
        assert tom.get(f"/projects/{project}").json()["current_user_role_id"] == 3
    groups = root.get("/usergroups").json()
    assert [g["group_name"] for g in groups if g["ldap_group_dn"].lower() == team.lower()] != []


def test_administrators_by_group(server: Registry, directory: Slapd) -> None:
    directory.add_group("admins", directory.add_user("eve", "Eve-password-1"))
    with Api(server, ("eve", "Eve-password-1")) as eve:
        me = eve.get("/users/current").json()
        assert (me["sysadmin_flag"], me["admin_role_in_auth"]) == (False, True)
        assert eve.get("/users").status_code == 200


def test_search_and_import(root: Api, directory: Slapd) -> None:
    directory.add_user("uma", "Uma-password-1")
    directory.add_user("umberto", "Umb-password-1")
    found = root.get("/ldap/users/search", params={"username": "um"}).json()
    assert {item["username"] for item in found} == {"uma", "umberto"}
    assert root.post("/ldap/users/import", json={"ldap_uid_list": ["uma"]}).status_code == 200
    assert root.get("/users", params={"q": "username=uma"}).json()[0]["realname"] == "The uma"
    failed = root.post("/ldap/users/import", json={"ldap_uid_list": ["umberto", "none"]})
    assert failed.status_code == 404
    assert [item["uid"] for item in failed.json()] == ["none"]
    crew = directory.add_group("crew", f"uid=uma,{PEOPLE}")
    by_name = root.get("/ldap/groups/search", params={"groupname": "cre"}).json()
    assert [item["ldap_group_dn"] for item in by_name] == [crew]
    by_dn = root.get("/ldap/groups/search", params={"groupdn": crew}).json()
    assert [item["group_name"] for item in by_dn] == ["crew"]
    # As in Harbor, whose clients learn from it that there is none.
    for nowhere in ({"groupname": "no-such-crew"}, {"groupdn": f"cn=absent,{GROUPS}"}):
        assert root.get("/ldap/groups/search", params=nowhere).status_code == 404
    assert root.post("/usergroups", json={"group_type": 1, "ldap_group_dn": crew}).status_code == 201
    absent = {"group_name": "x", "group_type": 1, "ldap_group_dn": f"cn=absent,{GROUPS}"}
    assert root.post("/usergroups", json=absent).status_code in (400, 404)


def test_ping(root: Api, directory: Slapd) -> None:
    assert root.post("/ldap/ping", json={}).json() == {"success": True, "message": ""}
    wrong = root.post("/ldap/ping", json={"ldap_search_password": "wrong"}).json()
    assert wrong["success"] is False
    away = root.post("/ldap/ping", json={"ldap_url": f"ldap://127.0.0.1:{free_port()}"}).json()
    assert away["success"] is False
    for impossible in ("ldap://" + "0" * 300, "ldap://[", "ldap://h:99999999"):
        answer = root.post("/ldap/ping", json={"ldap_url": impossible})
        assert (answer.status_code, answer.json()["success"]) == (200, False), answer.text
    assert ADMIN_PASSWORD not in str(away) + str(wrong)


def test_a_removed_user_is_out(server: Registry, directory: Slapd) -> None:
    dn = directory.add_user("leo", "Leo-password-1")
    directory.remove(dn)
    answer = httpx.get(f"{server.url}/api/v2.0/users/current", auth=("leo", "Leo-password-1"))
    assert answer.status_code == 401
    assert "Leo-password-1" not in server.log.read_text()
    assert ADMIN_PASSWORD not in server.log.read_text()


def test_auth_mode_stays_while_there_are_users(root: Api) -> None:
    refused = root.put("/configurations", json={"auth_mode": "db_auth"})
    assert (refused.status_code, code(refused)) == (400, "BAD_REQUEST")


def test_a_group_with_capitals_beyond_ascii(directory: Slapd, server: Registry, root: Api) -> None:
    user = directory.add_user("ulla", "Directory-12345")
    group = directory.add_group("\u00dcbersee Ops", user)
    project = root.project()
    spaced = group.replace(",", " , ").replace("cn=", "CN = ")
    added = root.post(
        f"/projects/{project}/members", json={"role_id": 2, "member_group": {"ldap_group_dn": spaced}}
    )
    assert added.status_code == 201, added.text
    # As before the first login, so after it: the group is found again.
    for _ in range(2):
        with Api(server, ("ulla", "Directory-12345")) as ulla:
            assert ulla.get(f"/projects/{project}").json()["current_user_role_id"] == 2
    shown = root.get(f"/projects/{project}/members").json()
    assert [item["entity_name"] for item in shown if item["entity_type"] == "g"] == ["\u00dcbersee Ops"]
    listed = root.get("/usergroups", params={"ldap_group_dn": group}).json()
    assert [item["group_name"] for item in listed] == ["\u00dcbersee Ops"]
    again = root.post("/usergroups", json={"group_name": "twin", "group_type": 1, "ldap_group_dn": spaced})
    assert again.status_code == 409


def test_groups_that_the_directory_does_not_have_are_refused(root: Api) -> None:
    project = root.project()
    for dn, status in ((f"cn=nobody,{GROUPS}", 404), ("nobody", 400), ("cn=a,,dc=x", 400)):
        member = {"role_id": 2, "member_group": {"ldap_group_dn": dn, "group_name": "nobody"}}
        assert root.post(f"/projects/{project}/members", json=member).status_code == status, dn
        body = {"group_name": "nobody", "group_type": 1, "ldap_group_dn": dn}
        assert root.post("/usergroups", json=body).status_code == status, dn


def test_a_name_of_another_way_to_sign_in_is_not_taken_over(
    server: Registry, root: Api, directory: Slapd
) -> None:
    """Users stay when `auth_mode` is changed; the directory's namesake of one is somebody else."""
    with contextlib.closing(sqlite3.connect(server.data_dir / "seawall.db")) as connection:
        now = time.time()
        columns = "username, email, sysadmin, created_at, updated_at"
        made = connection.execute(
            f"INSERT INTO users ({columns}) VALUES ('otto', 'otto@provider.test', 1, ?, ?)", (now, now)
        )
        connection.execute(
            "INSERT INTO oidc_users (user_id, issuer, subject, secret, created_at, updated_at) "
            "VALUES (?, 'https://provider.test', 'otto', 'sealed', ?, ?)",
            (made.lastrowid, now, now),
        )
        connection.commit()
    directory.add_user("otto", "Otto-password-1")
    # The directory's names compare whatever their case.
    for name in ("OTTO", "Otto", " otto"):
        answer = httpx.get(f"{server.url}/api/v2.0/users/current", auth=(name, "Otto-password-1"))
        assert answer.status_code == 401, (name, answer.text)
    refused = root.post("/ldap/users/import", json={"ldap_uid_list": ["otto"]})
    assert refused.status_code == 404
    assert refused.json()[0]["uid"] == "otto"
    # Nor is a local user's.
    directory.add_user("admin", "Admin-password-1")
    for name in ("admin", "ADMIN"):
        answer = httpx.get(f"{server.url}/api/v2.0/users/current", auth=(name, "Admin-password-1"))
        assert answer.status_code == 401, (name, answer.text)


def test_a_projects_admin_gives_no_group_the_name_of_another(
    server: Registry, root: Api, directory: Slapd
) -> None:
    interns = directory.add_group("interns", directory.add_user("ivo", "Ivo-password-1"))
    project = root.project()
    root.member(project, "ivo", 1)
    with Api(server, ("ivo", "Ivo-password-1")) as ivo:
        group = {"group_name": "board", "group_type": 1, "ldap_group_dn": interns}
        member = ivo.made(f"/projects/{project}/members", {"role_id": 2, "member_group": group})
        assert ivo.get(f"/projects/{project}/members/{member}").json()["entity_name"] == "interns"
        assert ivo.get("/usergroups/search", params={"groupname": "board"}).json() == []
        invented = {"group_name": "board", "group_type": 3}
        answer = ivo.post(f"/projects/{project}/members", json={"role_id": 2, "member_group": invented})
        assert answer.status_code == 400
