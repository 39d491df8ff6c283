"""Tables. The migrations in `db/migrations` create them; a test holds the two against each other.

Times are Unix seconds (float), digests are `algorithm:hex`. A repository's `name` is its full name,
`project/path`. One module a domain; a new one is imported here, which registers its tables.
"""

from seawall.db.schema.access import cluster_keys, login_failures, project_members, projects, users
from seawall.db.schema.artifacts import (
    immutable_rules,
    labels,
    manifest_labels,
    project_blobs,
    quotas,
    retention_executions,
    retention_policies,
    retention_tasks,
    webhook_deliveries,
    webhook_policies,
)
from seawall.db.schema.base import BigId, metadata
from seawall.db.schema.cluster import instances, sessions
from seawall.db.schema.content import (
    blob_trash,
    blobs,
    manifest_payloads,
    manifest_references,
    manifests,
    repositories,
    repository_blobs,
    tags,
    uploads,
)
from seawall.db.schema.coordination import commit_markers, schema_compatibility, upload_leases
from seawall.db.schema.events import outbox
from seawall.db.schema.identity import (
    audit_log,
    configurations,
    cve_allowlists,
    oidc_users,
    project_metadata,
    robots,
    user_group_members,
    user_groups,
)
from seawall.db.schema.jobs import job_logs, job_numbers, job_queues, job_runners, job_schedules, jobs
from seawall.db.schema.replication import (
    registries,
    replication_executions,
    replication_policies,
    replication_tasks,
)

__all__ = [
    "BigId",
    "audit_log",
    "blob_trash",
    "blobs",
    "cluster_keys",
    "commit_markers",
    "configurations",
    "cve_allowlists",
    "immutable_rules",
    "instances",
    "job_logs",
    "job_numbers",
    "job_queues",
    "job_runners",
    "job_schedules",
    "jobs",
    "labels",
    "login_failures",
    "manifest_labels",
    "manifest_payloads",
    "manifest_references",
    "manifests",
    "metadata",
    "oidc_users",
    "outbox",
    "project_blobs",
    "project_members",
    "project_metadata",
    "projects",
    "quotas",
    "registries",
    "replication_executions",
    "replication_policies",
    "replication_tasks",
    "repositories",
    "repository_blobs",
    "retention_executions",
    "retention_policies",
    "retention_tasks",
    "robots",
    "schema_compatibility",
    "sessions",
    "tags",
    "upload_leases",
    "uploads",
    "user_group_members",
    "user_groups",
    "users",
    "webhook_deliveries",
    "webhook_policies",
]
