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

__all__ = [
    "BigId",
    "blob_trash",
    "blobs",
    "cluster_keys",
    "login_failures",
    "manifest_payloads",
    "manifest_references",
    "manifests",
    "metadata",
    "outbox",
    "project_members",
    "projects",
    "repositories",
    "repository_blobs",
    "tags",
    "uploads",
    "users",
]
