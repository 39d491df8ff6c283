"""Changes made over the API whose audit entry is still to be written"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_intents",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("entry", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_intents")),
    )
    op.create_index(op.f("ix_audit_intents_at"), "audit_intents", ["at"])


def downgrade() -> None:
    op.drop_table("audit_intents")
