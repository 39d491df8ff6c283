"""All that can be done with artifacts beyond the registry API."""

from __future__ import annotations

from seawall.infra.db import Database
from seawall.registry.artifacts.changes import ArtifactChanges
from seawall.registry.artifacts.copying import ArtifactCopies
from seawall.registry.artifacts.reading import ArtifactReader
from seawall.registry.local import LocalRegistry
from seawall.registry.protocol import Complete


class ArtifactService(ArtifactReader):
    """Reads artifacts, changes them (see ArtifactChanges) and copies them (see ArtifactCopies)."""

    def __init__(self, db: Database, content: LocalRegistry, complete: Complete) -> None:
        """`complete`: see ArtifactCopies."""
        super().__init__(db, content)
        changes = ArtifactChanges(db, content, self)
        self.create_tag = changes.create_tag
        self.delete_tag = changes.delete_tag
        self.delete = changes.delete
        self.delete_repository = changes.delete_repository
        self.copy = ArtifactCopies(db, content, self, complete).copy
