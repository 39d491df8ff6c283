"""Projects of a Harbor with what belongs to them: metadata, members, quotas, CVE allowlists, labels."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, select

from seawall.access.projects import METADATA, check_metadata
from seawall.availability.adopt.harbor import HarborDatabase, Record, parsed, seconds
from seawall.availability.adopt.merge import Kind, Wanted
from seawall.availability.adopt.report import Report
from seawall.availability.adopt.schema import (
    cve_allowlists,
    labels,
    project_members,
    project_metadata,
    project_scanners,
    projects,
    quotas,
    repositories,
)
from seawall.kernel.errors import InvalidError
from seawall.kernel.names import is_project_name
from seawall.registry import accounting

_ROLES = {1: "projectAdmin", 2: "developer", 3: "guest", 4: "maintainer", 5: "limitedGuest"}
_CVE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{1,63}")
_LIVE = "NOT deleted"
# What Harbor keeps among the metadata and is elsewhere here.
_ELSEWHERE = {"public", "retention_id", "projectScanner"}


def _with_content(connection: Connection, row: Any) -> str | None:
    project = row._mapping.get("project_id", row.id)
    query = select(repositories.c.id).where(repositories.c.project_id == project).limit(1)
    return "has repositories here" if connection.execute(query).first() else None


PROJECTS = Kind("project", projects, ("name", "owner_id", "public", "registry_id"), _with_content)
SETTINGS = Kind("project setting", project_metadata, ("value",))
MEMBERS = Kind("member", project_members, ("role",))
QUOTAS = Kind(
    "quota",
    quotas,
    ("hard_storage",),
    _with_content,
    changed=lambda connection, row: accounting.settle(connection, row.project_id),
)
ALLOWLISTS = Kind("CVE allowlist", cve_allowlists, ("items", "expires_at"))
LABELS = Kind("label", labels, ("name", "description", "color"))
CHOSEN_SCANNERS = Kind("chosen scanner", project_scanners, ("scanner",))


def _times(record: Record) -> dict[str, float]:
    made = seconds(record.get("creation_time")) or time.time()
    return {"created_at": made, "updated_at": seconds(record.get("update_time")) or made}


def made_here(connection: Connection, ids: Iterable[int]) -> dict[int, float]:
    """When these projects were made, as their rows here say."""
    query = select(projects.c.id, projects.c.created_at).where(projects.c.id.in_(list(ids)))
    return {row[0]: row[1] for row in connection.execute(query)}


def live_projects(harbor: HarborDatabase) -> list[Record]:
    """The projects that are not deleted."""
    return harbor.rows("project", order="project_id", where=_LIVE)


def wanted_projects(
    harbor: HarborDatabase,
    report: Report,
    users_here: Mapping[str, Any],
    registries_here: Mapping[str, Any],
) -> Iterator[Wanted]:
    """Projects; a proxy cache whose registry cannot come is left out."""
    public = {
        row["project_id"]: (row["value"] or "").lower() == "true"
        for row in harbor.rows("project_metadata", order="id", where="name = 'public'")
    }
    for row in live_projects(harbor):
        name, number = row["name"], row["project_id"]
        if not is_project_name(name):
            report.leave(f"project {name!r}", "a project cannot have that name here")
            continue
        registry = row.get("registry_id") or None
        if registry is not None and str(registry) not in registries_here:
            report.leave(f"project {name}", "the registry that it is a proxy cache of cannot come")
            continue
        values = {
            "name": name,
            "owner_id": users_here.get(str(row["owner_id"])),
            "public": public.get(number, False),
            "registry_id": registries_here[str(registry)] if registry is not None else None,
        }
        yield Wanted(
            str(number),
            name,
            values,
            initial=_times(row),
            key=("name",),
            id=number,
            takes=name == "library",
        )


def wanted_settings(
    harbor: HarborDatabase, report: Report, projects_here: Mapping[str, Any]
) -> Iterator[Wanted]:
    """Metadata of projects that has a meaning here."""
    for row in harbor.rows("project_metadata", order="id"):
        project = projects_here.get(str(row["project_id"]))
        name = row["name"]
        if project is None or name in _ELSEWHERE:
            continue
        if name not in METADATA:
            report.note(f"project metadata {name} has no meaning here")
            continue
        try:
            value = check_metadata(name, row["value"] or "")
        except InvalidError as error:
            report.leave(f"project {row['project_id']}", error)
            continue
        values = {"project_id": project, "name": name, "value": value}
        source = f"{row['project_id']}:{name}"
        yield Wanted(source, source, values, key=("project_id", "name"), takes=True)


def wanted_members(
    harbor: HarborDatabase,
    report: Report,
    projects_here: Mapping[str, Any],
    users_here: Mapping[str, Any],
    groups_here: Mapping[str, Any],
) -> Iterator[Wanted]:
    """Members with their roles; those of users and groups that are gone are left out."""
    for row in harbor.rows("project_member", order="id"):
        project = projects_here.get(str(row["project_id"]))
        role = _ROLES.get(row["role"])
        group = row["entity_type"] == "g"
        who = (groups_here if group else users_here).get(str(row["entity_id"]))
        if project is None or who is None:
            continue
        if role is None:
            report.leave(f"member {row['id']} of project {row['project_id']}", f"has the role {row['role']}")
            continue
        values = {
            "project_id": project,
            "user_id": None if group else who,
            "group_id": who if group else None,
            "role": role,
        }
        key = ("project_id", "group_id" if group else "user_id")
        yield Wanted(str(row["id"]), str(row["id"]), values, key=key, id=row["id"], takes=True)


def wanted_quotas(harbor: HarborDatabase, projects_here: Mapping[str, Any]) -> Iterator[Wanted]:
    """Limits of storage in bytes; what is used is counted here."""
    for row in harbor.rows("quota", order="id", where="reference = 'project'"):
        project = projects_here.get(str(row["reference_id"]))
        if project is None:
            continue
        hard = parsed(row["hard"], dict).get("storage", -1)
        values = {"project_id": project, "hard_storage": int(hard) if isinstance(hard, int) else -1}
        initial = {"used_storage": 0, **_times(row)}
        yield Wanted(
            str(row["id"]),
            str(row["reference_id"]),
            values,
            initial=initial,
            key=("project_id",),
            id=row["id"],
            takes=True,
        )


def wanted_allowlists(
    harbor: HarborDatabase, report: Report, projects_here: Mapping[str, Any]
) -> Iterator[Wanted]:
    """CVE allowlists, the system's (project 0) too."""
    for row in harbor.rows("cve_allowlist", order="id"):
        number = row["project_id"] or 0
        project = projects_here.get(str(number))
        if number and project is None:
            continue
        items = [item.get("cve_id") for item in parsed(row["items"], list) if isinstance(item, dict)]
        known = [item for item in dict.fromkeys(items) if isinstance(item, str) and _CVE.fullmatch(item)]
        if len(known) < len(set(items)):
            report.leave(f"CVE allowlist of project {number}", "some of its items are not CVE ids")
        if not known and number == 0:
            continue
        values = {"project_id": project, "items": known, "expires_at": row["expires_at"]}
        yield Wanted(
            str(row["id"]),
            f"of project {number}",
            values,
            initial=_times(row),
            key=("project_id",),
            takes=True,
        )


