"""The job that takes the name of a removed user out of the audit log and of what else keeps it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, or_, select, update

from seawall.access.erasure import Erasure
from seawall.access.users import find
from seawall.features.audit.tables import audit_log
from seawall.infra.db import Database
from seawall.infra.jobs.base import JobContext

_BATCH = 2000
# Kinds of resources whose entries say in a sentence whose they are.
_NAMING = ("member", "token", "login")
# Takes (connection, name, pseudonym) and writes the second for the first.
Eraser = Callable[[Connection, str, str], None]


class EraseUser:
    """Writes the pseudonym for the name; may run again, and then finds nothing."""

    def __init__(self, db: Database, erasure: Erasure, others: Sequence[Eraser]) -> None:
        """`others` do the same for tables of other features."""
        self._db = db
        self._erasure = erasure
        self._others = others

    async def run(self, context: JobContext, args: dict[str, Any]) -> int:
        """Returns how many entries of the audit log were changed."""
        name = self._erasure.name_in(args["user"])
        pseudonym = self._erasure.pseudonym(name)
        done = 0
        if self._erasure.delete_user:
            await self._db.write(lambda c: [erase(c, name, pseudonym) for erase in self._others])
        if self._erasure.audit_logs:
            last, at = 0, float(args["at"])
            while True:
                await context.checkpoint()
                changed, last = await self._db.write(
                    lambda c, after=last: _erase_entries(c, name, pseudonym, at, after)  # type: ignore[misc]
                )
                done += changed
                if not last:
                    break
        await context.log(f"{done} entries are {pseudonym}'s now")
        return done


def _erase_entries(
    connection: Connection, name: str, pseudonym: str, removed_at: float, after: int
) -> tuple[int, int]:
    """A batch of entries by the user and about it: how many were changed, and the last id, 0 at the end."""
    about = (audit_log.c.resource_type == "user") & (audit_log.c.resource == name)
    said = audit_log.c.description.contains(name, autoescape=True)
    named = audit_log.c.resource_type.in_(_NAMING) & said
    query = (
        select(audit_log.c.id, audit_log.c.username, audit_log.c.resource_type, audit_log.c.resource)
        .add_columns(audit_log.c.description)
        .where(or_(audit_log.c.username == name, about, named), audit_log.c.id > after)
        .order_by(audit_log.c.id)
    )
    if find(connection, None, name) is not None:
        # Somebody has the name now, and the entries since.
        query = query.where(audit_log.c.at <= removed_at)
    done = last = 0
    for row in connection.execute(query.limit(_BATCH)).all():
        last, values = row.id, {}
        if row.username == name:
            values["username"] = pseudonym
        if row.resource_type == "user" and row.resource == name:
            values["resource"] = pseudonym
        if row.resource_type in ("user", *_NAMING):
            values["description"] = _without(row.description, name, pseudonym)
            if values["description"] == row.description:
                del values["description"]
        if values:
            connection.execute(update(audit_log).where(audit_log.c.id == row.id).values(**values))
            done += 1
    return done, last


def _without(text: str, name: str, pseudonym: str) -> str:
    # The word, not a part of a longer name; a colon is in none.
    return re.sub(rf"(?<![^\s]){re.escape(name)}(?![^\s:])", pseudonym, text)
