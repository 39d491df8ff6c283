"""Webhook policies with several targets; manifests deleted since the last garbage collection"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("webhook_policies", sa.Column("more_targets", sa.JSON(none_as_null=True), nullable=True))
    with op.batch_alter_table("webhook_deliveries") as deliveries:
        deliveries.add_column(sa.Column("target", sa.Integer(), nullable=False, server_default=sa.text("0")))
        deliveries.drop_constraint(op.f("uq_webhook_deliveries_policy_id_event"), type_="unique")
        deliveries.create_unique_constraint(
            op.f("uq_webhook_deliveries_policy_id_event_target"), ["policy_id", "event", "target"]
        )
    op.create_table(
        "manifest_trash",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("repository", sa.String(length=512), nullable=False),
        sa.Column("digest", sa.String(length=140), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_manifest_trash")),
    )


def downgrade() -> None:
    op.drop_table("manifest_trash")
    # What went to further targets is forgotten: the record knows one for each event again.
    op.execute("DELETE FROM webhook_deliveries WHERE target > 0")
    with op.batch_alter_table("webhook_deliveries") as deliveries:
        deliveries.drop_constraint(op.f("uq_webhook_deliveries_policy_id_event_target"), type_="unique")
        deliveries.create_unique_constraint(
            op.f("uq_webhook_deliveries_policy_id_event"), ["policy_id", "event"]
        )
        deliveries.drop_column("target")
    op.drop_column("webhook_policies", "more_targets")
