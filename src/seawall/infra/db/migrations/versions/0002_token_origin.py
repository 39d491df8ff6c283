"""Where a registry's credentials go, and where its redirects may lead"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("registries", sa.Column("token_origin", sa.String(length=1024), nullable=True))
    op.add_column("registries", sa.Column("internal_networks", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("registries", "internal_networks")
    op.drop_column("registries", "token_origin")
