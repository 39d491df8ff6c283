"""Reports as Harbor has them, from our findings or from a scanner adapter.

Source: Harbor's Pluggable Scanner API 1.2, "HarborVulnerabilityReport" and the generic report 1.1.
"""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seawall import __version__
from seawall.features.scan import severity
from seawall.features.scan.match import Vulnerability
from seawall.kernel.errors import InvalidError
from seawall.kernel.extras import optional

if TYPE_CHECKING:
    import zstandard
else:
    zstandard = optional("zstandard")

GENERIC = "application/vnd.security.vulnerability.report; version=1.1"
NATIVE = "application/vnd.scanner.adapter.vuln.report.harbor+json; version=1.0"
SBOM = "application/vnd.security.sbom.report+json; version=1.0"
SCANNER = {"name": "Seawall", "vendor": "Seawall", "version": __version__}
_PACKED = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Summary:
    """What lists show of a report: worst severity, counts by severity, fixable findings."""

    severity: str
    total: int
    fixable: int
    counts: dict[str, int]
    cves: dict[str, int]
    """CVE id -> rank of its worst severity"""


def moment(seconds: float) -> str:
    """RFC 3339 time, UTC, microseconds."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat().replace("+00:00", "Z")


def build(
    found: Iterable[Vulnerability], repository: str, digest: str, media_type: str, at: float
) -> dict[str, Any]:
    """The report about an image."""
    items = [_item(v, digest) for v in found]
    return {
        "generated_at": moment(at),
        "artifact": {"repository": repository, "digest": digest, "mime_type": media_type},
        "scanner": SCANNER,
        "severity": severity.highest(item["severity"] for item in items),
        "vulnerabilities": items,
    }


def _item(v: Vulnerability, digest: str) -> dict[str, Any]:
    item: dict[str, Any] = {
        "id": v.id,
        "package": v.package,
        "version": v.version,
        "fix_version": v.fixed,
        "severity": v.severity,
        "description": v.description,
        "links": list(v.links),
        "artifact_digests": [digest],
        "cwe_ids": list(v.cwes),
        "status": v.status,
        "vendor_attributes": {"purl": v.purl, "layer": v.layer, "advisories": list(v.advisories)},
    }
    if v.score is not None:
        cvss: dict[str, Any] = {}
        if v.vector.startswith("CVSS:3"):
            cvss = {"score_v3": v.score, "vector_v3": v.vector}
        elif v.vector.startswith("CVSS:4"):
            # The report format ends at v3; the vector says what the score is.
            cvss = {"score_v3": v.score, "vector_v3": v.vector}
        else:
            cvss = {"score_v2": v.score, "vector_v2": v.vector}
        item["preferred_cvss"] = cvss
    return item


def check(document: Any, digest: str) -> dict[str, Any]:
    """An adapter's report, fields of the wrong type left out. Raises InvalidError."""
    if not isinstance(document, dict):
        raise InvalidError("the scanner's report is not a JSON object")
    given = document.get("vulnerabilities")
    if given is not None and not isinstance(given, list):
        raise InvalidError("the scanner's report has no list of vulnerabilities")
    items = []
    for item in given or []:
        if not isinstance(item, dict) or not isinstance(item.get("id"), str) or not item["id"]:
            continue
        kept = {key: value for key, value in item.items() if isinstance(key, str)}
        for key in ("package", "version", "fix_version", "description", "status"):
            if not isinstance(kept.get(key), str):
                kept[key] = ""
        rated = kept.get("severity")
        # "Negligible" is an older name of None.
        kept["severity"] = rated if rated in severity.RANK else severity.word(rated) or "Unknown"
        for key in ("links", "cwe_ids"):
            value = kept.get(key)
            kept[key] = [text for text in value if isinstance(text, str)] if isinstance(value, list) else []
        kept["artifact_digests"] = [digest]
        items.append(kept)
    scanner = document.get("scanner")
    return {
        **document,
        "scanner": scanner if isinstance(scanner, dict) else {},
        "severity": severity.highest(item["severity"] for item in items),
        "vulnerabilities": items,
    }


def summarize(report: dict[str, Any]) -> Summary:
    """The numbers of a report."""
    items = report["vulnerabilities"]
    counts = Counter(item["severity"] for item in items)
    cves: dict[str, int] = {}
    for item in items:
        rank = severity.RANK[item["severity"]]
        cves[item["id"]] = max(rank, cves.get(item["id"], 0))
    return Summary(
        severity=severity.highest(counts),
        total=len(items),
        fixable=sum(1 for item in items if item.get("fix_version")),
        counts=dict(counts),
        cves=cves,
    )


def score(item: dict[str, Any]) -> float | None:
    """The CVSS v3 score of a report's item (0 to 10), from wherever scanners put it."""
    preferred = item.get("preferred_cvss")
    if isinstance(preferred, dict):
        for key in ("score_v3", "score_v2"):
            value = preferred.get(key)
            if isinstance(value, int | float) and 0 < value <= 10:
                return float(value)
    return None


def merge(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """One report of an index from those of its images: each finding once, with every digest it is in."""
    merged: dict[tuple[str, str, str], dict[str, Any]] = {}
    for report in reports:
        for item in report["vulnerabilities"]:
            key = (item["id"], item["package"], item["version"])
            known = merged.get(key)
            if known is None:
                merged[key] = {**item, "artifact_digests": list(item["artifact_digests"])}
            else:
                known["artifact_digests"] += item["artifact_digests"]
    newest = max(reports, key=lambda r: str(r.get("generated_at", "")))
    items = list(merged.values())
    return {
        **newest,
        "severity": severity.highest(item["severity"] for item in items),
        "vulnerabilities": items,
    }


def pack(document: Any) -> bytes:
    """JSON, compressed for the database."""
    return zstandard.compress(json.dumps(document, separators=(",", ":")).encode(), 3)


def unpack(data: bytes) -> Any:
    """Inverse of `pack`."""
    return json.loads(zstandard.decompress(data, max_output_size=_PACKED))


def json_items(payload: bytes, name: str) -> list[dict[str, Any]]:
    """The objects in a list of a manifest's JSON (`layers`, `manifests`); empty when there is none."""
    try:
        found = json.loads(payload).get(name)
    except (ValueError, AttributeError, RecursionError):
        return []
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
