"""What a registry does: the verbs of the OCI Distribution API (1.1), without HTTP.

`LocalRegistry` does them with the database and the storage of this instance. A feature that changes what a
verb does wraps another registry and calls it: `PeerRegistry(ProxyCache(LocalRegistry(...)))`. It derives from
`Wrapper`, which passes every verb on, and has methods only for the verbs it changes.

Errors of every verb are RegistryError with the code of the specification; `name` is a repository's, with its
project, and has been checked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

from sqlalchemy import Connection

from seawall.registry.model import Chunk, OpenBlob, StoredManifest

# Gives the ids of the projects that a caller may read, None for all of them.
Visible = Callable[[Connection], set[int] | None]
# Brings a manifest (repository, digest) of a proxy-cache project with all that it names; False where none is.
Complete = Callable[[str, str], Awaitable[bool]]


class ListVerbs(Protocol):
    """What is there, in pages."""

    async def catalog(self, n: int, last: str | None, visible: Visible) -> list[str]:
        """Up to `n` repository names after `last`, in name order."""

    async def tags(self, name: str, n: int, last: str | None) -> list[str]:
        """Up to `n` tags after `last`, in ASCII order. Raises NAME_UNKNOWN."""

    async def referrers(
        self, name: str, digest: str, artifact_type: str | None, limit: int, after: int
    ) -> tuple[list[dict[str, Any]], int | None]:
        """Descriptors of manifests whose subject is `digest`, and the `after` of the next page if any."""


class ManifestVerbs(Protocol):
    """Manifests, by tag or digest (`reference`)."""

    async def manifest(self, name: str, reference: str) -> StoredManifest:
        """The manifest a tag or digest names. Raises MANIFEST_UNKNOWN, NAME_UNKNOWN, DIGEST_INVALID."""

    async def pulling(self, name: str, found: StoredManifest, reference: str) -> None:
        """A manifest is about to be sent (GET only): it is counted, and a rule may refuse it."""

    async def put_manifest(
        self,
        name: str,
        reference: str,
        payload: bytes,
        content_type: str | None,
        extra_tags: tuple[str, ...] = (),
        digest: str | None = None,
    ) -> tuple[str, str | None]:
        """Store a manifest; returns its digest and its subject's, if it has one (see `Manifests.put`)."""

    async def delete_manifest(self, name: str, reference: str) -> None:
        """Delete a manifest with all its tags (by digest), or one tag only (by tag)."""


class BlobVerbs(Protocol):
    """Blobs, by digest."""

    async def blob_size(self, name: str, digest: str) -> int:
        """The blob's bytes. Raises BLOB_UNKNOWN, NAME_UNKNOWN, DIGEST_INVALID."""

    async def open_blob(self, name: str, digest: str, *, whole: bool) -> OpenBlob:
        """The blob, to be sent. Not `whole`: a part may be wanted, so `read` must take any start."""

    async def put_blob(self, name: str, digest: str, body: AsyncIterator[bytes]) -> str:
        """Store a blob that comes in one request; returns its digest. Raises DIGEST_INVALID."""

    async def mount_blob(self, name: str, digest: str, source: str) -> bool:
        """Link the blob of repository `source` into `name`; False when there is none to link."""

    async def delete_blob(self, name: str, digest: str) -> None:
        """Remove the blob from the repository. Raises BLOB_UNKNOWN, DENIED while a manifest needs it."""


class UploadVerbs(Protocol):
    """Upload sessions. All but the first raise BLOB_UPLOAD_UNKNOWN."""

    async def start_upload(self, name: str) -> str:
        """Open a session; returns its id."""

    async def upload_offset(self, name: str, upload_id: str) -> int:
        """How many bytes the session has."""

    async def append_upload(self, name: str, upload_id: str, chunk: Chunk) -> int:
        """Add bytes; returns how many the session has then. Raises UploadPositionError."""

    async def close_upload(self, name: str, upload_id: str, digest: str, chunk: Chunk) -> str:
        """Add the last bytes and make the session's bytes a blob; returns its digest."""

    async def cancel_upload(self, name: str, upload_id: str) -> None:
        """End a session and drop its bytes."""


