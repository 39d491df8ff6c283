"""Several sources of identity, and how their users are known there"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "identity_sources",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("title", sa.String(length=255), nullable=False, server_default=""),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("configuration", sa.JSON(), nullable=False),
        sa.Column("prefix", sa.String(length=64), nullable=False, server_default=""),
        sa.Column("admin_group", sa.String(length=512), nullable=False, server_default=""),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_identity_sources")),
    )
    op.create_table(
        "user_identities",
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("issuer", sa.String(length=255), nullable=False),
        sa.Column("subject", sa.String(length=512), nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("made_user_id", _ID, nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_user_identities_user_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["made_user_id"], ["users.id"], name=op.f("fk_user_identities_made_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("source", "issuer", "subject", name=op.f("pk_user_identities")),
        sa.UniqueConstraint("made_user_id", name=op.f("uq_user_identities_made_user_id")),
    )
    op.create_index(op.f("ix_user_identities_user_id"), "user_identities", ["user_id"])
    op.add_column("user_groups", sa.Column("source", sa.String(length=64), nullable=False, server_default=""))
    # Users of the OpenID provider that was configured are the default source's.
    op.execute(
        "INSERT INTO user_identities "
        "(source, issuer, subject, user_id, made_user_id, created_at, updated_at) "
        "SELECT '', issuer, subject, user_id, user_id, created_at, updated_at FROM oidc_users"
    )


def downgrade() -> None:
    # Groups of other sources would be those of the only one.
    op.execute("DELETE FROM user_groups WHERE source <> ''")
    op.drop_column("user_groups", "source")
    op.drop_index(op.f("ix_user_identities_user_id"), table_name="user_identities")
    op.drop_table("user_identities")
    op.drop_table("identity_sources")
