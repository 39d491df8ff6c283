"""What lets a site be active: the word of two of three, or, without a witness, of nobody.

With a witness there are three who can say "nobody else": this site itself, the witness, and the standby,
which may promise not to be promoted for as long as the lease. An active needs one of the other two, so that
either may be away; a promotion needs the witness's word *and* the end of this site's own promise.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any, Protocol

import structlog
from sqlalchemy import Connection, select, update

from seawall.availability.sites.state import ACTIVE
from seawall.availability.sites.view import SiteView
from seawall.availability.sites.wire import Peer
from seawall.infra.db import dialect, fence
from seawall.infra.db.tables import dr_state
from seawall.infra.secrets.tables import cluster_keys
from seawall.kernel.errors import SeawallError, UnavailableError

log: Any = structlog.get_logger("seawall.dr")


class SiteLease(Protocol):
    """The right to take writes, for a time or for good."""

    @property
    def alone(self) -> bool:
        """Whether nobody but the two sites can tell who is active."""

    @property
    def patience(self) -> float | None:
        """How long an active may wait for its peer (seconds); None: as long as for anything."""

    async def first(self) -> None:
        """Wait until a site that starts as active may write its first keys."""

    async def renew(self, row: dict[str, Any]) -> None:
        """Go on being active, where the others agree."""

    async def look(self) -> None:
        """Note how the witness is, without asking it for anything."""

    async def release(self, row: dict[str, Any]) -> None:
        """Say that this site has given way."""

    async def take(self, row: dict[str, Any], deadline: float, *, force: bool) -> float | None:
        """The lease of the epoch after that of `row`: how long it is good (seconds), None for good.

        Waits until `deadline` (monotonic) for the old one to end. Raises UnavailableError.
        """

    async def new(self, epoch: int) -> float | None:
        """The lease of `epoch`, at once. Raises UnavailableError."""

    async def close(self) -> None:
        """Close the connection to the witness."""


class WithoutWitness:
    """Writes are taken until the other site, or somebody, says otherwise."""

    alone = True
    patience = None

    async def first(self) -> None:
        """See SiteLease.first."""

    async def renew(self, row: dict[str, Any]) -> None:
        """See SiteLease.renew."""

    async def look(self) -> None:
        """See SiteLease.look."""

    async def release(self, row: dict[str, Any]) -> None:
        """See SiteLease.release."""

    async def take(self, row: dict[str, Any], deadline: float, *, force: bool) -> float | None:
        """See SiteLease.take."""
        return None

    async def new(self, epoch: int) -> float | None:
        """See SiteLease.new."""
        return None

    async def close(self) -> None:
        """See SiteLease.close."""


class Witnessed:
    """A lease that the witness gives; see the module text."""

    alone = False

    def __init__(self, view: SiteView, witness: Peer) -> None:
        self._view = view
        self._db = view.db
        self._settings = view.settings
        self._witness = witness

    @property
    def patience(self) -> float:
        """See SiteLease.patience."""
        # A peer that does not answer must not keep the lease from being renewed.
        return min(self._settings.timeout_seconds, self._settings.lease_seconds / 4)

    async def first(self) -> None:
        """See SiteLease.first."""
        # A site without keys cannot even start before it may write them.
        told = 0.0
        while True:
            row = await self._view.row()
            if row["role"] == ACTIVE:
                await self.renew(row)
            if await self._db.read(fence.open_now) or await self._db.read(has_keys):
                return
            if time.monotonic() - told > 30:
                told = time.monotonic()
                log.warning("the first start waits for the witness", witness=self._settings.witness)
            await asyncio.sleep(self._settings.poll_seconds)

    async def renew(self, row: dict[str, Any]) -> None:
        """See SiteLease.renew."""
        began = time.monotonic()
        granted = await self._granted(row["site"], row["epoch"])
        if not granted:
            return

        def extend(connection: Connection) -> None:
            left = self._good_for(began)
            connection.execute(
                update(dr_state)
                .where(dr_state.c.role == ACTIVE, dr_state.c.epoch == row["epoch"])
                .values(writable_until=dialect.clock(connection, began=True) + left)
            )

        await self._db.write(extend, durable=False)

    async def look(self) -> None:
        """See SiteLease.look."""
        try:
            await self._view.saw_witness(await self._witness.ask("witness/look", 2.0), None)
        except SeawallError as error:
            await self._view.saw_witness(None, str(error))

    async def release(self, row: dict[str, Any]) -> None:
        """See SiteLease.release."""
        with contextlib.suppress(SeawallError):
            await self._witness.ask("witness/release", 2.0, site=row["site"], epoch=row["epoch"])

    async def take(self, row: dict[str, Any], deadline: float, *, force: bool) -> float | None:
        """See SiteLease.take."""
        while True:
            now = await self._view.row()
            try:
                if now["promised_until"] <= now["now"]:
                    return await self.new(row["epoch"] + 1)
                error = "this site has promised the active not to be promoted yet"
            except UnavailableError as failure:
                error = str(failure)
                if force and not (await self._view.row())["witness"]["reachable"]:
                    return None
            if time.monotonic() > deadline:
                raise UnavailableError(error)
            await asyncio.sleep(min(1.0, self._settings.lease_seconds / 10))
            await self._view.lead(30)

    async def new(self, epoch: int) -> float:
        """See SiteLease.new."""
        began = time.monotonic()
        if not await self._granted(self._settings.site, epoch, take=True):
            witness = (await self._view.row())["witness"] or {}
            if witness.get("reachable"):
                raise UnavailableError(
                    f"the witness says that {witness.get('held_by') or 'a later epoch'} holds the lease"
                )
            raise UnavailableError("neither the witness nor the other site answers")
        return self._good_for(began)

    async def close(self) -> None:
        """See SiteLease.close."""
        await self._witness.close()

    def _good_for(self, began: float) -> float:
        # A quarter is for commits that are under way when the time is over.
        return self._settings.lease_seconds * 0.75 - (time.monotonic() - began)

    async def _granted(self, site: str, epoch: int, *, take: bool = False) -> bool:
        """Whether nobody else will be active for `lease_seconds` from now."""
        seconds = self._settings.lease_seconds
        # In half the time that is left, so that there is time to ask the peer instead.
        patience = max(0.5, min(self._settings.timeout_seconds, seconds / 6))
        try:
            verb = "witness/take" if take else "witness/renew"
            answer = await self._witness.ask(verb, patience, site=site, epoch=epoch, seconds=seconds)
            if not answer["granted"] and not take and int(answer["epoch"]) < epoch:
                answer = await self._witness.ask(
                    "witness/take", patience, site=site, epoch=epoch, seconds=seconds
                )
            await self._view.saw_witness(answer, None)
            if int(answer["epoch"]) > epoch:
                await self._view.learn_epoch(int(answer["epoch"]))
            granted: bool = answer["granted"]
            return granted
        except SeawallError as error:
            await self._view.saw_witness(None, str(error))
        try:
            return bool((await self._view.peer.ask("promise", epoch=epoch, seconds=seconds))["granted"])
        except SeawallError:
            return False


def has_keys(connection: Connection) -> bool:
    """Whether this site's cluster has keys already."""
    return connection.execute(select(cluster_keys.c.name).limit(1)).first() is not None
