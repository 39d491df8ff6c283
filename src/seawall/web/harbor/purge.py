"""The purge of the audit log: schedule, runs, logs."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import Request, Response
from fastapi.responses import PlainTextResponse

from seawall.features.audit.trail import PURGE_SCHEDULE
from seawall.infra.jobs.base import JobInfo
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

router = ApiRouter(tags=["purge"])
KIND = "purge-audit"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
# Harbor's limit: a little over 27 years.
_MAX_HOURS = 240_000


class ExecHistory(JobHistory):
    """One run of the purge."""


def _history(job: JobInfo, number: int) -> ExecHistory:
    found = {"purged": job.result} if isinstance(job.result, int) else {}
    return ExecHistory(**history(job, number, **found))


def _args(body: Schedule) -> dict[str, Any]:
    given = body.parameters or {}
    # Neither sets anything: a removal, and a body without a type.
    if body.schedule is not None and body.schedule.type in (None, "None"):
        return {}
    hours = given.get("audit_retention_hour")
    if isinstance(hours, str) and hours.isascii() and hours.isdigit() and len(hours) < 10:
        hours = int(hours)
    if not isinstance(hours, int) or isinstance(hours, bool) or not 0 < hours <= _MAX_HOURS:
        raise ApiError(400, f"parameters.audit_retention_hour must be 1 to {_MAX_HOURS}")
    dry_run, types = given.get("dry_run", False), given.get("include_event_types", "")
    if not isinstance(dry_run, bool):
        raise ApiError(400, "parameters.dry_run must be true or false")
    if not isinstance(types, str):
        raise ApiError(400, "parameters.include_event_types must be names separated by commas")
    # Its name until Harbor 2.12; left aside it would mean that all kinds are purged.
    operations = given.get("include_operations", "")
    if not isinstance(operations, str):
        raise ApiError(400, "parameters.include_operations must be names separated by commas")
    # Kinds that are not known are taken, as in Harbor, and match nothing: less is purged, never more.
    for name in (part.strip() for part in f"{types},{operations}".split(",") if part.strip()):
        if not _NAME.fullmatch(name):
            raise ApiError(400, f"parameters.include_event_types: {name[:64]!r} is not an event type")
    args: dict[str, Any] = {"audit_retention_hour": hours, "dry_run": dry_run}
    # Shown as it was given: Terraform's provider compares both.
    if types or not operations:
        args["include_event_types"] = types
    if operations:
        args["include_operations"] = operations
    return args


async def _job(access: Access, jobs: Jobs, purge_id: int) -> JobInfo:
    found = await jobs.by_number(purge_id, KIND)
    if found is None:
        raise ApiError(404, f"purge {purge_id} not found")
    return found


PurgeRead = Annotated[Access, system_access("purge-audit", "read")]


@router.get("/system/purgeaudit")
async def get_purge_history(
    access: Annotated[Access, system_access("purge-audit", "list")], jobs: Jobs, listing: ListingDep
) -> list[ExecHistory]:
    """Runs of the purge, newest first."""
    total, found = await jobs.page(KIND, listing)
    numbers = await jobs.numbers([item.id for item in found])
    listing.total(total)
    return [_history(item, numbers[item.id]) for item in found]


@router.get("/system/purgeaudit/schedule", response_model=Schedule)
async def get_purge_schedule(access: PurgeRead, jobs: Jobs) -> Schedule | Response:
    """When the log is purged."""
    return schedule_model(await jobs.get_schedule(PURGE_SCHEDULE))


@router.post("/system/purgeaudit/schedule", status_code=201, response_model=None)
async def create_purge_schedule(
    body: Schedule,
    request: Request,
    access: Annotated[Access, system_access("purge-audit", "create")],
    jobs: Jobs,
) -> Response:
    """Set the schedule, or (type Manual) purge now."""
    return await start_or_schedule(access, jobs, request, body, PURGE_SCHEDULE, KIND, _args(body))


@router.put("/system/purgeaudit/schedule", response_model=None)
async def update_purge_schedule(
    body: Schedule, access: Annotated[Access, system_access("purge-audit", "update")], jobs: Jobs
) -> Response:
    """Change or (type None) remove the schedule, or purge now."""
    return await reschedule(access, jobs, body, PURGE_SCHEDULE, KIND, _args(body))


@router.get("/system/purgeaudit/{purge_id}")
async def get_purge_job(purge_id: Id, access: PurgeRead, jobs: Jobs) -> ExecHistory:
    """One run."""
    return _history(await _job(access, jobs, purge_id), purge_id)


@router.put("/system/purgeaudit/{purge_id}", response_model=None)
async def stop_purge(
    purge_id: Id, access: Annotated[Access, system_access("purge-audit", "stop")], jobs: Jobs
) -> Response:
    """Stop a run."""
    await jobs.stop((await _job(access, jobs, purge_id)).id, also=access.trace)
    access.audited("stop", "purge_audit", str(purge_id))
    return Response()


@router.get("/system/purgeaudit/{purge_id}/log", response_class=PlainTextResponse)
async def get_purge_job_log(purge_id: Id, access: PurgeRead, jobs: Jobs) -> PlainTextResponse:
    """The log of one run."""
    return PlainTextResponse(await jobs.log((await _job(access, jobs, purge_id)).id))
