"""How the active site changes: commands of an operator, and what the two sites ask each other for it."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import structlog
from sqlalchemy import Connection, update

from seawall.availability.sites import state
from seawall.availability.sites.follow import Follower
from seawall.availability.sites.lease import SiteLease
from seawall.availability.sites.state import ACTIVE, FENCED, STANDBY
from seawall.availability.sites.view import SiteView
from seawall.infra.db import dialect
from seawall.infra.db.tables import dr_state
from seawall.infra.db.together import Also, nothing
from seawall.kernel.errors import PreconditionError, SeawallError, UnavailableError

log: Any = structlog.get_logger("seawall.dr")


class Switch:
    """Demotes and promotes this site."""

    def __init__(self, view: SiteView, lease: SiteLease, follower: Follower) -> None:
        self._view = view
        self._db = view.db
        self._settings = view.settings
        self._lease = lease
        self._follower = follower

    async def yield_to(self, epoch: int) -> dict[str, Any]:
        """The peer, in a planned switch, asks this site to take no more writes; returns `info`."""
        row = await self._db.write(lambda c: state.give_way(c, epoch))
        await self._lease.release(row)
        return await self._view.info()

    async def resume(self, epoch: int) -> None:
        """The switch has failed: this site, which gave way for it, goes on in its old epoch."""
        lease = await self._lease.new(epoch + 1)

        def reign_again(connection: Connection) -> None:
            state.lead(connection, self._view.id, steal=True)
            state.reign(connection, self._view.id, FENCED, epoch, lease=lease, keep_cursor=True, heed=False)
            state.let_go(connection, self._view.id)

        await self._db.write(reign_again)

    async def promise(self, epoch: int, seconds: float) -> bool:
        """Promise an active of `epoch` not to be promoted within `seconds`; whether it is given."""

        def store_promise(connection: Connection) -> bool:
            now = dialect.clock(connection)
            query = (
                update(dr_state)
                .where(dr_state.c.role != ACTIVE, dr_state.c.epoch <= epoch)
                .values(promised_until=now + min(seconds, 600.0))
            )
            return bool(connection.execute(query).rowcount)

        return await self._db.write(store_promise)

    async def demote(self, *, also: Also = nothing) -> dict[str, Any]:
        """The active takes no more writes; nobody does, until a site is promoted."""
        row = await self._view.row()
        if row["role"] != ACTIVE:
            raise PreconditionError(f"this site is {row['role']}, not active")
        row = await self._db.write(lambda c: state.give_way(c, row["epoch"]), also=also)
        await self._lease.release(row)
        return await self._view.status()

    async def failback(self, *, also: Also = nothing) -> dict[str, Any]:
        """A planned switch that loses nothing: this site becomes active, or, if it is, the other one."""
        row = await self._view.row()
        if row["role"] == ACTIVE:
            await self._view.peer.ask("promote", self._settings.switch_seconds + 30)
            with contextlib.suppress(SeawallError):
                await self._view.hello(await self._view.row())
            return await self._view.status()
        return await self.promote(planned=True, also=also)

    async def promote(
        self, *, force: bool = False, planned: bool = False, also: Also = nothing
    ) -> dict[str, Any]:
        """This site becomes the active one.

        While the peer answers it gives way first and is followed to its last change. Otherwise the witness
        must say that its lease has run out; `force` is the operator's word that the old active is stopped,
        and `planned` takes nothing but an answering peer. Raises PreconditionError with what is missing.
        """
        row = await self._view.row()
        if row["role"] == ACTIVE:
            raise PreconditionError("this site is the active one")
        seen: dict[str, Any] | None
        try:
            seen = await self._view.hello(row)
        except SeawallError as error:
            if planned or (not force and self._lease.alone):
                raise PreconditionError(
                    f"{error}; nothing is lost only if the other site is followed to its last change. If it "
                    "is stopped for good, promote with --force"
                ) from None
            seen = None
        try:
            if seen is None:
                return await self._promote_alone(force, also)
            return await self._promote_before(row, seen, force, also)
        finally:
            with contextlib.suppress(SeawallError):
                await self._db.write(lambda c: state.let_go(c, self._view.id))

    async def _promote_before(
        self, row: dict[str, Any], seen: dict[str, Any], force: bool, also: Also
    ) -> dict[str, Any]:
        if seen["role"] == ACTIVE and row["role"] == FENCED:
            raise PreconditionError(
                f"site {seen['site']} is active at epoch {seen['epoch']}; this one has not followed it yet"
            )
        if seen["role"] == STANDBY and row["role"] == STANDBY and not force:
            raise PreconditionError("both sites are standbys; the one that is further ahead needs --force")
        return await self._switch(row, seen, force, also)

    async def _switch(
        self, row: dict[str, Any], seen: dict[str, Any], force: bool, also: Also
    ) -> dict[str, Any]:
        await self._view.lead(30)
        if row["role"] == STANDBY and not row["complete"] and not force:
            raise PreconditionError("this site has not received everything yet; wait for the first sync")
        if seen["epoch"] < row["epoch"] and seen["role"] != STANDBY:
            raise PreconditionError(
                f"site {seen['site']} is of an older epoch; it must follow this one first"
            )
        deadline = time.monotonic() + self._settings.switch_seconds
        gave_way = False
        follow = row["role"] == STANDBY and self._settings.metadata == "followed"
        try:
            if follow and seen["role"] == ACTIVE:
                # Close first, so that few writes wait for the switch.
                row = await self._drain(row, deadline)
            if seen["role"] == ACTIVE:
                await self._view.peer.ask("demote", 15.0, epoch=seen["epoch"])
                gave_way = True
            if follow and seen["role"] != STANDBY:
                row = await self._drain(row, deadline)
            # The other site may become active at this moment too. A witness lets one of them; else
            # both have promised not to, and neither does.
            if self._lease.alone:
                word = await self._view.peer.ask("promise", epoch=row["epoch"] + 1, seconds=15.0)
                if not word["granted"]:
                    raise PreconditionError("the other site has become active; nothing is changed here")
            return await self._reign(row, deadline, also)
        except (SeawallError, OSError):
            # Only when it is sure that this site is not active.
            with contextlib.suppress(SeawallError):
                if gave_way and (await self._view.row())["role"] != ACTIVE:
                    await self._view.peer.ask("resume", epoch=seen["epoch"])
            raise

    async def _drain(self, row: dict[str, Any], deadline: float) -> dict[str, Any]:
        """Follow until a round has nothing new, or the time is over; returns the row."""
        while True:
            await self._view.lead(30)
            step = await self._follower.step(row, self._settings.timeout_seconds)
            row = await self._view.row()
            if row["cursor"] is not None and (step.rows < 200 or time.monotonic() > deadline):
                return row
            if time.monotonic() > deadline:
                raise UnavailableError("the switch took longer than dr.switch_seconds")

    async def _promote_alone(self, force: bool, also: Also) -> dict[str, Any]:
        await self._view.lead(60)
        row = await self._view.row()
        if not row["complete"] and not force:
            raise PreconditionError(
                "this site has never had everything that the active one has; --force promotes it all the same"
            )
        deadline = time.monotonic() + 2 * self._settings.lease_seconds + self._settings.timeout_seconds
        return await self._reign(row, deadline, also, force=force, after=state.reached(row))

    async def _reign(
        self, row: dict[str, Any], deadline: float, also: Also, *, force: bool = False, after: int = 0
    ) -> dict[str, Any]:
        """`after`: an epoch in which the other site may be active, and will have to give way."""
        last = max(row["epoch"], after)
        lease = await self._lease.take({**row, "epoch": last}, deadline, force=force)

        def take_over(connection: Connection) -> None:
            heed = lease is not None or not force
            state.reign(
                connection, self._view.id, row["role"], row["epoch"], lease=lease, heed=heed, after=after
            )

        await self._db.write(take_over, also=also)
        log.warning("this site is active", site=row["site"], epoch=last + 1)
        with contextlib.suppress(SeawallError):
            await self._view.hello(await self._view.row())
        return await self._view.status()
