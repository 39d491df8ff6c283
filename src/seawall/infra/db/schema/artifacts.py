"""What the management API adds to content: quotas, labels, policies on tags, webhooks."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
    true,
)

from seawall.infra.db.schema.base import BigId, metadata


def _project(*, nullable: bool = False, **keywords: Any) -> Column[Any]:
    return Column(
        "project_id", BigId, ForeignKey("projects.id", ondelete="CASCADE"), nullable=nullable, **keywords
    )


# One row a project. Its row lock orders every change of what the project stores, so `used_storage` is exact.
quotas = Table(
    "quotas",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    _project(unique=True),
    # Bytes; -1 means no limit.
    Column("hard_storage", BigInteger, nullable=False, server_default=text("-1")),
    Column("used_storage", BigInteger, nullable=False, server_default=text("0")),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)

# What a project pays for: each blob and manifest once, however many of its repositories hold it.
project_blobs = Table(
    "project_blobs",
    metadata,
    Column("project_id", BigId, ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", String(140), primary_key=True),
    Column("size", BigInteger, nullable=False),
    # How many links and manifests of the project's repositories hold it.
    Column("refs", BigInteger, nullable=False),
)

labels = Table(
    "labels",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("name", String(128), nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Column("color", String(16), nullable=False, server_default=""),
    # NULL: a global label.
    _project(nullable=True, index=True),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)
# NULLs are distinct to a unique constraint, so global and project labels have an index each.
Index(
    "uq_labels_global",
    labels.c.name,
    unique=True,
    sqlite_where=labels.c.project_id.is_(None),
    postgresql_where=labels.c.project_id.is_(None),
)
Index("uq_labels_project", labels.c.project_id, labels.c.name, unique=True)

manifest_labels = Table(
    "manifest_labels",
    metadata,
    Column("manifest_id", BigId, ForeignKey("manifests.id", ondelete="CASCADE"), primary_key=True),
    Column("label_id", BigId, ForeignKey("labels.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("created_at", Float, nullable=False),
)

immutable_rules = Table(
    "immutable_rules",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    _project(index=True),
    Column("disabled", Boolean, nullable=False),
    Column("priority", Integer, nullable=False, server_default=text("0")),
    # {"tag_selectors": [...], "scope_selectors": {...}, "params": {...}} as the API gives them.
    Column("rule", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)

retention_policies = Table(
    "retention_policies",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    _project(unique=True),
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

webhook_policies = Table(
    "webhook_policies",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    _project(),
    Column("name", String(255), nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Column("target_type", String(16), nullable=False),
    Column("address", String(2048), nullable=False),
    Column("skip_verify", Boolean, nullable=False),
    Column("payload_format", String(32), nullable=False),
    Column("event_types", JSON, nullable=False),
    Column("creator", String(255), nullable=False, server_default=""),
    Column("enabled", Boolean, nullable=False, server_default=true()),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    # The Authorization header's value.
    Column("secret", Text, info={"sealed": True}),
    UniqueConstraint("project_id", "name"),
)

# One row an event and policy; `event` is the outbox event's own id, so a second hand-over adds nothing.
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column(
        "policy_id",
        BigId,
        ForeignKey("webhook_policies.id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("event", String(64), nullable=False),
    Column("event_type", String(64), nullable=False),
    Column("data", JSON, nullable=False),
    Column("status", String(16), nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("log", Text, nullable=False, server_default=""),
    Column("job_id", String(64)),
    Column("created_at", Float, nullable=False, index=True),
    Column("updated_at", Float, nullable=False),
    Column("ended_at", Float),
    UniqueConstraint("policy_id", "event"),
    Index("ix_webhook_deliveries_type", "policy_id", "event_type", "created_at"),
)
