"""Garbage collection, job monitor and schedules over Harbor's API, on both databases."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.support.registry import Registry
from tests.support.waiting import until


@pytest.fixture
def admin(registry: Registry) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{registry.url}/api/v2.0", auth=registry.admin) as client:
        yield client


def _until(client: httpx.Client, path: str, status: str) -> dict[str, object]:
    def there() -> dict[str, object] | None:
        found: dict[str, object] = client.get(path).json()
        return found if found["job_status"] == status else None

    return until(there, lambda: client.get(path).text)


def test_gc_runs_now_and_by_schedule(admin: httpx.Client) -> None:
    body = {"schedule": {"type": "Manual"}, "parameters": {"delete_untagged": True, "dry_run": True}}
    made = admin.post("/system/gc/schedule", json=body)
    assert made.status_code == 201, made.text
    path = made.headers["Location"].removeprefix("/api/v2.0")
    found = _until(admin, path, "Success")
    assert found["job_kind"] == "MANUAL"
    assert json.loads(str(found["job_parameters"]))["dry_run"] is True
    log = admin.get(f"{path}/log")
    assert log.headers["Content-Type"].startswith("text/plain")
    assert "dry run" in log.text
    history = admin.get("/system/gc")
    assert history.json()[0] == found
    assert int(history.headers["X-Total-Count"]) >= 1
    assert admin.put(path).status_code == 200  # it is over; stopping it is no error
    assert admin.get("/system/gc/999999").status_code == 404
    assert admin.get("/system/gc/999999/log").status_code == 404
    # By default there is a schedule.
    assert admin.get("/system/gc/schedule").json()["schedule"]["cron"] == "0 15 3 * * *"
    daily = {"schedule": {"type": "Daily"}}
    assert admin.post("/system/gc/schedule", json={"schedule": {"type": "weekly"}}).status_code == 201
    assert admin.get("/system/gc/schedule").json()["schedule"]["type"] == "Weekly"
    assert admin.put("/system/gc/schedule", json=daily).status_code == 200
    assert admin.get("/system/gc/schedule").json()["schedule"]["type"] == "Daily"
    listed = admin.get("/schedules").json()
    assert {"GARBAGE_COLLECTION", "EXECUTION_SWEEP"} <= {item["vendor_type"] for item in listed}
    assert admin.put("/system/gc/schedule", json={"schedule": {"type": "None"}}).status_code == 200
    none = admin.get("/system/gc/schedule")
    assert (none.status_code, none.text) == (200, "")
    for wrong in ({"type": "Custom", "cron": "* * *"}, {"type": "Custom"}, {"type": "Never"}, None):
        answer = admin.put("/system/gc/schedule", json={"schedule": wrong})
        assert answer.status_code in (400, 422), wrong
        assert answer.json()["errors"]
    custom = {"schedule": {"type": "Custom", "cron": "0 15 3 * * *"}}
    assert admin.post("/system/gc/schedule", json=custom).status_code == 201


def test_monitor(admin: httpx.Client) -> None:
    [pool] = admin.get("/jobservice/pools").json()
    workers = admin.get(f"/jobservice/pools/{pool['worker_pool_id']}/workers").json()
    assert len(workers) == pool["concurrency"] == 10
    assert admin.get("/jobservice/pools/all/workers").json()
    assert admin.get("/jobservice/pools/nothing/workers").json() == []
    assert admin.put("/jobservice/queues/GARBAGE_COLLECTION", json={"action": "pause"}).status_code == 200
    made = admin.post("/system/gc/schedule", json={"schedule": {"type": "Manual"}})
    path = made.headers["Location"].removeprefix("/api/v2.0")
    queues = {item["job_type"]: item for item in admin.get("/jobservice/queues").json()}
    assert queues["GARBAGE_COLLECTION"]["paused"] is True
    assert queues["GARBAGE_COLLECTION"]["count"] == 1
    assert admin.put("/jobservice/queues/GARBAGE_COLLECTION", json={"action": "stop"}).status_code == 200
    assert admin.get(path).json()["job_status"] == "Stopped"
    assert admin.put("/jobservice/queues/GARBAGE_COLLECTION", json={"action": "resume"}).status_code == 200
    assert admin.put("/jobservice/queues/NONE", json={"action": "pause"}).status_code == 200
    assert admin.put("/jobservice/queues/all", json={"action": "fly"}).status_code in (400, 422)
    assert admin.put("/jobservice/jobs/unknown").status_code == 200
    assert admin.get("/jobservice/jobs/unknown/log").status_code == 404
    assert admin.put("/jobservice/queues/SCHEDULER", json={"action": "pause"}).status_code == 200
    assert admin.get("/schedules/all/paused").json() == {"paused": True}
    assert admin.put("/jobservice/queues/all", json={"action": "resume"}).status_code == 200
    assert admin.get("/schedules/all/paused").json() == {"paused": False}


@pytest.mark.parametrize("path", ["/system/gc", "/system/scanAll", "/system/purgeaudit"])
def test_a_posted_schedule_replaces_the_one_there_is(admin: httpx.Client, path: str) -> None:
    parameters = {"audit_retention_hour": 24, "include_event_types": "create_artifact"}
    for kind in ("Daily", "Weekly"):
        body = {"schedule": {"type": kind}, "parameters": parameters}
        assert admin.post(f"{path}/schedule", json=body).status_code == 201
        assert admin.get(f"{path}/schedule").json()["schedule"]["type"] == kind
    assert admin.put(f"{path}/schedule", json={"schedule": {"type": "None"}}).status_code == 200


def test_queues_have_harbors_names(admin: httpx.Client) -> None:
    names = [item["job_type"] for item in admin.get("/jobservice/queues").json()]
    assert len(names) == len(set(names))
    harbors = {
        "AUDIT_LOGS_GDPR_COMPLIANT", "EXECUTION_SWEEP", "GARBAGE_COLLECTION", "IMAGE_SCAN", "P2P_PREHEAT",
        "PURGE_AUDIT_LOG", "REPLICATION", "RETENTION", "SCAN_ALL", "SCAN_DATA_EXPORT", "SCHEDULER", "WEBHOOK",
    }  # fmt: skip
    assert harbors <= set(names)
    for name in (*names, "All"):
        for word, action, paused in ((name.lower(), "Pause", True), (name.title(), "RESUME", False)):
            answer = admin.put(f"/jobservice/queues/{word}", json={"action": action})
            assert answer.status_code == 200, answer.text
            queues = {item["job_type"]: item["paused"] for item in admin.get("/jobservice/queues").json()}
            assert {queues[one] for one in (names if name == "All" else [name])} == {paused}
    assert admin.put("/jobservice/queues/scheduler", json={"action": "pause"}).status_code == 200
    assert admin.get("/schedules/ALL/paused").json() == {"paused": True}
    assert admin.put("/jobservice/queues/scheduler", json={"action": "resume"}).status_code == 200


def test_only_administrators(registry: Registry) -> None:
    registry.create_user("jobless", "Jobless-12345")
    with httpx.Client(base_url=f"{registry.url}/api/v2.0", auth=("jobless", "Jobless-12345")) as user:
        for path in (
            "/system/gc",
            "/system/gc/schedule",
            "/jobservice/pools",
            "/jobservice/queues",
            "/schedules",
        ):
            assert user.get(path).status_code == 403, path
        assert user.post("/system/gc/schedule", json={"schedule": {"type": "Manual"}}).status_code == 403
    assert httpx.get(f"{registry.url}/api/v2.0/system/gc").status_code == 401
