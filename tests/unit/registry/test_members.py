"""A manifest that means one thing to the registry and another to a client is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from seawall.kernel.errors import RegistryError
from seawall.registry.manifest import OCI_INDEX, OCI_MANIFEST, parse

DIGEST = "sha256:" + "a" * 64
DESCRIPTOR = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": DIGEST, "size": 2}
IMAGE: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": DESCRIPTOR, "layers": []}


def refused(payload: bytes, kind: str = OCI_MANIFEST) -> str:
    with pytest.raises(RegistryError) as caught:
        parse(payload, kind)
    assert caught.value.code == "MANIFEST_INVALID"
    return caught.value.message


@pytest.mark.parametrize(
    "name",
    [
        "Config", "LAYERS", "layer\u017f", "Manifests", "MediaType", "\u017fubject", "artifacttype",
        "Annotations", "\u017fchemaVersion", "bl\u006fb\u017f", "FSLayers",
    ],
)  # fmt: skip
def test_names_that_go_folds(name: str) -> None:
    for ascii_only in (True, False):
        text = json.dumps({**IMAGE, name: []}, ensure_ascii=ascii_only)
        assert "some clients" in refused(text.encode())


@pytest.mark.parametrize("name", ["Digest", "SIZE", "mediatype", "url\u017f", "Platform", "dige\u017ft"])
@pytest.mark.parametrize("place", ["config", "layers", "subject", "manifests"])
def test_names_in_descriptors(name: str, place: str) -> None:
    odd = {**DESCRIPTOR, name: "x"}
    document = {**IMAGE, place: [odd] if place in ("layers", "manifests") else odd}
    kind = OCI_MANIFEST
    if place == "manifests":
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [odd]}
        kind = OCI_INDEX
    assert "some clients" in refused(json.dumps(document).encode(), kind)


def test_a_platforms_members() -> None:
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [{**DESCRIPTOR, "platform": {"os": "linux", "OS": "windows"}}],
    }
    assert "some clients" in refused(json.dumps(document).encode(), OCI_INDEX)


@pytest.mark.parametrize("name", ["config", "layers", "mediaType", "subject"])
def test_a_member_that_comes_twice(name: str) -> None:
    text = json.dumps(IMAGE)[:-1] + f', "{name}": {json.dumps(IMAGE.get(name, DESCRIPTOR))}'
    again = f', "{name}": {json.dumps(IMAGE.get(name, DESCRIPTOR))}' if name not in IMAGE else ""
    assert "twice" in refused((text + again + "}").encode())


@pytest.mark.parametrize(
    "value", ["1e99999", "-1e400", "9" * 100_000, '"\\ud800"', "NaN", "Infinity", "[" * 100_000]
)
def test_what_a_list_could_not_read(value: str) -> None:
    refused(json.dumps(IMAGE)[:-1].encode() + f', "x": {value}}}'.encode())


def test_bytes_that_are_no_text() -> None:
    refused(json.dumps(IMAGE)[:-1].encode() + b', "x": "\xff"}')


def test_names_of_others_are_theirs() -> None:
    """Members that nobody knows, and keys of annotations, in any letters."""
    document = {
        **IMAGE,
        "x-example": 1,
        "X-Example": 2,
        "annotations": {"Config": "a", "config": "b", "layer\u017f": "c"},
        "layers": [{**DESCRIPTOR, "annotations": {"Size": "1"}, "x": {"Digest": 1}}],
    }
    parse(json.dumps(document).encode(), OCI_MANIFEST)
