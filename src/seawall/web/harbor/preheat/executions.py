"""Preheating: executions."""

from __future__ import annotations

from typing import Annotated

from fastapi import Response

from seawall.features.preheat import lists
from seawall.features.preheat.model import PreheatExecution as Execution
from seawall.kernel.errors import NotFoundError
from seawall.web.harbor.deps import Access, Id, ListingDep, named_project_access, timestamp
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Db, Preheating
from seawall.web.harbor.preheat.models import (
    Name,
    PreheatExecution,
    PreheatMetrics,
    PreheatTask,
)
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["preheat"])
_POLICIES = "/projects/{project_name}/preheat/policies"
_POLICY = f"{_POLICIES}/{{preheat_policy_name}}"
_EXECUTION = f"{_POLICY}/executions/{{execution_id}}"


def _execution(item: Execution) -> PreheatExecution:
    counts = {f"{status.lower()}_task_count": number for status, number in item.counts.items()}
    return PreheatExecution(
        id=item.id,
        vendor_type="P2P_PREHEAT",
        vendor_id=item.policy_id,
        status=item.status,
        status_message=item.message,
        metrics=PreheatMetrics(task_count=sum(item.counts.values()), **counts),
        trigger=item.trigger.upper(),
        extra_attrs={"total": sum(item.counts.values()), "trigger": item.trigger},
        start_time=timestamp(item.started_at),
        end_time=timestamp(item.ended_at),
    )


async def _one(
    access: Access, db: Db, preheating: Preheating, policy_name: str, execution_id: int
) -> Execution:
    policy = await preheating.policies.get(access.project.id, policy_name)
    await preheating.executions.steps.settle(execution_id)
    found = await db.read(lambda c: lists.execution(c, policy.id, execution_id))
    if found is None:
        raise NotFoundError(f"execution {execution_id} of preheat policy {policy_name} not found")
    return found


@router.get(f"{_POLICY}/executions", name="list_preheat_executions")
async def list_executions(
    preheat_policy_name: Name,
    access: Annotated[Access, named_project_access("preheat-policy", "list")],
    db: Db,
    preheating: Preheating,
    page: ListingDep,
) -> list[PreheatExecution]:
    """Runs of a policy, newest first."""
    policy = await preheating.policies.get(access.project.id, preheat_policy_name)
    await preheating.executions.steps.settle_all(policy.id)
    total, found = await db.read(lambda c: lists.list_executions(c, policy.id, page))
    page.total(total)
    return [_execution(item) for item in found]


@router.get(_EXECUTION, name="get_preheat_execution")
async def get_execution(
    preheat_policy_name: Name,
    execution_id: Id,
    access: Annotated[Access, named_project_access("preheat-policy", "read")],
    db: Db,
    preheating: Preheating,
) -> PreheatExecution:
    """One run."""
    return _execution(await _one(access, db, preheating, preheat_policy_name, execution_id))


@router.patch(_EXECUTION, name="stop_preheat_execution")
async def stop_execution(
    preheat_policy_name: Name,
    execution_id: Id,
    body: PreheatExecution,
    access: Annotated[Access, named_project_access("preheat-policy", "update")],
    db: Db,
    preheating: Preheating,
) -> Response:
    """Stop a run: `{"status": "Stopped"}`."""
    if (body.status or "").lower() != "stopped":
        raise ApiError(400, "status can only be set to Stopped")
    await _one(access, db, preheating, preheat_policy_name, execution_id)
    await preheating.executions.steps.stop(execution_id, also=access.trace)
    project = access.project
    name = f"{project.name}/{preheat_policy_name}"
    access.audited("stop", "preheat_execution", name, f"stop preheating by {name}", project.id)
    return Response()


@router.get(f"{_EXECUTION}/tasks", name="list_preheat_tasks")
async def list_tasks(
    preheat_policy_name: Name,
    execution_id: Id,
    access: Annotated[Access, named_project_access("preheat-policy", "list")],
    db: Db,
    preheating: Preheating,
    page: ListingDep,
) -> list[PreheatTask]:
    """The tags of a run."""
    await _one(access, db, preheating, preheat_policy_name, execution_id)
    total, found = await db.read(lambda c: lists.list_tasks(c, execution_id, page))
    page.total(total)
    return [
        PreheatTask(
            id=row.id,
            execution_id=execution_id,
            status=row.status,
            status_message=row.message,
            run_count=row.runs,
            extra_attrs={
                "artifact": f"{row.repository}:{row.tag}",
                "digest": row.digest,
                "kind": row.kind.lower(),
            },
            creation_time=timestamp(row.created_at),
            update_time=timestamp(row.updated_at),
            start_time=timestamp(row.started_at),
            end_time=timestamp(row.ended_at),
        )
        for row in found
    ]


@router.get(f"{_EXECUTION}/tasks/{{task_id}}/logs", response_class=Response, name="get_preheat_log")
async def get_log(
    preheat_policy_name: Name,
    execution_id: Id,
    task_id: Id,
    access: Annotated[Access, named_project_access("preheat-policy", "read")],
    db: Db,
    preheating: Preheating,
) -> Response:
    """What a task did."""
    await _one(access, db, preheating, preheat_policy_name, execution_id)
    row = await db.read(lambda c: lists.job_of_task(c, execution_id, task_id))
    if row is None:
        raise NotFoundError(f"task {task_id} of preheat execution {execution_id} not found")
    text = await preheating.executions.log(row[0]) if row[0] else ""
    return Response(text, media_type="text/plain; charset=utf-8")
