"""Edges at which a client of Harbor's notices a difference, found with its handlers beside ours."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import Api, code
from tests.support.api_pusher import Pusher
from tests.support.registry import Registry
from tests.support.scan import spec
from tests.support.servers.docker_registry import DockerRegistry
from tests.support.waiting import until

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
        before = admin.get(path).text
        assert admin.put(path, json={"schedule": {"cron": ""}, "parameters": {}}).status_code == status
        assert admin.get(path).text == before


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


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[str]:
    """The URL of a registry that lets anybody in."""
    server = DockerRegistry(tmp_path)
    server.start()
    yield server.url
    server.stop()


def test_an_access_key_may_be_as_long_as_in_harbor(admin: Api, elsewhere: str) -> None:
    """4,096 characters since Harbor 2.16."""
    body: dict[str, Any] = {"name": admin.project(), "url": elsewhere, "type": "docker-registry"}
    body["credential"] = {"type": "basic", "access_key": "k" * 4096, "access_secret": ""}
    registry = admin.made("/registries", body)
    assert admin.get(f"/registries/{registry}").json()["credential"]["access_key"] == "k" * 4096
    assert admin.delete(f"/registries/{registry}").status_code == 200
    body["credential"] = {"type": "basic", "access_key": "k" * 4097, "access_secret": ""}
    assert admin.post("/registries", json=body).status_code == 422


def listed(api: Api, path: str, field: str = "name", **parameters: Any) -> list[Any]:
    """One field of what a list has."""
    answer = api.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return [item[field] for item in answer.json()]


def test_keys_of_a_query_as_harbors_code_writes_them(admin: Api) -> None:
    project = admin.project()
    assert listed(admin, "/projects", q=f"Name={project}") == [project]
    later = admin.project()
    both = f"name={{{project} {later}}}"
    assert listed(admin, "/projects", q=both, sort="-CreationTime") == [later, project]
    assert listed(admin, "/projects", q=both, sort="CreationTime") == [project, later]
    for empty in ("name=~", "name=", "creation_time=[~]"):
        assert code(admin.get("/projects", params={"q": empty})) == "BAD_REQUEST"


@pytest.fixture
def registries(admin: Api) -> Iterator[list[tuple[int, str]]]:
    """Ids and names of two registries, by name."""
    name = admin.project()
    url = str(admin.base_url).partition("/api")[0]
    body = {"url": url, "type": "docker-registry"}
    made = [
        (admin.made("/registries", {**body, "name": f"{name}-{n}", "insecure": n == 1}), f"{name}-{n}")
        for n in range(2)
    ]
    yield made
    for number, _ in made:
        assert admin.delete(f"/registries/{number}").status_code == 200


def test_registries_are_searched_and_sorted(admin: Api, registries: list[tuple[int, str]]) -> None:
    first, second = (name for _, name in registries)
    mine = f"name=~{first[:-2].upper()}"
    assert listed(admin, "/registries", q=mine) == [first, second]
    assert listed(admin, "/registries", q=mine, sort="-name") == [second, first]
    assert listed(admin, "/registries", q=f"{mine},insecure=true") == [second]
    assert listed(admin, "/registries", q=f"{mine},type=harbor") == []
    assert listed(admin, "/registries", name=second) == [second]


def test_this_registry_is_number_0(admin: Api, registries: list[tuple[int, str]]) -> None:
    """Harbor's form of a policy asks what 0 can do."""
    here = admin.get("/registries/0").json()
    assert (here["id"], here["name"], here["status"]) == (0, "Local", "healthy")
    assert "event_based" in admin.get("/registries/0/info").json()["supported_triggers"]
    # A push to another registry is no event here.
    there = admin.get(f"/registries/{registries[0][0]}/info").json()
    assert there["supported_triggers"] == ["manual", "scheduled"]
    assert admin.put("/registries/0", json={"description": "x"}).status_code == 404
    assert admin.delete("/registries/0").status_code == 404


def test_policies_of_replication_and_their_runs_are_sorted(
    admin: Api, registries: list[tuple[int, str]]
) -> None:
    (number, name), _ = registries
    filters = [{"type": "name", "value": f"{name}/none"}]
    policy = {"dest_registry": {"id": number}, "trigger": {"type": "manual"}, "filters": filters}
    old = admin.made("/replication/policies", {**policy, "name": f"{name}-b"})
    new = admin.made("/replication/policies", {**policy, "name": f"{name}-a", "enabled": False})
    mine = f"name=~{name}"
    assert listed(admin, "/replication/policies", "id", q=mine) == [new, old]
    assert listed(admin, "/replication/policies", "id", q=mine, sort="-name") == [old, new]
    assert listed(admin, "/replication/policies", "id", q=f"{mine},enabled=true") == [old]
    assert admin.post("/replication/executions", json={"policy_id": new}).status_code == 412
    runs = [admin.made("/replication/executions", {"policy_id": old}) for _ in range(2)]
    path = "/replication/executions"
    assert listed(admin, path, "id", policy_id=old) == runs[::-1]
    assert listed(admin, path, "id", policy_id=old, sort="start_time") == runs
    assert listed(admin, path, "id", policy_id=old, sort="id", page=2, page_size=1) == runs[1:]
    until(lambda: "InProgress" not in listed(admin, path, "status", policy_id=old))
    for made in (old, new):
        assert admin.delete(f"/replication/policies/{made}").status_code == 200


