"""Pushing small artifacts to a running server over its registry API."""

from __future__ import annotations

import json
import secrets
from typing import Any

import httpx

from tests.support.digests import digest_of
from tests.support.registry import Registry

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"


class Pusher:
    """Pushes as one user."""

    def __init__(self, registry: Registry, auth: tuple[str, str] | None = None) -> None:
        self.client = httpx.Client(base_url=registry.url, auth=auth or registry.admin, timeout=60)

    def blob(self, name: str, data: bytes) -> httpx.Response:
        """Upload a blob."""
        return self.client.post(
            f"/v2/{name}/blobs/uploads/", params={"digest": digest_of(data)}, content=data
        )

    def manifest(self, name: str, reference: str, document: dict[str, Any]) -> httpx.Response:
        """Put a manifest."""
        return self.client.put(
            f"/v2/{name}/manifests/{reference}",
            content=json.dumps(document),
            headers={"Content-Type": document["mediaType"]},
        )

    def image(
        self,
        name: str,
        tag: str,
        *,
        layer: bytes | None = None,
        config: dict[str, Any] | None = None,
        config_type: str = CONFIG,
        layer_type: str = "application/vnd.oci.image.layer.v1.tar+gzip",
        **extra: Any,
    ) -> str:
        """Push an image (or chart, by its types); returns the digest."""
        layer = secrets.token_bytes(100) if layer is None else layer
        made = json.dumps(config or {"architecture": "amd64", "os": "linux"}).encode()
        for data in (layer, made):
            assert self.blob(name, data).status_code == 201
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": config_type, "digest": digest_of(made), "size": len(made)},
            "layers": [{"mediaType": layer_type, "digest": digest_of(layer), "size": len(layer)}],
            **extra,
        }
        done = self.manifest(name, tag, document)
        assert done.status_code == 201, done.text
        return done.headers["Docker-Content-Digest"]
