"""Where the artifact at an ordinal is in a list by push time, without walking there.

`artifact_windows` has the number of listed artifacts of each kind in windows of 49 days, 4.5 hours and a
minute. Adding up at most 256 windows of each width leads to the minute in which the ordinal lies, whatever
the length of the list; within a minute there are as many artifacts as can be pushed in one.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, func, select

from seawall.registry.tables import artifact_windows as windows

# As in the triggers of migrations 0001 and 0018.
BITS = (22, 14, 6)
_SLOT = 64
_SLOTS = 16


def of_width(bits: int) -> ColumnElement[bool]:
    """The condition for rows of windows of 2**bits seconds, in all slots (see `tables.artifact_windows`)."""
    return windows.c.bits.in_([bits + _SLOT * slot for slot in range(_SLOTS)])


def count(connection: Connection, scope: tuple[str, int], kind: str | None = None) -> int:
    """How many listed artifacts ("repository_id", id) or ("project_id", id) has, of `kind` or of all."""
    query = select(func.coalesce(func.sum(windows.c.artifacts), 0)).where(
        windows.c.scope == scope[0], windows.c.scope_id == scope[1], of_width(BITS[0])
    )
    if kind is not None:
        query = query.where(windows.c.kind == kind)
    return int(connection.execute(query).scalar_one())


def locate(
    connection: Connection, scope: tuple[str, int], ordinal: int, kind: str | None = None
) -> tuple[float, int] | None:
    """(time, rest): the artifact at `ordinal`, newest first from 0, is the `rest`th of those before `time`.

    `time` is in Unix seconds, and exclusive. None when there are not so many.
    """
    low, high, found = 0, 0, None
    for bits in BITS:
        query = (
            select(windows.c.number, func.sum(windows.c.artifacts))
            .where(windows.c.scope == scope[0], windows.c.scope_id == scope[1], of_width(bits))
            .group_by(windows.c.number)
            .order_by(windows.c.number.desc())
        )
        if kind is not None:
            query = query.where(windows.c.kind == kind)
        if found is not None:
            query = query.where(windows.c.number >= low, windows.c.number < high)
        found = None
        for number, artifacts in connection.execute(query):
            if ordinal < artifacts:
                found = int(number)
                break
            ordinal -= int(artifacts)
        if found is None:
            return None
        step = bits - BITS[min(BITS.index(bits) + 1, len(BITS) - 1)]
        low, high = found << step, (found + 1) << step
    return float(high << BITS[-1]), ordinal
