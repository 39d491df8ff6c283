"""What lists show of scans: overviews of artifacts, the security hub's summary and search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, distinct, func, or_, select

from seawall.features.scan import overview, report, severity
from seawall.features.scan.model import ReportRow
from seawall.features.scan.overview import ACTIVE
from seawall.features.scan.reports import reports_of
from seawall.features.scan.tables import scan_findings, scan_reports, scan_runs, scanners
from seawall.features.scan.targets import attests
from seawall.infra.db.listing import Condition, Field, Fields, Page
from seawall.kernel.errors import InvalidError
from seawall.registry.images import count_images, image_payloads
from seawall.registry.lookups import child_digests
from seawall.registry.manifest import DOCKER_LIST, OCI_INDEX
from seawall.registry.views import manifests, repositories, tags

_RANK = case(
    *((scan_findings.c.severity == name, rank) for name, rank in severity.RANK.items()),
    else_=0,
)


@dataclass(frozen=True, slots=True)
class Shown:
    """An artifact of a list, as far as overviews need it."""

    id: int
    repository_id: int
    project_id: int
    digest: str
    media_type: str


def _images(connection: Connection, items: Sequence[Shown]) -> dict[int, list[str]]:
    """artifact id -> digests whose reports speak for it."""
    indexes = [item.id for item in items if item.media_type in (OCI_INDEX, DOCKER_LIST)]
    found = child_digests(connection, indexes) if indexes else {}
    return {item.id: [item.digest] for item in items} | found


def _reports(connection: Connection, items: Sequence[Shown], kind: str) -> dict[int, list[ReportRow]]:
    """artifact id -> its reports (several for an index); artifacts without one are left out."""
    images = _images(connection, items)
    groups: dict[tuple[int, int], list[str]] = {}
    for item in items:
        groups.setdefault((item.repository_id, item.project_id), []).extend(images[item.id])
    found = {key: reports_of(connection, key[0], key[1], digests, kind) for key, digests in groups.items()}
    result: dict[int, list[ReportRow]] = {}
    for item in items:
        known = found[(item.repository_id, item.project_id)]
        rows = [known[digest] for digest in images[item.id] if digest in known]
        if rows:
            result[item.id] = rows
    return result


def scan_overviews(connection: Connection, items: Sequence[Shown]) -> dict[int, dict[str, Any]]:
    """artifact id -> Harbor's `scan_overview`. An index has one once each of its images has a report."""
    found = _reports(connection, items, "vulnerability")
    partly = _partly(connection, items, found)
    return {
        identifier: {report.GENERIC: overview.of(rows)}
        for identifier, rows in found.items()
        if identifier not in partly
    }


def _partly(connection: Connection, items: Sequence[Shown], found: dict[int, list[ReportRow]]) -> set[int]:
    """Ids of the indexes with an image that has no report, though others have."""
    digests = _images(connection, [item for item in items if item.id in found])
    missing = {
        identifier: set(digests[identifier]) - {row.digest for row in rows}
        for identifier, rows in found.items()
    }
    result = set()
    for repository in {item.repository_id for item in items}:
        mine = [item.id for item in items if item.repository_id == repository and missing.get(item.id)]
        if mine:
            payloads = image_payloads(connection, repository, set().union(*(missing[i] for i in mine)))
            images = {digest for digest, payload in payloads.items() if not attests(payload)}
            result |= {identifier for identifier in mine if missing[identifier] & images}
    return result


def sbom_overviews(connection: Connection, items: Sequence[Shown]) -> dict[int, dict[str, Any]]:
    """artifact id -> Harbor's `sbom_overview`."""
    result = {}
    for identifier, rows in _reports(connection, items, "sbom").items():
        row = rows[0]
        shown: dict[str, Any] = {
            "report_id": row.uuid,
            "scan_status": overview.status(rows),
            "sbom_digest": row.sbom_digest,
            "start_time": overview.moment(row.started_at),
            "end_time": overview.moment(row.ended_at),
            "scanner": row.scanner_info,
        }
        if row.started_at is not None and row.ended_at is not None:
            shown["duration"] = max(0, int(row.ended_at - row.started_at))
        result[identifier] = {key: value for key, value in shown.items() if value is not None}
    return result


