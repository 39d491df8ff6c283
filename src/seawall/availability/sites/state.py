"""What this site is, in one row of its own database, and how it becomes something else.

Roles: `active` takes writes. `standby` follows the active. `fenced` was active and takes no more writes; it
follows nobody until it has seen which site is active and sent that one what it never received.

An epoch numbers the reigns of actives. A site that is promoted takes the next number. A site that learns of
a higher one than its own stops taking writes at once; so of two that believe to be active one gives way.
"""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

from sqlalchemy import Connection, delete, func, insert, inspect, select, update

from seawall.availability.sites.tables import dr_blobs, dr_divergences, dr_nonces
from seawall.availability.sites.wire import NONCE_SECONDS
from seawall.infra.db import changes, dialect, dump, fence
from seawall.infra.db.dialect import added
from seawall.infra.db.tables import dr_state
from seawall.infra.secrets.tables import cluster_keys
from seawall.infra.settings import DrSettings
from seawall.kernel.errors import PreconditionError, UnavailableError
from seawall.registry.tables import blob_trash, blobs

ACTIVE, STANDBY, FENCED, OFF = "active", "standby", "fenced", "off"
# How long one process does the site's work without saying so again (seconds).
LEADER_SECONDS = 6.0


def begin(connection: Connection, settings: DrSettings) -> None:
    """Make the row where there is none, and see to fence and feed; at every start, after migrations."""
    # Instances that start together do this one after the other.
    fence.exclusive(connection)
    row = read(connection)
    if row is None:
        first = settings.start_as == ACTIVE
        values: dict[str, Any] = {
            "id": 1,
            "role": settings.start_as,
            "epoch": 1 if first else 0,
            "site": settings.site,
            "lineage": uuid.uuid4().hex if first else "",
            "complete": first,
            # Nothing is written before the witness has been asked.
            "writable_until": 0.0 if first and settings.witness else None,
            "updated_at": time.time(),
        }
        connection.execute(insert(dr_state).values(values))
    elif row["site"] != settings.site:
        # With a database that replicates itself this is a copy of the other site's row.
        moved: dict[str, Any] = {"site": settings.site, "peer": None, "error": None}
        if settings.metadata == "external" and row["role"] == ACTIVE:
            moved |= {"role": FENCED}
        connection.execute(update(dr_state).values(moved))
    elif row["role"] == ACTIVE:
        if settings.witness and row["writable_until"] is None:
            connection.execute(update(dr_state).values(writable_until=0.0))
        elif not settings.witness and row["writable_until"] is not None:
            connection.execute(update(dr_state).values(writable_until=None))
    fence.install(connection)
    if settings.metadata == "followed":
        changes.ensure(connection, dump.tables())


def end(connection: Connection) -> None:
    """The section `dr` was taken out of the settings: an active forgets that it was one of two.

    Raises PreconditionError on a standby, which would take writes of its own.
    """
    if not inspect(connection).has_table(dr_state.name):
        return
    row = read(connection)
    if row is None:
        return
    if row["role"] != ACTIVE:
        raise PreconditionError(
            f"this site is {row['role']} and the section dr is missing from its settings; put it back, or "
            "promote the site first"
        )
    connection.execute(dr_state.delete())
    changes.remove(connection)


def read(connection: Connection) -> dict[str, Any] | None:
    """The row, with `now` of the database's clock."""
    row = connection.execute(select(dr_state, dialect.clock(connection).label("now"))).mappings().first()
    return None if row is None else dict(row)


def put(connection: Connection, **values: Any) -> None:
    """Set columns."""
    connection.execute(update(dr_state).values(values))


def lead(connection: Connection, who: str, *, seconds: float = LEADER_SECONDS, steal: bool = False) -> bool:
    """Become, or stay, the process that does the site's work; `steal` takes it from the one that does."""
    now = dialect.clock(connection)
    free = (dr_state.c.leader == who) | (dr_state.c.leader_until < now)
    query = update(dr_state) if steal else update(dr_state).where(free)
    return bool(connection.execute(query.values(leader=who, leader_until=now + seconds)).rowcount)


def let_go(connection: Connection, who: str) -> None:
    """Let another process lead at once."""
    connection.execute(update(dr_state).where(dr_state.c.leader == who).values(leader_until=0.0))


