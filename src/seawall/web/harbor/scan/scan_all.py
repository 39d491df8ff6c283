"""Scanning: scan all."""

from __future__ import annotations

from typing import Annotated

from fastapi import Response
from pydantic import BaseModel

from seawall.features.scan import hub
from seawall.features.scan.jobs import SCAN_ALL_SCHEDULE
from seawall.kernel.errors import ConflictError
from seawall.web.harbor.deps import Access, system_access
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Db, Jobs, Scans
from seawall.web.harbor.routing import ApiRouter
from seawall.web.harbor.schedules import Schedule, apply_schedule, schedule_model

router = ApiRouter(tags=["scan"])


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


@router.get("/system/scanAll/schedule", response_model=Schedule)
async def get_scan_all_schedule(
    access: Annotated[Access, system_access("scan-all", "read")], jobs: Jobs
) -> Schedule | Response:
    """When every image is scanned."""
    return schedule_model(await jobs.get_schedule(SCAN_ALL_SCHEDULE))


async def _set_scan_all(access: Access, db: Db, jobs: Jobs, body: Schedule) -> None:
    if body.schedule is None or body.schedule.type is None:
        raise ApiError(400, "schedule.type is required")
    if body.schedule.type == "Manual":
        stats = await db.read(hub.run_metrics)
        if stats is not None and stats["ongoing"]:
            raise ConflictError("a scan of all images is running")
        await jobs.enqueue("scan-all", {"trigger": "Manual"}, also=access.trace)
    else:
        await apply_schedule(access, jobs, SCAN_ALL_SCHEDULE, "scan-all", body, {"trigger": "Schedule"})
    access.audited("update", "scan_all", "schedule")


@router.post("/system/scanAll/schedule", status_code=201, response_model=None)
async def create_scan_all_schedule(
    body: Schedule, access: Annotated[Access, system_access("scan-all", "create")], db: Db, jobs: Jobs
) -> Response:
    """Set the schedule, replacing an earlier one, or (type Manual) scan every image now."""
    await _set_scan_all(access, db, jobs, body)
    return Response(status_code=201)


@router.put("/system/scanAll/schedule", response_model=None)
async def update_scan_all_schedule(
    body: Schedule, access: Annotated[Access, system_access("scan-all", "update")], db: Db, jobs: Jobs
) -> Response:
    """Change or (type None) remove the schedule; a run by hand is started with POST."""
    if body.schedule is not None and body.schedule.type == "Manual":
        raise ApiError(400, "a schedule cannot be of type Manual; POST starts a scan of all images")
    await _set_scan_all(access, db, jobs, body)
    return Response(status_code=200)


@router.post("/system/scanAll/stop", status_code=202, response_model=None)
async def stop_scan_all(
    access: Annotated[Access, system_access("scan-all", "stop")], scans: Scans
) -> Response:
    """Stop the running scan of all images."""
    await scans.everything.stop(also=access.trace)
    access.audited("stop", "scan_all", "run")
    return Response(status_code=202)
