"""Scans, scanners, the security hub and exports of findings."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from fastapi import Header, Path, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement, Connection, func, select

from seawall.features.scan import export, foreign, hub, report, sbom, scanners
from seawall.features.scan.adapter import AdapterClient, AdapterError, Registration
from seawall.features.scan.attached import attached_sbom
from seawall.features.scan.jobs import SCAN_ALL_SCHEDULE
from seawall.features.scan.reports import find_report, report_data, reports_of
from seawall.features.scan.scanners import METADATA, Scanner
from seawall.features.scan.tables import scan_exports, scan_findings, scan_reports
from seawall.features.scan.targets import NotScannableError, resolve
from seawall.kernel.errors import ConflictError, InvalidError, NotFoundError, StandbyError
from seawall.registry.artifacts import Artifact
from seawall.registry.tables import repositories
from seawall.web.harbor.artifacts import OVERVIEWS, REPORT_TYPES
from seawall.web.harbor.deps import (
    Access,
    ApiRouter,
    Id,
    ListingDep,
    checked,
    location,
    named_project_access,
    project_access,
    signed_in,
    system_access,
    timestamp,
)
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.jobservice import Schedule, apply_schedule, schedule_model
from seawall.web.harbor.needs import Artifacts, Db, Jobs, Scans
from seawall.web.harbor.query import Condition, Custom
from seawall.web.harbor.query import Field as Column

router = ApiRouter(tags=["scan"])

_ARTIFACT = "/projects/{project_name}/repositories/{repository_name:path}/artifacts/{reference}"
RepositoryName = Annotated[str, Path(max_length=512)]
Reference = Annotated[str, Path(max_length=200)]


def full_name(project: str, repository: str) -> str:
    """A repository's full name; clients encode its slashes once more than the path needs."""
    return f"{project}/{unquote(repository)}"


class ScanType(BaseModel):
    """What a scan is to make."""

    scan_type: Literal["vulnerability", "sbom"] = "vulnerability"


# -- scans of artifacts --------------------------------------------------------------------------------


@router.post(_ARTIFACT + "/scan", status_code=202, response_model=None)
async def scan_artifact(
    repository_name: RepositoryName,
    reference: Reference,
    access: Annotated[Access, named_project_access("scan", "create")],
    scans: Scans,
    body: ScanType | None = None,
) -> Response:
    """Start a scan of an image, or of every image of an index."""
    kind = body.scan_type if body else "vulnerability"
    if kind == "sbom":
        await access.require("sbom", "create", access.project)
    name = full_name(access.project.name, repository_name)
    try:
        await scans.requests.request(name, reference, kind)
    except NotScannableError as error:
        raise ApiError(422, str(error)) from None
    access.audited("scan", "artifact", f"{name}:{reference}", kind, access.project.id)
    return Response(status_code=202)


@router.post(_ARTIFACT + "/scan/stop", status_code=202, response_model=None)
async def stop_scan_artifact(
    body: ScanType,
    repository_name: RepositoryName,
    reference: Reference,
    access: Annotated[Access, named_project_access("scan", "stop")],
    scans: Scans,
) -> Response:
    """Stop the scans of an artifact."""
    name = full_name(access.project.name, repository_name)
    await scans.requests.stop(name, reference, body.scan_type)
    access.audited("stop", "scan", f"{name}:{reference}", body.scan_type, access.project.id)
    return Response(status_code=202)


@router.get(_ARTIFACT + "/scan/{report_id}/log", response_class=PlainTextResponse)
async def get_report_log(
    repository_name: RepositoryName,
    reference: Reference,
    report_id: Annotated[str, Path(max_length=64)],
    access: Annotated[Access, named_project_access("scan", "read")],
    db: Db,
    scans: Scans,
) -> PlainTextResponse:
    """The log of a report's scan."""
    name = full_name(access.project.name, repository_name)

    def here(connection: Connection) -> bool:
        digests = {target.digest for target in resolve(connection, name, reference)}
        row = find_report(connection, report_id)
        where = select(repositories.c.name).where(repositories.c.id == row.repository_id) if row else None
        return (
            row is not None
            and where is not None
            and row.digest in digests
            and connection.execute(where).scalar() == name
        )

    if not await db.read(here):
        raise ApiError(404, "report not found")
    return PlainTextResponse(await scans.requests.log(report_id))


