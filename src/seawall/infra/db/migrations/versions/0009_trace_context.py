"""Jobs and events know the trace of the change that made them"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("jobs", "outbox"):
        op.add_column(table, sa.Column("trace", sa.String(length=55), nullable=True))


def downgrade() -> None:
    for table in ("jobs", "outbox"):
        op.drop_column(table, "trace")
