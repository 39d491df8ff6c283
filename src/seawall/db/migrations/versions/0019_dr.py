"""Active-standby sites"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "dr_state",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("site", sa.String(length=64), nullable=False),
        sa.Column("lineage", sa.String(length=32), server_default="", nullable=False),
        sa.Column("writable_until", sa.Float(), nullable=True),
        sa.Column("applying", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("leader", sa.String(length=32), server_default="", nullable=False),
        sa.Column("leader_until", sa.Float(), server_default="0", nullable=False),
        sa.Column("peer", sa.JSON(), nullable=True),
        sa.Column("witness", sa.JSON(), nullable=True),
        sa.Column("cursor", sa.Text(), nullable=True),
        sa.Column("revisions", sa.String(length=64), server_default="", nullable=False),
        sa.Column("complete", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("syncing", sa.String(length=16), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("behind", sa.BigInteger(), nullable=True),
        sa.Column("synced_at", sa.Float(), nullable=True),
        sa.Column("applied_at", sa.Float(), nullable=True),
        sa.Column("base", sa.Text(), nullable=True),
        sa.Column("promised_until", sa.Float(), server_default="0", nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dr_state")),
    )
    op.create_table(
        "dr_blobs",
        sa.Column("digest", sa.String(length=140), nullable=False),
        sa.Column("storage_key", sa.String(length=200), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_dr_blobs")),
    )
    op.create_table(
        "dr_divergences",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=1024), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dr_divergences")),
    )
    op.create_index(op.f("ix_dr_divergences_at"), "dr_divergences", ["at"])


def downgrade() -> None:
    connection = op.get_bind()
    # Triggers that read the tables go first (seawall.db.fence).
    if connection.dialect.name == "postgresql":
        op.execute("DROP FUNCTION IF EXISTS seawall_fence() CASCADE")
        op.execute("DROP FUNCTION IF EXISTS seawall_fence_quiet() CASCADE")
    else:
        query = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'seawall_fence_%'"
        for name in connection.execute(sa.text(query)).scalars().all():
            op.execute(f'DROP TRIGGER "{name}"')
    op.drop_table("dr_divergences")
    op.drop_table("dr_blobs")
    op.drop_table("dr_state")
