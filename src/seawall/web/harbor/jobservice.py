"""Garbage collection, the job service's monitor, and schedules."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import Path, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, BeforeValidator, Field

from seawall.infra.jobs.base import JobInfo
from seawall.infra.jobs.base import Schedule as StoredSchedule
from seawall.infra.jobs.service import SCHEDULER, JobService
from seawall.registry.jobs import GC_SCHEDULE
from seawall.web.harbor.deps import Access, ApiRouter, Id, ListingDep, signed_in, system_access, timestamp
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Jobs

router = ApiRouter(tags=["jobservice"])

_PRESETS = {"Hourly": "0 0 * * * *", "Daily": "0 0 0 * * *", "Weekly": "0 0 0 * * 0"}
STATUS = {
    "pending": "Pending",
    "running": "Running",
    "success": "Success",
    "error": "Error",
    "stopped": "Stopped",
}
# Harbor's names of job kinds, where it has one.
_VENDORS = {
    "gc": "GARBAGE_COLLECTION",
    "preheat": "P2P_PREHEAT",
    "preheat-event": "P2P_PREHEAT",
    "preheat-task": "P2P_PREHEAT",
    "purge-audit": "PURGE_AUDIT_LOG",
    "purge-jobs": "EXECUTION_SWEEP",
    "replication-task": "REPLICATION",
    "retention-schedule": "RETENTION",
    "scan": "IMAGE_SCAN",
    "scan-export": "SCAN_DATA_EXPORT",
}
# What the audit log calls them.
_RESOURCES = {"gc": "garbage_collection", "purge-audit": "purge_audit"}


def vendor_of(kind: str) -> str:
    """A job kind as Harbor's API writes it; several kinds may be one job of Harbor's."""
    return _VENDORS.get(kind, kind.upper().replace("-", "_"))


def _kinds_of(jobs: JobService, vendor: str) -> list[str]:
    """The kinds that Harbor's API calls so, in any letter case; `all` means every one."""
    kinds, name = [*jobs.kinds, SCHEDULER], vendor.upper()
    found = [kind for kind in kinds if name in ("ALL", vendor_of(kind))]
    if not found:
        raise ApiError(404, f"job type {vendor[:64]} not found")
    return found


def _capital(value: object) -> object:
    return value.capitalize() if isinstance(value, str) else value


