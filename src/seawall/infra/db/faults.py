"""What an error of PostgreSQL or SQLite means, and what is done about it.

Source of the codes: PostgreSQL manual, appendix A; SQLite "Result and Error Codes".
"""

from __future__ import annotations

import re
import sqlite3
import sys
from enum import Enum
from typing import Any

from sqlalchemy import ExceptionContext
from sqlalchemy.exc import DatabaseError as StatementFailedError
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError

from seawall.kernel.errors import UnavailableError

# How the fence's triggers (`seawall.infra.db.fence`) refuse a write: PostgreSQL's code, and the text.
FENCE_STATE = "SWDR1"
FENCE_MESSAGE = "seawall-fence"


class Fault(Enum):
    """Classes of errors; the value is what operators read."""

    # The transaction did not happen and may succeed now: it is run again, then 503.
    CONFLICT = "transactions conflict"
    # The connection or its server is of no use: another one is made, the transaction is run again, then 503.
    LOST = "does not answer"
    # Nothing is broken, it only took too long: 503, the client comes again.
    BUSY = "is busy"
    # The server has no room: 503, the operator must act.
    FULL = "has no space or memory left"
    # The server refuses Seawall: 503 at once, the operator must act.
    REFUSED = "refuses access"
    # The server's disk or data are broken: 503, the operator must act.
    BROKEN = "is broken"
    # Another request did something meanwhile that excludes this one: 409.
    EXCLUDED = "conflicts with what another request did meanwhile"
    # A value that cannot be stored: 400.
    INVALID = "a value is out of range or has characters that cannot be stored"
    # Seawall's own: 500, with a trace in the log.
    BUG = "internal error"


# Two letters stand for a class, five for one code. A class that is not listed is a bug of Seawall's.
SQLSTATES: dict[str, Fault] = {
    "08": Fault.LOST,  # connection exception
    "22": Fault.INVALID,  # data exception
    "22012": Fault.BUG,  # division by zero
    "23001": Fault.EXCLUDED,  # restrict violation
    "23503": Fault.EXCLUDED,  # foreign key violation
    "23505": Fault.EXCLUDED,  # unique violation
    "23P01": Fault.EXCLUDED,  # exclusion violation
    "25006": Fault.LOST,  # read-only transaction: a failover left us on a standby
    "25P03": Fault.LOST,  # idle-in-transaction session timeout
    "25P04": Fault.BUSY,  # transaction timeout
    "26000": Fault.LOST,  # prepared statement of another session (a pooler in between)
    "28": Fault.REFUSED,  # invalid authorization
    "3D": Fault.REFUSED,  # database does not exist
    "3F": Fault.REFUSED,  # schema does not exist
    "40": Fault.CONFLICT,  # transaction rollback: serialization failure, deadlock
    "40002": Fault.EXCLUDED,  # integrity constraint, found at the end
    "40003": Fault.LOST,  # statement completion unknown
    "42501": Fault.REFUSED,  # insufficient privilege
    "53": Fault.FULL,  # insufficient resources: disk full, out of memory
    "53300": Fault.LOST,  # too many connections
    "54000": Fault.INVALID,  # program limit: a value too long for its index
    "55006": Fault.BUSY,  # object in use
    "55P03": Fault.BUSY,  # lock not available
    "57": Fault.BUSY,  # operator intervention
    "57014": Fault.BUSY,  # query canceled: a time-out, or an operator
    "57P01": Fault.LOST,  # admin shutdown
    "57P02": Fault.LOST,  # crash shutdown
    "57P03": Fault.LOST,  # cannot connect now
    "57P04": Fault.REFUSED,  # database dropped
    "57P05": Fault.LOST,  # idle session timeout
    "58": Fault.BROKEN,  # system error: I/O, files that are gone
    "72": Fault.CONFLICT,  # snapshot too old
    "F0": Fault.BROKEN,  # configuration file error
    "XX": Fault.BROKEN,  # internal error, data or index corrupted
}
# Errors of connecting carry no SQLSTATE, only the server's or libpq's text.
_REFUSED = re.compile(
    r"password authentication failed|database \".*\" does not exist|role \".*\" does not exist"
    r"|role \".*\" is not permitted to log in|permission denied for database"
    r"|database \".*\" is not currently accepting connections"
    r"|no pg_hba\.conf entry|certificate verify failed|server does not support SSL"
    r"|does not match host name|root certificate file|private key file|fe_sendauth|authentication failed"
)
_SQLITE: dict[int, Fault] = {
    sqlite3.SQLITE_PERM: Fault.REFUSED,
    sqlite3.SQLITE_BUSY: Fault.BUSY,
    sqlite3.SQLITE_LOCKED: Fault.BUSY,
    sqlite3.SQLITE_NOMEM: Fault.FULL,
    sqlite3.SQLITE_READONLY: Fault.REFUSED,
    sqlite3.SQLITE_INTERRUPT: Fault.BUSY,
    sqlite3.SQLITE_IOERR: Fault.BROKEN,
    sqlite3.SQLITE_CORRUPT: Fault.BROKEN,
    sqlite3.SQLITE_FULL: Fault.FULL,
    sqlite3.SQLITE_CANTOPEN: Fault.BROKEN,
    sqlite3.SQLITE_PROTOCOL: Fault.BUSY,
    sqlite3.SQLITE_TOOBIG: Fault.INVALID,
    sqlite3.SQLITE_NOTADB: Fault.BROKEN,
    sqlite3.SQLITE_MISMATCH: Fault.INVALID,
    sqlite3.SQLITE_AUTH: Fault.REFUSED,
}
# Extended codes (their low byte is the code above).
_SQLITE_EXCLUDED = {
    sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY,
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
    sqlite3.SQLITE_CONSTRAINT_UNIQUE,
    sqlite3.SQLITE_CONSTRAINT_ROWID,
}
# What a driver raises while it binds a parameter.
_UNSTORABLE = (OverflowError, UnicodeEncodeError, ValueError)
_TRANSIENT = frozenset({Fault.CONFLICT, Fault.LOST})
_SERVERS = frozenset({Fault.BUSY, Fault.FULL, Fault.REFUSED, Fault.BROKEN})


