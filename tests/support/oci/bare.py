"""Content pushed by plain requests, and a look into the database."""

from __future__ import annotations

import json

import httpx

from tests.support.digests import digest_of
from tests.support.registry import Registry

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def push_blob(client: httpx.Client, repository: str, data: bytes) -> str:
    digest = digest_of(data)
    answer = client.post(f"/v2/{repository}/blobs/uploads/", params={"digest": digest}, content=data)
    assert answer.status_code == 201, answer.text
    return digest


def image(blobs: list[bytes]) -> bytes:
    described = [
        {"mediaType": "application/octet-stream", "digest": digest_of(b), "size": len(b)} for b in blobs
    ]
    return json.dumps(
        {"schemaVersion": 2, "mediaType": MANIFEST, "config": described[0], "layers": described[1:]}
    ).encode()


def put_manifest(client: httpx.Client, repository: str, tag: str, payload: bytes) -> httpx.Response:
    return client.put(
        f"/v2/{repository}/manifests/{tag}", content=payload, headers={"Content-Type": MANIFEST}
    )


def connect(server: Registry) -> httpx.Client:
    return httpx.Client(base_url=server.url, auth=server.admin, timeout=60)
