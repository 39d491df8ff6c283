"""A manifest's document means one thing to every reader.

JSON says little about a member that comes twice, and Go's decoder, which most clients have, takes `Layers`
and `layer\u017f` for `layers`: the last one wins there, where others go by the exact name. A document that
says one thing to the registry and another to a client would pass what holds images back. Sources: RFC 8259
section 4; Go's encoding/json; the members are those of OCI Image 1.1, Docker schema 1 and 2.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

_DESCRIPTOR = ("mediaType", "digest", "size", "urls", "annotations", "data", "artifactType", "platform")
_PLATFORM = ("architecture", "os", "os.version", "os.features", "variant", "features")
_DOCUMENT = (
    "schemaVersion", "mediaType", "artifactType", "config", "layers", "blobs", "manifests", "subject",
    "annotations", "fsLayers", "history", "signatures", "name", "tag", "architecture",
)  # fmt: skip


def _folded(names: tuple[str, ...]) -> dict[str, str]:
    return {name.casefold(): name for name in names}


_NAMES: dict[tuple[str, ...], dict[str, str]] = {
    kind: _folded(kind) for kind in (_DESCRIPTOR, _PLATFORM, _DOCUMENT)
}


class _Pairs(list[tuple[str, Any]]):
    """The members of an object in order, those that come twice included."""


def check(payload: bytes) -> None:
    """Raise ValueError with the reason unless every reader finds the same in a manifest."""
    # What lists and the portal read, with numbers and text that no member above uses.
    msgspec.json.decode(payload)
    document = json.loads(payload, object_pairs_hook=_Pairs)
    if not isinstance(document, _Pairs):
        return
    _check(document, _DOCUMENT)
    for name, value in document:
        if name in ("config", "subject"):
            _descriptor(value)
        elif name in ("layers", "blobs", "manifests") and not isinstance(value, _Pairs):
            for item in value or ():
                _descriptor(item)


def _descriptor(value: Any) -> None:
    if not isinstance(value, _Pairs):
        return
    _check(value, _DESCRIPTOR)
    for name, inner in value:
        if name == "platform" and isinstance(inner, _Pairs):
            _check(inner, _PLATFORM)


def _check(pairs: _Pairs, kind: tuple[str, ...]) -> None:
    known = _NAMES[kind]
    seen = set()
    for name, _ in pairs:
        meant = known.get(name.casefold())
        if meant is None:
            continue
        if name != meant:
            raise ValueError(f"member {name!a} would be read as {meant} by some clients")
        if name in seen:
            raise ValueError(f"member {name} is there twice")
        seen.add(name)
