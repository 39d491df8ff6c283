"""Cases about robots that have every right there is: what each operation answers them.

Where Harbor answers 500 to what a caller got wrong, Seawall answers 400, 404 or 422: see
docs/api-coverage.md.
"""

from __future__ import annotations

from typing import Any

from tests.support.artifacts import rule
from tests.support.harbor.caller import CRON, Caller, artifact, harbor_of

WRONG = (400, 404, 422)


def check(caller: Caller, table: list[tuple[Any, ...]]) -> None:
    """Each row: method, path, expected status or statuses, body; one error names all that differ."""
    told = []
    for method, path, expect, *rest in table:
        options = {"json": rest[0]} if rest else {}
        base = "" if path.startswith("/v2/") else "/api/v2.0"
        answer = caller.http.request(method, base + path, **options)
        wanted = expect if isinstance(expect, tuple) else (expect,)
        if answer.status_code not in wanted:
            told.append(f"{method} {path}: {answer.status_code}, not {expect}: {answer.text[:200]}")
    assert not told, "\n".join(told)


def test_every_right_in_a_project(admin: Caller) -> None:
    project, name = admin.project()
    app = f"{name}/app"
    admin.image(app, "v1")
    rights = admin.call("GET", "/permissions")["project"]
    everything = [{"kind": "project", "namespace": name, "access": rights}]
    _, robot = admin.robot("project", everything)
    base, by_name, image = f"/projects/{project}", f"/projects/{name}", artifact(app, "v1")
    label = {"name": "mine", "scope": "p", "project_id": project, "color": "#FFFFFF"}
    number = robot.made("/labels", label)
    other = admin.made("/labels", {"name": "for-artifacts", "scope": "p", "project_id": project})
    hook = {
        "name": "hook",
        "project_id": project,
        "targets": [{"type": "http", "address": "http://test.example", "payload_format": "CloudEvents"}],
        "event_types": ["PUSH_ARTIFACT"],
        "enabled": True,
    }
    hooks = f"{base}/webhook/policies"
    hook_id = robot.made(hooks, hook)
    retain = {"disabled": False, "action": "retain", "template": "always", "params": {}, **rule("**")}
    policy = {
        "algorithm": "or",
        "rules": [retain],
        "trigger": {"kind": "Schedule", "settings": {"cron": ""}, "references": {}},
        "scope": {"level": "project", "ref": project},
    }
    retention = robot.made("/retentions", policy)
    kept, none = f"/retentions/{retention}", 88888888
    missing = f"{by_name}/repositories/does_not_exist"
    check(
        robot,
        [
            ("GET", f"/labels?scope=p&project_id={project}", 200),
            ("GET", f"/labels/{number}", 200),
            ("PUT", f"/labels/{number}", 200, label),
            ("DELETE", f"/labels/{number}", 200),
            ("GET", base, 200),
            ("PUT", base, 200, {"metadata": {"public": "false"}}),
            ("GET", f"{base}/_deletable", 200),
            ("DELETE", base, 412),
            ("POST", f"{base}/metadatas", 200, {"auto_scan": "true"}),
            ("GET", f"{base}/metadatas", 200),
            ("GET", f"{base}/metadatas/auto_scan", 200),
            ("PUT", f"{base}/metadatas/auto_scan", 200, {"auto_scan": "false"}),
            ("DELETE", f"{base}/metadatas/auto_scan", 200),
            ("GET", f"{by_name}/repositories", 200),
            ("GET", missing, 404),
            ("PUT", missing, 404, {}),
            ("DELETE", missing, 404),
            ("GET", f"{by_name}/repositories/app/artifacts", 200),
            ("GET", image, 200),
            ("POST", f"{by_name}/repositories/target/artifacts?from={app}:v1", 201),
            ("DELETE", artifact(f"{name}/target", "v1"), 200),
            ("POST", f"{image}/scan", 202, {"scan_type": "vulnerability"}),
            ("POST", f"{image}/scan/stop", 202, {"scan_type": "vulnerability"}),
            ("GET", f"{image}/scan/83be44fd-1234-5678-b49f-4b6d6e8f5730/log", 404),
            ("POST", f"{image}/scan", 202, {"scan_type": "sbom"}),
            ("POST", f"{image}/scan/stop", 202, {"scan_type": "sbom"}),
            ("POST", f"{image}/tags", 201, {"name": "test-1"}),
            ("GET", f"{image}/tags", 200),
            ("DELETE", f"{image}/tags/test-1", 200),
            ("GET", f"{image}/accessories", 200),
            ("GET", f"{image}/additions/vulnerabilities", 200),
            ("GET", f"{image}/additions/dependencies", 400),
            ("POST", f"{image}/labels", 200, {"id": other}),
            ("DELETE", f"{image}/labels/{other}", 200),
            ("PUT", f"{base}/scanner", (200, 404), {"uuid": "faked_uuid"}),
            ("GET", f"{base}/scanner", 200),
            ("GET", f"{base}/scanner/candidates", 200),
            ("POST", f"{by_name}/preheat/policies", WRONG, {}),
            ("GET", f"{by_name}/preheat/policies", 200),
            ("GET", f"{by_name}/preheat/policies/none", 404),
            ("PUT", f"{by_name}/preheat/policies/none", WRONG),
            ("DELETE", f"{by_name}/preheat/policies/none", 404),
            ("POST", f"{base}/immutabletagrules", 201, rule("1234", "5678")),
            ("GET", f"{base}/immutabletagrules", 200),
            ("PUT", f"{base}/immutabletagrules/0", 404, rule("1234", "9")),
            ("DELETE", f"{base}/immutabletagrules/0", 404),
            ("GET", kept, 200),
            ("PUT", kept, 200, {**policy, "id": retention}),
            ("POST", f"/retentions/{none}/executions", WRONG, {"dry_run": True}),
            ("GET", f"{kept}/executions", 200),
            ("PATCH", f"{kept}/executions/{none}", 404, {"action": "stop"}),
            ("GET", f"{kept}/executions/{none}/tasks", 404),
            ("GET", f"{kept}/executions/{none}/tasks/{none}", 404),
            ("DELETE", kept, 200),
            ("GET", f"{by_name}/logs", 200),
            ("GET", hooks, 200),
            ("GET", f"{hooks}/{hook_id}", 200),
            ("PUT", f"{hooks}/{hook_id}", 200, hook),
            ("GET", f"{hooks}/{hook_id}/executions", 200),
            ("GET", f"{hooks}/{hook_id}/executions/{none}/tasks", 404),
            ("GET", f"{hooks}/{hook_id}/executions/{none}/tasks/{none}/log", 404),
            ("GET", f"{base}/webhook/events", 200),
            ("DELETE", f"{hooks}/{hook_id}", 200),
        ],
    )


