"""Advisories of several sources in one shape.

Sources of the formats: OSV schema 1.7; the Debian security tracker's JSON; Alpine's secdb JSON.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from seawall.features.scan import ecosystems, severity
from seawall.kernel.errors import InvalidError

CVE = re.compile(r"CVE-\d{4}-\d{4,}")
SUMMARY = 2000


@dataclass(frozen=True, slots=True)
class Affected:
    """A package that an advisory is about; `ranges` and `versions` are OSV's.

    A range with a `module` ("nodejs:14") is about packages of that rpm module stream only.
    """

    ecosystem: str
    package: str
    ranges: list[dict[str, Any]]
    versions: list[str] = field(default_factory=list)
    severity: str = ""
    status: str = ""


@dataclass(frozen=True, slots=True)
class Advisory:
    """One advisory. `cves`: the CVE ids it is about, or else its own id."""

    name: str
    cves: list[str]
    affected: list[Affected]
    withdrawn: bool = False
    severity: str = ""
    score: float | None = None
    vector: str = ""
    summary: str = ""
    links: list[str] = field(default_factory=list)
    cwes: list[str] = field(default_factory=list)
    modified_at: float | None = None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _strings(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def moment(value: Any) -> float | None:
    """Unix seconds of an ISO 8601 date or time; None when it is none."""
    if not isinstance(value, str):
        return None
    try:
        return datetime.datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError):
        return None


def osv(document: Any) -> Advisory:
    """An OSV record. Raises InvalidError when it has no id."""
    if not isinstance(document, dict) or not isinstance(document.get("id"), str):
        raise InvalidError("not an OSV record: it has no id")
    name = document["id"][:255]
    # `related` is left out: those are other vulnerabilities.
    others = [name, *_strings(document.get("aliases")), *_strings(document.get("upstream"))]
    cves = sorted({match[0] for text in others if (match := CVE.search(text))})
    specific = document.get("database_specific")
    specific = specific if isinstance(specific, dict) else {}
    rated, score, vector = _cvss(document.get("severity"))
    if not rated:
        rated = severity.word(specific.get("severity"))
    affected = []
    for item in _list(document.get("affected")):
        row = _osv_affected(item)
        if row is not None:
            affected.append(row)
    if not rated:
        ratings = [row.severity for row in affected if row.severity]
        rated = severity.highest(ratings) if ratings else ""
    _modules(affected, document.get("summary"))
    references = document.get("references")
    links = [
        item["url"][:1000]
        for item in _list(references)
        if isinstance(item, dict) and isinstance(item.get("url"), str)
    ]
    summary = document.get("summary") or document.get("details") or ""
    return Advisory(
        name=name,
        cves=cves or [name],
        affected=affected,
        withdrawn=bool(document.get("withdrawn")),
        severity=rated,
        score=score,
        vector=vector,
        summary=summary[:SUMMARY] if isinstance(summary, str) else "",
        links=links[:20],
        cwes=_strings(specific.get("cwe_ids"))[:20],
        modified_at=moment(document.get("modified")),
    )


# "nodejs:14 security update"; "Important: ..." has a space after the colon.
_STREAM = re.compile(r"\b[a-z][\w.+-]*:[\w.+-]*\w")


def _modules(affected: list[Affected], summary: Any) -> None:
    # OSV has no field for module streams; errata of AlmaLinux and Rocky name theirs in the summary.
    streams = set(_STREAM.findall(summary)) if isinstance(summary, str) else set()
    if len(streams) != 1:
        return
    for row in affected:
        for entry in row.ranges:
            if any(".module" in event.get("fixed", "") for event in entry["events"]):
                entry["module"] = next(iter(streams))


def _cvss(items: Any) -> tuple[str, float | None, str]:
    """(severity, score, vector) of the newest CVSS version given, or of a word where one stands instead."""
    best: tuple[int, str, float, str] | None = None
    words = ""
    for item in _list(items):
        if not isinstance(item, dict):
            continue
        rated = severity.vector(item.get("score"))
        if rated is None:
            words = words or severity.word(item.get("score"))
            continue
        # Harbor's reports carry v3 scores, so v3 goes before v4, and both before v2.
        text = item["score"]
        order = 3 if text.startswith("CVSS:3") else 2 if text.startswith("CVSS:4") else 1
        if best is None or order > best[0]:
            best = (order, rated[0], rated[1], text)
    return (best[1], best[2], best[3]) if best else (words, None, "")


def _osv_affected(item: Any) -> Affected | None:
    if not isinstance(item, dict) or not isinstance(item.get("package"), dict):
        return None
    given, name = item["package"].get("ecosystem"), item["package"].get("name")
    if not isinstance(given, str) or not isinstance(name, str) or len(name) > 255:
        return None
    known = ecosystems.ecosystem(given)
    if known is None:
        return None
    ranges = []
    for entry in _list(item.get("ranges")):
        if not isinstance(entry, dict) or entry.get("type") not in ("ECOSYSTEM", "SEMVER"):
            continue
        events = [
            {k: v for k, v in event.items() if isinstance(v, str)}
            for event in _list(entry.get("events"))
            if isinstance(event, dict)
        ]
        if events:
            ranges.append({"type": entry["type"], "events": events})
    versions = _strings(item.get("versions"))
    if ranges and len(versions) > 200:
        # A range says the same in less; long enumerations would make most of the database.
        versions = []
    specific = item.get("ecosystem_specific")
    specific = specific if isinstance(specific, dict) else {}
    rated, _, _ = _cvss(item.get("severity"))
    rated = rated or severity.word(specific.get("severity")) or severity.word(specific.get("urgency"))
    return Affected(known[0], ecosystems.package(known[1], name), ranges, versions, rated)


def debian_tracker(document: Any) -> Iterator[Advisory]:
    """Debian's tracker: {package: {CVE: {"releases": {codename: {"status", "fixed_version", ...}}}}}."""
    by_cve: dict[str, dict[str, Any]] = {}
    if not isinstance(document, dict):
        raise InvalidError("not the Debian security tracker's JSON")
    for package, entries in document.items():
        if not isinstance(entries, dict):
            raise InvalidError("not the Debian security tracker's JSON")
        for name, entry in entries.items():
            if not isinstance(entry, dict) or not isinstance(entry.get("releases"), dict):
                continue
            item = by_cve.setdefault(name, {"description": "", "affected": []})
            item["description"] = item["description"] or entry.get("description") or ""
            for codename, release in entry["releases"].items():
                row = _debian_release(package, codename, release)
                if row is not None:
                    item["affected"].append(row)
    for name in sorted(by_cve):
        item = by_cve[name]
        yield Advisory(
            name=name[:255],
            cves=[name[:128]],
            affected=item["affected"],
            summary=str(item["description"])[:SUMMARY],
            links=[f"https://security-tracker.debian.org/tracker/{name[:128]}"],
        )


