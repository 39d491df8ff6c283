"""A client of the running registry: pushes images, calls Harbor's API, waits for jobs."""

from __future__ import annotations

import gzip
import json
from typing import Any

import httpx

from tests.support.digests import digest_of
from tests.support.registry import Registry
from tests.support.scan.images import LAYER
from tests.support.waiting import until

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
GENERIC = "application/vnd.security.vulnerability.report; version=1.1"


class Client:
    """Acts as one user (the administrator unless said otherwise)."""

    def __init__(self, registry: Registry, auth: tuple[str, str] | None = None) -> None:
        self.registry = registry
        self.http = httpx.Client(base_url=registry.url, auth=auth or registry.admin, timeout=60)

    def api(self, method: str, path: str, expect: int = 200, **options: Any) -> httpx.Response:
        response = self.http.request(method, f"/api/v2.0{path}", **options)
        assert response.status_code == expect, f"{method} {path}: {response.status_code} {response.text}"
        return response

    def get(self, path: str, **parameters: Any) -> Any:
        return self.api("GET", path, params=parameters).json()

    def blob(self, name: str, data: bytes) -> dict[str, Any]:
        digest = digest_of(data)
        done = self.http.post(f"/v2/{name}/blobs/uploads/", params={"digest": digest}, content=data)
        assert done.status_code == 201, done.text
        return {"digest": digest, "size": len(data)}

    def manifest(self, name: str, reference: str, document: dict[str, Any]) -> str:
        data = json.dumps(document).encode()
        done = self.http.put(
            f"/v2/{name}/manifests/{reference or digest_of(data)}",
            content=data,
            headers={"Content-Type": document["mediaType"]},
        )
        assert done.status_code == 201, done.text
        return digest_of(data)

    def push(self, name: str, tag: str, *layers: bytes, note: str = "") -> str:
        """Push an image of these (plain tar) layers; returns its digest."""
        config = {
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": []},
            "n": note,
        }
        packed = [gzip.compress(layer, 1, mtime=0) for layer in layers]
        return self.manifest(
            name,
            tag,
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {
                    "mediaType": "application/vnd.oci.image.config.v1+json",
                    **self.blob(name, json.dumps(config).encode()),
                },
                "layers": [{"mediaType": LAYER + "+gzip", **self.blob(name, data)} for data in packed],
            },
        )

    def scan(self, repository: str, reference: str, kind: str = "vulnerability", expect: int = 202) -> None:
        self.api("POST", f"{artifact(repository, reference)}/scan", expect, json={"scan_type": kind})

    def report(self, repository: str, reference: str) -> dict[str, Any] | None:
        found = self.get(f"{artifact(repository, reference)}/additions/vulnerabilities")
        return found.get(GENERIC) if found else None

    def wait_report(self, repository: str, reference: str) -> dict[str, Any]:
        found: dict[str, Any] = until(lambda: self.report(repository, reference))
        return found

    def ids(self, repository: str, reference: str) -> list[str]:
        report = self.wait_report(repository, reference)
        return sorted(item["id"] for item in report["vulnerabilities"])


def artifact(repository: str, reference: str) -> str:
    project, _, rest = repository.partition("/")
    return f"/projects/{project}/repositories/{rest.replace('/', '%252F')}/artifacts/{reference}"
