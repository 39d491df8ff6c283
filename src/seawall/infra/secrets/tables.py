"""Key material shared by the cluster."""

from __future__ import annotations

from sqlalchemy import Column, Float, Integer, LargeBinary, String, Table, Text

from seawall.infra.db.metadata import metadata

# Key material shared by all instances, encrypted under the master key.
cluster_keys = Table(
    "cluster_keys",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("material", LargeBinary, nullable=False),
    Column("public", Text),
    Column("fingerprint", String(64), nullable=False, server_default=""),
    Column("created_at", Float, nullable=False),
    # Signs or encrypts from `active_at` on; is accepted until `retire_at`.
    Column("active_at", Float, nullable=False, server_default="0"),
    Column("retire_at", Float),
)
