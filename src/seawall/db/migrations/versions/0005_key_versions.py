"""Versions of keys: from when used, until when accepted"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "cluster_keys", sa.Column("fingerprint", sa.String(length=64), nullable=False, server_default="")
    )
    op.add_column("cluster_keys", sa.Column("active_at", sa.Float(), nullable=False, server_default="0"))
    op.add_column("cluster_keys", sa.Column("retire_at", sa.Float()))


def downgrade() -> None:
    op.drop_column("cluster_keys", "retire_at")
    op.drop_column("cluster_keys", "active_at")
    op.drop_column("cluster_keys", "fingerprint")
