"""Additions of models, from bytes that strangers choose."""

from __future__ import annotations

import json
from typing import Any

import pytest

from seawall.kernel.errors import InvalidError, NotFoundError
from seawall.registry import index, model_files
from tests.support.scan.images import tar

DOC = "application/vnd.cncf.model.doc.v1."
WEIGHT = "application/vnd.cncf.model.weight.v1.raw"


def layer(path: str, media_type: str = WEIGHT, size: int = 7) -> dict[str, Any]:
    note = "org.cnai.model.filepath" if "cnai" in media_type else "org.cncf.model.filepath"
    return {"mediaType": media_type, "digest": "sha256:0", "size": size, "annotations": {note: path}}


def test_files_are_listed_folders_first() -> None:
    layers = [layer("b.bin"), layer("a/"), layer("a/x/w.bin", size=9), layer("README.md"), {"size": 1}]
    assert json.loads(model_files.files(layers)) == [
        {
            "name": "a",
            "type": "directory",
            "children": [
                {
                    "name": "x",
                    "type": "directory",
                    "children": [{"name": "w.bin", "type": "file", "size": 9}],
                }
            ],
        },
        {"name": "README.md", "type": "file", "size": 7},
        {"name": "b.bin", "type": "file", "size": 7},
    ]


@pytest.mark.parametrize("path", ["/", "..", "../../etc/passwd", "x/" * 3000 + "y", "a//b/./c"])
def test_odd_paths_are_listed_or_left_out(path: str) -> None:
    listed = model_files.files([layer("a"), layer("a/b"), layer(path)]).decode()
    assert '".."' not in listed
    assert listed.count("{") < 100


def test_documents_are_found_and_opened() -> None:
    layers = [layer("README.md", DOC + "tar"), layer("LICENSE", "application/vnd.cnai.model.doc.v1.raw")]
    assert model_files.document(layers, "readme.md") is layers[0]
    assert model_files.document(layers, "license") is layers[1]
    assert model_files.content(DOC + "raw", b"text") == b"text"
    assert model_files.content(DOC + "tar", tar({"README.md": b"# Hi"})) == b"# Hi"
    with pytest.raises(NotFoundError):
        model_files.document(layers[1:], "readme.md")
    with pytest.raises(NotFoundError):
        model_files.content(DOC + "tar", tar({}))
    with pytest.raises(InvalidError):
        model_files.content(DOC + "tar", b"no archive" * 100)
    with pytest.raises(InvalidError):
        model_files.document([layer("README.md", DOC + "raw", 5 << 20)], "readme.md")


@pytest.mark.parametrize("vendor", ["cnai", "cncf"])
def test_models_are_known_by_what_they_declare(vendor: str) -> None:
    declared = f"application/vnd.{vendor}.model.manifest.v1+json"
    manifest = "application/vnd.oci.image.manifest.v1+json"
    assert index.kind_of(manifest, declared, "application/vnd.acme.thing.config.v1+json") == "CNAI"
    assert index.kind_of(manifest, None, f"application/vnd.{vendor}.model.config.v1+json") == "CNAI"
