"""Look-ups of tags, and the one change of them that is not a push or a deletion."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from sqlalchemy import Connection, and_, func, or_, select, tuple_, update

from seawall.access.views import projects
from seawall.infra.db.batch import later
from seawall.registry.tables import manifests, repositories, tags


class ServedTag(NamedTuple):
    """A tag of a repository (full name); `used_at`: its last pull, or else its push (Unix seconds)."""

    repository: str
    name: str
    digest: str
    used_at: float


def served_tags(connection: Connection, project: str, after: tuple[str, str], limit: int) -> list[ServedTag]:
    """The next tags of a project, by repository and name, after the tag `after`; accessories are left out."""
    query = (
        select(
            repositories.c.name,
            tags.c.name,
            manifests.c.digest,
            func.coalesce(tags.c.pulled_at, manifests.c.pulled_at, tags.c.pushed_at),
        )
        .join(repositories, repositories.c.id == tags.c.repository_id)
        .join(projects, projects.c.id == repositories.c.project_id)
        .join(manifests, manifests.c.id == tags.c.manifest_id)
        .where(
            projects.c.name == project,
            manifests.c.accessory_of.is_(None),
            # Said twice: no index begins at a row of two tables.
            repositories.c.name >= after[0],
            tuple_(repositories.c.name, tags.c.name) > after,
        )
        .order_by(repositories.c.name, tags.c.name)
        .limit(limit)
    )
    return [ServedTag(*row) for row in connection.execute(query)]


def tags_of_repository(connection: Connection, repository_id: int) -> list[tuple[str, int]]:
    """(name, manifest id) of each tag, by name."""
    query = select(tags.c.name, tags.c.manifest_id).where(tags.c.repository_id == repository_id)
    return [(row[0], row[1]) for row in connection.execute(query.order_by(tags.c.name))]


def tag_names(connection: Connection, manifest_id: int) -> list[str]:
    """Tags of a manifest, by name."""
    query = select(tags.c.name).where(tags.c.manifest_id == manifest_id).order_by(tags.c.name)
    return list(connection.execute(query).scalars())


def tag_names_of_many(connection: Connection, ids: Iterable[int]) -> dict[int, list[str]]:
    """manifest id -> its tags by name; manifests without one are left out."""
    result: dict[int, list[str]] = {}
    query = select(tags.c.manifest_id, tags.c.name).where(tags.c.manifest_id.in_(set(ids)))
    for identifier, name in connection.execute(query.order_by(tags.c.name)):
        result.setdefault(identifier, []).append(name)
    return result


def tag_names_of_digest(connection: Connection, repository_id: int, digest: str) -> list[str]:
    """Tags of a repository's manifest, by name."""
    query = (
        select(tags.c.name)
        .join(manifests, manifests.c.id == tags.c.manifest_id)
        .where(manifests.c.repository_id == repository_id, manifests.c.digest == digest)
        .order_by(tags.c.name)
    )
    return list(connection.execute(query).scalars())


def newest_tag(connection: Connection, manifest_id: int) -> str | None:
    """The tag of a manifest that was pushed last."""
    query = select(tags.c.name).where(tags.c.manifest_id == manifest_id)
    return connection.execute(query.order_by(tags.c.pushed_at.desc()).limit(1)).scalar()


def pushed_later(
    connection: Connection, repository_id: int, names: Collection[str], at: float, digest: str
) -> str | None:
    """One of the tags `names` whose push is later than one of `digest` at `at` (Unix seconds).

    Of two pushes of one time the greater digest is the later one, so that all registries agree.
    """
    query = (
        select(tags.c.name)
        .join(manifests, manifests.c.id == tags.c.manifest_id)
        .where(
            tags.c.repository_id == repository_id,
            tags.c.name.in_(names),
            or_(tags.c.pushed_at > at, and_(tags.c.pushed_at == at, manifests.c.digest > digest)),
        )
        .limit(1)
    )
    return connection.execute(query).scalar()


def pushed_at(connection: Connection, repository: str, tag: str) -> float | None:
    """When a tag was pushed (Unix seconds), None when there is none."""
    query = (
        select(tags.c.pushed_at)
        .join(repositories, repositories.c.id == tags.c.repository_id)
        .where(repositories.c.name == repository, tags.c.name == tag)
    )
    return connection.execute(query).scalar()


def set_pushed_at(connection: Connection, repository_id: int, names: Collection[str], at: float) -> None:
    """Date tags: one that comes from another registry keeps the time of its first push."""
    mine = update(tags).where(tags.c.repository_id == repository_id, tags.c.name.in_(names))
    later(connection, mine.values(pushed_at=at))
