"""Cases about the system: settings, health, metrics, jobs, garbage collection, logs."""

from __future__ import annotations

import json
import socket
import threading
from typing import Any

import httpx

from tests.support.artifacts import rule
from tests.support.harbor.attached import cosigned, sbom
from tests.support.harbor.caller import CRON, Caller, artifact, harbor_of
from tests.support.processes import free_port
from tests.support.registry import Registry
from tests.support.waiting import until


def test_health(admin: Caller) -> None:
    assert admin.call("GET", "/health")["status"] == "healthy"


def test_the_banner(admin: Caller) -> None:
    banner = {
        "message": "This is a test message.",
        "type": "info",
        "closable": True,
        "fromDate": "10/27/2023",
        "toDate": "10/31/2030",
    }
    for value in (json.dumps(banner), ""):
        admin.call("PUT", "/configurations", body={"banner_message": value})
        shown = admin.call("GET", "/configurations")["banner_message"]
        assert shown == {"value": value, "editable": True}
        assert admin.call("GET", "/systeminfo")["banner_message"] == value


def test_metrics(admin: Caller, site: Registry) -> None:
    admin.project()
    _, name = admin.project(public=True)
    admin.image(f"{name}/app")
    admin.pull(f"{name}/app", "latest")
    statistics = admin.call("GET", "/statistics")
    wanted = {
        "exporter": (
            "harbor_project_artifact_total harbor_project_member_total harbor_project_quota_byte "
            "harbor_project_repo_total harbor_project_total harbor_task_concurrency "
            "harbor_task_queue_latency harbor_task_queue_size harbor_task_scheduled_total "
            "harbor_project_quota_usage_byte harbor_jobservice_info "
            "harbor_artifact_pulled harbor_health harbor_system_info harbor_up"
        ),
        "core": (
            "harbor_core_http_request_total harbor_core_http_request_duration_seconds "
            "harbor_core_http_inflight_requests"
        ),
        "registry": (
            "registry_http_request_duration_seconds_bucket registry_http_request_duration_seconds_count "
            "registry_http_requests_total registry_storage_action_seconds_bucket "
            "registry_storage_action_seconds_sum registry_storage_action_seconds_count"
        ),
        "jobservice": ("harbor_jobservice_task_process_time_seconds harbor_jobservice_task_total"),
    }
    missing = []
    for part, names in wanted.items():

        def text(part: str = part) -> str:
            return httpx.get(f"{site.url}/metrics", params={"comp": part}, timeout=60).text

        missing += [name for name in names.split() if name not in text()]
    assert missing == []

    def counted() -> bool:
        shown = httpx.get(f"{site.url}/metrics", params={"comp": "exporter"}, timeout=60).text
        now = admin.call("GET", "/statistics")
        return all(
            f'harbor_project_total{{public="{flag}"}} {float(now[f"{word}_project_count"])}' in shown
            for flag, word in (("false", "private"), ("true", "public"))
        )

    assert statistics["public_project_count"] > 0
    until(counted)


class Syslog:
    """A syslog server over TCP that keeps what it gets."""

    def __init__(self, port: int) -> None:
        self.text = ""
        self._socket = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            while chunk := connection.recv(65536):
                self.text += chunk.decode()

    def close(self) -> None:
        self._socket.close()


def test_the_log_goes_to_syslog(admin: Caller) -> None:
    _, user = admin.user()
    _, name = user.project()
    port = free_port()
    server = Syslog(port)
    endpoint = f"127.0.0.1:{port}"

    def told(resource: str, kind: str, name: str = user.name, action: str = "create") -> bool:
        return any(
            f'operator="{name}"' in line
            and f'resourceType="{kind}"' in line
            and f"action:{action}, resource:{resource}, " in line
            for line in server.text.splitlines()
        )

    def newest() -> Any:
        return admin.call("GET", "/auditlog-exts", sort="-creation_time", page_size=1, page=1)[0]

    try:
        admin.call("PUT", "/configurations", 400, {"skip_audit_log_database": True})
        admin.call("PUT", "/configurations", body={"audit_log_forward_endpoint": endpoint})
        shown = admin.call("GET", "/configurations")
        assert shown["audit_log_forward_endpoint"]["value"] == endpoint
        assert shown["skip_audit_log_database"]["value"] is False
        user.image(f"{name}/app")
        pushed = newest()
        wanted = {
            "operation": "create",
            "resource": f"{name}/app:latest",
            "resource_type": "artifact",
            "username": user.name,
        }
        assert {key: pushed[key] for key in wanted} == wanted
        assert pushed["op_time"]
        until(lambda: told(f"{name}/app:latest", "artifact"))
        before = newest()
        server.text = ""
        # The change itself goes by what it says.
        admin.call("PUT", "/configurations", body={"skip_audit_log_database": True})
        until(lambda: told("configuration", "configuration", "admin", "update"))
        user.tag(f"{name}/app", "latest", "test")
        assert newest() == before
        until(lambda: told(f"{name}/app:test", "tag"))
        admin.call("PUT", "/configurations", 400, {"audit_log_forward_endpoint": ""})
    finally:
        settings = {"audit_log_forward_endpoint": "", "skip_audit_log_database": False}
        admin.call("PUT", "/configurations", body=settings)
        server.close()


