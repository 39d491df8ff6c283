"""The registry among peers: what another instance has and this one has not yet is brought, or asked there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from seawall.availability.peers import wire
from seawall.availability.peers.client import Peer, PeerError
from seawall.availability.peers.demand import Demand
from seawall.kernel.context import actor
from seawall.kernel.errors import OCI_CODES, RegistryError
from seawall.registry.model import Chunk, OpenBlob, StoredManifest, UploadPositionError
from seawall.registry.protocol import Registry, Visible, Wrapper


class PeerRegistry(Wrapper):
    """Wraps a registry: before it reads what peers may have, that is brought here.

    An upload session stays at the instance that opened it; requests about it are sent there.
    """

    def __init__(self, inner: Registry, demand: Demand) -> None:
        super().__init__(inner)
        self._demand = demand

    async def catalog(self, n: int, last: str | None, visible: Visible) -> list[str]:
        """See ListVerbs.catalog."""
        await self._demand.ready_newest()
        return await self.inner.catalog(n, last, visible)

    async def tags(self, name: str, n: int, last: str | None) -> list[str]:
        """See ListVerbs.tags."""
        await self._demand.ready_repository(name)
        return await self.inner.tags(name, n, last)

    async def referrers(
        self, name: str, digest: str, artifact_type: str | None, limit: int, after: int
    ) -> tuple[list[dict[str, Any]], int | None]:
        """See ListVerbs.referrers."""
        await self._demand.ready_repository(name)
        return await self.inner.referrers(name, digest, artifact_type, limit, after)

    async def manifest(self, name: str, reference: str) -> StoredManifest:
        """See ManifestVerbs.manifest."""
        await self._demand.ready_manifest(name, reference)
        return await self.inner.manifest(name, reference)

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
        await self._demand.ready_content(name, payload, content_type)
        return await self.inner.put_manifest(name, reference, payload, content_type, extra_tags, digest)

    async def delete_manifest(self, name: str, reference: str) -> None:
        """See ManifestVerbs.delete_manifest."""
        await self._demand.ready_manifest(name, reference)
        await self.inner.delete_manifest(name, reference)

    async def blob_size(self, name: str, digest: str) -> int:
        """See BlobVerbs.blob_size; asked of peers only, the bytes come when they are wanted."""
        try:
            return await self.inner.blob_size(name, digest)
        except RegistryError as error:
            size = None if error.status != 404 else await self._demand.blob_size(name, digest)
            if size is None:
                raise
            return size

    async def open_blob(self, name: str, digest: str, *, whole: bool) -> OpenBlob:
        """See BlobVerbs.open_blob."""
        try:
            return await self.inner.open_blob(name, digest, whole=whole)
        except RegistryError as error:
            if error.status != 404 or not await self._demand.ready_blob(name, digest):
                raise
        return await self.inner.open_blob(name, digest, whole=whole)

    async def mount_blob(self, name: str, digest: str, source: str) -> bool:
        """See BlobVerbs.mount_blob; what only a peer has is brought first, if that takes moments."""
        if await self.inner.mount_blob(name, digest, source):
            return True
        return await self._demand.ready_mount(source, digest) and await self.inner.mount_blob(
            name, digest, source
        )

    async def delete_blob(self, name: str, digest: str) -> None:
        """See BlobVerbs.delete_blob; it goes at the peers too, or it would be brought back from there.

        Raises DENIED also while a manifest that only a peer has yet needs it.
        """
        unknown: RegistryError | None = None
        try:
            await self.inner.delete_blob(name, digest)
        except RegistryError as error:
            if error.status != 404:
                raise
            unknown = error
        dropped = await self._demand.drop_blob(name, digest)
        if unknown is not None and not dropped:
            raise unknown

    # -- upload sessions -------------------------------------------------------------------------------

    async def upload_offset(self, name: str, upload_id: str) -> int:
        """See UploadVerbs.upload_offset."""
        try:
            return await self.inner.upload_offset(name, upload_id)
        except RegistryError as error:
            owner = await self._owner_after(error, name, upload_id)
            if owner is None:
                raise
        return _offset(await self._forward(owner, "GET", name, upload_id))

    async def append_upload(self, name: str, upload_id: str, chunk: Chunk) -> int:
        """See UploadVerbs.append_upload."""
        owner = await self._owner(name, upload_id)
        if owner is None:
            return await self.inner.append_upload(name, upload_id, chunk)
        return _offset(await self._forward(owner, "PATCH", name, upload_id, chunk=chunk))

    async def close_upload(self, name: str, upload_id: str, digest: str, chunk: Chunk) -> str:
        """See UploadVerbs.close_upload."""
        owner = await self._owner(name, upload_id)
        if owner is None:
            return await self.inner.close_upload(name, upload_id, digest, chunk)
        query = f"?digest={quote(digest, safe=':')}"
        answer = await self._forward(owner, "PUT", name, upload_id, query, chunk)
        return str(answer.headers.get("docker-content-digest", digest))

    async def cancel_upload(self, name: str, upload_id: str) -> None:
        """See UploadVerbs.cancel_upload."""
        owner = await self._owner(name, upload_id)
        if owner is None:
            await self.inner.cancel_upload(name, upload_id)
        else:
            await self._forward(owner, "DELETE", name, upload_id)

    async def _owner(self, name: str, upload_id: str) -> Peer | None:
        """The peer that has an upload session which is not here."""
        try:
            await self.inner.upload_offset(name, upload_id)
        except RegistryError as error:
            return await self._owner_after(error, name, upload_id)
        return None

    async def _owner_after(self, error: RegistryError, name: str, upload_id: str) -> Peer | None:
        if error.code != "BLOB_UPLOAD_UNKNOWN":
            raise error
        return await self._demand.owner(name, upload_id)

    async def _forward(
        self,
        owner: Peer,
        method: str,
        name: str,
        upload_id: str,
        query: str = "",
        chunk: Chunk | None = None,
    ) -> httpx.Response:
        """Have the instance that has the session serve the request. Raises RegistryError as it answers."""
        who = actor.get()
        claims = {wire.ACTOR: quote(who.name), wire.ADDRESS: who.address}
        if chunk is not None and chunk.length is not None:
            claims[wire.LENGTH] = str(chunk.length)
        if chunk is not None and chunk.position is not None:
            claims[wire.RANGE] = f"{chunk.position[0]}-{chunk.position[1]}"
        target = f"{wire.PATH}/v2/{quote(name)}/blobs/uploads/{upload_id}{query}"
        try:
            answer = await owner.forward(method, target, claims, _nothing() if chunk is None else chunk.body)
        except PeerError as error:
            raise RegistryError("UNAVAILABLE", str(error), status=503) from None
        if answer.status_code >= 400:
            raise _error(answer)
        return answer


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


def _offset(answer: httpx.Response) -> int:
    """The session's offset by an answer's Range, which is inclusive: `0-0` stands for "nothing yet" too."""
    last = answer.headers.get("range", "0-0").rpartition("-")[2]
    return int(last) + 1 if last.isdigit() and last != "0" else 0


def _error(answer: httpx.Response) -> RegistryError:
    """The error that another instance answered with."""
    try:
        item = msgspec.json.decode(answer.content)["errors"][0]
        code, message, detail = str(item["code"]), str(item["message"]), item.get("detail")
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, IndexError, TypeError):
        code, message, detail = "UNAVAILABLE", f"a peer answers {answer.status_code}", None
    if code not in OCI_CODES:
        code = "UNKNOWN"
    if answer.status_code == 416 and "range" in answer.headers:
        return UploadPositionError(message, _offset(answer))
    kept = {name: answer.headers[name] for name in ("Retry-After",) if name in answer.headers}
    return RegistryError(code, message, detail=detail, status=answer.status_code, headers=kept)
