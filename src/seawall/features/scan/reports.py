"""Reports: what the database keeps of a scan's result, and the event that goes with it.

A report belongs to an artifact of a repository (by digest), a scanner and a kind (vulnerability or sbom).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from seawall.features.scan import overview, report, scanners
from seawall.features.scan.model import ReportRow
from seawall.features.scan.overview import ACTIVE
from seawall.features.scan.tables import scan_findings, scan_reports
from seawall.infra.db import Database
from seawall.infra.outbox.events import Subscribers
from seawall.registry.lookups import created_at, repository_by_id
from seawall.registry.tags import tag_names_of_digest

_FINDINGS = 20_000

REPORT = tuple(
    scan_reports.c[name]
    for name in (
        *("id", "uuid", "repository_id", "digest", "scanner", "kind", "status", "job_id", "severity"),
        *("total", "fixable", "counts", "sbom_digest", "scanner_info", "error", "started_at", "ended_at"),
    )
)


class ScanReports:
    """Writes results of scans into the database."""

    def __init__(self, db: Database, events: Subscribers) -> None:
        self._db = db
        self._events = events

    async def failed(self, identifier: str, message: str) -> None:
        """Record that the scan of a report failed."""
        await self._db.write(lambda c: self.finish(c, identifier, "Error", message))

    async def stopped(self, identifier: str) -> None:
        """Record that the scan of a report was stopped."""
        await self._db.write(lambda c: self.finish(c, identifier, "Stopped", None))

    def finish(self, connection: Connection, identifier: str, status: str, message: str | None) -> None:
        """Record how the scan of a report ended, unless it ended before."""
        row = find_report(connection, identifier)
        if row is None or row.status not in ACTIVE:
            return
        connection.execute(
            update(scan_reports)
            .where(scan_reports.c.id == row.id)
            .values(status=status, error=message[:2000] if message else None, ended_at=time.time())
        )
        self._event(connection, row, status)

    def store(
        self,
        connection: Connection,
        row: ReportRow,
        document: dict[str, Any],
        scanner: dict[str, str],
        database_at: float | None,
        *,
        rematch: bool = False,
    ) -> dict[str, Any]:
        """Store a report and its findings; `rematch`: in place of a finished one.

        Returns the job's result: `status` ("superseded" when another scan has begun since), `total`,
        `severity`.
        """
        summary = report.summarize(document)
        now = time.time()
        values = {**report_values(document, summary, scanner), "database_at": database_at}
        query = update(scan_reports).where(scan_reports.c.id == row.id)
        if rematch:
            query = query.where(scan_reports.c.status == "Success")
        else:
            query = query.where(scan_reports.c.uuid == row.uuid, scan_reports.c.status.in_(ACTIVE))
            values |= {"status": "Success", "error": None, "ended_at": now}
        if not connection.execute(query.values(values)).rowcount:
            return {"status": "superseded", "total": summary.total, "severity": summary.severity}
        connection.execute(delete(scan_findings).where(scan_findings.c.report_id == row.id))
        insert_findings(connection, row.id, document)
        self._event(connection, row, "Success")
        return {"status": "success", "total": summary.total, "severity": summary.severity}

    def sbom_made(
        self, connection: Connection, row: ReportRow, digest: str, scanner: dict[str, str]
    ) -> str | None:
        """Record that the SBOM `digest` is the result; returns the digest of the one that it replaces."""
        old = connection.execute(
            select(scan_reports.c.sbom_digest).where(scan_reports.c.id == row.id).with_for_update()
        ).scalar()
        done = connection.execute(
            update(scan_reports)
            .where(
                scan_reports.c.id == row.id,
                scan_reports.c.uuid == row.uuid,
                scan_reports.c.status.in_(ACTIVE),
            )
            .values(
                status="Success",
                error=None,
                ended_at=time.time(),
                sbom_digest=digest,
                scanner_info=shown_scanner(scanner),
            )
        ).rowcount
        if done:
            self._event(connection, row, "Success")
        return old if done and old != digest else None

    def _event(self, connection: Connection, row: ReportRow, status: str) -> None:
        kinds = {"Success": "SCANNING_COMPLETED", "Error": "SCANNING_FAILED", "Stopped": "SCANNING_STOPPED"}
        where = repository_by_id(connection, row.repository_id)
        assert where is not None  # a report goes with its repository (foreign key)
        names = tag_names_of_digest(connection, row.repository_id, row.digest)
        resource: dict[str, Any] = {"digest": row.digest, "tag": next(iter(names), row.digest)}
        now = find_report(connection, row.uuid)
        if now is not None and row.kind == "vulnerability":
            resource["scan_overview"] = {report.GENERIC: overview.of([now])}
        elif now is not None:
            shown = {"scan_status": status, "sbom_digest": now.sbom_digest, "report_id": row.uuid}
            resource["sbom_overview"] = {key: value for key, value in shown.items() if value is not None}
        self._events.record(
            connection,
            kinds[status],
            {
                "id": str(uuid.uuid4()),
                "occur_at": time.time(),
                "operator": "auto",
                "project_id": where.project_id,
                "repository": where.name,
                "repository_created": created_at(connection, where.id),
                "public": where.public,
                "resources": [resource],
            },
        )


def as_report(row: Any) -> ReportRow:
    """From a row of the columns REPORT."""
    return ReportRow(*row)


def find_report(connection: Connection, identifier: str) -> ReportRow | None:
    """The report of that uuid."""
    row = connection.execute(select(*REPORT).where(scan_reports.c.uuid == identifier)).first()
    return as_report(row) if row else None


def reports_of(
    connection: Connection, repository_id: int, project_id: int, digests: Sequence[str], kind: str
) -> dict[str, ReportRow]:
    """digest -> the report of the project's scanner, for those that have one."""
    scanner = scanners.of_project(connection, project_id)
    if scanner is None or not digests:
        return {}
    query = select(*REPORT).where(
        scan_reports.c.repository_id == repository_id,
        scan_reports.c.digest.in_(list(digests)),
        scan_reports.c.scanner == scanner.uuid,
        scan_reports.c.kind == kind,
    )
    return {row.digest: as_report(row) for row in connection.execute(query)}


