"""Which registry a proxy-cache project has behind it, and which proxy-cache projects there are."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import Connection, select

from seawall.access.views import projects
from seawall.features.replication.tables import registries


class UpstreamRow(NamedTuple):
    """A proxy-cache project and its registry; `id` is the registry's. `updated_at` in Unix seconds."""

    project_id: int
    id: int
    url: str
    updated_at: float


def upstreams_of(connection: Connection, names: Collection[str]) -> dict[str, UpstreamRow]:
    """The registries behind the proxy-cache projects among those of these names."""
    query = (
        select(projects.c.name, projects.c.id, registries.c.id, registries.c.url, registries.c.updated_at)
        .join(registries, registries.c.id == projects.c.registry_id)
        .where(projects.c.name.in_(names))
    )
    return {row[0]: UpstreamRow(*row[1:]) for row in connection.execute(query)}


class ProxyRow(NamedTuple):
    """A proxy-cache project, and the kind and URL of its registry."""

    project: str
    type: str
    url: str


def proxies(connection: Connection) -> list[ProxyRow]:
    """All proxy-cache projects, the oldest first."""
    query = (
        select(projects.c.name, registries.c.type, registries.c.url)
        .join(registries, registries.c.id == projects.c.registry_id)
        # Not by id: peers number the same projects differently.
        .order_by(projects.c.created_at, projects.c.name)
    )
    return [ProxyRow(*row) for row in connection.execute(query)]
