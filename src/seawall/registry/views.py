"""Tables of content for the joins of features: to be read, and never written.

A query function of the owner is the first choice (`registry.lookups`, `registry.tags`, `registry.images`).
A join with tables that the registry does not know needs the columns themselves. `FromClause` is what
SQLAlchemy selects from; `insert`, `update` and `delete` of one do not type-check.
"""

from __future__ import annotations

from sqlalchemy import FromClause

from seawall.registry import tables

repositories: FromClause = tables.repositories
manifests: FromClause = tables.manifests
manifest_labels: FromClause = tables.manifest_labels
manifest_references: FromClause = tables.manifest_references
tags: FromClause = tables.tags
