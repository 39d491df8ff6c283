"""Retention policies, their executions and tasks."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from seawall.infra.db.metadata import BigId, metadata

retention_policies = Table(
    "retention_policies",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("project_id", BigId, ForeignKey("projects.id", ondelete="CASCADE"), nullable=False, unique=True),
    Column("algorithm", String(16), nullable=False),
    Column("rules", JSON, nullable=False),
    Column("cron", String(128), nullable=False, server_default=""),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)

retention_executions = Table(
    "retention_executions",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column(
        "policy_id",
        BigId,
        ForeignKey("retention_policies.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("trigger", String(16), nullable=False),
    Column("dry_run", Boolean, nullable=False),
    Column("status", String(16), nullable=False),
    # Who asked for it, for the audit log and events.
    Column("operator", String(255), nullable=False, server_default=""),
    Column("job_id", String(64)),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
)

retention_tasks = Table(
    "retention_tasks",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column(
        "execution_id",
        BigId,
        ForeignKey("retention_executions.id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("repository", String(512), nullable=False),
    Column("status", String(16), nullable=False),
    Column("total", BigInteger, nullable=False, server_default=text("0")),
    Column("retained", BigInteger, nullable=False, server_default=text("0")),
    Column("log", Text, nullable=False, server_default=""),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
    UniqueConstraint("execution_id", "repository"),
)
