"""Replication: registries, policies, executions, tasks; numbers of jobs"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "job_numbers",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("job_id", sa.String(36), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_numbers")),
        sa.UniqueConstraint("job_id", name=op.f("uq_job_numbers_job_id")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_job_numbers_job_id"), ondelete="CASCADE"
        ),
    )
    op.create_table(
        "registries",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("url", sa.String(1024), nullable=False),
        sa.Column("credential_type", sa.String(32), nullable=False),
        sa.Column("access_key", sa.String(1024)),
        sa.Column("access_secret", sa.Text()),
        sa.Column("insecure", sa.Boolean(), nullable=False),
        sa.Column("ca_certificate", sa.Text()),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("checked_at", sa.Float()),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registries")),
        sa.UniqueConstraint("name", name=op.f("uq_registries_name")),
    )
    op.create_table(
        "replication_policies",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("src_registry_id", BIG),
        sa.Column("dest_registry_id", BIG),
        sa.Column("dest_namespace", sa.String(255), nullable=False),
        sa.Column("dest_namespace_replace_count", sa.Integer(), nullable=False),
        sa.Column("trigger_type", sa.String(16), nullable=False),
        sa.Column("cron", sa.String(255)),
        sa.Column("filters", sa.JSON(), nullable=False),
        sa.Column("replicate_deletion", sa.Boolean(), nullable=False),
        sa.Column("override", sa.Boolean(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("speed", sa.Integer(), nullable=False),
        sa.Column("copy_by_chunk", sa.Boolean(), nullable=False),
        sa.Column("single_active", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replication_policies")),
        sa.UniqueConstraint("name", name=op.f("uq_replication_policies_name")),
        sa.ForeignKeyConstraint(
            ["src_registry_id"], ["registries.id"], name=op.f("fk_replication_policies_src_registry_id")
        ),
        sa.ForeignKeyConstraint(
            ["dest_registry_id"], ["registries.id"], name=op.f("fk_replication_policies_dest_registry_id")
        ),
    )
    for column in ("src_registry_id", "dest_registry_id"):
        op.create_index(op.f(f"ix_replication_policies_{column}"), "replication_policies", [column])
    op.create_table(
        "replication_executions",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("policy_id", BIG, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("status_text", sa.Text(), nullable=False),
        sa.Column("trigger", sa.String(16), nullable=False),
        sa.Column("planned", sa.Boolean(), nullable=False),
        sa.Column("job_id", sa.String(36)),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replication_executions")),
        sa.ForeignKeyConstraint(
            ["policy_id"],
            ["replication_policies.id"],
            name=op.f("fk_replication_executions_policy_id"),
            ondelete="CASCADE",
        ),
    )
    op.create_index(op.f("ix_replication_executions_policy_id"), "replication_executions", ["policy_id"])
    op.create_table(
        "replication_tasks",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("execution_id", BIG, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("operation", sa.String(16), nullable=False),
        sa.Column("resource_type", sa.String(32), nullable=False),
        sa.Column("src_resource", sa.String(1024), nullable=False),
        sa.Column("dst_resource", sa.String(1024), nullable=False),
        sa.Column("work", sa.JSON(), nullable=False),
        sa.Column("state", sa.JSON(), nullable=False),
        sa.Column("job_id", sa.String(36)),
        sa.Column("started_at", sa.Float()),
        sa.Column("ended_at", sa.Float()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replication_tasks")),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["replication_executions.id"],
            name=op.f("fk_replication_tasks_execution_id"),
            ondelete="CASCADE",
        ),
    )
    op.create_index(op.f("ix_replication_tasks_execution_id"), "replication_tasks", ["execution_id"])
    op.create_index(op.f("ix_replication_tasks_job_id"), "replication_tasks", ["job_id"])


def downgrade() -> None:
    op.drop_table("replication_tasks")
    op.drop_table("replication_executions")
    op.drop_table("replication_policies")
    op.drop_table("registries")
    op.drop_table("job_numbers")
