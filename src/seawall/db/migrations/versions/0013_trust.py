"""Trust: TUF metadata and keys of Notary collections, the change feed, and keys that projects trust."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _project() -> list[sa.schema.SchemaItem]:
    return [
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("project_id", _ID, nullable=False),
    ]


def upgrade() -> None:
    op.create_table(
        "tuf_metadata",
        *_project(),
        sa.Column("gun", sa.String(512), nullable=False),
        sa.Column("role", sa.String(255), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tuf_metadata")),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_tuf_metadata_project_id"), ondelete="CASCADE"
        ),
        sa.UniqueConstraint("gun", "role", "version", name=op.f("uq_tuf_metadata_gun_role_version")),
    )
    op.create_index(op.f("ix_tuf_metadata_project_id"), "tuf_metadata", ["project_id"])
    op.create_index("ix_tuf_metadata_sha256", "tuf_metadata", ["gun", "sha256"])
    op.create_table(
        "tuf_keys",
        *_project(),
        sa.Column("gun", sa.String(512), nullable=False),
        sa.Column("role", sa.String(255), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("public", sa.Text(), nullable=False),
        sa.Column("private", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tuf_keys")),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_tuf_keys_project_id"), ondelete="CASCADE"
        ),
        sa.UniqueConstraint("key_id", name=op.f("uq_tuf_keys_key_id")),
    )
    op.create_index(op.f("ix_tuf_keys_project_id"), "tuf_keys", ["project_id"])
    op.create_index("ix_tuf_keys_role", "tuf_keys", ["gun", "role"])
    op.create_table(
        "tuf_changes",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("gun", sa.String(512), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("category", sa.String(16), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tuf_changes")),
    )
    op.create_index(op.f("ix_tuf_changes_gun"), "tuf_changes", ["gun"])
    op.create_table(
        "trusted_keys",
        *_project(),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("pem", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trusted_keys")),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_trusted_keys_project_id"), ondelete="CASCADE"
        ),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_trusted_keys_project_id_name")),
        sa.UniqueConstraint("project_id", "fingerprint", name=op.f("uq_trusted_keys_project_id_fingerprint")),
    )


def downgrade() -> None:
    for table in ("trusted_keys", "tuf_changes", "tuf_keys", "tuf_metadata"):
        op.drop_table(table)
