"""Cases about registries, replication, proxies, preheating, retention and webhooks."""

from __future__ import annotations

import json
from typing import Any

from tests.support.artifacts import rule
from tests.support.harbor.caller import Caller, artifact, harbor_of
from tests.support.waiting import until


def test_a_replication_rule(admin: Caller) -> None:
    _, user = admin.user()
    project, _ = user.project()
    assert [item["project_id"] for item in user.call("GET", "/projects", public="false")] == [project]
    registry = admin.made("/registries", harbor_of(admin, f"registry-{project}"))
    body = {
        "name": f"rule-{project}",
        "dest_registry": {"id": registry},
        "filters": [],
        "trigger": {"type": "manual", "trigger_settings": {"cron": ""}},
        "enabled": True,
        "override": True,
    }
    number = admin.made("/replication/policies", body)
    assert admin.call("GET", f"/replication/policies/{number}")["name"] == f"rule-{project}"
    admin.call("DELETE", f"/replication/policies/{number}")
    admin.call("DELETE", f"/registries/{registry}")


def test_images_are_pulled_from_another_registry(admin: Caller) -> None:
    """As from Docker Hub, whose place a Harbor takes: no account there."""
    _, user = admin.user()
    _, source = admin.project()
    _, target = user.project()
    digest = admin.image(f"{source}/alpine", "latest", "other")
    registry = admin.made("/registries", harbor_of(admin, f"source-{source}"))
    body = {
        "name": f"pull-{source}",
        "src_registry": {"id": registry},
        "dest_namespace": target,
        "filters": [{"type": "name", "value": f"{source}/alpine"}, {"type": "tag", "value": "latest"}],
        "trigger": {"type": "manual", "trigger_settings": {"cron": ""}},
        "enabled": True,
        "override": True,
    }
    number = admin.made("/replication/policies", body)
    admin.api("POST", "/replication/executions", 201, json={"policy_id": number})

    def over() -> bool:
        found = admin.call("GET", "/replication/executions", policy_id=number)
        return any(item["status"] == "Succeed" for item in found)

    until(over, lambda: str(admin.call("GET", "/replication/executions", policy_id=number)))
    found = admin.call("GET", artifact(f"{target}/alpine", "latest"))
    assert (found["digest"], [tag["name"] for tag in found["tags"]]) == (digest, ["latest"])


def test_a_proxy_cache(admin: Caller) -> None:
    user_id, user = admin.user()
    _, source = admin.project()
    image = admin.image(f"{source}/for_proxy", "1.0")
    child = admin.image(f"{source}/index", "child")
    index = admin.index(f"{source}/index", "index_tag", child)
    admin.image(f"{source}/redis", "latest")
    registry = admin.made("/registries", harbor_of(admin, f"proxied-{source}"))
    wrong = {"public": "false", "proxy_cache_filter_pattern": "x/(*", "proxy_cache_filter_kind": "regex"}
    body = {"project_name": f"wrong-{source}", "registry_id": registry, "metadata": wrong}
    admin.call("POST", "/projects", 400, body)
    pattern = {"proxy_cache_filter_pattern": f"{source}/{{for_proxy,index}}"}
    project, name = admin.project(registry_id=registry, metadata=pattern)
    admin.member(project, user_id)
    for repository, tag, digest in (("for_proxy", "1.0", image), ("index", "index_tag", index)):
        path = f"{name}/{source}/{repository}"
        pulled = user.pull(path, tag)
        assert pulled.headers["Docker-Content-Digest"] == digest
        for part in pulled.json().get("manifests", ()):
            document = user.pull(path, part["digest"]).json()
            for blob in (document["config"], *document["layers"]):
                assert user.http.get(f"/v2/{path}/blobs/{blob['digest']}").status_code == 200
        for blob in pulled.json().get("layers") or []:
            assert user.http.get(f"/v2/{path}/blobs/{blob['digest']}").status_code == 200

        def cached(path: str = path, tag: str = tag) -> Any:
            answer = user.http.get(f"/api/v2.0{artifact(path, tag)}")
            return answer.json() if answer.status_code == 200 else None

        found = until(cached, f"{path}:{tag} is not cached")
        assert len(found.get("references") or ()) == (1 if repository == "index" else 0)
    assert "repository filter" in user.pull(f"{name}/{source}/redis", "latest", 404).text
    regular = {
        "proxy_cache_filter_pattern": f"^{source}/(for_proxy|redis)$",
        "proxy_cache_filter_kind": "regex",
    }
    admin.call("PUT", f"/projects/{project}", body={"metadata": regular})
    redis = f"/v2/{name}/{source}/redis/manifests/latest"
    until(lambda: user.http.get(redis, headers={"Accept": "*/*"}).status_code == 200)
    user.pull(f"{name}/{source}/busybox", "latest", 404)


