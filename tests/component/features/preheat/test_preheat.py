"""Preheating against a receiver that speaks as Dragonfly's manager and Kraken's proxy do.

The receiver fetches what it is told of, with the headers it is given. No real Dragonfly or Kraken is met.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.support.api import Api, code
from tests.support.api_pusher import Pusher
from tests.support.p2p import Network
from tests.support.registry import Registry
from tests.support.waiting import until


@pytest.fixture
def network() -> Iterator[Network]:
    made = Network()
    yield made
    made.close()


@pytest.fixture
def instance(admin: Api, network: Network) -> Iterator[Callable[..., int]]:
    """Makes instances of the network; they go, with their policies' projects, afterwards."""
    names: list[str] = []

    def make(vendor: str = "dragonfly", **values: Any) -> int:
        name = f"{vendor}-{network.server.server_address[1]}-{len(names)}"
        path = "" if not names else f"/{len(names)}"
        body = {"name": name, "vendor": vendor, "endpoint": network.url + path, "enabled": True, **values}
        answer = admin.post("/p2p/preheat/instances", json=body)
        assert answer.status_code == 201, answer.text
        assert answer.headers["Location"].endswith(f"/p2p/preheat/instances/{name}")
        names.append(name)
        return int(admin.get(f"/p2p/preheat/instances/{name}").json()["id"])

    yield make
    for name in names:
        with contextlib.suppress(httpx.HTTPError):
            admin.delete(f"/p2p/preheat/instances/{name}")


def policy(
    provider: int, *filters: tuple[str, Any], trigger: str = "manual", **values: Any
) -> dict[str, Any]:
    return {
        "name": "warm",
        "provider_id": provider,
        "filters": json.dumps([{"type": kind, "value": value} for kind, value in filters]),
        "trigger": json.dumps({"type": trigger, "trigger_setting": values.pop("setting", {})}),
        "enabled": True,
        **values,
    }


def ended(admin: Api, path: str) -> dict[str, Any]:
    def check() -> Any:
        found = admin.get(path).json()
        return found if found["status"] != "Running" else None

    return dict(until(check))


def drop(admin: Api, project: str) -> None:
    """Remove the policies of a project, so that its instance can go."""
    for item in admin.get(f"/projects/{project}/preheat/policies").json():
        assert admin.delete(f"/projects/{project}/preheat/policies/{item['name']}").status_code == 200


def test_instances(admin: Api, network: Network) -> None:
    base = "/p2p/preheat/instances"
    assert {item["id"] for item in admin.get("/p2p/preheat/providers").json()} == {"dragonfly", "kraken"}
    body = {
        "name": "df-1",
        "vendor": "dragonfly",
        "endpoint": network.url,
        "auth_mode": "BASIC",
        "auth_info": {"alice": "secret"},
        "default": True,
    }
    assert admin.post(f"{base}/ping", json=body).status_code == 200
    assert network.headers[-1]["authorization"] == "Basic " + base64.b64encode(b"alice:secret").decode()
    assert admin.post(base, json=body).status_code == 201
    assert admin.post(base, json=body).status_code == 409
    for bad in (
        {"name": "a b"},
        {"name": "x", "vendor": "other"},
        {"name": "x", "endpoint": "file:///etc/passwd"},
        {"name": "x", "endpoint": f"{network.url}/x", "auth_mode": "OAUTH", "auth_info": {}},
        {"name": "x", "endpoint": f"{network.url}/x", "auth_mode": "CUSTOM", "auth_info": {"a b": "c"}},
        {"name": "x", "endpoint": f"{network.url}/x", "auth_mode": "CUSTOM", "auth_info": {"a": "c\r\nd: e"}},
    ):
        refused = admin.post(base, json={**body, **bad})
        assert refused.status_code == 400, refused.text
    shown = admin.get(f"{base}/df-1")
    assert shown.json()["status"] == "Healthy"
    assert "secret" not in shown.text + admin.get(base).text
    # Credentials stay when they are not given.
    assert admin.put(f"{base}/df-1", json={"name": "df-2", "enabled": False}).status_code == 200
    found = admin.get(f"{base}/df-2").json()
    assert found["enabled"] is False
    assert admin.post(f"{base}/ping", json={"id": found["id"]}).status_code == 200
    assert network.headers[-1]["authorization"].startswith("Basic ")
    token = {"auth_mode": "OAUTH", "auth_info": {"token": "t1"}}
    assert admin.put(f"{base}/df-2", json=token).status_code == 200
    assert admin.post(f"{base}/ping", json={"id": found["id"]}).status_code == 200
    assert network.headers[-1]["authorization"] == "Bearer t1"
    listed = admin.get(base, params={"q": "name=df-2"})
    assert listed.headers["X-Total-Count"] == "1"
    network.well = False
    assert admin.get(f"{base}/df-2").json()["status"] == "Unhealthy"
    assert admin.post(f"{base}/ping", json={"id": found["id"]}).status_code == 400
    assert admin.post(f"{base}/ping", json={"id": 2**40}).status_code == 404
    assert admin.post(f"{base}/ping", json={}).status_code == 400
    assert admin.delete(f"{base}/df-2").status_code == 200
    assert admin.get(f"{base}/df-2").status_code == 404


