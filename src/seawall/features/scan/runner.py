"""Running a scan: the work of the job that a request starts."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection, delete, update

from seawall.features.scan import scanners
from seawall.features.scan.embedded import EmbeddedScanner
from seawall.features.scan.external import ExternalScanner
from seawall.features.scan.model import Log, ReportRow, Step
from seawall.features.scan.overview import ACTIVE
from seawall.features.scan.reports import find_report
from seawall.features.scan.scanners import Scanner
from seawall.features.scan.tables import scan_reports
from seawall.features.scan.targets import Target
from seawall.infra.db import Database
from seawall.registry.images import image_query


class ScanRunner:
    """Does the scan of a report with the scanner that the report names."""

    def __init__(self, db: Database, embedded: EmbeddedScanner, external: ExternalScanner) -> None:
        self._db = db
        self._embedded = embedded
        self._external = external

    async def run(self, identifier: str, *, log: Log, step: Step) -> dict[str, Any]:
        """Do the scan of a report. Raises what made it fail, after the report says so."""
        started = time.time()

        def begin_scan(connection: Connection) -> tuple[ReportRow, Target, Scanner] | None:
            row = find_report(connection, identifier)
            if row is None or row.status not in ACTIVE:
                return None
            target = connection.execute(image_query(row.repository_id, row.digest)).first()
            scanner = scanners.find(connection, row.scanner)
            if target is None or scanner is None:
                # Deleted since it was asked for.
                connection.execute(delete(scan_reports).where(scan_reports.c.id == row.id))
                return None
            connection.execute(
                update(scan_reports)
                .where(scan_reports.c.id == row.id)
                .values(status="Running", started_at=started)
            )
            return row, Target(*target), scanner

        begun = await self._db.write(begin_scan)
        if begun is None:
            await log("nothing to do: the artifact or the request is gone")
            return {"status": "gone"}
        row, target, scanner = begun
        await log(f"{row.kind} scan of {target.repository}@{target.digest} by {scanner.name}")
        if scanner.embedded:
            result = await self._embedded.scan(row, target, log, step)
        else:
            result = await self._external.scan(row, target, scanner, log, step)
        await log(f"done in {time.time() - started:.2f} s")
        return result
