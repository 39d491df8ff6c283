"""Rules that protect tags."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Float, ForeignKey, Integer, Table, text

from seawall.infra.db.metadata import BigId, metadata

immutable_rules = Table(
    "immutable_rules",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("project_id", BigId, ForeignKey("projects.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("disabled", Boolean, nullable=False),
    Column("priority", Integer, nullable=False, server_default=text("0")),
    # {"tag_selectors": [...], "scope_selectors": {...}, "params": {...}} as the API gives them.
    Column("rule", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)
