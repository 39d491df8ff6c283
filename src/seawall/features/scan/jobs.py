"""Job kinds of scanning."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from seawall.features.scan import export, live
from seawall.features.scan.adapter_requests import AdapterRequests
from seawall.features.scan.reports import find_report
from seawall.features.scan.scanning import Scanning
from seawall.infra.configuration import Configuration
from seawall.infra.db import Database
from seawall.infra.jobs.base import JobContext, JobKind, JobStoppedError
from seawall.infra.live.events import system
from seawall.kernel.errors import SeawallError
from seawall.registry import pulls

SCAN_ALL_SCHEDULE = "system:scan-all"
FORGET_SCHEDULE = "system:scan-forget"


def _note_read(connection: Connection, identifier: str) -> None:
    row = find_report(connection, identifier)
    if row is not None:
        pulls.touch(connection, row.repository_id, row.digest)


class ScanJobs:
    """The work of scanning's jobs."""

    def __init__(
        self, db: Database, scan: Scanning, requests: AdapterRequests, configuration: Configuration
    ) -> None:
        self._db = db
        self._configuration = configuration
        self._scan = scan
        self._requests = requests

    def kinds(self) -> tuple[JobKind, ...]:
        """The kinds of jobs."""
        return (
            JobKind("scan", self.scan, concurrency=4, shows=live.of_reports),
            JobKind("scan-all", self.scan_all, concurrency=1, shows=system("scan-all")),
            JobKind("scan-rematch", self.rematch, concurrency=1, retries=2),
            JobKind("scan-forget", self.forget, concurrency=1, retries=2),
            JobKind("scan-request", self.request, concurrency=2),
            JobKind("scan-export", self.export_findings, concurrency=1, shows=live.of_exports),
        )

    async def scan(self, context: JobContext, args: dict[str, Any]) -> dict[str, Any]:
        """Scan one artifact; arg `report` is the report's uuid."""
        identifier = args["report"]
        try:
            result = await self._scan.runner.run(identifier, log=context.log, step=context.checkpoint)
        except JobStoppedError:
            await self._scan.reports.stopped(identifier)
            raise
        except SeawallError as error:
            await self._scan.reports.failed(identifier, str(error))
            raise
        except Exception as error:
            await self._scan.reports.failed(identifier, f"internal error: {type(error).__name__}")
            raise
        values = await self._configuration.all()
        # In Harbor a scanner pulls what it scans.
        if not (values["scanner_skip_update_pulltime"] or values["pull_time_update_disable"]):
            await self._db.write(lambda c: _note_read(c, identifier), durable=False)
        return result

    async def scan_all(self, context: JobContext, args: dict[str, Any]) -> dict[str, int]:
        """Ask for a scan of every image."""
        trigger = args.get("trigger", "Schedule")
        return await self._scan.everything.start(
            trigger, context.id, log=context.log, step=context.checkpoint
        )

    async def rematch(self, context: JobContext, args: dict[str, Any]) -> dict[str, int]:
        """Match stored package lists with newly imported advisories."""
        return await self._scan.rematcher.run(log=context.log, step=context.checkpoint)

    async def forget(self, context: JobContext, args: dict[str, Any]) -> int:
        """Drop stored layer results that nothing uses, and old exports."""
        done = await self._scan.packages.forget_unused()
        done += await export.forget_old(self._db)
        done += await self._requests.forget_old()
        await context.log(f"{done} rows dropped")
        return done

    async def request(self, context: JobContext, args: dict[str, Any]) -> dict[str, Any]:
        """Scan an image of another registry; arg `request` is the id that the registry was given."""
        return await self._requests.run(args["request"], log=context.log, step=context.checkpoint)

    async def export_findings(self, context: JobContext, args: dict[str, Any]) -> dict[str, int]:
        """Write the CSV of an export; arg `export` is its id."""
        return await export.run(self._db, int(args["export"]), step=context.checkpoint)
