"""Active-standby sites: what this site is, what it fetched ahead, and what a switch left over."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Integer, String, Table, Text, false

from seawall.infra.db.schema.base import metadata

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
)

# Blobs that were fetched and that no row of `blobs` names yet.
dr_blobs = Table(
    "dr_blobs",
    metadata,
    Column("digest", String(140), primary_key=True),
    Column("storage_key", String(200), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("at", Float, nullable=False),
)

# What a site had acknowledged and the other never received, with what became of it. Followed like content.
dr_divergences = Table(
    "dr_divergences",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("kind", String(64), nullable=False),
    Column("name", String(1024), nullable=False),
    Column("detail", JSON, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("at", Float, nullable=False, index=True),
)
