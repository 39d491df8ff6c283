"""What projects without a limit store more: rows of their own, which somebody adds up later.

All pushes of a project would wait for each other at its row of `quotas`, each for as long as a commit takes.
Where there is no limit nothing has to be compared, so a push only adds a row to `quota_changes`. What a
project stores is `used_storage` and the sum of these rows (`USED`). `fold` moves rows into `used_storage`.

A limit may come at any time. So the statement that adds a row shares a lock on the row of `quotas`
(FOR KEY SHARE, which neither `fold` nor a push to a project with a limit waits for), and adds nothing where
there is a limit. Who sets a limit, or wants to know the exact sum, locks the row FOR UPDATE: this waits for
all who add rows, and then takes in all rows (`take_in`). So a project with a limit has no rows here.

SQLite lets one transaction write at a time, so it adds to `used_storage` at once.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any

import structlog
from sqlalchemy import BigInteger, Connection, bindparam, cast, delete, func, insert, literal, select, update

from seawall.infra.db import Database
from seawall.kernel.errors import UnavailableError
from seawall.registry.tables import quota_changes, quotas

log: Any = structlog.get_logger("seawall.quotas")

# Seconds between looks for rows, with a random part so that instances do not meet; projects in a transaction.
_EVERY = 5
_PROJECTS = 50
# How long it is remembered that a project has a limit (seconds).
_REMEMBERED = 60.0

_rows = select(func.coalesce(func.sum(quota_changes.c.size), 0))
# Bytes that a project stores; for a query of `quotas`.
USED: Any = quotas.c.used_storage + cast(
    _rows.where(quota_changes.c.project_id == quotas.c.project_id).scalar_subquery(), BigInteger
)


class Limited:
    """Which projects have a limit, as far as this process knows: a guess that the statements check."""

    def __init__(self) -> None:
        # Until when it is believed (monotonic). A limit that is gone is found out by trying again.
        self._until: dict[int, float] = {}

    def __contains__(self, project_id: int) -> bool:
        until = self._until.get(project_id)
        return until is not None and time.monotonic() < until

    def learn(self, project_id: int, hard: int) -> None:
        """Remember what a project's limit is; negative: none."""
        if hard < 0:
            self._until.pop(project_id, None)
        else:
            self._until[project_id] = time.monotonic() + _REMEMBERED


def adding(new: Any) -> Any:
    """A query that adds a row of `new.size` bytes to project `b_project`, and gives how many rows it added.

    None for a project with a limit, or without a row of `quotas`.
    """
    unlimited = (
        select(quotas.c.project_id)
        .where(quotas.c.project_id == bindparam("b_project"), quotas.c.hard_storage < 0)
        .with_for_update(read=True, key_share=True)
        .cte("unlimited")
    )
    size = select(cast(new.c.size, BigInteger)).scalar_subquery()
    row = select(unlimited.c.project_id, size).where(size > 0)
    added = (
        insert(quota_changes)
        .from_select(["project_id", "size"], row)
        .returning(literal(1).label("one"))
        .cte("added")
    )
    return select(func.count()).select_from(added).scalar_subquery()


def take_in(connection: Connection, project_id: int) -> int:
    """Delete a project's rows, whose row of `quotas` is locked; returns their sum."""
    gone = delete(quota_changes).where(quota_changes.c.project_id == project_id)
    return sum(connection.execute(gone.returning(quota_changes.c.size)).scalars())


def fold(connection: Connection) -> int:
    """Add rows to `used_storage`; returns for how many projects. Those that somebody else changes wait."""
    # From one project id to the next by the index: a project may have many rows.
    waiting = select(quotas.c.project_id).where(
        select(literal(1)).where(quota_changes.c.project_id == quotas.c.project_id).exists()
    )
    query = waiting.order_by(quotas.c.project_id).limit(_PROJECTS)
    ids = connection.execute(query.with_for_update(key_share=True, skip_locked=True)).scalars().all()
    for project_id in ids:
        more = quotas.c.used_storage + take_in(connection, project_id)
        change = update(quotas).where(quotas.c.project_id == project_id)
        connection.execute(change.values(used_storage=more, updated_at=time.time()))
    return len(ids)


class Folding:
    """Folds the rows now and then, in every instance."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def run(self) -> None:
        """Do so until cancelled."""
        while True:
            await asyncio.sleep(_EVERY + secrets.randbelow(_EVERY * 1000) / 1000)
            try:
                while await self._db.read(_any) and await self._db.write(fold, durable=False) >= _PROJECTS:
                    pass
            except UnavailableError as error:
                # The database is away, or this is a standby: the rows stay what they are.
                log.debug("changes of quotas wait", reason=str(error))


def _any(connection: Connection) -> bool:
    return connection.execute(select(quota_changes.c.id).limit(1)).first() is not None


__all__ = ["USED", "Folding", "Limited", "adding", "fold", "take_in"]
