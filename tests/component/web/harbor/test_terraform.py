"""The Terraform provider's calls, resource by resource: create, read, update, read, delete, in its order.

The Go module proxy does not serve the provider, so no test runs it (docs/api.md has what came of it by hand).
Paths, bodies, the empty and zero values that Go's encoder puts into them, and the statuses that it insists on
are those of its source (goharbor/terraform-provider-harbor, 2026-08). Projects, members, users and robots are
in `test_harborapi`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.api import Api
from tests.support.processes import PASSWORD
from tests.support.registry import Registry

ZERO = "0001-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    registry = Registry(tmp_path_factory.mktemp("terraform") / "data", {"SEAWALL_JOBS__EMBEDDED": "false"})
    registry.start()
    yield registry
    registry.close()


@pytest.fixture
def api(server: Registry) -> Iterator[Api]:
    with Api(server, server.admin) as client:
        yield client


@pytest.fixture
def project(api: Api) -> tuple[str, int]:
    """Path and id of a project, as the provider keeps them."""
    name = f"t{secrets.token_hex(4)}"
    answer = api.post("/projects", json={"project_name": name, "metadata": {"public": "false"}})
    path = location(answer)
    return path, int(path.rpartition("/")[2])


def location(answer: Any) -> str:
    """`client.GetID`: the path in Location, below the API's."""
    assert answer.status_code == 201, answer.text
    return str(answer.headers["Location"]).removeprefix("/api/v2.0")


def send(api: Api, method: str, path: str, status: int, body: Any = None) -> Any:
    """`client.SendRequest`: anything but the expected status is an error."""
    answer = api.request(method, path, json=body)
    assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
    return answer.json() if answer.content and "json" in answer.headers.get("Content-Type", "") else None


def test_label(api: Api, project: tuple[str, int]) -> None:
    for scope, project_id in (("g", 0), ("p", project[1])):
        body = {
            "description": "",
            "color": "#FF0000",
            "deleted": False,
            "scope": scope,
            "project_id": project_id,
            "id": 0,
            "name": f"l{secrets.token_hex(3)}",
        }
        path = location(api.post("/labels", json=body))
        assert send(api, "GET", path, 200)["color"] == "#FF0000"
        send(api, "PUT", path, 200, {**body, "description": "changed"})
        assert send(api, "GET", path, 200)["description"] == "changed"
        send(api, "DELETE", path, 200)
        send(api, "GET", path, 404)


def test_retention_policy(api: Api, project: tuple[str, int]) -> None:
    selector = {"kind": "doublestar", "decoration": "matches", "pattern": "v*", "extras": '{"untagged":true}'}
    rule = {
        "disabled": False,
        "action": "retain",
        "scope_selectors": {
            "repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]
        },
        "tag_selectors": [selector],
        "params": {"latestPushedK": 5},
        "template": "latestPushedK",
    }
    trigger = {"kind": "Schedule", "references": {}, "settings": {"cron": "0 0 0 * * *"}}
    body = {
        "algorithm": "or",
        "rules": [rule],
        "trigger": trigger,
        "scope": {"level": "project", "ref": project[1]},
    }
    path = location(api.post("/retentions", json=body))
    read = send(api, "GET", path, 200)
    assert read["rules"][0]["params"]["latestPushedK"] == 5
    assert json.loads(read["rules"][0]["tag_selectors"][0]["extras"]) == {"untagged": True}
    assert read["trigger"]["settings"]["cron"] == "0 0 0 * * *"
    assert read["scope"]["ref"] == project[1]
    # A second one for the project: the provider asks for the id and replaces it.
    assert api.post("/retentions", json=body).status_code >= 400
    known = send(api, "GET", project[0], 200)["metadata"]["retention_id"]
    assert path == f"/retentions/{known}"
    always = {**rule, "params": {}, "template": "always"}
    send(api, "PUT", path, 200, {**body, "rules": [always]})
    assert send(api, "GET", path, 200)["rules"][0]["template"] == "always"
    empty = {**trigger, "settings": {"cron": ""}}
    send(api, "PUT", path, 200, {**body, "id": int(known), "rules": [], "trigger": empty})
    assert send(api, "GET", path, 200)["rules"] == []