def collect(admin: Caller, **parameters: Any) -> tuple[dict[str, Any], str]:
    """Collect garbage now; (parameters with figures of the history, log)."""
    body = {"schedule": {"type": "Manual"}, "parameters": {"delete_untagged": False, **parameters}}
    number = admin.made("/system/gc/schedule", body)
    until(lambda: admin.call("GET", f"/system/gc/{number}")["job_status"] == "Success")
    newest = admin.call("GET", "/system/gc")[0]
    assert (newest["id"], newest["job_kind"], newest["job_name"]) == (number, "MANUAL", "GARBAGE_COLLECTION")
    return json.loads(newest["job_parameters"]), admin.call("GET", f"/system/gc/{number}/log")


def test_garbage_collection(admin: Caller) -> None:
    _, user = admin.user()
    _, name = user.project()
    _, untagged = user.project()
    admin.image(f"{name}/app", "latest", "v1.2.3", size=100_000)
    user.call("DELETE", f"/projects/{name}/repositories/app")
    admin.image(f"{untagged}/app", "v1.0", size=50_000)
    admin.call("DELETE", f"{artifact(f'{untagged}/app', 'v1.0')}/tags/v1.0")
    found, log = collect(admin, workers=1)
    assert (found["delete_untagged"], found["dry_run"], found["workers"]) == (False, False, 1)
    assert found["purged_blobs"] >= 2
    assert found["purged_manifests"] >= 1
    assert found["freed_space"] >= 100_000
    assert "workers: 1" in log
    assert f"{found['purged_blobs']} blobs and {found['purged_manifests']} manifests eligible" in log
    listed = f"/projects/{untagged}/repositories/app/artifacts"
    assert len(user.call("GET", listed)) == 1
    found, log = collect(admin, delete_untagged=True, workers=2)
    assert (found["delete_untagged"], found["workers"]) == (True, 2)
    assert found["purged_manifests"] >= 1
    assert found["freed_space"] >= 50_000
    assert "workers: 2" in log
    assert [item["name"] for item in user.call("GET", f"/projects/{untagged}/repositories")] == [
        f"{untagged}/app"
    ]
    assert user.call("GET", listed) == []
    # What belongs to an image goes when it goes, and is named.
    app = f"{name}/signed"
    image = user.image(app)
    attached, signature = sbom(user, app, image), cosigned(user, app, image)
    of_sbom, of_signature = cosigned(user, app, attached), cosigned(user, app, signature)
    user.call("DELETE", artifact(app, of_signature))
    found, log = collect(admin, workers=3)
    assert (found["purged_blobs"], found["purged_manifests"], found["workers"]) == (1, 1, 3)
    assert f"delete blob from storage: {of_signature}" in log
    user.call("DELETE", artifact(app, attached))
    found, log = collect(admin)
    assert found["purged_manifests"] == 2
    assert all(f"delete blob from storage: {digest}" in log for digest in (attached, of_sbom))
    found, log = collect(admin)
    assert (found["purged_blobs"], found["purged_manifests"], found["freed_space"]) == (0, 0, 0)
    assert signature not in log
    user.call("DELETE", f"{artifact(app, 'latest')}/tags/latest")
    found, log = collect(admin, delete_untagged=True)
    assert found["purged_manifests"] == 2
    assert all(f"delete blob from storage: {digest}" in log for digest in (image, signature))
    assert all(f"delete the untagged artifact: {app}@{digest}" in log for digest in (image, signature))


