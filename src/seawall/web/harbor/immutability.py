"""Immutable tag rules of a project."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Request, Response
from pydantic import BaseModel, Field

from seawall.features.immutability import rules as domain
from seawall.web.harbor.deps import Access, Id, ListingDep, location, project_access
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Db
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["immutable"])


class ImmutableSelector(BaseModel):
    """A selector of tags or repositories by glob."""

    kind: str | None = Field(None, max_length=32)
    decoration: str | None = Field(None, max_length=32)
    pattern: str | None = Field(None, max_length=1024)
    extras: str | None = Field(None, max_length=1024)


class ImmutableRule(BaseModel):
    """A rule: existing tags that it selects can be neither moved nor deleted."""

    id: int | None = None
    priority: int | None = Field(None, ge=-(2**31), lt=2**31)
    disabled: bool | None = None
    action: str | None = Field(None, max_length=32)
    template: str | None = Field(None, max_length=64)
    params: dict[str, Any] | None = None
    tag_selectors: list[ImmutableSelector] | None = None
    scope_selectors: dict[str, list[ImmutableSelector]] | None = None


def _model(rule: domain.ImmutabilityRule) -> ImmutableRule:
    return ImmutableRule(
        id=rule.id,
        priority=rule.priority,
        disabled=rule.disabled,
        action="immutable",
        template="immutable_template",
        params=rule.rule["params"],
        tag_selectors=[ImmutableSelector(**item) for item in rule.rule["tag_selectors"]],
        scope_selectors={
            name: [ImmutableSelector(**item) for item in items]
            for name, items in rule.rule["scope_selectors"].items()
        },
    )


@router.get("/projects/{project_name_or_id}/immutabletagrules", name="list_immu_rules")
async def list_immutable_rules(
    access: Annotated[Access, project_access("immutable-tag", "list")], db: Db, page: ListingDep
) -> list[ImmutableRule]:
    """Every rule of the project."""
    project_id = access.project.id
    total, found = await db.read(lambda c: domain.list_rules(c, project_id, page))
    page.total(total)
    return [_model(rule) for rule in found]


@router.post("/projects/{project_name_or_id}/immutabletagrules", status_code=201, name="create_immu_rule")
async def create_immutable_rule(
    request: Request,
    body: ImmutableRule,
    access: Annotated[Access, project_access("immutable-tag", "create")],
) -> Response:
    """Add a rule."""
    project = access.project
    made = await access.write(lambda c: domain.create(c, project.id, body.model_dump()))
    access.audited("create", "immutable_rule", f"{project.name}:{made}", "create rule", project.id)
    return Response(status_code=201, headers=location(request, made))


@router.put("/projects/{project_name_or_id}/immutabletagrules/{immutable_rule_id}", name="update_immu_rule")
async def update_immutable_rule(
    immutable_rule_id: Id,
    body: ImmutableRule,
    access: Annotated[Access, project_access("immutable-tag", "update")],
) -> Response:
    """Replace a rule, or only switch it on and off when no selectors are given."""
    if body.id not in (None, 0, immutable_rule_id):
        raise ApiError(400, "the id in the body is that of another rule")
    project = access.project
    await access.write(lambda c: domain.change(c, project.id, immutable_rule_id, body.model_dump()))
    name = f"{project.name}:{immutable_rule_id}"
    access.audited("update", "immutable_rule", name, "update rule", project.id)
    return Response()


@router.delete(
    "/projects/{project_name_or_id}/immutabletagrules/{immutable_rule_id}", name="delete_immu_rule"
)
async def delete_immutable_rule(
    immutable_rule_id: Id, access: Annotated[Access, project_access("immutable-tag", "delete")]
) -> Response:
    """Delete a rule."""
    project = access.project
    await access.write(lambda c: domain.remove(c, project.id, immutable_rule_id))
    name = f"{project.name}:{immutable_rule_id}"
    access.audited("delete", "immutable_rule", name, "delete rule", project.id)
    return Response()
