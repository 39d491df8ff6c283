"""What the database layer keeps for itself: change feed, fence, marks of migrations and commits."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Integer, String, Table, Text, false

from seawall.infra.db.metadata import BigId, metadata

# One row (id 1): which feed this is, and up to where its log has been cut.
change_feed = Table(
    "change_feed",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("feed", String(32), nullable=False),
    # SQLite's way to leave a transaction out of the log; never true outside of one.
    Column("muted", Boolean, nullable=False, server_default=false()),
    # The highest `seq` (SQLite) or `xid` (PostgreSQL) that was deleted.
    Column("forgotten", BigInteger, nullable=False, server_default="0"),
    info={"fenced": False, "dumped": False},
)

change_log = Table(
    "change_log",
    metadata,
    Column("seq", BigId, primary_key=True, autoincrement=True),
    # PostgreSQL: the transaction, since rows of a sequence do not become visible in its order.
    Column("xid", BigInteger, index=True),
    Column("table_name", String(64), nullable=False),
    # The primary key as a JSON object.
    Column("row_key", Text, nullable=False),
    Column("at", Float, nullable=False, index=True),
    # A number once given must not come again after the log was cut.
    sqlite_autoincrement=True,
    info={"fenced": False, "dumped": False},
)

# One row a database connection: the number of its last committed write. When a connection breaks during
# COMMIT, the row tells whether the commit happened (infra/db/engine.py).
commit_markers = Table(
    "commit_markers",
    metadata,
    Column("connection", String(32), primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("at", Float, nullable=False),
    info={"fenced": False, "dumped": False},
)

# One row (id 1): the oldest schema revision whose code may run on the schema as it is (infra/db/migrate.py).
schema_compatibility = Table(
    "schema_compatibility",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("min_compatible", String(32), nullable=False),
    info={"fenced": False, "dumped": False},
)

# One row (id 1) where the section `dr` is set. The triggers of `seawall.infra.db.fence` read it with every
# write.
dr_state = Table(
    "dr_state",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    # active, standby or fenced
    Column("role", String(16), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("site", String(64), nullable=False),
    # Of the registry, the same at both sites; empty on a standby that has followed nobody yet.
    Column("lineage", String(32), nullable=False, server_default=""),
    # The end of the lease by this database's clock; NULL: no witness is asked.
    Column("writable_until", Float),
    # SQLite's way to let the follower write; never true outside of its transaction.
    Column("applying", Boolean, nullable=False, server_default=false()),
    # Which process does the site's work, until when (this database's clock).
    Column("leader", String(32), nullable=False, server_default=""),
    Column("leader_until", Float, nullable=False, server_default="0"),
    # The other site as it was seen last: {site, role, epoch, external_url, reachable, error}.
    Column("peer", JSON),
    Column("witness", JSON),
    # The follower: up to where the peer's feed has been applied, and with which schemas.
    Column("cursor", Text),
    Column("revisions", String(64), nullable=False, server_default=""),
    # Whether a whole snapshot has been applied: without one a site has nothing to promote.
    Column("complete", Boolean, nullable=False, server_default=false()),
    Column("syncing", String(16)),
    Column("error", Text),
    Column("behind", BigInteger),
    # When the site was last known to be equal to the active, and when something was applied.
    Column("synced_at", Float),
    Column("applied_at", Float),
    # Up to where the old active's feed was followed when this site was promoted.
    Column("base", Text),
    # Until when (this database's clock) the standby has promised not to be promoted.
    Column("promised_until", Float, nullable=False, server_default="0"),
    Column("updated_at", Float, nullable=False),
    info={"fenced": False, "dumped": False},
)
