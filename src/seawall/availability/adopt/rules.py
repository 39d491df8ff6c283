"""What a Harbor does by itself: replication, retention, immutability, webhooks, preheating, scanners.

Until the switch it is Harbor that acts: policies come switched off, and schedules not at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from seawall.availability.adopt.cipher import HarborCipher
from seawall.availability.adopt.harbor import HarborDatabase, Record, parsed, seconds
from seawall.availability.adopt.merge import Kind, Wanted
from seawall.availability.adopt.report import Report
from seawall.availability.adopt.schema import (
    immutable_rules,
    preheat_instances,
    preheat_policies,
    registries,
    replication_policies,
    retention_policies,
    scanners,
    webhook_policies,
)
from seawall.features.immutability.rules import checked as checked_immutability
from seawall.features.preheat.drivers import PROVIDERS, authorization
from seawall.features.preheat.model import PreheatPolicy
from seawall.features.replication.adapters import ADAPTERS
from seawall.features.replication.model import Filter, ReplicationPolicy
from seawall.features.replication.registries import check_url
from seawall.features.replication.session import trusting
from seawall.features.retention.rules import checked_cron, checked_rules
from seawall.features.scan.scanners import AUTH
from seawall.features.webhooks import policies as webhooks
from seawall.features.webhooks.payload import EVENT_TYPES
from seawall.kernel.cron import six_fields
from seawall.kernel.errors import SeawallError

REGISTRIES = Kind(
    "registry", registries, ("name", "type", "url", "access_key", "access_secret", "insecure", "description")
)
REPLICATION = Kind(
    "replication policy",
    replication_policies,
    (
        "name",
        "dest_namespace",
        "trigger_type",
        "cron",
        "filters",
        "enabled",
        "override",
        "replicate_deletion",
    ),
)
RETENTION = Kind("retention policy", retention_policies, ("rules", "cron"))
IMMUTABILITY = Kind("immutable tag rule", immutable_rules, ("rule", "disabled"))
WEBHOOKS = Kind("webhook", webhook_policies, ("name", "address", "event_types", "enabled", "secret"))
NETWORKS = Kind(
    "preheat instance", preheat_instances, ("name", "endpoint", "auth_mode", "auth_info", "enabled")
)
PREHEATING = Kind("preheat policy", preheat_policies, ("name", "filters", "trigger_type", "cron", "enabled"))
SCANNERS = Kind("scanner", scanners, ("name", "url", "auth", "credential", "disabled"))


def _times(record: Record, made: str = "creation_time", changed: str = "update_time") -> dict[str, float]:
    at = seconds(record.get(made)) or time.time()
    return {"created_at": at, "updated_at": seconds(record.get(changed)) or at}


def wanted_registries(harbor: HarborDatabase, report: Report, cipher: HarborCipher) -> Iterator[Wanted]:
    """Other registries, with credentials that the secret key opens."""
    for row in harbor.rows("registry", order="id"):
        what = f"registry {row['name']}"
        secret = ""
        if row["access_key"] and row["access_secret"]:
            secret = cipher.open(row["access_secret"], what)
        try:
            if row["type"] not in ADAPTERS:
                report.leave(what, f"there is no adapter for registries of type {row['type']}")
                continue
            url = check_url(row["url"] or "")
            authority = row.get("ca_certificate") or None
            if authority:
                trusting(authority)
        except SeawallError as error:
            report.leave(what, error)
            continue
        values = {
            "name": row["name"],
            "description": row["description"] or "",
            "type": row["type"],
            "url": url,
            "credential_type": row["credential_type"] or "basic",
            "access_key": row["access_key"] or None,
            "insecure": bool(row["insecure"]),
            "ca_certificate": authority,
        }
        initial = {**_times(row), "status": "healthy" if row["health"] == "healthy" else "unhealthy"}
        yield Wanted(
            str(row["id"]),
            row["name"],
            values,
            sealed={"access_secret": secret or None},
            initial=initial,
            key=("name",),
            id=row["id"],
        )


def wanted_replication(
    harbor: HarborDatabase, report: Report, registries_here: Mapping[str, Any], switched: bool
) -> Iterator[Wanted]:
    """Replication policies; those of registries that cannot come are left out."""
    for row in harbor.rows("replication_policy", order="id", where="NOT deleted"):
        what = f"replication policy {row['name']}"
        sides: list[Any] = []
        for column in ("src_registry_id", "dest_registry_id"):
            number = row[column] or None
            sides.append(registries_here.get(str(number), 0) if number is not None else None)
        if 0 in sides:
            report.leave(what, "its registry cannot come")
            continue
        trigger = parsed(row["trigger"], dict)
        kind = trigger.get("type") or "manual"
        settings = trigger.get("trigger_settings")
        cron = (settings or {}).get("cron") if kind == "scheduled" and isinstance(settings, dict) else None
        try:
            filters = [
                Filter(str(item.get("type")), item.get("value"), item.get("decoration") or "matches")
                for item in parsed(row["filters"], list)
                if isinstance(item, dict) and item.get("value") not in (None, "", [])
            ]
            policy = ReplicationPolicy(
                name=row["name"],
                description=row["description"] or "",
                src_registry_id=sides[0],
                dest_registry_id=sides[1],
                dest_namespace=row["dest_namespace"] or "",
                replace_count=-1
                if row.get("dest_namespace_replace_count") is None
                else row["dest_namespace_replace_count"],
                trigger=kind,
                cron=six_fields(cron) if isinstance(cron, str) else None,
                filters=filters,
                replicate_deletion=bool(row["replicate_deletion"]),
                override=bool(row["override"]),
                enabled=bool(row["enabled"]) and switched,
                speed=max(int(row.get("speed_kb") or 0), 0),
                copy_by_chunk=bool(row.get("copy_by_chunk")),
                single_active=bool(row.get("single_active_replication")),
            )
            policy.check()
        except (SeawallError, TypeError, ValueError) as error:
            report.leave(what, error)
            continue
        values = asdict(policy)
        values["dest_namespace_replace_count"] = values.pop("replace_count")
        values["trigger_type"] = values.pop("trigger")
        for name in ("id", "created_at", "updated_at"):
            del values[name]
        yield Wanted(str(row["id"]), row["name"], values, initial=_times(row), key=("name",), id=row["id"])


def wanted_retention(
    harbor: HarborDatabase, report: Report, projects_here: Mapping[str, Any]
) -> Iterator[Wanted]:
    """Retention policies of projects."""
    for row in harbor.rows("retention_policy", order="id", where="scope_level = 'project'"):
        project = projects_here.get(str(row["scope_reference"]))
        if project is None:
            continue
        data = parsed(row["data"], dict)
        settings = parsed(parsed(data.get("trigger"), dict).get("settings"), dict)
        try:
            rules = checked_rules([item for item in data.get("rules") or () if isinstance(item, dict)])
            cron = str(settings.get("cron") or "")
            cron = checked_cron(six_fields(cron)) if cron else ""
        except (SeawallError, TypeError, ValueError) as error:
            report.leave(f"retention policy of project {row['scope_reference']}", error)
            continue
        values = {"project_id": project, "algorithm": "or", "rules": rules, "cron": cron}
        yield Wanted(
            str(row["id"]),
            f"of project {row['scope_reference']}",
            values,
            initial=_times(row, "create_time"),
            key=("project_id",),
            id=row["id"],
        )


def wanted_immutability(
    harbor: HarborDatabase, report: Report, projects_here: Mapping[str, Any]
) -> Iterator[Wanted]:
    """Immutable tag rules."""
    for row in harbor.rows("immutable_tag_rule", order="id"):
        project = projects_here.get(str(row["project_id"]))
        if project is None:
            continue
        raw = parsed(row["tag_filter"], dict)
        try:
            values = {
                "project_id": project,
                "disabled": bool(row["disabled"]),
                "priority": int(raw.get("priority") or 0),
                "rule": checked_immutability(raw),
            }
        except (SeawallError, TypeError, ValueError, AttributeError) as error:
            report.leave(f"immutable tag rule {row['id']} of project {row['project_id']}", error)
            continue
        yield Wanted(str(row["id"]), str(row["id"]), values, initial=_times(row), id=row["id"])


def wanted_webhooks(
    harbor: HarborDatabase, report: Report, projects_here: Mapping[str, Any], switched: bool
) -> Iterator[Wanted]:
    """Webhook policies with their targets."""
    for row in harbor.rows("notification_policy", order="id"):
        project = projects_here.get(str(row["project_id"]))
        if project is None:
            continue
        what = f"webhook {row['name']} of project {row['project_id']}"
        wanted = [item for item in parsed(row["event_types"], list) if isinstance(item, str)]
        events = [item for item in dict.fromkeys(wanted) if item in EVENT_TYPES]
        for item in sorted(set(wanted) - set(events)):
            report.leave(what, f"there is no event {item} here")
        targets = [_target(item) for item in parsed(row["targets"], list) if isinstance(item, dict)]
        enabled = bool(row["enabled"]) and switched
        try:
            webhooks.checked(
                webhooks.Wanted(row["name"], row["description"] or "", tuple(targets), events, enabled)
            )
        except SeawallError as error:
            report.leave(what, error)
            continue
        columns = [asdict(item) for item in targets]
        for column in columns:
            column["secret"] = column.pop("auth_header")
        first, *others = columns
        secret = first.pop("secret")
        values = {
            "project_id": project,
            "name": row["name"],
            "description": row["description"] or "",
            **first,
            "event_types": events,
            "enabled": enabled,
        }
        yield Wanted(
            str(row["id"]),
            f"{row['name']} of project {row['project_id']}",
            values,
            sealed={"secret": secret, "more_targets": others or None},
            initial={**_times(row), "creator": row["creator"] or ""},
            key=("project_id", "name"),
            id=row["id"],
        )


def _target(raw: Record) -> webhooks.WantedTarget:
    slack = raw.get("type") == "slack"
    return webhooks.WantedTarget(
        target_type=str(raw.get("type") or ""),
        address=str(raw.get("address") or ""),
        auth_header=str(raw.get("auth_header") or "") or None,
        skip_verify=bool(raw.get("skip_cert_verify")),
        payload_format="Default" if slack else str(raw.get("payload_format") or "Default"),
    )


def wanted_networks(harbor: HarborDatabase, report: Report, dump: Callable[[Any], str]) -> Iterator[Wanted]:
    """Preheat instances; `dump` makes the text that is sealed of their credentials."""
    for row in harbor.rows("p2p_preheat_instance", order="id"):
        what = f"preheat instance {row['name']}"
        mode = row["auth_mode"] or "NONE"
        info = {str(key): str(value) for key, value in parsed(row["auth_data"], dict).items()}
        try:
            authorization(mode, info)
        except SeawallError as error:
            report.leave(what, error)
            continue
        if row["vendor"] not in PROVIDERS or not (row["endpoint"] or "").startswith(("http://", "https://")):
            report.leave(what, "its provider or endpoint is not supported here")
            continue
        values = {
            "name": row["name"],
            "description": row["description"] or "",
            "vendor": row["vendor"],
            "endpoint": row["endpoint"].rstrip("/"),
            "auth_mode": mode,
            "enabled": bool(row["enabled"]),
            "is_default": bool(row["is_default"]),
            "insecure": bool(row["insecure"]),
        }
        sealed = {"auth_info": dump(info) if info and mode != "NONE" else None}
        made = float(row["setup_timestamp"] or 0) or time.time()
        yield Wanted(
            str(row["id"]),
            row["name"],
            values,
            sealed=sealed,
            initial={"created_at": made},
            key=("name",),
            id=row["id"],
        )


def wanted_preheating(
    harbor: HarborDatabase,
    report: Report,
    projects_here: Mapping[str, Any],
    networks_here: Mapping[str, Any],
    switched: bool,
) -> Iterator[Wanted]:
    """Preheat policies."""
    for row in harbor.rows("p2p_preheat_policy", order="id"):
        project = projects_here.get(str(row["project_id"]))
        provider = networks_here.get(str(row["provider_id"]))
        if project is None:
            continue
        what = f"preheat policy {row['name']}"
        if provider is None:
            report.leave(what, "its instance cannot come")
            continue
        trigger = parsed(row["trigger"], dict)
        setting = trigger.get("trigger_setting")
        cron = str((setting or {}).get("cron") or "") if isinstance(setting, dict) else ""
        scheduled = trigger.get("type") == "scheduled"
        policy = PreheatPolicy(
            row["name"],
            provider,
            row["description"] or "",
            [item for item in parsed(row["filters"], list) if isinstance(item, dict)],
            trigger.get("type") or "manual",
            six_fields(cron) if scheduled else "",
            bool(row["enabled"]) and switched,
            parsed(row.get("extra_attrs"), dict),
        )
        try:
            policy.check()
        except (SeawallError, TypeError, ValueError) as error:
            report.leave(what, error)
            continue
        values = {
            "project_id": project,
            "provider_id": provider,
            "name": policy.name,
            "description": policy.description,
            "filters": policy.filters,
            "trigger_type": policy.trigger,
            "cron": policy.cron,
            "enabled": policy.enabled,
            "extra_attrs": policy.extra,
        }
        yield Wanted(
            str(row["id"]), row["name"], values, initial=_times(row), key=("project_id", "name"), id=row["id"]
        )


def wanted_scanners(harbor: HarborDatabase, report: Report) -> Iterator[Wanted]:
    """Scanner adapters, without the Trivy that comes with Harbor: Seawall has a scanner of its own."""
    for row in harbor.rows("scanner_registration", order="id"):
        if row["immutable"]:
            report.note(f"scanner {row['name']} came with Harbor and stays there; Seawall scans by itself")
            continue
        if not (row["url"] or "").startswith(("http://", "https://")):
            report.leave(f"scanner {row['name']}", "its address is not a URL")
            continue
        auth = row["auth"] if row["auth"] in AUTH else ""
        values = {
            "uuid": row["uuid"],
            "name": row["name"],
            "description": row["description"] or "",
            "url": row["url"].rstrip("/"),
            "auth": auth,
            "disabled": bool(row["disabled"]),
            "is_default": False,
            "skip_cert_verify": bool(row["skip_cert_verify"]),
            "use_internal_addr": bool(row["use_internal_addr"]),
        }
        yield Wanted(
            row["uuid"],
            row["name"],
            values,
            sealed={"credential": (row["access_cred"] or "") if auth else None},
            initial=_times(row, "create_time"),
            key=("name",),
        )
