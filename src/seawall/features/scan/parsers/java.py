"""Java archives: Maven coordinates from pom.properties, manifest or file name, nested archives included.

Sources: the JAR file specification, Maven Archiver's pom.properties, Spring Boot's nested layout.
"""

from __future__ import annotations

import io
import posixpath
import re
import struct
import zipfile
import zlib

from seawall.features.scan.model import Found
from seawall.features.scan.parsers.base import ParseError, TooMuchError, clean

ARCHIVES = (".jar", ".war", ".ear", ".par", ".sar", ".nar", ".jpi", ".hpi", ".rar", ".lpkg")
_FILE_NAME = re.compile(r"(?P<name>[A-Za-z](?:[\w.]*?)(?:-[A-Za-z][\w.]*?)*)(?:-v?(?P<version>\d[\w.+-]*))?")
_DEPTH = 4
_ENTRIES = 200_000
_MEMBER = 256 * 1024 * 1024
# What an archive may unpack to: classes and archives in archives shrink to a fifth at best, bombs to nothing.
_TOTAL = 1024 * 1024 * 1024
_FREE = 64 * 1024 * 1024
_RATIO = 50


class _Budget:
    def __init__(self, size: int) -> None:
        self.bytes = min(_TOTAL, _FREE + _RATIO * size)
        self.entries = _ENTRIES

    def spend(self, size: int) -> None:
        self.bytes -= size
        if self.bytes < 0:
            raise TooMuchError("archive unpacks to too much")


def archive(data: bytes, path: str) -> list[Found]:
    """Coordinates of a Java archive and of those inside it; a namespace is the Maven group."""
    found: list[Found] = []
    _archive(data, path, 0, _Budget(len(data)), found)
    return list(dict.fromkeys(found))


def _archive(data: bytes, path: str, depth: int, budget: _Budget, found: list[Found]) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as opened:
            names = opened.infolist()
            budget.entries -= len(names)
            if budget.entries < 0:
                raise TooMuchError("archive has too many entries")
            manifest: dict[str, str] = {}
            coordinates: list[tuple[str, str, str]] = []
            for item in names:
                name = item.filename
                if name.upper() == "META-INF/MANIFEST.MF":
                    manifest = _manifest(_member(opened, item, 4 * 1024 * 1024, budget))
                elif name.startswith("META-INF/maven/") and name.endswith("/pom.properties"):
                    pom = _properties(_member(opened, item, 1024 * 1024, budget))
                    if pom.get("artifactId") and pom.get("version"):
                        coordinates.append((pom.get("groupId", ""), pom["artifactId"], pom["version"]))
                elif name.lower().endswith(ARCHIVES) and depth < _DEPTH:
                    try:
                        inner = _member(opened, item, _MEMBER, budget)
                        _archive(inner, name, depth + 1, budget, found)
                    except TooMuchError:
                        raise
                    except ParseError:
                        # Broken archives are shipped as test data.
                        continue
    except (
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        struct.error,
    ) as error:
        raise ParseError(f"not a readable archive: {error}") from None
    _own(path, manifest, coordinates, found)


def _own(
    path: str, manifest: dict[str, str], coordinates: list[tuple[str, str, str]], found: list[Found]
) -> None:
    stem = posixpath.basename(path).rsplit(".", 1)[0][:200]
    match = _FILE_NAME.fullmatch(stem)
    file_name, file_version = (match["name"], match["version"] or "") if match else (stem, "")
    for group, artifact, version in coordinates:
        found.append(Found("maven", clean(artifact), clean(version), clean(group)))
    # A pom.properties that the file is named after, or the only one there, is the archive's own.
    if len(coordinates) == 1 or any(stem.startswith(artifact) for _, artifact, _ in coordinates):
        return
    name = file_name
    version = file_version or next(
        (
            manifest[key]
            for key in ("implementation-version", "bundle-version", "specification-version", "plugin-version")
            if manifest.get(key)
        ),
        "",
    )
    group = manifest.get("implementation-vendor-id", "")
    symbolic = manifest.get("bundle-symbolicname", "").split(";", 1)[0].strip()
    if not group and "." in symbolic:
        # "org.apache.commons.lang3": the last part repeats the artifact.
        head, _, tail = symbolic.rpartition(".")
        group = head if tail in name else symbolic
    if clean(name) and clean(version):
        found.append(
            Found(
                "maven", clean(name), clean(version), clean(group) if re.fullmatch(r"[\w.-]+", group) else ""
            )
        )


def _member(opened: zipfile.ZipFile, item: zipfile.ZipInfo, limit: int, budget: _Budget) -> bytes:
    most = min(limit, budget.bytes)
    with opened.open(item) as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise TooMuchError(f"{item.filename[:100]} is too large")
    budget.spend(len(data))
    return data


def _manifest(data: bytes) -> dict[str, str]:
    text = data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n").replace("\n ", "")
    values: dict[str, str] = {}
    for line in text.split("\n\n", 1)[0].split("\n"):
        key, separator, value = line.partition(":")
        if separator:
            values.setdefault(key.strip().lower(), value.strip())
    return values


def _properties(data: bytes) -> dict[str, str]:
    values: dict[str, str] = {}
    for line in data.decode("utf-8", "replace").splitlines():
        key, separator, value = line.partition("=")
        if separator and not key.startswith(("#", "!")):
            values[key.strip()] = value.strip()
    return values