def test_preheating(admin: Caller) -> None:
    _, user = admin.user()
    project, name = user.project()
    instance = {
        "name": f"p2p-{project}",
        "description": "a network",
        "vendor": "dragonfly",
        "endpoint": "http://20.32.244.16",
        "auth_mode": "NONE",
        "enabled": True,
        "insecure": True,
    }
    admin.api("POST", "/p2p/preheat/instances", 201, json=instance)
    path = f"/p2p/preheat/instances/{instance['name']}"
    provider = admin.call("GET", path)["id"]
    filters = [{"type": "repository", "value": "re*"}, {"type": "tag", "value": "v1.0*"}]
    policy = {
        "name": "policy",
        "project_id": project,
        "provider_id": provider,
        "filters": json.dumps(filters),
        "trigger": json.dumps({"type": "manual", "trigger_setting": {"cron": ""}}),
        "enabled": True,
    }
    policies = f"/projects/{name}/preheat/policies"
    user.api("POST", policies, 201, json=policy)
    shown = admin.call("GET", f"{policies}/policy")
    changed = {
        **policy,
        "id": shown["id"],
        "name": "policy_new_name",
        "filters": json.dumps([*filters, {"type": "label", "value": "release"}]),
        "trigger": json.dumps({"type": "scheduled", "trigger_setting": {"cron": "0 8 * * * *"}}),
        "enabled": False,
    }
    user.call("PUT", f"{policies}/policy", body=changed)
    user.call("DELETE", path, 403)
    user.call("DELETE", f"/projects/{project}")
    admin.call("DELETE", path)


def test_retention(admin: Caller) -> None:
    _, user = admin.user()
    project, name = user.project()
    for repository, tags in (
        ("test1", ("1.0",)),
        ("test1", ("2.0",)),
        ("test1", ("3.0", "latest")),
        ("test2", ("1.0",)),
        ("test2", ("latest",)),
        ("test3", ("1.0",)),
        ("test4", ("1.0",)),
    ):
        user.image(f"{name}/{repository}", *tags)
    third = user.call("GET", artifact(f"{name}/test1", "3.0"))["digest"]
    newest = user.call("GET", artifact(f"{name}/test2", "latest"))["digest"]
    for tag in ("latest", "3.0"):
        user.call("DELETE", f"{artifact(f'{name}/test1', third)}/tags/{tag}")

    def retain(tag: str, repository: str = "**", **extra: Any) -> dict[str, Any]:
        made = rule(tag, repository)
        made["tag_selectors"][0].update(extra)  # type: ignore[index]
        return {"disabled": False, "action": "retain", "template": "always", "params": {}, **made}

    policy = {
        "algorithm": "or",
        "rules": [retain("latest*")],
        "trigger": {"kind": "Schedule", "settings": {"cron": ""}, "references": {}},
        "scope": {"level": "project", "ref": project},
    }
    number = user.made("/retentions", policy)
    shown = user.call("GET", f"/retentions/{number}")
    shown["rules"].append(retain("**", "test3*", extras='["untagged":True]'))
    user.call("PUT", f"/retentions/{number}", body=shown)
    for dry_run in (True, False):
        user.api("POST", f"/retentions/{number}/executions", 201, json={"dry_run": dry_run})
        until(lambda: user.call("GET", f"/retentions/{number}/executions")[0]["status"] == "Success")
        execution = user.call("GET", f"/retentions/{number}/executions")[0]
        assert execution["dry_run"] is dry_run
        where = f"/retentions/{number}/executions/{execution['id']}/tasks"
        tasks = user.call("GET", where)
        assert len(tasks) == 4
        assert "test" in user.call("GET", f"{where}/{tasks[0]['id']}")
    left = {}
    for repository in ("test1", "test2"):
        listed = user.call("GET", f"/projects/{name}/repositories/{repository}/artifacts")
        left[repository] = [item["digest"] for item in listed]
    assert left == {"test1": [third], "test2": [newest]}


def test_a_webhook_with_two_targets(admin: Caller) -> None:
    _, user = admin.user()
    project, _ = user.project()
    targets: list[dict[str, Any]] = [
        {"type": "slack", "address": "https://hooks.slack.com/services"},
        {"type": "http", "address": "https://202.10.12.13"},
    ]
    targets = [{**target, "skip_cert_verify": False, "auth_header": "aaa"} for target in targets]
    kinds = [
        "DELETE_ARTIFACT", "PULL_ARTIFACT", "PUSH_ARTIFACT", "QUOTA_EXCEED", "QUOTA_WARNING",
        "SCANNING_FAILED", "TAG_RETENTION",
    ]  # fmt: skip
    body = {"name": "hook", "description": "d", "project_id": project, "targets": targets, "enabled": True}
    path = f"/projects/{project}/webhook/policies"
    number = user.made(path, {**body, "event_types": kinds})
    shown = user.call("GET", f"{path}/{number}")
    assert [(item["type"], item["address"]) for item in shown["targets"]] == [
        (item["type"], item["address"]) for item in targets
    ]
    assert "aaa" not in str(shown)
    one = {**targets[1], "address": f"{targets[0]['address']}/new", "skip_cert_verify": True}
    changed = {
        "name": "new_name",
        "event_types": ["DELETE_ARTIFACT", "TAG_RETENTION"],
        "enabled": False,
        "targets": [one],
    }
    user.call("PUT", f"{path}/{number}", body=changed)
    shown = user.call("GET", f"{path}/{number}")
    assert (shown["name"], shown["enabled"], len(shown["targets"])) == ("new_name", False, 1)
    user.call("DELETE", f"{path}/{number}")
    user.call("GET", f"{path}/{number}", 404)