def _small(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


ScheduleType = Literal["Hourly", "Daily", "Weekly", "Custom", "Manual", "None", "Schedule"]


class ScheduleObj(BaseModel):
    """When: `cron` (six fields, seconds first, UTC) for Custom and Schedule."""

    type: Annotated[ScheduleType | None, BeforeValidator(_capital)] = None
    cron: str | None = Field(default=None, max_length=255)
    next_scheduled_time: str | None = None


class Schedule(BaseModel):
    """A schedule and the parameters of its job."""

    id: int | None = None
    status: str | None = None
    creation_time: str | None = None
    update_time: str | None = None
    schedule: ScheduleObj | None = None
    parameters: dict[str, Any] | None = None
    # As Harbor shows a schedule: its job, and the parameters once more, as JSON text.
    job_name: str | None = None
    job_kind: str | None = None
    job_parameters: str | None = None


async def apply_schedule(
    access: Access, jobs: JobService, name: str, kind: str, body: Schedule, args: dict[str, Any]
) -> str | None:
    """Do what a schedule body says: run now (the job's id comes back), set, or remove the schedule."""
    wanted = body.schedule
    if wanted is None or wanted.type is None:
        raise ApiError(400, "schedule.type is required")
    if wanted.type == "Manual":
        return await jobs.enqueue(kind, args, also=access.trace)
    if wanted.type == "None":
        await jobs.set_schedule(name, None, kind, args, also=access.trace)
        return None
    cron = _PRESETS.get(wanted.type) or wanted.cron
    if not cron:
        raise ApiError(400, "schedule.cron is required")
    await jobs.set_schedule(name, cron, kind, args, also=access.trace)
    return None


def schedule_model(found: StoredSchedule | None) -> Schedule:
    """The API's shape of a schedule; type None when there is none."""
    if found is None:
        return Schedule(schedule=ScheduleObj(type="None"), parameters={})
    named: dict[str, ScheduleType] = {
        "0 0 * * * *": "Hourly",
        "0 0 0 * * *": "Daily",
        "0 0 0 * * 0": "Weekly",
    }
    return Schedule(
        schedule=ScheduleObj(
            type=named.get(found.cron, "Custom"),
            cron=found.cron,
            next_scheduled_time=timestamp(found.next_at),
        ),
        parameters=found.args,
        job_name=vendor_of(found.kind),
        job_kind="SCHEDULE",
        job_parameters=json.dumps(found.args),
        creation_time=timestamp(found.created_at),
        update_time=timestamp(found.updated_at),
    )


# -- garbage collection --------------------------------------------------------------------------------


class JobHistory(BaseModel):
    """One run of a job of the system's; `job_parameters` is a JSON object as text."""

    id: int
    job_name: str
    job_kind: str
    job_parameters: str
    schedule: ScheduleObj
    job_status: str
    deleted: bool = False
    creation_time: str | None
    update_time: str | None


class GCHistory(JobHistory):
    """One run of the garbage collection."""


def history(job: JobInfo, number: int, **found: Any) -> dict[str, Any]:
    """The members of a run's JobHistory; `found` goes into its parameters, as Harbor has it."""
    scheduled = job.trigger == "schedule"
    return {
        "id": number,
        "job_name": vendor_of(job.kind),
        "job_kind": "SCHEDULE" if scheduled else "MANUAL",
        "job_parameters": json.dumps({**job.args, **found}),
        "schedule": ScheduleObj(type="Schedule" if scheduled else "Manual"),
        "job_status": STATUS[job.status],
        "creation_time": timestamp(job.created_at),
        "update_time": timestamp(job.ended_at or job.started_at or job.created_at),
    }


async def start_or_schedule(
    access: Access, jobs: Jobs, request: Request, body: Schedule, name: str, kind: str, args: dict[str, Any]
) -> Response:
    """The answer to POST of a schedule: set it, in the place of one that there is, or run the job now."""
    job_id = await apply_schedule(access, jobs, name, kind, body, args)
    access.audited("create", _RESOURCES[kind], "schedule" if job_id is None else job_id)
    if job_id is None:
        return Response(status_code=201)
    number = (await jobs.numbers([job_id]))[job_id]
    path = request.url.path.removesuffix("/schedule")
    return Response(status_code=201, headers={"Location": f"{path}/{number}"})


async def reschedule(
    access: Access, jobs: Jobs, body: Schedule, name: str, kind: str, args: dict[str, Any]
) -> Response:
    """The answer to PUT of a schedule: change or remove it, or run the job now."""
    await apply_schedule(access, jobs, name, kind, body, args)
    access.audited("update", _RESOURCES[kind], "schedule")
    return Response()


def _history(job: JobInfo, number: int) -> GCHistory:
    found = {}
    if isinstance(job.result, dict):
        found = {
            "freed_space": job.result.get("freed_bytes", 0),
            "purged_blobs": job.result.get("blobs", 0),
            "purged_manifests": job.result.get("manifests", 0),
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
    workers = given.get("workers")
    if isinstance(workers, int) and not isinstance(workers, bool) and 0 < workers <= 5:
        args["workers"] = workers
    return args


GcList = Annotated[Access, system_access("garbage-collection", "list")]
GcRead = Annotated[Access, system_access("garbage-collection", "read")]


@router.get("/system/gc")
async def get_gc_history(access: GcList, jobs: Jobs, listing: ListingDep) -> list[GCHistory]:
    """Runs of the garbage collection, newest first."""
    found = await jobs.list(kind="gc", limit=listing.size, offset=listing.offset)
    numbers = await jobs.numbers([item.id for item in found])
    listing.total(await jobs.count(kind="gc"))
    return [_history(item, numbers[item.id]) for item in found]


# Before /system/gc/{gc_id}, which would take the word for a number.
@router.get("/system/gc/schedule")
async def get_gc_schedule(access: GcRead, jobs: Jobs) -> Schedule:
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
    """Waiting jobs of a type; `latency` of the oldest, in seconds."""

    job_type: str
    count: int
    latency: int
    paused: bool


class ActionRequest(BaseModel):
    """What to do to a queue."""

    action: Annotated[Literal["stop", "pause", "resume"], BeforeValidator(_small)]


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
    if not pools and not everyone:
        raise ApiError(404, f"pool {pool_id} not found")
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
    """Stop a job, or with `all` every running one."""
    if job_id.lower() == "all":
        for item in await jobs.list(status="running", limit=10000):
            await jobs.stop(item.id, also=access.trace)
    elif await jobs.get(job_id) is None:
        raise ApiError(404, f"job {job_id} not found")
    else:
        await jobs.stop(job_id, also=access.trace)
    access.audited("stop", "job", job_id)
    return Response(status_code=200)


@router.get("/jobservice/jobs/{job_id}/log", response_class=PlainTextResponse)
async def action_get_job_log(job_id: JobId, access: Monitor, jobs: Jobs) -> PlainTextResponse:
    """The log of a job."""
    if await jobs.get(job_id) is None:
        raise ApiError(404, f"job {job_id} not found")
    return PlainTextResponse(await jobs.log(job_id))


@router.get("/jobservice/queues")
async def list_job_queues(access: Monitor, jobs: Jobs) -> list[JobQueue]:
    """Waiting jobs by type."""
    found: dict[str, JobQueue] = {}
    for item in await jobs.queues():
        name = vendor_of(item.kind)
        queue = found.setdefault(name, JobQueue(job_type=name, count=0, latency=0, paused=False))
        queue.count += item.count
        queue.latency = max(queue.latency, int(item.latency_seconds))
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
    """Whether schedules are held; only `all` can be asked for."""
    if job_type.lower() != "all":
        raise ApiError(400, "only 'all' is supported")
    return SchedulerStatus(paused=await jobs.paused(SCHEDULER))
