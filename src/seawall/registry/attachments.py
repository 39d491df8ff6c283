"""What is known not to run: signatures, attestations and SBOMs, by the types they declare.

Gates on pulls let such through, as clients need them to judge an image. The lists are closed: what is not in
them may be anything. Types are claims of the user who pushed, so a manifest that a container engine may take
for an image (its config says so) must be looked at further, see `needs_a_look`.
"""

from __future__ import annotations

import re

from seawall.registry.manifest import EMPTY_CONFIG, OCI_ARTIFACT, OCI_MANIFEST, Manifest

_IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"
_BUNDLE = re.compile(r"application/vnd\.dev\.sigstore\.bundle(\.v\d+\.\d+\+json|\+json;version=\d+\.\d+)")
_TYPES = {
    "application/vnd.cncf.notary.signature",
    "application/vnd.dev.cosign.artifact.sig.v1+json",
    "application/vnd.dsse.envelope.v1+json",
    "application/vnd.in-toto+json",
    "application/vnd.goharbor.harbor.sbom.v1",
    "application/vnd.cyclonedx",
    "application/vnd.cyclonedx+json",
    "application/vnd.cyclonedx+xml",
    "application/spdx",
    "application/spdx+json",
    "text/spdx",
    "text/spdx+json",
    "application/vnd.syft+json",
    "application/vnd.openvex+json",
    "application/sarif+json",
}
# Configs that no container engine takes for an image's, in addition to the types themselves.
_CONFIGS = {EMPTY_CONFIG, "application/vnd.dev.cosign.artifact.sbom.v1+json"}
_LAYERS = _TYPES | {
    EMPTY_CONFIG,
    "application/vnd.dev.cosign.simplesigning.v1+json",
    "application/jose+json",
    "application/cose",
}


def is_attachment(manifest: Manifest) -> bool:
    """Whether all that the manifest declares are types of signatures, attestations and SBOMs."""
    if manifest.media_type not in (OCI_MANIFEST, OCI_ARTIFACT) or manifest.optional:
        return False
    kinds = manifest.layer_types
    if not kinds or not all(kind in _LAYERS or _BUNDLE.fullmatch(kind) for kind in kinds):
        return False
    if manifest.artifact_type is not None and not _is_type(manifest.artifact_type):
        return False
    config = manifest.config_media_type
    if config is None:
        return manifest.artifact_type is not None
    # cosign keeps the config type of images for its signatures and attestations.
    return config in _CONFIGS or config == _IMAGE_CONFIG or _is_type(config)


def needs_a_look(manifest: Manifest) -> bool:
    """Whether a container engine may take the manifest for an image, so that its layers must be read."""
    return manifest.config_media_type == _IMAGE_CONFIG


def _is_type(name: str) -> bool:
    return name in _TYPES or _BUNDLE.fullmatch(name) is not None
