"""Scanning: exports."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Header, Query, Response
from pydantic import BaseModel, Field

from seawall.features.scan import export
from seawall.kernel.errors import InvalidError, NotFoundError
from seawall.web.harbor.deps import Access, Id, checked, signed_in, timestamp
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Db, Jobs
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["scan"])


# What fits a column of ids.
_Id = Annotated[int, Field(ge=0, lt=1 << 63)]
_DATA_TYPE = "application/vnd.security.vulnerability.report; version=1.1"


class ScanDataExportRequest(BaseModel):
    """Which findings to export; lists are written "{a,b}"."""

    job_name: str = Field(default="", max_length=255)
    projects: list[_Id] = Field(default=[], max_length=100)
    labels: list[_Id] = Field(default=[], max_length=100)
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
    """Start an export of a project's findings as CSV."""
    access.require_known()
    if x_scan_data_type is None:
        raise ApiError(422, "X-Scan-Data-Type in header is required")
    if x_scan_data_type.replace(" ", "") != _DATA_TYPE.replace(" ", ""):
        raise ApiError(400, f"X-Scan-Data-Type must be {_DATA_TYPE}")
    if not body.projects:
        raise InvalidError("projects must name a project")
    if len(body.projects) > 1:
        raise InvalidError("bad request: only support export single project")
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
        also=access.trace,
    )
    access.audited("export", "cve", str(number), project_id=body.projects[0])
    return ScanDataExportJob(id=number)


def _execution(row: Any) -> ScanDataExportExecution:
    return ScanDataExportExecution(
        id=row.id,
        user_id=row.user_id,
        user_name=row.user_name,
        status=row.status,
        status_text=row.status_text,
        start_time=timestamp(row.started_at),
        end_time=timestamp(row.ended_at),
        file_present=bool(row.file_present),
    )


@router.get("/export/cve/executions")
async def get_scan_data_export_execution_list(
    access: Annotated[Access, signed_in()],
    db: Db,
) -> ScanDataExportExecutionList:
    """The caller's exports, newest first."""
    access.require_all_projects()
    rows = await db.read(lambda c: export.exports_of(c, access.principal.name))
    return ScanDataExportExecutionList(items=[_execution(row) for row in rows])


async def _export(access: Access, db: Db, number: int) -> Any:
    access.require_all_projects()
    row = await db.read(lambda c: export.export_of(c, number))
    if row is None:
        raise NotFoundError(f"export {number} not found")
    # An export holds what its maker could see, so it is shown to nobody else.
    if row.user_name != access.principal.name:
        raise access.refusal()
    return row


@router.get("/export/cve/execution/{execution_id}")
async def get_scan_data_export_execution(
    execution_id: Id, access: Annotated[Access, signed_in()], db: Db
) -> ScanDataExportExecution:
    """One export."""
    return _execution(await _export(access, db, execution_id))


@router.get("/export/cve/download/{execution_id}", response_model=None)
async def download_scan_data(
    execution_id: Id,
    access: Annotated[Access, signed_in()],
    db: Db,
    format: Annotated[str | None, Query(max_length=16)] = None,
) -> Response:
    """The CSV of an export, once: a second time there is none, as in Harbor."""
    if format is not None and format.lower() != "csv":
        raise ApiError(400, "format must be csv")
    await _export(access, db, execution_id)
    data = await access.write(lambda c: export.take(c, execution_id))
    if data is None:
        raise NotFoundError("the export has no file (yet, or any more)")
    # Harbor's name, by which scripts that let curl name the file look for it.
    name = f'attachment; filename="scandata_export_{execution_id}.csv"'
    return Response(data, media_type="text/csv", headers={"Content-Disposition": name})
