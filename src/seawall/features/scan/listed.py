"""Conditions of artifact lists on the results of scans."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, and_, exists, false, not_, or_

from seawall.features.scan import scanners, severity
from seawall.features.scan.tables import scan_reports
from seawall.infra.db.listing import Condition, Fields, bad_query
from seawall.registry.manifest import DOCKER_LIST, OCI_INDEX
from seawall.registry.views import manifest_references, manifests

_MOST = len(severity.ORDER) - 1
_NAMES = {name.lower(): name for name in severity.ORDER}


def conditions(connection: Connection, project_id: int) -> Fields:
    """What lists of a project's artifacts can be filtered by in addition to what the registry knows of them.

    `severity` is that of the worst finding of the project's scanner: a name, a range of names or `{several}`.
    `*` is any result and `nil` none. An index has the worst of its images.
    """

    def by_severity(condition: Condition) -> ColumnElement[bool]:
        scanner = scanners.of_project(connection, project_id)
        found = scanner.uuid if scanner is not None else ""
        if condition.operator == "eq" and condition.value in ("*", "nil"):
            scanned = _between(found, 0, _MOST)
            return scanned if condition.value == "*" else not_(scanned)
        if condition.operator in ("eq", "any"):
            ranks = sorted({_rank(value) for value in condition.values})
            return or_(*(_between(found, rank, rank) for rank in ranks)) if ranks else false()
        if condition.operator == "range":
            low, high = condition.values
            return _between(found, _rank(low) if low else 0, _rank(high) if high else _MOST)
        raise bad_query("severity takes a name, a range like [High~], or a list like {High Critical}")

    return {"severity": by_severity}


def _rank(value: str) -> int:
    name = _NAMES.get(value.lower())
    if name is None:
        raise bad_query(f"{value[:50]!r} is not a severity: {', '.join(severity.ORDER)}, * or nil")
    return severity.RANK[name]


def _between(scanner: str, low: int, high: int) -> ColumnElement[bool]:
    """The worst finding in the image, or in those of the index, is from `low` to `high`."""
    own = exists().where(
        _found(scanner, severity.ORDER[low : high + 1]), scan_reports.c.digest == manifests.c.digest
    )
    parts = _part(scanner, severity.ORDER[low:])
    if high < _MOST:
        parts = and_(parts, not_(_part(scanner, severity.ORDER[high + 1 :])))
    return or_(own, and_(manifests.c.media_type.in_((OCI_INDEX, DOCKER_LIST)), parts))


def _part(scanner: str, names: Sequence[str]) -> ColumnElement[bool]:
    """The scanner has given an image of the index one of these severities."""
    return exists().where(
        manifest_references.c.manifest_id == manifests.c.id,
        manifest_references.c.kind == "manifest",
        _found(scanner, names),
        scan_reports.c.digest == manifest_references.c.digest,
    )


def _found(scanner: str, names: Sequence[str]) -> ColumnElement[bool]:
    return and_(
        scan_reports.c.repository_id == manifests.c.repository_id,
        scan_reports.c.scanner == scanner,
        scan_reports.c.kind == "vulnerability",
        scan_reports.c.counts.is_not(None),
        scan_reports.c.severity.in_(names),
    )
