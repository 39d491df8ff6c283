"""All tables, and the triggers that count listed artifacts by time of push"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
# Names and texts have one order and one comparison, whatever collation the operator's database has: that of
# their code points (which is SQLite's too, and the lexical order of the distribution specification).
_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _string(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


# Widths of the windows: 2**22 s (49 days), 2**14 s (4.5 hours), 2**6 s (about a minute).
_BITS = (22, 14, 6)
_SCOPES = ("repository_id", "project_id")


def upgrade() -> None:
    op.create_table(
        "advisories",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("source", _string(128), nullable=False),
        sa.Column("name", _string(255), nullable=False),
        sa.Column("hash", _string(64), nullable=False),
        sa.Column("cves", sa.JSON(), nullable=False),
        sa.Column("withdrawn", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("severity", _string(16), server_default="", nullable=False),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("vector", _string(255), server_default="", nullable=False),
        sa.Column("summary", _TEXT, server_default="", nullable=False),
        sa.Column("links", sa.JSON(), nullable=False),
        sa.Column("cwes", sa.JSON(), nullable=False),
        sa.Column("modified_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_advisories")),
        sa.UniqueConstraint("source", "name", name=op.f("uq_advisories_source_name")),
    )
    op.create_table(
        "advisory_sources",
        sa.Column("name", _string(128), nullable=False),
        sa.Column("advisories", sa.Integer(), nullable=False),
        sa.Column("changed", sa.Integer(), nullable=False),
        sa.Column("modified_at", sa.Float(), nullable=True),
        sa.Column("imported_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_advisory_sources")),
    )
    op.create_table(
        "artifact_windows",
        sa.Column("scope", _string(16), nullable=False),
        sa.Column("scope_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("bits", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", _string(64), nullable=False),
        sa.Column("artifacts", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "scope", "scope_id", "bits", "number", "kind", name=op.f("pk_artifact_windows")
        ),
    )
    op.create_table(
        "audit_intents",
        sa.Column("id", _string(32), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("entry", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_intents")),
    )
    op.create_index(op.f("ix_audit_intents_at"), "audit_intents", ["at"], unique=False)
    op.create_table(
        "audit_log",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("username", _string(511), nullable=False),
        sa.Column("address", _string(64), nullable=False),
        sa.Column("operation", _string(32), nullable=False),
        sa.Column("resource_type", _string(64), nullable=False),
        sa.Column("resource", _string(1024), nullable=False),
        sa.Column("description", _TEXT, nullable=False),
        sa.Column("success", sa.Boolean(), nullable=False),
        sa.Column("project_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    op.create_index(op.f("ix_audit_log_at"), "audit_log", ["at"], unique=False)
    op.create_index("ix_audit_log_project", "audit_log", ["project_id", "id"], unique=False)
    op.create_index(op.f("ix_audit_log_username"), "audit_log", ["username"], unique=False)
    op.create_table(
        "blob_proofs",
        sa.Column("digest", _string(140), nullable=False),
        sa.Column("proven_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_blob_proofs")),
    )
    op.create_index(op.f("ix_blob_proofs_proven_at"), "blob_proofs", ["proven_at"], unique=False)
    op.create_table(
        "blob_trash",
        sa.Column("storage_key", _string(200), nullable=False),
        sa.Column("trashed_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("storage_key", name=op.f("pk_blob_trash")),
    )
    op.create_index(op.f("ix_blob_trash_trashed_at"), "blob_trash", ["trashed_at"], unique=False)
    op.create_table(
        "blobs",
        sa.Column("digest", _string(140), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("storage_key", _string(200), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("touched_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_blobs")),
    )
    op.create_index(op.f("ix_blobs_touched_at"), "blobs", ["touched_at"], unique=False)
    op.create_table(
        "change_feed",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("feed", _string(32), nullable=False),
        sa.Column("muted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("forgotten", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_change_feed")),
    )
    op.create_table(
        "change_log",
        sa.Column("seq", _ID, autoincrement=True, nullable=False),
        sa.Column("xid", sa.BigInteger(), nullable=True),
        sa.Column("table_name", _string(64), nullable=False),
        sa.Column("row_key", _TEXT, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_change_log")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_change_log_at"), "change_log", ["at"], unique=False)
    op.create_index(op.f("ix_change_log_xid"), "change_log", ["xid"], unique=False)
    op.create_table(
        "cluster_keys",
        sa.Column("name", _string(64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("material", sa.LargeBinary(), nullable=False),
        sa.Column("public", _TEXT, nullable=True),
        sa.Column("fingerprint", _string(64), server_default="", nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("active_at", sa.Float(), server_default="0", nullable=False),
        sa.Column("retire_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("name", "version", name=op.f("pk_cluster_keys")),
    )
    op.create_table(
        "commit_markers",
        sa.Column("connection", _string(32), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("connection", name=op.f("pk_commit_markers")),
    )
    op.create_table(
        "configurations",
        sa.Column("name", _string(128), nullable=False),
        sa.Column("value", sa.JSON(), nullable=True),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_configurations")),
    )
    op.create_table(
        "dr_blobs",
        sa.Column("digest", _string(140), nullable=False),
        sa.Column("storage_key", _string(200), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_dr_blobs")),
    )
    op.create_table(
        "dr_divergences",
        sa.Column("id", _string(36), nullable=False),
        sa.Column("kind", _string(64), nullable=False),
        sa.Column("name", _string(1024), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("outcome", _string(16), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dr_divergences")),
    )
    op.create_index(op.f("ix_dr_divergences_at"), "dr_divergences", ["at"], unique=False)
    op.create_table(
        "dr_state",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("role", _string(16), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("site", _string(64), nullable=False),
        sa.Column("lineage", _string(32), server_default="", nullable=False),
        sa.Column("writable_until", sa.Float(), nullable=True),
        sa.Column("applying", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("leader", _string(32), server_default="", nullable=False),
        sa.Column("leader_until", sa.Float(), server_default="0", nullable=False),
        sa.Column("peer", sa.JSON(), nullable=True),
        sa.Column("witness", sa.JSON(), nullable=True),
        sa.Column("cursor", _TEXT, nullable=True),
        sa.Column("revisions", _string(64), server_default="", nullable=False),
        sa.Column("complete", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("syncing", _string(16), nullable=True),
        sa.Column("error", _TEXT, nullable=True),
        sa.Column("behind", sa.BigInteger(), nullable=True),
        sa.Column("synced_at", sa.Float(), nullable=True),
        sa.Column("applied_at", sa.Float(), nullable=True),
        sa.Column("base", _TEXT, nullable=True),
        sa.Column("promised_until", sa.Float(), server_default="0", nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dr_state")),
    )
    op.create_table(
        "instances",
        sa.Column("id", _string(32), nullable=False),
        sa.Column("hostname", _string(255), nullable=False),
        sa.Column("address", _string(255), nullable=False),
        sa.Column("version", _string(64), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("seen_at", sa.Float(), nullable=False),
        sa.Column("clock_skew", sa.Float(), server_default="0", nullable=False),
        sa.Column("external_url", _string(255), server_default="", nullable=False),
        sa.Column("config_hash", _string(64), server_default="", nullable=False),
        sa.Column("fingerprints", sa.JSON(), nullable=False),
        sa.Column("health", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instances")),
    )
    op.create_index(op.f("ix_instances_seen_at"), "instances", ["seen_at"], unique=False)
    op.create_table(
        "job_queues",
        sa.Column("kind", _string(64), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("kind", name=op.f("pk_job_queues")),
    )
    op.create_table(
        "job_runners",
        sa.Column("id", _string(36), nullable=False),
        sa.Column("host", _string(255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", _string(32), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("heartbeat_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_runners")),
    )
    op.create_index(op.f("ix_job_runners_heartbeat_at"), "job_runners", ["heartbeat_at"], unique=False)
    op.create_table(
        "job_schedules",
        sa.Column("name", _string(255), nullable=False),
        sa.Column("cron", _string(255), nullable=False),
        sa.Column("kind", _string(64), nullable=False),
        sa.Column("args", sa.JSON(), nullable=False),
        sa.Column("next_at", sa.Float(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_job_schedules")),
    )
    op.create_index(op.f("ix_job_schedules_next_at"), "job_schedules", ["next_at"], unique=False)
    op.create_table(
        "jobs",
        sa.Column("id", _string(36), nullable=False),
        sa.Column("kind", _string(64), nullable=False),
        sa.Column("status", _string(16), nullable=False),
        sa.Column("args", sa.JSON(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("error", _TEXT, nullable=True),
        sa.Column("progress", sa.JSON(), nullable=True),
        sa.Column("dedup_key", _string(255), nullable=True),
        sa.Column("trigger", _string(16), nullable=False),
        sa.Column("schedule", _string(255), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("run_at", sa.Float(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=True),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("takeovers", sa.Integer(), nullable=False),
        sa.Column("stop_requested", sa.Boolean(), nullable=False),
        sa.Column("runner", _string(36), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("dedup_key", name=op.f("uq_jobs_dedup_key")),
    )
    op.create_index(op.f("ix_jobs_created_at"), "jobs", ["created_at"], unique=False)
    op.create_index("ix_jobs_kind_created_at", "jobs", ["kind", "created_at"], unique=False)
    op.create_index(op.f("ix_jobs_runner"), "jobs", ["runner"], unique=False)
    op.create_index("ix_jobs_status_run_at", "jobs", ["status", "run_at"], unique=False)
    op.create_table(
        "login_failures",
        sa.Column("key", _string(320), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_login_failures")),
    )
    op.create_index(op.f("ix_login_failures_last_at"), "login_failures", ["last_at"], unique=False)
    op.create_table(
        "outbox",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("kind", _string(64), nullable=False),
        sa.Column("subscriber", _string(64), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_at", sa.Float(), server_default="0", nullable=False),
        sa.Column("last_error", _TEXT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    op.create_index(op.f("ix_outbox_next_at"), "outbox", ["next_at"], unique=False)
    op.create_index(op.f("ix_outbox_subscriber"), "outbox", ["subscriber"], unique=False)
    op.create_table(
        "peer_conflicts",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("kind", _string(32), nullable=False),
        sa.Column("key", _string(1024), nullable=False),
        sa.Column("kept_version", _string(128), nullable=False),
        sa.Column("dropped_version", _string(128), nullable=False),
        sa.Column("note", _TEXT, server_default="", nullable=False),
        sa.Column("acknowledged_at", sa.Float(), nullable=True),
        sa.Column("acknowledged_by", _string(255), nullable=True),
        sa.Column("kept", _TEXT, nullable=False),
        sa.Column("dropped", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_peer_conflicts")),
    )
    op.create_index(
        op.f("ix_peer_conflicts_dropped_version"), "peer_conflicts", ["dropped_version"], unique=False
    )
    op.create_table(
        "peer_entries",
        sa.Column("kind", _string(32), nullable=False),
        sa.Column("key", _string(1024), nullable=False),
        sa.Column("row_key", _string(1024), server_default="", nullable=False),
        sa.Column("version", _string(128), nullable=False),
        sa.Column("vector", sa.JSON(), nullable=False),
        sa.Column("digest", _string(64), nullable=False),
        sa.Column("deleted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("cascade", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "key", name=op.f("pk_peer_entries")),
    )
    op.create_index(op.f("ix_peer_entries_row_key"), "peer_entries", ["row_key"], unique=False)
    op.create_index(op.f("ix_peer_entries_seq"), "peer_entries", ["seq"], unique=False)
    op.create_table(
        "peer_links",
        sa.Column("url", _string(1024), nullable=False),
        sa.Column("name", _string(64), server_default="", nullable=False),
        sa.Column("epoch", _string(32), server_default="", nullable=False),
        sa.Column("cursor", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("synced_at", sa.Float(), nullable=True),
        sa.Column("seen_at", sa.Float(), nullable=True),
        sa.Column("error", _TEXT, nullable=True),
        sa.PrimaryKeyConstraint("url", name=op.f("pk_peer_links")),
    )
    op.create_table(
        "peer_pending",
        sa.Column("kind", _string(32), nullable=False),
        sa.Column("key", _string(1024), nullable=False),
        sa.Column("entry", sa.JSON(), nullable=False),
        sa.Column("document", _TEXT, nullable=False),
        sa.Column("url", _string(1024), nullable=False),
        sa.Column("reason", _TEXT, server_default="", nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "key", name=op.f("pk_peer_pending")),
    )
    op.create_table(
        "peer_state",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", _string(64), nullable=False),
        sa.Column("epoch", _string(32), nullable=False),
        sa.Column("seq", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("clock_ms", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("clock_counter", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("feed_cursor", _TEXT, nullable=True),
        sa.Column("purged_seq", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_peer_state")),
    )
    op.create_table(
        "peer_transfers",
        sa.Column("digest", _string(140), nullable=False),
        sa.Column("repository", _string(512), nullable=False),
        sa.Column("session", _string(64), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("digest", "repository", name=op.f("pk_peer_transfers")),
    )
    op.create_table(
        "preheat_instances",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("name", _string(255), nullable=False),
        sa.Column("description", _TEXT, nullable=False),
        sa.Column("vendor", _string(32), nullable=False),
        sa.Column("endpoint", _string(1024), nullable=False),
        sa.Column("auth_mode", _string(16), nullable=False),
        sa.Column("auth_info", _TEXT, nullable=True),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("insecure", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_preheat_instances")),
        sa.UniqueConstraint("endpoint", name=op.f("uq_preheat_instances_endpoint")),
        sa.UniqueConstraint("name", name=op.f("uq_preheat_instances_name")),
    )
    op.create_table(
        "registries",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("name", _string(255), nullable=False),
        sa.Column("description", _TEXT, nullable=False),
        sa.Column("type", _string(64), nullable=False),
        sa.Column("url", _string(1024), nullable=False),
        sa.Column("credential_type", _string(32), nullable=False),
        sa.Column("access_key", _string(1024), nullable=True),
        sa.Column("access_secret", _TEXT, nullable=True),
        sa.Column("insecure", sa.Boolean(), nullable=False),
        sa.Column("ca_certificate", _TEXT, nullable=True),
        sa.Column("status", _string(16), nullable=False),
        sa.Column("checked_at", sa.Float(), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registries")),
        sa.UniqueConstraint("name", name=op.f("uq_registries_name")),
    )
    op.create_table(
        "scan_exports",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("user_name", _string(255), nullable=False),
        sa.Column("name", _string(255), server_default="", nullable=False),
        sa.Column("criteria", sa.JSON(), nullable=False),
        sa.Column("status", _string(16), nullable=False),
        sa.Column("status_text", _TEXT, server_default="", nullable=False),
        sa.Column("job_id", _string(64), nullable=True),
        sa.Column("data", sa.LargeBinary(), nullable=True),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scan_exports")),
    )
    op.create_index(op.f("ix_scan_exports_user_id"), "scan_exports", ["user_id"], unique=False)
    op.create_table(
        "scan_inventories",
        sa.Column("digest", _string(140), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("packages", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_scan_inventories")),
    )
    op.create_table(
        "scan_layers",
        sa.Column("chain", _string(64), nullable=False),
        sa.Column("digest", _string(140), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("used_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("chain", name=op.f("pk_scan_layers")),
    )
    op.create_index(op.f("ix_scan_layers_used_at"), "scan_layers", ["used_at"], unique=False)
    op.create_table(
        "scan_requests",
        sa.Column("id", _string(64), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("credential", _TEXT, nullable=True),
        sa.Column("status", _string(16), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=True),
        sa.Column("error", _TEXT, nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scan_requests")),
    )
    op.create_index(op.f("ix_scan_requests_created_at"), "scan_requests", ["created_at"], unique=False)
    op.create_table(
        "scan_runs",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("trigger", _string(16), nullable=False),
        sa.Column("job_id", _string(64), nullable=True),
        sa.Column("status", _string(16), nullable=False),
        sa.Column("total", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=True),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scan_runs")),
    )
    op.create_table(
        "scanners",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("uuid", _string(64), nullable=False),
        sa.Column("name", _string(128), nullable=False),
        sa.Column("description", _string(1024), server_default="", nullable=False),
        sa.Column("url", _string(512), nullable=False),
        sa.Column("auth", _string(16), server_default="", nullable=False),
        sa.Column("credential", _TEXT, nullable=True),
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
        "schema_compatibility",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("min_compatible", _string(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schema_compatibility")),
    )
    op.create_table(
        "tuf_changes",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("gun", _string(512), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sha256", _string(64), nullable=False),
        sa.Column("category", _string(16), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tuf_changes")),
    )
    op.create_index(op.f("ix_tuf_changes_gun"), "tuf_changes", ["gun"], unique=False)
    op.create_table(
        "upload_leases",
        sa.Column("upload_id", _string(36), nullable=False),
        sa.Column("owner", _string(32), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("upload_id", name=op.f("pk_upload_leases")),
    )
    op.create_index(op.f("ix_upload_leases_expires_at"), "upload_leases", ["expires_at"], unique=False)
    op.create_table(
        "user_groups",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("name", _string(255), nullable=False),
        sa.Column("type", sa.Integer(), nullable=False),
        sa.Column("ldap_group_dn", _string(512), server_default="", nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_groups")),
        sa.UniqueConstraint(
            "name", "type", "ldap_group_dn", name=op.f("uq_user_groups_name_type_ldap_group_dn")
        ),
    )
    op.create_table(
        "users",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("username", _string(255), nullable=False),
        sa.Column("email", _string(255), nullable=True),
        sa.Column("realname", _string(255), server_default="", nullable=False),
        sa.Column("comment", _string(255), server_default="", nullable=False),
        sa.Column("password_hash", _string(255), nullable=True),
        sa.Column("sysadmin", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("username", name=op.f("uq_users_username")),
    )
    op.create_table(
        "advisory_cves",
        sa.Column("cve", _string(128), nullable=False),
        sa.Column("advisory_id", _ID, nullable=False),
        sa.ForeignKeyConstraint(
            ["advisory_id"], ["advisories.id"], name=op.f("fk_advisory_cves_advisory_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("cve", "advisory_id", name=op.f("pk_advisory_cves")),
    )
    op.create_index(op.f("ix_advisory_cves_advisory_id"), "advisory_cves", ["advisory_id"], unique=False)
    op.create_table(
        "advisory_packages",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("advisory_id", _ID, nullable=False),
        sa.Column("ecosystem", _string(128), nullable=False),
        sa.Column("package", _string(255), nullable=False),
        sa.Column("ranges", sa.JSON(), nullable=False),
        sa.Column("versions", sa.JSON(), nullable=False),
        sa.Column("severity", _string(16), server_default="", nullable=False),
        sa.Column("status", _string(32), server_default="", nullable=False),
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
        "job_logs",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("job_id", _string(36), nullable=False),
        sa.Column("text", _TEXT, nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_logs_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_logs")),
    )
    op.create_index(op.f("ix_job_logs_job_id"), "job_logs", ["job_id"], unique=False)
    op.create_table(
        "job_numbers",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("job_id", _string(36), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_job_numbers_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_numbers")),
        sa.UniqueConstraint("job_id", name=op.f("uq_job_numbers_job_id")),
    )
    op.create_table(
        "oidc_users",
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("issuer", _string(255), nullable=False),
        sa.Column("subject", _string(255), nullable=False),
        sa.Column("secret", _TEXT, nullable=False),
        sa.Column("token", _TEXT, nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_oidc_users_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_oidc_users")),
        sa.UniqueConstraint("issuer", "subject", name=op.f("uq_oidc_users_issuer_subject")),
    )
    op.create_table(
        "projects",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("name", _string(255), nullable=False),
        sa.Column("owner_id", _ID, nullable=True),
        sa.Column("public", sa.Boolean(), nullable=False),
        sa.Column("registry_id", _ID, nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name=op.f("fk_projects_owner_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
        sa.UniqueConstraint("name", name=op.f("uq_projects_name")),
    )
    op.create_table(
        "replication_policies",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("name", _string(255), nullable=False),
        sa.Column("description", _TEXT, nullable=False),
        sa.Column("src_registry_id", _ID, nullable=True),
        sa.Column("dest_registry_id", _ID, nullable=True),
        sa.Column("dest_namespace", _string(255), nullable=False),
        sa.Column("dest_namespace_replace_count", sa.Integer(), nullable=False),
        sa.Column("trigger_type", _string(16), nullable=False),
        sa.Column("cron", _string(255), nullable=True),
        sa.Column("filters", sa.JSON(), nullable=False),
        sa.Column("replicate_deletion", sa.Boolean(), nullable=False),
        sa.Column("override", sa.Boolean(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("speed", sa.Integer(), nullable=False),
        sa.Column("copy_by_chunk", sa.Boolean(), nullable=False),
        sa.Column("single_active", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dest_registry_id"], ["registries.id"], name=op.f("fk_replication_policies_dest_registry_id")
        ),
        sa.ForeignKeyConstraint(
            ["src_registry_id"], ["registries.id"], name=op.f("fk_replication_policies_src_registry_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replication_policies")),
        sa.UniqueConstraint("name", name=op.f("uq_replication_policies_name")),
    )
    op.create_index(
        op.f("ix_replication_policies_dest_registry_id"),
        "replication_policies",
        ["dest_registry_id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_replication_policies_src_registry_id"),
        "replication_policies",
        ["src_registry_id"],
        unique=False,
    )
    op.create_table(
        "sessions",
        sa.Column("id_hash", _string(64), nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("seen_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.Column("address", _string(64), server_default="", nullable=False),
        sa.Column("agent", _string(255), server_default="", nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_sessions_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id_hash", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_expires_at"), "sessions", ["expires_at"], unique=False)
    op.create_index(op.f("ix_sessions_user_id"), "sessions", ["user_id"], unique=False)
    op.create_table(
        "user_group_members",
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("group_id", _ID, nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"], ["user_groups.id"], name=op.f("fk_user_group_members_group_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_user_group_members_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "group_id", name=op.f("pk_user_group_members")),
    )
    op.create_index(op.f("ix_user_group_members_group_id"), "user_group_members", ["group_id"], unique=False)
    op.create_table(
        "cve_allowlists",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("project_id", _ID, nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("items", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_cve_allowlists_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cve_allowlists")),
        sa.UniqueConstraint("project_id", name=op.f("uq_cve_allowlists_project_id")),
    )
    op.create_table(
        "immutable_rules",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("priority", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("rule", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_immutable_rules_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_immutable_rules")),
    )
    op.create_index(op.f("ix_immutable_rules_project_id"), "immutable_rules", ["project_id"], unique=False)
    op.create_table(
        "labels",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("name", _string(128), nullable=False),
        sa.Column("description", _TEXT, server_default="", nullable=False),
        sa.Column("color", _string(16), server_default="", nullable=False),
        sa.Column("project_id", _ID, nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_labels_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_labels")),
    )
    op.create_index(op.f("ix_labels_project_id"), "labels", ["project_id"], unique=False)
    op.create_index(
        "uq_labels_global",
        "labels",
        ["name"],
        unique=True,
        sqlite_where=sa.text("project_id IS NULL"),
        postgresql_where=sa.text("project_id IS NULL"),
    )
    op.create_index("uq_labels_project", "labels", ["project_id", "name"], unique=True)
    op.create_table(
        "preheat_policies",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("provider_id", _ID, nullable=False),
        sa.Column("name", _string(255), nullable=False),
        sa.Column("description", _TEXT, nullable=False),
        sa.Column("filters", sa.JSON(), nullable=False),
        sa.Column("trigger_type", _string(16), nullable=False),
        sa.Column("cron", _string(255), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("extra_attrs", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_preheat_policies_project_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["provider_id"], ["preheat_instances.id"], name=op.f("fk_preheat_policies_provider_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_preheat_policies")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_preheat_policies_project_id_name")),
    )
    op.create_index(
        op.f("ix_preheat_policies_provider_id"), "preheat_policies", ["provider_id"], unique=False
    )
    op.create_table(
        "project_blobs",
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("digest", _string(140), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("refs", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_project_blobs_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", "digest", name=op.f("pk_project_blobs")),
    )
    op.create_table(
        "project_members",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("user_id", _ID, nullable=True),
        sa.Column("group_id", _ID, nullable=True),
        sa.Column("role", _string(32), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"], ["user_groups.id"], name=op.f("fk_project_members_group_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_project_members_project_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_project_members_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project_members")),
        sa.UniqueConstraint("project_id", "group_id", name=op.f("uq_project_members_project_id_group_id")),
        sa.UniqueConstraint("project_id", "user_id", name=op.f("uq_project_members_project_id_user_id")),
    )
    op.create_index(op.f("ix_project_members_group_id"), "project_members", ["group_id"], unique=False)
    op.create_index(op.f("ix_project_members_user_id"), "project_members", ["user_id"], unique=False)
    op.create_table(
        "project_metadata",
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("name", _string(255), nullable=False),
        sa.Column("value", _TEXT, nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_project_metadata_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", "name", name=op.f("pk_project_metadata")),
    )
    op.create_table(
        "project_scanners",
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("scanner", _string(64), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_project_scanners_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_project_scanners")),
    )
    op.create_table(
        "quotas",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("hard_storage", sa.BigInteger(), server_default=sa.text("-1"), nullable=False),
        sa.Column("used_storage", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_quotas_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quotas")),
        sa.UniqueConstraint("project_id", name=op.f("uq_quotas_project_id")),
    )
    op.create_table(
        "replication_executions",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("policy_id", _ID, nullable=False),
        sa.Column("status", _string(16), nullable=False),
        sa.Column("status_text", _TEXT, nullable=False),
        sa.Column("trigger", _string(16), nullable=False),
        sa.Column("planned", sa.Boolean(), nullable=False),
        sa.Column("job_id", _string(36), nullable=True),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["policy_id"],
            ["replication_policies.id"],
            name=op.f("fk_replication_executions_policy_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replication_executions")),
    )
    op.create_index(
        op.f("ix_replication_executions_policy_id"), "replication_executions", ["policy_id"], unique=False
    )
    op.create_table(
        "repositories",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("name", _string(512), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.Column("description", _TEXT, server_default="", nullable=False),
        sa.Column("artifact_count", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("pull_count", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("pushed_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_repositories_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_repositories")),
        sa.UniqueConstraint("name", name=op.f("uq_repositories_name")),
    )
    op.create_index(
        "ix_repositories_created", "repositories", ["project_id", "created_at", "id"], unique=False
    )
    op.create_index(op.f("ix_repositories_project_id"), "repositories", ["project_id"], unique=False)
    op.create_table(
        "retention_policies",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("algorithm", _string(16), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("cron", _string(128), server_default="", nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_retention_policies_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retention_policies")),
        sa.UniqueConstraint("project_id", name=op.f("uq_retention_policies_project_id")),
    )
    op.create_table(
        "robots",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("name", _string(511), nullable=False),
        sa.Column("project_id", _ID, nullable=True),
        sa.Column("description", _string(1024), server_default="", nullable=False),
        sa.Column("secret_hash", _string(255), nullable=False),
        sa.Column("permissions", sa.JSON(), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("duration", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("creator_type", _string(16), server_default="local", nullable=False),
        sa.Column("creator_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_robots_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_robots")),
        sa.UniqueConstraint("name", name=op.f("uq_robots_name")),
    )
    op.create_index(op.f("ix_robots_project_id"), "robots", ["project_id"], unique=False)
    op.create_table(
        "trusted_keys",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("name", _string(255), nullable=False),
        sa.Column("kind", _string(16), nullable=False),
        sa.Column("pem", _TEXT, nullable=False),
        sa.Column("fingerprint", _string(64), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("identities", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_trusted_keys_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trusted_keys")),
        sa.UniqueConstraint("project_id", "fingerprint", name=op.f("uq_trusted_keys_project_id_fingerprint")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_trusted_keys_project_id_name")),
    )
    op.create_table(
        "tuf_keys",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("gun", _string(512), nullable=False),
        sa.Column("role", _string(255), nullable=False),
        sa.Column("key_id", _string(64), nullable=False),
        sa.Column("public", _TEXT, nullable=False),
        sa.Column("private", _TEXT, nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_tuf_keys_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tuf_keys")),
        sa.UniqueConstraint("key_id", name=op.f("uq_tuf_keys_key_id")),
    )
    op.create_index(op.f("ix_tuf_keys_project_id"), "tuf_keys", ["project_id"], unique=False)
    op.create_index("ix_tuf_keys_role", "tuf_keys", ["gun", "role"], unique=False)
    op.create_table(
        "tuf_metadata",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("gun", _string(512), nullable=False),
        sa.Column("role", _string(255), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sha256", _string(64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_tuf_metadata_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tuf_metadata")),
        sa.UniqueConstraint("gun", "role", "version", name=op.f("uq_tuf_metadata_gun_role_version")),
    )
    op.create_index(op.f("ix_tuf_metadata_project_id"), "tuf_metadata", ["project_id"], unique=False)
    op.create_index("ix_tuf_metadata_sha256", "tuf_metadata", ["gun", "sha256"], unique=False)
    op.create_table(
        "webhook_policies",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("name", _string(255), nullable=False),
        sa.Column("description", _TEXT, server_default="", nullable=False),
        sa.Column("target_type", _string(16), nullable=False),
        sa.Column("address", _string(2048), nullable=False),
        sa.Column("skip_verify", sa.Boolean(), nullable=False),
        sa.Column("payload_format", _string(32), nullable=False),
        sa.Column("event_types", sa.JSON(), nullable=False),
        sa.Column("creator", _string(255), server_default="", nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.Column("secret", _TEXT, nullable=True),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_webhook_policies_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_policies")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_webhook_policies_project_id_name")),
    )
    op.create_table(
        "manifests",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("repository_id", _ID, nullable=False),
        sa.Column("digest", _string(140), nullable=False),
        sa.Column("media_type", _string(255), nullable=False),
        sa.Column("artifact_type", _string(255), nullable=True),
        sa.Column("config_media_type", _string(255), nullable=True),
        sa.Column("subject_digest", _string(140), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("annotations", sa.JSON(), nullable=True),
        sa.Column("pushed_at", sa.Float(), nullable=False),
        sa.Column("project_id", _ID, nullable=True),
        sa.Column("kind", _string(64), nullable=True),
        sa.Column("accessory_type", _string(64), nullable=True),
        sa.Column("accessory_of", _string(140), nullable=True),
        sa.Column("total_size", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("listed", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("pulled_at", sa.Float(), nullable=True),
        sa.Column("attributes", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_manifests_repository_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_manifests")),
        sa.UniqueConstraint("repository_id", "digest", name=op.f("uq_manifests_repository_id_digest")),
    )
    op.create_index("ix_manifests_accessory", "manifests", ["repository_id", "accessory_of"], unique=False)
    op.create_index(
        "ix_manifests_kind", "manifests", ["repository_id", "kind", "listed", "pushed_at", "id"], unique=False
    )
    op.create_index(
        "ix_manifests_listed", "manifests", ["repository_id", "listed", "pushed_at", "id"], unique=False
    )
    op.create_index(
        "ix_manifests_project", "manifests", ["project_id", "listed", "pushed_at", "id"], unique=False
    )
    op.create_index(
        "ix_manifests_project_kind",
        "manifests",
        ["project_id", "kind", "listed", "pushed_at", "id"],
        unique=False,
    )
    op.create_index("ix_manifests_subject", "manifests", ["repository_id", "subject_digest"], unique=False)
    op.create_table(
        "preheat_executions",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("policy_id", _ID, nullable=False),
        sa.Column("status", _string(16), nullable=False),
        sa.Column("message", _TEXT, nullable=False),
        sa.Column("trigger", _string(16), nullable=False),
        sa.Column("planned", sa.Boolean(), nullable=False),
        sa.Column("job_id", _string(36), nullable=True),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["policy_id"],
            ["preheat_policies.id"],
            name=op.f("fk_preheat_executions_policy_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_preheat_executions")),
    )
    op.create_index(
        op.f("ix_preheat_executions_policy_id"), "preheat_executions", ["policy_id"], unique=False
    )
    op.create_table(
        "replication_tasks",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("execution_id", _ID, nullable=False),
        sa.Column("status", _string(16), nullable=False),
        sa.Column("operation", _string(16), nullable=False),
        sa.Column("resource_type", _string(32), nullable=False),
        sa.Column("src_resource", _string(1024), nullable=False),
        sa.Column("dst_resource", _string(1024), nullable=False),
        sa.Column("work", sa.JSON(), nullable=False),
        sa.Column("state", sa.JSON(), nullable=False),
        sa.Column("job_id", _string(36), nullable=True),
        sa.Column("started_at", sa.Float(), nullable=True),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["replication_executions.id"],
            name=op.f("fk_replication_tasks_execution_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replication_tasks")),
    )
    op.create_index(
        op.f("ix_replication_tasks_execution_id"), "replication_tasks", ["execution_id"], unique=False
    )
    op.create_index(op.f("ix_replication_tasks_job_id"), "replication_tasks", ["job_id"], unique=False)
    op.create_table(
        "repository_blobs",
        sa.Column("repository_id", _ID, nullable=False),
        sa.Column("digest", _string(140), nullable=False),
        sa.Column("touched_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["digest"], ["blobs.digest"], name=op.f("fk_repository_blobs_digest")),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_repository_blobs_repository_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("repository_id", "digest", name=op.f("pk_repository_blobs")),
    )
    op.create_index(op.f("ix_repository_blobs_digest"), "repository_blobs", ["digest"], unique=False)
    op.create_index(op.f("ix_repository_blobs_touched_at"), "repository_blobs", ["touched_at"], unique=False)
    op.create_table(
        "retention_executions",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("policy_id", _ID, nullable=False),
        sa.Column("trigger", _string(16), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("status", _string(16), nullable=False),
        sa.Column("operator", _string(255), server_default="", nullable=False),
        sa.Column("job_id", _string(64), nullable=True),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["policy_id"],
            ["retention_policies.id"],
            name=op.f("fk_retention_executions_policy_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retention_executions")),
    )
    op.create_index(
        op.f("ix_retention_executions_policy_id"), "retention_executions", ["policy_id"], unique=False
    )
    op.create_table(
        "scan_reports",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("uuid", _string(64), nullable=False),
        sa.Column("repository_id", _ID, nullable=False),
        sa.Column("digest", _string(140), nullable=False),
        sa.Column("scanner", _string(64), nullable=False),
        sa.Column("kind", _string(16), nullable=False),
        sa.Column("status", _string(16), nullable=False),
        sa.Column("job_id", _string(64), nullable=True),
        sa.Column("run_id", _ID, nullable=True),
        sa.Column("severity", _string(16), server_default="", nullable=False),
        sa.Column("total", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("fixable", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=True),
        sa.Column("cves", sa.JSON(), nullable=True),
        sa.Column("data", sa.LargeBinary(), nullable=True),
        sa.Column("sbom_digest", _string(140), nullable=True),
        sa.Column("scanner_info", sa.JSON(), nullable=True),
        sa.Column("database_at", sa.Float(), nullable=True),
        sa.Column("error", _TEXT, nullable=True),
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
        "uploads",
        sa.Column("id", _string(36), nullable=False),
        sa.Column("repository_id", _ID, nullable=False),
        sa.Column("upload_offset", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.JSON(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"], ["repositories.id"], name=op.f("fk_uploads_repository_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
    )
    op.create_index(op.f("ix_uploads_updated_at"), "uploads", ["updated_at"], unique=False)
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("policy_id", _ID, nullable=False),
        sa.Column("event", _string(64), nullable=False),
        sa.Column("event_type", _string(64), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("status", _string(16), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("log", _TEXT, server_default="", nullable=False),
        sa.Column("job_id", _string(64), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["policy_id"],
            ["webhook_policies.id"],
            name=op.f("fk_webhook_deliveries_policy_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
        sa.UniqueConstraint("policy_id", "event", name=op.f("uq_webhook_deliveries_policy_id_event")),
    )
    op.create_index(
        op.f("ix_webhook_deliveries_created_at"), "webhook_deliveries", ["created_at"], unique=False
    )
    op.create_index(
        "ix_webhook_deliveries_type",
        "webhook_deliveries",
        ["policy_id", "event_type", "created_at"],
        unique=False,
    )
    op.create_table(
        "manifest_labels",
        sa.Column("manifest_id", _ID, nullable=False),
        sa.Column("label_id", _ID, nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["label_id"], ["labels.id"], name=op.f("fk_manifest_labels_label_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["manifest_id"], ["manifests.id"], name=op.f("fk_manifest_labels_manifest_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("manifest_id", "label_id", name=op.f("pk_manifest_labels")),
    )
    op.create_index(op.f("ix_manifest_labels_label_id"), "manifest_labels", ["label_id"], unique=False)
    op.create_table(
        "manifest_payloads",
        sa.Column("manifest_id", _ID, nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["manifest_id"],
            ["manifests.id"],
            name=op.f("fk_manifest_payloads_manifest_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("manifest_id", name=op.f("pk_manifest_payloads")),
    )
    op.create_table(
        "manifest_references",
        sa.Column("manifest_id", _ID, nullable=False),
        sa.Column("digest", _string(140), nullable=False),
        sa.Column("kind", _string(8), nullable=False),
        sa.Column("repository_id", _ID, nullable=False),
        sa.ForeignKeyConstraint(
            ["manifest_id"],
            ["manifests.id"],
            name=op.f("fk_manifest_references_manifest_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("manifest_id", "digest", "kind", name=op.f("pk_manifest_references")),
    )
    op.create_index(
        "ix_manifest_references_target", "manifest_references", ["repository_id", "digest"], unique=False
    )
    op.create_table(
        "preheat_tasks",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("execution_id", _ID, nullable=False),
        sa.Column("status", _string(16), nullable=False),
        sa.Column("message", _TEXT, nullable=False),
        sa.Column("repository", _string(512), nullable=False),
        sa.Column("tag", _string(255), nullable=False),
        sa.Column("digest", _string(140), nullable=False),
        sa.Column("kind", _string(64), nullable=False),
        sa.Column("runs", sa.Integer(), nullable=False),
        sa.Column("remote_id", _string(255), nullable=True),
        sa.Column("job_id", _string(36), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=True),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["preheat_executions.id"],
            name=op.f("fk_preheat_tasks_execution_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_preheat_tasks")),
    )
    op.create_index(op.f("ix_preheat_tasks_execution_id"), "preheat_tasks", ["execution_id"], unique=False)
    op.create_index(op.f("ix_preheat_tasks_job_id"), "preheat_tasks", ["job_id"], unique=False)
    op.create_table(
        "retention_tasks",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("execution_id", _ID, nullable=False),
        sa.Column("repository", _string(512), nullable=False),
        sa.Column("status", _string(16), nullable=False),
        sa.Column("total", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("retained", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("log", _TEXT, server_default="", nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["retention_executions.id"],
            name=op.f("fk_retention_tasks_execution_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retention_tasks")),
        sa.UniqueConstraint(
            "execution_id", "repository", name=op.f("uq_retention_tasks_execution_id_repository")
        ),
    )
    op.create_table(
        "scan_findings",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("report_id", _ID, nullable=False),
        sa.Column("cve", _string(128), nullable=False),
        sa.Column("package", _string(255), nullable=False),
        sa.Column("version", _string(255), nullable=False),
        sa.Column("fixed_version", _string(255), server_default="", nullable=False),
        sa.Column("severity", _string(16), nullable=False),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("status", _string(32), server_default="", nullable=False),
        sa.Column("description", _TEXT, server_default="", nullable=False),
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
    op.create_table(
        "tags",
        sa.Column("repository_id", _ID, nullable=False),
        sa.Column("name", _string(128), nullable=False),
        sa.Column("manifest_id", _ID, nullable=False),
        sa.Column("pushed_at", sa.Float(), nullable=False),
        sa.Column("pulled_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["manifest_id"], ["manifests.id"], name=op.f("fk_tags_manifest_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["repository_id"], ["repositories.id"], name=op.f("fk_tags_repository_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("repository_id", "name", name=op.f("pk_tags")),
    )
    op.create_index(op.f("ix_tags_manifest_id"), "tags", ["manifest_id"], unique=False)
    if op.get_bind().dialect.name == "postgresql":
        _postgresql()
    else:
        _sqlite()


def _number(time: str, bits: int) -> str:
    if op.get_bind().dialect.name == "postgresql":
        return f"floor({time})::bigint >> {bits}"
    return f"CAST({time} AS INTEGER) >> {bits}"


def _change(row: str, by: int) -> str:
    """Statements that count `row` (NEW, OLD) up or down, in either dialect."""
    keys = " UNION ALL ".join(
        f"SELECT '{scope}' AS scope, {row}.{scope} AS scope_id, {bits} AS bits, "
        f"{_number(f'{row}.pushed_at', bits)} AS number"
        for scope in _SCOPES
        for bits in _BITS
    )
    if by > 0:
        return (
            "INSERT INTO artifact_windows (scope, scope_id, bits, number, kind, artifacts) "  # noqa: S608 - constants
            f"SELECT scope, scope_id, bits, number, COALESCE({row}.kind, ''), 1 FROM ({keys}) AS keys "
            "WHERE scope_id IS NOT NULL "
            "ON CONFLICT (scope, scope_id, bits, number, kind) "
            "DO UPDATE SET artifacts = artifact_windows.artifacts + 1;"
        )
    mine = f"kind = COALESCE({row}.kind, '') AND (scope, scope_id, bits, number) IN ({keys})"
    return (
        f"UPDATE artifact_windows SET artifacts = artifacts - 1 WHERE {mine};"  # noqa: S608 - constants
        f"DELETE FROM artifact_windows WHERE artifacts <= 0 AND {mine};"
    )


def _sqlite() -> None:
    columns = "listed, kind, pushed_at, repository_id, project_id"
    for name, when, condition, row, by in (
        ("added", "INSERT", "NEW.listed", "NEW", 1),
        ("removed", "DELETE", "OLD.listed", "OLD", -1),
        ("changed_from", f"UPDATE OF {columns}", "OLD.listed", "OLD", -1),
        ("changed_to", f"UPDATE OF {columns}", "NEW.listed", "NEW", 1),
    ):
        op.execute(
            f"CREATE TRIGGER seawall_windows_{name} AFTER {when} ON manifests FOR EACH ROW WHEN {condition} "
            f"BEGIN {_change(row, by)} END"
        )


def _postgresql() -> None:
    op.execute(
        "CREATE FUNCTION seawall_windows() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF TG_OP <> 'INSERT' THEN IF OLD.listed THEN {_change('OLD', -1)} END IF; END IF; "
        f"IF TG_OP <> 'DELETE' THEN IF NEW.listed THEN {_change('NEW', 1)} END IF; END IF; "
        "RETURN NULL; END $$"
    )
    op.execute(
        "CREATE TRIGGER seawall_windows AFTER INSERT OR DELETE OR UPDATE "
        "OF listed, kind, pushed_at, repository_id, project_id ON manifests "
        "FOR EACH ROW EXECUTE FUNCTION seawall_windows()"
    )


def downgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        # Triggers that were added at run time (change feed, fence) go with their functions.
        names = "SELECT proname FROM pg_proc WHERE starts_with(proname, 'seawall_')"
        for name in connection.execute(sa.text(names)).scalars().all():
            op.execute(f'DROP FUNCTION IF EXISTS "{name}"() CASCADE')
    else:
        names = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'seawall_%'"
        for name in connection.execute(sa.text(names)).scalars().all():
            op.execute(f'DROP TRIGGER "{name}"')

    op.drop_index(op.f("ix_tags_manifest_id"), table_name="tags")
    op.drop_table("tags")
    op.drop_index(op.f("ix_scan_findings_severity"), table_name="scan_findings")
    op.drop_index(op.f("ix_scan_findings_report_id"), table_name="scan_findings")
    op.drop_index(op.f("ix_scan_findings_package"), table_name="scan_findings")
    op.drop_index(op.f("ix_scan_findings_cve"), table_name="scan_findings")
    op.drop_table("scan_findings")
    op.drop_table("retention_tasks")
    op.drop_index(op.f("ix_preheat_tasks_job_id"), table_name="preheat_tasks")
    op.drop_index(op.f("ix_preheat_tasks_execution_id"), table_name="preheat_tasks")
    op.drop_table("preheat_tasks")
    op.drop_index("ix_manifest_references_target", table_name="manifest_references")
    op.drop_table("manifest_references")
    op.drop_table("manifest_payloads")
    op.drop_index(op.f("ix_manifest_labels_label_id"), table_name="manifest_labels")
    op.drop_table("manifest_labels")
    op.drop_index("ix_webhook_deliveries_type", table_name="webhook_deliveries")
    op.drop_index(op.f("ix_webhook_deliveries_created_at"), table_name="webhook_deliveries")
    op.drop_table("webhook_deliveries")
    op.drop_index(op.f("ix_uploads_updated_at"), table_name="uploads")
    op.drop_table("uploads")
    op.drop_index(op.f("ix_scan_reports_status"), table_name="scan_reports")
    op.drop_index(op.f("ix_scan_reports_scanner"), table_name="scan_reports")
    op.drop_index(op.f("ix_scan_reports_run_id"), table_name="scan_reports")
    op.drop_table("scan_reports")
    op.drop_index(op.f("ix_retention_executions_policy_id"), table_name="retention_executions")
    op.drop_table("retention_executions")
    op.drop_index(op.f("ix_repository_blobs_touched_at"), table_name="repository_blobs")
    op.drop_index(op.f("ix_repository_blobs_digest"), table_name="repository_blobs")
    op.drop_table("repository_blobs")
    op.drop_index(op.f("ix_replication_tasks_job_id"), table_name="replication_tasks")
    op.drop_index(op.f("ix_replication_tasks_execution_id"), table_name="replication_tasks")
    op.drop_table("replication_tasks")
    op.drop_index(op.f("ix_preheat_executions_policy_id"), table_name="preheat_executions")
    op.drop_table("preheat_executions")
    op.drop_index("ix_manifests_subject", table_name="manifests")
    op.drop_index("ix_manifests_project_kind", table_name="manifests")
    op.drop_index("ix_manifests_project", table_name="manifests")
    op.drop_index("ix_manifests_listed", table_name="manifests")
    op.drop_index("ix_manifests_kind", table_name="manifests")
    op.drop_index("ix_manifests_accessory", table_name="manifests")
    op.drop_table("manifests")
    op.drop_table("webhook_policies")
    op.drop_index("ix_tuf_metadata_sha256", table_name="tuf_metadata")
    op.drop_index(op.f("ix_tuf_metadata_project_id"), table_name="tuf_metadata")
    op.drop_table("tuf_metadata")
    op.drop_index("ix_tuf_keys_role", table_name="tuf_keys")
    op.drop_index(op.f("ix_tuf_keys_project_id"), table_name="tuf_keys")
    op.drop_table("tuf_keys")
    op.drop_table("trusted_keys")
    op.drop_index(op.f("ix_robots_project_id"), table_name="robots")
    op.drop_table("robots")
    op.drop_table("retention_policies")
    op.drop_index(op.f("ix_repositories_project_id"), table_name="repositories")
    op.drop_index("ix_repositories_created", table_name="repositories")
    op.drop_table("repositories")
    op.drop_index(op.f("ix_replication_executions_policy_id"), table_name="replication_executions")
    op.drop_table("replication_executions")
    op.drop_table("quotas")
    op.drop_table("project_scanners")
    op.drop_table("project_metadata")
    op.drop_index(op.f("ix_project_members_user_id"), table_name="project_members")
    op.drop_index(op.f("ix_project_members_group_id"), table_name="project_members")
    op.drop_table("project_members")
    op.drop_table("project_blobs")
    op.drop_index(op.f("ix_preheat_policies_provider_id"), table_name="preheat_policies")
    op.drop_table("preheat_policies")
    op.drop_index("uq_labels_project", table_name="labels")
    op.drop_index(
        "uq_labels_global",
        table_name="labels",
        sqlite_where=sa.text("project_id IS NULL"),
        postgresql_where=sa.text("project_id IS NULL"),
    )
    op.drop_index(op.f("ix_labels_project_id"), table_name="labels")
    op.drop_table("labels")
    op.drop_index(op.f("ix_immutable_rules_project_id"), table_name="immutable_rules")
    op.drop_table("immutable_rules")
    op.drop_table("cve_allowlists")
    op.drop_index(op.f("ix_user_group_members_group_id"), table_name="user_group_members")
    op.drop_table("user_group_members")
    op.drop_index(op.f("ix_sessions_user_id"), table_name="sessions")
    op.drop_index(op.f("ix_sessions_expires_at"), table_name="sessions")
    op.drop_table("sessions")
    op.drop_index(op.f("ix_replication_policies_src_registry_id"), table_name="replication_policies")
    op.drop_index(op.f("ix_replication_policies_dest_registry_id"), table_name="replication_policies")
    op.drop_table("replication_policies")
    op.drop_table("projects")
    op.drop_table("oidc_users")
    op.drop_table("job_numbers")
    op.drop_index(op.f("ix_job_logs_job_id"), table_name="job_logs")
    op.drop_table("job_logs")
    op.drop_index("ix_advisory_packages_package", table_name="advisory_packages")
    op.drop_index(op.f("ix_advisory_packages_advisory_id"), table_name="advisory_packages")
    op.drop_table("advisory_packages")
    op.drop_index(op.f("ix_advisory_cves_advisory_id"), table_name="advisory_cves")
    op.drop_table("advisory_cves")
    op.drop_table("users")
    op.drop_table("user_groups")
    op.drop_index(op.f("ix_upload_leases_expires_at"), table_name="upload_leases")
    op.drop_table("upload_leases")
    op.drop_index(op.f("ix_tuf_changes_gun"), table_name="tuf_changes")
    op.drop_table("tuf_changes")
    op.drop_table("schema_compatibility")
    op.drop_table("scanners")
    op.drop_table("scan_runs")
    op.drop_index(op.f("ix_scan_requests_created_at"), table_name="scan_requests")
    op.drop_table("scan_requests")
    op.drop_index(op.f("ix_scan_layers_used_at"), table_name="scan_layers")
    op.drop_table("scan_layers")
    op.drop_table("scan_inventories")
    op.drop_index(op.f("ix_scan_exports_user_id"), table_name="scan_exports")
    op.drop_table("scan_exports")
    op.drop_table("registries")
    op.drop_table("preheat_instances")
    op.drop_table("peer_transfers")
    op.drop_table("peer_state")
    op.drop_table("peer_pending")
    op.drop_table("peer_links")
    op.drop_index(op.f("ix_peer_entries_seq"), table_name="peer_entries")
    op.drop_index(op.f("ix_peer_entries_row_key"), table_name="peer_entries")
    op.drop_table("peer_entries")
    op.drop_index(op.f("ix_peer_conflicts_dropped_version"), table_name="peer_conflicts")
    op.drop_table("peer_conflicts")
    op.drop_index(op.f("ix_outbox_subscriber"), table_name="outbox")
    op.drop_index(op.f("ix_outbox_next_at"), table_name="outbox")
    op.drop_table("outbox")
    op.drop_index(op.f("ix_login_failures_last_at"), table_name="login_failures")
    op.drop_table("login_failures")
    op.drop_index("ix_jobs_status_run_at", table_name="jobs")
    op.drop_index(op.f("ix_jobs_runner"), table_name="jobs")
    op.drop_index("ix_jobs_kind_created_at", table_name="jobs")
    op.drop_index(op.f("ix_jobs_created_at"), table_name="jobs")
    op.drop_table("jobs")
    op.drop_index(op.f("ix_job_schedules_next_at"), table_name="job_schedules")
    op.drop_table("job_schedules")
    op.drop_index(op.f("ix_job_runners_heartbeat_at"), table_name="job_runners")
    op.drop_table("job_runners")
    op.drop_table("job_queues")
    op.drop_index(op.f("ix_instances_seen_at"), table_name="instances")
    op.drop_table("instances")
    op.drop_table("dr_state")
    op.drop_index(op.f("ix_dr_divergences_at"), table_name="dr_divergences")
    op.drop_table("dr_divergences")
    op.drop_table("dr_blobs")
    op.drop_table("configurations")
    op.drop_table("commit_markers")
    op.drop_table("cluster_keys")
    op.drop_index(op.f("ix_change_log_xid"), table_name="change_log")
    op.drop_index(op.f("ix_change_log_at"), table_name="change_log")
    op.drop_table("change_log")
    op.drop_table("change_feed")
    op.drop_index(op.f("ix_blobs_touched_at"), table_name="blobs")
    op.drop_table("blobs")
    op.drop_index(op.f("ix_blob_trash_trashed_at"), table_name="blob_trash")
    op.drop_table("blob_trash")
    op.drop_index(op.f("ix_blob_proofs_proven_at"), table_name="blob_proofs")
    op.drop_table("blob_proofs")
    op.drop_index(op.f("ix_audit_log_username"), table_name="audit_log")
    op.drop_index("ix_audit_log_project", table_name="audit_log")
    op.drop_index(op.f("ix_audit_log_at"), table_name="audit_log")
    op.drop_table("audit_log")
    op.drop_index(op.f("ix_audit_intents_at"), table_name="audit_intents")
    op.drop_table("audit_intents")
    op.drop_table("artifact_windows")
    op.drop_table("advisory_sources")
    op.drop_table("advisories")
