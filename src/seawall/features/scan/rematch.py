"""Matching stored package lists with advisories that were imported later."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select, update

from seawall.features.scan import match, report
from seawall.features.scan.embedded import match_advisories
from seawall.features.scan.model import Log, ReportRow, Step
from seawall.features.scan.packages import stored_inventory
from seawall.features.scan.reports import REPORT, ScanReports, as_report, report_data
from seawall.features.scan.requests import ScanRequests
from seawall.features.scan.scanners import EMBEDDED
from seawall.features.scan.tables import scan_reports
from seawall.features.scan.targets import Target
from seawall.infra.db import Database
from seawall.infra.jobs.service import JobService
from seawall.kernel.errors import PreconditionError
from seawall.registry.images import image_query


class Rematcher:
    """Brings reports of the embedded scanner up to the newest advisories."""

    def __init__(self, db: Database, jobs: JobService, requests: ScanRequests, reports: ScanReports) -> None:
        self._db = db
        self._jobs = jobs
        self._requests = requests
        self._reports = reports

    async def run(self, *, log: Log, step: Step) -> dict[str, int]:
        """Match stored inventories with advisories that were imported after their reports were made."""
        newest = await self._db.read(match.database_time)
        counts = {"reports": 0, "changed": 0}
        if newest is None:
            return counts
        after = 0
        while True:
            await step()

            def stale_reports(connection: Connection, after: int = after) -> Sequence[Row[Any]]:
                return connection.execute(
                    select(*REPORT)
                    .where(
                        scan_reports.c.id > after,
                        scan_reports.c.scanner == EMBEDDED,
                        scan_reports.c.kind == "vulnerability",
                        scan_reports.c.status == "Success",
                        (scan_reports.c.database_at.is_(None)) | (scan_reports.c.database_at < newest),
                    )
                    .order_by(scan_reports.c.id)
                    .limit(50)
                ).fetchall()

            rows = [as_report(row) for row in await self._db.read(stale_reports)]
            if not rows:
                break
            for row in rows:
                after = row.id
                counts["reports"] += 1
                counts["changed"] += await self._match_one(row)
                await step()
        await log(f"{counts['reports']} reports matched again, {counts['changed']} changed")
        return counts

    async def _match_one(self, row: ReportRow) -> int:
        def match_again(connection: Connection) -> tuple[dict[str, Any] | None, float | None]:
            inventory = stored_inventory(connection, row.digest)
            found = connection.execute(image_query(row.repository_id, row.digest)).first()
            if found is None:
                return None, None
            if inventory is None:
                raise _InventoryGone(Target(*found))
            document, at = match_advisories(connection, inventory, Target(*found))
            old = report_data(connection, row.id)
            same = old is not None and old["vulnerabilities"] == document["vulnerabilities"]
            return (None if same else document), at

        try:
            document, at = await self._db.read(match_again)
        except _InventoryGone as gone:
            # Made by other catalogers than these: the layers are read once more.
            target = gone.target
            with contextlib.suppress(PreconditionError):
                await self._db.write(
                    lambda c: self._requests.request_in(c, target, "vulnerability", trigger="rematch")
                )
            self._jobs.nudge()
            return 0
        if document is not None:
            await self._db.write(
                lambda c: self._reports.store(c, row, document, report.SCANNER, at, rematch=True)
            )
            return 1
        if at is not None:
            await self._db.write(
                lambda c: c.execute(
                    update(scan_reports).where(scan_reports.c.id == row.id).values(database_at=at)
                )
            )
        return 0


class _InventoryGone(Exception):  # noqa: N818 - a signal between two functions
    def __init__(self, target: Target) -> None:
        self.target = target
