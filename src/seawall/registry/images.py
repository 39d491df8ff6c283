"""Container images among the manifests: those that can be scanned."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, select

from seawall.registry.manifest import DOCKER_MANIFEST, OCI_MANIFEST
from seawall.registry.tables import manifest_payloads, manifest_references, manifests, repositories

IMAGE_CONFIGS = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)


def image_query(repository_id: int | None = None, digest: str | None = None) -> Select[Any]:
    """A query of all images, or of one.

    Columns: manifest id, repository id, repository name, project id, digest, media type.
    """
    query = (
        select(
            manifests.c.id,
            manifests.c.repository_id,
            repositories.c.name,
            repositories.c.project_id,
            manifests.c.digest,
            manifests.c.media_type,
        )
        .join(repositories, repositories.c.id == manifests.c.repository_id)
        .where(_is_image())
    )
    if repository_id is not None:
        query = query.where(manifests.c.repository_id == repository_id)
    if digest is not None:
        query = query.where(manifests.c.digest == digest)
    return query


def images_after(connection: Connection, manifest_id: int, limit: int) -> list[Any]:
    """Rows of `image_query` whose manifest id is greater, in the order of their ids."""
    query = image_query().where(manifests.c.id > manifest_id).order_by(manifests.c.id)
    return list(connection.execute(query.limit(limit)))


def image(connection: Connection, manifest_id: int) -> Any:
    """The row of `image_query` of a manifest, None when it is not an image."""
    return connection.execute(image_query().where(manifests.c.id == manifest_id)).first()


def images_of_index(connection: Connection, repository_id: int, index_id: int) -> list[Any]:
    """Rows of `image_query` of the images that an index names, oldest first."""
    children = select(manifest_references.c.digest).where(
        manifest_references.c.manifest_id == index_id, manifest_references.c.kind == "manifest"
    )
    query = image_query(repository_id).where(manifests.c.digest.in_(children))
    return list(connection.execute(query.order_by(manifests.c.id)))


def image_payloads(connection: Connection, repository_id: int, digests: Collection[str]) -> dict[str, bytes]:
    """digest -> the bytes of its manifest, for those of `digests` that are images of the repository."""
    query = (
        select(manifests.c.digest, manifest_payloads.c.payload)
        .join(manifest_payloads, manifest_payloads.c.manifest_id == manifests.c.id)
        .where(manifests.c.repository_id == repository_id, manifests.c.digest.in_(digests), _is_image())
    )
    return {row.digest: bytes(row.payload) for row in connection.execute(query)}


def count_images(connection: Connection) -> int:
    """How many images there are."""
    return connection.execute(select(func.count()).select_from(manifests).where(_is_image())).scalar_one()


def _is_image() -> ColumnElement[bool]:
    return and_(
        manifests.c.media_type.in_((OCI_MANIFEST, DOCKER_MANIFEST)),
        manifests.c.config_media_type.in_(IMAGE_CONFIGS),
        manifests.c.subject_digest.is_(None),
    )
