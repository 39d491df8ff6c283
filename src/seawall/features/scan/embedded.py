"""The embedded scanner: package lists matched with imported advisories."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection

from seawall.features.scan import match, report, sbom
from seawall.features.scan.model import Inventory, Log, ReportRow, Step
from seawall.features.scan.packages import PackageLists
from seawall.features.scan.reports import ScanReports
from seawall.features.scan.sbom_push import SbomPublisher
from seawall.features.scan.targets import Target
from seawall.infra.db import Database
from seawall.kernel.extras import need


class EmbeddedScanner:
    """Makes reports and SBOMs of images without an adapter."""

    def __init__(
        self, db: Database, packages: PackageLists, reports: ScanReports, publisher: SbomPublisher
    ) -> None:
        self._db = db
        self._packages = packages
        self._reports = reports
        self._publisher = publisher

    async def scan(self, row: ReportRow, target: Target, log: Log, step: Step) -> dict[str, Any]:
        """Scan an image and store the result; returns the job's. Raises ScanError."""
        need("scan", "the embedded scanner")
        inventory = await self._packages.inventory(target, log=log, step=step)
        await log(f"{len(inventory.packages)} packages, {inventory.distribution.name or 'no distribution'}")
        for note in inventory.notes[:50]:
            await log(f"note: {note}")
        if row.kind == "sbom":
            at = time.time()
            documents = [
                (kind, sbom.make(kind, inventory, target.repository, target.digest, at))
                for kind in sbom.FORMATS
            ]
            return await self._publisher.publish(row, target, documents, report.SCANNER)

        matched = await self._db.read(lambda c: match_advisories(c, inventory, target))
        result = await self._db.write(
            lambda c: self._reports.store(c, row, matched[0], report.SCANNER, matched[1])
        )
        await log(f"{result['total']} vulnerabilities, severity {result['severity']}")
        return result


def match_advisories(
    connection: Connection, inventory: Inventory, target: Target
) -> tuple[dict[str, Any], float | None]:
    """(report, import time it knows of) of an inventory."""
    # The time first: an import in between makes the report look older than it is, never newer.
    at = match.database_time(connection)
    found = match.vulnerabilities(connection, inventory)
    return report.build(found, target.repository, target.digest, target.media_type, time.time()), at
