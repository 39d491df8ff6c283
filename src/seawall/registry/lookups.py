"""What features ask of the content: a function for each question, on the caller's connection."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from seawall.access.views import projects
from seawall.registry.belongings import is_attached
from seawall.registry.manifest import DOCKER_LIST, OCI_INDEX
from seawall.registry.model import Repository
from seawall.registry.tables import (
    REPOSITORY_EXISTS,
    labels,
    manifest_labels,
    manifest_payloads,
    manifest_references,
    manifests,
    repositories,
    repository_blobs,
    tags,
)


class FoundManifest(NamedTuple):
    """A manifest of a repository, without its bytes."""

    id: int
    repository_id: int
    digest: str
    media_type: str
    config_media_type: str | None
    subject_digest: str | None
    accessory_of: str | None


class TaggedArtifact(NamedTuple):
    """A tag and its manifest; `repository` is a full name."""

    id: int
    repository_id: int
    digest: str
    media_type: str
    kind: str
    repository: str
    tag: str


class ListedArtifact(NamedTuple):
    """An artifact as rules see it; times in Unix seconds."""

    id: int
    digest: str
    pushed_at: float
    pulled_at: float | None
    kind: str | None


class StoredAccessory(NamedTuple):
    """An accessory with its bytes; `pushed_at` in Unix seconds."""

    id: int
    digest: str
    type: str
    pushed_at: float
    payload: bytes


# -- repositories ----------------------------------------------------------------------------------


def all_repositories(connection: Connection) -> list[tuple[int, str]]:
    """(id, full name) of every repository row, by name."""
    query = select(repositories.c.id, repositories.c.name).order_by(repositories.c.name)
    return [(row[0], row[1]) for row in connection.execute(query)]


def has_repositories(connection: Connection, project_id: int) -> bool:
    """Whether the project has a repository that exists, see REPOSITORY_EXISTS."""
    query = select(repositories.c.id).where(repositories.c.project_id == project_id, REPOSITORY_EXISTS)
    return connection.execute(query.limit(1)).first() is not None


def repositories_of(connection: Connection, project_id: int) -> list[Repository]:
    """The project's repositories that have held a manifest, by name."""
    query = (
        select(repositories.c.id, repositories.c.name, repositories.c.project_id, projects.c.public)
        .join(projects, projects.c.id == repositories.c.project_id)
        .where(repositories.c.project_id == project_id, REPOSITORY_EXISTS)
        .order_by(repositories.c.name)
    )
    return [Repository(*row) for row in connection.execute(query)]


def repository_ids(connection: Connection, project_id: int) -> list[int]:
    """Ids of all repository rows of the project."""
    query = select(repositories.c.id).where(repositories.c.project_id == project_id)
    return list(connection.execute(query).scalars())


def repository_by_id(connection: Connection, repository_id: int) -> Repository | None:
    """The repository of that id."""
    query = (
        select(repositories.c.id, repositories.c.name, repositories.c.project_id, projects.c.public)
        .join(projects, projects.c.id == repositories.c.project_id)
        .where(repositories.c.id == repository_id)
    )
    row = connection.execute(query).first()
    return Repository(*row) if row else None


def created_at(connection: Connection, repository_id: int) -> float | None:
    """When the repository was made (Unix seconds)."""
    query = select(repositories.c.created_at).where(repositories.c.id == repository_id)
    return connection.execute(query).scalar()


