"""The change feed for followers at other sites"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "change_feed",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("feed", sa.String(length=32), nullable=False),
        sa.Column("muted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("forgotten", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_change_feed")),
    )
    op.create_table(
        "change_log",
        sa.Column("seq", _ID, autoincrement=True, nullable=False),
        sa.Column("xid", sa.BigInteger(), nullable=True),
        sa.Column("table_name", sa.String(length=64), nullable=False),
        sa.Column("row_key", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_change_log")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_change_log_xid"), "change_log", ["xid"])
    op.create_index(op.f("ix_change_log_at"), "change_log", ["at"])


def downgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        # Triggers go with their functions.
        for name in (
            connection.execute(
                sa.text("SELECT proname FROM pg_proc WHERE starts_with(proname, 'seawall_log_')")
            )
            .scalars()
            .all()
        ):
            op.execute(f'DROP FUNCTION IF EXISTS "{name}"() CASCADE')
    else:
        for name in (
            connection.execute(
                sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'seawall_log_%'")
            )
            .scalars()
            .all()
        ):
            op.execute(f'DROP TRIGGER "{name}"')
    op.drop_table("change_log")
    op.drop_table("change_feed")