def test_every_right_in_the_system(admin: Caller) -> None:
    rights = admin.call("GET", "/permissions")["system"]
    _, robot = admin.robot("system", [{"kind": "system", "namespace": "/", "access": rights}])
    mark = robot.name.rpartition("-")[2]
    instance = {
        "name": f"instance-{mark}",
        "endpoint": "http://p2p.example",
        "enabled": False,
        "vendor": "dragonfly",
        "auth_mode": "NONE",
        "insecure": True,
    }
    instances = "/p2p/preheat/instances"
    registry = harbor_of(admin, f"registry-{mark}")
    registry_id = robot.made("/registries", registry)
    policy = {
        "name": f"policy-{mark}",
        "dest_registry": {"id": admin.made("/registries", harbor_of(admin, f"target-{mark}"))},
        "dest_namespace": "library",
        "dest_namespace_replace_count": 1,
        "trigger": {"type": "manual", "trigger_settings": {"cron": ""}},
        "filters": [{"type": "name", "value": "library/**"}],
        "enabled": True,
        "deletion": False,
        "override": True,
        "speed": -1,
    }
    policy_id = robot.made("/replication/policies", policy)
    execution = robot.made("/replication/executions", {"policy_id": policy_id})
    # Nothing listens there: Harbor asks an adapter before it stores it, and answers 500.
    scanner = {"name": f"scanner-{mark}", "url": "http://127.0.0.1:9", "auth": ""}
    label = {"name": f"label-{mark}", "description": "", "color": "", "scope": "g", "project_id": 0}
    label_id = robot.made("/labels", label)
    manual = {"schedule": {"type": "Manual"}}
    dry = {"delete_untagged": True, "workers": 1, "dry_run": True}
    collection = {**manual, "parameters": dry}
    kinds = "create_artifact,delete_artifact,pull_artifact"
    purge = {
        **manual,
        "parameters": {"audit_retention_hour": 24, "include_event_types": kinds, "dry_run": True},
    }
    gc_id = robot.made("/system/gc/schedule", collection)
    purge_id = robot.made("/system/purgeaudit/schedule", purge)
    weekly, never = {"type": "Weekly", "cron": CRON}, {"type": "None", "cron": ""}
    none = 88888888
    check(
        robot,
        [
            ("GET", "/audit-logs", 200),
            ("POST", instances, 201, instance),
            ("GET", instances, 200),
            ("GET", f"{instances}/instance-{mark}", 200),
            ("PUT", f"{instances}/instance-{mark}", 200, instance),
            ("DELETE", f"{instances}/instance-{mark}", 200),
            ("POST", "/projects", 201, {"project_name": f"project-{mark}", "metadata": {"public": "false"}}),
            ("GET", "/projects", 200),
            ("GET", "/registries", 200),
            ("GET", f"/registries/{registry_id}", 200),
            ("GET", f"/registries/{registry_id}/info", 200),
            ("PUT", f"/registries/{registry_id}", 200, registry),
            ("POST", "/registries/ping", 200, registry),
            ("DELETE", f"/registries/{registry_id}", 200),
            ("GET", "/replication/adapters", 200),
            ("GET", "/replication/adapterinfos", 200),
            ("GET", "/replication/policies", 200),
            ("GET", f"/replication/policies/{policy_id}", 200),
            ("PUT", f"/replication/policies/{policy_id}", 200, policy),
            ("GET", "/replication/executions", 200),
            ("GET", f"/replication/executions/{execution}", 200),
            ("PUT", f"/replication/executions/{execution}", 200),
            ("GET", f"/replication/executions/{execution}/tasks", 200),
            ("GET", f"/replication/executions/{execution}/tasks/{none}/log", 404),
            ("POST", "/system/scanAll/schedule", 201, {"schedule": weekly}),
            ("PUT", "/system/scanAll/schedule", 200, {"schedule": never}),
            ("POST", "/system/scanAll/stop", (202, 404)),
            ("GET", "/scans/all/metrics", 200),
            ("GET", "/scans/schedule/metrics", 200),
            ("GET", "/systeminfo/volumes", 200),
            ("GET", "/jobservice/pools", 200),
            ("GET", f"/jobservice/pools/{none}/workers", 200),
            ("PUT", f"/jobservice/jobs/{none}", 200),
            ("GET", f"/jobservice/jobs/{none}/log", 404),
            ("GET", "/jobservice/queues", 200),
            ("PUT", f"/jobservice/queues/{none}", 200, {"action": "stop"}),
            ("GET", "/scanners", 200),
            ("POST", "/scanners", (400, 502), scanner),
            ("POST", "/scanners/ping", (400, 502), scanner),
            ("GET", f"/scanners/{none}", 404),
            ("PUT", f"/scanners/{none}", 404, scanner),
            ("DELETE", f"/scanners/{none}", 404),
            ("PATCH", f"/scanners/{none}", 404, {"is_default": True}),
            ("GET", f"/scanners/{none}/metadata", 404),
            ("GET", f"/labels/{label_id}", 200),
            ("PUT", f"/labels/{label_id}", 200, label),
            ("DELETE", f"/labels/{label_id}", 200),
            ("GET", "/security/summary", 200),
            ("GET", "/security/vul", 200),
            ("GET", "/v2/_catalog", 200),
            ("GET", "/system/gc", 200),
            ("GET", f"/system/gc/{gc_id}", 200),
            ("PUT", f"/system/gc/{gc_id}", 200),
            ("GET", f"/system/gc/{none}/log", 404),
            ("GET", "/system/gc/schedule", 200),
            ("PUT", "/system/gc/schedule", 200, collection),
            ("GET", "/system/purgeaudit", 200),
            ("GET", f"/system/purgeaudit/{purge_id}", 200),
            ("PUT", f"/system/purgeaudit/{purge_id}", 200),
            ("GET", f"/system/purgeaudit/{none}/log", 404),
            ("GET", "/system/purgeaudit/schedule", 200),
            ("PUT", "/system/purgeaudit/schedule", 200, purge),
            ("GET", "/quotas", 200),
            ("GET", f"/quotas/{none}", 404),
        ],
    )
