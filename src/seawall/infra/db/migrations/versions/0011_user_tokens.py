"""Tokens of users, sign-ins of programs, second factors"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "user_tokens",
        sa.Column("uid", sa.String(length=32), nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("projects", sa.JSON(), nullable=True),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.Column("last_used_at", sa.Float(), nullable=True),
        sa.Column("last_address", sa.String(length=64), nullable=False, server_default=""),
        sa.Column("noticed_at", sa.Float(), nullable=True),
        sa.Column("client", sa.String(length=255), nullable=False, server_default=""),
        sa.Column("refresh_hash", sa.String(length=64), nullable=False, server_default=""),
        sa.Column("generation", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("refresh_until", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_user_tokens_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_user_tokens")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_user_tokens_token_hash")),
    )
    op.create_index(op.f("ix_user_tokens_user_id"), "user_tokens", ["user_id"])
    op.create_index(op.f("ix_user_tokens_expires_at"), "user_tokens", ["expires_at"])
    op.create_table(
        "login_requests",
        sa.Column("code_hash", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("user_code", sa.String(length=64), nullable=False, server_default=""),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("user_id", _ID, nullable=True),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("client", sa.String(length=255), nullable=False, server_default=""),
        sa.Column("address", sa.String(length=64), nullable=False, server_default=""),
        sa.Column("challenge", sa.String(length=64), nullable=False, server_default=""),
        sa.Column("redirect_uri", sa.String(length=512), nullable=False, server_default=""),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.Column("polled_at", sa.Float(), nullable=False, server_default="0"),
        sa.Column("wait_seconds", sa.Integer(), nullable=False, server_default="5"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_login_requests_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("code_hash", name=op.f("pk_login_requests")),
    )
    op.create_index(op.f("ix_login_requests_user_code"), "login_requests", ["user_code"])
    op.create_index(op.f("ix_login_requests_user_id"), "login_requests", ["user_id"])
    op.create_index(op.f("ix_login_requests_expires_at"), "login_requests", ["expires_at"])
    op.create_table(
        "second_factors",
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("confirmed_at", sa.Float(), nullable=True),
        sa.Column("recovery", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_second_factors_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_second_factors")),
    )


def downgrade() -> None:
    op.drop_table("second_factors")
    for column in ("expires_at", "user_id", "user_code"):
        op.drop_index(op.f(f"ix_login_requests_{column}"), table_name="login_requests")
    op.drop_table("login_requests")
    for column in ("expires_at", "user_id"):
        op.drop_index(op.f(f"ix_user_tokens_{column}"), table_name="user_tokens")
    op.drop_table("user_tokens")
