"""Deletions of the last hours, next to the receipts of pushes"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "removals",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("repository", sa.String(length=512), nullable=False),
        sa.Column("digest", sa.String(length=140), nullable=False),
        sa.Column("tag", sa.String(length=128), nullable=True),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_removals")),
    )
    op.create_index(op.f("ix_removals_at"), "removals", ["at"])
    op.create_index(op.f("ix_removals_repository"), "removals", ["repository"])


def downgrade() -> None:
    op.drop_index(op.f("ix_removals_repository"), table_name="removals")
    op.drop_index(op.f("ix_removals_at"), table_name="removals")
    op.drop_table("removals")
