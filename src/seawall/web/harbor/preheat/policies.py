"""Preheating: policies."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated, Any

from fastapi import Response

from seawall.features.preheat import lists
from seawall.features.preheat import model as domain
from seawall.features.preheat.drivers import DriverError
from seawall.features.preheat.model import PreheatPolicy as Policy
from seawall.web.harbor.deps import Access, ListingDep, location, named_project_access, timestamp
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Db, Preheating
from seawall.web.harbor.preheat.models import (
    Name,
    PreheatPolicy,
)
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["preheat"])
_POLICIES = "/projects/{project_name}/preheat/policies"
_POLICY = f"{_POLICIES}/{{preheat_policy_name}}"
_EXECUTION = f"{_POLICY}/executions/{{execution_id}}"


def _policy(item: Policy) -> PreheatPolicy:
    trigger: dict[str, Any] = {"type": item.trigger, "trigger_setting": {}}
    if item.cron:
        trigger["trigger_setting"] = {"cron": item.cron}
    return PreheatPolicy(
        id=item.id,
        name=item.name,
        description=item.description,
        project_id=item.project_id,
        provider_id=item.provider_id,
        provider_name=item.provider_name,
        filters=json.dumps(item.filters),
        trigger=json.dumps(trigger),
        enabled=item.enabled,
        extra_attrs=json.dumps(item.extra) if item.extra else "",
        creation_time=timestamp(item.created_at),
        update_time=timestamp(item.updated_at),
    )


def _wanted(body: PreheatPolicy, was: Policy) -> Policy:
    """`was` with what the body gives."""
    changed = replace(was)
    if body.name:
        changed.name = body.name
    if body.description is not None:
        changed.description = body.description
    if body.provider_id:
        changed.provider_id = body.provider_id
    if body.enabled is not None:
        changed.enabled = body.enabled
    if body.filters is not None:
        filters = domain.parse_json(body.filters, "filters", list)
        if not all(isinstance(item, dict) for item in filters):
            raise ApiError(400, "filters must be a JSON list of objects")
        changed.filters = [{"type": item.get("type"), "value": item.get("value")} for item in filters]
    if body.trigger is not None:
        trigger = domain.parse_json(body.trigger, "trigger", dict)
        setting = trigger.get("trigger_setting") or {}
        cron = setting.get("cron") if isinstance(setting, dict) else None
        changed.trigger = str(trigger.get("type") or "manual")
        changed.cron = cron if isinstance(cron, str) else ""
    if body.extra_attrs is not None:
        changed.extra = domain.parse_json(body.extra_attrs, "extra_attrs", dict)
    return changed


@router.get(_POLICIES, name="list_preheat_policies")
async def list_policies(
    access: Annotated[Access, named_project_access("preheat-policy", "list")], db: Db, page: ListingDep
) -> list[PreheatPolicy]:
    """Policies of the project, newest first."""
    project_id = access.project.id
    total, found = await db.read(lambda c: lists.list_policies(c, project_id, page))
    page.total(total)
    return [_policy(item) for item in found]


@router.post(_POLICIES, status_code=201, name="create_preheat_policy")
async def create_policy(
    body: PreheatPolicy,
    access: Annotated[Access, named_project_access("preheat-policy", "create")],
    preheating: Preheating,
) -> Response:
    """Add a policy."""
    project = access.project
    await preheating.policies.save(_wanted(body, Policy("", 0, project_id=project.id)), also=access.trace)
    name = f"{project.name}/{body.name}"
    access.audited("create", "preheat_policy", name, f"create preheat policy {name}", project.id)
    return Response(status_code=201, headers=location(access.request, body.name or ""))


@router.get(_POLICY, name="get_preheat_policy")
async def get_policy(
    preheat_policy_name: Name,
    access: Annotated[Access, named_project_access("preheat-policy", "read")],
    preheating: Preheating,
) -> PreheatPolicy:
    """One policy."""
    return _policy(await preheating.policies.get(access.project.id, preheat_policy_name))


@router.put(_POLICY, name="update_preheat_policy")
async def update_policy(
    preheat_policy_name: Name,
    body: PreheatPolicy,
    access: Annotated[Access, named_project_access("preheat-policy", "update")],
    preheating: Preheating,
) -> Response:
    """Change a policy."""
    project = access.project
    was = await preheating.policies.get(project.id, preheat_policy_name)
    await preheating.policies.save(_wanted(body, was), also=access.trace)
    name = f"{project.name}/{preheat_policy_name}"
    access.audited("update", "preheat_policy", name, f"update preheat policy {name}", project.id)
    return Response()


@router.post(_POLICY, status_code=201, name="manual_preheat")
async def manual_preheat(
    preheat_policy_name: Name,
    access: Annotated[Access, named_project_access("preheat-policy", "read")],
    preheating: Preheating,
    body: PreheatPolicy | None = None,
) -> Response:
    """Run a policy now; 412 when it or its network is switched off, 502 when the network does not work."""
    project = access.project
    policy = await preheating.policies.get(project.id, preheat_policy_name)
    try:
        execution = await preheating.executions.start(policy, "manual", also=access.trace)
    except DriverError as error:
        raise ApiError(502, str(error)) from None
    name = f"{project.name}/{policy.name}"
    access.audited("create", "preheat_execution", name, f"preheat by {name}", project.id)
    where = f"/projects/{project.name}/preheat/policies/{policy.name}/executions/{execution}"
    return Response(status_code=201, headers={"Location": where})


@router.delete(_POLICY, name="delete_preheat_policy")
async def delete_policy(
    preheat_policy_name: Name,
    access: Annotated[Access, named_project_access("preheat-policy", "delete")],
    preheating: Preheating,
) -> Response:
    """Remove a policy; 412 while it runs."""
    project = access.project
    policy = await preheating.policies.get(project.id, preheat_policy_name)
    await preheating.policies.remove(policy, also=access.trace)
    name = f"{project.name}/{policy.name}"
    access.audited("delete", "preheat_policy", name, f"delete preheat policy {name}", project.id)
    return Response()
