"""Connections to PostgreSQL: their parameters, and the pools that keep them."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import QueuePool

from seawall.infra.db.hosts import Hosts

# How a vanished peer is found out (libpq "keepalives..."; seconds, tcp_user_timeout in milliseconds).
_CONNECTION = {
    "target_session_attrs": "read-write",
    "connect_timeout": "2",
    "keepalives": "1",
    "keepalives_idle": "2",
    "keepalives_interval": "1",
    "keepalives_count": "2",
    "tcp_user_timeout": "3000",
    "application_name": "seawall",
}
# The server's side of it. A transaction whose client vanished must not hold its locks for long. To compile a
# plan takes seconds, and no query runs for so long.
_SESSION = (
    "SET tcp_keepalives_idle = 2; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 2;"
    "SET tcp_user_timeout = 3000; SET jit = off"
)
# How much longer than statement_seconds an answer may take.
_GRACE_SECONDS = 10


def connection_info(url: str) -> str:
    """libpq's connection string for `url`, with what Seawall relies on filled in where it is not given.

    Raises ValueError when libpq cannot read the URL.
    """
    try:
        given = conninfo_to_dict(url)
    except psycopg.Error as error:
        raise ValueError(str(error).strip()) from None
    return make_conninfo("", **{**_CONNECTION, **{key: str(value) for key, value in given.items()}})


def pooled_engine(
    hosts: Hosts,
    pool_size: int,
    *,
    statement_seconds: int = 0,
    lock_seconds: int = 0,
    idle_seconds: int = 0,
    pool_seconds: float = 30,
    autocommit: bool = False,
) -> Engine:
    """A pooled engine; the `_seconds` are PostgreSQL's timeouts of that name, 0 for none.

    `autocommit`: the caller that takes a connection begins transactions itself (`WatchedConnection.begins`).
    """
    session = (
        f"{_SESSION}; SET statement_timeout = {statement_seconds * 1000};"
        f"SET lock_timeout = {lock_seconds * 1000};"
        f"SET idle_in_transaction_session_timeout = {idle_seconds * 1000}"
    )

    def connect() -> Any:
        connection = hosts.connect()
        try:
            # The server ends a statement by itself; the rest is for one that no longer can.
            connection.limit = statement_seconds + _GRACE_SECONDS if statement_seconds else 0
            connection.execute(session)
            connection.autocommit = autocommit
        except BaseException:
            connection.close()
            raise
        return connection

    # libpq's parser reads the URL (creator): SQLAlchemy's does not take lists of hosts with ports.
    return create_engine(
        "postgresql+psycopg://",
        creator=connect,
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=pool_seconds,
        pool_recycle=1800,
    )
