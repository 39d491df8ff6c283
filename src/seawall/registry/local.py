"""The registry of this instance: its database and its storage."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from seawall.infra.db import Database
from seawall.infra.storage import BlobStorage
from seawall.infra.storage.blob_cache import BlobCache
from seawall.kernel.errors import RegistryError
from seawall.registry.blobs import Blobs
from seawall.registry.deletion import Deletions
from seawall.registry.hooks import Hooks
from seawall.registry.lists import Lists
from seawall.registry.manifests import Manifests
from seawall.registry.model import Chunk, OpenBlob, StoredManifest
from seawall.registry.projects import DefaultQuota, unlimited
from seawall.registry.protocol import Registry, Visible
from seawall.registry.reads import PointReads
from seawall.registry.receipts import NoReceipts, Recorder
from seawall.registry.receive import Receiver
from seawall.registry.repositories import Repositories
from seawall.registry.stored import StoredBlobs
from seawall.registry.uploads import Uploads
from seawall.registry.writes import ContentWrites


class LocalRegistry(Registry):
    """Does the verbs of the Distribution API; its parts do what else others need of content."""

    def __init__(
        self,
        db: Database,
        storage: BlobStorage,
        *,
        create_projects: bool = False,
        grace_seconds: float = 7200,
        blob_limit: int = 0,
        hooks: Hooks,
        receipts: Recorder | None = None,
        cache: BlobCache | None = None,
        default_quota: DefaultQuota = unlimited,
        fenced: bool = False,
    ) -> None:
        """`create_projects`, `grace_seconds`, `blob_limit`: see Repositories, Blobs, Uploads.

        `cache`: where reads of blobs look before `storage`. `fenced`: this is one of two sites, and may take
        no writes (see `seawall.infra.db.fence`).
        """
        self.db = db
        self.storage = storage
        self.default_quota = default_quota
        self.writes = ContentWrites(db, hooks, receipts or NoReceipts())
        reads = PointReads(db)
        self.repositories = Repositories(db, reads, create_projects=create_projects)
        self.blobs = Blobs(db, reads, self.repositories, self.writes, grace_seconds=grace_seconds)
        self.stored = StoredBlobs(storage, cache)
        self.uploads = Uploads(
            db, storage, self.stored, self.repositories, self.writes, blob_limit=blob_limit, fenced=fenced
        )
        self.manifests = Manifests(db, reads, self.repositories, self.writes)
        self.deletions = Deletions(db, self.repositories, self.writes)
        self.lists = Lists(db, self.repositories)
        self._receiver = Receiver(storage, self.repositories, self.blobs, self.uploads)

    async def catalog(self, n: int, last: str | None, visible: Visible) -> list[str]:
        """See ListVerbs.catalog."""
        return await self.lists.catalog(n, last, visible)

    async def tags(self, name: str, n: int, last: str | None) -> list[str]:
        """See ListVerbs.tags."""
        return await self.lists.tags(name, n, last)

    async def referrers(
        self, name: str, digest: str, artifact_type: str | None, limit: int, after: int
    ) -> tuple[list[dict[str, Any]], int | None]:
        """See ListVerbs.referrers."""
        return await self.lists.referrers(name, digest, artifact_type, limit, after)

    async def manifest(self, name: str, reference: str) -> StoredManifest:
        """See ManifestVerbs.manifest."""
        return await self.manifests.get(name, reference)

    async def pulling(self, name: str, found: StoredManifest, reference: str) -> None:
        """See ManifestVerbs.pulling."""
        await self.manifests.pulling(name, found, reference)

    async def put_manifest(
        self,
        name: str,
        reference: str,
        payload: bytes,
        content_type: str | None,
        extra_tags: tuple[str, ...] = (),
        digest: str | None = None,
    ) -> tuple[str, str | None]:
        """See ManifestVerbs.put_manifest."""
        return await self.manifests.put(name, reference, payload, content_type, extra_tags, digest)

    async def delete_manifest(self, name: str, reference: str) -> None:
        """See ManifestVerbs.delete_manifest."""
        await self.deletions.delete(name, reference)

    async def blob_size(self, name: str, digest: str) -> int:
        """See BlobVerbs.blob_size."""
        blob = await self.blobs.get(name, digest)
        await self.stored.require(blob)
        return blob.size

    async def open_blob(self, name: str, digest: str, *, whole: bool) -> OpenBlob:
        """See BlobVerbs.open_blob."""
        blob = await self.blobs.get(name, digest)

        def read(start: int, end: int) -> AsyncIterator[bytes]:
            return self.stored.stream(blob, start, end)

        if whole:
            data = await self.stored.small(blob)
            if data is not None:
                return OpenBlob(blob.digest, blob.size, read, data=data)
        place = self.storage.locate(blob.key)
        if place.path is not None:
            await self.stored.require_file(blob)
        return OpenBlob(blob.digest, blob.size, read, url=place.url, path=place.path)

    async def put_blob(self, name: str, digest: str, body: AsyncIterator[bytes]) -> str:
        """See BlobVerbs.put_blob."""
        return await self._receiver.put(name, digest, body)

    async def mount_blob(self, name: str, digest: str, source: str) -> bool:
        """See BlobVerbs.mount_blob."""
        try:
            await self.blob_size(source, digest)
        except RegistryError as error:
            if error.code in ("BLOB_UNKNOWN", "NAME_UNKNOWN"):
                return False
            raise
        return await self.blobs.mount(name, digest, source)

    async def delete_blob(self, name: str, digest: str) -> None:
        """See BlobVerbs.delete_blob."""
        await self.blobs.delete(name, digest)

    async def start_upload(self, name: str) -> str:
        """See UploadVerbs.start_upload."""
        return (await self.uploads.start(name)).id

    async def upload_offset(self, name: str, upload_id: str) -> int:
        """See UploadVerbs.upload_offset."""
        return (await self.uploads.get(name, upload_id, sure=True)).offset

    async def append_upload(self, name: str, upload_id: str, chunk: Chunk) -> int:
        """See UploadVerbs.append_upload."""
        return await self._receiver.append(name, upload_id, chunk)

    async def close_upload(self, name: str, upload_id: str, digest: str, chunk: Chunk) -> str:
        """See UploadVerbs.close_upload."""
        return await self._receiver.close(name, upload_id, digest, chunk)

    async def cancel_upload(self, name: str, upload_id: str) -> None:
        """See UploadVerbs.cancel_upload."""
        await self.uploads.cancel(name, upload_id)
