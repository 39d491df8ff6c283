"""Garbage collection: its runs and its schedule."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Request, Response
from fastapi.responses import PlainTextResponse

from seawall.infra.jobs.base import JobInfo
from seawall.registry.jobs import GC_SCHEDULE
from seawall.web.harbor.deps import Access, Id, ListingDep, system_access
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Jobs
from seawall.web.harbor.routing import ApiRouter
from seawall.web.harbor.schedules import (
    JobHistory,
    Schedule,
    history,
    reschedule,
    schedule_model,
    start_or_schedule,
)

router = ApiRouter(tags=["jobservice"])


class GCHistory(JobHistory):
    """One run of the garbage collection."""


def _history(job: JobInfo, number: int) -> GCHistory:
    found: dict[str, Any] = {
        name: job.args.get(name, usual)
        for name, usual in (("delete_untagged", False), ("dry_run", False), ("workers", 1))
    }
    if isinstance(result := job.result, dict):
        found |= {
            "freed_space": result.get("purged_bytes", result.get("freed_bytes", 0)),
            "purged_blobs": result.get("blobs", 0),
            "purged_manifests": result.get("manifests", 0) + result.get("deleted_manifests", 0),
        }
    return GCHistory(**history(job, number, **found))


async def _gc_job(access: Access, jobs: Jobs, gc_id: int) -> JobInfo:
    found = await jobs.by_number(gc_id, "gc")
    if found is None:
        raise ApiError(404, f"garbage collection {gc_id} not found")
    return found


def _gc_args(body: Schedule) -> dict[str, Any]:
    given = body.parameters or {}
    args: dict[str, Any] = {}
    for name in ("delete_untagged", "dry_run"):
        if name in given:
            if not isinstance(given[name], bool):
                raise ApiError(400, f"parameters.{name} must be true or false")
            args[name] = given[name]
    # Kept and shown, for clients that compare; a collection takes what the database gives it.
    if "workers" in given:
        workers = given["workers"]
        if not isinstance(workers, int) or isinstance(workers, bool) or not 0 < workers <= 10:
            raise ApiError(400, "parameters.workers must be 1 to 10")
        args["workers"] = workers
    return args


GcList = Annotated[Access, system_access("garbage-collection", "list")]


GcRead = Annotated[Access, system_access("garbage-collection", "read")]


@router.get("/system/gc")
async def get_gc_history(access: GcList, jobs: Jobs, listing: ListingDep) -> list[GCHistory]:
    """Runs of the garbage collection, newest first."""
    total, found = await jobs.page("gc", listing)
    numbers = await jobs.numbers([item.id for item in found])
    listing.total(total)
    return [_history(item, numbers[item.id]) for item in found]


# Before /system/gc/{gc_id}, which would take the word for a number.
@router.get("/system/gc/schedule", response_model=Schedule)
async def get_gc_schedule(access: GcRead, jobs: Jobs) -> Schedule | Response:
    """When the garbage collection runs."""
    return schedule_model(await jobs.get_schedule(GC_SCHEDULE))


@router.post("/system/gc/schedule", status_code=201, response_model=None)
async def create_gc_schedule(
    body: Schedule,
    request: Request,
    access: Annotated[Access, system_access("garbage-collection", "create")],
    jobs: Jobs,
) -> Response:
    """Set the schedule, or (type Manual) run now."""
    return await start_or_schedule(access, jobs, request, body, GC_SCHEDULE, "gc", _gc_args(body))


@router.put("/system/gc/schedule", response_model=None)
async def update_gc_schedule(
    body: Schedule, access: Annotated[Access, system_access("garbage-collection", "update")], jobs: Jobs
) -> Response:
    """Change or (type None) remove the schedule, or run now."""
    return await reschedule(access, jobs, body, GC_SCHEDULE, "gc", _gc_args(body))


@router.get("/system/gc/{gc_id}")
async def get_gc(gc_id: Id, access: GcRead, jobs: Jobs) -> GCHistory:
    """One run."""
    return _history(await _gc_job(access, jobs, gc_id), gc_id)


@router.put("/system/gc/{gc_id}", response_model=None)
async def stop_gc(
    gc_id: Id, access: Annotated[Access, system_access("garbage-collection", "stop")], jobs: Jobs
) -> Response:
    """Stop a run."""
    await jobs.stop((await _gc_job(access, jobs, gc_id)).id, also=access.trace)
    access.audited("stop", "garbage_collection", str(gc_id))
    return Response(status_code=200)


@router.get("/system/gc/{gc_id}/log", response_class=PlainTextResponse)
async def get_gc_log(gc_id: Id, access: GcRead, jobs: Jobs) -> PlainTextResponse:
    """The log of one run."""
    job = await _gc_job(access, jobs, gc_id)
    return PlainTextResponse(await jobs.log(job.id))
