"""The tables that an adoption writes rows to, of all owners."""

from seawall.access.tables import (
    cve_allowlists,
    oidc_users,
    project_members,
    project_metadata,
    projects,
    robots,
    user_groups,
    users,
)
from seawall.availability.adopt.tables import adopted_rows
from seawall.features.audit.tables import audit_log
from seawall.features.immutability.tables import immutable_rules
from seawall.features.preheat.tables import preheat_instances, preheat_policies
from seawall.features.replication.tables import registries, replication_policies
from seawall.features.retention.tables import retention_policies
from seawall.features.scan.tables import project_scanners, scanners
from seawall.features.webhooks.tables import webhook_policies
from seawall.infra.tables import configurations
from seawall.registry.tables import labels, quotas, repositories

__all__ = [
    "adopted_rows",
    "audit_log",
    "configurations",
    "cve_allowlists",
    "immutable_rules",
    "labels",
    "oidc_users",
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
    "retention_policies",
    "robots",
    "scanners",
    "user_groups",
    "users",
    "webhook_policies",
]