@router.get(_ARTIFACT + "/additions/vulnerabilities", response_model=None)
async def get_vulnerabilities_addition(
    repository_name: RepositoryName,
    reference: Reference,
    access: Annotated[Access, named_project_access("artifact-addition", "read")],
    db: Db,
    x_accept_vulnerabilities: Annotated[str | None, Header(max_length=1024)] = None,
) -> Response:
    """The report of an artifact; an index has one report of all its images."""
    wanted = [part.strip() for part in (x_accept_vulnerabilities or report.GENERIC).split(",")]
    mime = next((item for item in wanted if item.replace(" ", "") in REPORT_TYPES), None)
    if mime is None:
        raise ApiError(400, "X-Accept-Vulnerabilities names no known report type")
    name = full_name(access.project.name, repository_name)

    def run(connection: Connection) -> list[dict[str, Any]]:
        targets = resolve(connection, name, reference)
        if not targets:
            return []
        rows = reports_of(
            connection,
            targets[0].repository_id,
            targets[0].project_id,
            [target.digest for target in targets],
            "vulnerability",
        )
        return [data for row in rows.values() if (data := report_data(connection, row.id)) is not None]

    found = await db.read(run)
    content = {} if not found else {REPORT_TYPES[mime.replace(" ", "")]: report.merge(found)}
    return JSONResponse(content)


@router.get(_ARTIFACT + "/additions/sbom", response_model=None)
async def get_sbom_addition(
    repository_name: RepositoryName,
    reference: Reference,
    access: Annotated[Access, named_project_access("artifact-addition", "read")],
    db: Db,
    artifact_service: Artifacts,
) -> Response:
    """The SBOM (SPDX where there is one) of an image that has one, or of an SBOM accessory.

    Without one of the project's scanner, the newest that somebody attached as such.
    """
    item = await artifact_service.get(full_name(access.project.name, repository_name), reference)
    if not (item.accessory_type or "").startswith("sbom.") and sbom.ACCESSORY not in (
        item.artifact_type,
        item.config_media_type,
    ):
        rows = await db.read(
            lambda c: reports_of(c, item.repository_id, item.project_id, [item.digest], "sbom")
        )
        found = rows.get(item.digest)
        holder = found.sbom_digest if found is not None else None
        if holder is None:
            attached = item
            holder = await db.point(lambda c: attached_sbom(c, attached.repository_id, attached.digest))
        if holder is None:
            raise NotFoundError("the artifact has no SBOM")
        item = await artifact_service.get(item.repository, holder)
    layers = (await artifact_service.payload(item)).get("layers") or []
    layers = [layer for layer in layers if layer.get("mediaType") in foreign.TYPES]
    ordered = sorted(layers, key=lambda layer: layer.get("mediaType") != sbom.SPDX)
    if not ordered:
        raise NotFoundError("the accessory holds no SBOM")
    data = await artifact_service.read(item.repository, ordered[0]["digest"], _SBOM_BYTES)
    headers = {"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff"}
    return Response(data, media_type="application/json", headers=headers)


_SBOM_BYTES = 128 * 1024 * 1024


def _shown(rows: Sequence[Artifact]) -> list[hub.Shown]:
    return [
        hub.Shown(row.id, row.repository_id, row.project_id, row.digest, row.manifest_media_type)
        for row in rows
    ]


OVERVIEWS["scan_overview"] = lambda connection, rows: hub.scan_overviews(connection, _shown(rows))
OVERVIEWS["sbom_overview"] = lambda connection, rows: hub.sbom_overviews(connection, _shown(rows))
REPORT_TYPES.update({item.replace(" ", ""): item for item in (report.GENERIC, report.NATIVE)})