def test_immutable_tag_rule(api: Api, project: tuple[str, int]) -> None:
    body = {
        "disabled": False,
        "scope_selectors": {
            "repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]
        },
        "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "v2.*"}],
        "action": "immutable",
        "template": "immutable_template",
    }
    path = location(api.post(f"{project[0]}/immutabletagrules", json=body))
    rules, _, number = path.rpartition("/")
    [read] = send(api, "GET", rules, 200)
    assert read["id"] == int(number)
    assert read["tag_selectors"][0]["pattern"] == "v2.*"
    send(api, "PUT", path, 200, {**body, "id": int(number), "disabled": True})
    assert send(api, "GET", rules, 200)[0]["disabled"] is True
    send(api, "DELETE", path, 200)
    assert send(api, "GET", rules, 200) == []


def test_project_webhook(api: Api, project: tuple[str, int]) -> None:
    target = {
        "type": "http",
        "auth_header": "Bearer x",
        "skip_cert_verify": False,
        "address": "https://hook.example.test/x",
        # Its struct tag has a slip of the pen.
        "payload_format:omitempty": "",
    }
    body = {
        "update_time": ZERO,
        "description": "",
        "creator": "",
        "creation_time": ZERO,
        "enabled": True,
        "targets": [target],
        "event_types": ["PUSH_ARTIFACT", "DELETE_ARTIFACT"],
        "project_id": 0,
        "id": 0,
        "name": "hook",
    }
    path = location(api.post(f"{project[0]}/webhook/policies", json=body))
    read = send(api, "GET", path, 200)
    assert read["event_types"] == body["event_types"]
    assert read["targets"][0]["address"] == target["address"]
    send(api, "PUT", path, 200, {**body, "enabled": False})
    assert send(api, "GET", path, 200)["enabled"] is False
    send(api, "DELETE", path, 200)
    send(api, "GET", path, 404)


