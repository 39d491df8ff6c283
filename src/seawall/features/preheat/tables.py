"""Preheat instances, policies, their executions and tasks."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from seawall.infra.db.metadata import BigId, metadata

preheat_instances = Table(
    "preheat_instances",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("description", Text, nullable=False),
    # dragonfly or kraken
    Column("vendor", String(32), nullable=False),
    Column("endpoint", String(1024), nullable=False, unique=True),
    # NONE, BASIC, OAUTH or CUSTOM
    Column("auth_mode", String(16), nullable=False),
    # A JSON object of strings, sealed under the secret key (purpose "preheat").
    Column("auth_info", Text, info={"sealed": True}),
    Column("enabled", Boolean, nullable=False),
    Column("is_default", Boolean, nullable=False),
    Column("insecure", Boolean, nullable=False),
    Column("created_at", Float, nullable=False),
)

preheat_policies = Table(
    "preheat_policies",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("project_id", BigId, ForeignKey("projects.id", ondelete="CASCADE"), nullable=False),
    Column("provider_id", BigId, ForeignKey("preheat_instances.id"), nullable=False, index=True),
    Column("name", String(255), nullable=False),
    Column("description", Text, nullable=False),
    # [{"type": repository, tag, label, signature or vulnerability, "value": ...}]
    Column("filters", JSON, nullable=False),
    # manual, scheduled or event_based
    Column("trigger_type", String(16), nullable=False),
    Column("cron", String(255), nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("extra_attrs", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    UniqueConstraint("project_id", "name"),
)

preheat_executions = Table(
    "preheat_executions",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column(
        "policy_id",
        BigId,
        ForeignKey("preheat_policies.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    # Running, Success, Error or Stopped
    Column("status", String(16), nullable=False),
    Column("message", Text, nullable=False),
    Column("trigger", String(16), nullable=False),
    # All tasks have been made; until then their end is not the execution's.
    Column("planned", Boolean, nullable=False),
    Column("job_id", String(36)),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
)

preheat_tasks = Table(
    "preheat_tasks",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column(
        "execution_id",
        BigId,
        ForeignKey("preheat_executions.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    # Pending, Running, Success, Error or Stopped
    Column("status", String(16), nullable=False),
    Column("message", Text, nullable=False),
    Column("repository", String(512), nullable=False),
    Column("tag", String(255), nullable=False),
    Column("digest", String(140), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("runs", Integer, nullable=False),
    # What the network calls it; kept so that a job that begins again goes on asking after the same one.
    Column("remote_id", String(255)),
    Column("job_id", String(36), index=True),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("started_at", Float),
    Column("ended_at", Float),
)
