"""The fence: a site that is not the active one takes no writes, no matter who tries.

Triggers on every table that belongs to the registry's content refuse a write unless `dr_state` says that this
site is active and, where a witness gives leases, that its lease has not run out. They are in the database, so
a process that still believes in an older role, a command and another instance are held alike; a cluster
without the section `dr` has no triggers and pays nothing.

On PostgreSQL each writing transaction holds a lock in shared mode until it ends, and a change of role takes
it exclusively: when `fence` has committed, everything written before is visible and nothing comes after. On
SQLite writers take turns anyway.

A follower writes inside `applying`. What a site writes on its own account stays possible: its instances,
logins, leases. The audit log of a standby drops what is said to it (pulls, logins).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sqlalchemy import (
    Connection,
    Integer,
    Table,
    inspect,
    literal_column,
    select,
    text,
    update,
)

from seawall.infra.db.batch import Later
from seawall.infra.db.dialect import clock
from seawall.infra.db.faults import FENCE_MESSAGE, FENCE_STATE
from seawall.infra.db.metadata import all_tables
from seawall.infra.db.tables import dr_state
from seawall.kernel.errors import StandbyError

_PREFIX = "seawall_fence_"
# Any number that no other user of the same PostgreSQL database picks (see infra/db/migrate.py).
_LOCK = 0x5EA3A12
_SQLITE_NOW = "(julianday('now') - 2440587.5) * 86400.0"
_CLOSED = "(role <> 'active' OR writable_until < {now})"


def tables() -> list[Table]:
    """The tables that are fenced."""
    return [table for table in all_tables() if table.info.get("fenced", True)]


def install(connection: Connection) -> None:
    """Put the triggers on every table that lacks them; to be called at every start, after migrations."""
    if connection.dialect.name == "postgresql":
        _install_postgresql(connection)
        return
    query = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    known = set(connection.exec_driver_sql(query).scalars())
    closed = _CLOSED.format(now=_SQLITE_NOW)
    for table in tables():
        refuse = f"RAISE(ABORT, '{FENCE_MESSAGE}')"
        if table.info.get("fenced") == "quiet":
            refuse = f"CASE WHEN (SELECT role FROM dr_state) <> 'active' THEN RAISE(IGNORE) ELSE {refuse} END"  # noqa: S608
        for operation in ("insert", "update", "delete"):
            name = f"{_PREFIX}{table.name}_{operation}"
            if name not in known:
                connection.exec_driver_sql(
                    f'CREATE TRIGGER "{name}" BEFORE {operation.upper()} ON "{table.name}" '  # noqa: S608
                    f"WHEN EXISTS (SELECT 1 FROM dr_state WHERE NOT applying AND {closed}) "
                    f"BEGIN SELECT {refuse}; END"
                )


def _install_postgresql(connection: Connection) -> None:
    closed = _CLOSED.format(now="extract(epoch FROM clock_timestamp())")
    for name, quiet in (("seawall_fence", False), ("seawall_fence_quiet", True)):
        drop = "IF (SELECT role FROM dr_state) <> 'active' THEN RETURN NULL; END IF; " if quiet else ""
        connection.exec_driver_sql(
            f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN "  # noqa: S608
            "IF coalesce(current_setting('seawall.applying', true), '') <> 'on' THEN "
            f"PERFORM pg_advisory_xact_lock_shared({_LOCK}); "
            f"IF EXISTS (SELECT 1 FROM dr_state WHERE {closed}) THEN {drop}"
            f"RAISE EXCEPTION '{FENCE_MESSAGE}' USING ERRCODE = '{FENCE_STATE}'; END IF; "
            "PERFORM set_config('seawall.checked', 'on', true); END IF; "
            "IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; END $body$"
        )
    query = (
        "SELECT tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid "
        "WHERE NOT tgisinternal AND pg_table_is_visible(pg_class.oid)"
    )
    known = set(connection.exec_driver_sql(query).scalars())
    for table in tables():
        name = f"{_PREFIX}{table.name}"
        if name not in known:
            function = "seawall_fence_quiet" if table.info.get("fenced") == "quiet" else "seawall_fence"
            connection.exec_driver_sql(
                f'CREATE TRIGGER "{name}" BEFORE INSERT OR UPDATE OR DELETE ON "{table.name}" '
                f"FOR EACH ROW EXECUTE FUNCTION {function}()"
            )


@contextlib.contextmanager
def applying(connection: Connection) -> Iterator[None]:
    """Inside the block this transaction may write on a standby: for the follower."""
    _let(connection, True)
    try:
        yield
    except BaseException:
        # The transaction is rolled back, and with it the switch.
        raise
    else:
        _let(connection, False)


def _let(connection: Connection, on: bool) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(
            text("SELECT set_config('seawall.applying', :value, true)"), {"value": "on" if on else "off"}
        )
    else:
        connection.execute(update(dr_state).values(applying=on))


def exclusive(connection: Connection) -> None:
    """Wait for the writing transactions under way and hold new ones until this transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _LOCK})


def open_now(connection: Connection) -> bool:
    """Whether this site takes writes now."""
    row = connection.execute(
        select(dr_state.c.role, dr_state.c.writable_until, clock(connection).label("now"))
    ).first()
    return row is None or (
        row.role == "active" and (row.writable_until is None or row.writable_until >= row.now)
    )


def check(connection: Connection) -> None:
    """Raise StandbyError when this site does not take writes now: before work outside the database."""
    if not open_now(connection):
        raise refusal(connection)


_STILL = (
    "CASE WHEN coalesce(current_setting('seawall.checked', true), '') = 'on' AND EXISTS "  # noqa: S608
    f"(SELECT 1 FROM dr_state WHERE {_CLOSED.format(now='extract(epoch FROM clock_timestamp())')})"
    " THEN 0 ELSE 1 END"
)


class ClosedError(Exception):
    """The lease ran out since the transaction's first write."""


def still_open() -> Later:
    """PostgreSQL: for the end of a transaction, which fails with ClosedError when the lease has run out."""
    return Later(select(literal_column(_STILL, Integer)), otherwise=ClosedError())


def refusal(connection: Connection) -> StandbyError:
    """The error to tell, with the address of the active where it is known."""
    if not inspect(connection).has_table(dr_state.name):
        return StandbyError("this site takes no writes")
    row = connection.execute(select(dr_state.c.role, dr_state.c.peer)).first()
    peer = (row.peer if row is not None else None) or {}
    active = peer.get("external_url") if peer.get("role") == "active" else None
    where = f"; writes go to {active}" if active else ""
    if row is None or row.role == "standby":
        return StandbyError(f"this site is a standby and takes no writes{where}")
    if row.role == "fenced":
        return StandbyError(f"this site was the active one and takes no more writes{where}")
    return StandbyError(
        "this site's lease has run out; it takes no writes until the witness renews it", lasting=False
    )
