"""Makes the Grafana dashboards, and the chart's copies of them and of the rules.

    python deploy/observability/generate.py

writes `dashboards/*.json` from what is below, and copies them and `rules.yaml` into the chart, which cannot
read what is outside it. A panel is (title, unit, width of 24, legend, query).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CHART = HERE.parent / "helm" / "seawall" / "files" / "observability"

Panel = tuple[str, str, int, str, str]
_I = 'instance=~"$instance"'
_NOT_PROBES = 'route!~"/healthz|/readyz|/metrics"'

DASHBOARDS: dict[str, tuple[str, str | None, list[Panel]]] = {
    "overview": (
        "Seawall: overview",
        None,
        [
            ("Instances alive", "none", 4, "", 'max(seawall_instances{state="alive"})'),
            ("Instances lost", "none", 4, "", 'max(seawall_instances{state="dead"})'),
            ("Healthy", "none", 4, "{{component}}", "min by (component) (harbor_up)"),
            ("Stored", "bytes", 4, "", "max(harbor_statistics_total_storage_consumption)"),
            ("Repositories", "none", 4, "", "max(harbor_statistics_total_repo_amount)"),
            ("Projects", "none", 4, "public: {{public}}", "max by (public) (harbor_project_total)"),
            ("Requests", "reqps", 12, "{{status}}", "sum by (status) (seawall:http_requests:rate5m)"),
            ("Share of 5xx", "percentunit", 12, "", "seawall:http_errors:ratio5m"),
            ("99 % of answers within", "s", 12, "{{route}}", "seawall:http_request_seconds:p99_5m"),
            ("Pulls", "reqps", 6, "", "seawall:pulls:rate5m"),
            ("Pushes", "reqps", 6, "", "seawall:pushes:rate5m"),
            ("In", "Bps", 6, "{{route}}", "sum by (route) (rate(seawall_http_received_bytes_total[5m]))"),
            ("Out", "Bps", 6, "{{route}}", "sum by (route) (rate(seawall_http_sent_bytes_total[5m]))"),
            ("Logins", "reqps", 6, "{{result}}", "sum by (result) (rate(seawall_logins_total[5m]))"),
            ("Tokens", "reqps", 6, "{{result}}", "sum by (result) (rate(seawall_tokens_total[5m]))"),
            ("Versions", "none", 24, "{{version}} on {{database}}, {{storage}}",
             "count by (version, database, storage) (seawall_build_info)"),
        ],
    ),
    "instances": (
        "Seawall: instances",
        "label_values(seawall_build_info, instance)",
        [
            ("State", "none", 12, "{{instance}} {{status}}", f"seawall_ready{{{_I}}} == 1"),
            ("Requests under way", "none", 12, "{{instance}}", f"seawall_http_requests_active{{{_I}}}"),
            ("Requests", "reqps", 12, "{{instance}}",
             f"sum by (instance) (rate(seawall_http_requests_total{{{_I},{_NOT_PROBES}}}[5m]))"),
            ("5xx", "reqps", 12, "{{instance}} {{route}} {{status}}",
             "sum by (instance, route, status) "
             f'(rate(seawall_http_requests_total{{{_I},status=~"5.."}}[5m]))'),
            ("Connections at work", "none", 12, "{{instance}} {{pool}}",
             f"seawall_database_connections_used{{{_I}}}"),
            ("Connections there may be", "none", 12, "{{instance}} {{pool}}",
             f"seawall_database_connections_limit{{{_I}}}"),
            ("Wait for a connection, 95 %", "s", 12, "{{pool}}", "seawall:database_wait_seconds:p95_5m"),
            ("Transactions, 99 %", "s", 12, "{{instance}} {{pool}}",
             "histogram_quantile(0.99, sum by (instance, pool, le) "
             f"(rate(seawall_database_seconds_bucket{{{_I}}}[5m])))"),
            ("Statements, 99 %", "s", 12, "{{instance}} {{kind}}",
             "histogram_quantile(0.99, sum by (instance, kind, le) "
             f"(rate(seawall_database_statement_seconds_bucket{{{_I}}}[5m])))"),
            ("Database not there", "reqps", 12, "{{instance}} {{pool}}",
             f"sum by (instance, pool) (rate(seawall_database_errors_total{{{_I}}}[5m]))"),
            ("Secrets that need no hashing", "percentunit", 12, "{{instance}}",
             f'sum by (instance) (rate(seawall_password_cache_total{{{_I},result="hit"}}[5m])) / '
             f"sum by (instance) (rate(seawall_password_cache_total{{{_I}}}[5m]))"),
            ("API calls", "reqps", 12, "{{operation}} {{code}}",
             f"sum by (operation, code) (rate(harbor_core_http_request_total{{{_I}}}[5m]))"),
            ("Clocks: farthest from the database's", "s", 12, "", "max(seawall_clock_skew_seconds)"),
        ],
    ),
    "storage": (
        "Seawall: storage",
        None,
        [
            ("Operations", "ops", 12, "{{driver}} {{action}}",
             "sum by (driver, action) (rate(seawall_storage_seconds_count[5m]))"),
            ("Errors", "ops", 12, "{{driver}} {{action}}",
             "sum by (driver, action) (rate(seawall_storage_errors_total[5m]))"),
            ("99 % within", "s", 12, "{{driver}} {{action}}", "seawall:storage_seconds:p99_5m"),
            ("Bytes", "Bps", 12, "{{driver}} {{direction}}",
             "sum by (driver, direction) (rate(seawall_storage_bytes_total[5m]))"),
            ("Open uploads", "none", 8, "", "max(seawall_upload_sessions)"),
            ("Bytes of open uploads", "bytes", 8, "", "max(seawall_upload_session_bytes)"),
            ("Stored", "bytes", 8, "", "max(harbor_statistics_total_storage_consumption)"),
            ("Last garbage collection", "none", 12, "{{figure}}",
             'max by (figure) (seawall_job_last_result{kind="gc"})'),
            ("Damaged blobs, last scrub", "none", 6, "",
             'max(seawall_job_last_result{kind="scrub",figure="faults"})'),
            ("Oldest proof of a blob, age", "s", 6, "",
             'time() - (max(seawall_job_last_result{kind="scrub",figure="oldest"}) > 0)'),
        ],
    ),
    "jobs": (
        "Seawall: jobs and events",
        None,
        [
            ("Runners", "none", 6, "", "max(seawall_job_runners)"),
            ("Schedules", "none", 6, "", "max(harbor_task_scheduled_total)"),
            ("Most overdue schedule", "s", 6, "", "max(seawall_job_schedule_late_seconds)"),
            ("Leases", "none", 6, "", "max(seawall_leases)"),
            ("Waiting", "none", 12, "{{type}}", "max by (type) (harbor_task_queue_size) > 0"),
            ("Running", "none", 12, "{{type}}", "max by (type) (harbor_task_concurrency) > 0"),
            ("Longest wait", "s", 12, "{{type}}", "max by (type) (harbor_task_queue_latency)"),
            ("Ended", "ops", 12, "{{type}} {{status}}",
             "sum by (type, status) (rate(harbor_jobservice_task_total[5m]))"),
            ("Mean time", "s", 12, "{{kind}}",
             "sum by (kind) (rate(seawall_job_seconds_sum[15m])) / "
             "sum by (kind) (rate(seawall_job_seconds_count[15m]))"),
            ("Last success, age", "s", 12, "{{kind}}",
             "time() - (max by (kind) (seawall_job_last_success_timestamp_seconds) > 0)"),
            ("Events waiting", "none", 8, "{{subscriber}}", "max by (subscriber) (seawall_outbox_events)"),
            ("Oldest event", "s", 8, "{{subscriber}}", "max by (subscriber) (seawall_outbox_lag_seconds)"),
            ("Events that failed", "none", 8, "{{subscriber}}",
             "max by (subscriber) (seawall_outbox_failing_events)"),
        ],
    ),
    "replication": (
        "Seawall: replication and sites",
        None,
        [
            ("Open tasks", "none", 12, "{{policy}}", "max by (policy) (seawall_replication_tasks_open)"),
            ("Lag", "s", 12, "{{policy}}", "max by (policy) (seawall_replication_lag_seconds)"),
            ("Last execution failed", "none", 12, "{{policy}}",
             "max by (policy) (seawall_replication_last_failed)"),
            ("Registries that answer", "none", 12, "{{registry}}",
             "max by (registry) (seawall_registry_endpoint_up)"),
            ("Proxy caches: upstream answers", "none", 12, "{{registry}}",
             "min by (registry) (seawall_proxy_upstream_up)"),
            ("Proxy caches: blobs that were here", "percentunit", 12, "",
             'sum(rate(seawall_proxy_blobs_total{result="hit"}[5m])) / '
             "sum(rate(seawall_proxy_blobs_total[5m]))"),
            ("Two sites: lag of the standby", "s", 12, "", "max(seawall_dr_lag_seconds)"),
            ("Two sites: changes behind", "none", 12, "", "max(seawall_dr_behind_changes)"),
            ("Two sites: role", "none", 8, "{{instance}} {{role}}", "seawall_dr_role == 1"),
            ("Peers that answer", "none", 8, "{{peer}}", "min by (peer) (seawall_peer_reachable)"),
            ("Peers: lag", "s", 8, "{{peer}}", "max by (peer) (seawall_peer_lag_seconds)"),
        ],
    ),
    "project": (
        "Seawall: a project",
        "label_values(harbor_project_quota_byte, project_name)",
        [
            ("Stored", "bytes", 6, "",
             'max(harbor_project_quota_usage_byte{project_name=~"$project_name"})'),
            ("Share of the quota", "percentunit", 6, "",
             'seawall:project_quota:ratio{project_name=~"$project_name"}'),
            ("Repositories", "none", 6, "", 'max(harbor_project_repo_total{project_name=~"$project_name"})'),
            ("Members", "none", 6, "", 'max(harbor_project_member_total{project_name=~"$project_name"})'),
            ("Stored over time", "bytes", 12, "{{project_name}}",
             'max by (project_name) (harbor_project_quota_usage_byte{project_name=~"$project_name"})'),
            ("Artifacts", "none", 12, "{{project_name}} {{artifact_type}}",
             "max by (project_name, artifact_type) "
             '(harbor_project_artifact_total{project_name=~"$project_name"})'),
            ("Pulls a minute", "none", 12, "{{project_name}}",
             '60 * deriv(harbor_artifact_pulled{project_name=~"$project_name"}[15m]) >= 0'),
            ("Projects that store most", "bytes", 12, "{{project_name}}",
             "topk(10, max by (project_name) (harbor_project_quota_usage_byte))"),
        ],
    ),
}  # fmt: skip


# Which registry, where a Prometheus scrapes several: labels of the target (docs/observability.md).
_SCOPE = ("namespace", "release")
_METRIC = re.compile(r"\b((?:seawall|harbor)[_:][a-z0-9_:]*[a-z0-9])(\{?)")


def scoped(query: str) -> str:
    """The query, of the registry that is chosen above the dashboard."""
    wanted = ",".join(f'{label}=~"${label}"' for label in _SCOPE)
    return _METRIC.sub(lambda found: f"{found[1]}{{{wanted}" + ("," if found[2] else "}"), query)


def _variable(label: str, query: str) -> dict[str, Any]:
    return {
        "name": label,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": "Variable"},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        # A target without the label has it empty, which no list of values names.
        "allValue": ".*",
        "sort": 1,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def dashboard(name: str) -> dict[str, Any]:
    """The JSON model that Grafana imports."""
    title, query, panels = DASHBOARDS[name]
    variables: list[dict[str, Any]] = [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
    ]
    variables += [_variable(label, f"label_values(seawall_build_info, {label})") for label in _SCOPE]
    if query is not None:
        variables.append(_variable(query.rpartition(", ")[2].rstrip(")"), scoped(query)))
    placed = []
    x = y = height = 0
    for number, (head, unit, width, legend, expression) in enumerate(panels, 1):
        small = width <= 6
        if x + width > 24:
            x, y, height = 0, y + height, 0
        tall = 4 if small else 8
        placed.append(
            {
                "id": number,
                "title": head,
                "type": "stat" if small else "timeseries",
                "datasource": _SOURCE,
                "gridPos": {"x": x, "y": y, "w": width, "h": tall},
                "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
                "targets": [
                    {
                        "refId": "A",
                        "datasource": _SOURCE,
                        "expr": scoped(expression),
                        "legendFormat": legend or head,
                        "instant": small,
                        "range": not small,
                    }
                ],
            }
        )
        x, height = x + width, max(height, tall)
    return {
        "uid": f"seawall-{name}",
        "title": title,
        "tags": ["seawall"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "links": [{"type": "dashboards", "tags": ["seawall"], "title": "Seawall", "asDropdown": True}],
        "templating": {"list": variables},
        "panels": placed,
    }


_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def files() -> dict[Path, str]:
    """What is made: content by file."""
    made = {f"{name}.json": json.dumps(dashboard(name), indent=1) + "\n" for name in DASHBOARDS}
    return {
        **{HERE / "dashboards" / name: text for name, text in made.items()},
        **{CHART / "dashboards" / name: text for name, text in made.items()},
        CHART / "rules.yaml": (HERE / "rules.yaml").read_text(),
    }


def main() -> None:
    """Write the files."""
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
