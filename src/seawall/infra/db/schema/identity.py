"""Groups, robot accounts, OIDC identities, project metadata, CVE allowlists, configuration, audit log."""

from __future__ import annotations

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
)

from seawall.infra.db.schema.base import BigId, metadata

# type: 1 LDAP, 2 HTTP, 3 OIDC (Harbor's numbers).
user_groups = Table(
    "user_groups",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("name", String(255), nullable=False),
    Column("type", Integer, nullable=False),
    Column("ldap_group_dn", String(512), nullable=False, server_default=""),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    UniqueConstraint("name", "type", "ldap_group_dn"),
)

# As the identity provider told at the user's last login.
user_group_members = Table(
    "user_group_members",
    metadata,
    Column("user_id", BigId, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("group_id", BigId, ForeignKey("user_groups.id", ondelete="CASCADE"), primary_key=True, index=True),
)

# `secret` is the CLI secret and `token` the refresh token, both sealed under the secret key.
oidc_users = Table(
    "oidc_users",
    metadata,
    Column("user_id", BigId, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("issuer", String(255), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("secret", Text, nullable=False, info={"sealed": True}),
    Column("token", Text, info={"sealed": True}),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    UniqueConstraint("issuer", "subject"),
)

# `name` is without the configurable prefix: `x` of a system robot, `project+x` of a project's.
# `permissions` is a list of {kind, namespace, access: [{resource, action}]}. `expires_at` -1: never.
robots = Table(
    "robots",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("name", String(511), nullable=False, unique=True),
    Column("project_id", BigId, ForeignKey("projects.id", ondelete="CASCADE"), index=True),
    Column("description", String(1024), nullable=False, server_default=""),
    Column("secret_hash", String(255), nullable=False),
    Column("permissions", JSON, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("duration", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("creator_type", String(16), nullable=False, server_default="local"),
    Column("creator_id", BigInteger, nullable=False, server_default="0"),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)

# `public` is a column of projects; everything else Harbor calls project metadata is here.
project_metadata = Table(
    "project_metadata",
    metadata,
    Column("project_id", BigId, ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("value", Text, nullable=False),
)

# project_id NULL: the system's. `items` is a list of CVE ids; `expires_at` NULL: never.
cve_allowlists = Table(
    "cve_allowlists",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("project_id", BigId, ForeignKey("projects.id", ondelete="CASCADE"), unique=True),
    Column("expires_at", BigInteger),
    Column("items", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)

# Values set through the API; they go before the file's. A secret's is sealed under the secret key.
configurations = Table(
    "configurations",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("value", JSON, info={"sealed": True}),
    Column("updated_at", Float, nullable=False),
)

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
)

# Written in the transaction of a change made over the API, deleted in that of its entry: one that stays
# tells of a change whose server died in between (`seawall.features.audit.trail.Intent`).
audit_intents = Table(
    "audit_intents",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("at", Float, nullable=False, index=True),
    Column("entry", JSON, nullable=False),
)
