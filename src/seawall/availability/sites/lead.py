"""The work of the process that leads a site.

An active renews its lease and watches for a higher epoch, a standby follows, a fenced site hands over what it
had and becomes a standby.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import structlog
from sqlalchemy import update

from seawall.availability.sites import state
from seawall.availability.sites.follow import Follower
from seawall.availability.sites.lease import SiteLease
from seawall.availability.sites.rescue import Rescue
from seawall.availability.sites.state import ACTIVE, FENCED, STANDBY
from seawall.availability.sites.view import SiteView
from seawall.infra.db import changes
from seawall.infra.db.tables import dr_state
from seawall.infra.storage import BlobStorage
from seawall.kernel.errors import PreconditionError, SeawallError, UnavailableError
from seawall.registry import receipts

log: Any = structlog.get_logger("seawall.dr")

_SWEEP_SECONDS = 60.0
_FORGET_SECONDS = 600.0
_LOOK_SECONDS = 5.0


class SiteWork:
    """What one process of a site does while it leads."""

    def __init__(
        self,
        view: SiteView,
        lease: SiteLease,
        follower: Follower,
        storage: BlobStorage,
        database_url: str,
    ) -> None:
        self._view = view
        self._db = view.db
        self._settings = view.settings
        self._lease = lease
        self._follower = follower
        self._storage = storage
        self._database_url = database_url
        self._swept = self._forgot = time.monotonic()
        self._looked = 0.0

    async def run(self) -> None:
        """Lead the site's work, or stand by to; until cancelled."""
        while True:
            pause = self._settings.poll_seconds
            try:
                if await self._db.write(lambda c: state.lead(c, self._view.id), durable=False):
                    pause = await self._turn()
                else:
                    pause = 1.0
            except asyncio.CancelledError:
                raise
            except SeawallError as error:
                await self._note(str(error))
            except Exception as error:
                log.exception("the standby failed to follow the active site")
                await self._note(f"{type(error).__name__}: {error}"[:500])
            await asyncio.sleep(pause)

    async def _note(self, error: str) -> None:
        with contextlib.suppress(SeawallError):
            await self._db.write(
                lambda c: c.execute(
                    update(dr_state).where(dr_state.c.leader == self._view.id).values(error=error[:1000])
                ),
                durable=False,
            )
            await self._measure()

    async def _turn(self) -> float:
        """One round of what the site's role asks for; returns the pause after it (seconds)."""
        row = await self._view.row()
        if row["role"] == ACTIVE:
            await self._active(row)
            pause = min(self._settings.poll_seconds * 2, self._settings.lease_seconds / 5)
        elif row["role"] == STANDBY:
            await self._standby(row)
            pause = self._settings.poll_seconds
        else:
            await self._fenced(row)
            pause = self._settings.poll_seconds
        await self._measure()
        return pause

    async def _active(self, row: dict[str, Any]) -> None:
        await self._lease.renew(row)
        with contextlib.suppress(UnavailableError):
            await self._view.hello(row, self._lease.patience)
        if row["error"]:
            await self._db.write(lambda c: state.put(c, error=None), durable=False)
        if self._settings.metadata == "followed" and time.monotonic() - self._forgot > _FORGET_SECONDS:
            self._forgot = time.monotonic()
            keep = self._settings.keep_hours * 3600
            await self._db.write(lambda c: changes.forget(c, keep))

    async def _standby(self, row: dict[str, Any]) -> None:
        if self._settings.metadata == "external":
            await self._view.hello(row)
            return
        seen = row["peer"] or {}
        if not seen.get("reachable") or row["error"] or not row["complete"]:
            seen = await self._view.hello(row)
        if row["cursor"] is None:
            await self._db.write(lambda c: state.put(c, syncing="snapshot"), durable=False)
        beat = asyncio.create_task(self._keep())
        try:
            await self._follower.step(row, self._settings.timeout_seconds)
        except UnavailableError:
            await self._view.see({**seen, "reachable": False})
            raise
        except PreconditionError:
            await self._db.write(lambda c: state.put(c, syncing="paused"), durable=False)
            raise
        finally:
            beat.cancel()
        if time.monotonic() - self._swept > _SWEEP_SECONDS:
            self._swept = time.monotonic()
            await self._follower.sweep()
        if seen.get("epoch") != row["epoch"] or time.monotonic() - self._looked > _LOOK_SECONDS:
            self._looked = time.monotonic()
            await self._view.hello(row)
            await self._lease.look()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(state.LEADER_SECONDS / 3)
            with contextlib.suppress(SeawallError):
                await self._db.write(lambda c: state.lead(c, self._view.id), durable=False)

    async def _fenced(self, row: dict[str, Any]) -> None:
        seen = await self._view.hello(row)
        if seen["role"] != ACTIVE or seen["epoch"] <= row["epoch"]:
            return
        if self._settings.metadata == "followed":
            if seen["lineage"] != row["lineage"]:
                raise PreconditionError(
                    "the other site is another registry: the two were not made as one pair"
                )
            await Rescue(self._database_url, self._view.peer, self._settings.site).run(seen)
            # All that the other site does not have is in its list of left-overs now.
            await receipts.forget(self._storage)
        alone = self._lease.alone
        await self._db.write(lambda c: state.follower(c, self._view.id, row["epoch"], kept=alone))
        log.info("this site follows the new active", site=row["site"], active=seen["site"])

    async def _measure(self) -> None:
        # Imported late: a server tells the library first where its processes meet.
        from seawall.availability.sites.metrics import BEHIND, EPOCH, LAG, ROLE

        told = await self._view.status()
        for role in (ACTIVE, STANDBY, FENCED):
            ROLE.labels(role).set(told["role"] == role)
        EPOCH.set(told["epoch"])
        LAG.set(told["lag_seconds"] or 0)
        BEHIND.set(told["behind_changes"] or 0)
