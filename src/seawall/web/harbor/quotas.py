"""Storage quotas of projects, and what projects stored by day."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import Query, Response
from pydantic import BaseModel, Field

from seawall.registry import accounting, history, quota_lists
from seawall.web.harbor.deps import Access, Id, ListingDep, project_access, system_access, timestamp
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Db
from seawall.web.harbor.projects import ResourceList
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["quota"])


class QuotaRef(BaseModel):
    """The project a quota is for."""

    id: int
    name: str
    owner_name: str


class Quota(BaseModel):
    """What a project may store and stores, in bytes; -1 for no limit."""

    id: int
    ref: QuotaRef
    hard: ResourceList
    used: ResourceList
    creation_time: str | None
    update_time: str | None


class HardStorage(BaseModel):
    """The limit to set: bytes, -1 for none."""

    storage: int = Field(gt=-(2**53), lt=2**53)


class QuotaUpdateReq(BaseModel):
    """A change of a quota."""

    hard: HardStorage


class StorageOfDay(BaseModel):
    """What was stored on a day (UTC), in bytes; of today: what is stored now."""

    day: date
    used: int


class StorageOfProject(BaseModel):
    """One project's storage by day, oldest first."""

    project_id: int
    name: str
    days: list[StorageOfDay]


class StorageHistory(BaseModel):
    """Storage of all projects together by day, and of each of those that store most now."""

    total: list[StorageOfDay]
    projects: list[StorageOfProject]


# The last so many days; a day without a figure is left out.
_Days = Annotated[int, Query(ge=1, le=history.KEEP_DAYS)]


def _days(days: history.Days) -> list[StorageOfDay]:
    return [StorageOfDay(day=day, used=used) for day, used in days]


def _model(row: Any) -> Quota:
    return Quota(
        id=row.id,
        ref=QuotaRef(id=row.project_id, name=row.name, owner_name=row.username or ""),
        hard=ResourceList(storage=row.hard_storage),
        used=ResourceList(storage=row.used_storage),
        creation_time=timestamp(row.created_at),
        update_time=timestamp(row.updated_at),
    )


@router.get("/quotas")
async def list_quotas(
    access: Annotated[Access, system_access("quota", "list")],
    db: Db,
    page: ListingDep,
    reference: Annotated[str | None, Query(max_length=32)] = None,
    reference_id: Annotated[str | None, Query(max_length=32)] = None,
) -> list[Quota]:
    """Quotas of all projects; `reference` can only be `project`, `reference_id` is a project's id."""
    if reference not in (None, "", "project"):
        raise ApiError(400, "reference must be project")
    if reference_id and not (reference_id.isascii() and reference_id.isdigit() and len(reference_id) < 16):
        raise ApiError(400, "reference_id must be a project's id")

    project_id = int(reference_id) if reference_id else None
    total, found = await db.read(lambda c: quota_lists.list_quotas(c, project_id, page))
    page.total(total)
    return [_model(row) for row in found]


async def _row(access: Access, db: Db, quota_id: int) -> Any:
    row = await db.read(lambda c: quota_lists.quota(c, quota_id))
    if row is None:
        raise ApiError(404, f"quota {quota_id} not found")
    return row


@router.get("/quotas/{id}")
async def get_quota(id: Id, access: Annotated[Access, system_access("quota", "read")], db: Db) -> Quota:
    """One quota."""
    return _model(await _row(access, db, id))


@router.put("/quotas/{id}")
async def update_quota(
    id: Id, body: QuotaUpdateReq, access: Annotated[Access, system_access("quota", "update")], db: Db
) -> Response:
    """Set the limit; what is stored above it stays, and pushes are refused until there is room."""
    row = await _row(access, db, id)
    if body.hard.storage < -1 or body.hard.storage == 0:
        raise ApiError(400, "storage must be -1 or more than 0")
    await access.write(lambda c: accounting.set_quota(c, row.project_id, body.hard.storage))
    access.audited("update", "quota", row.name, f"storage of {row.name}: {body.hard.storage}", row.project_id)
    return Response()


@router.get("/statistics/storage")
async def get_storage_history(
    access: Annotated[Access, system_access("quota", "list")], db: Db, days: _Days = 90
) -> StorageHistory:
    """Storage by day in the last `days` days: of all projects together, and of the ten that store most."""
    total, largest = await db.read(lambda c: history.of_all(c, days))
    return StorageHistory(
        total=_days(total),
        projects=[
            StorageOfProject(project_id=item.project_id, name=item.name, days=_days(item.days))
            for item in largest
        ],
    )


@router.get("/projects/{project_name_or_id}/storage")
async def get_project_storage_history(
    access: Annotated[Access, project_access("quota", "read")], db: Db, days: _Days = 90
) -> list[StorageOfDay]:
    """What the project stored on each of the last `days` days, oldest first."""
    project_id = access.project.id
    return _days(await db.read(lambda c: history.of_project(c, project_id, days)))