# -- scan all ------------------------------------------------------------------------------------------


class Stats(BaseModel):
    """How far a scan-all run is."""

    total: int
    completed: int
    metrics: dict[str, int] = {}
    ongoing: bool
    trigger: str | None = None


async def _stats(access: Access, db: Db, trigger: str | None) -> Stats:
    found = await db.read(lambda c: hub.run_metrics(c, trigger))
    return Stats(**found) if found else Stats(total=0, completed=0, ongoing=False)


@router.get("/scans/all/metrics")
async def get_latest_scan_all_metrics(
    access: Annotated[Access, system_access("scan-all", "read")],
    db: Db,
) -> Stats:
    """The latest scan-all run."""
    return await _stats(access, db, None)


@router.get("/scans/schedule/metrics", deprecated=True)
async def get_latest_scheduled_scan_all_metrics(
    access: Annotated[Access, system_access("scan-all", "read")],
    db: Db,
) -> Stats:
    """The latest scan-all run by schedule."""
    return await _stats(access, db, "Schedule")


@router.get("/system/scanAll/schedule")
async def get_scan_all_schedule(
    access: Annotated[Access, system_access("scan-all", "read")], jobs: Jobs
) -> Schedule:
    """When every image is scanned."""
    return schedule_model(await jobs.get_schedule(SCAN_ALL_SCHEDULE))


async def _set_scan_all(access: Access, db: Db, jobs: Jobs, body: Schedule) -> None:
    if body.schedule is not None and body.schedule.type == "Manual":
        stats = await db.read(hub.run_metrics)
        if stats is not None and stats["ongoing"]:
            raise ConflictError("a scan of all images is running")
        await jobs.enqueue("scan-all", {"trigger": "Manual"})
    else:
        await apply_schedule(jobs, SCAN_ALL_SCHEDULE, "scan-all", body, {"trigger": "Schedule"})
    access.audited("update", "scan_all", "schedule")


@router.post("/system/scanAll/schedule", status_code=201, response_model=None)
async def create_scan_all_schedule(
    body: Schedule, access: Annotated[Access, system_access("scan-all", "create")], db: Db, jobs: Jobs
) -> Response:
    """Set the schedule, or (type Manual) scan every image now."""
    periodic = body.schedule is not None and body.schedule.type not in ("Manual", "None")
    if periodic and await jobs.get_schedule(SCAN_ALL_SCHEDULE) is not None:
        raise ApiError(409, "there is a schedule already; use PUT")
    await _set_scan_all(access, db, jobs, body)
    return Response(status_code=201)


@router.put("/system/scanAll/schedule", response_model=None)
async def update_scan_all_schedule(
    body: Schedule, access: Annotated[Access, system_access("scan-all", "update")], db: Db, jobs: Jobs
) -> Response:
    """Change or (type None) remove the schedule."""
    await _set_scan_all(access, db, jobs, body)
    return Response(status_code=200)


@router.post("/system/scanAll/stop", status_code=202, response_model=None)
async def stop_scan_all(
    access: Annotated[Access, system_access("scan-all", "stop")], scans: Scans
) -> Response:
    """Stop the running scan of all images."""
    await scans.everything.stop()
    access.audited("stop", "scan_all", "run")
    return Response(status_code=202)


# -- scanners ------------------------------------------------------------------------------------------


class ScannerRegistration(BaseModel):
    """A scanner; the credential is never shown."""

    uuid: str
    name: str
    description: str
    url: str
    disabled: bool
    is_default: bool
    auth: str
    access_credential: str = ""
    skip_certVerify: bool  # noqa: N815 - Harbor's name
    use_internal_addr: bool
    create_time: str | None
    update_time: str | None
    adapter: str | None = None
    vendor: str | None = None
    version: str | None = None
    health: str | None = None
    capabilities: dict[str, Any] | None = None