def queues(admin: Caller) -> dict[str, dict[str, Any]]:
    return {item["job_type"]: item for item in admin.call("GET", "/jobservice/queues")}


def purge_now(admin: Caller, **parameters: Any) -> int:
    usual = {
        "audit_retention_hour": 24,
        "include_event_types": "create_artifact,delete_artifact,pull_artifact",
    }
    body = {"schedule": {"type": "Manual"}, "parameters": {**usual, "dry_run": False, **parameters}}
    return admin.made("/system/purgeaudit/schedule", body)


def test_the_dashboard_of_jobs(admin: Caller) -> None:
    both = ("GARBAGE_COLLECTION", "PURGE_AUDIT_LOG")
    harbors = {
        "P2P_PREHEAT", "IMAGE_SCAN", "REPLICATION", "RETENTION", "SCAN_DATA_EXPORT", "SCHEDULER", "WEBHOOK",
        "EXECUTION_SWEEP",
    }  # fmt: skip
    assert {*both, *harbors} <= queues(admin).keys()

    def act(action: str, *names: str) -> None:
        for name in names:
            admin.call("PUT", f"/jobservice/queues/{name}", body={"action": action})

    def start() -> None:
        admin.made("/system/gc/schedule", {"schedule": {"type": "Manual"}, "parameters": {"dry_run": True}})
        purge_now(admin)
        shown = queues(admin)
        assert all(shown[name]["count"] > 0 and shown[name]["latency"] > 0 for name in both)

    def empty() -> bool:
        return all("count" not in queues(admin)[name] for name in both)

    for end in ("resume", "stop"):
        act("pause", *both)
        assert all(queues(admin)[name]["paused"] for name in both)
        start()
        act(end, *both)
        until(empty)
    start()
    act("stop", "all")
    until(empty)
    act("resume", "all")
    assert not any(queues(admin)[name]["paused"] for name in both)
    # Schedules of everything that has one.
    project, name = admin.project()
    retention = {
        "algorithm": "or",
        "rules": [{"disabled": False, "action": "retain", "template": "always", "params": {}, **rule("**")}],
        "trigger": {"kind": "Schedule", "settings": {"cron": CRON}, "references": {}},
        "scope": {"level": "project", "ref": project},
    }
    retention_id = admin.made("/retentions", retention)
    instance = {"name": f"instance-{project}", "vendor": "dragonfly", "endpoint": "https://p2p.example"}
    admin.api("POST", "/p2p/preheat/instances", 201, json={**instance, "auth_mode": "NONE", "enabled": True})
    provider = admin.call("GET", f"/p2p/preheat/instances/{instance['name']}")["id"]
    policy = {
        "name": "policy",
        "project_id": project,
        "provider_id": provider,
        "filters": json.dumps([{"type": "repository", "value": "re*"}, {"type": "tag", "value": "v1.0*"}]),
        "trigger": json.dumps({"type": "scheduled", "trigger_setting": {"cron": CRON}}),
        "enabled": True,
    }
    admin.api("POST", f"/projects/{name}/preheat/policies", 201, json=policy)
    preheat_id = admin.call("GET", f"/projects/{name}/preheat/policies/policy")["id"]
    registry_id = admin.made("/registries", harbor_of(admin, f"registry-{project}"))
    trigger = {"type": "scheduled", "trigger_settings": {"cron": CRON}}
    replication = {
        "name": f"rule-{project}",
        "dest_registry": {"id": registry_id},
        "trigger": trigger,
        "enabled": True,
    }
    replication_id = admin.made("/replication/policies", replication)
    weekly = {"schedule": {"type": "Custom", "cron": CRON}}
    admin.api("POST", "/system/scanAll/schedule", 201, json=weekly)
    admin.api("POST", "/system/gc/schedule", 201, json={**weekly, "parameters": {"delete_untagged": True}})
    kinds = {"audit_retention_hour": 24, "include_event_types": "create_artifact", "dry_run": True}
    admin.api("POST", "/system/purgeaudit/schedule", 201, json={**weekly, "parameters": kinds})

    def schedules() -> dict[tuple[str, int], str]:
        found = admin.call("GET", "/schedules", page_size=50, page=1)
        return {(item["vendor_type"], item["vendor_id"]): item["cron"] for item in found}

    of_policies = {("RETENTION", retention_id), ("P2P_PREHEAT", preheat_id), ("REPLICATION", replication_id)}
    of_system = {(kind, -1) for kind in ("SCAN_ALL", *both)}
    shown = schedules()
    assert {shown[key] for key in of_policies | of_system} == {CRON}
    for action, paused in (("pause", True), ("resume", False)):
        act(action, "scheduler")
        assert admin.call("GET", "/schedules/all/paused") == {"paused": paused}
    none = {"schedule": {"type": "None", "cron": ""}}
    for part in ("scanAll", "gc", "purgeaudit"):
        admin.call("PUT", f"/system/{part}/schedule", body=none)
    shown = schedules()
    assert of_policies <= shown.keys()
    assert not of_system & shown.keys()
    # Workers.
    for pool in admin.call("GET", "/jobservice/pools"):
        assert all(pool[key] for key in ("pid", "worker_pool_id", "concurrency", "start_at", "heartbeat_at"))
        workers = admin.call("GET", f"/jobservice/pools/{pool['worker_pool_id']}/workers")
        assert len(workers) == pool["concurrency"]
        assert {item["pool_id"] for item in workers} == {pool["worker_pool_id"]}
    admin.call("PUT", "/jobservice/jobs/966a49aa2278b67d743f8aca")
    _, user = admin.user()
    for method, path, body in (
        ("GET", "/jobservice/queues", None),
        ("PUT", "/jobservice/queues/GARBAGE_COLLECTION", {"action": "pause"}),
        ("PUT", "/jobservice/jobs/966a49aa2278b67d743f8aca", None),
        ("GET", "/jobservice/pools", None),
        ("GET", "/jobservice/pools/13e0cfe999715102c47614ec/workers", None),
        ("GET", "/schedules", None),
    ):
        assert "FORBIDDEN" in str(user.call(method, path, 403, body))
    user.call("GET", "/schedules/all/paused")
    wrong = user.call("GET", "/schedules/GARBAGE_COLLECTION/paused", 400)
    assert "job_type can only be 'all'" in str(wrong)


