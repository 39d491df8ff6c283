"""Images built for the scanner's tests: layers from real installed packages, as OCI layouts."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import zstandard

LAYER = "application/vnd.oci.image.layer.v1.tar"


def tar(files: Mapping[str, bytes], *, modes: Mapping[str, int] | None = None) -> bytes:
    """An uncompressed layer with these files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            info.mode = (modes or {}).get(path, 0o644)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def tree(roots: Iterable[tuple[Path, str]], extra: Mapping[str, bytes] | None = None) -> bytes:
    """A layer of real files: (file or directory, path in the image), and `extra` files by content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for source, target in roots:
            archive.add(source, target, recursive=source.is_dir() and not source.is_symlink())
        for path, data in (extra or {}).items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def debian(names: Iterable[str], *, files: bool = True) -> bytes:
    """A layer with installed Debian packages: every file that dpkg lists for them, and their status."""
    wanted = sorted(set(names))
    listing = subprocess.run(
        ["dpkg-query", "-L", *wanted], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    # dpkg's list may name a file under /lib that merged-usr keeps under /usr/lib.
    paths = sorted(
        {os.path.realpath(os.path.dirname(p)) + "/" + os.path.basename(p) for p in listing if p[:1] == "/"}
    )
    roots = [
        (Path(path), path[1:])
        for path in paths
        if files and os.path.lexists(path) and not (os.path.isdir(path) and not os.path.islink(path))
    ]
    status = []
    for name in wanted:
        # dpkg-query -s prints the paragraph of the status file as it is.
        status.append(subprocess.run(["dpkg-query", "-s", name], check=True, capture_output=True).stdout)
    extra = {
        "var/lib/dpkg/status": b"\n".join(status),
        "usr/lib/os-release": Path("/usr/lib/os-release").read_bytes(),
    }
    return tree([r for r in roots if r[1] not in extra], extra)


def layout(root: Path, layers: Iterable[bytes], *, compression: str = "gzip") -> list[tuple[str, Path]]:
    """Write an OCI layout of one image; returns (digest, blob file) of each layer, lowest first."""
    blobs = root / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    descriptors = []
    differences = []
    for data in layers:
        differences.append("sha256:" + hashlib.sha256(data).hexdigest())
        packed, suffix = data, ""
        if compression == "gzip":
            packed, suffix = gzip.compress(data, 1), "+gzip"
        elif compression == "zstd":
            packed, suffix = zstandard.compress(data, 1), "+zstd"
        descriptors.append({"mediaType": LAYER + suffix, **put(packed)})
    config = put(
        json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": differences},
                "history": [{"created_by": f"layer {i}"} for i in range(len(differences))],
            }
        ).encode()
    )
    manifest = put(
        json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config},
                "layers": descriptors,
            }
        ).encode()
    )
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                **manifest,
                "annotations": {"org.opencontainers.image.ref.name": "test"},
            }
        ],
    }
    (root / "index.json").write_text(json.dumps(index))
    (root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return [(d["digest"], blobs / d["digest"].partition(":")[2]) for d in descriptors]
