"""Labels on an artifact."""

from __future__ import annotations

from typing import Annotated

from fastapi import Response
from sqlalchemy import Connection

from seawall.features.preheat.work import LABELED
from seawall.registry import labels as label_domain
from seawall.web.harbor.artifacts.models import (
    ARTIFACT,
    Label,
    Reference,
    find,
)
from seawall.web.harbor.deps import Access, Id, named_project_access
from seawall.web.harbor.needs import Artifacts, Events
from seawall.web.harbor.repositories import RepositoryName
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["artifact"])


@router.post(f"{ARTIFACT}/labels")
async def add_label(
    repository_name: RepositoryName,
    reference: Reference,
    body: Label,
    access: Annotated[Access, named_project_access("artifact-label", "create")],
    artifact_service: Artifacts,
    events: Events,
) -> Response:
    """Put a label on the artifact: a global one or one of the project."""
    found = await find(access, artifact_service, repository_name, reference)
    label_id = body.id or 0

    def put_label(connection: Connection) -> None:
        label_domain.put_on(connection, label_id, found.id, found.project_id)
        data = {
            "project_id": found.project_id,
            "repository": found.repository,
            "resources": [{"digest": found.digest}],
        }
        events.record(connection, LABELED, data)

    await access.write(put_label)
    resource = f"{found.repository}@{found.digest}"
    access.audited(
        "create", "artifact_label", resource, f"label {resource} with {label_id}", found.project_id
    )
    return Response()


@router.delete(f"{ARTIFACT}/labels/{{label_id}}")
async def remove_label(
    repository_name: RepositoryName,
    reference: Reference,
    label_id: Id,
    access: Annotated[Access, named_project_access("artifact-label", "delete")],
    artifact_service: Artifacts,
) -> Response:
    """Take a label off the artifact."""
    found = await find(access, artifact_service, repository_name, reference)
    await access.write(lambda c: label_domain.take_off(c, label_id, found.id))
    resource = f"{found.repository}@{found.digest}"
    access.audited("delete", "artifact_label", resource, f"unlabel {resource}", found.project_id)
    return Response()
