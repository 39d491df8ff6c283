"""Small artifacts, pushed to and looked up in any registry with a plain HTTP client."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import Any

import httpx

from tests.support.digests import digest_of

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
EMPTY = "application/vnd.oci.empty.v1+json"


class Remote:
    """A registry under test: `url`, credentials (if any), and what a client can see in it."""

    def __init__(self, url: str, auth: tuple[str, str] | None = None) -> None:
        self.url = url
        self.http = httpx.Client(base_url=url, timeout=30)
        self.auth = auth

    def _headers(self, repository: str, actions: str = "pull,push,delete") -> dict[str, str]:
        if self.auth is None:
            return {}
        answer = self.http.get(
            "/service/token",
            params={"service": "seawall", "scope": f"repository:{repository}:{actions}"},
            auth=self.auth,
        )
        assert answer.status_code == 200, answer.text
        return {"Authorization": f"Bearer {answer.json()['token']}"}

    def push_blob(self, repository: str, data: bytes) -> dict[str, Any]:
        headers = self._headers(repository)
        start = self.http.post(f"/v2/{repository}/blobs/uploads/", headers=headers)
        assert start.status_code == 202, start.text
        where = httpx.URL(self.url).join(start.headers["location"])
        done = self.http.put(
            where.copy_merge_params({"digest": digest_of(data)}), content=data, headers=headers
        )
        assert done.status_code == 201, done.text
        return {"digest": digest_of(data), "size": len(data)}

    def push_manifest(self, repository: str, reference: str | None, document: dict[str, Any]) -> str:
        payload = json.dumps(document).encode()
        digest = digest_of(payload)
        done = self.http.put(
            f"/v2/{repository}/manifests/{reference or digest}",
            content=payload,
            headers={"Content-Type": document["mediaType"], **self._headers(repository)},
        )
        assert done.status_code == 201, done.text
        return digest

    def push_image(
        self,
        repository: str,
        tag: str | None,
        layers: list[bytes] | None = None,
        subject: dict[str, Any] | None = None,
        artifact_type: str | None = None,
    ) -> dict[str, Any]:
        """Push an image (or, with `artifact_type`, an artifact); returns its descriptor."""
        config = b"{}" if artifact_type else json.dumps({"os": "linux", "x": secrets.token_hex(8)}).encode()
        document: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": EMPTY if artifact_type else CONFIG, **self.push_blob(repository, config)},
            "layers": [
                {"mediaType": LAYER, **self.push_blob(repository, data)}
                for data in (layers if layers is not None else [secrets.token_bytes(1000)])
            ],
        }
        if artifact_type:
            document["artifactType"] = artifact_type
        if subject:
            document["subject"] = subject
        digest = self.push_manifest(repository, tag, document)
        return {"mediaType": MANIFEST, "digest": digest, "size": len(json.dumps(document))}

    def push_index(self, repository: str, tag: str, children: list[dict[str, Any]]) -> dict[str, Any]:
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": children}
        digest = self.push_manifest(repository, tag, document)
        return {"mediaType": INDEX, "digest": digest, "size": len(json.dumps(document))}

    def digest(self, repository: str, reference: str) -> str | None:
        # A project may be made between a token's issue and its use; clients then ask for another one.
        for _ in range(2):
            answer = self.http.get(
                f"/v2/{repository}/manifests/{reference}",
                headers={"Accept": f"{MANIFEST}, {INDEX}", **self._headers(repository, "pull")},
            )
            if answer.status_code != 401:
                break
        if answer.status_code == 404:
            return None
        assert answer.status_code == 200, answer.text
        return digest_of(answer.content)

    def check(self, repository: str, reference: str) -> None:
        """Every byte of an artifact is there and right."""
        headers = self._headers(repository, "pull")
        answer = self.http.get(
            f"/v2/{repository}/manifests/{reference}", headers={"Accept": f"{MANIFEST}, {INDEX}", **headers}
        )
        assert answer.status_code == 200, (repository, reference, answer.text)
        document = answer.json()
        for child in document.get("manifests", []):
            self.check(repository, child["digest"])
        for item in [document.get("config"), *document.get("layers", [])]:
            if item:
                blob = self.http.get(f"/v2/{repository}/blobs/{item['digest']}", headers=headers)
                assert digest_of(blob.content) == item["digest"]

    def blob(self, repository: str, digest: str) -> httpx.Response:
        """What a GET of the blob is answered, redirects not followed."""
        path = f"/v2/{repository}/blobs/{digest}"
        return self.http.get(path, headers=self._headers(repository), follow_redirects=False)

    def tags(self, repository: str) -> list[str]:
        answer = self.http.get(f"/v2/{repository}/tags/list", headers=self._headers(repository, "pull"))
        return sorted(answer.json().get("tags") or []) if answer.status_code == 200 else []

    def referrers(self, repository: str, digest: str) -> list[str]:
        answer = self.http.get(
            f"/v2/{repository}/referrers/{digest}", headers=self._headers(repository, "pull")
        )
        return [item["digest"] for item in answer.json()["manifests"]] if answer.status_code == 200 else []


@dataclass
class Signed:
    """An index of two images with a signature, the signature's SBOM and cosign's tag; digests."""

    index: str
    signature: str
    sbom: str
    child_sbom: str
    cosign_tag: str


def push_signed(remote: Remote, repository: str, tag: str) -> Signed:
    children = [remote.push_image(repository, None) for _ in range(2)]
    index = remote.push_index(repository, tag, children)
    signature = remote.push_image(repository, None, subject=index, artifact_type="application/x.signature")
    sbom = remote.push_image(repository, None, subject=signature, artifact_type="application/x.sbom")
    child_sbom = remote.push_image(repository, None, subject=children[1], artifact_type="application/x.sbom")
    cosign_tag = index["digest"].replace(":", "-") + ".sig"
    remote.push_image(repository, cosign_tag)
    return Signed(index["digest"], signature["digest"], sbom["digest"], child_sbom["digest"], cosign_tag)
