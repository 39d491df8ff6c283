"""The two ends of a copy: this registry's own content, and another registry over HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from seawall.access.access import project_by_name
from seawall.features.replication.client import RegistryClient
from seawall.features.replication.limiter import Limiter
from seawall.features.replication.remote import RemoteManifest
from seawall.features.replication.uploads import MOUNTED, WHOLE_LIMIT, BlobSource
from seawall.infra.db import Database
from seawall.kernel.errors import ConflictError, RegistryError
from seawall.registry import projects as project_content
from seawall.registry.local import LocalRegistry
from seawall.registry.lookups import blob_holders, referrer_digests
from seawall.registry.model import Upload
from seawall.registry.protocol import Complete
from seawall.registry.tags import pushed_at

Remember = Callable[[str], Awaitable[None]]
# Local sessions are recorded this often (bytes), so an interrupted pull goes on from there.
_SAVE_EVERY = 64 * 1024 * 1024


class Source(Protocol):
    """Where a copy comes from. Errors are SeawallError."""

    async def tags(self, repository: str) -> list[str]:
        """Tags of a repository; none when it does not exist."""

    async def resolve(self, repository: str, reference: str) -> str | None:
        """The digest a reference stands for, None when unknown."""

    async def manifest(self, repository: str, reference: str) -> RemoteManifest | None:
        """A manifest, None when unknown."""

    async def referrers(self, repository: str, digest: str) -> list[str]:
        """Digests of manifests whose subject is `digest`."""

    async def has_blob(self, repository: str, digest: str) -> bool:
        """Whether the repository has the blob."""

    def blob(self, repository: str, digest: str, offset: int) -> AsyncIterator[bytes]:
        """A blob's bytes from `offset` on."""

    async def pushed_at(self, repository: str, tag: str) -> float | None:
        """When a tag was pushed, None where that cannot be said."""


class Endpoint(Source, Protocol):
    """One end of a copy, either one. Errors are SeawallError."""

    async def put_blob(
        self,
        repository: str,
        digest: str,
        size: int,
        source: BlobSource,
        *,
        session: str | None,
        opened: Remember,
        by_chunk: bool,
        mount_from: str | None,
    ) -> int:
        """Store a blob; returns the bytes transferred. See RegistryClient.put_blob."""

    async def put_manifest(
        self, repository: str, reference: str, media_type: str, payload: bytes, origin: str = ""
    ) -> None:
        """Store a manifest under a tag or digest; `origin` is the header of `replication.origin`."""

    async def delete(self, repository: str, reference: str) -> bool:
        """Delete a tag or a manifest; False when unknown."""


class RemoteEndpoint:
    """Another registry."""

    def __init__(self, client: RegistryClient) -> None:
        self.client = client
        self.tags = client.tags
        self.resolve = client.head_manifest
        self.manifest = client.manifest
        self.referrers = client.referrer_digests
        self.has_blob = client.has_blob
        self.put_manifest = client.put_manifest
        self.blob = client.blob
        self.put_blob = client.put_blob
        # A tag goes with its manifest where the registry cannot delete tags.
        self.delete = client.delete_manifest

    async def pushed_at(self, repository: str, tag: str) -> float | None:
        """See Endpoint.pushed_at."""
        del repository, tag
        return None


