"""Webhook policies of a project, and what became of their deliveries.

An event makes an execution for each target of a policy, as in Harbor. It has one task, which is the
delivery itself; both have the delivery's number.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import Query, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from seawall.features.webhooks import payload, policies
from seawall.features.webhooks.policies import Delivery, Wanted, WantedTarget
from seawall.features.webhooks.policies import WebhookPolicy as Policy
from seawall.web.harbor.deps import Access, Id, ListingDep, location, project_access, timestamp
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Db, Keys
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["webhook"])

_BASE = "/projects/{project_name_or_id}/webhook"
# What is shown for a stored Authorization header; sent back, it keeps the stored one.
HIDDEN = "********"


class WebhookTargetObject(BaseModel):
    """Where to send: type http or slack. A stored `auth_header` is never shown."""

    type: str | None = Field(default=None, max_length=32)
    address: str | None = Field(default=None, max_length=2048)
    auth_header: str | None = Field(default=None, max_length=4096)
    skip_cert_verify: bool | None = None
    payload_format: str | None = Field(default=None, max_length=32)


class WebhookPolicy(BaseModel):
    """A policy: which events go where."""

    id: int | None = None
    name: str | None = Field(default=None, max_length=255)
    description: str | None = Field(default=None, max_length=4096)
    project_id: int | None = None
    targets: list[WebhookTargetObject] | None = None
    event_types: list[str] | None = Field(default=None, max_length=64)
    creator: str | None = None
    creation_time: str | None = None
    update_time: str | None = None
    enabled: bool | None = None


class WebhookLastTrigger(BaseModel):
    """When a policy last had an event of a type."""

    policy_name: str
    event_type: str
    enabled: bool
    creation_time: str | None
    last_trigger_time: str | None = None


class WebhookJob(BaseModel):
    """A delivery."""

    id: int
    policy_id: int
    event_type: str
    notify_type: str
    status: str
    job_detail: str
    creation_time: str | None
    update_time: str | None


class PayloadFormat(BaseModel):
    """The formats a type of target can have."""

    notify_type: str
    formats: list[str]


class SupportedWebhookEventTypes(BaseModel):
    """What policies can be made of."""

    event_type: list[str]
    notify_type: list[str]
    payload_formats: list[PayloadFormat]


class WebhookMetrics(BaseModel):
    """Numbers of tasks."""

    task_count: int = 1
    success_task_count: int | None = None
    error_task_count: int | None = None
    pending_task_count: int | None = None
    running_task_count: int | None = None


class WebhookExecution(BaseModel):
    """An event that was sent for a policy."""

    id: int
    vendor_type: str
    vendor_id: int
    status: str
    status_message: str
    metrics: WebhookMetrics
    trigger: str
    extra_attrs: dict[str, Any]
    start_time: str | None
    end_time: str | None


class WebhookTask(BaseModel):
    """The delivery of an event."""

    id: int
    execution_id: int
    status: str
    status_message: str
    run_count: int
    extra_attrs: dict[str, Any]
    creation_time: str | None
    update_time: str | None
    start_time: str | None
    end_time: str | None


def _model(policy: Policy) -> WebhookPolicy:
    return WebhookPolicy(
        id=policy.id,
        name=policy.name,
        description=policy.description,
        project_id=policy.project_id,
        targets=[
            WebhookTargetObject(
                type=target.target_type,
                address=target.address,
                auth_header=HIDDEN if target.secret else "",
                skip_cert_verify=target.skip_verify,
                # Slack's messages have a form of their own.
                payload_format=target.payload_format if target.target_type == "http" else None,
            )
            for target in policy.targets
        ],
        event_types=policy.event_types,
        creator=policy.creator,
        creation_time=timestamp(policy.created_at),
        update_time=timestamp(policy.updated_at),
        enabled=policy.enabled,
    )


def _wanted(body: WebhookPolicy) -> Wanted:
    return Wanted(
        name=body.name or "",
        description=body.description or "",
        targets=tuple(
            WantedTarget(
                target_type=target.type or "http",
                address=target.address or "",
                auth_header=None if target.auth_header == HIDDEN else target.auth_header or "",
                skip_verify=bool(target.skip_cert_verify),
                payload_format=target.payload_format or payload.DEFAULT,
            )
            for target in body.targets or ()
        ),
        event_types=body.event_types or [],
        enabled=body.enabled is not False,
    )


@router.get(f"{_BASE}/policies")
async def list_webhook_policies_of_project(
    access: Annotated[Access, project_access("notification-policy", "list")], db: Db, page: ListingDep
) -> list[WebhookPolicy]:
    """Policies of the project."""
    project_id = access.project.id
    total, found = await db.read(lambda c: policies.list_policies(c, project_id, page))
    page.total(total)
    return [_model(policy) for policy in found]


@router.post(f"{_BASE}/policies", status_code=201)
async def create_webhook_policy_of_project(
    request: Request,
    body: WebhookPolicy,
    access: Annotated[Access, project_access("notification-policy", "create")],
    keys: Keys,
) -> Response:
    """Add a policy."""
    wanted, project, keys = _wanted(body), access.project, keys
    creator = access.principal.name
    made = await access.write(lambda c: policies.create(c, keys, project.id, wanted, creator))
    access.audited("create", "webhook_policy", wanted.name, f"webhook {wanted.name}", project.id)
    return Response(status_code=201, headers=location(request, made))


@router.get(f"{_BASE}/policies/{{webhook_policy_id}}")
async def get_webhook_policy_of_project(
    webhook_policy_id: Id, access: Annotated[Access, project_access("notification-policy", "read")], db: Db
) -> WebhookPolicy:
    """One policy."""
    return _model(await db.read(lambda c: policies.get(c, access.project.id, webhook_policy_id)))


@router.put(f"{_BASE}/policies/{{webhook_policy_id}}")
async def update_webhook_policy_of_project(
    webhook_policy_id: Id,
    body: WebhookPolicy,
    access: Annotated[Access, project_access("notification-policy", "update")],
    keys: Keys,
) -> Response:
    """Replace a policy; a stored credential is removed when the address changes."""
    wanted, project, keys = _wanted(body), access.project, keys
    await access.write(lambda c: policies.change(c, keys, project.id, webhook_policy_id, wanted))
    access.audited("update", "webhook_policy", wanted.name, f"webhook {wanted.name}", project.id)
    return Response()


@router.delete(f"{_BASE}/policies/{{webhook_policy_id}}")
async def delete_webhook_policy_of_project(
    webhook_policy_id: Id, access: Annotated[Access, project_access("notification-policy", "delete")]
) -> Response:
    """Delete a policy with the record of its deliveries."""
    project = access.project
    await access.write(lambda c: policies.remove(c, project.id, webhook_policy_id))
    access.audited("delete", "webhook_policy", str(webhook_policy_id), "delete webhook", project.id)
    return Response()


@router.get(f"{_BASE}/policies/{{webhook_policy_id}}/executions")
async def list_executions_of_webhook_policy(
    webhook_policy_id: Id,
    access: Annotated[Access, project_access("notification-policy", "read")],
    db: Db,
    page: ListingDep,
) -> list[WebhookExecution]:
    """Events sent for a policy, newest first."""

    def read_deliveries(connection: Connection) -> tuple[Policy, int, list[Delivery]]:
        policy = policies.get(connection, access.project.id, webhook_policy_id)
        return policy, *policies.list_deliveries(connection, webhook_policy_id, page)

    policy, total, found = await db.read(read_deliveries)
    page.total(total)
    return [
        WebhookExecution(
            id=item.id,
            vendor_type="SLACK" if _type_of(policy, item) == "slack" else "WEBHOOK",
            vendor_id=item.policy_id,
            status=item.status.capitalize(),
            status_message=_last_line(item),
            metrics=WebhookMetrics.model_validate({f"{item.status}_task_count": 1}),
            trigger="EVENT",
            extra_attrs={"event_type": item.event_type, "attempts": item.attempts},
            start_time=timestamp(item.created_at),
            end_time=timestamp(item.ended_at),
        )
        for item in found
    ]


def _type_of(policy: Policy, item: Delivery) -> str:
    # The policy may have fewer targets than it had.
    return policy.targets[item.target if item.target < len(policy.targets) else 0].target_type


def _last_line(item: Delivery) -> str:
    # A delivery that waits for its next attempt has failed before, and says why.
    return item.log.rstrip("\n").rpartition("\n")[2][:500] if item.status != "success" else ""


async def _delivery(
    access: Access, db: Db, policy_id: int, execution_id: int, task_id: int | None
) -> Delivery:
    if task_id not in (None, execution_id):
        raise ApiError(404, f"webhook task {task_id} not found")

    def read_delivery(connection: Connection) -> Delivery:
        policies.get(connection, access.project.id, policy_id)
        return policies.delivery(connection, policy_id, execution_id)

    return await db.read(read_delivery)


@router.get(f"{_BASE}/policies/{{webhook_policy_id}}/executions/{{execution_id}}/tasks")
async def list_tasks_of_webhook_execution(
    webhook_policy_id: Id,
    execution_id: Id,
    access: Annotated[Access, project_access("notification-policy", "read")],
    db: Db,
    page: ListingDep,
) -> list[WebhookTask]:
    """The delivery of an event."""
    item = await _delivery(access, db, webhook_policy_id, execution_id, None)
    page.total(1)
    if page.offset:
        return []
    return [
        WebhookTask(
            id=item.id,
            execution_id=item.id,
            status=item.status.capitalize(),
            status_message=_last_line(item),
            run_count=item.attempts,
            extra_attrs={"event_type": item.event_type, "payload": json.dumps(item.data)},
            creation_time=timestamp(item.created_at),
            update_time=timestamp(item.updated_at),
            start_time=timestamp(item.created_at),
            end_time=timestamp(item.ended_at),
        )
    ]


@router.get(
    f"{_BASE}/policies/{{webhook_policy_id}}/executions/{{execution_id}}/tasks/{{task_id}}/log",
    response_class=Response,
)
async def get_logs_of_webhook_task(
    webhook_policy_id: Id,
    execution_id: Id,
    task_id: Id,
    access: Annotated[Access, project_access("notification-policy", "read")],
    db: Db,
) -> Response:
    """Each attempt of a delivery, and what came of it."""
    item = await _delivery(access, db, webhook_policy_id, execution_id, task_id)
    return Response(item.log, media_type="text/plain; charset=utf-8")


@router.get(f"{_BASE}/lasttrigger")
async def last_trigger(
    access: Annotated[Access, project_access("notification-policy", "read")],
    db: Db,
) -> list[WebhookLastTrigger]:
    """When each policy last had an event of each of its types."""
    found = await db.read(lambda c: policies.last_triggers(c, access.project.id))
    return [
        WebhookLastTrigger(
            policy_name=policy.name,
            event_type=kind,
            enabled=policy.enabled,
            creation_time=timestamp(policy.created_at),
            last_trigger_time=timestamp(at),
        )
        for policy, kind, at in found
    ]


@router.get(f"{_BASE}/jobs")
async def list_webhook_jobs(
    access: Annotated[Access, project_access("notification-policy", "list")],
    db: Db,
    page: ListingDep,
    policy_id: Annotated[int, Query(ge=1, lt=2**53)],
    status: Annotated[list[str] | None, Query(max_length=16)] = None,
) -> list[WebhookJob]:
    """Deliveries of a policy, newest first."""

    statuses = [item.lower() for item in status or []]

    def read_deliveries(connection: Connection) -> tuple[Policy, int, list[Delivery]]:
        policy = policies.get(connection, access.project.id, policy_id)
        return policy, *policies.list_deliveries(connection, policy_id, page, statuses)

    policy, total, found = await db.read(read_deliveries)
    page.total(total)
    return [
        WebhookJob(
            id=item.id,
            policy_id=item.policy_id,
            event_type=item.event_type,
            notify_type=_type_of(policy, item),
            status=item.status.capitalize(),
            job_detail=json.dumps(item.data),
            creation_time=timestamp(item.created_at),
            update_time=timestamp(item.updated_at),
        )
        for item in found
    ]


@router.get(f"{_BASE}/events")
async def get_supported_event_types(
    access: Annotated[Access, project_access("notification-policy", "read")],
) -> SupportedWebhookEventTypes:
    """Event types, target types and formats that policies can have."""
    return SupportedWebhookEventTypes(
        event_type=list(payload.EVENT_TYPES),
        notify_type=list(payload.TARGET_TYPES),
        payload_formats=[PayloadFormat(notify_type="http", formats=list(payload.FORMATS))],
    )
