"""Edges at which a client of Harbor's notices a difference, found with its handlers beside ours."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.api import Api, code

DAILY = "0 0 6 * * *"


def test_a_member_is_named_as_terraform_does(admin: Api) -> None:
    """The provider sends member_user and member_group, one of them empty."""
    project = admin.project()
    user, name = admin.user()
    group = admin.made("/usergroups", {"group_name": f"g-{name}", "group_type": 3})
    path = f"/projects/{project}/members"
    nobody: dict[str, Any] = {"member_user": {}, "member_group": {}}
    admin.made(path, {"role_id": 2, **nobody, "member_user": {"user_id": user}})
    admin.made(path, {"role_id": 3, **nobody, "member_group": {"id": group, "group_name": f"g-{name}"}})
    found = {item["entity_name"]: item["entity_type"] for item in admin.get(path).json()}
    assert (found[name], found[f"g-{name}"]) == ("u", "g")
    assert code(admin.post(path, json={"role_id": 2, **nobody})) == "BAD_REQUEST"


@pytest.mark.parametrize(
    "parameters",
    [
        {"audit_retention_hour": 24, "dry_run": False, "include_event_types": "push,pull"},
        {"audit_retention_hour": 24, "dry_run": False, "include_operations": "create,pull"},
    ],
)
def test_parameters_of_a_purge_come_back_as_they_were_given(admin: Api, parameters: dict[str, Any]) -> None:
    path = "/system/purgeaudit/schedule"
    body = {"schedule": {"type": "Daily", "cron": DAILY}, "parameters": parameters}
    try:
        assert admin.put(path, json=body).status_code == 200
        found = admin.get(path).json()
        assert json.loads(found["job_parameters"]) == parameters
        assert found["schedule"]["cron"] == DAILY
        # Harbor's own test sends this in its tear-down; nothing is set by it.
        empty = {"schedule": {"cron": ""}, "parameters": {**parameters, "audit_retention_hour": 0}}
        assert admin.put(path, json=empty).status_code == 200
        assert admin.get(path).json()["job_parameters"] == found["job_parameters"]
    finally:
        admin.put(path, json={"schedule": {"type": "None"}, "parameters": parameters})


def test_an_empty_type_sets_no_schedule_of_scans(admin: Api) -> None:
    for path, status in (("/system/gc/schedule", 200), ("/system/scanAll/schedule", 400)):
        before = admin.get(path).json()
        assert admin.put(path, json={"schedule": {"cron": ""}, "parameters": {}}).status_code == status
        assert admin.get(path).json() == before


def test_pages_below_the_first(admin: Api) -> None:
    admin.project()
    first = admin.get("/projects", params={"page": 1, "page_size": 100}).json()
    assert first
    for page, size in ((0, 100), (-1, 0), (1, -1)):
        assert admin.get("/projects", params={"page": page, "page_size": size}).json() == first


def test_users_by_part_of_a_name(admin: Api) -> None:
    _, name = admin.user()
    answer = admin.get("/users", params={"username": name[1:8].upper()})
    assert [item["username"] for item in answer.json()] == [name]
    assert admin.get("/users", params={"email": "nobody-has-this"}).json() == []


def test_metadata_that_is_not_set(admin: Api) -> None:
    path = f"/projects/{admin.project()}/metadatas"
    unset = admin.get(f"{path}/prevent_vul")
    assert (unset.status_code, unset.json()) == (200, {})
    assert admin.delete(f"{path}/prevent_vul").status_code == 200
    assert admin.put(f"{path}/prevent_vul", json={"prevent_vul": "T", "other": "x"}).status_code == 200
    assert admin.get(f"{path}/prevent_vul").json() == {"prevent_vul": "true"}
    assert admin.put(f"{path}/prevent_vul", json={"auto_scan": "true"}).status_code == 400


def test_what_a_project_does_not_take(admin: Api) -> None:
    project = admin.project()
    number = admin.get(f"/projects/{project}").json()["project_id"]
    path = f"/projects/{project}"
    other = {"cve_allowlist": {"project_id": number + 1, "items": []}}
    assert admin.put(path, json=other).status_code == 400
    assert admin.put(path, json={"cve_allowlist": {"project_id": number, "items": []}}).status_code == 200
    assert admin.put(path, json={"metadata": {"retention_id": "1"}}).status_code == 400
    made = {"project_name": f"{project}-x", "metadata": {"retention_id": "1"}}
    assert admin.post("/projects", json=made).status_code == 400
    policy = {"algorithm": "or", "rules": [], "scope": {"level": "project", "ref": number}}
    known = str(admin.made("/retentions", policy))
    assert admin.put(path, json={"metadata": {"retention_id": known}}).status_code == 200


def test_robots_of_a_project_that_is_gone(admin: Api) -> None:
    answer = admin.get("/robots", params={"q": "Level=project,ProjectID=999999999"})
    assert (answer.status_code, answer.json(), answer.headers["X-Total-Count"]) == (200, [], "0")


def test_the_id_of_an_immutable_rule(admin: Api) -> None:
    path = f"/projects/{admin.project()}/immutabletagrules"
    rule = {
        "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "v*"}],
        "scope_selectors": {
            "repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]
        },
    }
    made = admin.made(path, rule)
    assert admin.put(f"{path}/{made}", json={**rule, "id": made + 1}).status_code == 400
    assert admin.put(f"{path}/{made}", json={**rule, "id": made}).status_code == 200


def test_what_docker_says_of_wrong_credentials(admin: Api) -> None:
    """docker prints "unauthorized: " and the message; Harbor's test of robots looks for these words."""
    url = f"{str(admin.base_url).partition('/api')[0]}/service/token"
    refused = admin.get(url, params={"service": "harbor-registry"}, auth=("robot$none", "wrong"))
    assert (refused.status_code, code(refused)) == (401, "UNAUTHORIZED")
    assert refused.json()["errors"][0]["message"].startswith("authentication required")


def test_the_older_name_of_replicated_deletions_goes_first(admin: Api) -> None:
    other = {
        "name": admin.project(),
        "url": str(admin.base_url).partition("/api")[0],
        "type": "docker-registry",
    }
    registry = admin.made("/registries", other)
    policy = {
        "name": other["name"],
        "dest_registry": {"id": registry},
        "trigger": {"type": "manual"},
        "enabled": True,
        "deletion": True,
        "replicate_deletion": False,
    }
    made = admin.made("/replication/policies", policy)
    found = admin.get(f"/replication/policies/{made}").json()
    assert (found["deletion"], found["replicate_deletion"]) == (True, True)
    assert admin.delete(f"/replication/policies/{made}").status_code == 200
    assert admin.delete(f"/registries/{registry}").status_code == 200
