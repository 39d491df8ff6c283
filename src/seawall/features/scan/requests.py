"""Asking for scans of artifacts, and stopping them."""

from __future__ import annotations

import time
import uuid

from sqlalchemy import Connection, insert, select, update

from seawall.features.scan import scanners
from seawall.features.scan.model import ReportRow
from seawall.features.scan.overview import ACTIVE
from seawall.features.scan.reports import REPORT, ScanReports, as_report, find_report
from seawall.features.scan.tables import scan_reports
from seawall.features.scan.targets import NotScannableError, Target, resolve
from seawall.infra.db import Database
from seawall.infra.db.together import Also, nothing
from seawall.infra.jobs.service import JobService
from seawall.kernel.errors import ConflictError, InvalidError, NotFoundError, PreconditionError
from seawall.registry.views import repositories

KINDS = ("vulnerability", "sbom")


class ScanRequests:
    """Turns what users, pushes and schedules ask for into reports and jobs."""

    def __init__(self, db: Database, jobs: JobService, reports: ScanReports) -> None:
        self._db = db
        self._jobs = jobs
        self._reports = reports

    async def request(
        self,
        repository: str,
        reference: str,
        kind: str = "vulnerability",
        *,
        run_id: int | None = None,
        also: Also = nothing,
    ) -> list[str]:
        """Start scanning an artifact (or the images of an index); returns the reports' uuids.

        Raises NotFoundError, InvalidError (nothing to scan), PreconditionError (no scanner) and ConflictError
        (being scanned).
        """
        if kind not in KINDS:
            raise InvalidError(f"scan_type must be one of {', '.join(KINDS)}")

        def request_images(connection: Connection) -> list[str]:
            found = resolve(connection, repository, reference)
            if not found:
                raise NotScannableError(f"{repository}:{reference} is not an image that can be scanned")
            return [uuid_ for target in found if (uuid_ := self.request_in(connection, target, kind, run_id))]

        started = await self._db.write(request_images, also=also)
        if not started:
            raise ConflictError("a scan of this artifact is running already")
        self._jobs.nudge()
        return started

    def request_in(
        self,
        connection: Connection,
        target: Target,
        kind: str,
        run_id: int | None = None,
        trigger: str = "manual",
    ) -> str | None:
        """`request` for one image inside the caller's transaction; None when it is being scanned.

        Raises PreconditionError when the project has no usable scanner.
        """
        scanner = scanners.of_project(connection, target.project_id)
        if scanner is None:
            scanners.ensure_embedded(connection)
            scanner = scanners.of_project(connection, target.project_id)
        if scanner is None or scanner.disabled:
            raise PreconditionError("the project's scanner is disabled")
        where = (
            (scan_reports.c.repository_id == target.repository_id)
            & (scan_reports.c.digest == target.digest)
            & (scan_reports.c.scanner == scanner.uuid)
            & (scan_reports.c.kind == kind)
        )
        old = connection.execute(
            select(scan_reports.c.id, scan_reports.c.uuid, scan_reports.c.status)
            .where(where)
            .with_for_update()
        ).first()
        if old is not None and old.status in ACTIVE:
            return None
        identifier = str(uuid.uuid4())
        job_id = self._jobs.enqueue_in(connection, "scan", {"report": identifier}, trigger=trigger)
        values = {
            "uuid": identifier,
            "status": "Pending",
            "job_id": job_id,
            "run_id": run_id,
            "error": None,
            "started_at": None,
            "ended_at": None,
            "created_at": time.time(),
        }
        if old is not None:
            # The last result stays (and goes on to guard pulls) until the new one is there.
            connection.execute(update(scan_reports).where(scan_reports.c.id == old.id).values(values))
        else:
            connection.execute(
                insert(scan_reports).values(
                    repository_id=target.repository_id,
                    digest=target.digest,
                    scanner=scanner.uuid,
                    kind=kind,
                    **values,
                )
            )
        return identifier

    async def stop(
        self, repository: str, reference: str, kind: str = "vulnerability", *, also: Also = nothing
    ) -> int:
        """Stop the running scans of an artifact; returns how many. Raises NotFoundError."""

        def running_scans(connection: Connection) -> list[ReportRow]:
            digests = [target.digest for target in resolve(connection, repository, reference)]
            query = select(*REPORT).join(repositories, repositories.c.id == scan_reports.c.repository_id)
            query = query.where(
                repositories.c.name == repository,
                scan_reports.c.digest.in_(digests),
                scan_reports.c.kind == kind,
                scan_reports.c.status.in_(ACTIVE),
            )
            return [as_report(row) for row in connection.execute(query)]

        found = await self._db.read(running_scans)
        for item in found:
            await self.stop_report(item, also=also)
        return len(found)

    async def stop_report(self, item: ReportRow, *, also: Also = nothing) -> None:
        """Stop one report's job; one that has not started ends here and now."""
        if item.job_id is None or not await self._jobs.stop(item.job_id, also=also):
            return
        info = await self._jobs.get(item.job_id)
        if info is None or info.status == "stopped":
            await self._db.write(lambda c: self._reports.finish(c, item.uuid, "Stopped", None), also=also)

    async def log(self, identifier: str) -> str:
        """The log of a report's job. Raises NotFoundError."""
        row = await self._db.point(lambda c: find_report(c, identifier))
        if row is None or row.job_id is None:
            raise NotFoundError(f"report {identifier[:64]} not found")
        return await self._jobs.log(row.job_id)
