"""An index of blobs that are stored under the key of their upload, which has no digest in it"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
_MINE = "substr(storage_key, 1, 7) = 'upload.'"


def upgrade() -> None:
    op.create_index(
        "ix_blobs_upload_key",
        "blobs",
        ["storage_key"],
        postgresql_where=sa.text(_MINE),
        sqlite_where=sa.text(_MINE),
    )


def downgrade() -> None:
    op.drop_index("ix_blobs_upload_key", table_name="blobs")
