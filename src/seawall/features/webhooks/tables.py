"""Webhook policies and deliveries."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
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

from seawall.infra.db.metadata import BigId, metadata

webhook_policies = Table(
    "webhook_policies",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("project_id", BigId, ForeignKey("projects.id", ondelete="CASCADE"), nullable=False),
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
    # Targets after the first: objects with the members of the columns above.
    Column("more_targets", JSON(none_as_null=True), info={"sealed": True}),
    UniqueConstraint("project_id", "name"),
)

# One row an event, policy and target; `event` is the outbox event's own id, so a second hand-over adds
# nothing.
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
    # The place of the target among those of the policy, from 0.
    Column("target", Integer, nullable=False, server_default=text("0")),
    UniqueConstraint("policy_id", "event", "target"),
    Index("ix_webhook_deliveries_type", "policy_id", "event_type", "created_at"),
)
