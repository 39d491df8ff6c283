"""Adoption of a Harbor: what was brought, and whether its storage may be collected"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "adopted_rows",
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("source", sa.String(length=512), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("said", sa.String(length=64), nullable=False),
        sa.Column("written", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("kind", "source", name=op.f("pk_adopted_rows")),
    )
    op.create_table(
        "adopted_tree",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("adopted_at", sa.Float(), nullable=False),
        sa.Column("released_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_adopted_tree")),
    )


def downgrade() -> None:
    op.drop_table("adopted_tree")
    op.drop_table("adopted_rows")