class Registry(ListVerbs, ManifestVerbs, BlobVerbs, UploadVerbs, Protocol):
    """All verbs of the Distribution API."""


class Wrapper:
    """A registry that passes every verb to another one, `inner`: the base of those that change some."""

    def __init__(self, inner: Registry) -> None:
        self.inner = inner
        for verb in _VERBS:
            if getattr(type(self), verb) is getattr(Wrapper, verb):
                # Nothing happens in between, so calls need not pass through here.
                setattr(self, verb, getattr(inner, verb))

    async def catalog(self, n: int, last: str | None, visible: Visible) -> list[str]:
        """See ListVerbs.catalog."""
        return await self.inner.catalog(n, last, visible)

    async def tags(self, name: str, n: int, last: str | None) -> list[str]:
        """See ListVerbs.tags."""
        return await self.inner.tags(name, n, last)

    async def referrers(
        self, name: str, digest: str, artifact_type: str | None, limit: int, after: int
    ) -> tuple[list[dict[str, Any]], int | None]:
        """See ListVerbs.referrers."""
        return await self.inner.referrers(name, digest, artifact_type, limit, after)

    async def manifest(self, name: str, reference: str) -> StoredManifest:
        """See ManifestVerbs.manifest."""
        return await self.inner.manifest(name, reference)

    async def pulling(self, name: str, found: StoredManifest, reference: str) -> None:
        """See ManifestVerbs.pulling."""
        await self.inner.pulling(name, found, reference)

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
        return await self.inner.put_manifest(name, reference, payload, content_type, extra_tags, digest)

    async def delete_manifest(self, name: str, reference: str) -> None:
        """See ManifestVerbs.delete_manifest."""
        await self.inner.delete_manifest(name, reference)

    async def blob_size(self, name: str, digest: str) -> int:
        """See BlobVerbs.blob_size."""
        return await self.inner.blob_size(name, digest)

    async def open_blob(self, name: str, digest: str, *, whole: bool) -> OpenBlob:
        """See BlobVerbs.open_blob."""
        return await self.inner.open_blob(name, digest, whole=whole)

    async def put_blob(self, name: str, digest: str, body: AsyncIterator[bytes]) -> str:
        """See BlobVerbs.put_blob."""
        return await self.inner.put_blob(name, digest, body)

    async def mount_blob(self, name: str, digest: str, source: str) -> bool:
        """See BlobVerbs.mount_blob."""
        return await self.inner.mount_blob(name, digest, source)

    async def delete_blob(self, name: str, digest: str) -> None:
        """See BlobVerbs.delete_blob."""
        await self.inner.delete_blob(name, digest)

    async def start_upload(self, name: str) -> str:
        """See UploadVerbs.start_upload."""
        return await self.inner.start_upload(name)

    async def upload_offset(self, name: str, upload_id: str) -> int:
        """See UploadVerbs.upload_offset."""
        return await self.inner.upload_offset(name, upload_id)

    async def append_upload(self, name: str, upload_id: str, chunk: Chunk) -> int:
        """See UploadVerbs.append_upload."""
        return await self.inner.append_upload(name, upload_id, chunk)

    async def close_upload(self, name: str, upload_id: str, digest: str, chunk: Chunk) -> str:
        """See UploadVerbs.close_upload."""
        return await self.inner.close_upload(name, upload_id, digest, chunk)

    async def cancel_upload(self, name: str, upload_id: str) -> None:
        """See UploadVerbs.cancel_upload."""
        await self.inner.cancel_upload(name, upload_id)


_VERBS = tuple(
    name
    for part in (ListVerbs, ManifestVerbs, BlobVerbs, UploadVerbs)
    for name in vars(part)
    if name[0] != "_"
)
