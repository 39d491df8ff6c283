"""Tag retention policies, their executions, tasks and logs."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from seawall.features.retention import executions, lists, policies
from seawall.features.retention.rules import checked_cron, checked_rules
from seawall.kernel.cron import next_time
from seawall.kernel.errors import NotFoundError
from seawall.web.harbor.deps import Access, Id, ListingDep, checked, location, signed_in, timestamp
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Db, Jobs
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["retention"])


class RetentionSelector(BaseModel):
    """A selector of tags or repositories by glob; extras `{"untagged": true}` takes untagged artifacts."""

    kind: str | None = Field(default=None, max_length=32)
    decoration: str | None = Field(default=None, max_length=32)
    pattern: str | None = Field(default=None, max_length=1024)
    extras: str | None = Field(default=None, max_length=1024)


class RetentionRule(BaseModel):
    """What to keep: a template with its parameter, among what the selectors choose."""

    id: int | None = None
    priority: int | None = Field(default=None, ge=-(2**31), lt=2**31)
    disabled: bool | None = None
    action: str | None = Field(default=None, max_length=32)
    template: str | None = Field(default=None, max_length=64)
    params: dict[str, Any] | None = None
    tag_selectors: list[RetentionSelector] | None = None
    scope_selectors: dict[str, list[RetentionSelector]] | None = None


class RetentionRuleTrigger(BaseModel):
    """When it runs: kind Schedule with settings.cron (empty: only by hand)."""

    kind: str | None = Field(default=None, max_length=32)
    settings: dict[str, Any] | None = None
    references: dict[str, Any] | None = None


class RetentionPolicyScope(BaseModel):
    """The project it is for: level `project`, ref its id."""

    level: str | None = Field(default=None, max_length=32)
    ref: int | None = Field(default=None, ge=0, lt=2**53)


class RetentionPolicy(BaseModel):
    """A retention policy."""

    id: int | None = None
    algorithm: str | None = Field(default=None, max_length=16)
    rules: list[RetentionRule] | None = None
    trigger: RetentionRuleTrigger | None = None
    scope: RetentionPolicyScope | None = None


class RetentionRuleParamMetadata(BaseModel):
    """A parameter of a template."""

    type: str
    unit: str
    required: bool


class RetentionRuleMetadata(BaseModel):
    """A template of rules."""

    rule_template: str
    display_text: str
    action: str
    params: list[RetentionRuleParamMetadata]


class RetentionSelectorMetadata(BaseModel):
    """A kind of selectors."""

    display_text: str
    kind: str
    decorations: list[str]


class RetentionMetadata(BaseModel):
    """What policies can be made of."""

    templates: list[RetentionRuleMetadata]
    scope_selectors: list[RetentionSelectorMetadata]
    tag_selectors: list[RetentionSelectorMetadata]


class RetentionExecution(BaseModel):
    """One run of a policy."""

    id: int
    policy_id: int
    start_time: str | None
    end_time: str | None
    status: str
    trigger: str
    dry_run: bool


class RetentionExecutionTask(BaseModel):
    """What a run did in one repository."""

    id: int
    execution_id: int
    repository: str
    job_id: str | None = None
    status: str
    status_code: int
    status_revision: int
    start_time: str | None
    end_time: str | None
    total: int
    retained: int


class DryRun(BaseModel):
    """How to run: `dry_run` deletes nothing."""

    dry_run: bool = False


class RetentionAction(BaseModel):
    """What to do with an execution: `stop`."""

    action: str = Field("", max_length=32)


_TEXTS = {
    "latestPushedK": ("the most recently pushed # artifacts", "COUNT"),
    "latestPulledN": ("the most recently pulled # artifacts", "COUNT"),
    "nDaysSinceLastPush": ("pushed within the last # days", "DAYS"),
    "nDaysSinceLastPull": ("pulled within the last # days", "DAYS"),
    "always": ("always", ""),
}
# Harbor's codes of a job's state.
_CODES = {"Pending": 0, "Running": 2, "Success": 3, "Error": 3, "Stopped": 3}


@router.get("/retentions/metadatas")
async def get_rentenition_metadata(access: Annotated[Access, signed_in()]) -> RetentionMetadata:
    """Templates and selectors that rules can be made of."""
    return RetentionMetadata(
        templates=[
            RetentionRuleMetadata(
                rule_template=name,
                display_text=text,
                action="retain",
                params=[RetentionRuleParamMetadata(type="int", unit=unit, required=True)] if unit else [],
            )
            for name, (text, unit) in _TEXTS.items()
        ],
        scope_selectors=[
            RetentionSelectorMetadata(
                display_text="Repositories", kind="doublestar", decorations=["repoMatches", "repoExcludes"]
            )
        ],
        tag_selectors=[
            RetentionSelectorMetadata(
                display_text="Tags", kind="doublestar", decorations=["matches", "excludes"]
            )
        ],
    )


def _settings(cron: str) -> dict[str, Any]:
    if not cron:
        return {"cron": ""}
    return {"cron": cron, "next_scheduled_time": timestamp(next_time(cron, time.time()))}


def _model(policy: policies.RetentionPolicy) -> RetentionPolicy:
    return RetentionPolicy(
        id=policy.id,
        algorithm=policy.algorithm,
        rules=[RetentionRule.model_validate(rule) for rule in policy.rules],
        trigger=RetentionRuleTrigger(kind="Schedule", settings=_settings(policy.cron), references={}),
        scope=RetentionPolicyScope(level="project", ref=policy.project_id),
    )


def _checked(body: RetentionPolicy) -> tuple[list[dict[str, Any]], str]:
    """(rules, cron) of a body. Raises ApiError 400, InvalidError."""
    if (body.algorithm or "or") != "or":
        raise ApiError(400, "algorithm must be or")
    trigger = body.trigger or RetentionRuleTrigger()
    if (trigger.kind or "Schedule") != "Schedule":
        raise ApiError(400, "trigger.kind must be Schedule")
    cron = (trigger.settings or {}).get("cron") or ""
    if not isinstance(cron, str) or len(cron) > 128:
        raise ApiError(400, "trigger.settings.cron must be a cron expression")
    rules = [rule.model_dump() for rule in body.rules or []]
    return checked_rules(rules), checked_cron(cron)


@router.post("/retentions", status_code=201)
async def create_retention(
    request: Request,
    body: RetentionPolicy,
    access: Annotated[Access, checked("tag-retention", "create")],
    jobs: Jobs,
) -> Response:
    """Give a project its retention policy."""
    scope = body.scope or RetentionPolicyScope()
    if scope.level != "project" or not scope.ref:
        access.require_known()
        raise ApiError(400, "scope must be of level project, with the project's id in ref")
    try:
        project = await access.project_of(scope.ref)
    except ApiError:
        access.require_known()
        raise (ApiError(400, "no such project") if access.principal.sysadmin else access.refusal()) from None
    await access.require("tag-retention", "create", project)
    rules, cron = _checked(body)
    made = await access.write(lambda c: policies.create(c, jobs, project.id, rules, cron))
    access.audited("create", "tag_retention", project.name, f"retention of {project.name}", project.id)
    return Response(status_code=201, headers=location(request, made))


async def _policy(access: Access, db: Db, policy_id: int, action: str) -> policies.RetentionPolicy:
    """The policy, if the caller may. Raises 401, 403, 404."""
    access.require_known()
    found = await db.read(lambda c: policies.get(c, policy_id))
    await access.require("tag-retention", action, found.project_id)
    return found


@router.get("/retentions/{id}")
async def get_retention(
    id: Id, access: Annotated[Access, checked("tag-retention", "read")], db: Db
) -> RetentionPolicy:
    """One policy."""
    return _model(await _policy(access, db, id, "read"))


@router.put("/retentions/{id}")
async def update_retention(
    id: Id,
    body: RetentionPolicy,
    access: Annotated[Access, checked("tag-retention", "update")],
    db: Db,
    jobs: Jobs,
) -> Response:
    """Replace rules and schedule."""
    policy = await _policy(access, db, id, "update")
    scope = body.scope
    if scope is not None and scope.ref is not None and scope.ref != policy.project_id:
        raise ApiError(400, "a policy cannot move to another project")
    rules, cron = _checked(body)
    await access.write(lambda c: policies.change(c, jobs, id, rules, cron))
    access.audited("update", "tag_retention", str(id), "update retention policy", policy.project_id)
    return Response()


@router.delete("/retentions/{id}")
async def delete_retention(
    id: Id, access: Annotated[Access, checked("tag-retention", "delete")], db: Db, jobs: Jobs
) -> Response:
    """Delete a policy with its history."""
    policy = await _policy(access, db, id, "delete")
    await access.write(lambda c: policies.remove(c, jobs, id))
    access.audited("delete", "tag_retention", str(id), "delete retention policy", policy.project_id)
    return Response()


@router.post("/retentions/{id}/executions", status_code=201)
async def trigger_retention_execution(
    request: Request,
    id: Id,
    body: DryRun,
    access: Annotated[Access, checked("tag-retention", "update")],
    db: Db,
    jobs: Jobs,
) -> Response:
    """Run a policy now."""
    policy = await _policy(access, db, id, "update")
    operator = access.principal.name
    made = await access.write(
        lambda c: executions.start(c, jobs, id, dry_run=body.dry_run, trigger="Manual", operator=operator)
    )
    jobs.nudge()
    shown = "dry run of retention policy" if body.dry_run else "run of retention policy"
    access.audited("operate", "tag_retention", str(id), shown, policy.project_id)
    return Response(status_code=201, headers=location(request, made))


@router.get("/retentions/{id}/executions")
async def list_retention_executions(
    id: Id, access: Annotated[Access, checked("tag-retention", "list")], db: Db, jobs: Jobs, page: ListingDep
) -> list[RetentionExecution]:
    """Runs of a policy, newest first."""
    await _policy(access, db, id, "list")
    await executions.steps(jobs).settle_all(id)
    total, found = await db.read(lambda c: lists.list_executions(c, id, page))
    page.total(total)
    return [
        RetentionExecution(
            id=row.id,
            policy_id=row.policy_id,
            start_time=timestamp(row.started_at),
            end_time=timestamp(row.ended_at),
            status=row.status,
            trigger=row.trigger,
            dry_run=row.dry_run,
        )
        for row in found
    ]


@router.patch("/retentions/{id}/executions/{eid}")
async def operate_retention_execution(
    id: Id,
    eid: Id,
    body: RetentionAction,
    access: Annotated[Access, checked("tag-retention", "update")],
    db: Db,
    jobs: Jobs,
) -> Response:
    """Stop a run before its next artifact."""
    policy = await _policy(access, db, id, "update")
    if body.action != "stop":
        raise ApiError(400, "action must be stop")
    await executions.stop(db, jobs, id, eid, also=access.trace)
    access.audited("operate", "tag_retention", str(id), f"stop execution {eid}", policy.project_id)
    return Response()


@router.get("/retentions/{id}/executions/{eid}/tasks")
async def list_retention_tasks(
    id: Id, eid: Id, access: Annotated[Access, checked("tag-retention", "list")], db: Db, page: ListingDep
) -> list[RetentionExecutionTask]:
    """What a run did, by repository."""
    await _policy(access, db, id, "list")

    def read_tasks(connection: Connection) -> tuple[int, list[RetentionExecutionTask]]:
        execution = executions.execution(connection, id, eid)
        total, rows = lists.list_tasks(connection, eid, page)
        return total, [
            RetentionExecutionTask(
                id=row.id,
                execution_id=row.execution_id,
                repository=row.repository.partition("/")[2],
                job_id=execution.job_id,
                status=row.status,
                status_code=_CODES.get(row.status, 0),
                status_revision=0,
                start_time=timestamp(row.started_at),
                end_time=timestamp(row.ended_at),
                total=row.total,
                retained=row.retained,
            )
            for row in rows
        ]

    total, found = await db.read(read_tasks)
    page.total(total)
    return found


@router.get("/retentions/{id}/executions/{eid}/tasks/{tid}", response_class=Response)
async def get_retention_task_log(
    id: Id, eid: Id, tid: Id, access: Annotated[Access, checked("tag-retention", "read")], db: Db
) -> Response:
    """The log of what a run did in one repository: each artifact, and whether it was kept."""
    await _policy(access, db, id, "read")

    def read_log(connection: Connection) -> str:
        executions.execution(connection, id, eid)
        found = lists.task_log(connection, eid, tid)
        if found is None:
            raise NotFoundError(f"retention task {tid} not found")
        return str(found)

    return Response(await db.read(read_log), media_type="text/plain; charset=utf-8")
