"""Repositories whose content is still on its way from a peer (own-storage HA).

Until it is here, what nothing names may be named by what comes; so nobody judges by what such a repository
has now.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, exists, func, literal, select

from seawall.registry.tables import peer_pending, repositories

_KINDS = ("manifest", "tag")


def incoming(name: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether something of the repository called `name` is still to come."""
    # A pending entity's key is a JSON list that begins with the repository.
    start = func.substr(peer_pending.c.key, 1, func.length(name) + 4)
    return exists().where(peer_pending.c.kind.in_(_KINDS), start == literal('["') + name + literal('",'))


def incomplete(connection: Connection, repository_id: int) -> bool:
    """Whether something of the repository is still to come."""
    name = repositories.c.name
    query = select(name).where(repositories.c.id == repository_id, incoming(name))
    return connection.execute(query).first() is not None