def report_data(connection: Connection, report_id: int) -> dict[str, Any] | None:
    """The stored report itself."""
    data = connection.execute(select(scan_reports.c.data).where(scan_reports.c.id == report_id)).scalar()
    if data is None:
        return None
    document: dict[str, Any] = report.unpack(bytes(data))
    return document


def insert_findings(connection: Connection, report_id: int, document: dict[str, Any]) -> None:
    """Write what a report says into the table for the security hub and exports."""
    findings = [_finding(report_id, item) for item in document["vulnerabilities"][:_FINDINGS]]
    for start in range(0, len(findings), 500):
        connection.execute(insert(scan_findings), findings[start : start + 500])


def report_values(
    document: dict[str, Any], summary: report.Summary, scanner: dict[str, str]
) -> dict[str, Any]:
    """The columns of `scan_reports` that a report fills."""
    return {
        "severity": summary.severity,
        "total": summary.total,
        "fixable": summary.fixable,
        "counts": summary.counts,
        "cves": summary.cves,
        "data": report.pack(document),
        "scanner_info": shown_scanner(scanner),
    }


def shown_scanner(scanner: dict[str, str]) -> dict[str, str]:
    """Name, vendor and version of a scanner, as reports keep them."""
    return {key: str(scanner.get(key, ""))[:200] for key in ("name", "vendor", "version")}


def _finding(report_id: int, item: dict[str, Any]) -> dict[str, Any]:
    def text(key: str, limit: int) -> str:
        return str(item.get(key) or "").replace("\0", "")[:limit]

    return {
        "report_id": report_id,
        "cve": text("id", 128),
        "package": text("package", 255),
        "version": text("version", 255),
        "fixed_version": text("fix_version", 255),
        "severity": item["severity"],
        "score": report.score(item),
        "status": text("status", 32) or ("fixed" if item.get("fix_version") else "affected"),
        "description": text("description", 2000),
        "links": item["links"][:20],
        "cwes": item["cwe_ids"][:20],
    }
