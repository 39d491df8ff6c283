"""Garbage collection, the job service's monitor, and schedules."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import Path, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, BeforeValidator

from seawall.infra.jobs.service import SCHEDULER, JobService
from seawall.web.harbor.deps import Access, ListingDep, signed_in, system_access, timestamp
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Jobs
from seawall.web.harbor.routing import ApiRouter
from seawall.web.harbor.schedules import (
    small,
    vendor_of,
)

router = ApiRouter(tags=["jobservice"])


def _kinds_of(jobs: JobService, vendor: str) -> list[str]:
    """The kinds that Harbor's API calls so, in any letter case; `all` means every one.

    Harbor has types that Seawall does not have, so a type without kinds is not an error, as there.
    """
    kinds, name = [*jobs.kinds, SCHEDULER], vendor.upper()
    return [kind for kind in kinds if name in ("ALL", vendor_of(kind))]


# -- garbage collection --------------------------------------------------------------------------------


# -- job service ---------------------------------------------------------------------------------------


class WorkerPool(BaseModel):
    """A process that runs jobs."""

    pid: int
    worker_pool_id: str
    start_at: str | None
    heartbeat_at: str | None
    concurrency: int
    host: str


class Worker(BaseModel):
    """One job under way, or a free place for one."""

    id: str
    pool_id: str
    job_name: str | None = None
    job_id: str | None = None
    start_at: str | None = None
    check_in: str | None = None
    checkin_at: str | None = None


class JobQueue(BaseModel):
    """Waiting jobs of a type; `latency` of the oldest, in seconds. Both are left out when none waits."""

    job_type: str
    count: int | None = None
    latency: int | None = None
    paused: bool


class ActionRequest(BaseModel):
    """What to do to a queue."""

    action: Annotated[Literal["stop", "pause", "resume"], BeforeValidator(small)]


Monitor = Annotated[Access, system_access("jobservice-monitor", "list")]
MonitorStop = Annotated[Access, system_access("jobservice-monitor", "stop")]
JobId = Annotated[str, Path(max_length=64)]
JobType = Annotated[str, Path(max_length=64)]


@router.get("/jobservice/pools")
async def get_worker_pools(access: Monitor, jobs: Jobs) -> list[WorkerPool]:
    """The processes that run jobs."""
    return [
        WorkerPool(
            pid=item.pid,
            worker_pool_id=item.id,
            start_at=timestamp(item.started_at),
            heartbeat_at=timestamp(item.heartbeat_at),
            concurrency=item.slots,
            host=item.host,
        )
        for item in await jobs.runners()
    ]


@router.get("/jobservice/pools/{pool_id}/workers")
async def get_workers(
    pool_id: Annotated[str, Path(max_length=64)], access: Monitor, jobs: Jobs
) -> list[Worker]:
    """The places of one process (or of `all`) and the jobs in them."""
    everyone = pool_id.lower() == "all"
    pools = [item for item in await jobs.runners() if everyone or item.id == pool_id]
    running = await jobs.list(status="running", limit=1000)
    result = []
    for pool in pools:
        mine = [item for item in running if item.runner == pool.id]
        result += [
            Worker(
                id=f"{pool.id}-{number}",
                pool_id=pool.id,
                job_name=vendor_of(item.kind),
                job_id=item.id,
                start_at=timestamp(item.started_at),
                check_in=json.dumps(item.progress) if item.progress is not None else None,
            )
            for number, item in enumerate(mine)
        ]
        result += [
            Worker(id=f"{pool.id}-{number}", pool_id=pool.id) for number in range(len(mine), pool.slots)
        ]
    return result


@router.put("/jobservice/jobs/{job_id}", response_model=None)
async def stop_running_job(job_id: JobId, access: MonitorStop, jobs: Jobs) -> Response:
    """Stop a job, or with `all` every running one. One that is not there is stopped already, as in Harbor."""
    if job_id.lower() == "all":
        for item in await jobs.list(status="running", limit=10000):
            await jobs.stop(item.id, also=access.trace)
    elif await jobs.get(job_id) is not None:
        await jobs.stop(job_id, also=access.trace)
    access.audited("stop", "job", job_id)
    return Response(status_code=200)


@router.get("/jobservice/jobs/{job_id}/log", response_class=PlainTextResponse)
async def action_get_job_log(job_id: JobId, access: Monitor, jobs: Jobs) -> PlainTextResponse:
    """The log of a job."""
    if await jobs.get(job_id) is None:
        raise ApiError(404, f"job {job_id} not found")
    return PlainTextResponse(await jobs.log(job_id))


@router.get("/jobservice/queues", response_model_exclude_none=True)
async def list_job_queues(access: Monitor, jobs: Jobs) -> list[JobQueue]:
    """Waiting jobs by type."""
    found: dict[str, JobQueue] = {}
    for item in await jobs.queues():
        name = vendor_of(item.kind)
        queue = found.setdefault(name, JobQueue(job_type=name, paused=False))
        if item.count:
            queue.count = (queue.count or 0) + item.count
            queue.latency = max(queue.latency or 1, int(item.latency_seconds))
        queue.paused = queue.paused or item.paused
    return [found[name] for name in sorted(found)]


@router.put("/jobservice/queues/{job_type}", response_model=None)
async def action_pending_jobs(
    job_type: JobType, body: ActionRequest, access: MonitorStop, jobs: Jobs
) -> Response:
    """Stop the waiting jobs of a type (or of `all`), or pause or resume its queue."""
    for kind in _kinds_of(jobs, job_type):
        if body.action == "stop":
            await jobs.stop_all(kind, pending_only=True, also=access.trace)
        else:
            await jobs.pause(kind, body.action == "pause", also=access.trace)
    access.audited(body.action, "job_queue", job_type)
    return Response(status_code=200)


# -- schedules -----------------------------------------------------------------------------------------


class ScheduleTask(BaseModel):
    """A cron schedule; `vendor_id` is the id of the policy it belongs to, -1 for the system's."""

    id: int
    vendor_type: str
    vendor_id: int
    cron: str
    update_time: str | None


class SchedulerStatus(BaseModel):
    """Whether schedules are held."""

    paused: bool


@router.get("/schedules")
async def list_schedules(access: Monitor, jobs: Jobs, listing: ListingDep) -> list[ScheduleTask]:
    """Every cron schedule."""
    found = await jobs.schedules()
    listing.total(len(found))
    page = list(enumerate(found, 1))[listing.offset : listing.offset + listing.size]
    tail: Callable[[str], str] = lambda name: name.rpartition(":")[2]  # noqa: E731
    return [
        ScheduleTask(
            id=number,
            vendor_type=vendor_of(item.kind),
            vendor_id=int(tail(item.name)) if tail(item.name).isdigit() else -1,
            cron=item.cron,
            update_time=timestamp(item.updated_at),
        )
        for number, item in page
    ]


@router.get("/schedules/{job_type}/paused")
async def get_schedule_paused(
    job_type: JobType, access: Annotated[Access, signed_in()], jobs: Jobs
) -> SchedulerStatus:
    """Whether schedules are paused; only `all` can be asked for."""
    if job_type.lower() != "all":
        raise ApiError(400, "job_type can only be 'all'")
    return SchedulerStatus(paused=await jobs.paused(SCHEDULER))
