"""What a migration makes on the new side, and what it says of it afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from seawall.install.harbor_api import Api, ApiError

Say = Callable[[str], None]


@dataclass(slots=True)
class Outcome:
    """Counts by kind, and what could not be brought."""

    made: Counter[str] = field(default_factory=Counter)
    there: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The outcome as a JSON-able mapping."""
        return {
            "made": dict(self.made),
            "there": dict(self.there),
            "failed": self.failed,
            "notes": self.notes,
        }

    def describe(self) -> str:
        """What was done, one line a kind."""
        kinds = sorted({*self.made, *self.there})
        lines = [f"{kind}: {self.made[kind]} brought, {self.there[kind]} there already" for kind in kinds]
        lines += [f"note: {note}" for note in self.notes]
        if self.failed:
            lines.append(f"{len(self.failed)} could not be brought")
        return "\n".join(lines)


class Maker:
    """Asks `api` for what is missing there, and counts in `outcome` what came of it."""

    def __init__(self, api: Api, say: Say) -> None:
        self.api = api
        self.outcome = Outcome()
        self.say = say

    async def make(self, kind: str, name: str, path: str, body: Any) -> int | None:
        """POST; returns the new id, None when it is there already (409) or could not be made."""
        answer = await self.attempt(kind, name, "POST", path, body)
        if answer is None:
            return None
        self.outcome.made[kind] += 1
        identifier = answer.headers.get("location", "").rpartition("/")[2]
        return int(identifier) if identifier.isdigit() else None

    async def attempt(self, kind: str, name: str, method: str, path: str, body: Any) -> httpx.Response | None:
        """One call; None when it is there already, or failed. Raises ApiError when nobody answers."""
        try:
            return await self.api.call(method, path, body)
        except ApiError as error:
            if error.status == 409:
                self.outcome.there[kind] += 1
            elif error.status == 0:
                raise
            else:
                self.fail(f"{kind} {name}: {error}")
            return None

    def fail(self, text: str) -> None:
        """Note what could not be brought."""
        self.outcome.failed.append(text)
        self.say(f"failed: {text}")
