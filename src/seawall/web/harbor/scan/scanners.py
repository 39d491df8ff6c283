"""Scanning: scanners."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated, Any

from fastapi import Path, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from seawall.features.scan import scanners
from seawall.features.scan.adapter import AdapterClient, AdapterError, Registration
from seawall.features.scan.scanners import METADATA, Scanner, check_url
from seawall.infra.db.listing import Condition
from seawall.kernel.errors import NotFoundError, SeawallError, StandbyError
from seawall.web.harbor.deps import Access, ListingDep, location, project_access, system_access, timestamp
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Db, Scans
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["scan"])


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
        kinds = [c.get("type") or "vulnerability" for c in metadata["capabilities"]]
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
    except SeawallError:
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
            await access.write(scanners.ensure_embedded)


async def _page(access: Access, db: Db, scans: Scans, listing: ListingDep) -> list[ScannerRegistration]:
    await _ensure(access, db)
    total, found = await db.read(lambda c: scanners.list_scanners(c, listing))
    listing.total(total)
    return await asyncio.gather(*(_with_metadata(access, scans, item) for item in found))


@router.get("/scanners")
async def list_scanners(
    request: Request,
    access: Annotated[Access, system_access("scanner", "list")],
    db: Db,
    scans: Scans,
    listing: ListingDep,
) -> list[ScannerRegistration]:
    """Every registered scanner, the default first, and what each says that it can do.

    As in older versions of Harbor `name`, `description` and `url` are parts of what they name, `ex_name` and
    `ex_url` the whole.
    """
    given = request.query_params
    for key in ("name", "description", "url"):
        if given.get(key):
            listing.conditions.append(Condition(key, "fuzzy", (given[key],)))
    for key in ("name", "url"):
        if given.get(f"ex_{key}"):
            listing.conditions.append(Condition(key, "eq", (given[f"ex_{key}"],)))
    return await _page(access, db, scans, listing)


@router.post("/scanners", status_code=201, response_model=None)
async def create_scanner(
    body: ScannerRegistrationReq,
    request: Request,
    access: Annotated[Access, system_access("scanner", "create")],
    db: Db,
    scans: Scans,
) -> Response:
    """Register an adapter by its URL; it must answer there."""
    await _ensure(access, db)
    await _answers(body)
    identifier = await scans.scanners.create(body.model_dump(), also=access.trace)
    access.audited("create", "scanner", body.name)
    return Response(status_code=201, headers=location(request, identifier))


# Before /scanners/{registration_id}, which would take the word for an id.
@router.post("/scanners/ping", response_model=None)
async def ping_scanner(
    body: ScannerRegistrationSettings, access: Annotated[Access, system_access("scanner", "read")]
) -> Response:
    """Ask an adapter for its metadata, to see whether the settings are right."""
    await _answers(body)
    return Response(status_code=200)


async def _answers(body: ScannerRegistrationReq | ScannerRegistrationSettings) -> None:
    """Ask for the adapter's metadata. Raises InvalidError, ApiError 400 when it gives none."""
    check_url(body.url)
    registration = Registration(body.url, body.auth, body.access_credential, body.skip_certVerify)
    try:
        async with AdapterClient(registration, timeout=5) as client:
            await client.metadata()
    except AdapterError as error:
        raise ApiError(400, str(error)) from None


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
    await scans.scanners.change(registration_id, body.model_dump(), also=access.trace)
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
    removed = await scans.scanners.remove(registration_id, also=access.trace)
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
    """Make a scanner the default; with `is_default` false nothing changes, as in Harbor."""
    await _scanner(access, db, registration_id)
    if not body.is_default:
        return Response(status_code=200)
    await scans.scanners.make_default(registration_id, also=access.trace)
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
    if await access.allowed("scanner", "create", access.project):
        return await _with_metadata(access, scans, found)
    # Where a scanner is says how the network looks inside: only those who may choose scanners see it. The
    # adapter is asked for those only who may have it scan, not for anybody who passes by.
    if found.embedded or await access.allowed("scan", "create", access.project):
        shown = await _with_metadata(access, scans, found)
    else:
        shown = _model(found)
    shown.url = found.url if found.embedded else ""
    return shown


@router.put("/projects/{project_name_or_id}/scanner", response_model=None)
async def set_scanner_of_project(
    body: ProjectScanner, access: Annotated[Access, project_access("scanner", "create")], db: Db
) -> Response:
    """Choose a project's scanner."""
    await _ensure(access, db)
    project_id = access.project.id
    await access.write(lambda c: scanners.choose(c, project_id, body.uuid))
    access.audited("update", "scanner", access.project.name, body.uuid, project_id)
    return Response(status_code=200)


@router.get("/projects/{project_name_or_id}/scanner/candidates")
async def list_scanner_candidates_of_project(
    access: Annotated[Access, project_access("scanner", "create")],
    db: Db,
    scans: Scans,
    listing: ListingDep,
) -> list[ScannerRegistration]:
    """The scanners a project may choose from."""
    return await _page(access, db, scans, listing)
