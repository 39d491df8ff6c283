"""Active-standby data centers: one of two sites takes writes, the other follows.

`DrService` is what the rest of the process knows of it. Inside a pair of sites, `view` is what a site knows,
`lease` what lets it be active, `lead` the work of the process that leads it, `switch` how the active changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import structlog
from sqlalchemy import Connection, select

from seawall.availability.sites import state
from seawall.availability.sites.follow import Follower
from seawall.availability.sites.lead import SiteWork
from seawall.availability.sites.lease import SiteLease, WithoutWitness, Witnessed, has_keys
from seawall.availability.sites.state import ACTIVE, OFF
from seawall.availability.sites.switch import Switch
from seawall.availability.sites.tables import dr_divergences
from seawall.availability.sites.view import NOT_IN_USE, STATUS_OFF, SiteView
from seawall.availability.sites.wire import Peer, Signer
from seawall.infra.db import Database, changes, dump, fence
from seawall.infra.db.together import Also, nothing
from seawall.infra.secrets.master import load_master_key, other_master_keys
from seawall.infra.secrets.tables import cluster_keys
from seawall.infra.settings import Settings
from seawall.infra.storage import BlobStorage
from seawall.kernel.errors import PreconditionError, SeawallError

log: Any = structlog.get_logger("seawall.dr")


class Pair:
    """This site as one of two."""

    def __init__(self, db: Database, storage: BlobStorage, settings: Settings) -> None:
        self.signer = Signer(load_master_key(settings), *other_master_keys(settings))
        # The settings refuse a site without a peer.
        self.peer = Peer(settings.dr.peer or "", self.signer, settings.dr)
        self.view = SiteView(db, self.peer, settings)
        self.lease: SiteLease = WithoutWitness()
        if settings.dr.witness:
            self.lease = Witnessed(self.view, Peer(settings.dr.witness, self.signer, settings.dr))
        follower = Follower(db, storage, self.peer, self.view.id)
        self.switch = Switch(self.view, self.lease, follower)
        self.work = SiteWork(self.view, self.lease, follower, storage, settings.database_url)
        self._db = db
        self._settings = settings.dr

    async def start(self) -> None:
        """See `DrService.start`."""
        await self._db.write(lambda c: state.begin(c, self._settings))
        row = await self.view.row()
        if row["role"] == ACTIVE:
            with contextlib.suppress(SeawallError):
                await self.view.hello(row)
            await self.lease.first()
        elif self._settings.metadata == "followed":
            await self._first_keys()

    async def _first_keys(self) -> None:
        # Keys that are here without a lineage were made by a command before this site had followed anybody.
        if (await self.view.row())["lineage"] and await self._db.read(has_keys):
            return
        told = 0.0
        while True:
            try:
                rows = await self.peer.ask("keys")
                break
            except SeawallError as error:
                if time.monotonic() - told > 30:
                    told = time.monotonic()
                    log.warning("a new standby waits for the active site's keys", error=str(error))
                await asyncio.sleep(self._settings.poll_seconds)
        values = [{k: dump.decode(v) for k, v in row.items()} for row in rows["rows"]]

        def put(connection: Connection) -> None:
            with fence.applying(connection), changes.unlogged(connection):
                connection.execute(cluster_keys.delete())
                connection.execute(cluster_keys.insert(), values)
            state.put(connection, lineage=rows["lineage"])

        await self._db.write(put)

    async def close(self) -> None:
        """Close connections to peer and witness."""
        await self.peer.close()
        await self.lease.close()


class DrService:
    """One process's part in it; without the section `dr` of the settings it says so, and does nothing."""

    def __init__(self, db: Database, storage: BlobStorage, settings: Settings) -> None:
        self.settings = settings.dr
        self._db = db
        self._pair = Pair(db, storage, settings) if settings.dr.site else None

    @property
    def enabled(self) -> bool:
        """Whether this is one of two sites."""
        return self._pair is not None

    @property
    def pair(self) -> Pair:
        """This site as one of two. Raises PreconditionError when it is not."""
        if self._pair is None:
            raise PreconditionError(NOT_IN_USE)
        return self._pair

    async def start(self) -> None:
        """At every start, before keys are made and the server listens; raises PreconditionError.

        A new standby gets the cluster's keys from the active, and waits for it as long as it takes; an
        active asks its peer whether it still is.
        """
        if self._pair is None:
            await self._db.write(state.end)
        else:
            await self._pair.start()

    async def close(self) -> None:
        """Close connections to peer and witness."""
        if self._pair is not None:
            await self._pair.close()

    async def status(self) -> dict[str, Any]:
        """See the API's model: role, site, epoch, peer, witness, lag, ..."""
        return dict(STATUS_OFF) if self._pair is None else await self._pair.view.status()

    async def divergences(self) -> list[dict[str, Any]]:
        """What was not carried over at switches, newest first."""
        query = select(dr_divergences).order_by(dr_divergences.c.at.desc(), dr_divergences.c.id)
        return await self._db.read(lambda c: [dict(row) for row in c.execute(query).mappings()])

    async def demote(self, *, also: Also = nothing) -> dict[str, Any]:
        """See Switch.demote."""
        return await self.pair.switch.demote(also=also)

    async def failback(self, *, also: Also = nothing) -> dict[str, Any]:
        """See Switch.failback."""
        return await self.pair.switch.failback(also=also)

    async def promote(self, *, force: bool = False, also: Also = nothing) -> dict[str, Any]:
        """See Switch.promote."""
        return await self.pair.switch.promote(force=force, also=also)

    async def writable(self) -> bool:
        """Whether this site takes writes now."""
        return self._pair is None or await self._db.point(fence.open_now)

    async def standing(self) -> tuple[str, str | None]:
        """(role, address of the active site where that is the other one and known)."""
        row = await self._db.read(state.read) if self.enabled else None
        if row is None:
            return OFF, None
        seen = row["peer"] or {}
        elsewhere = row["role"] != ACTIVE and seen.get("role") == ACTIVE
        return row["role"], (seen.get("external_url") or self.settings.peer) if elsewhere else None


async def prepare(db: Database, storage: BlobStorage, settings: Settings) -> bool:
    """See `DrService.start`; before a process makes keys. Whether the site takes writes."""
    dr = DrService(db, storage, settings)
    try:
        await dr.start()
        return await dr.writable()
    finally:
        await dr.close()
