"""Issuers that robots trust, and their tokens that were used"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("robots") as robots:
        robots.add_column(sa.Column("trusted_issuers", sa.Text(), nullable=False, server_default=""))
    op.create_table(
        "used_tokens",
        sa.Column("mark", sa.String(length=64), nullable=False),
        sa.Column("robot_id", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("mark", name=op.f("pk_used_tokens")),
    )
    op.create_index(op.f("ix_used_tokens_expires_at"), "used_tokens", ["expires_at"])


def downgrade() -> None:
    op.drop_index(op.f("ix_used_tokens_expires_at"), table_name="used_tokens")
    op.drop_table("used_tokens")
    with op.batch_alter_table("robots") as robots:
        robots.drop_column("trusted_issuers")
