"""What instances of one cluster tell each other through the database: small rows, no history."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Integer, String, Table

from seawall.infra.db.schema.base import metadata

# One row a database connection: the number of its last committed write. When a connection breaks during
# COMMIT, the row tells whether the commit happened (infra/db/engine.py).
commit_markers = Table(
    "commit_markers",
    metadata,
    Column("connection", String(32), primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("at", Float, nullable=False),
)

# One row (id 1): the oldest schema revision whose code may run on the schema as it is (infra/db/migrate.py).
schema_compatibility = Table(
    "schema_compatibility",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("min_compatible", String(32), nullable=False),
)

# Who is writing to an upload session now, for storage that has no locks of its own.
upload_leases = Table(
    "upload_leases",
    metadata,
    Column("upload_id", String(36), primary_key=True),
    Column("owner", String(32), nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
)
