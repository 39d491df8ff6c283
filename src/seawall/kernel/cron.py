"""Cron expressions as Harbor has them: six fields, seconds first, UTC."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from croniter import CroniterError, croniter

from seawall.kernel.errors import InvalidError


def _normal(expression: str) -> str:
    fields = expression.split()
    if len(fields) != 6:
        raise InvalidError(f"cron {expression!r}: six fields expected (seconds first), {len(fields)} given")
    # "?" means "no specific value" in the two day fields, which is what "*" does in the other one.
    for index in (3, 5):
        if fields[index] == "?":
            fields[index] = "*"
    return " ".join(fields)


def next_time(expression: str, after: float) -> float:
    """The first time after `after` (Unix seconds) that `expression` names.

    Raises InvalidError for a malformed expression and for one that never comes (30 February).
    """
    text = _normal(expression)
    try:
        cron = croniter(text, datetime.fromtimestamp(after, UTC), second_at_beginning=True)
        return float(cron.get_next(datetime).timestamp())
    except (CroniterError, ValueError, KeyError, OverflowError, AttributeError) as error:
        raise InvalidError(f"cron {expression!r}: {error}") from None


def six_fields(expression: str) -> str:
    """`expression` with seconds: the five fields of crontab(5) run at second 0."""
    fields = expression.split()
    return " ".join(["0", *fields] if len(fields) == 5 else fields)


def checked(expression: str) -> str:
    """`expression`, when it is well formed and names a time to come. Raises InvalidError."""
    next_time(expression, time.time())
    return expression
