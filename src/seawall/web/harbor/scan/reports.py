"""Scanning: scans of artifacts."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Header, Path, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from sqlalchemy import Connection

from seawall.features.scan import foreign, report, sbom
from seawall.features.scan.attached import attached_sbom
from seawall.features.scan.reports import find_report, report_data, reports_of
from seawall.features.scan.targets import NotScannableError, resolve
from seawall.kernel.errors import NotFoundError
from seawall.registry import repository_lists
from seawall.web.harbor.artifacts.models import REPORT_TYPES
from seawall.web.harbor.deps import Access, named_project_access
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Artifacts, Db, Scans
from seawall.web.harbor.routing import ApiRouter
from seawall.web.harbor.scan.models import (
    ARTIFACT,
    Reference,
    RepositoryName,
    ScanType,
    full_name,
)

router = ApiRouter(tags=["scan"])


@router.post(ARTIFACT + "/scan", status_code=202, response_model=None)
async def scan_artifact(
    repository_name: RepositoryName,
    reference: Reference,
    access: Annotated[Access, named_project_access("scan", "create", ("sbom", "create"))],
    scans: Scans,
    body: ScanType | None = None,
) -> Response:
    """Start a scan of an image, or of every image of an index."""
    kind = body.scan_type if body else "vulnerability"
    await access.require("sbom" if kind == "sbom" else "scan", "create", access.project)
    name = full_name(access.project.name, repository_name)
    try:
        await scans.requests.request(name, reference, kind, also=access.trace)
    except NotScannableError as error:
        raise ApiError(400, str(error)) from None
    access.audited("scan", "artifact", f"{name}:{reference}", kind, access.project.id)
    return Response(status_code=202)


@router.post(ARTIFACT + "/scan/stop", status_code=202, response_model=None)
async def stop_scan_artifact(
    body: ScanType,
    repository_name: RepositoryName,
    reference: Reference,
    access: Annotated[Access, named_project_access("scan", "stop", ("sbom", "stop"))],
    scans: Scans,
) -> Response:
    """Stop the scans of an artifact."""
    await access.require("sbom" if body.scan_type == "sbom" else "scan", "stop", access.project)
    name = full_name(access.project.name, repository_name)
    await scans.requests.stop(name, reference, body.scan_type, also=access.trace)
    access.audited("stop", "scan", f"{name}:{reference}", body.scan_type, access.project.id)
    return Response(status_code=202)


@router.get(ARTIFACT + "/scan/{report_id}/log", response_class=PlainTextResponse)
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
        return (
            row is not None
            and row.digest in digests
            and repository_lists.name_of(connection, row.repository_id) == name
        )

    if not await db.read(here):
        raise ApiError(404, "report not found")
    return PlainTextResponse(await scans.requests.log(report_id))


@router.get(ARTIFACT + "/additions/vulnerabilities", response_model=None)
async def get_vulnerabilities_addition(
    repository_name: RepositoryName,
    reference: Reference,
    access: Annotated[Access, named_project_access("artifact-addition", "read")],
    db: Db,
    x_accept_vulnerabilities: Annotated[str | None, Header(max_length=1024)] = None,
) -> Response:
    """The report of an artifact; an index has one report of all its images, once each of them has one.

    Without a report the answer is empty; what cannot be scanned is 404.
    """
    wanted = [part.strip() for part in (x_accept_vulnerabilities or report.GENERIC).split(",")]
    # Without one that is known, Harbor takes its own.
    mime = next((item for item in wanted if item.replace(" ", "") in REPORT_TYPES), report.NATIVE)
    name = full_name(access.project.name, repository_name)

    def read_reports(connection: Connection) -> list[dict[str, Any]]:
        targets = resolve(connection, name, reference)
        if not targets:
            raise NotFoundError(f"report not found for {name}:{reference}, which cannot be scanned")
        rows = reports_of(
            connection,
            targets[0].repository_id,
            targets[0].project_id,
            [target.digest for target in targets],
            "vulnerability",
        )
        if len(rows) < len({target.digest for target in targets}):
            return []
        return [data for row in rows.values() if (data := report_data(connection, row.id)) is not None]

    found = await db.read(read_reports)
    content = {} if not found else {REPORT_TYPES[mime.replace(" ", "")]: report.merge(found)}
    return JSONResponse(content)


@router.get(ARTIFACT + "/additions/sbom", response_model=None)
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
