"""Content to push: blobs, images, artifacts and indexes, made fresh in every run."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.support.digests import digest_of
from tests.support.oci.client import OCI_INDEX, OCI_MANIFEST

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = LAYER + "+gzip"
FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"
EMPTY_JSON = "application/vnd.oci.empty.v1+json"
TYPE_A = "application/vnd.seawall.test.alpha+json"
TYPE_B = "application/vnd.seawall.test.beta"

Descriptor = dict[str, Any]


def encode(document: dict[str, Any]) -> bytes:
    """JSON whose exact bytes a registry has to keep: unusual spacing, no trailing newline."""
    return json.dumps(document, indent=1, separators=(" ,", " : ")).encode()


def layer_tar(name: str) -> bytes:
    """A tar with one small file of random content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        data = os.urandom(200).hex().encode()
        info = tarfile.TarInfo(name)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


@dataclass
class Manifest:
    """A manifest's exact bytes with what they are."""

    digest: str
    data: bytes
    media_type: str


@dataclass
class Content:
    """A set of things to push: blobs first, then manifests in order, then tags."""

    algorithm: str = "sha256"
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: list[Manifest] = field(default_factory=list)
    tags: dict[str, Manifest] = field(default_factory=dict)
    # subject digest -> descriptors that the referrers API must list
    referrers: dict[str, list[Descriptor]] = field(default_factory=dict)
    custom_fields: bool = False
    inline_data: bool = False

    def blob(self, data: bytes, media_type: str) -> Descriptor:
        digest = digest_of(data, self.algorithm)
        self.blobs[digest] = data
        found: Descriptor = {"mediaType": media_type, "digest": digest, "size": len(data)}
        if self.inline_data:
            import base64

            found["data"] = base64.b64encode(data).decode()
        return found

    def _add(self, document: dict[str, Any], media_type: str, tag: str | None, kind: str) -> Descriptor:
        if self.custom_fields:
            document["org.example.custom." + os.urandom(4).hex()] = os.urandom(8).hex()
        data = encode(document)
        manifest = Manifest(digest_of(data, self.algorithm), data, media_type)
        self.manifests.append(manifest)
        if tag:
            self.tags[tag] = manifest
        found: Descriptor = {"mediaType": media_type, "digest": manifest.digest, "size": len(data)}
        if "subject" in document:
            listed = dict(found)
            if kind:
                listed["artifactType"] = kind
            if document.get("annotations"):
                listed["annotations"] = document["annotations"]
            self.referrers.setdefault(document["subject"]["digest"], []).append(listed)
        return found

    def manifest(
        self,
        config: Descriptor,
        layers: list[Descriptor],
        *,
        tag: str | None = None,
        artifact_type: str | None = None,
        subject: Descriptor | None = None,
        annotations: dict[str, str] | None = None,
    ) -> Descriptor:
        document: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_MANIFEST}
        if artifact_type:
            document["artifactType"] = artifact_type
        document |= {"config": config, "layers": layers}
        if subject:
            document["subject"] = subject
        if annotations:
            document["annotations"] = annotations
        return self._add(document, OCI_MANIFEST, tag, artifact_type or str(config["mediaType"]))

    def image(
        self,
        tag: str | None = None,
        *,
        compressed: bool = True,
        layers: int = 2,
        subject: Descriptor | None = None,
        annotations: dict[str, str] | None = None,
        architecture: str = "amd64",
    ) -> Descriptor:
        tars = [layer_tar(f"file-{number}") for number in range(layers)]
        config: dict[str, Any] = {
            "architecture": architecture,
            "os": "linux",
            "created": "2024-01-01T00:00:00Z",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(tar) for tar in tars]},
            "history": [{"created_by": os.urandom(8).hex()}],
        }
        if self.custom_fields:
            config["org.example.custom"] = os.urandom(8).hex()
        found = [
            self.blob(gzip.compress(tar), LAYER_GZIP) if compressed else self.blob(tar, LAYER) for tar in tars
        ]
        return self.manifest(
            self.blob(json.dumps(config).encode(), CONFIG),
            found,
            tag=tag,
            subject=subject,
            annotations=annotations,
        )

    def artifact(
        self,
        artifact_type: str,
        tag: str | None = None,
        *,
        payload: bytes | None = None,
        payload_type: str = "text/plain",
        subject: Descriptor | None = None,
    ) -> Descriptor:
        return self.manifest(
            self.blob(b"{}", EMPTY_JSON),
            [self.blob(payload if payload is not None else os.urandom(64), payload_type)],
            tag=tag,
            artifact_type=artifact_type,
            subject=subject,
            annotations={"org.example.kind": "test", "org.example.unique": os.urandom(6).hex()},
        )

    def index(
        self,
        members: list[Descriptor],
        tag: str | None = None,
        *,
        artifact_type: str | None = None,
        subject: Descriptor | None = None,
        annotations: dict[str, str] | None = None,
    ) -> Descriptor:
        document: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_INDEX}
        if artifact_type:
            document["artifactType"] = artifact_type
        document["manifests"] = members
        if subject:
            document["subject"] = subject
        if annotations:
            document["annotations"] = annotations
        return self._add(document, OCI_INDEX, tag, artifact_type or "")

    def platforms(self) -> list[Descriptor]:
        """An image for each of two platforms."""
        return [
            self.image(architecture=name) | {"platform": {"os": "linux", "architecture": name}}
            for name in ("amd64", "arm64")
        ]


