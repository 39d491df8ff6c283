"""Scanning: security hub."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel
from sqlalchemy import Connection

from seawall.features.scan import hub
from seawall.registry.tags import tag_names_of_many
from seawall.web.harbor.deps import Access, ListingDep, system_access
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Db
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["scan"])


class DangerousCVE(BaseModel):
    """A CVE with a high score."""

    cve_id: str
    severity: str
    cvss_score_v3: float
    desc: str
    package: str
    version: str


class DangerousArtifact(BaseModel):
    """An artifact with many severe findings."""

    project_id: int
    repository_name: str
    digest: str
    critical_cnt: int
    high_cnt: int
    medium_cnt: int


class SecuritySummary(BaseModel):
    """Findings over every artifact."""

    critical_cnt: int
    high_cnt: int
    medium_cnt: int
    low_cnt: int
    none_cnt: int
    unknown_cnt: int
    total_vuls: int
    scanned_cnt: int
    total_artifact: int
    fixable_cnt: int
    dangerous_cves: list[DangerousCVE] | None = None
    dangerous_artifacts: list[DangerousArtifact] | None = None


class VulnerabilityItem(BaseModel):
    """A finding in an artifact."""

    project_id: int
    repository_name: str
    digest: str
    tags: list[str] | None = None
    cve_id: str
    severity: str
    status: str
    cvss_v3_score: float
    package: str
    version: str
    fixed_version: str
    desc: str
    links: list[str]


@router.get("/security/summary")
async def get_security_summary(
    access: Annotated[Access, system_access("security-hub", "read")],
    db: Db,
    with_dangerous_cve: Annotated[bool, Query()] = False,
    with_dangerous_artifact: Annotated[bool, Query()] = False,
) -> SecuritySummary:
    """Counts of findings, and the most dangerous ones."""
    found = await db.read(
        lambda c: hub.summary(c, cves=with_dangerous_cve, artifacts=with_dangerous_artifact)
    )
    return SecuritySummary(**found)


_TUNED = 1000


@router.get("/security/vul")
async def list_vulnerabilities(
    access: Annotated[Access, system_access("security-hub", "list")],
    db: Db,
    listing: ListingDep,
    tune_count: Annotated[bool, Query()] = False,
    with_tag: Annotated[bool, Query()] = False,
) -> list[VulnerabilityItem]:
    """Findings over every artifact, searched with `q`."""
    unknown = [item.key for item in listing.conditions if item.key not in hub.SEARCH]
    if unknown:
        raise ApiError(400, f"invalid query: {unknown[0]} cannot be searched for")

    def find_findings(connection: Connection) -> tuple[int, list[Any], dict[int, list[str]]]:
        total, rows = hub.list_findings(connection, listing, _TUNED if tune_count else None)
        named = tag_names_of_many(connection, [row.manifest_id for row in rows]) if with_tag else {}
        return total, rows, named

    total, rows, named = await db.read(find_findings)
    if tune_count and total > _TUNED:
        listing.response.headers["X-Total-Count"] = "-1"
    else:
        listing.total(total)
    return [
        VulnerabilityItem(
            project_id=row.project_id,
            repository_name=row.repository,
            digest=row.digest,
            tags=named.get(row.manifest_id, []) if with_tag else None,
            cve_id=row.cve,
            severity=row.severity,
            status=row.status,
            cvss_v3_score=row.score or 0.0,
            package=row.package,
            version=row.version,
            fixed_version=row.fixed_version,
            desc=row.description,
            links=row.links or [],
        )
        for row in rows
    ]
