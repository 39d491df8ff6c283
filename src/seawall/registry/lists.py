"""What the registry lists: repositories, tags, referrers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, and_, func, literal, or_, select

from seawall.infra.db import Database
from seawall.kernel.names import check_digest
from seawall.registry.belongings import cosign_artifact_type, cosign_tags, is_referrer
from seawall.registry.repositories import Repositories
from seawall.registry.tables import manifests, repositories, tags

# What manifests of one page of referrers may have together (bytes); the specification's limit of an index.
PAGE_BYTES = 4 * 1024 * 1024


class Lists:
    """The lists of the registry, in pages."""

    def __init__(self, db: Database, repositories: Repositories) -> None:
        self._db = db
        self._repositories = repositories

    async def catalog(
        self, n: int, last: str | None, visible: Callable[[Connection], set[int] | None]
    ) -> list[str]:
        """Up to `n` repository names after `last`, in name order.

        `visible` gives the ids of projects the caller may read, None meaning all.
        """

        def list_repositories(connection: Connection) -> list[str]:
            query = select(repositories.c.name).order_by(repositories.c.name).limit(n)
            # A repository shows once it holds a manifest.
            query = query.where(
                select(literal(1)).where(manifests.c.repository_id == repositories.c.id).exists()
            )
            if last is not None:
                query = query.where(repositories.c.name > last)
            allowed = visible(connection)
            if allowed is not None:
                query = query.where(repositories.c.project_id.in_(allowed))
            return list(connection.execute(query).scalars())

        return await self._db.read(list_repositories)

    async def tags(self, name: str, n: int, last: str | None) -> list[str]:
        """Up to `n` tags after `last`, in ASCII order. Raises NAME_UNKNOWN."""
        repository = await self._repositories.get(name)

        def list_tags(connection: Connection) -> list[str]:
            query = (
                select(tags.c.name)
                .where(tags.c.repository_id == repository.id)
                .order_by(tags.c.name)
                .limit(n)
            )
            if last is not None:
                query = query.where(tags.c.name > last)
            return list(connection.execute(query).scalars())

        return await self._db.read(list_tags)

    async def referrers(
        self, name: str, digest: str, artifact_type: str | None, limit: int, after: int
    ) -> tuple[list[dict[str, Any]], int | None]:
        """Descriptors of what refers to `digest`, and the `after` of the next page if any.

        What cosign attached by a tag has its config's media type, as the specification says and as in Harbor.
        Asked for by the artifact type that cosign gives such things in this list otherwise, it has that, so
        that cosign's clients find it either way.

        A page has at most `limit` of them, and those of manifests of PAGE_BYTES together: their annotations
        are in it, and each may have megabytes.
        """
        check_digest(digest)
        repository = await self._repositories.find(name)
        if repository is None:
            # A 404 would tell clients that this registry has no referrers API at all (spec, "Listing
            # Referrers"), and they would fall back to the tag scheme.
            return [], None

        # What cosign attaches by a tag of the artifact has no type of its own.
        attached = {tag: cosign_artifact_type(tag.rpartition(".")[2]) for tag in cosign_tags(digest)}
        by_tag = select(func.min(tags.c.name)).where(
            tags.c.manifest_id == manifests.c.id,
            tags.c.name.in_(attached),
            manifests.c.subject_digest.is_(None),
        )
        cosign_tag = by_tag.correlate(manifests).scalar_subquery()

        def list_referrers(connection: Connection) -> tuple[list[Any], int | None]:
            query = (
                select(manifests.c.id, manifests.c.size)
                .where(
                    manifests.c.repository_id == repository.id,
                    is_referrer(digest),
                    manifests.c.id > after,
                )
                .order_by(manifests.c.id)
                .limit(limit + 1)
            )
            if artifact_type is not None:
                # An image manifest without artifactType has its config's media type instead.
                names = [name for name, kind in attached.items() if kind == artifact_type]
                query = query.where(
                    or_(
                        cosign_tag.in_(names),
                        manifests.c.artifact_type == artifact_type,
                        and_(
                            func.coalesce(manifests.c.artifact_type, "") == "",
                            manifests.c.config_media_type == artifact_type,
                        ),
                    )
                )
            sizes = list(connection.execute(query))
            count, total = 0, 0
            for _, size in sizes[:limit]:
                total += size
                if count and total > PAGE_BYTES:
                    break
                count += 1
            ids = [row[0] for row in sizes[:count]]
            following = ids[-1] if count < len(sizes) else None
            found = (
                select(
                    manifests.c.id,
                    manifests.c.media_type,
                    manifests.c.digest,
                    manifests.c.size,
                    manifests.c.artifact_type,
                    manifests.c.config_media_type,
                    manifests.c.annotations,
                    cosign_tag,
                )
                .where(manifests.c.id.in_(ids))
                .order_by(manifests.c.id)
            )
            return list(connection.execute(found)), following

        rows, following = await self._db.read(list_referrers)
        result: list[dict[str, Any]] = []
        for row in rows:
            item: dict[str, Any] = {"mediaType": row[1], "digest": row[2], "size": row[3]}
            named = attached.get(row[7])
            kind = row[4] or (named if named == artifact_type else None) or row[5]
            if kind:
                item["artifactType"] = kind
            if row[6]:
                item["annotations"] = row[6]
            result.append(item)
        return result, following
