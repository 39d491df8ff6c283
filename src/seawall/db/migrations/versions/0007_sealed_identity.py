"""Secrets of OIDC users and of the configuration are sealed text, which key rotation finds"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _oidc_users(secret: sa.types.TypeEngine[Any], token: sa.types.TypeEngine[Any]) -> None:
    op.drop_table("oidc_users")
    op.create_table(
        "oidc_users",
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("issuer", sa.String(length=255), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("secret", secret, nullable=False),
        sa.Column("token", token, nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_oidc_users_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_oidc_users")),
        sa.UniqueConstraint("issuer", "subject", name=op.f("uq_oidc_users_issuer_subject")),
    )


def _configurations(*columns: sa.Column[Any]) -> None:
    op.drop_table("configurations")
    op.create_table(
        "configurations",
        sa.Column("name", sa.String(length=128), nullable=False),
        *columns,
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_configurations")),
    )


def upgrade() -> None:
    # Nothing has written to either table before this revision.
    _oidc_users(sa.Text(), sa.Text())
    _configurations(sa.Column("value", sa.JSON(), nullable=True))


def downgrade() -> None:
    _oidc_users(sa.LargeBinary(), sa.LargeBinary())
    _configurations(
        sa.Column("value", sa.Text(), nullable=True), sa.Column("sealed", sa.LargeBinary(), nullable=True)
    )
