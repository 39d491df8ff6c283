"""Copies of artifacts from one repository to another."""

from __future__ import annotations

from sqlalchemy import (
    Connection,
    select,
)

from seawall.infra.db import Database
from seawall.kernel.errors import (
    InvalidError,
    NotFoundError,
    PreconditionError,
)
from seawall.registry import index
from seawall.registry.artifacts.model import Artifact
from seawall.registry.artifacts.queries import accessories_of, artifacts, tags_of
from seawall.registry.artifacts.reading import ArtifactReader
from seawall.registry.local import LocalRegistry
from seawall.registry.protocol import Complete
from seawall.registry.tables import (
    manifest_references,
    manifests,
)

_COPY_LIMIT = 1000


class ArtifactCopies:
    """Copies artifacts within the registry."""

    def __init__(
        self, db: Database, content: LocalRegistry, reader: ArtifactReader, complete: Complete
    ) -> None:
        """`complete` brings images of a proxied index that nobody has pulled yet."""
        self._complete = complete
        self._db = db
        self._content = content
        self._reader = reader

    async def copy(self, source: str, reference: str, target: str) -> str:
        """Copy an artifact with its children, accessories and tags; returns its digest.

        Blobs are linked, not copied. Raises NotFoundError, PreconditionError for an accessory,
        RegistryError (quota, immutable tag).
        """
        item = await self._reader.get(source, reference)
        if item.accessory_type is not None:
            raise PreconditionError("an accessory is copied with its subject only")
        # An index of a proxy-cache project has those images only that were pulled.
        await self._complete(source, item.digest)
        seen: set[str] = set()
        await self._copy(source, item, target, seen)
        names = await self._db.read(lambda c: [tag.name for tag in tags_of(c, [item.id]).get(item.id, [])])
        if names:
            stored = await self._content.manifest(source, item.digest)
            await self._content.put_manifest(
                target, item.digest, stored.payload, stored.media_type, tuple(names)
            )
        return item.digest

    async def _copy(self, source: str, item: Artifact, target: str, seen: set[str]) -> None:
        if item.digest in seen:
            return
        seen.add(item.digest)
        if len(seen) > _COPY_LIMIT:
            raise InvalidError(f"the artifact has more than {_COPY_LIMIT} parts")

        def parts(connection: Connection) -> tuple[list[str], list[Artifact], list[Artifact], list[str]]:
            named = connection.execute(
                select(manifest_references.c.digest, manifest_references.c.kind).where(
                    manifest_references.c.manifest_id == item.id
                )
            ).all()
            inside = index.children(connection, item.id)
            rows = connection.execute(artifacts().where(manifests.c.id.in_(inside)))
            below = [Artifact(*row) for row in rows]
            attached = accessories_of(connection, [item]).get(item.id, [])
            own = [tag.name for tag in tags_of(connection, [item.id]).get(item.id, [])]
            return [row[0] for row in named if row[1] == "blob"], below, attached, own

        blobs, below, attached, own = await self._db.read(parts)
        for child in below:
            await self._copy(source, child, target, seen)
        for digest in blobs:
            if not await self._content.blobs.mount(target, digest, source):
                raise NotFoundError(f"blob {digest} of {source} not found")
        stored = await self._content.manifest(source, item.digest)
        # cosign finds a signature by its tag, so an accessory keeps its tags.
        keep = tuple(own) if item.accessory_of is not None else ()
        await self._content.put_manifest(target, item.digest, stored.payload, stored.media_type, keep)
        for accessory in attached:
            await self._copy(source, accessory, target, seen)
