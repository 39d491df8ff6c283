"""Small but whole artifacts for the portal to show: images, indexes, charts, referrers."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from typing import Any

import httpx

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
EMPTY = "application/vnd.oci.empty.v1+json"

OS_RELEASE = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n'
STATUS = """Package: openssl
Status: install ok installed
Architecture: amd64
Version: 3.0.11-1~deb12u1

Package: zlib1g
Status: install ok installed
Architecture: amd64
Source: zlib
Version: 1:1.2.13.dfsg-1
"""


def layer(files: dict[str, str]) -> bytes:
    """A gzipped tar of `files`."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return gzip.compress(raw.getvalue(), mtime=0)


def descriptor(data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    """The descriptor of `data`."""
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    return {"mediaType": media_type, "digest": digest, "size": len(data), **more}


class Pusher:
    """Pushes over the registry's own API with Basic credentials."""

    def __init__(self, url: str, auth: tuple[str, str]) -> None:
        self._http = httpx.Client(base_url=f"{url}/v2", auth=auth, timeout=60)

    def blob(self, repository: str, data: bytes, media_type: str) -> dict[str, Any]:
        """Push a blob whole; returns its descriptor."""
        found = descriptor(data, media_type)
        answer = self._http.post(
            f"/{repository}/blobs/uploads/",
            params={"digest": found["digest"]},
            content=data,
            headers={"Content-Type": "application/octet-stream"},
        )
        assert answer.status_code == 201, answer.text
        return found

    def manifest(self, repository: str, body: dict[str, Any], tag: str | None = None) -> dict[str, Any]:
        """Push a manifest by tag, or by digest; returns its descriptor."""
        data = json.dumps(body).encode()
        found = descriptor(data, body["mediaType"])
        answer = self._http.put(
            f"/{repository}/manifests/{tag or found['digest']}",
            content=data,
            headers={"Content-Type": body["mediaType"]},
        )
        assert answer.status_code == 201, answer.text
        return found

    def image(
        self, repository: str, tag: str | None, *, text: str = "hello", architecture: str = "amd64"
    ) -> dict[str, Any]:
        """An image of two layers, with build history, of Debian 12 with two packages."""
        layers = [
            layer({"etc/os-release": OS_RELEASE, "var/lib/dpkg/status": STATUS}),
            layer({"app/greeting": text}),
        ]
        config = {
            "created": "2026-11-20T10:00:00Z",
            "author": "Seawall's tests",
            "architecture": architecture,
            "os": "linux",
            "config": {"Cmd": ["cat", "/app/greeting"], "Env": ["PATH=/usr/bin"], "Labels": {"team": "web"}},
            "rootfs": {
                "type": "layers",
                "diff_ids": [
                    "sha256:" + hashlib.sha256(gzip.decompress(data)).hexdigest() for data in layers
                ],
            },
            "history": [
                {"created": "2026-11-20T09:58:00Z", "created_by": "/bin/sh -c #(nop) ADD rootfs.tar /"},
                {"created": "2026-11-20T09:59:00Z", "created_by": "ENV PATH=/usr/bin", "empty_layer": True},
                {"created": "2026-11-20T10:00:00Z", "created_by": "COPY greeting /app/greeting"},
            ],
        }
        body = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.blob(repository, json.dumps(config).encode(), CONFIG),
            "layers": [self.blob(repository, data, LAYER) for data in layers],
            "annotations": {"org.opencontainers.image.source": "https://git.example.com/web/app"},
        }
        return self.manifest(repository, body, tag)

    def index(self, repository: str, tag: str) -> dict[str, Any]:
        """An index of an amd64 and an arm64 image."""
        children = []
        for architecture in ("amd64", "arm64"):
            child = self.image(repository, None, text=architecture, architecture=architecture)
            children.append({**child, "platform": {"os": "linux", "architecture": architecture}})
        body = {"schemaVersion": 2, "mediaType": INDEX, "manifests": children}
        return self.manifest(repository, body, tag)

    def referrer(
        self, repository: str, subject: dict[str, Any], artifact_type: str, data: str
    ) -> dict[str, Any]:
        """An artifact that refers to `subject`."""
        body = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": artifact_type,
            "config": self.blob(repository, b"{}", EMPTY),
            "layers": [self.blob(repository, data.encode(), artifact_type)],
            "subject": {key: subject[key] for key in ("mediaType", "digest", "size")},
        }
        return self.manifest(repository, body)

    def chart(self, repository: str, version: str, *, dependencies: str = "") -> dict[str, Any]:
        """A Helm chart with readme and values; `dependencies`: lines for its Chart.yaml."""
        name = repository.rsplit("/", 1)[1]
        meta = {"apiVersion": "v2", "name": name, "version": version, "description": "A greeting"}
        files = {
            f"{name}/Chart.yaml": f"apiVersion: v2\nname: {name}\nversion: {version}\n{dependencies}",
            f"{name}/README.md": "# Greeting\n\nSays hello.\n",
            f"{name}/values.yaml": "replicas: 3\n",
        }
        config = json.dumps(meta).encode()
        body = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.blob(repository, config, "application/vnd.cncf.helm.config.v1+json"),
            "layers": [
                self.blob(repository, layer(files), "application/vnd.cncf.helm.chart.content.v1.tar+gzip")
            ],
        }
        return self.manifest(repository, body, version)
