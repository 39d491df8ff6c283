"""Sites (disaster recovery): blobs on their way and divergences."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Float, String, Table

from seawall.infra.db.metadata import metadata

# Blobs that were fetched and that no row of `blobs` names yet.
dr_blobs = Table(
    "dr_blobs",
    metadata,
    Column("digest", String(140), primary_key=True),
    Column("storage_key", String(200), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("at", Float, nullable=False),
    info={"fenced": False, "dumped": False},
)

# Signed requests of the other site that were answered lately: each counts once.
dr_nonces = Table(
    "dr_nonces",
    metadata,
    Column("nonce", String(64), primary_key=True),
    Column("at", Float, nullable=False, index=True),
    info={"fenced": False, "dumped": False},
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