class LocalEndpoint:
    """This registry, without the detour over HTTP."""

    # What is stored is a copy of what a peer has acknowledged: neither quota nor rule refuses it.
    replica = False

    def __init__(self, db: Database, content: LocalRegistry, limiter: Limiter | None = None) -> None:
        self._db = db
        self._content = content
        self._limiter = limiter or Limiter()

    async def tags(self, repository: str) -> list[str]:
        """See Endpoint.tags."""
        found: list[str] = []
        last = None
        while True:
            try:
                page = await self._content.tags(repository, 1000, last)
            except RegistryError as error:
                if error.status == 404:
                    return []
                raise
            found += page
            if len(page) < 1000:
                return found
            last = page[-1]

    async def resolve(self, repository: str, reference: str) -> str | None:
        """See Endpoint.resolve."""
        found = await self.manifest(repository, reference)
        return found.digest if found else None

    async def manifest(self, repository: str, reference: str) -> RemoteManifest | None:
        """See Endpoint.manifest."""
        try:
            found = await self._content.manifest(repository, reference)
        except RegistryError as error:
            if error.status == 404:
                return None
            raise
        return RemoteManifest(found.digest, found.media_type, found.payload)

    async def referrers(self, repository: str, digest: str) -> list[str]:
        """See Endpoint.referrers."""
        return await self._db.read(lambda c: referrer_digests(c, repository, digest))

    async def has_blob(self, repository: str, digest: str) -> bool:
        """See Endpoint.has_blob."""
        try:
            await self._content.blobs.get(repository, digest)
        except RegistryError as error:
            if error.status == 404:
                return False
            raise
        return True

    async def holder(self, digest: str) -> str | None:
        """Some repository that has the blob."""
        found = await self.holders(digest, 1)
        return found[0] if found else None

    async def holders(self, digest: str, limit: int = 20) -> list[str]:
        """Repositories that have the blob."""
        return await self._db.read(lambda c: blob_holders(c, digest, limit))

    async def blob(self, repository: str, digest: str, offset: int) -> AsyncIterator[bytes]:
        """See Endpoint.blob."""
        found = await self._content.blobs.get(repository, digest)
        async for data in self._content.storage.stream(found.key, offset, found.size):
            yield data

    async def prepare(self, repository: str) -> None:
        """Make sure the repository's project is there; a missing one is made, private."""
        name = repository.partition("/")[0]
        if await self._db.read(lambda c: project_by_name(c, name)) is not None:
            return
        storage = await self._content.default_quota()
        with contextlib.suppress(ConflictError):
            await self._db.write(
                lambda c: project_content.create(
                    c, name, owner=None, metadata={"public": "false"}, storage=storage
                )
            )

    async def put_blob(
        self,
        repository: str,
        digest: str,
        size: int,
        source: BlobSource,
        *,
        session: str | None,
        opened: Remember,
        by_chunk: bool,
        mount_from: str | None,
    ) -> int:
        """See Endpoint.put_blob; `by_chunk` makes no difference here."""
        del by_chunk
        await self.prepare(repository)
        if mount_from is not None and await self._content.blobs.mount(
            repository, digest, mount_from, replica=self.replica
        ):
            return MOUNTED
        upload: Upload | None = None
        if session is not None:
            with contextlib.suppress(RegistryError):
                upload = await self._content.uploads.get(repository, session)
        if upload is None:
            upload = await self._content.uploads.start(repository)
        if size > WHOLE_LIMIT:
            await opened(upload.id)
        first = upload.offset
        writer = await self._content.uploads.open_writer(upload)
        saved = upload.offset
        try:
            async for data in source(upload.offset):
                await writer.write(data)
                if writer.offset - saved >= _SAVE_EVERY:
                    saved = await self._content.uploads.save_progress(upload, writer)
                    upload = await self._content.uploads.get(repository, upload.id)
                    writer = await self._content.uploads.open_writer(upload)
        except BaseException:
            with contextlib.suppress(Exception):
                await self._content.uploads.save_progress(upload, writer)
            raise
        await self._content.uploads.finish(upload, writer, repository, digest, replica=self.replica)
        return size - first

    async def pushed_at(self, repository: str, tag: str) -> float | None:
        """See Endpoint.pushed_at."""
        return await self._db.read(lambda c: pushed_at(c, repository, tag))

    async def put_manifest(
        self, repository: str, reference: str, media_type: str, payload: bytes, origin: str = ""
    ) -> None:
        """See Endpoint.put_manifest; the caller's `actor` says where it came from."""
        del origin
        await self.prepare(repository)
        await self._content.manifests.put(repository, reference, payload, media_type, replica=self.replica)

    async def delete(self, repository: str, reference: str) -> bool:
        """See Endpoint.delete."""
        try:
            await self._content.delete_manifest(repository, reference)
        except RegistryError as error:
            if error.status == 404:
                return False
            raise
        return True


class CompletedEndpoint(LocalEndpoint):
    """This registry as a source: images of a proxied index that were not pulled yet come from upstream."""

    def __init__(self, db: Database, content: LocalRegistry, complete: Complete) -> None:
        super().__init__(db, content)
        self._complete = complete

    async def manifest(self, repository: str, reference: str) -> RemoteManifest | None:
        """See Endpoint.manifest. Raises RegistryError when the upstream does not answer."""
        found = await super().manifest(repository, reference)
        if found is None and ":" in reference and await self._complete(repository, reference):
            return await super().manifest(repository, reference)
        return found
