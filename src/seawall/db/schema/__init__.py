"""Tables. The migrations in `db/migrations` create them; a test holds the two against each other.

Times are Unix seconds (float), digests are `algorithm:hex`. A repository's `name` is its full name,
`project/path`. One module a domain; a new one is imported here, which registers its tables.
"""

from seawall.db.schema.access import cluster_keys, login_failures, project_members, projects, users
from seawall.db.schema.base import BigId, metadata
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

__all__ = [
    "BigId",
    "audit_log",
    "blob_trash",
    "blobs",
    "cluster_keys",
    "configurations",
    "cve_allowlists",
    "login_failures",
    "manifest_payloads",
    "manifest_references",
    "manifests",
    "metadata",
    "oidc_users",
    "outbox",
    "project_members",
    "project_metadata",
    "projects",
    "repositories",
    "repository_blobs",
    "robots",
    "tags",
    "uploads",
    "user_group_members",
    "user_groups",
    "users",
]