class DatabaseError(UnavailableError):
    """The database answered with an error that is not Seawall's; `fault` is its class.

    A write that ends with it has not been committed, unless the fault is BROKEN.
    """

    def __init__(self, fault: Fault, message: str) -> None:
        self.fault = fault
        super().__init__(message)


def is_fence(error: DBAPIError) -> bool:
    """Whether `error` is the fence's."""
    return getattr(error.orig, "sqlstate", None) == FENCE_STATE or str(error.orig) == FENCE_MESSAGE


def on_sqlite_error(context: ExceptionContext) -> StatementFailedError | None:
    """`without_constraint` for SQLAlchemy's `handle_error`."""
    return without_constraint(context.sqlalchemy_exception)


def without_constraint(error: BaseException | None) -> StatementFailedError | None:
    """The fence's error as one that `except IntegrityError` lets pass; None for another error.

    SQLite has one class of errors for what a trigger refuses and for what violates a constraint. Code that
    reads the latter as "another request has made it" would say so at a standby too.
    """
    if isinstance(error, IntegrityError) and is_fence(error):
        assert error.orig is not None
        return StatementFailedError(error.statement, error.params, error.orig)
    return None


def refused(error: BaseException) -> bool:
    """Whether a failure to connect is one that no waiting changes."""
    return _REFUSED.search(str(error)) is not None


def classify(error: BaseException) -> Fault:
    """The class of a DBAPIError, or of what else SQLAlchemy raises for a statement."""
    origin: Any = getattr(error, "orig", None) or error
    if isinstance(origin, sqlite3.Error):
        return _classify_sqlite(origin)
    state = getattr(origin, "sqlstate", None)
    if state is not None and str(state) not in ("", "00000"):
        # Prepared before a migration changed the table: a new connection prepares it again.
        if state == "0A000" and "cached plan" in str(origin):
            return Fault.LOST
        return SQLSTATES.get(state) or SQLSTATES.get(state[:2], Fault.BUG)
    if isinstance(origin, _of_psycopg("OperationalError")):
        return Fault.REFUSED if refused(origin) else Fault.LOST
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return Fault.LOST
    if isinstance(error, StatementError) and isinstance(origin, _UNSTORABLE):
        return Fault.INVALID
    # A value that the driver does not take, such as a text with a NUL.
    return Fault.INVALID if isinstance(origin, _of_psycopg("DataError")) else Fault.BUG


def _of_psycopg(name: str) -> Any:
    """An error class of psycopg's; no class where nothing has imported psycopg, which then raised nothing."""
    return getattr(sys.modules.get("psycopg"), name, ())


def _classify_sqlite(error: sqlite3.Error) -> Fault:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return Fault.BUG
    if code in _SQLITE_EXCLUDED:
        return Fault.EXCLUDED
    return _SQLITE.get(code & 0xFF, Fault.BUG)


def transient(error: DBAPIError) -> Fault | None:
    """CONFLICT or LOST where running the transaction again may help, else None."""
    found = classify(error)
    return found if found in _TRANSIENT else None


def told(error: DBAPIError) -> Exception:
    """What callers get for an error that is not met by another attempt.

    A fault of the server's becomes a DatabaseError. Everything else stays as it is: some callers expect an
    IntegrityError, and the doors answer 409 or 400 to what nobody expected.
    """
    found = classify(error)
    if found not in _SERVERS:
        return error
    lines = str(error.orig).strip().splitlines()
    reason = lines[0].partition("FATAL:")[2].strip() or lines[0] if lines else ""
    return DatabaseError(found, f"database {found.value}: {reason}")


def status(error: BaseException) -> tuple[int, str] | None:
    """(400 or 409, message) for an error of the database that a request caused; None for a bug."""
    if not isinstance(error, StatementError):
        return None
    found = classify(error)
    if found is Fault.EXCLUDED:
        return 409, found.value
    if found is Fault.INVALID:
        return 400, found.value
    return None


__all__ = ["SQLSTATES", "DatabaseError", "Fault", "classify", "status", "told", "transient"]