def test_dragonfly(admin: Api, registry: Registry, network: Network, instance: Callable[..., int]) -> None:
    pusher = Pusher(registry)
    project, provider = admin.project(), instance()
    digest = pusher.image(f"{project}/app/web", "v1")
    pusher.image(f"{project}/app/web", "beta")
    pusher.image(f"{project}/other", "v1")
    path = f"/projects/{project}/preheat/policies"
    body = policy(
        provider,
        ("repository", "app/**"),
        ("tag", "v*"),
        extra_attrs=json.dumps({"scope": "all_peers", "cluster_ids": [1]}),
    )
    made = admin.post(path, json=body)
    assert made.status_code == 201, made.text
    assert admin.post(path, json=body).status_code == 409
    [seen] = admin.get(f"/projects/{project}/preheat/providers").json()[-1:]
    assert seen["enabled"] is True
    shown = admin.get(f"{path}/warm").json()
    assert json.loads(shown["trigger"])["type"] == "manual"
    assert {item["type"] for item in json.loads(shown["filters"])} == {"repository", "tag"}
    # The network stumbles once; the task goes on.
    network.broken = 1
    started = admin.post(f"{path}/warm", json={})
    assert started.status_code == 201, started.text
    run = started.headers["Location"]
    execution = ended(admin, run)
    assert (execution["status"], execution["metrics"]["success_task_count"]) == ("Success", 1)
    assert network.fetched == [(200, digest)], "the token lets the network read the image"
    [job] = network.jobs
    assert (job["type"], job["args"]["type"], job["args"]["scope"]) == ("preheat", "image", "all_peers")
    assert job["scheduler_cluster_ids"] == [1]
    [task] = admin.get(f"{run}/tasks").json()
    assert task["extra_attrs"] == {"artifact": f"{project}/app/web:v1", "digest": digest, "kind": "image"}
    log = admin.get(f"{run}/tasks/{task['id']}/logs").text
    assert "500" in log
    assert "Success" in log
    assert "Bearer" not in log
    assert admin.get(f"{run}/tasks/999999/logs").status_code == 404
    network.end = "FAILURE"
    failed = ended(admin, admin.post(f"{path}/warm", json={}).headers["Location"])
    assert failed["status"] == "Error"
    [task] = admin.get(f"{path}/warm/executions/{failed['id']}/tasks").json()
    assert "no space" in task["status_message"]
    network.end = "PENDING"
    run = admin.post(f"{path}/warm", json={}).headers["Location"]
    until(lambda: admin.get(f"{run}/tasks").json()[:1] and admin.get(f"{run}/tasks").json()[0]["run_count"])
    assert admin.delete(f"{path}/warm").status_code == 412
    assert admin.patch(run, json={"status": "Running"}).status_code == 400
    assert admin.patch(run, json={"status": "Stopped"}).status_code == 200
    assert ended(admin, run)["status"] == "Stopped"
    listed = admin.get(f"{path}/warm/executions", params={"page_size": 2})
    assert listed.headers["X-Total-Count"] == "3"
    assert [item["status"] for item in listed.json()] == ["Stopped", "Error"]
    # Nothing selected is a success without tasks.
    none = {"filters": json.dumps([{"type": "tag", "value": "none"}])}
    assert admin.put(f"{path}/warm", json=none).status_code == 200
    empty = ended(admin, admin.post(f"{path}/warm", json={}).headers["Location"])
    assert (empty["status"], empty["status_message"]) == ("Success", "no artifacts to preheat")
    network.well = False
    assert admin.post(f"{path}/warm", json={}).status_code == 502
    assert admin.put(f"{path}/warm", json={"enabled": False}).status_code == 200
    assert admin.post(f"{path}/warm", json={}).status_code == 412
    assert (
        code(admin.delete(f"/p2p/preheat/instances/dragonfly-{network.url.rpartition(':')[2]}-0"))
        == "PRECONDITION"
    )
    drop(admin, project)


