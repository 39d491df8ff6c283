"""Where a layer is, and what is built on an image."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path
from pydantic import BaseModel

from seawall.kernel.names import check_digest
from seawall.registry import holders
from seawall.registry.tags import tag_names_of_many
from seawall.web.harbor.artifacts.models import ARTIFACT, Reference, find
from seawall.web.harbor.deps import Access, ListingDep, anyone, named_project_access, timestamp
from seawall.web.harbor.needs import Artifacts, Db
from seawall.web.harbor.query import Listing
from seawall.web.harbor.repositories import RepositoryName
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["artifact"])


class HoldingImage(BaseModel):
    """An image of an index."""

    digest: str
    platform: dict[str, Any] | None = None


class LayerHolder(BaseModel):
    """An artifact with the layers; `images`: which images of an index have them."""

    project_id: int
    repository_name: str
    digest: str
    type: str
    push_time: str | None
    tags: list[str]
    images: list[HoldingImage]


async def _answer(db: Db, page: Listing, found: holders.Holders) -> list[LayerHolder]:
    if found.total < 0:
        page.response.headers["X-Total-Count"] = "-1"
    else:
        page.total(found.total)
    names = await db.read(lambda c: tag_names_of_many(c, [row.artifact.id for row in found.rows]))
    return [
        LayerHolder(
            project_id=row.artifact.project_id,
            repository_name=row.artifact.repository,
            digest=row.artifact.digest,
            type=row.artifact.kind,
            push_time=timestamp(row.artifact.pushed_at),
            tags=names.get(row.artifact.id, [])[:_MOST_TAGS],
            images=[HoldingImage(digest=digest, platform=platform) for digest, platform in row.images],
        )
        for row in found.rows
    ]


# Tags of an artifact in one answer.
_MOST_TAGS = 100


@router.get("/layers/{digest}/artifacts")
async def list_holders_of_layer(
    digest: Annotated[str, Path(max_length=140)],
    access: Annotated[Access, anyone()],
    db: Db,
    page: ListingDep,
) -> list[LayerHolder]:
    """Artifacts of every project that have the layer, as far as the caller may list them."""
    check_digest(digest)
    found = await db.read(lambda c: holders.holders(c, access.principal, digest, page))
    return await _answer(db, page, found)


@router.get(f"{ARTIFACT}/built-on")
async def list_built_on(
    repository_name: RepositoryName,
    reference: Reference,
    access: Annotated[Access, named_project_access("artifact", "read")],
    db: Db,
    artifact_service: Artifacts,
    page: ListingDep,
) -> list[LayerHolder]:
    """Images of every project whose first layers are those of this image, as far as the caller may list them.

    `X-Total-Count` is -1 where there are more than 1,000.
    """
    base = await find(access, artifact_service, repository_name, reference)
    found = await db.read(lambda c: holders.built_on(c, access.principal, base, page))
    return await _answer(db, page, found)
