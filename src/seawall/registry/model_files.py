"""What is inside a model of the CNCF's ModelPack (CNAI, as it was called): README, licence, list of files.

Source: the ModelPack specification: its media types of documents and the annotation with a layer's path.
"""

from __future__ import annotations

import io
import tarfile
from typing import Any

import msgspec

from seawall.kernel.errors import InvalidError, NotFoundError

DOCUMENT_LIMIT = 4 * 1024 * 1024
ADDITIONS = ("readme.md", "license", "files")
_DOCUMENTS = frozenset(
    f"application/vnd.{vendor}.model.doc.v1.{form}" for vendor in ("cnai", "cncf") for form in ("tar", "raw")
)
_PATHS = ("org.cncf.model.filepath", "org.cnai.model.filepath")
_NAMES = {"readme.md": ("README.md", "README"), "license": ("LICENSE", "LICENSE.txt")}
# Folders below folders; what is deeper is shown in the last of them.
_DEPTH = 32


def path_of(layer: dict[str, Any]) -> str:
    """The path that a layer's file or folder has in the model; a folder's ends with a slash."""
    notes = layer.get("annotations") or {}
    return next((notes[name] for name in _PATHS if isinstance(notes.get(name), str)), "")


def document(layers: list[dict[str, Any]], addition: str) -> dict[str, Any]:
    """The layer with the README or the licence. Raises NotFoundError, InvalidError when it is too large."""
    for name in _NAMES[addition]:
        for layer in layers:
            if layer.get("mediaType") in _DOCUMENTS and path_of(layer) == name:
                if layer["size"] > DOCUMENT_LIMIT:
                    raise InvalidError(f"{name} has more than {DOCUMENT_LIMIT} bytes")
                return layer
    raise NotFoundError(f"the model has no {addition}")


def content(media_type: str, data: bytes) -> bytes:
    """The text of a document's layer: the bytes themselves, or the first file of the archive."""
    if not media_type.endswith(".tar"):
        return data
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for member in archive:
                if member.isfile() and member.size <= DOCUMENT_LIMIT:
                    handle = archive.extractfile(member)
                    return handle.read() if handle is not None else b""
    except (tarfile.TarError, EOFError, ValueError, OverflowError):
        raise InvalidError("the document is not a readable tar archive") from None
    raise NotFoundError("the archive of the document is empty")


def files(layers: list[dict[str, Any]]) -> bytes:
    """The model's files and folders as Harbor lists them, folders first.

    JSON: lists of objects with name, type, and size or children.
    """
    root: dict[str, Any] = {}
    for layer in layers:
        path = path_of(layer)
        parts = [part for part in path.split("/") if part not in ("", ".", "..")]
        if not parts:
            continue
        parts = [*parts[:_DEPTH], *parts[-1:]] if len(parts) > _DEPTH else parts
        folder = root
        for part in parts[:-1]:
            inner = folder.setdefault(part, {})
            # A file of this name is in the way; what would be below it is left out.
            if not isinstance(inner, dict):
                break
            folder = inner
        else:
            folder.setdefault(parts[-1], {} if path.endswith("/") else layer["size"])
    return msgspec.json.encode(_listed(root))


def _listed(folder: dict[str, Any]) -> list[dict[str, Any]]:
    inner = [
        {"name": name, "type": "directory", "children": _listed(item)}
        for name, item in sorted(folder.items())
        if isinstance(item, dict)
    ]
    return inner + [
        {"name": name, "type": "file", "size": item}
        for name, item in sorted(folder.items())
        if not isinstance(item, dict)
    ]
