"""System settings, schedules and the audit log of a Harbor."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, insert, select

from seawall.availability.adopt.cipher import HarborCipher
from seawall.availability.adopt.harbor import HarborDatabase, parsed, seconds
from seawall.availability.adopt.merge import Kind, Wanted
from seawall.availability.adopt.report import Report
from seawall.availability.adopt.schema import (
    adopted_rows,
    audit_log,
    configurations,
    preheat_policies,
    replication_policies,
    retention_policies,
)
from seawall.features.audit.trail import PURGE_SCHEDULE
from seawall.features.scan.jobs import SCAN_ALL_SCHEDULE
from seawall.infra.configuration import ITEMS, acceptable
from seawall.infra.db.dialect import upsert
from seawall.kernel.cron import checked, six_fields
from seawall.kernel.errors import SeawallError
from seawall.registry.jobs import GC_SCHEDULE

SETTINGS = Kind("setting", configurations, ("value",))
# The last run has Harbor read-only, which Seawall is not to be afterwards.
_NEVER = {"read_only"}
# What every Harbor has in its table and has no meaning here; not worth a line.
_QUIET = {"scan_all_policy", "email_", "uaa_", "http_authproxy_", "metric_", "trace_", "cache_", "with_"}
_AUDIT = ("audit_log", "audit_log_ext")
SetSchedule = Callable[[Connection, str, str | None, str, dict[str, Any]], None]


def settings_of(harbor: HarborDatabase) -> dict[str, str]:
    """Harbor's settings as it stores them."""
    return {row["k"]: row["v"] for row in harbor.rows("properties", order="id")}


def wanted_settings(
    stored: Mapping[str, str],
    report: Report,
    cipher: HarborCipher,
    fixed: Collection[str],
) -> Iterator[Wanted]:
    """The items that there are here too; `fixed` are decided by the settings file."""
    for name, text in stored.items():
        if name in _NEVER or name in fixed:
            continue
        item = ITEMS.get(name)
        if item is None:
            if not any(name.startswith(start) for start in _QUIET):
                report.note(f"setting {name} has no meaning here")
            continue
        secret = item.kind == "password"
        clear = cipher.open(text, f"setting {name}") if secret and text else text
        try:
            value = acceptable(name, clear)
        except SeawallError as error:
            report.leave(f"setting {name}", error)
            continue
        if secret and value:
            yield Wanted(name, name, {"name": name}, sealed={"value": value}, initial=_now(), key=("name",))
        else:
            yield Wanted(name, name, {"name": name, "value": value}, initial=_now(), key=("name",))


def _now() -> dict[str, float]:
    return {"updated_at": time.time()}


def set_schedules(connection: Connection, harbor: HarborDatabase, report: Report, put: SetSchedule) -> None:
    """Let everything that Harbor does by the clock be done here: at the switch, and not sooner."""
    counts = report.of("schedule")
    for name, cron, kind, args in _schedules(connection, harbor, report):
        try:
            put(connection, name, checked(six_fields(cron)), kind, args)
        except SeawallError as error:
            report.leave(f"schedule {name}", error)
            continue
        counts.found += 1
        counts.new += 1


def _schedules(
    connection: Connection, harbor: HarborDatabase, report: Report
) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    for row in harbor.rows("schedule", order="id"):
        arguments = {**parsed(row.get("callback_func_param"), dict), **parsed(row.get("extra_attrs"), dict)}
        vendor, cron = row["vendor_type"], row["cron"] or ""
        if vendor == "GARBAGE_COLLECTION":
            yield GC_SCHEDULE, cron, "gc", {"delete_untagged": bool(arguments.get("delete_untagged"))}
        elif vendor == "SCAN_ALL":
            yield SCAN_ALL_SCHEDULE, cron, "scan-all", {"trigger": "Schedule"}
        elif vendor == "PURGE_AUDIT_LOG":
            hours = arguments.get("audit_retention_hour")
            types = [item.strip() for item in str(arguments.get("include_event_types") or "").split(",")]
            if isinstance(hours, int | float) and hours > 0:
                args = {
                    "audit_retention_hour": int(hours),
                    "dry_run": False,
                    "include_event_types": [item for item in types if item],
                }
                yield PURGE_SCHEDULE, cron, "purge-audit", args
            else:
                report.leave("schedule of the audit log's purge", "it has no retention")
    queries = (
        (retention_policies, retention_policies.c.cron != "", "retention", "retention-schedule"),
        (
            replication_policies,
            (replication_policies.c.trigger_type == "scheduled") & replication_policies.c.enabled,
            "replication",
            "replication",
        ),
        (
            preheat_policies,
            (preheat_policies.c.trigger_type == "scheduled") & preheat_policies.c.enabled,
            "preheat",
            "preheat",
        ),
    )
    for table, condition, name, kind in queries:
        for policy in connection.execute(select(table.c.id, table.c.cron).where(condition)):
            yield f"{name}:{policy.id}", policy.cron, kind, {"policy": policy.id}


def copy_audit(
    connection: Connection,
    harbor: HarborDatabase,
    report: Report,
    projects_here: Mapping[str, Any],
    since: float,
) -> None:
    """Bring entries of the audit logs that were made after `since` (Unix seconds) and are not here yet."""
    counts = report.of("audit entry")
    for table in _AUDIT:
        last = _last_audit(connection, table)
        newest = last
        where = "id > %s AND op_time > to_timestamp(%s) AT TIME ZONE 'UTC'"
        for batch in harbor.batches(table, order="id", where=where, values=(last, since)):
            rows = [_entry(row, projects_here) for row in batch]
            connection.execute(insert(audit_log), rows)
            newest = max(newest, batch[-1]["id"])
            counts.found += len(rows)
            counts.new += len(rows)
        if newest > last:
            row = {
                "kind": "audit",
                "source": table,
                "target": json.dumps([newest]),
                "said": "",
                "written": "",
            }
            connection.execute(upsert(connection, adopted_rows, row, ["kind", "source"], ["target"]))


def _last_audit(connection: Connection, table: str) -> int:
    query = select(adopted_rows.c.target).where(
        adopted_rows.c.kind == "audit", adopted_rows.c.source == table
    )
    text = connection.execute(query).scalar()
    return int(json.loads(text)[0]) if text else 0


def _entry(row: Mapping[str, Any], projects_here: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "at": seconds(row["op_time"]) or time.time(),
        "username": (row["username"] or "")[:511],
        "address": (row.get("source_ip") or "")[:64],
        "operation": (row["operation"] or "")[:32],
        "resource_type": (row["resource_type"] or "")[:64],
        "resource": (row["resource"] or "")[:1024],
        "description": row.get("op_desc") or "",
        "success": row.get("op_result") is not False,
        "project_id": projects_here.get(str(row["project_id"])),
    }
