"""Parsing and validation of manifests and indexes.

Sources: OCI Image 1.1 (manifest.md, image-index.md, descriptor.md), Docker Image Manifest V2 Schema 2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec

from seawall.kernel.errors import RegistryError
from seawall.kernel.names import check_digest
from seawall.registry import members

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
EMPTY_CONFIG = "application/vnd.oci.empty.v1+json"

_IMAGES = {OCI_MANIFEST, DOCKER_MANIFEST}
_INDEXES = {OCI_INDEX, DOCKER_LIST}
SUPPORTED = _IMAGES | _INDEXES | {OCI_ARTIFACT}

# Layers a registry need not hold: the client fetches them from the URLs in the descriptor.
_FOREIGN = {
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
}
_MAX_REFERENCES = 4096


class _Descriptor(msgspec.Struct, rename="camel"):
    digest: str
    size: Annotated[int, msgspec.Meta(ge=0)]
    media_type: str | None = None
    urls: list[str] | None = None
    artifact_type: str | None = None


class _Document(msgspec.Struct, rename="camel"):
    schema_version: int | None = None
    media_type: str | None = None
    artifact_type: str | None = None
    config: _Descriptor | None = None
    layers: list[_Descriptor] | None = None
    blobs: list[_Descriptor] | None = None
    manifests: list[_Descriptor] | None = None
    subject: _Descriptor | None = None
    annotations: dict[str, str | None] | None = None
    fs_layers: list[Any] | None = None


_decoder = msgspec.json.Decoder(_Document)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the registry needs to know of a manifest: references, subject and descriptive fields."""

    media_type: str
    artifact_type: str | None
    config_media_type: str | None
    subject: str | None
    annotations: dict[str, str] | None
    blobs: dict[str, int] = field(default_factory=dict)
    """digest -> size of each blob that must be present in the repository"""
    optional: tuple[str, ...] = ()
    """digests of non-distributable layers: kept when present, not required"""
    manifests: tuple[str, ...] = ()
    """digests of child manifests that must be present in the repository; an index's other descriptors are
    in `blobs`"""
    layer_types: frozenset[str] = frozenset()
    """media types of the layers (or blobs)"""
    lists_artifacts: bool = False
    """whether it is an index that says of each manifest what artifact it is, as a list of referrers does"""


