"""Scanning: advisories, layers, inventories, reports, scanners, exports"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "advisories",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("source", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("cves", sa.JSON(), nullable=False),
        sa.Column("withdrawn", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("severity", sa.String(length=16), server_default="", nullable=False),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("vector", sa.String(length=255), server_default="", nullable=False),
        sa.Column("summary", sa.Text(), server_default="", nullable=False),
        sa.Column("links", sa.JSON(), nullable=False),
        sa.Column("cwes", sa.JSON(), nullable=False),
        sa.Column("modified_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_advisories")),
        sa.UniqueConstraint("source", "name", name=op.f("uq_advisories_source_name")),
    )
    op.create_table(
        "advisory_sources",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("advisories", sa.Integer(), nullable=False),
        sa.Column("changed", sa.Integer(), nullable=False),
        sa.Column("modified_at", sa.Float(), nullable=True),
        sa.Column("imported_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_advisory_sources")),
    )
    op.create_table(
        "scan_exports",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("user_id", BIG, nullable=False),
        sa.Column("user_name", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), server_default="", nullable=False),
        sa.Column("criteria", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("status_text", sa.Text(), server_default="", nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=True),
        sa.Column("data", sa.LargeBinary(), nullable=True),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scan_exports")),
    )
    op.create_index(op.f("ix_scan_exports_user_id"), "scan_exports", ["user_id"], unique=False)
    op.create_table(
        "scan_inventories",
        sa.Column("digest", sa.String(length=140), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("packages", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_scan_inventories")),
    )
    op.create_table(
        "scan_layers",
        sa.Column("chain", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=140), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("used_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("chain", name=op.f("pk_scan_layers")),
    )
    op.create_index(op.f("ix_scan_layers_used_at"), "scan_layers", ["used_at"], unique=False)
    op.create_table(
        "scan_runs",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("trigger", sa.String(length=16), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("total", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=True),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scan_runs")),
    )
    op.create_table(
        "scanners",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("description", sa.String(length=1024), server_default="", nullable=False),
        sa.Column("url", sa.String(length=512), nullable=False),
        sa.Column("auth", sa.String(length=16), server_default="", nullable=False),
        sa.Column("credential", sa.Text(), nullable=True),
        sa.Column("disabled", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("is_default", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("skip_cert_verify", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("use_internal_addr", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scanners")),
        sa.UniqueConstraint("name", name=op.f("uq_scanners_name")),
        sa.UniqueConstraint("url", name=op.f("uq_scanners_url")),
        sa.UniqueConstraint("uuid", name=op.f("uq_scanners_uuid")),
    )
    op.create_table(
        "advisory_cves",
        sa.Column("cve", sa.String(length=128), nullable=False),
        sa.Column("advisory_id", BIG, nullable=False),
        sa.ForeignKeyConstraint(
            ["advisory_id"], ["advisories.id"], name=op.f("fk_advisory_cves_advisory_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("cve", "advisory_id", name=op.f("pk_advisory_cves")),
    )
    op.create_index(op.f("ix_advisory_cves_advisory_id"), "advisory_cves", ["advisory_id"], unique=False)
    op.create_table(
        "advisory_packages",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("advisory_id", BIG, nullable=False),
        sa.Column("ecosystem", sa.String(length=128), nullable=False),
        sa.Column("package", sa.String(length=255), nullable=False),
        sa.Column("ranges", sa.JSON(), nullable=False),
        sa.Column("versions", sa.JSON(), nullable=False),
        sa.Column("severity", sa.String(length=16), server_default="", nullable=False),
        sa.Column("status", sa.String(length=32), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["advisory_id"],
            ["advisories.id"],
            name=op.f("fk_advisory_packages_advisory_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_advisory_packages")),
    )
    op.create_index(
        op.f("ix_advisory_packages_advisory_id"), "advisory_packages", ["advisory_id"], unique=False
    )
    op.create_index(
        "ix_advisory_packages_package", "advisory_packages", ["ecosystem", "package"], unique=False
    )
    op.create_table(
        "project_scanners",
        sa.Column("project_id", BIG, nullable=False),
        sa.Column("scanner", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_project_scanners_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_project_scanners")),
    )
    op.create_table(
        "scan_reports",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=64), nullable=False),
        sa.Column("repository_id", BIG, nullable=False),
        sa.Column("digest", sa.String(length=140), nullable=False),
        sa.Column("scanner", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=True),
        sa.Column("run_id", BIG, nullable=True),
        sa.Column("severity", sa.String(length=16), server_default="", nullable=False),
        sa.Column("total", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("fixable", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=True),
        sa.Column("cves", sa.JSON(), nullable=True),
        sa.Column("data", sa.LargeBinary(), nullable=True),
        sa.Column("sbom_digest", sa.String(length=140), nullable=True),
        sa.Column("scanner_info", sa.JSON(), nullable=True),
        sa.Column("database_at", sa.Float(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("started_at", sa.Float(), nullable=True),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_scan_reports_repository_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scan_reports")),
        sa.UniqueConstraint(
            "repository_id",
            "digest",
            "scanner",
            "kind",
            name=op.f("uq_scan_reports_repository_id_digest_scanner_kind"),
        ),
        sa.UniqueConstraint("uuid", name=op.f("uq_scan_reports_uuid")),
    )
    op.create_index(op.f("ix_scan_reports_run_id"), "scan_reports", ["run_id"], unique=False)
    op.create_index(op.f("ix_scan_reports_scanner"), "scan_reports", ["scanner"], unique=False)
    op.create_index(op.f("ix_scan_reports_status"), "scan_reports", ["status"], unique=False)
    op.create_table(
        "scan_findings",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        sa.Column("report_id", BIG, nullable=False),
        sa.Column("cve", sa.String(length=128), nullable=False),
        sa.Column("package", sa.String(length=255), nullable=False),
        sa.Column("version", sa.String(length=255), nullable=False),
        sa.Column("fixed_version", sa.String(length=255), server_default="", nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("status", sa.String(length=32), server_default="", nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("links", sa.JSON(), nullable=True),
        sa.Column("cwes", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(
            ["report_id"], ["scan_reports.id"], name=op.f("fk_scan_findings_report_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scan_findings")),
    )
    op.create_index(op.f("ix_scan_findings_cve"), "scan_findings", ["cve"], unique=False)
    op.create_index(op.f("ix_scan_findings_package"), "scan_findings", ["package"], unique=False)
    op.create_index(op.f("ix_scan_findings_report_id"), "scan_findings", ["report_id"], unique=False)
    op.create_index(op.f("ix_scan_findings_severity"), "scan_findings", ["severity"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_scan_findings_severity"), table_name="scan_findings")
    op.drop_index(op.f("ix_scan_findings_report_id"), table_name="scan_findings")
    op.drop_index(op.f("ix_scan_findings_package"), table_name="scan_findings")
    op.drop_index(op.f("ix_scan_findings_cve"), table_name="scan_findings")
    op.drop_table("scan_findings")
    op.drop_index(op.f("ix_scan_reports_status"), table_name="scan_reports")
    op.drop_index(op.f("ix_scan_reports_scanner"), table_name="scan_reports")
    op.drop_index(op.f("ix_scan_reports_run_id"), table_name="scan_reports")
    op.drop_table("scan_reports")
    op.drop_table("project_scanners")
    op.drop_index("ix_advisory_packages_package", table_name="advisory_packages")
    op.drop_index(op.f("ix_advisory_packages_advisory_id"), table_name="advisory_packages")
    op.drop_table("advisory_packages")
    op.drop_index(op.f("ix_advisory_cves_advisory_id"), table_name="advisory_cves")
    op.drop_table("advisory_cves")
    op.drop_table("scanners")
    op.drop_table("scan_runs")
    op.drop_index(op.f("ix_scan_layers_used_at"), table_name="scan_layers")
    op.drop_table("scan_layers")
    op.drop_table("scan_inventories")
    op.drop_index(op.f("ix_scan_exports_user_id"), table_name="scan_exports")
    op.drop_table("scan_exports")
    op.drop_table("advisory_sources")
    op.drop_table("advisories")