class ScannerRegistrationReq(BaseModel):
    """A scanner to register. `auth`: empty, Basic, Bearer or APIKey."""

    name: str = Field(max_length=128)
    description: str = Field(default="", max_length=1024)
    url: str = Field(max_length=512)
    auth: str = Field(default="", max_length=16)
    access_credential: str = Field(default="", max_length=8192)
    skip_certVerify: bool = False  # noqa: N815 - Harbor's name
    use_internal_addr: bool = False
    disabled: bool = False


class ScannerRegistrationSettings(BaseModel):
    """How to reach an adapter, to try it."""

    name: str = Field(max_length=128)
    url: str = Field(max_length=512)
    auth: str = Field(default="", max_length=16)
    access_credential: str = Field(default="", max_length=8192)
    skip_certVerify: bool = False  # noqa: N815 - Harbor's name


class IsDefault(BaseModel):
    """Whether a scanner is the default."""

    is_default: bool = False


class ProjectScanner(BaseModel):
    """The scanner a project is to use."""

    uuid: str = Field(max_length=64)


def _model(item: Scanner, metadata: dict[str, Any] | None = None) -> ScannerRegistration:
    shown = ScannerRegistration(
        uuid=item.uuid,
        name=item.name,
        description=item.description,
        url=item.url,
        disabled=item.disabled,
        is_default=item.is_default,
        auth=item.auth,
        skip_certVerify=item.skip_cert_verify,
        use_internal_addr=item.use_internal_addr,
        create_time=timestamp(item.created_at),
        update_time=timestamp(item.updated_at),
    )
    if metadata is not None:
        kinds = {c.get("type") or "vulnerability" for c in metadata["capabilities"]}
        shown.adapter = metadata["scanner"]["name"]
        shown.vendor = metadata["scanner"]["vendor"]
        shown.version = metadata["scanner"]["version"]
        shown.health = "healthy"
        shown.capabilities = {
            "support_vulnerability": "vulnerability" in kinds,
            "support_sbom": "sbom" in kinds,
        }
    return shown


async def _with_metadata(access: Access, scans: Scans, item: Scanner) -> ScannerRegistration:
    try:
        return _model(item, await _metadata(access, scans, item))
    except AdapterError:
        shown = _model(item)
        shown.health = "unhealthy"
        return shown


async def _metadata(access: Access, scans: Scans, item: Scanner) -> dict[str, Any]:
    if item.embedded:
        return METADATA
    registration = scans.scanners.registration(item)
    async with AdapterClient(registration, timeout=5) as client:
        return await client.metadata()


async def _scanner(access: Access, db: Db, identifier: str) -> Scanner:
    await _ensure(access, db)
    found = await db.point(lambda c: scanners.find(c, identifier))
    if found is None:
        raise NotFoundError(f"scanner {identifier[:64]} not found")
    return found


async def _ensure(access: Access, db: Db) -> None:
    """The embedded scanner has a row from the first time anybody looks."""
    if await db.point(lambda c: scanners.find(c, scanners.EMBEDDED)) is None:
        with contextlib.suppress(StandbyError):
            await db.write(scanners.ensure_embedded)


async def _page(access: Access, db: Db, listing: ListingDep) -> list[ScannerRegistration]:
    await _ensure(access, db)
    found = await db.read(scanners.every)
    for condition in listing.conditions:
        if condition.key in ("name", "url", "description"):
            fuzzy = condition.operator == "fuzzy"
            found = [
                item
                for item in found
                if (
                    condition.value in getattr(item, condition.key)
                    if fuzzy
                    else condition.value == getattr(item, condition.key)
                )
            ]
    listing.total(len(found))
    return [_model(item) for item in found[listing.offset : listing.offset + listing.size]]


@router.get("/scanners")
async def list_scanners(
    access: Annotated[Access, system_access("scanner", "list")], db: Db, listing: ListingDep
) -> list[ScannerRegistration]:
    """Every registered scanner."""
    return await _page(access, db, listing)


