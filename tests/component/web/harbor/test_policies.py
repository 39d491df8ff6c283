"""Immutable tags, retention and webhooks over the API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.api import Api, code
from tests.support.api_pusher import Pusher
from tests.support.registry import Registry
from tests.support.waiting import until


@pytest.fixture
def pusher(registry: Registry) -> Iterator[Pusher]:
    """The administrator at the registry API."""
    made = Pusher(registry)
    yield made
    made.client.close()


def selectors(tags: str, repositories: str = "**") -> dict[str, Any]:
    """Selectors of a rule."""
    return {
        "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": tags}],
        "scope_selectors": {
            "repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": repositories}]
        },
    }


def test_immutable_tags(admin: Api, pusher: Pusher) -> None:
    project = admin.project()
    digest = pusher.image(f"{project}/a", "v1")
    path = f"/projects/{project}/immutabletagrules"
    rule = {"action": "immutable", "template": "immutable_template", "priority": 0, **selectors("v*")}
    made = admin.made(path, rule)
    [listed] = admin.get(path).json()
    assert (listed["id"], listed["disabled"]) == (made, False)
    assert code(admin.post(path, json={**rule, "disabled": True})) == "CONFLICT"
    artifact = f"/projects/{project}/repositories/a/artifacts/{digest}"
    assert code(admin.delete(artifact)) == "PRECONDITION"
    assert "configured as immutable" in admin.delete(artifact).text
    assert admin.delete(f"{artifact}/tags/v1").status_code == 412
    [tag] = admin.get(f"{artifact}/tags", params={"with_immutable_status": True}).json()
    assert tag["immutable"] is True
    with pytest.raises(AssertionError, match="immutable"):
        pusher.image(f"{project}/a", "v1")
    refused = pusher.client.delete(f"/v2/{project}/a/manifests/v1")
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (412, "DENIED")
    assert code(admin.post(path, json={**rule, **selectors("[")})) == "BAD_REQUEST"
    assert admin.put(f"{path}/{made}", json={**listed, "disabled": True}).status_code == 200
    pusher.image(f"{project}/a", "v1")
    assert admin.delete(f"{path}/{made}").status_code == 200
    assert admin.delete(f"{path}/{made}").status_code == 404


def test_retention(admin: Api, pusher: Pusher) -> None:
    project = admin.project()
    project_id = admin.get(f"/projects/{project}").json()["project_id"]
    for number in range(3):
        pusher.image(f"{project}/a", f"v{number}")
    templates = admin.get("/retentions/metadatas").json()["templates"]
    assert [item["rule_template"] for item in templates] == [
        "latestPushedK", "latestPulledN", "nDaysSinceLastPush", "nDaysSinceLastPull", "always",
    ]  # fmt: skip
    policy = {
        "algorithm": "or",
        "rules": [
            {
                "action": "retain",
                "template": "latestPushedK",
                "params": {"latestPushedK": 1},
                **selectors("**"),
            }
        ],
        "trigger": {"kind": "Schedule", "settings": {"cron": ""}, "references": {}},
        "scope": {"level": "project", "ref": project_id},
    }
    made = admin.made("/retentions", policy)
    assert admin.get(f"/projects/{project}").json()["metadata"]["retention_id"] == str(made)
    assert code(admin.post("/retentions", json=policy)) == "BAD_REQUEST"
    stored = admin.get(f"/retentions/{made}").json()
    assert stored["scope"] == {"level": "project", "ref": project_id}
    stored["trigger"]["settings"]["cron"] = "0 0 0 * * *"
    assert admin.put(f"/retentions/{made}", json=stored).status_code == 200
    assert admin.get(f"/retentions/{made}").json()["trigger"]["settings"]["cron"] == "0 0 0 * * *"
    stored["trigger"]["settings"]["cron"] = "tomorrow"
    assert code(admin.put(f"/retentions/{made}", json=stored)) == "BAD_REQUEST"

    def ended(execution: int) -> Any:
        found = admin.get(f"/retentions/{made}/executions").json()
        return next((e for e in found if e["id"] == execution and e["status"] != "Running"), None)

    for dry_run in (True, False):
        execution = admin.made(f"/retentions/{made}/executions", {"dry_run": dry_run})
        result = until(lambda execution=execution: ended(execution))  # type: ignore[misc]
        assert (result["status"], result["dry_run"]) == ("Success", dry_run)
        tasks = f"/retentions/{made}/executions/{execution}/tasks"
        [task] = admin.get(tasks).json()
        assert (task["repository"], task["total"], task["retained"]) == ("a", 3, 1)
        log = admin.get(f"{tasks}/{task['id']}").text
        assert (log.count("  DEL"), log.count("  RETAIN")) == (2, 1)
        left = admin.get(f"/projects/{project}/repositories/a/artifacts").headers["X-Total-Count"]
        assert left == ("3" if dry_run else "1")
    stop = admin.patch(f"/retentions/{made}/executions/{execution}", json={"action": "stop"})
    assert stop.status_code == 200
    assert admin.delete(f"/retentions/{made}").status_code == 200
    assert admin.get(f"/retentions/{made}").status_code == 404
    assert "retention_id" not in admin.get(f"/projects/{project}").json()["metadata"]


def test_webhook_policies(admin: Api, pusher: Pusher, as_user: Callable[[str], Api]) -> None:
    project = admin.project()
    base = f"/projects/{project}/webhook"
    supported = admin.get(f"{base}/events").json()
    assert set(supported["notify_type"]) == {"http", "slack"}
    policy = {
        "name": "hook",
        "enabled": True,
        "event_types": ["PUSH_ARTIFACT"],
        "targets": [
            # Not on the list of networks that webhooks may reach: refused when it comes to that.
            {"type": "http", "address": "http://127.0.0.1:9/", "auth_header": "Bearer very-secret"}
        ],
    }
    made = admin.made(f"{base}/policies", policy)
    stored = admin.get(f"{base}/policies/{made}")
    assert "very-secret" not in stored.text
    assert stored.json()["targets"][0]["payload_format"] == "Default"
    assert admin.put(f"{base}/policies/{made}", json=stored.json()).status_code == 200
    assert admin.get(f"{base}/policies/{made}").json()["targets"][0]["auth_header"] == "********"
    assert admin.post(f"{base}/policies", json=policy).status_code == 409
    assert code(admin.post(f"{base}/policies", json={**policy, "name": "x", "targets": []})) == "BAD_REQUEST"
    _, guest = admin.user()
    admin.member(project, guest, 3)
    assert as_user(guest).get(f"{base}/policies").status_code == 403
    pusher.image(f"{project}/a", "v1")
    executions = f"{base}/policies/{made}/executions"
    [execution] = until(lambda: [e for e in admin.get(executions).json() if e["status"] == "Error"])
    assert "may not be reached" in execution["status_message"]
    [task] = admin.get(f"{executions}/{execution['id']}/tasks").json()
    assert "127.0.0.1" in admin.get(f"{executions}/{execution['id']}/tasks/{task['id']}/log").text
    [job] = admin.get(f"{base}/jobs", params={"policy_id": made}).json()
    assert job["event_type"] == "PUSH_ARTIFACT"
    [last] = admin.get(f"{base}/lasttrigger").json()
    assert last["last_trigger_time"]
    assert admin.delete(f"{base}/policies/{made}").status_code == 200
    assert admin.get(f"{base}/policies/{made}").status_code == 404
