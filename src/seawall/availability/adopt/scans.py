"""Scan reports and SBOMs of a Harbor.

Harbor keeps a report's summary as JSON (`scan_report`) and its findings apart, each once for a scanner
(`vulnerability_record`, joined by `report_vulnerability_record`). A new scan makes a new report, so its uuid
tells what came already. What the Trivy that comes with Harbor said counts here as said by Seawall's scanner.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from seawall.availability.adopt import written
from seawall.availability.adopt.harbor import HarborDatabase, Record, parsed
from seawall.availability.adopt.report import Report
from seawall.availability.adopt.schema import adopted_rows
from seawall.features.scan import adopted
from seawall.features.scan.scanners import EMBEDDED
from seawall.infra.db import Database
from seawall.infra.db.dialect import allow_long
from seawall.kernel.errors import InvalidError

KIND = "scan report"
# Reports of a transaction; one may have thousands of findings.
_BATCH = 50
_SEPARATOR = "|"


async def bring(db: Database, harbor: HarborDatabase, report: Report, *, apply: bool) -> None:
    """Bring the reports about artifacts that came, and that are not here yet."""
    names = {row["uuid"]: row for row in harbor.rows("scanner_registration", order="id")}
    known = await db.read(_known)
    places, here = await db.read(_places)
    counts = report.of(KIND)
    batch: list[tuple[Record, str]] = []
    for row in _rows(harbor):
        counts.found += 1
        if row["uuid"] in known:
            continue
        came_with_harbor = bool(names.get(row["registration_uuid"], {}).get("immutable"))
        scanner = EMBEDDED if came_with_harbor else row["registration_uuid"]
        if apply and (scanner not in here or row["digest"] not in places):
            # The scanner or the artifact could not come; the step that takes it over reports that.
            continue
        batch.append((row, scanner))
        if len(batch) >= _BATCH:
            await _write(db, harbor, report, batch, places, apply=apply)
            batch = []
    await _write(db, harbor, report, batch, places, apply=apply)


def _known(connection: Connection) -> set[str]:
    query = select(adopted_rows.c.source).where(adopted_rows.c.kind == KIND)
    return set(connection.execute(query).scalars())


def _places(connection: Connection) -> tuple[dict[str, list[int]], set[str]]:
    """(digest -> ids here of the repositories that it came to, uuids of scanners here)."""
    places: dict[str, list[int]] = {}
    for found, _ in written.brought(connection).values():
        for digest in found.artifacts:
            places.setdefault(digest, []).append(found.id)
    return places, adopted.scanners_here(connection)


def _rows(harbor: HarborDatabase) -> Iterator[Record]:
    """Finished reports, oldest first; of SBOMs `sbom` is the accessory's digest."""
    artifacts = harbor.rows("artifact", order="id", columns=("id", "digest"))
    digests = {row["id"]: row["digest"] for row in artifacts}
    for row in harbor.rows("scan_report", order="id"):
        document = parsed(row["report"], dict)
        if document:
            yield {**row, "report": document, "sbom": ""}
    for row in harbor.rows("sbom_report", order="id"):
        document = parsed(row["report"], dict)
        sbom, digest = document.get("sbom_digest"), digests.get(row["artifact_id"])
        if isinstance(sbom, str) and sbom and digest:
            yield {**row, "report": document, "digest": digest, "sbom": sbom}


async def _write(
    db: Database,
    harbor: HarborDatabase,
    report: Report,
    batch: list[tuple[Record, str]],
    places: Mapping[str, list[int]],
    *,
    apply: bool,
) -> None:
    if not batch:
        return
    counts = report.of(KIND)
    if not apply:
        counts.new += len(batch)
        return
    findings: dict[str, list[dict[str, Any]]] = {}
    for record in harbor.findings([row["uuid"] for row, _ in batch if not row["sbom"]]):
        findings.setdefault(record["report_uuid"], []).append(_item(record))

    def write(connection: Connection) -> int:
        allow_long(connection)
        stored = 0
        for row, scanner in batch:
            at = _moment(row["report"].get("generated_at") or row["report"].get("start_time"))
            document = {**row["report"], "vulnerabilities": findings.get(row["uuid"], [])}
            done = False
            for repository in places[row["digest"]]:
                if row["sbom"]:
                    # Without the accessory there is nothing to show.
                    if repository in places.get(row["sbom"], ()):
                        done |= adopted.store_sbom(
                            connection, repository, row["digest"], scanner, row["sbom"], at
                        )
                    continue
                try:
                    done |= adopted.store_report(connection, repository, row["digest"], scanner, document, at)
                except InvalidError as error:
                    report.leave(f"scan report {row['uuid']}", error)
            stored += done
            mark = {"kind": KIND, "source": row["uuid"], "target": "[]", "said": "", "written": ""}
            connection.execute(insert(adopted_rows), mark)
        return stored

    counts.new += await db.write(write)


def _item(record: Record) -> dict[str, Any]:
    """A finding as reports have it."""
    scores = {
        "score_v3": record["cvss_score_v3"],
        "score_v2": record["cvss_score_v2"],
        "vector_v3": record["cvss_vector_v3"],
        "vector_v2": record["cvss_vector_v2"],
    }
    return {
        "id": record["cve_id"],
        "package": record["package"],
        "version": record["package_version"],
        "fix_version": record["fixed_version"] or "",
        "severity": record["severity"],
        "description": record["description"] or "",
        "links": [item for item in (record["urls"] or "").split(_SEPARATOR) if item],
        "cwe_ids": [item for item in (record["cwe_ids"] or "").split(",") if item],
        # Harbor has had it since 2.14.
        "status": record.get("status") or "",
        "preferred_cvss": {key: value for key, value in scores.items() if value},
        "vendor_attributes": parsed(record["vendor_attributes"], dict),
    }


def _moment(text: Any) -> float:
    """Unix seconds of an RFC 3339 time; 0 for none, so that the report counts as old."""
    try:
        found = datetime.fromisoformat(text)
        return max((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp(), 0.0)
    except (TypeError, ValueError, OverflowError):
        return 0.0
