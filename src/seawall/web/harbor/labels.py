"""Labels, global (`scope` g) and of projects (`scope` p)."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response

from seawall.registry import labels as domain
from seawall.registry.artifacts import Label as LabelRow
from seawall.web.harbor.artifacts.models import Label, label_model
from seawall.web.harbor.deps import Access, Id, ListingDep, checked, location
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Db
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["label"])


async def _may(access: Access, action: str, project_id: int | None) -> None:
    if project_id is not None:
        await access.require("label", action, project_id)
    elif action in ("read", "list"):
        # Global labels are on artifacts of every project, so every user may read them.
        access.require_known()
    else:
        await access.require("label", action)


def _described(label: LabelRow) -> str:
    return f"{'global' if label.project_id is None else 'project'} label {label.name}"


@router.get("/labels")
async def list_labels(
    access: Annotated[Access, checked("label", "list")],
    db: Db,
    page: ListingDep,
    scope: Annotated[str, Query(max_length=1)] = "",
    project_id: Annotated[int | None, Query(ge=0, lt=2**53)] = None,
    name: Annotated[str | None, Query(max_length=128)] = None,
) -> list[Label]:
    """Labels of a scope: `g`, or `p` with `project_id`."""
    if scope not in ("g", "p"):
        raise ApiError(400, "scope must be g or p")
    if scope == "p" and not project_id:
        raise ApiError(400, "scope p needs project_id")
    owner = project_id if scope == "p" else None
    await _may(access, "list", owner)

    total, found = await db.read(lambda c: domain.list_labels(c, owner, name, page))
    page.total(total)
    return [label_model(row) for row in found]


@router.post("/labels", status_code=201)
async def create_label(
    request: Request, body: Label, access: Annotated[Access, checked("label", "create")]
) -> Response:
    """Add a label."""
    if body.scope not in ("g", "p"):
        access.require_known()
        raise ApiError(400, "scope must be g or p")
    if body.scope == "p" and not body.project_id:
        access.require_known()
        raise ApiError(400, "scope p needs project_id")
    owner = body.project_id if body.scope == "p" else None
    await _may(access, "create", owner)
    made = await access.write(
        lambda c: domain.create(c, body.name or "", body.description or "", body.color or "", owner)
    )
    access.audited("create", "label", body.name or "", f"create label {body.name}", owner)
    return Response(status_code=201, headers=location(request, made))


async def _get(access: Access, db: Db, label_id: int, action: str) -> LabelRow:
    # Who is not known learns nothing, not even that a label is not there.
    if not access.principal.known:
        access.require_known()
    try:
        found = await db.read(lambda c: domain.get(c, label_id))
    except Exception:
        access.decided = True
        raise
    await _may(access, action, found.project_id)
    return found


@router.get("/labels/{label_id}")
async def get_label_by_id(label_id: Id, access: Annotated[Access, checked("label", "read")], db: Db) -> Label:
    """One label."""
    return label_model(await _get(access, db, label_id, "read"))


@router.put("/labels/{label_id}")
async def update_label(
    label_id: Id, body: Label, access: Annotated[Access, checked("label", "update")], db: Db
) -> Response:
    """Change name, description and color."""
    found = await _get(access, db, label_id, "update")
    await access.write(
        lambda c: domain.change(
            c, label_id, body.name or found.name, body.description or "", body.color or ""
        )
    )
    access.audited("update", "label", found.name, f"update {_described(found)}", found.project_id)
    return Response()


@router.delete("/labels/{label_id}")
async def delete_label(
    label_id: Id, access: Annotated[Access, checked("label", "delete")], db: Db
) -> Response:
    """Delete a label; it disappears from its artifacts."""
    found = await _get(access, db, label_id, "delete")
    await access.write(lambda c: domain.remove(c, label_id))
    access.audited("delete", "label", found.name, f"delete {_described(found)}", found.project_id)
    return Response()
