"""Scan all: asking for a scan of every image, as one run."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection, insert, select, update

from seawall.features.scan.model import Log, ReportRow, Step
from seawall.features.scan.overview import ACTIVE
from seawall.features.scan.reports import REPORT, as_report
from seawall.features.scan.requests import ScanRequests
from seawall.features.scan.tables import scan_reports, scan_runs
from seawall.features.scan.targets import Target, is_attestation
from seawall.infra.db import Database
from seawall.infra.db.together import Also, nothing
from seawall.infra.jobs.service import JobService
from seawall.kernel.errors import NotFoundError, PreconditionError
from seawall.registry.images import images_after


class ScanAll:
    """Starts and stops runs over every image of the registry."""

    def __init__(self, db: Database, jobs: JobService, requests: ScanRequests) -> None:
        self._db = db
        self._jobs = jobs
        self._requests = requests

    async def start(self, trigger: str, job_id: str, *, log: Log, step: Step) -> dict[str, int]:
        """Ask for a scan of every image; the reports' jobs then run on their own."""
        now = time.time()

        def begin_run(connection: Connection) -> int:
            # A taken-over job goes on with the run it began.
            known = connection.execute(select(scan_runs.c.id).where(scan_runs.c.job_id == job_id)).scalar()
            if known is not None:
                return int(known)
            connection.execute(
                insert(scan_runs).values(trigger=trigger, job_id=job_id, status="Running", started_at=now)
            )
            return int(
                connection.execute(select(scan_runs.c.id).where(scan_runs.c.job_id == job_id)).scalar_one()
            )

        run_id = await self._db.write(begin_run)
        after = total = refused = 0
        while True:
            await step()

            def request_batch(connection: Connection, after: int = after) -> tuple[int, int, int]:
                last, done, bad = 0, 0, 0
                for row in images_after(connection, after, 100):
                    target = Target(*row)
                    last = target.manifest_id
                    if is_attestation(connection, target):
                        continue
                    try:
                        if self._requests.request_in(connection, target, "vulnerability", run_id, "scan-all"):
                            done += 1
                    except PreconditionError:
                        bad += 1
                connection.execute(
                    update(scan_runs).where(scan_runs.c.id == run_id).values(total=scan_runs.c.total + done)
                )
                return last, done, bad

            last, done, bad = await self._db.write(request_batch)
            total, refused = total + done, refused + bad
            if not last:
                break
            after = last
            self._jobs.nudge()
        await log(f"{total} scans asked for, {refused} images have no usable scanner")
        await self._db.write(
            lambda c: c.execute(update(scan_runs).where(scan_runs.c.id == run_id).values(status="Success"))
        )
        return {"total": total, "refused": refused}

    async def stop(self, *, also: Also = nothing) -> None:
        """Stop the latest scan-all run and its scans. Raises NotFoundError when there is none."""

        def latest_run(connection: Connection) -> tuple[Any, list[ReportRow]]:
            row = connection.execute(select(scan_runs).order_by(scan_runs.c.id.desc())).first()
            if row is None:
                raise NotFoundError("nothing has been scanned by scan all")
            query = select(*REPORT).where(scan_reports.c.run_id == row.id, scan_reports.c.status.in_(ACTIVE))
            return row, [as_report(item) for item in connection.execute(query)]

        run, active = await self._db.read(latest_run)
        if run.job_id:
            await self._jobs.stop(run.job_id, also=also)
        for item in active:
            await self._requests.stop_report(item, also=also)
        await self._db.write(
            lambda c: c.execute(
                update(scan_runs)
                .where(scan_runs.c.id == run.id)
                .values(status="Stopped", ended_at=time.time())
            ),
            also=also,
        )
