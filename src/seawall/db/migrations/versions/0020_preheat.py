"""Preheating of peer-to-peer networks"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "preheat_instances",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("vendor", sa.String(length=32), nullable=False),
        sa.Column("endpoint", sa.String(length=1024), nullable=False),
        sa.Column("auth_mode", sa.String(length=16), nullable=False),
        sa.Column("auth_info", sa.Text(), nullable=True),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("insecure", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_preheat_instances")),
        sa.UniqueConstraint("name", name=op.f("uq_preheat_instances_name")),
        sa.UniqueConstraint("endpoint", name=op.f("uq_preheat_instances_endpoint")),
    )
    op.create_table(
        "preheat_policies",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("provider_id", _ID, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("filters", sa.JSON(), nullable=False),
        sa.Column("trigger_type", sa.String(length=16), nullable=False),
        sa.Column("cron", sa.String(length=255), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("extra_attrs", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["provider_id"], ["preheat_instances.id"], name=op.f("fk_preheat_policies_provider_id")
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_preheat_policies_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_preheat_policies")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_preheat_policies_project_id_name")),
    )
    op.create_index(op.f("ix_preheat_policies_provider_id"), "preheat_policies", ["provider_id"])
    op.create_table(
        "preheat_executions",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("policy_id", _ID, nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("trigger", sa.String(length=16), nullable=False),
        sa.Column("planned", sa.Boolean(), nullable=False),
        sa.Column("job_id", sa.String(length=36), nullable=True),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["policy_id"],
            ["preheat_policies.id"],
            name=op.f("fk_preheat_executions_policy_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_preheat_executions")),
    )
    op.create_index(op.f("ix_preheat_executions_policy_id"), "preheat_executions", ["policy_id"])
    op.create_table(
        "preheat_tasks",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("execution_id", _ID, nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("repository", sa.String(length=512), nullable=False),
        sa.Column("tag", sa.String(length=255), nullable=False),
        sa.Column("digest", sa.String(length=140), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("runs", sa.Integer(), nullable=False),
        sa.Column("remote_id", sa.String(length=255), nullable=True),
        sa.Column("job_id", sa.String(length=36), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=True),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["preheat_executions.id"],
            name=op.f("fk_preheat_tasks_execution_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_preheat_tasks")),
    )
    op.create_index(op.f("ix_preheat_tasks_execution_id"), "preheat_tasks", ["execution_id"])
    op.create_index(op.f("ix_preheat_tasks_job_id"), "preheat_tasks", ["job_id"])


def downgrade() -> None:
    for name in ("tasks", "executions", "policies", "instances"):
        op.drop_table(f"preheat_{name}")