def test_registry_and_replication(api: Api, server: Registry) -> None:
    name = f"r{secrets.token_hex(3)}"
    credential = {"access_key": "admin", "access_secret": PASSWORD, "type": "basic"}
    body = {"credential": credential, "name": name, "url": server.url, "type": "harbor", "description": "d"}
    path = location(api.post("/registries", json=body))
    read = send(api, "GET", path, 200)
    assert (read["name"], read["url"], read["credential"]["access_key"]) == (name, server.url, "admin")
    update = {
        "access_key": "admin",
        "name": name,
        "access_secret": PASSWORD,
        "url": server.url,
        "insecure": False,
        "description": "changed",
        "ca_certificate": "",
    }
    send(api, "PUT", path, 200, update)
    assert send(api, "GET", path, 200)["description"] == "changed"
    registry_id = int(path.rpartition("/")[2])
    for action, trigger in (("push", "event_based"), ("pull", "0 0 0 * * *"), ("push", "manual")):
        scheduled = trigger not in ("manual", "event_based")
        policy = {
            "name": f"{name}-{action}-{len(trigger)}",
            "id": 0,
            # Go writes structs that are empty as {}.
            "src_registry": {"id": registry_id} if action == "pull" else {},
            "dest_registry": {"id": registry_id} if action == "push" else {},
            "dest_namespace": "mirror",
            "dest_namespace_replace_count": 1,
            "trigger": {
                "type": "scheduled" if scheduled else trigger,
                "trigger_settings": {"cron": trigger} if scheduled else {},
            },
            "enabled": True,
            "override": True,
            "filters": [
                {"type": "name", "value": "library/**"},
                {"type": "tag", "value": "v*", "decoration": "matches"},
                {"type": "label", "value": ["a", "b"], "decoration": "excludes"},
                {"type": "resource", "value": "artifact"},
            ],
            "speed": -1 if scheduled else 0,
        }
        if policy["speed"] == 0:
            del policy["speed"]  # omitempty
        made = location(api.post("/replication/policies", json=policy))
        read = send(api, "GET", made, 200)
        side = "src_registry" if action == "pull" else "dest_registry"
        assert read[side]["id"] == registry_id
        assert {item["type"] for item in read["filters"]} == {"name", "tag", "label", "resource"}
        assert read["dest_namespace_replace_count"] == 1
        send(api, "PUT", made, 200, {**policy, "enabled": False, "description": "off"})
        assert send(api, "GET", made, 200)["enabled"] is False
        send(api, "DELETE", made, 200)
        send(api, "GET", made, 404)
    send(api, "DELETE", path, 200)
    send(api, "GET", path, 404)


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("/system/gc/schedule", {"delete_untagged": True, "workers": 2}),
        (
            "/system/purgeaudit/schedule",
            {"audit_retention_hour": 24, "include_operations": "create,delete,pull"},
        ),
        ("/system/scanAll/schedule", {}),
    ],
)
def test_schedules(api: Api, path: str, parameters: dict[str, Any]) -> None:
    """harbor_garbage_collection, harbor_purge_audit_log, harbor_interrogation_services, harbor_tasks."""

    def body(kind: str, cron: str) -> dict[str, Any]:
        schedule = {"type": kind, **({"cron": cron} if cron else {})}
        times = {"creation_time": ZERO, "update_time": ZERO}
        return {"schedule": schedule, **times, "parameters": parameters}

    # The first time there is nothing: an empty answer, then POST; later PUT.
    for kind, cron in (("Daily", "0 0 0 * * *"), ("Custom", "0 30 4 * * 1"), ("None", "")):
        answer = api.get(path)
        assert answer.status_code == 200
        send(api, *(("PUT", path, 200) if answer.text else ("POST", path, 201)), body(kind, cron))
        if kind != "None":
            read = send(api, "GET", path, 200)
            assert (read["schedule"]["type"], read["schedule"]["cron"]) == (kind, cron)
            if parameters:
                kept = json.loads(read["job_parameters"])
                assert kept.items() >= parameters.items()
    send(api, "PUT", path, 200, {"schedule": {"type": "None"}, "parameters": {}})


def test_configuration(api: Api) -> None:
    """harbor_config_system and harbor_config_auth, with every member that they always send."""
    system = {
        "project_creation_restriction": "adminonly",
        "read_only": False,
        "robot_token_duration": 30,
        "token_expiration": 30,
        "session_timeout": 60,
        "quota_per_project_enable": True,
        "robot_name_prefix": "robot$",
        "storage_per_project": 100 * 2**30,
        "scanner_skip_update_pulltime": True,
        "skip_audit_log_database": False,
        "banner_message": "",
        "notification_enable": True,
    }
    send(api, "PUT", "/configurations", 200, system)
    read = send(api, "GET", "/configurations", 200)
    assert read["storage_per_project"]["value"] == 100 * 2**30
    assert read["project_creation_restriction"]["value"] == "adminonly"
    always = {
        "oidc_verify_cert": True,
        "oidc_auto_onboard": False,
        "oidc_logout": False,
        "self_registration": False,
        "scan_all_policy": {"parameter": {}},
        "ldap_scope": 2,
        "ldap_group_search_scope": 2,
        "ldap_verify_cert": False,
    }
    ldap = {
        **always,
        "auth_mode": "ldap_auth",
        "ldap_url": "ldap://127.0.0.1:1",
        "ldap_search_dn": "cn=admin,dc=x",
        "ldap_search_password": "secret",
        "ldap_base_dn": "dc=x",
        "ldap_uid": "uid",
        "ldap_group_base_dn": "ou=groups,dc=x",
        "ldap_group_attribute_name": "cn",
        "ldap_group_membership_attribute": "memberof",
        "ldap_group_admin_dn": "cn=admins,dc=x",
        "ldap_group_search_filter": "objectclass=groupOfNames",
    }
    send(api, "PUT", "/configurations", 200, ldap)
    read = send(api, "GET", "/configurations", 200)
    assert (read["auth_mode"]["value"], read["ldap_scope"]["value"]) == ("ldap_auth", 2)
    assert '"secret"' not in api.get("/configurations").text
    oidc = {
        **always,
        "ldap_scope": 0,
        "ldap_group_search_scope": 0,
        "auth_mode": "oidc_auth",
        "primary_auth_mode": True,
        "oidc_name": "idp",
        "oidc_endpoint": "https://idp.example.test",
        "oidc_client_id": "c",
        "oidc_client_secret": "secret",
        "oidc_groups_claim": "groups",
        "oidc_group_filter": "^g",
        "oidc_scope": "openid,email",
        "oidc_user_claim": "preferred_username",
        "oidc_admin_group": "admins",
    }
    send(api, "PUT", "/configurations", 200, oidc)
    read = send(api, "GET", "/configurations", 200)
    assert (read["auth_mode"]["value"], read["oidc_name"]["value"]) == ("oidc_auth", "idp")
    send(api, "PUT", "/configurations", 200, {**always, "auth_mode": "db_auth", "primary_auth_mode": False})


