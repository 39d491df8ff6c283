"""Artifacts as the management API sees them: what a manifest is, and all that belongs to it."""

from seawall.registry.artifacts.model import INDEXES, Artifact, Belongings, Cursor, Label, Reference, Tag
from seawall.registry.artifacts.pages import before_cursor, page
from seawall.registry.artifacts.queries import (
    LABEL_COLUMNS,
    NEWEST_FIRST,
    TAG_COLUMNS,
    accessories_of,
    artifacts,
    find,
    inherited_accessories_of,
    labels_of,
    references_of,
    repository_query,
    repository_row,
    tags_of,
)
from seawall.registry.artifacts.service import ArtifactService

__all__ = [
    "INDEXES",
    "LABEL_COLUMNS",
    "NEWEST_FIRST",
    "TAG_COLUMNS",
    "Artifact",
    "ArtifactService",
    "Belongings",
    "Cursor",
    "Label",
    "Reference",
    "Tag",
    "accessories_of",
    "artifacts",
    "before_cursor",
    "find",
    "inherited_accessories_of",
    "labels_of",
    "page",
    "references_of",
    "repository_query",
    "repository_row",
    "tags_of",
]
