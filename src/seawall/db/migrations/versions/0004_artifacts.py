"""Artifacts as the management API shows them: derived columns, quotas, labels, tag policies, webhooks"""

import time
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _project(nullable: bool = False) -> sa.Column[int]:
    return sa.Column("project_id", _ID, nullable=nullable)


def _of(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], [f"{target}.id"], name=op.f(f"fk_{table}_{column}"), ondelete="CASCADE"
    )


def _pk(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*(columns or ("id",)), name=op.f(f"pk_{table}"))


def _id() -> sa.Column[int]:
    return sa.Column("id", _ID, autoincrement=True, nullable=False)


def _times() -> list[sa.Column[float]]:
    return [
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
    ]


def upgrade() -> None:
    columns: tuple[sa.Column[Any], ...] = (
        sa.Column("description", sa.Text(), nullable=False, server_default=""),
        sa.Column("artifact_count", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("pull_count", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("pushed_at", sa.Float()),
    )
    for column in columns:
        op.add_column("repositories", column)
    op.create_index("ix_repositories_created", "repositories", ["project_id", "created_at", "id"])
    columns = (
        sa.Column("project_id", _ID),
        sa.Column("kind", sa.String(64)),
        sa.Column("accessory_type", sa.String(64)),
        sa.Column("accessory_of", sa.String(140)),
        sa.Column("total_size", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("listed", sa.Boolean(), nullable=False, server_default=sa.true()),
        sa.Column("pulled_at", sa.Float()),
        sa.Column("attributes", sa.JSON()),
    )
    for column in columns:
        op.add_column("manifests", column)
    op.add_column("tags", sa.Column("pulled_at", sa.Float()))
    op.create_table(
        "quotas",
        _id(),
        _project(),
        sa.Column("hard_storage", sa.BigInteger(), nullable=False, server_default=sa.text("-1")),
        sa.Column("used_storage", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        *_times(),
        _of("quotas", "project_id", "projects"),
        _pk("quotas"),
        sa.UniqueConstraint("project_id", name=op.f("uq_quotas_project_id")),
    )
    op.create_table(
        "project_blobs",
        _project(),
        sa.Column("digest", sa.String(140), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("refs", sa.BigInteger(), nullable=False),
        _of("project_blobs", "project_id", "projects"),
        _pk("project_blobs", "project_id", "digest"),
    )
    op.create_table(
        "labels",
        _id(),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("description", sa.Text(), nullable=False, server_default=""),
        sa.Column("color", sa.String(16), nullable=False, server_default=""),
        _project(nullable=True),
        *_times(),
        _of("labels", "project_id", "projects"),
        _pk("labels"),
    )
    op.create_index(op.f("ix_labels_project_id"), "labels", ["project_id"])
    op.create_index(
        "uq_labels_global",
        "labels",
        ["name"],
        unique=True,
        sqlite_where=sa.text("project_id IS NULL"),
        postgresql_where=sa.text("project_id IS NULL"),
    )
    op.create_index("uq_labels_project", "labels", ["project_id", "name"], unique=True)
    op.create_table(
        "manifest_labels",
        sa.Column("manifest_id", _ID, nullable=False),
        sa.Column("label_id", _ID, nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        _of("manifest_labels", "manifest_id", "manifests"),
        _of("manifest_labels", "label_id", "labels"),
        _pk("manifest_labels", "manifest_id", "label_id"),
    )
    op.create_index(op.f("ix_manifest_labels_label_id"), "manifest_labels", ["label_id"])
    op.create_table(
        "immutable_rules",
        _id(),
        _project(),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("rule", sa.JSON(), nullable=False),
        *_times(),
        _of("immutable_rules", "project_id", "projects"),
        _pk("immutable_rules"),
    )
    op.create_index(op.f("ix_immutable_rules_project_id"), "immutable_rules", ["project_id"])
    op.create_table(
        "retention_policies",
        _id(),
        _project(),
        sa.Column("algorithm", sa.String(16), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("cron", sa.String(128), nullable=False, server_default=""),
        *_times(),
        _of("retention_policies", "project_id", "projects"),
        _pk("retention_policies"),
        sa.UniqueConstraint("project_id", name=op.f("uq_retention_policies_project_id")),
    )
    op.create_table(
        "retention_executions",
        _id(),
        sa.Column("policy_id", _ID, nullable=False),
        sa.Column("trigger", sa.String(16), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("operator", sa.String(255), nullable=False, server_default=""),
        sa.Column("job_id", sa.String(64)),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float()),
        _of("retention_executions", "policy_id", "retention_policies"),
        _pk("retention_executions"),
    )
    op.create_index(op.f("ix_retention_executions_policy_id"), "retention_executions", ["policy_id"])
    op.create_table(
        "retention_tasks",
        _id(),
        sa.Column("execution_id", _ID, nullable=False),
        sa.Column("repository", sa.String(512), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("retained", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("log", sa.Text(), nullable=False, server_default=""),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float()),
        _of("retention_tasks", "execution_id", "retention_executions"),
        _pk("retention_tasks"),
        sa.UniqueConstraint(
            "execution_id", "repository", name=op.f("uq_retention_tasks_execution_id_repository")
        ),
    )
    op.create_table(
        "webhook_policies",
        _id(),
        _project(),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False, server_default=""),
        sa.Column("target_type", sa.String(16), nullable=False),
        sa.Column("address", sa.String(2048), nullable=False),
        sa.Column("auth_header", sa.LargeBinary()),
        sa.Column("skip_verify", sa.Boolean(), nullable=False),
        sa.Column("payload_format", sa.String(32), nullable=False),
        sa.Column("event_types", sa.JSON(), nullable=False),
        sa.Column("creator", sa.String(255), nullable=False, server_default=""),
        sa.Column("enabled", sa.Boolean(), nullable=False, server_default=sa.true()),
        *_times(),
        _of("webhook_policies", "project_id", "projects"),
        _pk("webhook_policies"),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_webhook_policies_project_id_name")),
    )
    op.create_table(
        "webhook_deliveries",
        _id(),
        sa.Column("policy_id", _ID, nullable=False),
        sa.Column("event", sa.String(64), nullable=False),
        sa.Column("event_type", sa.String(64), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("log", sa.Text(), nullable=False, server_default=""),
        sa.Column("job_id", sa.String(64)),
        *_times(),
        sa.Column("ended_at", sa.Float()),
        _of("webhook_deliveries", "policy_id", "webhook_policies"),
        _pk("webhook_deliveries"),
        sa.UniqueConstraint("policy_id", "event", name=op.f("uq_webhook_deliveries_policy_id_event")),
    )
    op.create_index(op.f("ix_webhook_deliveries_created_at"), "webhook_deliveries", ["created_at"])
    op.create_index(
        "ix_webhook_deliveries_type", "webhook_deliveries", ["policy_id", "event_type", "created_at"]
    )
    _fill()
    # After the fill: building an index once is cheaper than keeping it through a bulk update.
    op.create_index("ix_manifests_accessory", "manifests", ["repository_id", "accessory_of"])
    op.create_index("ix_manifests_listed", "manifests", ["repository_id", "listed", "pushed_at", "id"])
    op.create_index("ix_manifests_project", "manifests", ["project_id", "listed", "pushed_at", "id"])


def _fill() -> None:
    """What older versions stored, derived in SQL."""
    op.execute(
        "UPDATE manifests SET project_id = "
        "(SELECT r.project_id FROM repositories r WHERE r.id = manifests.repository_id)"
    )
    op.execute(
        "UPDATE manifests SET accessory_of = subject_digest, accessory_type = CASE "
        "WHEN coalesce(artifact_type, config_media_type) = 'application/vnd.cncf.notary.signature' "
        "THEN 'signature.notation' "
        "WHEN coalesce(artifact_type, config_media_type) LIKE 'application/vnd.dev.cosign.artifact.sig.%' "
        "THEN 'signature.cosign' ELSE 'subject.accessory' END WHERE subject_digest IS NOT NULL"
    )
    op.execute(
        "UPDATE manifests SET total_size = size + coalesce((SELECT sum(b.size) FROM manifest_references f "
        "JOIN blobs b ON b.digest = f.digest WHERE f.manifest_id = manifests.id AND f.kind = 'blob'), 0)"
    )
    op.execute(
        "UPDATE manifests SET total_size = total_size + coalesce((SELECT sum(c.total_size) "
        "FROM manifest_references f JOIN manifests c ON c.repository_id = f.repository_id "
        "AND c.digest = f.digest WHERE f.manifest_id = manifests.id AND f.kind = 'manifest'), 0) "
        "WHERE EXISTS (SELECT 1 FROM manifest_references f WHERE f.manifest_id = manifests.id "
        "AND f.kind = 'manifest')"
    )
    op.execute(
        sa.text(
            "UPDATE manifests SET listed = :shown WHERE "
            "(NOT EXISTS (SELECT 1 FROM tags t WHERE t.manifest_id = manifests.id) AND EXISTS (SELECT 1 "
            "FROM manifest_references f WHERE f.repository_id = manifests.repository_id "
            "AND f.digest = manifests.digest AND f.kind = 'manifest')) OR EXISTS (SELECT 1 FROM manifests s "
            "WHERE s.repository_id = manifests.repository_id AND s.digest = manifests.accessory_of)"
        ).bindparams(sa.bindparam("shown", False, sa.Boolean()))
    )
    op.execute(
        "UPDATE repositories SET artifact_count = (SELECT count(*) FROM manifests m "
        "WHERE m.repository_id = repositories.id AND m.listed), pushed_at = "
        "(SELECT max(m.pushed_at) FROM manifests m WHERE m.repository_id = repositories.id)"
    )
    op.execute(
        "INSERT INTO project_blobs (project_id, digest, size, refs) "
        "SELECT project_id, digest, max(size), count(*) FROM ("
        "SELECT r.project_id, l.digest, b.size FROM repository_blobs l "
        "JOIN repositories r ON r.id = l.repository_id JOIN blobs b ON b.digest = l.digest UNION ALL "
        "SELECT r.project_id, m.digest, m.size FROM manifests m JOIN repositories r ON r.id = m.repository_id"
        ") held GROUP BY project_id, digest"
    )
    now = time.time()
    op.execute(
        sa.text(
            "INSERT INTO quotas (project_id, hard_storage, used_storage, created_at, updated_at) "
            "SELECT p.id, -1, coalesce((SELECT sum(b.size) FROM project_blobs b "
            "WHERE b.project_id = p.id), 0), "
            ":now, :now FROM projects p"
        ).bindparams(now=now)
    )


def downgrade() -> None:
    for table in (
        "webhook_deliveries",
        "webhook_policies",
        "retention_tasks",
        "retention_executions",
        "retention_policies",
        "immutable_rules",
        "manifest_labels",
        "labels",
        "project_blobs",
        "quotas",
    ):
        op.drop_table(table)
    op.drop_column("tags", "pulled_at")
    for index in ("project", "listed", "accessory"):
        op.drop_index(f"ix_manifests_{index}", "manifests")
    for column in (
        "attributes",
        "pulled_at",
        "listed",
        "total_size",
        "accessory_of",
        "accessory_type",
        "kind",
        "project_id",
    ):
        op.drop_column("manifests", column)
    op.drop_index("ix_repositories_created", "repositories")
    for column in ("pushed_at", "pull_count", "artifact_count", "description"):
        op.drop_column("repositories", column)
