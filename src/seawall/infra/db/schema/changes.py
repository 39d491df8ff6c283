"""The change feed: which rows changed, for followers at other sites (`seawall.infra.db.changes`)."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, String, Table, Text, false

from seawall.infra.db.schema.base import BigId, metadata

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
)
