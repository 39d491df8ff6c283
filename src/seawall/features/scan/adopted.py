"""Reports that another registry's scanner made, brought along with the artifacts that they are about.

They hold until the artifact is scanned here: the gate on pulls of vulnerable images goes on at once, and the
next import of advisories makes reports of our own in their place (`rematch`).
"""

from __future__ import annotations

import time
import uuid
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from seawall.features.scan import report
from seawall.features.scan.reports import insert_findings, report_values
from seawall.features.scan.scanners import EMBEDDED, ensure_embedded
from seawall.features.scan.tables import scan_findings, scan_reports, scanners

# In place of a job's id: no job here has made the report.
_ADOPTED = "adopted"
VULNERABILITY, SBOM = "vulnerability", "sbom"


def scanners_here(connection: Connection) -> set[str]:
    """Uuids of the scanners that are registered, with the embedded one's."""
    return {EMBEDDED, *connection.execute(select(scanners.c.uuid)).scalars()}


def store_report(
    connection: Connection, repository_id: int, digest: str, scanner: str, document: Any, at: float
) -> bool:
    """Store a vulnerability report that was made at `at` (Unix seconds), with its findings.

    False where one that was made here stays. Raises InvalidError for anything but a report.
    """
    checked = report.check(document, digest)
    values = report_values(checked, report.summarize(checked), checked["scanner"])
    number = _store(connection, repository_id, digest, scanner, VULNERABILITY, values, at)
    if number is None:
        return False
    connection.execute(delete(scan_findings).where(scan_findings.c.report_id == number))
    insert_findings(connection, number, checked)
    return True


def store_sbom(
    connection: Connection, repository_id: int, digest: str, scanner: str, sbom: str, at: float
) -> bool:
    """Store that the accessory `sbom` (a digest) is the artifact's SBOM; False as in `store_report`."""
    values = {"sbom_digest": sbom, "scanner_info": {}}
    return _store(connection, repository_id, digest, scanner, SBOM, values, at) is not None


def _store(
    connection: Connection,
    repository_id: int,
    digest: str,
    scanner: str,
    kind: str,
    values: dict[str, Any],
    at: float,
) -> int | None:
    if scanner == EMBEDDED:
        # A fresh installation registers it when it is first asked for.
        ensure_embedded(connection)
    where = (
        (scan_reports.c.repository_id == repository_id)
        & (scan_reports.c.digest == digest)
        & (scan_reports.c.scanner == scanner)
        & (scan_reports.c.kind == kind)
    )
    before = connection.execute(select(scan_reports.c.id, scan_reports.c.job_id).where(where)).first()
    values = {**values, "status": "Success", "started_at": at, "ended_at": at}
    if before is None:
        made = {
            "uuid": str(uuid.uuid4()),
            "repository_id": repository_id,
            "digest": digest,
            "scanner": scanner,
            "kind": kind,
            "job_id": _ADOPTED,
            "created_at": time.time(),
        }
        query = insert(scan_reports).values(**made, **values).returning(scan_reports.c.id)
        return int(connection.execute(query).scalar_one())
    if before.job_id != _ADOPTED:
        return None
    connection.execute(update(scan_reports).where(scan_reports.c.id == before.id).values(values))
    return int(before.id)


def forget(connection: Connection) -> None:
    """Remove all reports that were brought and not replaced here."""
    connection.execute(delete(scan_reports).where(scan_reports.c.job_id == _ADOPTED))
