"""Figures of the whole cluster, which one instance computes and all show"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cluster_figures",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("families", sa.JSON(), nullable=False),
        sa.Column("computed_at", sa.Float(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_cluster_figures")),
    )


def downgrade() -> None:
    op.drop_table("cluster_figures")
