"""Replication: executions."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response
from fastapi.responses import PlainTextResponse

from seawall.features.replication.model import ReplicationExecution as Execution
from seawall.features.replication.model import ReplicationTask as Task
from seawall.web.harbor.deps import Access, Id, ListingDep, location, system_access, timestamp
from seawall.web.harbor.needs import Replicating
from seawall.web.harbor.replication.models import (
    ReplicationExecution,
    ReplicationTask,
    StartReplicationExecution,
)
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["replication"])


def _execution(found: Execution) -> ReplicationExecution:
    return ReplicationExecution(
        id=found.id,
        policy_id=found.policy_id,
        status=found.status,
        status_text=found.status_text,
        trigger=found.trigger,
        start_time=timestamp(found.started_at),
        end_time=timestamp(found.ended_at),
        total=found.total,
        failed=found.failed,
        succeed=found.succeed,
        in_progress=found.in_progress,
        stopped=found.stopped,
    )


def _task(found: Task) -> ReplicationTask:
    return ReplicationTask(
        id=found.id,
        execution_id=found.execution_id,
        status=found.status,
        job_id=found.job_id,
        operation=found.operation,
        resource_type=found.resource_type,
        src_resource=found.src_resource,
        dst_resource=found.dst_resource,
        start_time=timestamp(found.started_at),
        end_time=timestamp(found.ended_at),
    )


ExecutionList = Annotated[Access, system_access("replication", "list")]
ExecutionRead = Annotated[Access, system_access("replication", "read")]
ExecutionCreate = Annotated[Access, system_access("replication", "create")]
Status = Annotated[str | None, Query(max_length=32)]


@router.get("/replication/executions")
async def list_replication_executions(
    access: ExecutionList,
    replication: Replicating,
    listing: ListingDep,
    policy_id: Annotated[int | None, Query(ge=1, lt=2**53)] = None,
    status: Status = None,
    trigger: Status = None,
) -> list[ReplicationExecution]:
    """Runs, newest first."""
    total, found = await replication.executions.page(
        listing, policy_id=policy_id, status=status, trigger=trigger
    )
    listing.total(total)
    return [_execution(item) for item in found]


@router.post("/replication/executions", status_code=201, response_model=None)
async def start_replication(
    body: StartReplicationExecution, request: Request, access: ExecutionCreate, replication: Replicating
) -> Response:
    """Run a policy now."""
    made = await replication.executions.start(body.policy_id, "manual", also=access.trace)
    access.audited("start", "replication", str(body.policy_id))
    return Response(status_code=201, headers=location(request, made))


@router.get("/replication/executions/{id}")
async def get_replication_execution(
    id: Id, access: ExecutionRead, replication: Replicating
) -> ReplicationExecution:
    """One run."""
    return _execution(await replication.executions.get(id))


@router.put("/replication/executions/{id}", response_model=None)
async def stop_replication(id: Id, access: ExecutionCreate, replication: Replicating) -> Response:
    """Stop a run."""
    await replication.executions.stop(id, also=access.trace)
    access.audited("stop", "replication", str(id))
    return Response(status_code=200)


@router.get("/replication/executions/{id}/tasks")
async def list_replication_tasks(
    id: Id,
    access: ExecutionList,
    replication: Replicating,
    listing: ListingDep,
    status: Status = None,
    resource_type: Status = None,
) -> list[ReplicationTask]:
    """The tasks of a run, newest first."""
    await replication.executions.get(id)
    total, found = await replication.executions.page_of_tasks(
        id, listing, status=status, resource_type=resource_type
    )
    listing.total(total)
    return [_task(item) for item in found]


@router.get("/replication/executions/{id}/tasks/{task_id}/log", response_class=PlainTextResponse)
async def get_replication_log(
    id: Id, task_id: Id, access: ExecutionRead, replication: Replicating
) -> PlainTextResponse:
    """The log of a task."""
    return PlainTextResponse(await replication.executions.task_log(id, task_id))
