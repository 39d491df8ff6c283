"""A user signs in for the first time, perhaps in several requests at once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from seawall.infra.db import Database
from seawall.infra.db.together import Also, nothing
from seawall.kernel.errors import ConflictError

T = TypeVar("T")
# The user, the groups and the memberships may each be added by somebody else between two looks.
_LOOKS = 5


async def admit(db: Database, work: Callable[[Connection], T], *, also: Also = nothing) -> T:
    """Run `work`, which looks for users and groups and adds those that are missing.

    A person's clients come at the same moment, and so do the members of a new group: what one has added
    since the other looked is found when the other looks again. Raises what `work` raises the last time.
    """
    for _ in range(_LOOKS - 1):
        with contextlib.suppress(IntegrityError, ConflictError):
            return await db.write(work, also=also)
    return await db.write(work, also=also)
