"""Trusted keys, and the TUF metadata of Notary."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from seawall.infra.db.metadata import BigId, metadata

# One row a version of a role of a collection (`gun`: the repository's name); never changed.
tuf_metadata = Table(
    "tuf_metadata",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("project_id", BigId, ForeignKey("projects.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("gun", String(512), nullable=False),
    Column("role", String(255), nullable=False),
    Column("version", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("created_at", Float, nullable=False),
    UniqueConstraint("gun", "role", "version"),
    Index("ix_tuf_metadata_sha256", "gun", "sha256"),
)

# Timestamp and snapshot keys that the server holds; `private` is sealed by the key ring.
tuf_keys = Table(
    "tuf_keys",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("project_id", BigId, ForeignKey("projects.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("gun", String(512), nullable=False),
    Column("role", String(255), nullable=False),
    Column("key_id", String(64), nullable=False, unique=True),
    Column("public", Text, nullable=False),
    Column("private", Text, nullable=False, info={"sealed": True}),
    Column("created_at", Float, nullable=False),
    Index("ix_tuf_keys_role", "gun", "role"),
)

# The change feed. `category` is update or deletion; no foreign key, since deletions are in it too.
tuf_changes = Table(
    "tuf_changes",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("gun", String(512), nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("category", String(16), nullable=False),
    Column("created_at", Float, nullable=False),
)

# `kind` is key (a public key) or certificate (of a signer, or of an authority of signers); `pem` its text.
trusted_keys = Table(
    "trusted_keys",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("project_id", BigId, ForeignKey("projects.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(255), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("pem", Text, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("created_at", Float, nullable=False),
    # [[issuer, subject], ...]: the signers that count; empty: all that an authority vouches for.
    Column("identities", JSON),
    UniqueConstraint("project_id", "name"),
    UniqueConstraint("project_id", "fingerprint"),
)
