"""Configuration items and leases of upload sessions."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Float, String, Table

from seawall.infra.db.metadata import metadata

# Who is writing to an upload session now, for storage that has no locks of its own.
upload_leases = Table(
    "upload_leases",
    metadata,
    Column("upload_id", String(36), primary_key=True),
    Column("owner", String(32), nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    info={"fenced": False, "dumped": False},
)

# Values set through the API; they go before the file's. A secret's is sealed under the secret key.
configurations = Table(
    "configurations",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("value", JSON, info={"sealed": True}),
    Column("updated_at", Float, nullable=False),
)
