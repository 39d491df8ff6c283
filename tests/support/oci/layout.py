"""OCI image layouts written by hand, so that clients have something to push without a network."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tests.support.oci.content import Content

REF = "org.opencontainers.image.ref.name"


@dataclass
class Layout:
    """An OCI layout on disk holding one image or index under the name `latest`."""

    path: Path
    digest: str
    blobs: dict[str, bytes]

    @property
    def source(self) -> str:
        return f"oci:{self.path}:latest"


def write_layout(path: Path, *, platforms: bool = False) -> Layout:
    """Write a fresh image (or an index of two) as an OCI layout."""
    content = Content()
    top = content.index(content.platforms()) if platforms else content.image()
    blobs = dict(content.blobs) | {manifest.digest: manifest.data for manifest in content.manifests}
    folder = path / "blobs" / "sha256"
    folder.mkdir(parents=True)
    for digest, data in blobs.items():
        (folder / digest.removeprefix("sha256:")).write_bytes(data)
    (path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    named = dict(top) | {"annotations": {REF: "latest"}}
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    return Layout(path, str(top["digest"]), blobs)


def top_digest(path: Path) -> str:
    """The digest of the one entry in a layout that a client wrote."""
    entries = json.loads((path / "index.json").read_text())["manifests"]
    assert len(entries) == 1, entries
    return str(entries[0]["digest"])
