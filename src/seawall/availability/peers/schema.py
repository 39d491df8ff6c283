"""The tables that peers copy from each other, of all owners, and those in which peers keep where they are."""

from seawall.access.tables import (
    cve_allowlists,
    identity_sources,
    login_requests,
    oidc_users,
    project_members,
    project_metadata,
    projects,
    robots,
    second_factors,
    sessions,
    user_group_members,
    user_groups,
    user_identities,
    user_tokens,
    users,
)
from seawall.availability.peers.tables import (
    peer_conflicts,
    peer_entries,
    peer_links,
    peer_nonces,
    peer_state,
    peer_transfers,
)
from seawall.features.immutability.tables import immutable_rules
from seawall.features.preheat.tables import preheat_instances, preheat_policies
from seawall.features.replication.tables import registries, replication_policies
from seawall.features.retention.tables import retention_policies
from seawall.features.scan.tables import project_scanners, scanners
from seawall.features.trust.tables import trusted_keys, tuf_changes, tuf_keys, tuf_metadata
from seawall.features.webhooks.tables import webhook_policies
from seawall.infra.db.metadata import metadata
from seawall.infra.jobs.tables import job_schedules, jobs
from seawall.infra.secrets.tables import cluster_keys
from seawall.infra.tables import configurations
from seawall.registry.tables import (
    labels,
    manifest_labels,
    manifest_payloads,
    manifest_references,
    manifests,
    peer_pending,
    quotas,
    repositories,
    repository_blobs,
    tags,
)

__all__ = [
    "cluster_keys",
    "configurations",
    "cve_allowlists",
    "identity_sources",
    "immutable_rules",
    "job_schedules",
    "jobs",
    "labels",
    "login_requests",
    "manifest_labels",
    "manifest_payloads",
    "manifest_references",
    "manifests",
    "metadata",
    "oidc_users",
    "peer_conflicts",
    "peer_entries",
    "peer_links",
    "peer_nonces",
    "peer_pending",
    "peer_state",
    "peer_transfers",
    "preheat_instances",
    "preheat_policies",
    "project_members",
    "project_metadata",
    "project_scanners",
    "projects",
    "quotas",
    "registries",
    "replication_policies",
    "repositories",
    "repository_blobs",
    "retention_policies",
    "robots",
    "scanners",
    "second_factors",
    "sessions",
    "tags",
    "trusted_keys",
    "tuf_changes",
    "tuf_keys",
    "tuf_metadata",
    "user_group_members",
    "user_groups",
    "user_identities",
    "user_tokens",
    "users",
    "webhook_policies",
]