def _debian_release(package: str, codename: str, release: Any) -> Affected | None:
    number = ecosystems.DEBIAN_RELEASES.get(codename)
    if number is None or not isinstance(release, dict):
        return None
    status, fixed = release.get("status"), release.get("fixed_version")
    if status == "resolved" and fixed == "0":
        return None  # never affected
    events: list[dict[str, Any]] = [{"introduced": "0"}]
    reason = ""
    if status == "resolved" and isinstance(fixed, str):
        events.append({"fixed": fixed})
    elif status == "open":
        reason = "wontfix" if "nodsa" in release else "open"
        if release.get("urgency") == "end-of-life":
            reason = "end-of-life"
    else:
        return None  # undetermined
    return Affected(
        f"debian:{number}",
        package,
        [{"type": "ECOSYSTEM", "events": events}],
        severity=severity.word(release.get("urgency")),
        status=reason,
    )


def alpine_secdb(document: Any) -> tuple[str, list[Advisory]]:
    """(source name, advisories) of one secdb file: fixed version -> CVEs, for each package."""
    if not isinstance(document, dict) or not isinstance(document.get("packages"), list):
        raise InvalidError("not an Alpine secdb file")
    version, repository = str(document.get("distroversion", "")), str(document.get("reponame", "main"))
    if not re.fullmatch(r"v\d+\.\d+|edge", version):
        raise InvalidError("secdb file names no Alpine version")
    fixes: dict[str, list[Affected]] = {}
    for entry in document["packages"]:
        package = entry.get("pkg") if isinstance(entry, dict) else None
        if not isinstance(package, dict) or not isinstance(package.get("name"), str):
            continue
        secfixes = package.get("secfixes")
        for fixed, names in secfixes.items() if isinstance(secfixes, dict) else ():
            for text in _strings(names):
                for cve in CVE.findall(text):
                    # "0": the package never had it.
                    if fixed == "0":
                        continue
                    events = [{"introduced": "0"}, {"fixed": fixed}]
                    fixes.setdefault(cve, []).append(
                        Affected(
                            f"alpine:{version}", package["name"], [{"type": "ECOSYSTEM", "events": events}]
                        )
                    )
    source = f"alpine-secdb:{version}/{repository}"
    return source, [
        Advisory(cve, [cve], rows, links=[f"https://security.alpinelinux.org/vuln/{cve}"])
        for cve, rows in sorted(fixes.items())
    ]