def test_kraken_on_push_label_and_schedule(
    admin: Api, registry: Registry, network: Network, instance: Callable[..., int]
) -> None:
    pusher = Pusher(registry)
    project, provider = admin.project(), instance("kraken")
    path = f"/projects/{project}/preheat/policies"
    label = admin.made("/labels", {"name": f"hot-{project}", "scope": "g"})
    pushed = policy(provider, ("repository", "app"), ("tag", "v*"), trigger="event_based")
    labeled = policy(provider, ("label", f"hot-{project}"), trigger="event_based", name="labeled")
    signed = policy(provider, ("signature", True), trigger="event_based", name="signed")
    scanned = policy(provider, ("vulnerability", 3), trigger="event_based", name="scanned")
    for body in (pushed, labeled, signed, scanned):
        assert admin.post(path, json=body).status_code == 201
    digest = pusher.image(f"{project}/app", "v1")
    [event] = until(lambda: list(network.events))
    target = event["Target"]
    assert (event["Action"], target["Repository"], target["Tag"]) == ("push", f"{project}/app", "v1")
    assert target["Digest"] == digest
    assert target["Url"].endswith(f"/v2/{project}/app/manifests/v1")
    other = pusher.image(f"{project}/lib", "w1")
    artifact = f"/projects/{project}/repositories/lib/artifacts/{other}"
    assert admin.post(f"{artifact}/labels", json={"id": label}).status_code == 200
    until(lambda: [item for item in network.events if item["Target"]["Digest"] == other])
    assert len([item for item in network.events if item["Target"]["Digest"] == digest]) == 1
    # Two when the push was looked at only after the label was there.
    runs = admin.get(f"{path}/labeled/executions").json()
    assert {run["trigger"] for run in runs} == {"EVENT_BASED"}
    before = len(network.events)
    for name in ("signed", "scanned"):
        assert admin.get(f"{path}/{name}/executions").json() == []
    every = policy(
        provider, ("repository", "lib"), trigger="scheduled", name="often", setting={"cron": "* * * * * *"}
    )
    assert admin.post(path, json=every).status_code == 201
    until(lambda: len(network.events) > before)
    off = {"enabled": False}
    assert admin.put(f"{path}/often", json=off).status_code == 200
    for bad in (
        {"trigger": '{"type": "hourly"}'},
        {"trigger": "{"},
        {"trigger": '{"type": "scheduled", "trigger_setting": {"cron": "x"}}'},
        {"filters": '[{"type": "size", "value": 1}]'},
        {"filters": '[{"type": "tag", "value": 1}]'},
        {"filters": '{"a": 1}'},
        {"extra_attrs": '{"scope": "everywhere"}'},
        {"name": "a/b"},
    ):
        assert admin.put(f"{path}/often", json=bad).status_code == 400, bad
    assert admin.put(f"{path}/often", json={"provider_id": 2**40}).status_code == 404
    until(lambda: all(item["status"] != "Running" for item in admin.get(f"{path}/often/executions").json()))
    drop(admin, project)
