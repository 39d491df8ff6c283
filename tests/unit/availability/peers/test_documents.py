"""Documents: every column is carried, or is known to be of one instance; replicas of real stores converge."""

from __future__ import annotations

from seawall.availability.peers.kinds import KINDS
from seawall.availability.peers.special_kinds import ClusterKeyKind, DefaultScannerKind, TufKind
from seawall.infra.db.metadata import metadata

# Tables that are not kept equal, and why.
OF_ONE_INSTANCE = {
    "its own jobs and their logs": "jobs job_logs job_numbers job_queues job_runners outbox",
    "its own log": "audit_log audit_intents",
    "its own work": "replication_executions replication_tasks retention_executions retention_tasks "
    "webhook_deliveries preheat_executions preheat_tasks scan_runs scan_requests scan_exports",
    "what its scanner found, and knows": "scan_reports scan_findings scan_layers scan_inventories advisories "
    "advisory_cves advisory_packages advisory_sources",
    "its storage, and what follows from its content": "blobs blob_trash blob_proofs repository_blobs "
    "manifest_trash project_blobs quota_changes manifest_payloads manifest_references uploads upload_leases "
    "tuf_changes artifact_windows adopted_tree removals content_changes "
    "storage_days",
    "what it has adopted": "adopted_rows",
    "its processes": "instances cluster_figures commit_markers schema_compatibility login_failures "
    "used_tokens",
    "its part in disaster recovery": "dr_state dr_blobs dr_divergences dr_nonces",
    "its part among peers and followers": "peer_state peer_entries peer_pending peer_links "
    "peer_transfers peer_nonces change_feed change_log",
}
# Columns that are not carried.
LOCAL = {
    "registries": {"status", "checked_at"},
    "quotas": {"used_storage"},
    "repositories": {"artifact_count", "pull_count", "pushed_at"},
    "manifests": set(metadata.tables["manifests"].c.keys())
    - {"repository_id", "digest", "media_type", "pushed_at"},
    "tags": {"manifest_id", "pulled_at"},
    "job_schedules": {"next_at", "created_at", "updated_at"},
    "robots": {"creator_id"},
    "user_tokens": {"noticed_at"},
    "login_requests": {"polled_at", "wait_seconds"},
    "peer_conflicts": {"acknowledged_at", "acknowledged_by"},
}


def test_every_table_is_carried_or_known_not_to_be() -> None:
    carried = {kind.table.name for kind in KINDS.values()} | {"tuf_keys"}
    known = {name for names in OF_ONE_INSTANCE.values() for name in names.split()}
    assert not carried & known
    assert set(metadata.tables) - carried - known == set()


def test_every_column_is_carried_or_known_not_to_be() -> None:
    named: dict[str, set[str]] = {name: set(columns) for name, columns in LOCAL.items()}
    named.setdefault("scanners", set()).add("is_default")
    kinds = [k for k in KINDS.values() if not isinstance(k, ClusterKeyKind | DefaultScannerKind | TufKind)]
    for kind in kinds:
        # The columns of a row may be of several kinds, which different people change.
        named.setdefault(kind.table.name, set()).update({*kind.key, *kind.columns, *kind.extra})
    for kind in kinds:
        assert set(kind.table.c.keys()) - {"id"} <= named[kind.table.name], kind.name
