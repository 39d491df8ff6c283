"""The audit log, and what is about to be said in it."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Index, String, Table, Text

from seawall.infra.db.metadata import BigId, metadata

# No foreign keys: the log outlives what it tells of.
audit_log = Table(
    "audit_log",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False, index=True),
    Column("username", String(511), nullable=False, index=True),
    Column("address", String(64), nullable=False),
    Column("operation", String(32), nullable=False),
    Column("resource_type", String(64), nullable=False),
    Column("resource", String(1024), nullable=False),
    Column("description", Text, nullable=False),
    Column("success", Boolean, nullable=False),
    Column("project_id", BigInteger),
    Index("ix_audit_log_project", "project_id", "id"),
    info={"fenced": "quiet"},
)

# Written in the transaction of a change made over the API, deleted in that of its entry: one that stays
# tells of a change whose server died in between (`seawall.features.audit.trail.Intent`).
audit_intents = Table(
    "audit_intents",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("at", Float, nullable=False, index=True),
    Column("entry", JSON, nullable=False),
    info={"fenced": "quiet"},
)