def _image() -> Content:
    made = Content()
    made.image("image")
    return made


def _uncompressed() -> Content:
    made = Content()
    made.image("image-uncompressed", compressed=False)
    return made


def _large() -> Content:
    # Just under the 4 MB that the spec says every registry should take.
    made = Content()
    made.image("large-manifest", annotations={f"large-{number}": "A" * 10_000 for number in range(395)})
    assert 3_900_000 < len(made.manifests[0].data) < 4_000_000
    return made


def _index() -> Content:
    made = Content()
    made.index(made.platforms(), "index")
    return made


def _nested() -> Content:
    made = Content()
    made.index([made.index(made.platforms()), made.index(made.platforms())], "index-of-index")
    return made


def _empty_index() -> Content:
    made = Content()
    made.index([], "empty-index", annotations={"org.example.unique": os.urandom(6).hex()})
    return made


def _artifact() -> Content:
    made = Content()
    made.artifact(TYPE_A, "artifact")
    return made


def _artifact_index() -> Content:
    made = Content()
    made.index([made.artifact(TYPE_A), made.artifact(TYPE_A)], "artifact-index", artifact_type=TYPE_A)
    return made


def _artifact_no_layers() -> Content:
    made = Content()
    made.artifact(TYPE_A, "artifact-without-layers", payload=b"{}", payload_type=EMPTY_JSON)
    return made


def _with_subject() -> Content:
    made = Content()
    subject = made.image("image")
    made.image(subject=subject)  # its artifact type is the config's media type
    made.artifact(TYPE_A, "tagged-artifact1", subject=subject)
    made.artifact(TYPE_B, "tagged-artifact2", subject=subject)
    return made


def _index_with_subject() -> Content:
    made = Content()
    subject = made.index(made.platforms(), "index")
    made.index(
        [made.artifact(TYPE_A), made.artifact(TYPE_A)],
        "tagged-artifact",
        artifact_type=TYPE_A,
        subject=subject,
        annotations={"org.example.kind": "test"},
    )
    return made


def _missing_subject() -> Content:
    made = Content()
    absent = {"mediaType": OCI_MANIFEST, "digest": digest_of(os.urandom(32)), "size": 123}
    made.artifact(TYPE_A, "tagged-artifact", subject=absent)
    return made


def _data_field() -> Content:
    made = Content(inline_data=True)
    made.image("data-field")
    return made


def _foreign() -> Content:
    # Layers that live elsewhere: the registry must not ask for their blobs.
    made = Content()
    layers: list[Descriptor] = [
        {
            "mediaType": media_type,
            "digest": (digest := digest_of(os.urandom(32))),
            "size": 12_345,
            "urls": [f"https://store.example.com/{digest}"],
        }
        for media_type in (FOREIGN, FOREIGN + "+gzip")
    ]
    layers.append(made.blob(gzip.compress(layer_tar("near")), LAYER_GZIP))
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}
    made.manifest(made.blob(json.dumps(config).encode(), CONFIG), layers, tag="non-distributable-image")
    return made


def _custom() -> Content:
    made = Content(custom_fields=True)
    made.index(made.platforms(), "custom-fields")
    return made


def _no_layers() -> Content:
    made = Content()
    made.image("no-layers", layers=0)
    return made


def _sha512() -> Content:
    # By digest only: a tag is pushed with the registry's own digest algorithm.
    made = Content(algorithm="sha512")
    made.index(made.platforms())
    return made


def _tag_param(algorithm: str) -> Callable[[], Content]:
    def make() -> Content:
        made = Content(algorithm=algorithm)
        made.index(made.platforms(), f"tag-param-{algorithm}")
        for number, manifest in enumerate(made.manifests):
            made.tags[f"tag-param-{algorithm}-{number}"] = manifest
        return made

    return make


def _bad_digest() -> Content:
    made = Content()
    made.image()
    made.manifests[0].data += b"  "  # still valid JSON, no longer this digest
    return made


DATASETS: dict[str, Content] = {
    name: make()
    for name, make in {
        "image": _image,
        "image-uncompressed": _uncompressed,
        "large-manifest": _large,
        "index": _index,
        "nested-index": _nested,
        "empty-index": _empty_index,
        "artifact": _artifact,
        "artifact-index": _artifact_index,
        "artifact-without-layers": _artifact_no_layers,
        "artifacts-with-subject": _with_subject,
        "index-with-subject": _index_with_subject,
        "missing-subject": _missing_subject,
        "data-field": _data_field,
        "non-distributable-layers": _foreign,
        "custom-fields": _custom,
        "no-layers": _no_layers,
        "sha512": _sha512,
        "tag-param-sha256": _tag_param("sha256"),
        "tag-param-sha512": _tag_param("sha512"),
        "bad-digest-image": _bad_digest,
    }.items()
}