def wanted_labels(harbor: HarborDatabase, projects_here: Mapping[str, Any]) -> Iterator[Wanted]:
    """Global labels and those of projects."""
    for row in harbor.rows("harbor_label", order="id", where="NOT deleted AND level = 'u'"):
        project = projects_here.get(str(row["project_id"])) if row["scope"] == "p" else None
        if row["scope"] == "p" and project is None:
            continue
        values = {
            "name": row["name"],
            "description": row["description"] or "",
            "color": row["color"] or "",
            "project_id": project,
        }
        yield Wanted(
            str(row["id"]),
            row["name"],
            values,
            initial=_times(row),
            key=("project_id", "name"),
            id=row["id"],
        )


def wanted_scanner_choices(
    harbor: HarborDatabase, projects_here: Mapping[str, Any], scanners_here: Mapping[str, str]
) -> Iterator[Wanted]:
    """Which scanner a project has chosen; `scanners_here`: uuids that came."""
    for row in harbor.rows("project_metadata", order="id", where="name = 'projectScanner'"):
        project = projects_here.get(str(row["project_id"]))
        if project is not None and row["value"] in scanners_here:
            values = {"project_id": project, "scanner": row["value"]}
            yield Wanted(str(row["project_id"]), str(project), values, key=("project_id",))