def parse(payload: bytes, content_type: str | None) -> Manifest:
    """Validate `payload` against its media type.

    `content_type` is the request's header (parameters allowed); where absent, the document's own
    mediaType counts. Raises RegistryError MANIFEST_INVALID with the reason.
    """
    try:
        document = _decoder.decode(payload)
        members.check(payload)
    except (ValueError, RecursionError) as error:
        raise RegistryError("MANIFEST_INVALID", f"manifest is not valid: {error}") from None
    # What Go writes for a string that was never set is none: an empty one.
    own = document.media_type or None
    media_type = _plain(content_type or "") or own or ""
    if media_type not in SUPPORTED:
        shown = media_type[:100] or "none given"
        raise RegistryError("MANIFEST_INVALID", f"manifest media type not supported: {shown}")
    if own is not None and own != media_type:
        raise RegistryError("MANIFEST_INVALID", "Content-Type differs from the manifest's mediaType")
    if own is None and media_type in (DOCKER_MANIFEST, DOCKER_LIST, OCI_ARTIFACT):
        raise RegistryError("MANIFEST_INVALID", "mediaType is required")
    if media_type != OCI_ARTIFACT and document.schema_version != 2:
        raise RegistryError("MANIFEST_INVALID", "schemaVersion must be 2")
    if document.fs_layers is not None:
        raise RegistryError("MANIFEST_INVALID", "Docker schema 1 manifests are not supported")
    # One document that is image and index at once means different things to different clients
    # (CVE-2021-41190), so it is refused.
    shapes = [
        document.manifests is not None,
        document.config is not None or document.layers is not None,
        document.blobs is not None,
    ]
    wanted = 0 if media_type in _INDEXES else 1 if media_type in _IMAGES else 2
    if any(present and shape != wanted for shape, present in enumerate(shapes)):
        raise RegistryError("MANIFEST_INVALID", "manifest has fields of another manifest type")
    blobs: dict[str, int] = {}
    optional: list[str] = []
    children: tuple[str, ...] = ()
    config_media_type: str | None = None
    # A list that is absent or null is an empty one: that is how Go writes an empty slice.
    if wanted == 0:
        named = document.manifests or []
        children = tuple(dict.fromkeys(_digest(item) for item in named if names_manifest(item.media_type)))
        _collect(blobs, optional, [item for item in named if not names_manifest(item.media_type)])
        if not blobs.keys().isdisjoint(children):
            raise RegistryError("MANIFEST_INVALID", "a digest is listed as a manifest and as a blob")
    elif wanted == 1:
        if document.config is None:
            raise RegistryError("MANIFEST_INVALID", "a manifest needs a config")
        config_media_type = document.config.media_type
        _collect(blobs, optional, [document.config, *(document.layers or [])])
    else:
        _collect(blobs, optional, document.blobs or [])
    if len(blobs) + len(children) > _MAX_REFERENCES:
        raise RegistryError("MANIFEST_INVALID", f"more than {_MAX_REFERENCES} references")
    artifact_type = document.artifact_type
    for value in (media_type, artifact_type, config_media_type):
        if value is not None and len(value) > 255:
            raise RegistryError("MANIFEST_INVALID", "media type is longer than 255 characters")
        # PostgreSQL has no NUL in a text, and SQLite has: a peer could not take the artifact of another one.
        if value is not None and "\0" in value:
            raise RegistryError("MANIFEST_INVALID", "media type has a NUL character")
    return Manifest(
        media_type=media_type,
        artifact_type=artifact_type,
        config_media_type=config_media_type,
        subject=_digest(document.subject) if document.subject is not None else None,
        annotations=_texts(document.annotations),
        blobs=blobs,
        optional=tuple(optional),
        manifests=children,
        lists_artifacts=bool(children) and all(item.artifact_type for item in document.manifests or ()),
        layer_types=frozenset(item.media_type or "" for item in document.layers or document.blobs or ()),
    )


def type_of(payload: bytes, said: str) -> str:
    """The media type of a manifest that came with the Content-Type `said`.

    Where that is not a manifest's, as from a file server, the document's own counts, then its members.
    Returns `said` for anything but a manifest.
    """
    if _plain(said) in SUPPORTED:
        return _plain(said)
    try:
        document = _decoder.decode(payload)
    except (ValueError, RecursionError):
        return said
    if document.media_type:
        return document.media_type if document.media_type in SUPPORTED else said
    if document.schema_version != 2 or (document.manifests is None) == (document.config is None):
        return said
    return OCI_MANIFEST if document.manifests is None else OCI_INDEX


def _plain(content_type: str) -> str:
    # Media types have no case (RFC 9110 section 8.3.1).
    return content_type.split(";")[0].strip().lower()


def _texts(annotations: dict[str, str | None] | None) -> dict[str, str] | None:
    if annotations is None:
        return None
    return {name: value or "" for name, value in annotations.items()}


def names_manifest(media_type: str | None) -> bool:
    """Whether a descriptor of an index names a manifest; others name blobs.

    BuildKit's cache index (`--cache-to type=registry,image-manifest=false`) names layers and
    `application/vnd.buildkit.cacheconfig.v0`. A descriptor without a media type names a manifest.
    """
    return not media_type or media_type in SUPPORTED


def _collect(blobs: dict[str, int], optional: list[str], descriptors: list[_Descriptor]) -> None:
    for item in descriptors:
        digest = _digest(item)
        if item.media_type in _FOREIGN and item.urls:
            optional.append(digest)
            continue
        if blobs.setdefault(digest, item.size) != item.size:
            raise RegistryError("MANIFEST_INVALID", f"{digest} is listed with two sizes")


def _digest(item: _Descriptor) -> str:
    try:
        return check_digest(item.digest)
    except RegistryError as error:
        raise RegistryError("MANIFEST_INVALID", f"descriptor: {error.message}") from None
