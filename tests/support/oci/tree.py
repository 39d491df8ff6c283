"""A CNCF Distribution registry's folder, written by hand from the names in its `paths.go`."""

from __future__ import annotations

from pathlib import Path

from tests.support.oci.content import Content


class WrittenTree:
    """A `rootdirectory` with repositories in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.v2 = root / "docker" / "registry" / "v2"
        (self.v2 / "repositories").mkdir(parents=True)
        (self.v2 / "blobs").mkdir()

    def data(self, digest: str) -> Path:
        """The file of a blob's or manifest's bytes."""
        algorithm, _, value = digest.partition(":")
        return self.v2 / "blobs" / algorithm / value[:2] / value / "data"

    def write(self, repository: str, content: Content) -> None:
        """Add `content` to a repository, as pushes would."""
        for digest, payload in content.blobs.items():
            self._store(digest, payload)
        manifests = self.v2 / "repositories" / repository / "_manifests"
        (manifests / "tags").mkdir(parents=True, exist_ok=True)
        (manifests.parent / "_layers").mkdir(exist_ok=True)
        for item in content.manifests:
            self._store(item.digest, item.data)
            self._link(manifests / "revisions" / item.digest.replace(":", "/", 1), item.digest)
        for tag, item in content.tags.items():
            self._link(manifests / "tags" / tag / "current", item.digest)

    def _store(self, digest: str, payload: bytes) -> None:
        path = self.data(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(payload)

    def _link(self, path: Path, digest: str) -> None:
        path.mkdir(parents=True, exist_ok=True)
        (path / "link").write_text(digest)