@router.post("/scanners", status_code=201, response_model=None)
async def create_scanner(
    body: ScannerRegistrationReq,
    request: Request,
    access: Annotated[Access, system_access("scanner", "create")],
    db: Db,
    scans: Scans,
) -> Response:
    """Register an adapter by its URL."""
    await _ensure(access, db)
    identifier = await scans.scanners.create(body.model_dump())
    access.audited("create", "scanner", body.name)
    return Response(status_code=201, headers=location(request, identifier))


# Before /scanners/{registration_id}, which would take the word for an id.
@router.post("/scanners/ping", response_model=None)
async def ping_scanner(
    body: ScannerRegistrationSettings, access: Annotated[Access, system_access("scanner", "read")]
) -> Response:
    """Ask an adapter for its metadata, to see whether the settings are right."""
    if not body.url.startswith(("http://", "https://")):
        raise InvalidError("a scanner's url starts with http:// or https://")
    registration = Registration(body.url, body.auth, body.access_credential, body.skip_certVerify)
    try:
        async with AdapterClient(registration, timeout=5) as client:
            await client.metadata()
    except AdapterError as error:
        raise ApiError(400, str(error)) from None
    return Response(status_code=200)


@router.get("/scanners/{registration_id}")
async def get_scanner(
    registration_id: Annotated[str, Path(max_length=64)],
    access: Annotated[Access, system_access("scanner", "read")],
    db: Db,
    scans: Scans,
) -> ScannerRegistration:
    """One scanner."""
    return await _with_metadata(access, scans, await _scanner(access, db, registration_id))


@router.put("/scanners/{registration_id}", response_model=None)
async def update_scanner(
    body: ScannerRegistrationReq,
    registration_id: Annotated[str, Path(max_length=64)],
    access: Annotated[Access, system_access("scanner", "update")],
    db: Db,
    scans: Scans,
) -> Response:
    """Change a scanner; an empty credential keeps the stored one."""
    await _ensure(access, db)
    await scans.scanners.change(registration_id, body.model_dump())
    access.audited("update", "scanner", body.name)
    return Response(status_code=200)


@router.delete("/scanners/{registration_id}")
async def delete_scanner(
    registration_id: Annotated[str, Path(max_length=64)],
    access: Annotated[Access, system_access("scanner", "delete")],
    db: Db,
    scans: Scans,
) -> ScannerRegistration:
    """Delete a registration; projects that used it go back to the default."""
    await _ensure(access, db)
    removed = await scans.scanners.remove(registration_id)
    access.audited("delete", "scanner", removed.name)
    return _model(removed)


@router.patch("/scanners/{registration_id}", response_model=None)
async def set_scanner_as_default(
    body: IsDefault,
    registration_id: Annotated[str, Path(max_length=64)],
    access: Annotated[Access, system_access("scanner", "update")],
    db: Db,
    scans: Scans,
) -> Response:
    """Make a scanner the default."""
    await _ensure(access, db)
    if not body.is_default:
        raise ApiError(400, "is_default must be true; to change the default, name another scanner")
    await scans.scanners.make_default(registration_id)
    access.audited("update", "scanner", registration_id, "made the default")
    return Response(status_code=200)


@router.get("/scanners/{registration_id}/metadata", response_model=None)
async def get_scanner_metadata(
    registration_id: Annotated[str, Path(max_length=64)],
    access: Annotated[Access, system_access("scanner", "read")],
    db: Db,
    scans: Scans,
) -> Response:
    """What a scanner says of itself."""
    item = await _scanner(access, db, registration_id)
    try:
        return JSONResponse(await _metadata(access, scans, item))
    except AdapterError as error:
        raise ApiError(502, str(error)) from None


@router.get("/projects/{project_name_or_id}/scanner")
async def get_scanner_of_project(
    access: Annotated[Access, project_access("scanner", "read")],
    db: Db,
    scans: Scans,
) -> ScannerRegistration:
    """The scanner a project uses."""
    await _ensure(access, db)
    project_id = access.project.id
    found = await db.point(lambda c: scanners.of_project(c, project_id))
    if found is None:
        raise NotFoundError("there is no scanner")
    return await _with_metadata(access, scans, found)


