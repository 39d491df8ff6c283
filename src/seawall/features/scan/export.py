"""CSV exports of findings, made by a job and kept for a day for their owner."""

from __future__ import annotations

import csv
import fnmatch
import io
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from sqlalchemy import Connection, Select, delete, insert, select, update

from seawall.access.views import projects
from seawall.features.scan.tables import scan_exports, scan_findings, scan_reports, scanners
from seawall.infra.db import Database
from seawall.infra.db.together import Also, nothing
from seawall.infra.jobs.service import JobService
from seawall.kernel.errors import InvalidError
from seawall.registry.tags import tag_names
from seawall.registry.views import manifest_labels, manifests, repositories

HEADER = (
    "Repository",
    "Artifact Digest",
    "CVE",
    "Package",
    "Version",
    "Fixed Version",
    "Severity",
    "CVSS V3 Score",
    "Status",
    "Scanner",
    "CWE Ids",
)
_KEEP_SECONDS = 86400
_ROWS = 1_000_000


def _items(text: str | None) -> list[str]:
    """Parts of "{a,b}" or "a,b"."""
    return [part.strip() for part in (text or "").strip().strip("{}").split(",") if part.strip()]


async def start(
    db: Database,
    jobs: JobService,
    user_id: int,
    user_name: str,
    criteria: dict[str, Any],
    *,
    also: Also = nothing,
) -> int:
    """Make an export and its job; returns the export's id. Raises InvalidError.

    `criteria`: project_ids, repositories, tags, cve_ids, label_ids, name.
    """
    if not criteria["project_ids"]:
        raise InvalidError("projects must name at least one project")

    def insert_export(connection: Connection) -> int:
        now = time.time()
        result = connection.execute(
            insert(scan_exports)
            .values(
                user_id=user_id,
                user_name=user_name,
                name=str(criteria.get("name") or "")[:255],
                criteria=criteria,
                status="Pending",
                started_at=now,
            )
            .returning(scan_exports.c.id)
        )
        number = int(result.scalar_one())
        job_id = jobs.enqueue_in(connection, "scan-export", {"export": number})
        connection.execute(update(scan_exports).where(scan_exports.c.id == number).values(job_id=job_id))
        return number

    number = await db.write(insert_export, also=also)
    jobs.nudge()
    return number


async def run(db: Database, number: int, *, step: Callable[[], Awaitable[None]]) -> dict[str, int]:
    """Write the CSV of an export."""
    row = await db.read(
        lambda c: c.execute(select(scan_exports.c.criteria).where(scan_exports.c.id == number)).first()
    )
    if row is None:
        return {"rows": 0}
    await step()
    try:
        count, text = await db.read(lambda c: _csv(c, row[0]))
    except Exception as error:
        message = f"{type(error).__name__}"
        await db.write(
            lambda c: c.execute(
                update(scan_exports)
                .where(scan_exports.c.id == number)
                .values(status="Error", status_text=message, ended_at=time.time())
            )
        )
        raise
    await db.write(
        lambda c: c.execute(
            update(scan_exports)
            .where(scan_exports.c.id == number)
            .values(
                status="Success",
                # Harbor's words, which scripts look for.
                status_text="" if count else "No vulnerabilities found or matched",
                data=text.encode() if count else None,
                ended_at=time.time(),
            )
        )
    )
    return {"rows": count}


