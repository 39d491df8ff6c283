"""Tables. The migrations in `db/migrations` create them; a test holds the two against each other.

Times are Unix seconds (float), digests are `algorithm:hex`. A repository's `name` is its full name,
`project/path`.
"""

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
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite gives a rowid alias (fast, auto-increment) to INTEGER only; PostgreSQL wants 64 bits.
BigId = BigInteger().with_variant(Integer, "sqlite")

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
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)

project_members = Table(
    "project_members",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("project_id", BigId, ForeignKey("projects.id", ondelete="CASCADE"), nullable=False),
    Column("user_id", BigId, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("role", String(32), nullable=False),
    UniqueConstraint("project_id", "user_id"),
)

repositories = Table(
    "repositories",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("project_id", BigId, ForeignKey("projects.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("name", String(512), nullable=False, unique=True),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)

blobs = Table(
    "blobs",
    metadata,
    Column("digest", String(140), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("storage_key", String(200), nullable=False),
    Column("created_at", Float, nullable=False),
    # Moved forward by whatever relies on the blob (link, mount); garbage collection leaves recent ones.
    Column("touched_at", Float, nullable=False, index=True),
)

# Keys whose bytes are to be deleted from storage once readers that found them have had time to finish.
blob_trash = Table(
    "blob_trash",
    metadata,
    Column("storage_key", String(200), primary_key=True),
    Column("trashed_at", Float, nullable=False, index=True),
)

repository_blobs = Table(
    "repository_blobs",
    metadata,
    Column("repository_id", BigId, ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", String(140), ForeignKey("blobs.digest"), primary_key=True, index=True),
    Column("touched_at", Float, nullable=False, index=True),
)

manifests = Table(
    "manifests",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("repository_id", BigId, ForeignKey("repositories.id", ondelete="CASCADE"), nullable=False),
    Column("digest", String(140), nullable=False),
    Column("media_type", String(255), nullable=False),
    Column("artifact_type", String(255)),
    Column("config_media_type", String(255)),
    Column("subject_digest", String(140)),
    Column("size", BigInteger, nullable=False),
    Column("annotations", JSON),
    Column("pushed_at", Float, nullable=False),
    UniqueConstraint("repository_id", "digest"),
    Index("ix_manifests_subject", "repository_id", "subject_digest"),
)

# Apart from `manifests`, so that lists do not read payloads.
manifest_payloads = Table(
    "manifest_payloads",
    metadata,
    Column("manifest_id", BigId, ForeignKey("manifests.id", ondelete="CASCADE"), primary_key=True),
    Column("payload", LargeBinary, nullable=False),
)

# What a manifest names: blobs (config, layers) and, for an index, child manifests of the same repository.
manifest_references = Table(
    "manifest_references",
    metadata,
    Column("manifest_id", BigId, ForeignKey("manifests.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", String(140), primary_key=True),
    Column("kind", String(8), primary_key=True),
    Column("repository_id", BigId, nullable=False),
    Index("ix_manifest_references_target", "repository_id", "digest"),
)

tags = Table(
    "tags",
    metadata,
    Column("repository_id", BigId, ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True),
    Column("name", String(128), primary_key=True),
    Column("manifest_id", BigId, ForeignKey("manifests.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("pushed_at", Float, nullable=False),
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("repository_id", BigId, ForeignKey("repositories.id", ondelete="CASCADE"), nullable=False),
    Column("upload_offset", BigInteger, nullable=False),
    Column("state", JSON, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False, index=True),
)

# Key material shared by all instances, encrypted under the master key.
cluster_keys = Table(
    "cluster_keys",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("material", LargeBinary, nullable=False),
    Column("public", Text),
    Column("created_at", Float, nullable=False),
)

login_failures = Table(
    "login_failures",
    metadata,
    Column("key", String(320), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last_at", Float, nullable=False, index=True),
)
