"""Peers (own-storage HA): what each has and what is to come."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Integer, String, Table, Text, false, text

from seawall.infra.db.metadata import BigId, metadata

# One row (id 1): this instance among its peers. `seq` numbers what it has to tell; its row lock orders that.
peer_state = Table(
    "peer_state",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("name", String(64), nullable=False),
    # Of this database; another one under the same name has nothing to go on from.
    Column("epoch", String(32), nullable=False),
    Column("seq", BigInteger, nullable=False, server_default=text("0")),
    Column("clock_ms", BigInteger, nullable=False, server_default=text("0")),
    Column("clock_counter", BigInteger, nullable=False, server_default=text("0")),
    # Where the change feed was read to; NULL before the first full comparison.
    Column("feed_cursor", Text),
    # Tombstones up to this number are forgotten.
    Column("purged_seq", BigInteger, nullable=False, server_default=text("0")),
    info={"dumped": False},
)

# One row an entity, also for those that were deleted (tombstones). `key` is a JSON list.
peer_entries = Table(
    "peer_entries",
    metadata,
    Column("kind", String(32), primary_key=True),
    Column("key", String(1024), primary_key=True),
    # Primary key of the row it was last seen in, as JSON: a deleted row has nothing else to be known by.
    Column("row_key", String(1024), nullable=False, server_default="", index=True),
    Column("version", String(128), nullable=False),
    Column("vector", JSON, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("deleted", Boolean, nullable=False, server_default=false()),
    Column("cascade", Boolean, nullable=False, server_default=false()),
    Column("seq", BigInteger, nullable=False, index=True),
    Column("at", Float, nullable=False),
)

# The other instances: how far this one has followed each.
peer_links = Table(
    "peer_links",
    metadata,
    Column("url", String(1024), primary_key=True),
    Column("name", String(64), nullable=False, server_default=""),
    Column("epoch", String(32), nullable=False, server_default=""),
    Column("cursor", BigInteger, nullable=False, server_default=text("0")),
    # When all that it had to tell was here.
    Column("synced_at", Float),
    Column("seen_at", Float),
    Column("error", Text),
    info={"dumped": False},
)

# What lost by the conflict rule, with its document (sealed).
peer_conflicts = Table(
    "peer_conflicts",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("key", String(1024), nullable=False),
    Column("kept_version", String(128), nullable=False),
    Column("dropped_version", String(128), nullable=False, index=True),
    Column("note", Text, nullable=False, server_default=""),
    # Who has seen it, and when: it is history from then on.
    Column("acknowledged_at", Float, nullable=True),
    Column("acknowledged_by", String(255), nullable=True),
    Column("kept", Text, nullable=False, info={"sealed": True}),
    Column("dropped", Text, nullable=False, info={"sealed": True}),
)

# Open uploads of blobs that come from a peer, so that an interrupted one goes on.
peer_transfers = Table(
    "peer_transfers",
    metadata,
    Column("digest", String(140), primary_key=True),
    Column("repository", String(512), primary_key=True),
    Column("session", String(64), nullable=False),
    Column("at", Float, nullable=False),
    info={"dumped": False},
)

# Requests of peers that were answered lately: each counts once.
peer_nonces = Table(
    "peer_nonces",
    metadata,
    Column("nonce", String(64), primary_key=True),
    Column("at", Float, nullable=False, index=True),
    info={"fenced": False, "dumped": False},
)
