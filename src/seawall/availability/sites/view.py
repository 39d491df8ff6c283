"""What a site knows of itself, of the other one and of the witness, and what it says of that."""

from __future__ import annotations

import secrets
import time
from typing import Any

import structlog
from sqlalchemy import update

from seawall.availability.sites import state
from seawall.availability.sites.state import ACTIVE, FENCED, OFF, STANDBY
from seawall.availability.sites.wire import Peer
from seawall.infra.db import Database, migrate
from seawall.infra.db.tables import dr_state
from seawall.infra.settings import Settings
from seawall.kernel.errors import PreconditionError, SeawallError

log: Any = structlog.get_logger("seawall.dr")

NOT_IN_USE = "the section dr is not in use at this site; set dr.site and dr.peer"
STATUS_OFF: dict[str, Any] = {
    "role": OFF,
    "site": "",
    "epoch": 0,
    "writable": True,
    "peer": None,
    "witness": None,
    "lag_seconds": None,
    "behind_changes": None,
    "last_applied_at": None,
    "syncing": None,
    "error": None,
    "divergences": 0,
    "can": [],
}
_STALLED_SECONDS = 10.0


class SiteView:
    """One process's view. `id` names the process where one of a site leads its work."""

    def __init__(self, db: Database, peer: Peer, settings: Settings) -> None:
        self.settings = settings.dr
        self.db = db
        self.peer = peer
        self.id = secrets.token_hex(16)
        self._external_url = settings.external_url or ""

    async def row(self) -> dict[str, Any]:
        """What this site's database says of it. Raises PreconditionError when it is of no pair."""
        row = await self.db.read(state.read)
        if row is None:
            raise PreconditionError(NOT_IN_USE)
        return row

    async def info(self, row: dict[str, Any] | None = None) -> dict[str, Any]:
        """What this site says of itself."""
        row = row or await self.row()
        return {
            "site": row["site"],
            "role": row["role"],
            "epoch": row["epoch"],
            "lineage": row["lineage"],
            "external_url": self._external_url,
            "base": row["base"],
            "complete": row["complete"],
            "lag": lag(row),
            "behind": None if self.stalled(row) else row["behind"],
            "revision": await self.db.read(migrate.current),
        }

    async def hello(self, row: dict[str, Any], timeout: float | None = None) -> dict[str, Any]:
        """Exchange that with the peer; both sides draw their conclusions. Returns the peer's.

        Raises UnavailableError, PreconditionError.
        """
        try:
            seen = await self.peer.ask("hello", timeout, **(await self.info(row)))
        except SeawallError as error:
            await self.see({**(row["peer"] or {}), "reachable": False, "error": str(error)})
            raise
        await self.learn(seen)
        return seen

    async def learn(self, seen: dict[str, Any]) -> None:
        """Take note of what the peer says of itself; an active that learns of a higher epoch gives way."""
        row = await self.row()
        known = {
            key: seen.get(key)
            for key in ("site", "role", "epoch", "external_url", "lag", "behind", "complete", "lineage")
        }
        if known["site"] == row["site"]:
            raise PreconditionError(f"both sites are named {row['site']}; give each its own dr.site")
        await self.see({**known, "reachable": True, "error": None})
        if row["lineage"] and known["lineage"] and known["lineage"] != row["lineage"]:
            raise PreconditionError(
                "the other site is another registry: both were started as active; a new pair is made by an "
                "empty site with dr.start_as standby"
            )
        if int(seen["epoch"]) > row["epoch"]:
            await self.learn_epoch(int(seen["epoch"]))

    async def learn_epoch(self, epoch: int) -> None:
        """Somebody is at `epoch`: an active of an older one gives way."""
        row = await self.row()
        if row["role"] == ACTIVE and epoch > row["epoch"]:
            log.warning("another site is active; this one takes no more writes", epoch=epoch)
            await self.db.write(state.give_way)

    async def see(self, peer: dict[str, Any]) -> None:
        """Note what is known of the other site."""
        await self.db.write(lambda c: state.put(c, peer=peer), durable=False)

    async def saw_witness(self, answer: dict[str, Any] | None, error: str | None) -> None:
        """Note what the witness said, or why it did not (`error`)."""
        seen = {"reachable": answer is not None, "held_by": answer and answer["held_by"], "error": error}
        await self.db.write(lambda c: c.execute(update(dr_state).values(witness=seen)), durable=False)

    async def lead(self, seconds: float) -> None:
        """Take the lead of this site's work from whichever process has it."""
        await self.db.write(lambda c: state.lead(c, self.id, seconds=seconds, steal=True))

    def stalled(self, row: dict[str, Any]) -> str | None:
        """Why the row's word on a standby is old; None while it is not.

        A standby that cannot write, because its disk is full, cannot note that either: it shows in the time
        at which it last did.
        """
        age = lag(row)
        limit = _STALLED_SECONDS + 2 * (self.settings.poll_seconds + self.settings.timeout_seconds)
        if row["role"] != STANDBY or not row["complete"] or age is None or age <= limit:
            return None
        writing = self.db.writing()
        why = "" if writing == "ok" else f"; writing to this site's database: {writing}"
        return f"nothing was applied for {age:.0f} s{why}"

    async def status(self) -> dict[str, Any]:
        """See the API's model: role, site, epoch, peer, witness, lag, ..."""
        row = await self.db.read(state.read)
        if row is None:
            return dict(STATUS_OFF)
        seen, witness = row["peer"] or {}, row["witness"] or {}
        stalled = self.stalled(row)
        active = row["role"] == ACTIVE
        can = {ACTIVE: ["demote", "failback"], STANDBY: ["promote", "failback"], FENCED: ["promote"]}
        return {
            "role": row["role"],
            "site": row["site"],
            "epoch": row["epoch"],
            "writable": active and (row["writable_until"] is None or row["writable_until"] >= row["now"]),
            "peer": {
                "url": self.settings.peer,
                "site": seen.get("site"),
                "role": seen.get("role"),
                "epoch": seen.get("epoch"),
                "reachable": bool(seen.get("reachable")),
            },
            "witness": {
                "url": self.settings.witness,
                "reachable": bool(witness.get("reachable")),
                "held_by": witness.get("held_by"),
            }
            if self.settings.witness
            else None,
            "lag_seconds": (seen.get("lag") if seen.get("role") == STANDBY else None) if active else lag(row),
            "behind_changes": seen.get("behind") if active else None if stalled else row["behind"],
            "last_applied_at": row["applied_at"],
            "syncing": row["syncing"] if row["role"] == STANDBY else None,
            "error": row["error"] or stalled,
            "divergences": await self.db.read(state.divergences),
            "can": can[row["role"]],
        }


def lag(row: dict[str, Any]) -> float | None:
    """How old a standby's content is (seconds); None where nothing is followed."""
    if row["role"] != STANDBY or row["synced_at"] is None:
        return None
    return round(max(0.0, time.time() - float(row["synced_at"])), 3)
