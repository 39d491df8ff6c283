"""What a peer asks of content: when a manifest was pushed, and what was pulled."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from seawall.availability.peers import schema as t


def pushed_at(connection: Connection, repository: str, digest: str) -> float | None:
    """When the manifest was pushed to the repository (Unix seconds)."""
    manifests = t.manifests.c
    query = (
        select(manifests.pushed_at)
        .join(t.repositories, t.repositories.c.id == manifests.repository_id)
        .where(t.repositories.c.name == repository, manifests.digest == digest)
    )
    return connection.execute(query).scalar()


def pulls(connection: Connection, after: float, limit: int = 5000) -> list[list[Any]]:
    """What was pulled after a time: [repository, tag or digest, when], oldest first."""
    found: list[list[Any]] = []
    for table, name in ((t.manifests, "digest"), (t.tags, "name")):
        rows = connection.execute(
            select(t.repositories.c.name, table.c[name], table.c.pulled_at)
            .join(t.repositories, t.repositories.c.id == table.c.repository_id)
            .where(table.c.pulled_at > after)
            .order_by(table.c.pulled_at)
            .limit(limit)
        )
        found += [list(row) for row in rows]
    return sorted(found, key=lambda row: float(row[2]))[:limit]
