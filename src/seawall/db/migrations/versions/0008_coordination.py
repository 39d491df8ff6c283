"""Commit markers, schema compatibility, upload leases."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "commit_markers",
        sa.Column("connection", sa.String(32), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("connection", name=op.f("pk_commit_markers")),
    )
    op.create_table(
        "schema_compatibility",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("min_compatible", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schema_compatibility")),
    )
    op.create_table(
        "upload_leases",
        sa.Column("upload_id", sa.String(36), nullable=False),
        sa.Column("owner", sa.String(32), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("upload_id", name=op.f("pk_upload_leases")),
    )
    op.create_index("ix_upload_leases_expires_at", "upload_leases", ["expires_at"])


def downgrade() -> None:
    op.drop_index("ix_upload_leases_expires_at", "upload_leases")
    op.drop_table("upload_leases")
    op.drop_table("schema_compatibility")
    op.drop_table("commit_markers")