# -- security hub --------------------------------------------------------------------------------------


def _current() -> ColumnElement[bool]:
    """Reports of the default scanner about images that are there."""
    return and_(
        scan_reports.c.kind == "vulnerability",
        scan_reports.c.counts.is_not(None),
        scan_reports.c.scanner.in_(select(scanners.c.uuid).where(scanners.c.is_default)),
    )


def _joined(query: Select[Any]) -> Select[Any]:
    return (
        query.join(scan_reports, scan_reports.c.id == scan_findings.c.report_id)
        .join(repositories, repositories.c.id == scan_reports.c.repository_id)
        .join(
            manifests,
            and_(
                manifests.c.repository_id == scan_reports.c.repository_id,
                manifests.c.digest == scan_reports.c.digest,
            ),
        )
        .where(_current())
    )


def summary(connection: Connection, *, cves: bool, artifacts: bool) -> dict[str, Any]:
    """Harbor's SecuritySummary: counts over every artifact, the most dangerous CVEs and artifacts."""
    rows = connection.execute(
        _joined(
            select(
                scan_findings.c.severity,
                func.count(),
                func.sum(case((scan_findings.c.fixed_version != "", 1), else_=0)),
            ).select_from(scan_findings)
        ).group_by(scan_findings.c.severity)
    ).fetchall()
    by_severity = {row[0]: int(row[1]) for row in rows}
    scanned = connection.execute(
        select(func.count())
        .select_from(scan_reports)
        .join(
            manifests,
            and_(
                manifests.c.repository_id == scan_reports.c.repository_id,
                manifests.c.digest == scan_reports.c.digest,
            ),
        )
        .where(_current())
    ).scalar_one()
    result: dict[str, Any] = {
        f"{name.lower()}_cnt": by_severity.get(name, 0) for name in reversed(severity.ORDER)
    }
    result |= {
        "total_vuls": sum(by_severity.values()),
        "fixable_cnt": sum(int(row[2] or 0) for row in rows),
        "scanned_cnt": int(scanned),
        "total_artifact": count_images(connection),
    }
    if cves:
        result["dangerous_cves"] = _dangerous_cves(connection)
    if artifacts:
        result["dangerous_artifacts"] = _dangerous_artifacts(connection)
    return result


def _dangerous_cves(connection: Connection) -> list[dict[str, Any]]:
    query = _joined(
        select(
            scan_findings.c.cve,
            scan_findings.c.package,
            scan_findings.c.version,
            func.max(_RANK).label("rank"),
            func.max(scan_findings.c.score).label("score"),
            func.max(scan_findings.c.description).label("description"),
        ).select_from(scan_findings)
    )
    query = query.group_by(scan_findings.c.cve, scan_findings.c.package, scan_findings.c.version)
    query = query.order_by(
        func.coalesce(func.max(scan_findings.c.score), 0).desc(), func.max(_RANK).desc(), scan_findings.c.cve
    )
    return [
        {
            "cve_id": row.cve,
            "severity": severity.ORDER[row.rank],
            "cvss_score_v3": row.score or 0.0,
            "desc": row.description,
            "package": row.package,
            "version": row.version,
        }
        for row in connection.execute(query.limit(5))
    ]


def _dangerous_artifacts(connection: Connection) -> list[dict[str, Any]]:
    def count(name: str) -> Any:
        return func.sum(case((scan_findings.c.severity == name, 1), else_=0))

    query = _joined(
        select(
            repositories.c.project_id,
            repositories.c.name,
            scan_reports.c.digest,
            count("Critical").label("critical"),
            count("High").label("high"),
            count("Medium").label("medium"),
        ).select_from(scan_findings)
    )
    query = query.group_by(repositories.c.project_id, repositories.c.name, scan_reports.c.digest)
    # An artifact with low findings only is shown where there is none that is worse.
    counts = [count(name) for name in ("Critical", "High", "Medium", "Low")]
    query = query.having(or_(*(number > 0 for number in counts)))
    query = query.order_by(*(number.desc() for number in counts), scan_reports.c.digest)
    return [
        {
            "project_id": row.project_id,
            "repository_name": row.name,
            "digest": row.digest,
            "critical_cnt": int(row.critical),
            "high_cnt": int(row.high),
            "medium_cnt": int(row.medium),
        }
        for row in connection.execute(query.limit(5))
    ]