def hold(connection: Connection, who: str, role: str, epoch: int) -> None:
    """Lock the row for this transaction. Raises PreconditionError unless it is still as the caller saw it."""
    found = connection.execute(
        update(dr_state)
        .where(dr_state.c.leader == who, dr_state.c.role == role, dr_state.c.epoch == epoch)
        .values(updated_at=time.time())
    ).rowcount
    if not found:
        raise PreconditionError("another process has taken over, or the site's role has changed")


def give_way(connection: Connection, epoch: int | None = None) -> dict[str, Any]:
    """An active takes no more writes: when this commits, all it acknowledged is visible and nothing follows.

    `epoch`: only if that is still its epoch (PreconditionError). Returns the row.
    """
    fence.exclusive(connection)
    row = read(connection)
    assert row is not None
    if epoch is not None and row["epoch"] != epoch:
        raise PreconditionError(f"the site is at epoch {row['epoch']}, not {epoch}")
    if row["role"] == ACTIVE:
        put(connection, role=FENCED, writable_until=None, updated_at=time.time())
        row["role"] = FENCED
    return row


def reign(
    connection: Connection,
    who: str,
    role: str,
    epoch: int,
    *,
    lease: float | None,
    keep_cursor: bool = False,
    heed: bool = True,
    after: int = 0,
) -> None:
    """The site, which is at `epoch`, takes writes from now on, in the epoch after that and `after`.

    `lease`: seconds that the witness's word is good. `heed`: not while this site has
    promised otherwise. Raises PreconditionError (see `hold`) and UnavailableError (the promise).
    """
    fence.exclusive(connection)
    hold(connection, who, role, epoch)
    row = read(connection)
    assert row is not None
    if heed and row["promised_until"] > row["now"]:
        raise UnavailableError("this site has promised the active not to be promoted yet")
    # Rows came with their ids; the sequences know nothing of them.
    dialect.advance_sequences(connection, dump.tables())
    left = connection.execute(select(dr_blobs.c.storage_key)).scalars().all()
    now = time.time()
    if left:
        connection.execute(insert(blob_trash), [{"storage_key": key, "trashed_at": now} for key in left])
        connection.execute(dr_blobs.delete())
    until = None if lease is None else dialect.clock(connection) + lease
    put(
        connection,
        role=ACTIVE,
        epoch=max(epoch, after) + 1,
        lineage=row["lineage"] or uuid.uuid4().hex,
        writable_until=until,
        base=row["base"] if keep_cursor else _base(connection, row["cursor"]),
        cursor=None,
        complete=True,
        syncing=None,
        error=None,
        behind=None,
        updated_at=now,
    )


def reached(row: dict[str, Any]) -> int:
    """The last epoch in which somebody may have reigned, as far as the site of this row can tell.

    A site that gave way for the next reign may not know yet that it has begun.
    """
    own: int = row["epoch"] + (row["role"] == FENCED)
    return max(own, int((row["peer"] or {}).get("epoch") or 0))


def _base(connection: Connection, cursor: str | None) -> str:
    # What the old active must hand over, and against which changes of this site's own.
    own = changes.position(connection) if changes.feed_id(connection) else None
    return json.dumps({"cursor": cursor, "from": own})


def follower(connection: Connection, who: str, epoch: int, *, kept: bool) -> None:
    """A fenced site, which has sent what it had, becomes the standby of another's reign.

    `kept`: what it has promised is fulfilled with that.
    """
    hold(connection, who, FENCED, epoch)
    if kept:
        put(connection, promised_until=0.0)
    put(connection, role=STANDBY, cursor=None, complete=False, base=None, error=None, synced_at=None)


def divergences(connection: Connection) -> int:
    """How many are on record."""
    return int(connection.execute(select(func.count()).select_from(dr_divergences)).scalar_one())


def key_rows(connection: Connection) -> list[dict[str, Any]]:
    """The rows of the cluster's keys, sealed as they are: for a site that joins."""
    return [dict(row) for row in connection.execute(select(cluster_keys)).mappings()]


def first_use(connection: Connection, nonce: str, now: float) -> bool:
    """Whether a nonce of the other site is used for the first time; remembered for as long as it is good."""
    connection.execute(delete(dr_nonces).where(dr_nonces.c.at < now - NONCE_SECONDS))
    row = {"nonce": nonce[:64], "at": now}
    return added(connection, dr_nonces, row, "nonce")


def blob_place(connection: Connection, digest: str) -> Any:
    """Where a blob's bytes are (`storage_key`) and its `size`; None when there is no such blob."""
    return connection.execute(
        select(blobs.c.storage_key, blobs.c.size).where(blobs.c.digest == digest)
    ).first()
