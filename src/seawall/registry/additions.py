"""What is inside an artifact: attributes of its config, files of a Helm chart.

Both come from the user who pushed them, so every read is bounded: sizes, numbers of members, bytes after
decompression.
"""

from __future__ import annotations

import io
import tarfile
import zlib
from typing import Any

import msgspec
import yaml

from seawall.kernel.errors import InvalidError, NotFoundError
from seawall.registry import model_files

CHART_LIMIT = 32 * 1024 * 1024
_UNPACKED_LIMIT = 128 * 1024 * 1024
_ATTRIBUTE_BYTES = 64 * 1024
_FILE_LIMIT = 2 * 1024 * 1024
_MEMBER_LIMIT = 20_000
_CHART_LAYERS = frozenset({"application/vnd.cncf.helm.chart.content.v1.tar+gzip", "application/tar+gzip"})
_FILES = {
    "values.yaml": ("values.yaml",),
    "readme.md": ("readme.md", "readme"),
    "dependencies": ("chart.yaml",),
}


def names(kind: str, is_index: bool) -> tuple[str, ...]:
    """The additions that artifacts of a kind have (vulnerabilities and SBOM are the scanner's)."""
    if kind == "IMAGE" and not is_index:
        return ("build_history",)
    if kind == "CHART":
        return ("values.yaml", "readme.md", "dependencies")
    if kind == "CNAI" and not is_index:
        return model_files.ADDITIONS
    return ()


def is_chart(media_type: str) -> bool:
    """Whether a layer is a packed Helm chart."""
    return media_type in _CHART_LAYERS


def json_object(data: bytes) -> dict[str, Any]:
    """`data` as a JSON object; empty when it is anything else."""
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def attributes(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    """Harbor's `extra_attrs` of a config document."""
    if kind == "IMAGE":
        wanted = ("architecture", "author", "config", "created", "os", "os.version", "variant")
        config = {key: config[key] for key in wanted if config.get(key) is not None}
    if len(msgspec.json.encode(config)) <= _ATTRIBUTE_BYTES:
        return config
    # Lists show a hundred of these, so what is long is left to the config itself.
    short = {key: value for key, value in config.items() if len(key) <= 64 and _is_short(value)}
    return dict(list(short.items())[:32])


def _is_short(value: Any) -> bool:
    return len(value) <= 1024 if isinstance(value, str) else isinstance(value, int | float)


class _Inflated(io.RawIOBase):
    """The decompressed bytes of a gzip file, up to a limit."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._position = 0
        self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._tail = b""
        self._total = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        wanted = len(buffer)
        while not self._inflater.eof:
            piece = self._tail
            if not piece:
                piece = bytes(self._data[self._position : self._position + 65536])
                self._position += len(piece)
                if not piece:
                    break
            out = self._inflater.decompress(piece, wanted)
            self._tail = self._inflater.unconsumed_tail
            if out:
                self._total += len(out)
                if self._total > _UNPACKED_LIMIT:
                    raise InvalidError(f"the chart unpacks to more than {_UNPACKED_LIMIT} bytes")
                buffer[: len(out)] = out
                return len(out)
        return 0


def chart_file(data: bytes, addition: str) -> tuple[str, bytes]:
    """(media type, content) of an addition of a packed chart. Raises NotFoundError, InvalidError."""
    found: dict[str, bytes] = {}
    wanted = {*_FILES[addition], *(("requirements.yaml",) if addition == "dependencies" else ())}
    try:
        with tarfile.open(fileobj=io.BufferedReader(_Inflated(data), 65536), mode="r|") as archive:
            for number, member in enumerate(archive):
                if number > _MEMBER_LIMIT:
                    raise InvalidError(f"the chart has more than {_MEMBER_LIMIT} files")
                # A chart has one top directory; charts below it are dependencies.
                parts = member.name.removeprefix("./").split("/")
                if len(parts) != 2 or not member.isfile() or parts[1].lower() not in wanted:
                    continue
                if member.size > _FILE_LIMIT:
                    raise InvalidError(f"{parts[1]} has more than {_FILE_LIMIT} bytes")
                handle = archive.extractfile(member)
                if handle is not None:
                    found.setdefault(parts[1].lower(), handle.read())
    except (tarfile.TarError, zlib.error, EOFError, ValueError, OverflowError):
        raise InvalidError("the chart is not a readable tar.gz archive") from None
    if addition == "dependencies":
        return "application/json; charset=utf-8", msgspec.json.encode(_dependencies(found))
    content = next((found[name] for name in _FILES[addition] if name in found), None)
    if content is None:
        raise NotFoundError(f"the chart has no {addition}")
    media_type = "text/markdown; charset=utf-8" if addition == "readme.md" else "text/plain; charset=utf-8"
    return media_type, content


def _dependencies(found: dict[str, bytes]) -> list[dict[str, str]]:
    """Dependencies from Chart.yaml (Helm 3) or requirements.yaml (Helm 2)."""
    for name in ("chart.yaml", "requirements.yaml"):
        try:
            # Aliases could blow a small file up: none are in real charts' metadata.
            document = yaml.load(found.get(name, b""), Loader=_NoAliases)  # noqa: S506 - a SafeLoader
        except (yaml.YAMLError, ValueError, RecursionError):
            continue
        listed = document.get("dependencies") if isinstance(document, dict) else None
        if isinstance(listed, list):
            return [
                {key: str(item.get(key) or "") for key in ("name", "version", "repository")}
                for item in listed[:1000]
                if isinstance(item, dict)
            ]
    return []


class _NoAliases(yaml.SafeLoader):
    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases are not supported")
        return super().compose_node(parent, index)