@router.put("/projects/{project_name_or_id}/scanner", response_model=None)
async def set_scanner_of_project(
    body: ProjectScanner, access: Annotated[Access, project_access("scanner", "create")], db: Db
) -> Response:
    """Choose a project's scanner."""
    await _ensure(access, db)
    project_id = access.project.id
    await db.write(lambda c: scanners.choose(c, project_id, body.uuid))
    access.audited("update", "scanner", access.project.name, body.uuid, project_id)
    return Response(status_code=200)


@router.get("/projects/{project_name_or_id}/scanner/candidates")
async def list_scanner_candidates_of_project(
    access: Annotated[Access, project_access("scanner", "create")], db: Db, listing: ListingDep
) -> list[ScannerRegistration]:
    """The scanners a project may choose from."""
    return await _page(access, db, listing)


# -- security hub --------------------------------------------------------------------------------------


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
    """Counts of findings, and what is most dangerous."""
    found = await db.read(
        lambda c: hub.summary(c, cves=with_dangerous_cve, artifacts=with_dangerous_artifact)
    )
    return SecuritySummary(**found)


def _score(condition: Condition) -> ColumnElement[bool]:
    values = condition.values
    try:
        numbers = [float(value) if value else None for value in values]
    except ValueError:
        raise ApiError(400, "invalid query: cvss_score_v3 takes numbers") from None
    column = func.coalesce(scan_findings.c.score, 0)
    if condition.operator == "range":
        low, high = numbers
        return (column >= (low or 0)) & (column <= (10 if high is None else high))
    if condition.operator == "eq" and numbers[0] is not None:
        equal: ColumnElement[bool] = column == numbers[0]
        return equal
    raise ApiError(400, "invalid query: cvss_score_v3 takes a number or a range")


def _tag(condition: Condition) -> ColumnElement[bool]:
    if condition.operator != "eq":
        raise ApiError(400, "invalid query: tag is matched exactly")
    return hub.has_tag(condition.value)


_SEARCH: dict[str, Column | Custom] = {
    "cve_id": Column(scan_findings.c.cve),
    "severity": Column(scan_findings.c.severity),
    "status": Column(scan_findings.c.status),
    "package": Column(scan_findings.c.package),
    "repository_name": Column(repositories.c.name),
    "project_id": Column(repositories.c.project_id, "int"),
    "digest": Column(scan_reports.c.digest),
    "cvss_score_v3": _score,
    "tag": _tag,
}
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
    unknown = [item.key for item in listing.conditions if item.key not in _SEARCH]
    if unknown:
        raise ApiError(400, f"invalid query: {unknown[0]} cannot be searched for")

    def run(connection: Connection) -> tuple[int, list[Any], dict[int, list[str]]]:
        query = listing.filter(hub.search_query(), _SEARCH)
        counted = query.with_only_columns(scan_findings.c.id)
        if tune_count:
            counted = counted.limit(_TUNED + 1)
        total = connection.execute(select(func.count()).select_from(counted.subquery())).scalar_one()
        ordered = listing.slice(
            query.order_by(func.coalesce(scan_findings.c.score, 0).desc(), scan_findings.c.id)
        )
        rows = list(connection.execute(ordered))
        named = hub.tag_names(connection, [row.manifest_id for row in rows]) if with_tag else {}
        return int(total), rows, named

    total, rows, named = await db.read(run)
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


# -- exports -------------------------------------------------------------------------------------------

_DATA_TYPE = "application/vnd.security.vulnerability.report; version=1.1"


class ScanDataExportRequest(BaseModel):
    """Which findings to export; lists are written "{a,b}"."""

    job_name: str = Field(default="", max_length=255)
    projects: list[int] = Field(default=[], max_length=100)
    labels: list[int] = Field(default=[], max_length=100)
    repositories: str = Field(default="", max_length=4096)
    cveIds: str = Field(default="", max_length=4096)  # noqa: N815 - Harbor's name
    tags: str = Field(default="", max_length=4096)


class ScanDataExportJob(BaseModel):
    """The export that was started."""

    id: int


