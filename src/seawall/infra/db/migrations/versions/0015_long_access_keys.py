"""Names that Seawall signs in with elsewhere may have 4,096 characters, as in Harbor 2.16"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _set(1024, 4096)


def downgrade() -> None:
    _set(4096, 1024)


def _set(before: int, after: int) -> None:
    with op.batch_alter_table("registries") as registries:
        registries.alter_column("access_key", type_=_string(after), existing_type=_string(before))


def _string(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")
