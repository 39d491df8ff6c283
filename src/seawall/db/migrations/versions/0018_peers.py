"""Own-storage HA: versions of what is kept equal between peers"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "peer_state",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("epoch", sa.String(length=32), nullable=False),
        sa.Column("seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("clock_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("clock_counter", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("feed_cursor", sa.Text(), nullable=True),
        sa.Column("purged_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_peer_state")),
    )
    op.create_table(
        "peer_entries",
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("key", sa.String(length=1024), nullable=False),
        sa.Column("row_key", sa.String(length=1024), server_default="", nullable=False),
        sa.Column("version", sa.String(length=128), nullable=False),
        sa.Column("vector", sa.JSON(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("deleted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("cascade", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "key", name=op.f("pk_peer_entries")),
    )
    op.create_index(op.f("ix_peer_entries_row_key"), "peer_entries", ["row_key"])
    op.create_index(op.f("ix_peer_entries_seq"), "peer_entries", ["seq"])
    op.create_table(
        "peer_pending",
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("key", sa.String(length=1024), nullable=False),
        sa.Column("entry", sa.JSON(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("url", sa.String(length=1024), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "key", name=op.f("pk_peer_pending")),
    )
    op.create_table(
        "peer_links",
        sa.Column("url", sa.String(length=1024), nullable=False),
        sa.Column("name", sa.String(length=64), server_default="", nullable=False),
        sa.Column("epoch", sa.String(length=32), server_default="", nullable=False),
        sa.Column("cursor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("synced_at", sa.Float(), nullable=True),
        sa.Column("seen_at", sa.Float(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("url", name=op.f("pk_peer_links")),
    )
    op.create_table(
        "peer_conflicts",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("key", sa.String(length=1024), nullable=False),
        sa.Column("kept_version", sa.String(length=128), nullable=False),
        sa.Column("dropped_version", sa.String(length=128), nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("kept", sa.Text(), nullable=False),
        sa.Column("dropped", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_peer_conflicts")),
    )
    op.create_index(op.f("ix_peer_conflicts_dropped_version"), "peer_conflicts", ["dropped_version"])
    op.create_table(
        "peer_transfers",
        sa.Column("digest", sa.String(length=140), nullable=False),
        sa.Column("repository", sa.String(length=512), nullable=False),
        sa.Column("session", sa.String(length=64), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("digest", "repository", name=op.f("pk_peer_transfers")),
    )


def downgrade() -> None:
    for name in ("transfers", "conflicts", "links", "pending", "entries", "state"):
        op.drop_table(f"peer_{name}")
