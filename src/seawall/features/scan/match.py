"""Vulnerabilities of an inventory: advisories about its packages, evaluated and merged by CVE id."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select, tuple_

from seawall.features.scan import ecosystems, severity, versions
from seawall.features.scan.model import Found, Inventory, Package
from seawall.features.scan.tables import advisories, advisory_cves, advisory_packages, advisory_sources

_BATCH = 400


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """One finding: a CVE (or other id) in a package. `fixed` is empty where no fix is known.

    `status` is Harbor's: "fixed" where a fixed version exists, or why there is none.
    """

    id: str
    package: str
    version: str
    fixed: str
    severity: str
    score: float | None
    vector: str
    description: str
    links: tuple[str, ...]
    cwes: tuple[str, ...]
    status: str
    purl: str
    layer: str
    advisories: tuple[str, ...]


@dataclass(slots=True)
class _Candidate:
    fixed: str
    status: str
    own_severity: str
    rows: list[Any] = field(default_factory=list)


def vulnerabilities(connection: Connection, inventory: Inventory) -> list[Vulnerability]:
    """Everything known about the packages of an inventory, most severe first."""
    wanted: dict[tuple[str, str], list[tuple[Package, str]]] = {}
    for package in inventory.packages:
        for ecosystem, name, version in ecosystems.lookups(package.found, inventory.distribution):
            wanted.setdefault((ecosystem, name), []).append((package, version))
    hits: dict[tuple[str, str, str], tuple[Package, _Candidate]] = {}
    for row in _candidates(connection, sorted(wanted)):
        for package, version in wanted[(row.ecosystem, row.package)]:
            kind = package.found.kind
            ranges = row.ranges if kind != "rpm" else [r for r in row.ranges if _stream(r, package.found)]
            hit, fixed = versions.affected(kind, version, ranges, row.versions)
            if not hit:
                continue
            for cve in row.cves:
                key = (cve, package.found.name, package.found.version)
                known = hits.get(key)
                if known is None:
                    hits[key] = (package, _Candidate(fixed or "", row.status, row.own_severity, [row]))
                else:
                    _merge(kind, known[1], fixed, row)
    enriched = _enrich(connection, {key[0] for key, (_, c) in hits.items() if not _rated(c)})
    found = [
        _finding(cve, package, candidate, enriched) for (cve, _, _), (package, candidate) in hits.items()
    ]
    found.sort(key=lambda v: (-severity.RANK[v.severity], -(v.score or 0), v.id, v.package, v.version))
    return found


def _stream(entry: dict[str, Any], found: Found) -> bool:
    """Whether a range is about the module stream that an rpm is of; builds of streams do not compare."""
    module = entry.get("module")
    if module:
        return bool(found.module == module)
    modular = bool(found.module) or ".module" in found.version
    values = [value for event in entry.get("events") or [] for value in event.values()]
    return modular == any(".module" in value for value in values)


def _candidates(connection: Connection, keys: list[tuple[str, str]]) -> Iterable[Any]:
    columns = (
        advisory_packages.c.ecosystem,
        advisory_packages.c.package,
        advisory_packages.c.ranges,
        advisory_packages.c.versions,
        advisory_packages.c.severity.label("own_severity"),
        advisory_packages.c.status,
        advisories.c.name,
        advisories.c.cves,
        advisories.c.severity,
        advisories.c.score,
        advisories.c.vector,
        advisories.c.summary,
        advisories.c.links,
        advisories.c.cwes,
    )
    for start in range(0, len(keys), _BATCH):
        yield from connection.execute(
            select(*columns)
            .join(advisories, advisories.c.id == advisory_packages.c.advisory_id)
            .where(
                tuple_(advisory_packages.c.ecosystem, advisory_packages.c.package).in_(
                    keys[start : start + _BATCH]
                ),
                advisories.c.withdrawn.is_(False),
            )
            .order_by(advisories.c.name)
        )


def _merge(kind: str, candidate: _Candidate, fixed: str | None, row: Any) -> None:
    candidate.rows.append(row)
    candidate.own_severity = candidate.own_severity or row.own_severity
    candidate.status = candidate.status or row.status
    # Two sources about one CVE: the earliest version that either calls fixed.
    if fixed and (not candidate.fixed or versions.compare(kind, fixed, candidate.fixed) == -1):
        candidate.fixed = fixed


def _rated(candidate: _Candidate) -> bool:
    return bool(candidate.own_severity) or any(row.severity for row in candidate.rows)


def _enrich(connection: Connection, cves: set[str]) -> dict[str, Any]:
    """Ratings that other advisories about the same CVE give (withdrawn ones do not count)."""
    result: dict[str, Any] = {}
    ordered = sorted(cves)
    for start in range(0, len(ordered), _BATCH):
        for row in connection.execute(
            select(
                advisory_cves.c.cve,
                advisories.c.severity,
                advisories.c.score,
                advisories.c.vector,
                advisories.c.summary,
            )
            .join(advisories, advisories.c.id == advisory_cves.c.advisory_id)
            .where(
                advisory_cves.c.cve.in_(ordered[start : start + _BATCH]),
                advisories.c.severity != "",
                advisories.c.withdrawn.is_(False),
            )
            .order_by(advisories.c.score.is_(None), advisories.c.name)
        ):
            result.setdefault(row.cve, row)
    return result


def _finding(cve: str, package: Package, candidate: _Candidate, enriched: dict[str, Any]) -> Vulnerability:
    rows = candidate.rows
    other = enriched.get(cve)
    scored = next((row for row in rows if row.score is not None), other)
    rated = next((row.severity for row in rows if row.severity), "") or candidate.own_severity
    if not rated and other is not None:
        rated = other.severity
    summary = next((row.summary for row in rows if row.summary), "")
    if not summary and other is not None:
        summary = other.summary
    links = dict.fromkeys(link for row in rows for link in row.links)
    found = package.found
    name = f"{found.namespace}:{found.name}" if found.kind == "maven" and found.namespace else found.name
    return Vulnerability(
        id=cve,
        package=name,
        version=found.version,
        fixed=candidate.fixed,
        severity=rated or "Unknown",
        score=scored.score if scored is not None else None,
        vector=scored.vector if scored is not None else "",
        description=summary,
        links=tuple(links)[:20],
        cwes=tuple(dict.fromkeys(cwe for row in rows for cwe in row.cwes)),
        status="fixed" if candidate.fixed else candidate.status or "affected",
        purl=package.purl,
        layer=package.layer,
        advisories=tuple(dict.fromkeys(row.name for row in rows)),
    )


def database_time(connection: Connection) -> float | None:
    """When advisories were last imported; None when never."""
    return max((row[0] for row in connection.execute(select(advisory_sources.c.imported_at))), default=None)
