"""The folder of a CNCF Distribution registry (docker-registry, registry:2 and 3) as the source of a copy.

Source: Distribution's `registry/storage/paths.go` for the names of the files:

    docker/registry/v2/repositories/NAME/_manifests/tags/TAG/current/link
    docker/registry/v2/repositories/NAME/_manifests/revisions/ALGORITHM/HEX/link
    docker/registry/v2/repositories/NAME/_layers/ALGORITHM/HEX/link
    docker/registry/v2/blobs/ALGORITHM/HH/HEX/data

The folder is only read, and every byte that is read is held against its digest.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from seawall.features.replication.remote import RemoteError, RemoteManifest
from seawall.kernel.errors import ConfigError, SeawallError
from seawall.kernel.names import check_digest, digest_of

_PIECE = 1024 * 1024
_MANIFEST_LIMIT = 16 * 1024 * 1024
_ROOT = Path("docker") / "registry" / "v2"


class Tree:
    """One registry folder. Reading methods are those of `replication.endpoint.Endpoint`."""

    def __init__(self, folder: Path) -> None:
        """`folder`: the storage's rootdirectory, or anything above it down to `v2`. Raises ConfigError."""
        found = [
            path
            for path in (folder / _ROOT, folder / "registry" / "v2", folder / "v2", folder)
            if (path / "repositories").is_dir() and (path / "blobs").is_dir()
        ]
        if not found:
            raise ConfigError(f"{folder}: no registry there (docker/registry/v2/repositories and blobs)")
        self.folder = found[0]
        self._referrers: dict[str, dict[str, list[str]]] = {}

    def repositories(self) -> list[str]:
        """Names of all repositories."""
        root = self.folder / "repositories"
        found = []
        for path, folders, _ in os.walk(root):
            if "_manifests" in folders:
                found.append(Path(path).relative_to(root).as_posix())
            # What begins with an underscore is not part of a name.
            folders[:] = sorted(name for name in folders if not name.startswith("_"))
        return sorted(found)

    def revisions(self, repository: str) -> list[str]:
        """Digests of all manifests of a repository, tagged or not."""
        root = self._manifests(repository) / "revisions"
        return sorted(
            self._digest(f"{link.parent.parent.name}:{link.parent.name}", link)
            for link in root.glob("*/*/link")
        )

    async def tags(self, repository: str) -> list[str]:
        """See Endpoint.tags."""
        root = self._manifests(repository) / "tags"
        return sorted(path.name for path in root.glob("*") if (path / "current" / "link").is_file())

    async def resolve(self, repository: str, reference: str) -> str | None:
        """See Endpoint.resolve."""
        if ":" in reference:
            algorithm, _, value = reference.partition(":")
            link = self._manifests(repository) / "revisions" / algorithm / value / "link"
        else:
            link = self._manifests(repository) / "tags" / reference / "current" / "link"
        if not link.is_file():
            return None
        return self._digest(link.read_text().strip(), link)

    async def manifest(self, repository: str, reference: str) -> RemoteManifest | None:
        """See Endpoint.manifest. Raises RemoteError when its bytes are gone or not those of the digest."""
        digest = await self.resolve(repository, reference)
        if digest is None:
            return None
        path = self._data(digest)
        try:
            if path.stat().st_size > _MANIFEST_LIMIT:
                raise RemoteError(f"{path}: too large for a manifest")
            payload = await asyncio.to_thread(path.read_bytes)
        except FileNotFoundError:
            raise RemoteError(f"{path}: the manifest's bytes are missing") from None
        if digest_of(payload, digest.partition(":")[0]) != digest:
            raise RemoteError(f"{path}: damaged, its bytes are not those of the digest")
        return RemoteManifest(digest, _media_type(payload), payload)

    async def referrers(self, repository: str, digest: str) -> list[str]:
        """See Endpoint.referrers; the folder has no index of them, so all manifests are read once."""
        known = self._referrers.get(repository)
        if known is None:
            known = {}
            for revision in self.revisions(repository):
                try:
                    found = await self.manifest(repository, revision)
                except RemoteError:
                    # A damaged one is named when it is copied itself.
                    continue
                subject = _document(found.payload).get("subject") if found is not None else None
                if isinstance(subject, dict):
                    known.setdefault(str(subject.get("digest")), []).append(revision)
            self._referrers[repository] = known
        return known.get(digest, [])

    async def has_blob(self, repository: str, digest: str) -> bool:
        """See Endpoint.has_blob."""
        del repository
        return self._data(digest).is_file()

    async def blob(self, repository: str, digest: str, offset: int) -> AsyncIterator[bytes]:
        """See Endpoint.blob. Raises RemoteError before the last bytes when they are damaged."""
        del repository
        path = self._data(digest)
        hasher = hashlib.new(digest.partition(":")[0])
        place = 0
        held = b""
        try:
            with path.open("rb") as file:
                while piece := await asyncio.to_thread(file.read, _PIECE):
                    hasher.update(piece)
                    start = max(0, offset - place)
                    place += len(piece)
                    if start < len(piece):
                        if held:
                            yield held
                        held = piece[start:]
        except FileNotFoundError:
            raise RemoteError(f"{path}: the blob's bytes are missing") from None
        if hasher.hexdigest() != digest.partition(":")[2]:
            raise RemoteError(f"{path}: damaged, its bytes are not those of the digest")
        if held:
            yield held

    async def pushed_at(self, repository: str, tag: str) -> float | None:
        """See Endpoint.pushed_at."""
        link = self._manifests(repository) / "tags" / tag / "current" / "link"
        return link.stat().st_mtime if link.is_file() else None

    def _manifests(self, repository: str) -> Path:
        return self.folder / "repositories" / repository / "_manifests"

    def _data(self, digest: str) -> Path:
        algorithm, _, value = digest.partition(":")
        return self.folder / "blobs" / algorithm / value[:2] / value / "data"

    @staticmethod
    def _digest(text: str, link: Path) -> str:
        # A link is a file's content: without this check it could name any path.
        try:
            return check_digest(text)
        except SeawallError:
            raise RemoteError(f"{link}: does not hold a digest") from None


def _document(payload: bytes) -> dict[str, Any]:
    try:
        found = json.loads(payload)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _media_type(payload: bytes) -> str:
    """What the manifest says of itself; an OCI one need not, so its members tell."""
    document = _document(payload)
    named = document.get("mediaType")
    if isinstance(named, str) and named:
        return named
    kind = "index" if "manifests" in document else "manifest"
    return f"application/vnd.oci.image.{kind}.v1+json"
