"""Users, projects, members, and key material shared by the cluster."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from seawall.infra.db.schema.base import BigId, metadata

users = Table(
    "users",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("username", String(255), nullable=False, unique=True),
    Column("email", String(255)),
    Column("realname", String(255), nullable=False, server_default=""),
    Column("comment", String(255), nullable=False, server_default=""),
    Column("password_hash", String(255)),
    Column("sysadmin", Boolean, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)

projects = Table(
    "projects",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("owner_id", BigId, ForeignKey("users.id", ondelete="SET NULL")),
    Column("public", Boolean, nullable=False),
    # The upstream registry of a proxy-cache project.
    Column("registry_id", BigId),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)

project_members = Table(
    "project_members",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("project_id", BigId, ForeignKey("projects.id", ondelete="CASCADE"), nullable=False),
    # Either a user or a group.
    Column("user_id", BigId, ForeignKey("users.id", ondelete="CASCADE"), index=True),
    Column("group_id", BigId, ForeignKey("user_groups.id", ondelete="CASCADE"), index=True),
    Column("role", String(32), nullable=False),
    UniqueConstraint("project_id", "user_id"),
    UniqueConstraint("project_id", "group_id"),
)

# Key material shared by all instances, encrypted under the master key.
cluster_keys = Table(
    "cluster_keys",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("material", LargeBinary, nullable=False),
    Column("public", Text),
    Column("fingerprint", String(64), nullable=False, server_default=""),
    Column("created_at", Float, nullable=False),
    # Signs or encrypts from `active_at` on; is accepted until `retire_at`.
    Column("active_at", Float, nullable=False, server_default="0"),
    Column("retire_at", Float),
)

login_failures = Table(
    "login_failures",
    metadata,
    Column("key", String(320), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last_at", Float, nullable=False, index=True),
)
