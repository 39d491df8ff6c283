"""Harbor's overview of an artifact's reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from seawall.features.scan import report, severity
from seawall.features.scan.model import ReportRow

ACTIVE = ("Pending", "Running")


def moment(seconds: float | None) -> str | None:
    """RFC 3339 time, or None."""
    return report.moment(seconds) if seconds is not None else None


def status(rows: Sequence[ReportRow]) -> str:
    """The status of several reports together."""
    for name in ("Running", "Pending", "Error", "Stopped"):
        if any(row.status == name for row in rows):
            return name
    return "Success"


def of(rows: Sequence[ReportRow]) -> dict[str, Any]:
    """Harbor's NativeReportSummary of one report, or of those of an index's images."""
    started = [row.started_at for row in rows if row.started_at is not None]
    ended = [row.ended_at for row in rows if row.ended_at is not None]
    done = sum(1 for row in rows if row.status not in ACTIVE)
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(row.counts or {})
    overview: dict[str, Any] = {
        "report_id": rows[0].uuid,
        "scan_status": status(rows),
        "start_time": moment(min(started)) if started else None,
        "end_time": moment(max(ended)) if ended and done == len(rows) else None,
        "complete_percent": 100 * done // len(rows),
        "scanner": rows[0].scanner_info,
    }
    if started and ended and done == len(rows):
        overview["duration"] = max(0, int(max(ended) - min(started)))
    if any(row.counts is not None for row in rows):
        overview["severity"] = severity.highest(row.severity for row in rows if row.severity)
        overview["summary"] = {
            "total": sum(row.total for row in rows),
            "fixable": sum(row.fixable for row in rows),
            "summary": {name: counts[name] for name in reversed(severity.ORDER) if counts[name]},
        }
    return {key: value for key, value in overview.items() if value is not None}