class ScanDataExportExecution(BaseModel):
    """An export."""

    id: int
    user_id: int
    user_name: str
    status: str
    status_text: str
    trigger: str = "MANUAL"
    start_time: str | None
    end_time: str | None = None
    file_present: bool


class ScanDataExportExecutionList(BaseModel):
    """The caller's exports."""

    items: list[ScanDataExportExecution]


@router.post("/export/cve")
async def export_scan_data(
    body: ScanDataExportRequest,
    access: Annotated[Access, checked("export-cve", "create")],
    db: Db,
    jobs: Jobs,
    x_scan_data_type: Annotated[str | None, Header(max_length=200)] = None,
) -> ScanDataExportJob:
    """Start an export of findings as CSV."""
    access.require_known()
    if x_scan_data_type is not None and x_scan_data_type.replace(" ", "") != _DATA_TYPE.replace(" ", ""):
        raise ApiError(400, f"X-Scan-Data-Type must be {_DATA_TYPE}")
    if not body.projects:
        raise InvalidError("projects must name at least one project")
    for project_id in body.projects:
        await access.require("export-cve", "create", project_id)
    number = await export.start(
        db,
        jobs,
        access.principal.id,
        access.principal.name,
        {
            "name": body.job_name,
            "project_ids": body.projects,
            "label_ids": body.labels,
            "repositories": body.repositories,
            "cve_ids": body.cveIds,
            "tags": body.tags,
        },
    )
    access.audited("export", "cve", str(number), project_id=body.projects[0])
    return ScanDataExportJob(id=number)


_EXPORT = tuple(
    scan_exports.c[name]
    for name in ("id", "user_id", "user_name", "status", "status_text", "started_at", "ended_at")
)


def _execution(row: Any) -> ScanDataExportExecution:
    return ScanDataExportExecution(
        id=row.id,
        user_id=row.user_id,
        user_name=row.user_name,
        status=row.status,
        status_text=row.status_text,
        start_time=timestamp(row.started_at),
        end_time=timestamp(row.ended_at),
        file_present=row.status == "Success",
    )


@router.get("/export/cve/executions")
async def get_scan_data_export_execution_list(
    access: Annotated[Access, signed_in()],
    db: Db,
) -> ScanDataExportExecutionList:
    """The caller's exports, newest first."""
    query = (
        select(*_EXPORT)
        .where(scan_exports.c.user_name == access.principal.name)
        .order_by(scan_exports.c.id.desc())
        .limit(100)
    )
    rows = await db.read(lambda c: list(c.execute(query)))
    return ScanDataExportExecutionList(items=[_execution(row) for row in rows])


async def _export(access: Access, db: Db, number: int, *columns: Any) -> Any:
    # An export holds what its maker could see, so it is shown to nobody else.
    query = select(*columns).where(
        scan_exports.c.id == number, scan_exports.c.user_name == access.principal.name
    )
    row = await db.read(lambda c: c.execute(query).first())
    if row is None:
        raise NotFoundError(f"export {number} not found")
    return row


@router.get("/export/cve/execution/{execution_id}")
async def get_scan_data_export_execution(
    execution_id: Id, access: Annotated[Access, signed_in()], db: Db
) -> ScanDataExportExecution:
    """One export."""
    return _execution(await _export(access, db, execution_id, *_EXPORT))


@router.get("/export/cve/download/{execution_id}", response_model=None)
async def download_scan_data(
    execution_id: Id,
    access: Annotated[Access, signed_in()],
    db: Db,
    format: Annotated[str | None, Query(max_length=16)] = None,
) -> Response:
    """The CSV of an export."""
    if format is not None and format.lower() != "csv":
        raise ApiError(400, "format must be csv")
    row = await _export(access, db, execution_id, scan_exports.c.status, scan_exports.c.data)
    if row.data is None:
        raise NotFoundError("the export has no file (yet)")
    name = f'attachment; filename="vuln-{execution_id}.csv"'
    return Response(bytes(row.data), media_type="text/csv", headers={"Content-Disposition": name})
