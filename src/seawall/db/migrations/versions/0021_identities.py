"""Identities to which a trusted certificate is confined"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("trusted_keys", sa.Column("identities", sa.JSON(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("trusted_keys") as batch:
        batch.drop_column("identities")
