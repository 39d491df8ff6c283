"""What can be scanned: the images of repositories."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from seawall.features.scan.inventory import LAYER_TYPES
from seawall.kernel.errors import InvalidError, NotFoundError
from seawall.registry.manifest import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from seawall.registry.tables import manifest_payloads, manifest_references, manifests, repositories, tags

IMAGE_CONFIGS = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)


@dataclass(frozen=True, slots=True)
class Target:
    """A scannable image: a manifest of a repository."""

    manifest_id: int
    repository_id: int
    repository: str
    project_id: int
    digest: str
    media_type: str


_TARGET = (
    manifests.c.id,
    manifests.c.repository_id,
    repositories.c.name,
    repositories.c.project_id,
    manifests.c.digest,
    manifests.c.media_type,
)


def image_query() -> Any:
    """A query of all images, in the columns of Target."""
    return (
        select(*_TARGET)
        .join(repositories, repositories.c.id == manifests.c.repository_id)
        .where(
            manifests.c.media_type.in_((OCI_MANIFEST, DOCKER_MANIFEST)),
            manifests.c.config_media_type.in_(IMAGE_CONFIGS),
            manifests.c.subject_digest.is_(None),
        )
    )


def resolve(connection: Connection, repository: str, reference: str) -> list[Target]:
    """The images that a reference stands for: itself, or those of an index.

    Raises NotFoundError when there is no such artifact; empty when nothing of it can be scanned.
    """
    query = (
        select(manifests.c.id, manifests.c.media_type, manifests.c.digest, manifests.c.repository_id)
        .join(repositories, repositories.c.id == manifests.c.repository_id)
        .where(repositories.c.name == repository)
    )
    if ":" in reference:
        query = query.where(manifests.c.digest == reference)
    else:
        query = query.join(tags, tags.c.manifest_id == manifests.c.id).where(tags.c.name == reference)
    row = connection.execute(query).first()
    if row is None:
        raise NotFoundError(f"artifact {repository}:{reference} not found")
    if row.media_type in (OCI_INDEX, DOCKER_LIST):
        children = select(manifest_references.c.digest).where(
            manifest_references.c.manifest_id == row.id, manifest_references.c.kind == "manifest"
        )
        found = image_query().where(
            manifests.c.repository_id == row.repository_id, manifests.c.digest.in_(children)
        )
        images = [Target(*item) for item in connection.execute(found.order_by(manifests.c.id))]
        return [item for item in images if not is_attestation(connection, item)]
    return [Target(*item) for item in connection.execute(image_query().where(manifests.c.id == row.id))]


def is_attestation(connection: Connection, target: Target) -> bool:
    """Whether an image is an attestation: BuildKit puts those into an index as images.

    Their layers are in-toto statements.
    """
    payload = connection.execute(
        select(manifest_payloads.c.payload).where(manifest_payloads.c.manifest_id == target.manifest_id)
    ).scalar()
    try:
        layers = json.loads(bytes(payload or b"{}")).get("layers") or []
    except (ValueError, RecursionError):
        return True
    return bool(layers) and not any(str(item.get("mediaType", "")).startswith(LAYER_TYPES) for item in layers)


class NotScannableError(InvalidError):
    """The artifact is nothing that scanners read."""
