"""Content of an upstream, and what of it a proxy-cache project has here."""

from __future__ import annotations

import json
from typing import Any

from seawall.kernel.errors import RegistryError
from seawall.registry.manifest import OCI_MANIFEST
from tests.support.digests import digest_of
from tests.support.lab import CONFIG, Lab, descriptor
from tests.support.servers.upstream import Upstream

LAYER = "application/vnd.oci.image.layer.v1.tar"


def put_image(upstream: Upstream, tag: str, layer: bytes) -> str:
    """An image with a layer; returns its digest."""
    config = json.dumps({"os": "linux", "architecture": "amd64", "x": tag}).encode()
    for data in (config, layer):
        upstream.blobs[digest_of(data)] = data
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(config, CONFIG),
        "layers": [descriptor(layer, LAYER)],
    }
    return upstream.put(tag, json.dumps(document).encode())


async def is_here(lab: Lab, reference: str) -> Any:
    """What the project has under a tag or digest, None without it."""
    try:
        return await lab.content.manifest("p/app", reference)
    except RegistryError:
        return None
