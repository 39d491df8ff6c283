"""Signed requests between peers that were answered lately"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "peer_nonces",
        sa.Column("nonce", sa.String(length=64), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("nonce", name=op.f("pk_peer_nonces")),
    )
    op.create_index(op.f("ix_peer_nonces_at"), "peer_nonces", ["at"])


def downgrade() -> None:
    op.drop_index(op.f("ix_peer_nonces_at"), table_name="peer_nonces")
    op.drop_table("peer_nonces")
