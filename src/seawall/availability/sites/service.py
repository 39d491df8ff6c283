"""The two sites' understanding of who is active, and the work of the process that leads a site.

Every server process runs `DrService.run`; one of a site leads (a lease in its database) and does the work: an
active renews its lease with the witness and watches for a higher epoch, a standby follows, a fenced site
hands over what it had and becomes a standby. Commands and the API use `status`, `promote`, `demote`,
`failback`.

With a witness there are three who can say "nobody else": this site itself, the witness, and the standby,
which may promise not to be promoted for as long as the lease. An active needs one of the other two, so that
either may be away; a promotion needs the witness's word *and* the end of this site's own promise.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from typing import Any

import structlog
from sqlalchemy import Connection, select, update

from seawall.availability.sites import state
from seawall.availability.sites.follow import Follower
from seawall.availability.sites.rescue import Rescue
from seawall.availability.sites.state import ACTIVE, FENCED, OFF, STANDBY
from seawall.availability.sites.tables import dr_divergences
from seawall.availability.sites.wire import Peer, Signer
from seawall.infra.db import Database, changes, dialect, dump, fence, migrate
from seawall.infra.db.tables import dr_state
from seawall.infra.db.together import Also, nothing
from seawall.infra.secrets.master import load_master_key, other_master_keys
from seawall.infra.secrets.tables import cluster_keys
from seawall.infra.settings import Settings
from seawall.infra.storage import BlobStorage
from seawall.kernel.errors import PreconditionError, SeawallError, UnavailableError

log: Any = structlog.get_logger("seawall.dr")

_SWEEP_SECONDS = 60.0
_STALLED_SECONDS = 10.0
_FORGET_SECONDS = 600.0
_LOOK_SECONDS = 5.0


class DrService:
    """One process's view; see the module text."""

    def __init__(self, db: Database, storage: BlobStorage, settings: Settings) -> None:
        self.settings = settings.dr
        self.enabled = bool(settings.dr.site)
        self._db = db
        self._storage = storage
        self._external_url = settings.external_url or ""
        self._url = settings.database_url
        self.id = secrets.token_hex(16)
        self._swept = self._forgot = time.monotonic()
        self._looked = 0.0
        self.signer: Signer | None = None
        self.peer: Peer | None = None
        self._witness: Peer | None = None
        if self.enabled:
            self.signer = Signer(load_master_key(settings), *other_master_keys(settings))
            assert self.settings.peer is not None
            self.peer = Peer(self.settings.peer, self.signer, self.settings)
            if self.settings.witness:
                self._witness = Peer(self.settings.witness, self.signer, self.settings)

    async def close(self) -> None:
        """Close connections to peer and witness."""
        for item in (self.peer, self._witness):
            if item is not None:
                await item.close()

    # -- before anything else ------------------------------------------------------------------------

    async def start(self) -> None:
        """At every start, before keys are made and the server listens; raises PreconditionError.

        A new standby gets the cluster's keys from the active, and waits for it as long as it takes; an
        active asks its peer whether it still is.
        """
        if not self.enabled:
            await self._db.write(state.end)
            return
        await self._db.write(lambda c: state.begin(c, self.settings))
        row = await self._row()
        if row["role"] == ACTIVE:
            with contextlib.suppress(SeawallError):
                await self.hello(row)
            if self._witness is not None:
                await self._first_lease()
        elif self.settings.metadata == "followed":
            await self._first_keys()

    async def _first_lease(self) -> None:
        # A site without keys cannot even start before it may write them.
        told = 0.0
        while True:
            row = await self._row()
            if row["role"] == ACTIVE:
                await self._renew(row)
            if await self._db.read(fence.open_now) or await self._db.read(_has_keys):
                return
            if time.monotonic() - told > 30:
                told = time.monotonic()
                log.warning("the first start waits for the witness", witness=self.settings.witness)
            await asyncio.sleep(self.settings.poll_seconds)

    async def _first_keys(self) -> None:
        # Keys that are here without a lineage were made by a command before this site had followed anybody.
        if (await self._row())["lineage"] and await self._db.read(_has_keys):
            return
        assert self.peer is not None
        told = 0.0
        while True:
            try:
                rows = await self.peer.ask("keys")
                break
            except SeawallError as error:
                if time.monotonic() - told > 30:
                    told = time.monotonic()
                    log.warning("a new standby waits for the active site's keys", error=str(error))
                await asyncio.sleep(self.settings.poll_seconds)
        values = [{k: dump.decode(v) for k, v in row.items()} for row in rows["rows"]]

        def put(connection: Connection) -> None:
            with fence.applying(connection), changes.unlogged(connection):
                connection.execute(cluster_keys.delete())
                connection.execute(cluster_keys.insert(), values)
            state.put(connection, lineage=rows["lineage"])

        await self._db.write(put)

    # -- the leading process's work --------------------------------------------------------------------

    async def run(self) -> None:
        """Lead the site's work, or stand by to; until cancelled."""
        while True:
            pause = self.settings.poll_seconds
            try:
                if await self._db.write(lambda c: state.lead(c, self.id), durable=False):
                    pause = await self.turn()
                else:
                    pause = 1.0
            except asyncio.CancelledError:
                raise
            except SeawallError as error:
                await self._note(str(error))
            except Exception as error:
                log.exception("following failed")
                await self._note(f"{type(error).__name__}: {error}"[:500])
            await asyncio.sleep(pause)

    async def _note(self, error: str) -> None:
        with contextlib.suppress(SeawallError):
            await self._db.write(
                lambda c: c.execute(
                    update(dr_state).where(dr_state.c.leader == self.id).values(error=error[:1000])
                ),
                durable=False,
            )
            await self._measure()

    async def turn(self) -> float:
        """One round of what the site's role asks for; returns the pause after it (seconds)."""
        row = await self._row()
        if row["role"] == ACTIVE:
            await self._active(row)
            pause = min(self.settings.poll_seconds * 2, self.settings.lease_seconds / 5)
        elif row["role"] == STANDBY:
            await self._standby(row)
            pause = self.settings.poll_seconds
        else:
            await self._fenced(row)
            pause = self.settings.poll_seconds
        await self._measure()
        return pause

    async def _active(self, row: dict[str, Any]) -> None:
        if self._witness is not None:
            await self._renew(row)
        # A peer that does not answer must not keep the lease from being renewed.
        patience = min(self.settings.timeout_seconds, self.settings.lease_seconds / 4)
        with contextlib.suppress(UnavailableError):
            await self.hello(row, patience if self._witness is not None else None)
        if row["error"]:
            await self._db.write(lambda c: state.put(c, error=None), durable=False)
        if self.settings.metadata == "followed" and time.monotonic() - self._forgot > _FORGET_SECONDS:
            self._forgot = time.monotonic()
            keep = self.settings.keep_hours * 3600
            await self._db.write(lambda c: changes.forget(c, keep))

    async def _renew(self, row: dict[str, Any]) -> None:
        began = time.monotonic()
        granted = await self._lease(row["site"], row["epoch"])
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

    def _good_for(self, began: float) -> float:
        # A quarter is for commits that are under way when the time is over.
        return self.settings.lease_seconds * 0.75 - (time.monotonic() - began)

    async def _lease(self, site: str, epoch: int, *, take: bool = False) -> bool:
        """Whether nobody else will be active for `lease_seconds` from now."""
        seconds = self.settings.lease_seconds
        if self._witness is not None:
            # In half the time that is left, so that there is time to ask the peer instead.
            patience = max(0.5, min(self.settings.timeout_seconds, seconds / 6))
            try:
                verb = "witness/take" if take else "witness/renew"
                answer = await self._witness.ask(verb, patience, site=site, epoch=epoch, seconds=seconds)
                if not answer["granted"] and not take and int(answer["epoch"]) < epoch:
                    answer = await self._witness.ask(
                        "witness/take", patience, site=site, epoch=epoch, seconds=seconds
                    )
                await self._saw_witness(answer, None)
                if int(answer["epoch"]) > epoch:
                    await self.learn_epoch(int(answer["epoch"]))
                granted: bool = answer["granted"]
                return granted
            except SeawallError as error:
                await self._saw_witness(None, str(error))
        assert self.peer is not None
        try:
            return bool((await self.peer.ask("promise", epoch=epoch, seconds=seconds))["granted"])
        except SeawallError:
            return False

    async def _saw_witness(self, answer: dict[str, Any] | None, error: str | None) -> None:
        seen = {"reachable": answer is not None, "held_by": answer and answer["held_by"], "error": error}
        await self._db.write(lambda c: c.execute(update(dr_state).values(witness=seen)), durable=False)

    async def _standby(self, row: dict[str, Any]) -> None:
        if self.settings.metadata == "external":
            await self.hello(row)
            return
        seen = row["peer"] or {}
        if not seen.get("reachable") or row["error"] or not row["complete"]:
            seen = await self.hello(row)
        if row["cursor"] is None:
            await self._db.write(lambda c: state.put(c, syncing="snapshot"), durable=False)
        beat = asyncio.create_task(self._keep())
        try:
            await self._follower().step(row, self.settings.timeout_seconds)
        except UnavailableError:
            await self._see({**seen, "reachable": False})
            raise
        except PreconditionError:
            await self._db.write(lambda c: state.put(c, syncing="paused"), durable=False)
            raise
        finally:
            beat.cancel()
        if time.monotonic() - self._swept > _SWEEP_SECONDS:
            self._swept = time.monotonic()
            await self._follower().sweep()
        if seen.get("epoch") != row["epoch"] or time.monotonic() - self._looked > _LOOK_SECONDS:
            self._looked = time.monotonic()
            await self.hello(row)
            if self._witness is not None:
                await self._look()

    async def _look(self) -> None:
        assert self._witness is not None
        try:
            await self._saw_witness(await self._witness.ask("witness/look", 2.0), None)
        except SeawallError as error:
            await self._saw_witness(None, str(error))

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(state.LEADER_SECONDS / 3)
            with contextlib.suppress(SeawallError):
                await self._db.write(lambda c: state.lead(c, self.id), durable=False)

    def _follower(self) -> Follower:
        assert self.peer is not None
        return Follower(self._db, self._storage, self.peer, self.id)

    async def _fenced(self, row: dict[str, Any]) -> None:
        seen = await self.hello(row)
        if seen["role"] != ACTIVE or seen["epoch"] <= row["epoch"]:
            return
        if self.settings.metadata == "followed":
            if seen["lineage"] != row["lineage"]:
                raise PreconditionError(
                    "the other site is another registry: the two were not made as one pair"
                )
            assert self.peer is not None
            await Rescue(self._url, self.peer, self.settings.site).run(seen)
        alone = self._witness is None
        await self._db.write(lambda c: state.follower(c, self.id, row["epoch"], kept=alone))
        log.info("this site follows the new active", site=row["site"], active=seen["site"])

    async def _measure(self) -> None:
        # Imported late: a server tells the library first where its processes meet.
        from seawall.availability.sites.metrics import BEHIND, EPOCH, LAG, ROLE

        told = await self.status()
        for role in (ACTIVE, STANDBY, FENCED):
            ROLE.labels(role).set(told["role"] == role)
        EPOCH.set(told["epoch"])
        LAG.set(told["lag_seconds"] or 0)
        BEHIND.set(told["behind_changes"] or 0)

    # -- what sites tell each other --------------------------------------------------------------------

    async def _row(self) -> dict[str, Any]:
        row = await self._db.read(state.read)
        if row is None:
            raise PreconditionError("the section dr is not in use at this site; set dr.site and dr.peer")
        return row

    async def info(self, row: dict[str, Any] | None = None) -> dict[str, Any]:
        """What this site says of itself."""
        row = row or await self._row()
        return {
            "site": row["site"],
            "role": row["role"],
            "epoch": row["epoch"],
            "lineage": row["lineage"],
            "external_url": self._external_url,
            "base": row["base"],
            "complete": row["complete"],
            "lag": _lag(row),
            "behind": None if self._stalled(row) else row["behind"],
            "revision": await self._db.read(migrate.current),
        }

    async def hello(self, row: dict[str, Any], timeout: float | None = None) -> dict[str, Any]:
        """Exchange that with the peer; both sides draw their conclusions. Returns the peer's.

        Raises UnavailableError, PreconditionError.
        """
        assert self.peer is not None
        try:
            seen = await self.peer.ask("hello", timeout, **(await self.info(row)))
        except SeawallError as error:
            await self._see({**(row["peer"] or {}), "reachable": False, "error": str(error)})
            raise
        await self.learn(seen)
        return seen

    async def learn(self, seen: dict[str, Any]) -> None:
        """Take note of what the peer says of itself; an active that learns of a higher epoch gives way."""
        row = await self._row()
        known = {
            key: seen.get(key)
            for key in ("site", "role", "epoch", "external_url", "lag", "behind", "complete", "lineage")
        }
        if known["site"] == row["site"]:
            raise PreconditionError(f"both sites are named {row['site']}; give each its own dr.site")
        await self._see({**known, "reachable": True, "error": None})
        if row["lineage"] and known["lineage"] and known["lineage"] != row["lineage"]:
            raise PreconditionError(
                "the other site is another registry: both were started as active; a new pair is made by an "
                "empty site with dr.start_as standby"
            )
        if int(seen["epoch"]) > row["epoch"]:
            await self.learn_epoch(int(seen["epoch"]))

    async def learn_epoch(self, epoch: int) -> None:
        """Somebody is at `epoch`: an active of an older one gives way."""
        row = await self._row()
        if row["role"] == ACTIVE and epoch > row["epoch"]:
            log.warning("another site is active; this one takes no more writes", epoch=epoch)
            await self._db.write(state.give_way)

    async def _see(self, peer: dict[str, Any]) -> None:
        await self._db.write(lambda c: state.put(c, peer=peer), durable=False)

    async def yield_to(self, epoch: int) -> dict[str, Any]:
        """The peer, in a planned switch, asks this site to take no more writes; returns `info`."""
        row = await self._db.write(lambda c: state.give_way(c, epoch))
        await self._release(row)
        return await self.info()

    async def _release(self, row: dict[str, Any]) -> None:
        if self._witness is not None:
            with contextlib.suppress(SeawallError):
                await self._witness.ask("witness/release", 2.0, site=row["site"], epoch=row["epoch"])

    async def resume(self, epoch: int) -> None:
        """The switch has failed: this site, which gave way for it, goes on in its old epoch."""
        lease = await self._new_lease(epoch + 1)

        def reign_again(connection: Connection) -> None:
            state.lead(connection, self.id, steal=True)
            state.reign(connection, self.id, FENCED, epoch, lease=lease, keep_cursor=True, heed=False)
            state.let_go(connection, self.id)

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

    def _stalled(self, row: dict[str, Any]) -> str | None:
        """Why the row's word on a standby is old; None while it is not.

        A standby that cannot write, because its disk is full, cannot note that either: it shows in the time
        at which it last did.
        """
        lag = _lag(row)
        limit = _STALLED_SECONDS + 2 * (self.settings.poll_seconds + self.settings.timeout_seconds)
        if row["role"] != STANDBY or not row["complete"] or lag is None or lag <= limit:
            return None
        writing = self._db.writing()
        why = "" if writing == "ok" else f"; writing to this site's database: {writing}"
        return f"nothing was applied for {lag:.0f} s{why}"

    # -- commands --------------------------------------------------------------------------------------

    async def status(self) -> dict[str, Any]:
        """See the API's model: role, site, epoch, peer, witness, lag, ..."""
        row = await self._db.read(state.read) if self.enabled else None
        if row is None:
            return {
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
        seen, witness = row["peer"] or {}, row["witness"] or {}
        stalled = self._stalled(row)
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
            "lag_seconds": (seen.get("lag") if seen.get("role") == STANDBY else None)
            if active
            else _lag(row),
            "behind_changes": seen.get("behind") if active else None if stalled else row["behind"],
            "last_applied_at": row["applied_at"],
            "syncing": row["syncing"] if row["role"] == STANDBY else None,
            "error": row["error"] or stalled,
            "divergences": await self._db.read(state.divergences),
            "can": can[row["role"]],
        }

    async def divergences(self) -> list[dict[str, Any]]:
        """What was left over at switches, newest first."""
        query = select(dr_divergences).order_by(dr_divergences.c.at.desc(), dr_divergences.c.id)
        return await self._db.read(lambda c: [dict(row) for row in c.execute(query).mappings()])

    async def demote(self, *, also: Also = nothing) -> dict[str, Any]:
        """The active takes no more writes; nobody does, until a site is promoted."""
        row = await self._row()
        if row["role"] != ACTIVE:
            raise PreconditionError(f"this site is {row['role']}, not active")
        row = await self._db.write(lambda c: state.give_way(c, row["epoch"]), also=also)
        await self._release(row)
        return await self.status()

    async def failback(self, *, also: Also = nothing) -> dict[str, Any]:
        """A planned switch that loses nothing: this site becomes active, or, if it is, the other one."""
        row = await self._row()
        if row["role"] == ACTIVE:
            assert self.peer is not None
            await self.peer.ask("promote", self.settings.switch_seconds + 30)
            with contextlib.suppress(SeawallError):
                await self.hello(await self._row())
            return await self.status()
        return await self.promote(planned=True, also=also)

    async def promote(
        self, *, force: bool = False, planned: bool = False, also: Also = nothing
    ) -> dict[str, Any]:
        """This site becomes the active one.

        While the peer answers it gives way first and is followed to its last change. Otherwise the witness
        must say that its lease has run out; `force` is the operator's word that the old active is stopped,
        and `planned` takes nothing but an answering peer. Raises PreconditionError with what is missing.
        """
        row = await self._row()
        if row["role"] == ACTIVE:
            raise PreconditionError("this site is the active one")
        seen: dict[str, Any] | None
        try:
            seen = await self.hello(row)
        except SeawallError as error:
            if planned or (not force and self._witness is None):
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
                await self._db.write(lambda c: state.let_go(c, self.id))

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
        assert self.peer is not None
        await self._db.write(lambda c: state.lead(c, self.id, seconds=30, steal=True))
        if row["role"] == STANDBY and not row["complete"] and not force:
            raise PreconditionError("this site has not received everything yet; wait for the first sync")
        if seen["epoch"] < row["epoch"] and seen["role"] != STANDBY:
            raise PreconditionError(
                f"site {seen['site']} is of an older epoch; it must follow this one first"
            )
        deadline = time.monotonic() + self.settings.switch_seconds
        gave_way = False
        follow = row["role"] == STANDBY and self.settings.metadata == "followed"
        try:
            if follow and seen["role"] == ACTIVE:
                # Close first, so that few writes wait for the switch.
                row = await self._drain(row, deadline)
            if seen["role"] == ACTIVE:
                await self.peer.ask("demote", 15.0, epoch=seen["epoch"])
                gave_way = True
            if follow and seen["role"] != STANDBY:
                row = await self._drain(row, deadline)
            # The other site may be told to become active at this moment too. A witness lets one of them; else
            # both have promised not to, and neither does.
            if (
                self._witness is None
                and not (await self.peer.ask("promise", epoch=row["epoch"] + 1, seconds=15.0))["granted"]
            ):
                raise PreconditionError("the other site has become active; nothing is changed here")
            return await self._reign(row, deadline, also)
        except (SeawallError, OSError):
            # Only when it is sure that this site is not active.
            with contextlib.suppress(SeawallError):
                if gave_way and (await self._row())["role"] != ACTIVE:
                    await self.peer.ask("resume", epoch=seen["epoch"])
            raise

    async def _drain(self, row: dict[str, Any], deadline: float) -> dict[str, Any]:
        """Follow until a round has nothing new, or the time is over; returns the row."""
        while True:
            await self._db.write(lambda c: state.lead(c, self.id, seconds=30, steal=True))
            step = await self._follower().step(row, self.settings.timeout_seconds)
            row = await self._row()
            if row["cursor"] is not None and (step.rows < 200 or time.monotonic() > deadline):
                return row
            if time.monotonic() > deadline:
                raise UnavailableError("the switch took longer than dr.switch_seconds")

    async def _promote_alone(self, force: bool, also: Also) -> dict[str, Any]:
        await self._db.write(lambda c: state.lead(c, self.id, seconds=60, steal=True))
        row = await self._row()
        if not row["complete"] and not force:
            raise PreconditionError(
                "this site has never been equal to the active one; --force takes it as it is"
            )
        deadline = time.monotonic() + 2 * self.settings.lease_seconds + self.settings.timeout_seconds
        return await self._reign(row, deadline, also, force=force)

    async def _reign(
        self, row: dict[str, Any], deadline: float, also: Also, *, force: bool = False
    ) -> dict[str, Any]:
        lease: float | None = None
        if self._witness is not None:
            while True:
                promised = (await self._row())["promised_until"] - row["now"]
                try:
                    lease = None if promised > 0 else await self._new_lease(row["epoch"] + 1)
                    if promised <= 0:
                        break
                    error = "this site has promised the active not to be promoted yet"
                except UnavailableError as failure:
                    error = str(failure)
                    if force and not (await self._row())["witness"]["reachable"]:
                        break
                if time.monotonic() > deadline:
                    raise UnavailableError(error)
                await asyncio.sleep(min(1.0, self.settings.lease_seconds / 10))
                await self._db.write(lambda c: state.lead(c, self.id, seconds=30, steal=True))
                row = {**row, "now": (await self._row())["now"]}

        def take_over(connection: Connection) -> None:
            heed = lease is not None or not force
            state.reign(connection, self.id, row["role"], row["epoch"], lease=lease, heed=heed)

        await self._db.write(take_over, also=also)
        log.warning("this site is active", site=row["site"], epoch=row["epoch"] + 1)
        with contextlib.suppress(SeawallError):
            await self.hello(await self._row())
        return await self.status()

    async def _new_lease(self, epoch: int) -> float | None:
        if self._witness is None:
            return None
        began = time.monotonic()
        if not await self._lease(self.settings.site, epoch, take=True):
            witness = (await self._row())["witness"] or {}
            if witness.get("reachable"):
                raise UnavailableError(
                    f"the witness says that {witness.get('held_by') or 'a later epoch'} holds the lease"
                )
            raise UnavailableError("neither the witness nor the other site answers")
        return self._good_for(began)

    # -- for others ------------------------------------------------------------------------------------

    async def writable(self) -> bool:
        """Whether this site takes writes now."""
        return not self.enabled or await self._db.point(fence.open_now)

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


def _has_keys(connection: Connection) -> bool:
    return connection.execute(select(cluster_keys.c.name).limit(1)).first() is not None


def _lag(row: dict[str, Any]) -> float | None:
    if row["role"] != STANDBY or row["synced_at"] is None:
        return None
    return round(max(0.0, time.time() - float(row["synced_at"])), 3)
