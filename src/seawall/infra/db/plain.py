"""Connections to PostgreSQL for commands; psycopg, which is of an extra, is imported at the first one."""

from __future__ import annotations

from sqlalchemy import Engine

from seawall.kernel.extras import need


def postgres_engine(url: str, pool_size: int) -> Engine:
    """A pooled engine without any of PostgreSQL's timeouts: for commands, which may take their time.

    Raises MissingExtraError without psycopg, ValueError when libpq cannot read the URL.
    """
    need("postgresql", "database.url with postgresql")
    from seawall.infra.db.connections import connection_info, pooled_engine
    from seawall.infra.db.hosts import Hosts

    return pooled_engine(Hosts(connection_info(url)), pool_size)
