"""Events on their way to subscribers."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Float, Integer, String, Table, Text

from seawall.infra.db.metadata import BigId, metadata

# One row an event and subscriber; the row goes when the subscriber has taken it over.
outbox = Table(
    "outbox",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("kind", String(64), nullable=False),
    Column("subscriber", String(64), nullable=False, index=True),
    Column("data", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    # Delivery: tries so far, and the time before which nobody tries (again).
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_at", Float, nullable=False, server_default="0", index=True),
    Column("last_error", Text),
    # The `traceparent` of the change, where it was traced.
    Column("trace", String(55)),
)
