"""What the database layer measures. `pool`: read, write or check, as PostgreSQL's pools are divided."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from seawall.infra.telemetry import Counter, Gauge, Histogram
from seawall.kernel.errors import UnavailableError

_POOLS = [("read",), ("write",), ("check",)]

SECONDS = Histogram(
    "seawall_database_seconds",
    "Time of a transaction with the database, without the wait for a connection",
    ["pool"],
    known=_POOLS,
)
STATEMENTS = Histogram(
    "seawall_database_statement_seconds",
    "Time of statements by kind; commit includes the writes that are sent together with it",
    ["kind"],
    known=[("read",), ("write",), ("commit",)],
)
WAIT = Histogram(
    "seawall_database_wait_seconds", "Time that a transaction waited for a connection", ["pool"], known=_POOLS
)
USED = Gauge("seawall_database_connections_used", "Connections in use now", ["pool"], known=_POOLS)
LIMIT = Gauge("seawall_database_connections_limit", "Most connections of the pool", ["pool"], known=_POOLS)
ERRORS = Counter(
    "seawall_database_errors_total",
    "Transactions that could not reach the database, or waited too long for it",
    ["pool"],
    known=_POOLS,
)


_KINDS = {"SELECT": "read", "INSERT": "write", "UPDATE": "write", "DELETE": "write"}


def kind_of(query: object) -> str | None:
    """The kind of a statement for STATEMENTS; None: it is not measured."""
    if isinstance(query, bytes):
        query = query[:6].decode("latin-1")
    return _KINDS.get(query[:6]) if isinstance(query, str) else None


@contextlib.contextmanager
def using(pool: str) -> Iterator[None]:
    """Measure a transaction that has its connection."""
    USED.inc(pool)
    started = time.perf_counter()
    try:
        yield
    finally:
        USED.inc(pool, by=-1)
        SECONDS.observe(time.perf_counter() - started, pool)


@contextlib.contextmanager
def counting(pool: str) -> Iterator[None]:
    """Count a transaction that fails because of the database."""
    try:
        yield
    except UnavailableError:
        ERRORS.inc(pool)
        raise
