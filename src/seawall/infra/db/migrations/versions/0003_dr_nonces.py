"""Signed requests between sites that were answered lately"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "dr_nonces",
        sa.Column("nonce", sa.String(length=64), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("nonce", name=op.f("pk_dr_nonces")),
    )
    op.create_index(op.f("ix_dr_nonces_at"), "dr_nonces", ["at"])


def downgrade() -> None:
    op.drop_index(op.f("ix_dr_nonces_at"), table_name="dr_nonces")
    op.drop_table("dr_nonces")
