"""Webhook credentials sealed by the key ring, as text"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("webhook_policies", sa.Column("secret", sa.Text()))
    # No version has written it yet.
    op.drop_column("webhook_policies", "auth_header")


def downgrade() -> None:
    op.add_column("webhook_policies", sa.Column("auth_header", sa.LargeBinary()))
    op.drop_column("webhook_policies", "secret")
