"""Packages of the operating system: os-release, dpkg, apk.

Sources: os-release(5), deb-control(5) and dpkg's status file, apk's installed database.
"""

from __future__ import annotations

import re
import shlex

from seawall.features.scan.model import Distribution, Found
from seawall.features.scan.parsers.base import clean, paragraphs

_SOURCE = re.compile(r"(\S+)(?:\s+\(([^)]*)\))?")


def os_release(data: bytes) -> Distribution:
    """The distribution named by an os-release file."""
    values: dict[str, str] = {}
    for line in data.decode("utf-8", "replace").splitlines():
        key, separator, value = line.strip().partition("=")
        if not separator or key.startswith("#"):
            continue
        try:
            words = shlex.split(value)
        except ValueError:
            words = [value.strip("\"'")]
        values[key] = clean(words[0] if words else "")
    codename = values.get("VERSION_CODENAME", "")
    version = values.get("VERSION_ID", "")
    if not version and "sid" in (codename, values.get("VERSION", "")):
        version = "unstable"
    return Distribution(
        id=values.get("ID", "").lower(),
        version=version,
        codename=codename,
        name=values.get("PRETTY_NAME", ""),
        like=tuple(values.get("ID_LIKE", "").lower().split()),
    )


def dpkg(data: bytes) -> list[Found]:
    """Installed packages of a dpkg status file, or of one file of status.d (distroless images)."""
    found = []
    for fields in paragraphs(data):
        name, version = clean(fields.get("package", "")), clean(fields.get("version", ""))
        # "deinstall ok config-files": only settings are left of it.
        if not name or not version or not fields.get("status", "ok installed").endswith(" installed"):
            continue
        source, source_version = name, version
        match = _SOURCE.fullmatch(clean(fields.get("source", "")))
        if match:
            source, source_version = match[1], match[2] or version
        found.append(
            Found(
                "deb",
                name,
                version,
                arch=clean(fields.get("architecture", "")),
                source=source,
                source_version=source_version,
            )
        )
    return found


def apk(data: bytes) -> list[Found]:
    """Packages of apk's installed database: paragraphs of "letter:value" lines."""
    found = []
    for block in re.split(rb"\n\s*\n", data):
        fields: dict[bytes, str] = {}
        for line in block.split(b"\n"):
            if line[1:2] == b":" and line[:1] in b"PVAoL":
                fields.setdefault(line[:1], clean(line[2:].decode("utf-8", "replace")))
        name, version = fields.get(b"P", ""), fields.get(b"V", "")
        if name and version:
            found.append(
                Found(
                    "apk",
                    name,
                    version,
                    arch=fields.get(b"A", ""),
                    source=fields.get(b"o", "") or name,
                    source_version=version,
                    licenses=(fields[b"L"],) if fields.get(b"L") else (),
                )
            )
    return found
