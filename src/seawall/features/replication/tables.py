"""Registries, replication policies, their executions and tasks."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Float, ForeignKey, Integer, String, Table, Text

from seawall.infra.db.metadata import BigId, metadata

registries = Table(
    "registries",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("description", Text, nullable=False),
    Column("type", String(64), nullable=False),
    Column("url", String(1024), nullable=False),
    Column("credential_type", String(32), nullable=False),
    Column("access_key", String(4096)),
    # Sealed under the secret key (purpose "registry").
    Column("access_secret", Text, info={"sealed": True}),
    Column("insecure", Boolean, nullable=False),
    Column("ca_certificate", Text),
    # The token server that the secret was given for, where it has another address than the registry.
    Column("token_origin", String(1024)),
    # Networks (CIDR) inside ours that its redirects may lead to.
    Column("internal_networks", JSON),
    # healthy or unhealthy, as of checked_at
    Column("status", String(16), nullable=False),
    Column("checked_at", Float),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)

replication_policies = Table(
    "replication_policies",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("description", Text, nullable=False),
    # One of the two is NULL, which means this registry.
    Column("src_registry_id", BigId, ForeignKey("registries.id"), index=True),
    Column("dest_registry_id", BigId, ForeignKey("registries.id"), index=True),
    Column("dest_namespace", String(255), nullable=False),
    Column("dest_namespace_replace_count", Integer, nullable=False),
    # manual, scheduled or event_based
    Column("trigger_type", String(16), nullable=False),
    Column("cron", String(255)),
    Column("filters", JSON, nullable=False),
    Column("replicate_deletion", Boolean, nullable=False),
    Column("override", Boolean, nullable=False),
    Column("enabled", Boolean, nullable=False),
    # kilobits (1,024 bits) a second, 0 without limit
    Column("speed", Integer, nullable=False),
    Column("copy_by_chunk", Boolean, nullable=False),
    Column("single_active", Boolean, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)

replication_executions = Table(
    "replication_executions",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column(
        "policy_id",
        BigId,
        ForeignKey("replication_policies.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    # InProgress, Succeed, Failed or Stopped
    Column("status", String(16), nullable=False),
    Column("status_text", Text, nullable=False),
    Column("trigger", String(16), nullable=False),
    # All tasks have been made; until then their end is not the execution's.
    Column("planned", Boolean, nullable=False),
    Column("job_id", String(36)),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
)

replication_tasks = Table(
    "replication_tasks",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column(
        "execution_id",
        BigId,
        ForeignKey("replication_executions.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    # Pending, InProgress, Succeed, Failed or Stopped
    Column("status", String(16), nullable=False),
    # copy or deletion
    Column("operation", String(16), nullable=False),
    Column("resource_type", String(32), nullable=False),
    Column("src_resource", String(1024), nullable=False),
    Column("dst_resource", String(1024), nullable=False),
    # What to do: repositories and references.
    Column("work", JSON, nullable=False),
    # Where it got to: open uploads by blob digest, for the next try.
    Column("state", JSON, nullable=False),
    Column("job_id", String(36), index=True),
    Column("started_at", Float),
    Column("ended_at", Float),
)