def test_groups_and_members(api: Api, project: tuple[str, int]) -> None:
    """harbor_group and harbor_project_member_group, in the mode that has groups."""
    oidc = {"auth_mode": "oidc_auth", "oidc_endpoint": "https://idp.example.test"}
    send(api, "PUT", "/configurations", 200, oidc)
    try:
        name = f"g{secrets.token_hex(3)}"
        path = location(api.post("/usergroups", json={"group_name": name, "group_type": 3}))
        assert send(api, "GET", path, 200)["group_name"] == name
        send(api, "PUT", path, 200, {"group_name": f"{name}x", "group_type": 3})
        body = {"role_id": 2, "member_group": {"group_type": 3, "group_name": f"{name}x"}}
        member = location(api.post(f"{project[0]}/members", json=body))
        assert send(api, "GET", member, 200)["role_id"] == 2
        send(api, "PUT", member, 200, {**body, "role_id": 4})
        assert send(api, "GET", member, 200)["role_id"] == 4
        send(api, "DELETE", member, 200)
        send(api, "DELETE", path, 200)
        send(api, "GET", path, 404)
    finally:
        send(api, "PUT", "/configurations", 200, {"auth_mode": "db_auth"})


def test_security_and_preheat(api: Api) -> None:
    """harbor_config_security and harbor_preheat_instance."""
    for items in ([{"cve_id": "CVE-2024-1"}], []):
        body: dict[str, Any] = {"items": items} if items else {}
        send(api, "PUT", "/system/CVEAllowlist", 200, {**body, "expires_at": 2_000_000_000})
        assert send(api, "GET", "/system/CVEAllowlist", 200)["items"] == items
    instance = {
        "id": 0,
        "name": "p2p",
        "description": "",
        "vendor": "dragonfly",
        "endpoint": "http://127.0.0.1:1",
        "auth_mode": "BASIC",
        "auth_info": {"username": "u", "password": "secret"},
        "status": "",
        "enabled": True,
        "default": True,
        "insecure": True,
        "setup_timestamp": 0,
    }
    path = location(api.post("/p2p/preheat/instances", json=instance))
    read = send(api, "GET", path, 200)
    assert (read["vendor"], read["default"], read["insecure"]) == ("dragonfly", True, True)
    send(api, "PUT", path, 200, {**instance, "auth_mode": "NONE", "auth_info": {}, "description": "x"})
    assert send(api, "GET", path, 200)["description"] == "x"
    send(api, "DELETE", path, 200)
    send(api, "GET", path, 404)
