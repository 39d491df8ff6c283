"""Schedules and histories of jobs as Harbor's API shows them."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from fastapi import Request, Response
from pydantic import BaseModel, BeforeValidator, Field

from seawall.infra.jobs.base import JobInfo
from seawall.infra.jobs.base import Schedule as StoredSchedule
from seawall.infra.jobs.service import JobService
from seawall.web.harbor.deps import Access, timestamp
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Jobs

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
    "erase-user": "AUDIT_LOGS_GDPR_COMPLIANT",
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


def _capital(value: object) -> object:
    return value.capitalize() if isinstance(value, str) else value


def small(value: object) -> object:
    """Text in small letters; anything else as it is."""
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
    job_status: str | None = None
    deleted: bool | None = None


async def apply_schedule(
    access: Access, jobs: JobService, name: str, kind: str, body: Schedule, args: dict[str, Any]
) -> str | None:
    """Do what a schedule body says: run now (the job's id comes back), set, or remove the schedule."""
    wanted = body.schedule
    if wanted is None:
        raise ApiError(400, "schedule is required")
    if wanted.type is None and wanted.cron == "":
        # As in Harbor, whose clients send such a body to leave the schedule as it is.
        return None
    if wanted.type is None:
        # Harbor leaves the schedule here too; Seawall refuses, since a name may be misspelt.
        raise ApiError(400, "schedule.type is required")
    if wanted.type == "Manual":
        return await jobs.enqueue(kind, args, also=access.trace)
    if wanted.type == "None":
        await jobs.set_schedule(name, None, kind, args, also=access.trace)
        return None
    cron = wanted.cron or _PRESETS.get(wanted.type)
    if not cron:
        raise ApiError(400, "schedule.cron is required")
    await jobs.set_schedule(name, cron, kind, args, also=access.trace)
    return None


def schedule_model(found: StoredSchedule | None) -> Schedule | Response:
    """The API's shape of a schedule. Without one it is nothing: 200 with an empty body, as in Harbor.

    Terraform's provider takes any body for a schedule.
    """
    if found is None:
        return Response(status_code=200, media_type="application/json")
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
        job_status="",
        deleted=False,
        creation_time=timestamp(found.created_at),
        update_time=timestamp(found.updated_at),
    )


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
    """The answer to POST of a schedule: set it, replacing an earlier one, or run the job now."""
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