def blob_holders(connection: Connection, digest: str, limit: int) -> list[str]:
    """Full names of repositories that have the blob."""
    query = (
        select(repositories.c.name)
        .join(repository_blobs, repository_blobs.c.repository_id == repositories.c.id)
        .where(repository_blobs.c.digest == digest)
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


# -- manifests -------------------------------------------------------------------------------------


def find_manifest(connection: Connection, repository: str, reference: str) -> FoundManifest | None:
    """The manifest that a tag or digest of the repository (full name) stands for."""
    query = (
        select(*(manifests.c[name] for name in FoundManifest._fields))
        .join(repositories, repositories.c.id == manifests.c.repository_id)
        .where(repositories.c.name == repository)
    )
    if ":" in reference:
        query = query.where(manifests.c.digest == reference)
    else:
        query = query.join(tags, tags.c.manifest_id == manifests.c.id).where(tags.c.name == reference)
    row = connection.execute(query).first()
    return FoundManifest(*row) if row else None


def holds_any(connection: Connection, repository: str, digests: Collection[str]) -> bool:
    """Whether one of the manifests is in the repository (full name)."""
    query = (
        select(manifests.c.id)
        .join(repositories, repositories.c.id == manifests.c.repository_id)
        .where(repositories.c.name == repository, manifests.c.digest.in_(digests))
    )
    return connection.execute(query).first() is not None


def payload_of(connection: Connection, manifest_id: int) -> bytes:
    """The manifest's bytes, empty when it is gone."""
    query = select(manifest_payloads.c.payload).where(manifest_payloads.c.manifest_id == manifest_id)
    return bytes(connection.execute(query).scalar() or b"")


def payloads_of(
    connection: Connection, repository_id: int, digests: Collection[str]
) -> list[tuple[str, bytes]]:
    """(digest, bytes) of manifests of the repository, newest first."""
    query = (
        select(manifests.c.digest, manifest_payloads.c.payload)
        .join(manifest_payloads, manifest_payloads.c.manifest_id == manifests.c.id)
        .where(manifests.c.repository_id == repository_id, manifests.c.digest.in_(digests))
        .order_by(manifests.c.pushed_at.desc(), manifests.c.id.desc())
    )
    return [(row[0], bytes(row[1])) for row in connection.execute(query)]


def total_size(connection: Connection, manifest_id: int) -> int:
    """Bytes of the manifest and all it names, 0 when it is gone."""
    query = select(manifests.c.total_size).where(manifests.c.id == manifest_id)
    return int(connection.execute(query).scalar() or 0)


def label_names(connection: Connection, manifest_id: int) -> set[str]:
    """Names of the labels that the manifest has."""
    query = select(labels.c.name).join(manifest_labels, manifest_labels.c.label_id == labels.c.id)
    return set(connection.execute(query.where(manifest_labels.c.manifest_id == manifest_id)).scalars())


def tagged_artifacts(
    connection: Connection,
    project_id: int,
    kinds: Collection[str],
    repository: str | None = None,
    digest: str | None = None,
) -> list[TaggedArtifact]:
    """Tags of the project's artifacts of some kinds, by repository and name; accessories are left out.

    `repository` (full name) and `digest`: of that artifact only.
    """
    query = (
        select(
            manifests.c.id,
            manifests.c.repository_id,
            manifests.c.digest,
            manifests.c.media_type,
            manifests.c.kind,
            repositories.c.name,
            tags.c.name,
        )
        .join(manifests, manifests.c.id == tags.c.manifest_id)
        .join(repositories, repositories.c.id == tags.c.repository_id)
        .where(repositories.c.project_id == project_id, manifests.c.kind.in_(kinds))
        .where(manifests.c.accessory_of.is_(None))
        .order_by(repositories.c.name, tags.c.name)
    )
    if repository is not None:
        query = query.where(repositories.c.name == repository, manifests.c.digest == digest)
    return [TaggedArtifact(*row) for row in connection.execute(query)]


def listed_artifacts(connection: Connection, repository_id: int) -> list[ListedArtifact]:
    """What lists of a repository show, except for accessories."""
    query = select(
        manifests.c.id, manifests.c.digest, manifests.c.pushed_at, manifests.c.pulled_at, manifests.c.kind
    ).where(
        manifests.c.repository_id == repository_id,
        manifests.c.listed.is_(True),
        manifests.c.accessory_of.is_(None),
    )
    return [ListedArtifact(*row) for row in connection.execute(query)]


def times_of(
    connection: Connection, repository_id: int, manifest_id: int
) -> tuple[float, float | None] | None:
    """When a manifest was pushed and last pulled (Unix seconds), None when it is gone."""
    query = select(manifests.c.pushed_at, manifests.c.pulled_at)
    query = query.where(manifests.c.id == manifest_id, manifests.c.repository_id == repository_id)
    row = connection.execute(query).first()
    return (row[0], row[1]) if row is not None else None


def unpulled_copies(connection: Connection, cutoff: float) -> list[tuple[str, str]]:
    """(repository, digest) in proxy-cache projects of what was neither pushed nor pulled since `cutoff`.

    The newest come first, so an index precedes its children. `cutoff` is in Unix seconds.
    """
    query = (
        select(repositories.c.name, manifests.c.digest)
        .join(repositories, repositories.c.id == manifests.c.repository_id)
        .join(projects, projects.c.id == repositories.c.project_id)
        .where(
            projects.c.registry_id.is_not(None),
            manifests.c.pushed_at < cutoff,
            (manifests.c.pulled_at.is_(None)) | (manifests.c.pulled_at < cutoff),
        )
        .order_by(manifests.c.id.desc())
    )
    return [(row[0], row[1]) for row in connection.execute(query)]


# -- what belongs together -------------------------------------------------------------------------


def child_digests(connection: Connection, ids: Collection[int]) -> dict[int, list[str]]:
    """Index id -> digests of the manifests that the index names."""
    result: dict[int, list[str]] = {identifier: [] for identifier in ids}
    query = select(manifest_references.c.manifest_id, manifest_references.c.digest).where(
        manifest_references.c.manifest_id.in_(ids), manifest_references.c.kind == "manifest"
    )
    for identifier, digest in connection.execute(query):
        result[identifier].append(digest)
    return result


def parent_ids(connection: Connection, repository_id: int, digest: str) -> list[int]:
    """Ids of the indexes that name the manifest."""
    query = select(manifest_references.c.manifest_id).where(
        manifest_references.c.repository_id == repository_id,
        manifest_references.c.digest == digest,
        manifest_references.c.kind == "manifest",
    )
    return list(connection.execute(query).scalars())


def parent_payloads(connection: Connection, repository_id: int, digest: str, limit: int) -> list[bytes]:
    """The bytes of indexes that name the manifest."""
    query = (
        select(manifest_payloads.c.payload)
        .join(manifest_references, manifest_references.c.manifest_id == manifest_payloads.c.manifest_id)
        .where(
            manifest_references.c.repository_id == repository_id,
            manifest_references.c.digest == digest,
            manifest_references.c.kind == "manifest",
        )
        .limit(limit)
    )
    return [bytes(item) for item in connection.execute(query).scalars()]


def parent_digests(connection: Connection, repository: str, digest: str) -> list[str]:
    """Digests of indexes of the repository (full name) that name the manifest."""
    query = (
        select(manifests.c.digest)
        .join(manifest_references, manifest_references.c.manifest_id == manifests.c.id)
        .join(repositories, repositories.c.id == manifests.c.repository_id)
        .where(
            repositories.c.name == repository,
            manifest_references.c.repository_id == repositories.c.id,
            manifest_references.c.digest == digest,
            manifests.c.media_type.in_((OCI_INDEX, DOCKER_LIST)),
        )
    )
    return list(connection.execute(query).scalars())


def referrer_digests(connection: Connection, repository: str, digest: str) -> list[str]:
    """Digests of manifests whose subject is `digest`, oldest first."""
    query = (
        select(manifests.c.digest)
        .join(repositories, repositories.c.id == manifests.c.repository_id)
        .where(repositories.c.name == repository, manifests.c.subject_digest == digest)
        .order_by(manifests.c.id)
    )
    return list(connection.execute(query).scalars())


def accessory_digests(
    connection: Connection, repository_id: int, digest: str, types: Collection[str], limit: int
) -> list[str]:
    """Digests of the artifact's accessories of some types, newest first."""
    query = (
        select(manifests.c.digest)
        .where(
            manifests.c.repository_id == repository_id,
            manifests.c.accessory_of == digest,
            manifests.c.accessory_type.in_(types),
        )
        .order_by(manifests.c.pushed_at.desc(), manifests.c.id.desc())
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


def accessories_from(
    connection: Connection,
    repository: str,
    digest: str,
    kind: str | None = None,
    *,
    after: int = 0,
    only: str | None = None,
    limit: int = 1,
    replaced: bool = False,
) -> list[StoredAccessory]:
    """The next accessories, by id, of an artifact of the repository (full name).

    `kind`: of that type; `only`: the one with this digest; `replaced`: those that have lost their tag of
    cosign's scheme, which are left out else.
    """
    query = _accessories().join(repositories, repositories.c.id == manifests.c.repository_id)
    query = query.where(
        repositories.c.name == repository, manifests.c.accessory_of == digest, manifests.c.id > after
    )
    query = query.where(~is_attached() if replaced else is_attached())
    if kind is not None:
        query = query.where(manifests.c.accessory_type == kind)
    if only is not None:
        query = query.where(manifests.c.digest == only)
    return _stored(connection, query.order_by(manifests.c.id).limit(limit))


def newest_accessories(
    connection: Connection, repository_id: int, digest: str, *, but: str, limit: int
) -> list[StoredAccessory]:
    """Accessories of an artifact that are not of the type `but`, newest first."""
    query = _accessories().where(
        manifests.c.repository_id == repository_id,
        manifests.c.accessory_of == digest,
        manifests.c.accessory_type != but,
    )
    newest = (manifests.c.pushed_at.desc(), manifests.c.id.desc())
    return _stored(connection, query.order_by(*newest).limit(limit))


def _accessories() -> Any:
    return select(
        manifests.c.id,
        manifests.c.digest,
        manifests.c.accessory_type,
        manifests.c.pushed_at,
        manifest_payloads.c.payload,
    ).join(manifest_payloads, manifest_payloads.c.manifest_id == manifests.c.id)


def _stored(connection: Connection, query: Any) -> list[StoredAccessory]:
    return [
        StoredAccessory(row[0], row[1], row[2] or "", row[3], bytes(row[4]))
        for row in connection.execute(query)
    ]