def search_query() -> Select[Any]:
    """Findings of the security hub, to be filtered, sorted and cut."""
    return _joined(
        select(
            scan_findings.c.id,
            repositories.c.project_id,
            repositories.c.name.label("repository"),
            scan_reports.c.digest,
            manifests.c.id.label("manifest_id"),
            scan_findings.c.cve,
            scan_findings.c.severity,
            scan_findings.c.status,
            scan_findings.c.score,
            scan_findings.c.package,
            scan_findings.c.version,
            scan_findings.c.fixed_version,
            scan_findings.c.description,
            scan_findings.c.links,
        ).select_from(scan_findings)
    )


def has_tag(name: str) -> ColumnElement[bool]:
    """The finding's artifact has that tag."""
    return (
        select(tags.c.name)
        .where(tags.c.manifest_id == manifests.c.id, tags.c.name == name)
        .correlate(manifests)
    ).exists()


def run_metrics(connection: Connection, trigger: str | None = None) -> dict[str, Any] | None:
    """Harbor's Stats of the latest scan-all run; None when there was none."""
    query = select(scan_runs).order_by(scan_runs.c.id.desc())
    if trigger is not None:
        query = query.where(scan_runs.c.trigger == trigger)
    run = connection.execute(query.limit(1)).first()
    if run is None:
        return None
    rows = connection.execute(
        select(scan_reports.c.status, func.count(distinct(scan_reports.c.id)))
        .where(scan_reports.c.run_id == run.id)
        .group_by(scan_reports.c.status)
    )
    # Each of Harbor's, also without a scan.
    metrics = dict.fromkeys(("Pending", "Running", "Success", "Error", "Stopped"), 0)
    metrics |= {row[0]: int(row[1]) for row in rows}
    active = sum(metrics.get(status, 0) for status in ACTIVE)
    return {
        "total": int(run.total),
        "completed": sum(metrics.values()) - active,
        "metrics": metrics,
        "ongoing": run.status == "Running" or active > 0,
        "trigger": run.trigger,
    }


def _score(condition: Condition) -> ColumnElement[bool]:
    values = condition.values
    try:
        numbers = [float(value) if value else None for value in values]
    except ValueError:
        raise InvalidError("invalid query: cvss_score_v3 takes numbers") from None
    column = func.coalesce(scan_findings.c.score, 0)
    if condition.operator == "range":
        low, high = numbers
        return (column >= (low or 0)) & (column <= (10 if high is None else high))
    if condition.operator == "eq" and numbers[0] is not None:
        equal: ColumnElement[bool] = column == numbers[0]
        return equal
    raise InvalidError("invalid query: cvss_score_v3 takes a number or a range")


def _tagged(condition: Condition) -> ColumnElement[bool]:
    if condition.operator != "eq":
        raise InvalidError("invalid query: tag is matched exactly")
    return has_tag(condition.value)


SEARCH: Fields = {
    "cve_id": Field(scan_findings.c.cve),
    "severity": Field(scan_findings.c.severity),
    "status": Field(scan_findings.c.status),
    "package": Field(scan_findings.c.package),
    "repository_name": Field(repositories.c.name),
    "project_id": Field(repositories.c.project_id, "int"),
    "digest": Field(scan_reports.c.digest),
    "cvss_score_v3": _score,
    "tag": _tagged,
}


def list_findings(connection: Connection, page: Page, limit: int | None) -> tuple[int, list[Any]]:
    """How many findings the conditions leave, and rows of a page of them, the worst first.

    `limit`: count at most one more than this. Raises InvalidError for conditions that make no sense.
    """
    query = page.filter(search_query(), SEARCH)
    counted = query.with_only_columns(scan_findings.c.id)
    if limit is not None:
        counted = counted.limit(limit + 1)
    total = connection.execute(select(func.count()).select_from(counted.subquery())).scalar_one()
    worst = query.order_by(func.coalesce(scan_findings.c.score, 0).desc(), scan_findings.c.id)
    return int(total), list(connection.execute(page.slice(worst)))
