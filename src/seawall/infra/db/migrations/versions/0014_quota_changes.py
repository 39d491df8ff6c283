"""What projects without a limit store more, as rows that nobody waits for"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "quota_changes",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["quotas.project_id"],
            name=op.f("fk_quota_changes_project_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quota_changes")),
    )
    op.create_index(op.f("ix_quota_changes_project_id"), "quota_changes", ["project_id"])


def downgrade() -> None:
    op.execute(
        "UPDATE quotas SET used_storage = used_storage"
        " + (SELECT coalesce(sum(size), 0) FROM quota_changes"
        " WHERE quota_changes.project_id = quotas.project_id)"
    )
    op.drop_table("quota_changes")