def _query(criteria: dict[str, Any]) -> Select[Any]:
    query = (
        select(
            repositories.c.name.label("repository"),
            projects.c.name.label("project"),
            scan_reports.c.digest,
            manifests.c.id.label("manifest_id"),
            scan_findings.c.cve,
            scan_findings.c.package,
            scan_findings.c.version,
            scan_findings.c.fixed_version,
            scan_findings.c.severity,
            scan_findings.c.score,
            scan_findings.c.status,
            scan_findings.c.cwes,
            scanners.c.name.label("scanner"),
        )
        .join(scan_reports, scan_reports.c.id == scan_findings.c.report_id)
        .join(repositories, repositories.c.id == scan_reports.c.repository_id)
        .join(projects, projects.c.id == repositories.c.project_id)
        .join(
            manifests,
            (manifests.c.repository_id == scan_reports.c.repository_id)
            & (manifests.c.digest == scan_reports.c.digest),
        )
        .join(scanners, scanners.c.uuid == scan_reports.c.scanner)
        .where(projects.c.id.in_(criteria["project_ids"]))
        .order_by(repositories.c.name, scan_reports.c.digest, scan_findings.c.id)
        .limit(_ROWS)
    )
    cves = _items(criteria.get("cve_ids"))
    if cves:
        query = query.where(scan_findings.c.cve.in_(cves))
    if criteria.get("label_ids"):
        labelled = select(manifest_labels.c.manifest_id).where(
            manifest_labels.c.label_id.in_(criteria["label_ids"])
        )
        query = query.where(manifests.c.id.in_(labelled))
    return query


def _csv(connection: Connection, criteria: dict[str, Any]) -> tuple[int, str]:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(HEADER)
    count = 0
    for row in _rows(connection, criteria):
        writer.writerow([_cell(value) for value in row])
        count += 1
    return count, out.getvalue()


def _rows(connection: Connection, criteria: dict[str, Any]) -> Iterator[list[Any]]:
    wanted_repositories, wanted_tags = _items(criteria.get("repositories")), _items(criteria.get("tags"))
    tagged: dict[int, list[str]] = {}
    for row in connection.execute(_query(criteria)):
        short = row.repository.partition("/")[2]
        if wanted_repositories and not any(
            fnmatch.fnmatchcase(name, pattern)
            for pattern in wanted_repositories
            for name in (short, row.repository)
        ):
            continue
        if wanted_tags:
            if row.manifest_id not in tagged:
                tagged[row.manifest_id] = tag_names(connection, row.manifest_id)
            names = tagged[row.manifest_id]
            if not any(fnmatch.fnmatchcase(name, pattern) for pattern in wanted_tags for name in names):
                continue
        yield [
            row.repository,
            row.digest,
            row.cve,
            row.package,
            row.version,
            row.fixed_version,
            row.severity,
            row.score if row.score is not None else "",
            row.status,
            row.scanner,
            " ".join(row.cwes or []),
        ]


def _cell(value: Any) -> Any:
    # A spreadsheet would run what begins like a formula, and names come out of images.
    if isinstance(value, str) and value[:1] in "=+-@\t\r" and value:
        return "'" + value
    return value


async def forget_old(db: Database) -> int:
    """Drop exports that ended more than a day ago; returns how many."""
    before = time.time() - _KEEP_SECONDS
    return await db.write(
        lambda c: int(c.execute(delete(scan_exports).where(scan_exports.c.ended_at < before)).rowcount)
    )


_SHOWN = (
    *(
        scan_exports.c[name]
        for name in ("id", "user_id", "user_name", "status", "status_text", "started_at", "ended_at")
    ),
    scan_exports.c.data.is_not(None).label("file_present"),
)


def exports_of(connection: Connection, user_name: str) -> list[Any]:
    """Up to 100 exports of the user, newest first, without their data."""
    query = select(*_SHOWN).where(scan_exports.c.user_name == user_name)
    return list(connection.execute(query.order_by(scan_exports.c.id.desc()).limit(100)))


def export_of(connection: Connection, number: int) -> Any:
    """One export, without its CSV; None when there is none."""
    return connection.execute(select(*_SHOWN).where(scan_exports.c.id == number)).first()


def take(connection: Connection, number: int) -> bytes | None:
    """The CSV of an export, which is then forgotten; None when there is none."""
    mine = scan_exports.c.id == number
    data = connection.execute(select(scan_exports.c.data).where(mine).with_for_update()).scalar()
    if data is None:
        return None
    connection.execute(update(scan_exports).where(mine).values(data=None))
    return bytes(data)


def erase_exporter(connection: Connection, name: str, pseudonym: str) -> None:
    """Write `pseudonym` for the name of a user who was removed."""
    table = scan_exports
    connection.execute(update(table).where(table.c.user_name == name).values(user_name=pseudonym))