def test_the_purge_of_the_log(admin: Caller) -> None:
    number = purge_now(admin, dry_run=True)
    assert admin.call("GET", "/system/purgeaudit", sort="-creation_time", page_size=1)[0]["id"] == number
    admin.call("PUT", f"/system/purgeaudit/{number}")
    over = ("Stopped", "Success")
    until(lambda: admin.call("GET", f"/system/purgeaudit/{number}")["job_status"] in over)
    number = purge_now(admin, audit_retention_hour=1)
    until(lambda: admin.call("GET", f"/system/purgeaudit/{number}")["job_status"] == "Success")
    log = admin.call("GET", f"/system/purgeaudit/{number}/log")
    assert "Purge audit job start" in log
    assert "rows of audit logs" in log
    path = "/system/purgeaudit/schedule"
    for method, kind, cron, hours, types in (
        ("POST", "Weekly", CRON, 24, "create_artifact,delete_artifact,pull_artifact"),
        ("PUT", "Custom", "0 15 10 ? * *", 12, "create_artifact,delete_artifact"),
        ("PUT", "Custom", "0 15 10 ? * *", 12, "create_artifact,other"),
    ):
        parameters = {"audit_retention_hour": hours, "include_event_types": types, "dry_run": False}
        body = {"schedule": {"type": kind, "cron": cron}, "parameters": parameters}
        admin.api(method, path, 201 if method == "POST" else 200, json=body)
        shown = admin.call("GET", path)
        assert (shown["schedule"]["type"], shown["schedule"]["cron"]) == (kind, cron)
        stored = json.loads(shown["job_parameters"])
        assert (stored["audit_retention_hour"], stored["include_event_types"]) == (hours, types)
    _, user = admin.user()
    for method, where, given in (
        ("POST", path, body),
        ("PUT", f"/system/purgeaudit/{number}", None),
        ("GET", f"/system/purgeaudit/{number}", None),
        ("GET", f"/system/purgeaudit/{number}/log", None),
        ("GET", "/system/purgeaudit", None),
        ("GET", path, None),
        ("PUT", path, body),
    ):
        assert "FORBIDDEN" in str(user.call(method, where, 403, given))
    admin.call("PUT", path, body={"schedule": {"type": "None", "cron": ""}})
