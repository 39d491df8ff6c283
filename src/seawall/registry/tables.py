"""Content: repositories, blobs, manifests, tags, uploads; quotas and labels of it."""

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
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
    true,
)

from seawall.infra.db.metadata import BigId, metadata

# One row a project. What it stores is `used_storage` and the sum of its `quota_changes` (see `ledger`).
quotas = Table(
    "quotas",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("project_id", BigId, ForeignKey("projects.id", ondelete="CASCADE"), nullable=False, unique=True),
    # Bytes; -1 means no limit.
    Column("hard_storage", BigInteger, nullable=False, server_default=text("-1")),
    Column("used_storage", BigInteger, nullable=False, server_default=text("0")),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)

# What projects without a limit store more, until it is added to `quotas`: rows that no push waits for.
quota_changes = Table(
    "quota_changes",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column(
        "project_id", BigId, ForeignKey("quotas.project_id", ondelete="CASCADE"), nullable=False, index=True
    ),
    Column("size", BigInteger, nullable=False),
)

# What each project stored on each day, for charts (see `history`).
storage_days = Table(
    "storage_days",
    metadata,
    Column("project_id", BigId, ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True),
    # Days since 1970-01-01, UTC.
    Column("day", Integer, primary_key=True, autoincrement=False, index=True),
    Column("used", BigInteger, nullable=False),
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
    Column("project_id", BigId, ForeignKey("projects.id", ondelete="CASCADE"), nullable=True, index=True),
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

repositories = Table(
    "repositories",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("project_id", BigId, ForeignKey("projects.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("name", String(512), nullable=False, unique=True),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    # Counted as they change (`registry.index`), so that lists and totals need not count rows.
    Column("artifact_count", BigInteger, nullable=False, server_default=text("0")),
    Column("pull_count", BigInteger, nullable=False, server_default=text("0")),
    # NULL until the first manifest: an upload alone does not make a repository visible.
    Column("pushed_at", Float),
    Index("ix_repositories_created", "project_id", "created_at", "id"),
)
# A repository exists once a manifest does: what an unfinished push leaves is neither shown nor counted, and
# keeps nothing from being deleted.
REPOSITORY_EXISTS = repositories.c.pushed_at.is_not(None)

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

# The parts of a large upload stay where they are: their key has no digest by which the blob could be found.
HAS_UPLOAD_KEY = text("substr(storage_key, 1, 7) = 'upload.'")
Index(
    "ix_blobs_upload_key",
    blobs.c.storage_key,
    postgresql_where=HAS_UPLOAD_KEY,
    sqlite_where=HAS_UPLOAD_KEY,
)

# Keys whose bytes are to be deleted from storage once readers that found them have had time to finish.
blob_trash = Table(
    "blob_trash",
    metadata,
    Column("storage_key", String(200), primary_key=True),
    Column("trashed_at", Float, nullable=False, index=True),
    info={"fenced": False, "dumped": False},
)

# Manifests that were deleted since the last garbage collection, which counts and names them.
manifest_trash = Table(
    "manifest_trash",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("repository", String(512), nullable=False),
    Column("digest", String(140), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("deleted_at", Float, nullable=False),
    info={"dumped": False},
)

# One row (id 1) where blobs of a Distribution's tree were adopted (`seawall adopt-harbor`). Until it is
# released the collector deletes nothing of the tree: the other registry may still serve it.
adopted_tree = Table(
    "adopted_tree",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("adopted_at", Float, nullable=False),
    Column("released_at", Float),
)

# Deletions of the last hours: what a receipt names and the database lacks was deleted, or is lost (see
# `registry.receipts`). An empty digest: the whole repository; with a tag: that tag only.
removals = Table(
    "removals",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("repository", String(512), nullable=False, index=True),
    Column("digest", String(140), nullable=False),
    Column("tag", String(128)),
    Column("at", Float, nullable=False, index=True),
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
    # The rest is derived at push (`registry.index`) and stored for lists.
    Column("project_id", BigId),
    Column("kind", String(64)),
    Column("accessory_type", String(64)),
    Column("accessory_of", String(140)),
    # Bytes of the manifest and all it names.
    Column("total_size", BigInteger, nullable=False, server_default=text("0")),
    # Whether lists show it: not a child of an index (unless tagged), not an accessory of a present subject.
    Column("listed", Boolean, nullable=False, server_default=true()),
    Column("pulled_at", Float),
    # From the config blob, read when first asked for.
    Column("attributes", JSON),
    UniqueConstraint("repository_id", "digest"),
    Index("ix_manifests_subject", "repository_id", "subject_digest"),
    Index("ix_manifests_accessory", "repository_id", "accessory_of"),
    Index("ix_manifests_listed", "repository_id", "listed", "pushed_at", "id"),
    Index("ix_manifests_project", "project_id", "listed", "pushed_at", "id"),
    Index("ix_manifests_kind", "repository_id", "kind", "listed", "pushed_at", "id"),
    Index("ix_manifests_project_kind", "project_id", "kind", "listed", "pushed_at", "id"),
)

# How many listed artifacts of a kind a repository or project got in the `number`th window of 2**bits seconds
# (22, 14 and 6 bits): where the page at an ordinal begins is found without walking there. Triggers on
# `manifests` keep it (migration 0001), so what any version of Seawall writes is counted; a migration that
# rebuilds `manifests` must make them again. On PostgreSQL a project's count is the sum of up to 16 rows. Each
# connection counts in one of them, so that pushes do not wait for each other: `bits` is 64 times the row's
# number more (migration 0018).
artifact_windows = Table(
    "artifact_windows",
    metadata,
    # `repository_id` or `project_id`.
    Column("scope", String(16), primary_key=True),
    Column("scope_id", BigInteger, primary_key=True, autoincrement=False),
    Column("bits", SmallInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(64), primary_key=True),
    Column("artifacts", BigInteger, nullable=False),
    info={"dumped": False},
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
    Column("pulled_at", Float),
)

# When the scrub last proved the bytes of a blob; of this site's storage alone.
blob_proofs = Table(
    "blob_proofs",
    metadata,
    Column("digest", String(140), primary_key=True),
    Column("proven_at", Float, nullable=False, index=True),
    info={"fenced": False, "dumped": False},
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
    info={"dumped": False},
)

# What a peer sent and cannot be here yet: its bytes, or what it refers to, are missing.
peer_pending = Table(
    "peer_pending",
    metadata,
    Column("kind", String(32), primary_key=True),
    Column("key", String(1024), primary_key=True),
    Column("entry", JSON, nullable=False),
    # The document, sealed: it may have secrets.
    Column("document", Text, nullable=False, info={"sealed": True}),
    Column("url", String(1024), nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("since", Float, nullable=False),
    info={"dumped": False},
)

# For those who look on: one row a change of a repository's artifacts, kept for minutes (`registry/live.py`).
content_changes = Table(
    "content_changes",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("project_id", BigInteger, nullable=False),
    Column("repository", String(512), nullable=False),
    info={"fenced": False, "dumped": False},
)