def test_scanners_are_searched_and_say_what_they_can_do(admin: Api, registry: Registry) -> None:
    [embedded] = admin.get("/scanners", params={"q": "name=~SEAW,is_default=true"}).json()
    assert embedded["capabilities"] == {"support_vulnerability": True, "support_sbom": True}
    adapter = spec.Adapter(spec.TRIVY, [])
    with adapter.serve():
        name = f"s{secrets.token_hex(4)}"
        made = admin.post("/scanners", json={"name": name, "url": adapter.url})
        assert made.status_code == 201, made.text
        own = admin.get("/scanners", params={"q": f"Name={name}"}).json()[0]
        assert own["capabilities"]["support_vulnerability"] is True
    path = f"/scanners/{own['uuid']}"
    project = admin.project(auto_scan="true")
    pusher = Pusher(registry)
    try:
        # A project's scanner that was switched off: pushes go on, a scan that is asked for is refused.
        assert admin.put(f"/projects/{project}/scanner", json={"uuid": own["uuid"]}).status_code == 200
        off = {"name": name, "url": adapter.url, "disabled": True}
        assert admin.put(path, json=off).status_code == 200
        pusher.image(f"{project}/a", "v1")
        refused = admin.post(f"/projects/{project}/repositories/a/artifacts/v1/scan", json={})
        assert (refused.status_code, code(refused)) == (412, "PRECONDITION")
        # The default comes first, then the newest.
        assert listed(admin, "/scanners")[:2] == ["Seawall", name]
        assert listed(admin, "/scanners", sort="-create_time")[0] == name
        assert listed(admin, "/scanners", sort="create_time", page_size=100)[-1] == name
        candidates = f"/projects/{project}/scanner/candidates"
        assert listed(admin, candidates, q=f"name={name}") == [name]
        # It is no longer there: it is listed all the same.
        assert admin.get("/scanners", params={"q": f"name={name}"}).json()[0].get("capabilities") is None
        assert admin.patch(path, json={"is_default": False}).status_code == 200
        assert admin.get("/scanners", params={"q": "is_default=true"}).json()[0]["uuid"] == embedded["uuid"]
    finally:
        pusher.client.close()
        assert admin.delete(path).status_code == 200
    assert admin.patch(path, json={"is_default": False}).status_code == 404


def test_runs_of_the_collection_are_searched_and_sorted(admin: Api) -> None:
    path = "/system/gc"
    body = {"schedule": {"type": "Manual"}, "parameters": {"dry_run": True}}
    runs = [admin.made(f"{path}/schedule", body) for _ in range(2)]

    def over() -> bool:
        found = {item["id"]: item["job_status"] for item in admin.get(path, params={"page_size": 100}).json()}
        return all(found[run] == "Success" for run in runs)

    until(over)
    assert listed(admin, path, "id", q="status=Success")[:2] == runs[::-1]
    assert not set(runs) & set(listed(admin, path, "id", q="status=Error", page_size=100))
    assert not set(runs) & set(listed(admin, path, "id", q="trigger=SCHEDULE", page_size=100))
    upwards = listed(admin, path, "id", sort="creation_time", page_size=100)
    assert upwards.index(runs[0]) < upwards.index(runs[1])
    answer = admin.get(path, params={"q": "status=Nothing"})
    assert (answer.json(), answer.headers["X-Total-Count"]) == ([], "0")


def test_targets_of_slack(admin: Api, registry: Registry) -> None:
    """They have no format, and their runs are of another kind."""
    project = admin.project()
    base = f"/projects/{project}/webhook"
    target = {"type": "slack", "address": "https://hooks.slack.example/x"}
    body = {"event_types": ["PUSH_ARTIFACT"], "targets": [target]}
    old = admin.made(f"{base}/policies", {**body, "name": "old"})
    assert "payload_format" not in admin.get(f"{base}/policies/{old}").json()["targets"][0]
    new = admin.made(f"{base}/policies", {**body, "name": "new"})
    assert listed(admin, f"{base}/policies", "id") == [new, old]
    formats = admin.get(f"{base}/events").json()["payload_formats"]
    assert [item["notify_type"] for item in formats] == ["http"]
    pusher = Pusher(registry)
    pusher.image(f"{project}/a", "v1")
    pusher.client.close()
    runs = f"{base}/policies/{new}/executions"
    assert until(lambda: listed(admin, runs, "vendor_type")) == ["SLACK"]


def test_statuses_of_what_is_wrong(admin: Api) -> None:
    project = admin.project()
    members = f"/projects/{project}/members"
    # A name is looked for; an id is a wrong value.
    for whom, status in (({"username": "nobody-has-this"}, 404), ({"user_id": 2**40}, 400)):
        answer = admin.post(members, json={"role_id": 2, "member_user": whom})
        assert answer.status_code == status, answer.text
    number = admin.get(f"/projects/{project}").json()["project_id"]
    [quota] = admin.get("/quotas", params={"reference": "project", "reference_id": number}).json()
    for storage in (-2, 0):
        answer = admin.put(f"/quotas/{quota['id']}", json={"hard": {"storage": storage}})
        assert (answer.status_code, code(answer)) == (400, "BAD_REQUEST")
    assert admin.get("/systeminfo").json()["oidc_provider_name"] == ""
