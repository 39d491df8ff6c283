"""What can be scanned: the images of repositories."""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import Connection

from seawall.features.scan.inventory import LAYER_TYPES
from seawall.kernel.errors import InvalidError, NotFoundError
from seawall.registry.images import image, images_of_index
from seawall.registry.lookups import find_manifest, payload_of
from seawall.registry.manifest import DOCKER_LIST, OCI_INDEX


@dataclass(frozen=True, slots=True)
class Target:
    """A scannable image: a manifest of a repository."""

    manifest_id: int
    repository_id: int
    repository: str
    project_id: int
    digest: str
    media_type: str


def resolve(connection: Connection, repository: str, reference: str) -> list[Target]:
    """The images that a reference stands for: itself, or those of an index.

    Raises NotFoundError when there is no such artifact; empty when nothing of it can be scanned.
    """
    found = find_manifest(connection, repository, reference)
    if found is None:
        raise NotFoundError(f"artifact {repository}:{reference} not found")
    if found.media_type in (OCI_INDEX, DOCKER_LIST):
        rows = images_of_index(connection, found.repository_id, found.id)
        return [item for row in rows if not is_attestation(connection, item := Target(*row))]
    row = image(connection, found.id)
    return [Target(*row)] if row is not None else []


def is_attestation(connection: Connection, target: Target) -> bool:
    """Whether an image is an attestation: BuildKit puts those into an index as images.

    Their layers are in-toto statements.
    """
    return attests(payload_of(connection, target.manifest_id) or b"{}")


def attests(payload: bytes) -> bool:
    """Whether a manifest is an attestation, by its layers; so is what cannot be read."""
    try:
        layers = json.loads(payload).get("layers") or []
    except (ValueError, RecursionError):
        return True
    return bool(layers) and not any(str(item.get("mediaType", "")).startswith(LAYER_TYPES) for item in layers)


class NotScannableError(InvalidError):
    """The artifact is nothing that scanners read."""
