"""What an artifact says of itself: build history, chart values, read-me."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Response

from seawall.web.harbor.artifacts.models import (
    ARTIFACT,
    Reference,
    find,
)
from seawall.web.harbor.deps import Access, named_project_access
from seawall.web.harbor.needs import Artifacts
from seawall.web.harbor.repositories import RepositoryName
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["artifact"])


@router.get(f"{ARTIFACT}/additions/{{addition}}", response_class=Response)
async def get_addition(
    repository_name: RepositoryName,
    reference: Reference,
    addition: Annotated[str, Path(max_length=64)],
    access: Annotated[Access, named_project_access("artifact-addition", "read")],
    artifact_service: Artifacts,
) -> Response:
    """What the kind has: build_history of an image; values.yaml, readme.md and dependencies of a Helm chart;
    readme.md, license and files of a model.
    """
    found = await find(access, artifact_service, repository_name, reference)
    media_type, content = await artifact_service.addition(found, addition)
    # What a pusher wrote must not become a page of this origin.
    headers = {"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff"}
    return Response(content, media_type=media_type, headers=headers)
