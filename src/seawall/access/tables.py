"""Users, groups, projects, members, robots, sessions."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
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

login_failures = Table(
    "login_failures",
    metadata,
    Column("key", String(320), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last_at", Float, nullable=False, index=True),
    info={"fenced": False, "dumped": False},
)

sessions = Table(
    "sessions",
    metadata,
    # SHA-256 of the session id: who reads the database cannot use what he finds.
    Column("id_hash", String(64), primary_key=True),
    Column("user_id", BigId, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", Float, nullable=False),
    Column("seen_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    Column("address", String(64), nullable=False, server_default=""),
    Column("agent", String(255), nullable=False, server_default=""),
    Column("data", JSON, nullable=False),
    info={"fenced": False, "dumped": False},
)

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
    # "" for the default source; the name of another one's group begins with the source's and a colon.
    Column("source", String(64), nullable=False, server_default=""),
    UniqueConstraint("name", "type", "ldap_group_dn"),
)

# As the identity provider said at the user's last login.
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

# Where users come from, further to local users and what `auth_mode` names (which is the default source).
# kind: ldap or oidc. `configuration` has Harbor's `ldap_*` or `oidc_*` items without the prefix.
identity_sources = Table(
    "identity_sources",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("title", String(255), nullable=False, server_default=""),
    Column("position", Integer, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("configuration", JSON, nullable=False, info={"sealed": True}),
    Column("prefix", String(64), nullable=False, server_default=""),
    Column("admin_group", String(512), nullable=False, server_default=""),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)

# How a source knows a user. `source`: "" for the default one, "#" once there is none any more.
# `issuer`: the provider's, "" for a directory. `subject`: the provider's, or what a directory never changes.
user_identities = Table(
    "user_identities",
    metadata,
    Column("source", String(64), primary_key=True),
    Column("issuer", String(255), primary_key=True),
    Column("subject", String(512), primary_key=True),
    Column("user_id", BigId, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    # The user, when it was made for this identity; NULL when somebody linked the two. Of two people who
    # arrive under one name at peers that are apart, so, one at most has the account.
    Column("made_user_id", BigId, ForeignKey("users.id", ondelete="CASCADE"), unique=True),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
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
    # Whose tokens stand for the secret: JSON of a list, as `trusted_issuers` has it; "" for nobody's.
    Column("trusted_issuers", Text, nullable=False, server_default=""),
)

# Tokens of trusted issuers that were taken: each is good once, or from one address.
used_tokens = Table(
    "used_tokens",
    metadata,
    # SHA-256 of issuer and jti.
    Column("mark", String(64), primary_key=True),
    Column("robot_id", BigInteger, nullable=False),
    # "" after an exchange.
    Column("address", String(64), nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    info={"fenced": False, "dumped": False},
)

# Tokens of users, for programs. `kind`: "personal", or "login" of `seawall login`, which is renewed.
# `projects`: by name, when the project was named (Unix seconds); NULL for all. `name` is the user's own.
user_tokens = Table(
    "user_tokens",
    metadata,
    Column("uid", String(32), primary_key=True),
    Column("user_id", BigId, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("name", String(255), nullable=False),
    # SHA-256 of the token in force.
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("scopes", JSON, nullable=False),
    Column("projects", JSON(none_as_null=True)),
    Column("expires_at", Float, nullable=False, index=True),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("last_used_at", Float),
    Column("last_address", String(64), nullable=False, server_default=""),
    # When its coming end was announced.
    Column("noticed_at", Float),
    # Of a login: address and program that asked; what renews it, how often it was renewed, and until when.
    Column("client", String(255), nullable=False, server_default=""),
    Column("refresh_hash", String(64), nullable=False, server_default=""),
    Column("generation", Integer, nullable=False, server_default="0"),
    Column("refresh_until", Float),
)

# Sign-ins of programs that wait for their user. `kind`: "device" (RFC 8628) or "browser" (RFC 8252).
login_requests = Table(
    "login_requests",
    metadata,
    # SHA-256 of the device code or the authorization code.
    Column("code_hash", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    # SHA-256 of the code that the user types; "" once that was used, and for a browser's.
    Column("user_code", String(64), nullable=False, server_default="", index=True),
    # pending, approved or denied.
    Column("state", String(16), nullable=False),
    Column("user_id", BigId, ForeignKey("users.id", ondelete="CASCADE"), index=True),
    Column("scopes", JSON, nullable=False),
    Column("client", String(255), nullable=False, server_default=""),
    Column("address", String(64), nullable=False, server_default=""),
    # S256 of the verifier (RFC 7636) and where the code was sent.
    Column("challenge", String(64), nullable=False, server_default=""),
    Column("redirect_uri", String(512), nullable=False, server_default=""),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    Column("polled_at", Float, nullable=False, server_default="0"),
    Column("wait_seconds", Integer, nullable=False, server_default="5"),
    info={"dumped": False},
)

# `secret` is the TOTP key, sealed; `recovery` SHA-256 of the codes that are left.
second_factors = Table(
    "second_factors",
    metadata,
    Column("user_id", BigId, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("secret", Text, nullable=False, info={"sealed": True}),
    # NULL until the user has shown a first code.
    Column("confirmed_at", Float),
    Column("recovery", JSON, nullable=False),
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
