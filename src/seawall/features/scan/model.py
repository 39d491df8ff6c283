"""What scanning talks about: packages, distributions, inventories, limits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from seawall.kernel.extras import optional

if TYPE_CHECKING:
    import packageurl
else:
    packageurl = optional("packageurl")

MIB = 1024 * 1024
# What long work writes to its job's log with, and calls between steps (it raises when the job is to stop).
Log = Callable[[str], Awaitable[None]]
Step = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what is read from a layer, so that a hostile one costs little.

    `ratio` (unpacked / packed bytes) counts once more than `ratio_from` bytes are unpacked: small files
    full of zeros are common and harmless.
    """

    entries: int = 1_000_000
    unpacked_bytes: int = 64 * 1024 * MIB
    ratio: int = 200
    ratio_from: int = 256 * MIB
    file_bytes: int = 64 * MIB
    """a package list, manifest or lock file above this is skipped and noted"""
    binary_bytes: int = 384 * MIB
    """an executable, Java archive or rpm database above this is skipped and noted"""
    metadata_bytes: int = MIB
    """tar's own extended headers and long names"""
    packages: int = 500_000
    parse_seconds: int = 5
    """processor time inside parsers for a layer, with a second more for each MiB that they are given"""
    seconds: int = 900
    memory_bytes: int = 3 * 1024 * MIB

    def as_dict(self) -> dict[str, int]:
        """For the worker process."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Found:
    """A package as a file of a layer tells it; `kind` is the purl type (deb, apk, rpm, pypi, ...)."""

    kind: str
    name: str
    version: str
    namespace: str = ""
    arch: str = ""
    source: str = ""
    """source package, where the distribution builds several binary packages from one"""
    source_version: str = ""
    licenses: tuple[str, ...] = ()
    module: str = ""
    """rpm module stream, "nodejs:14" """

    def as_list(self) -> list[Any]:
        """Compact JSON form; trailing empty fields are left out."""
        row: list[Any] = [
            self.kind,
            self.name,
            self.version,
            self.namespace,
            self.arch,
            self.source,
            self.source_version,
            list(self.licenses),
            self.module,
        ]
        while len(row) > 3 and not row[-1]:
            row.pop()
        return row

    @classmethod
    def from_list(cls, row: list[Any]) -> Found:
        """Inverse of `as_list`."""
        licences = tuple(row[7]) if len(row) > 7 else ()
        return cls(*[*row[:7], *[""] * (7 - len(row[:7])), licences], *row[8:9])


@dataclass(frozen=True, slots=True)
class Distribution:
    """The operating system of an image, from os-release: ID, VERSION_ID, VERSION_CODENAME, PRETTY_NAME."""

    id: str = ""
    version: str = ""
    codename: str = ""
    name: str = ""
    like: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Package:
    """A package of an image: what was found, where, and in which layer (digest)."""

    found: Found
    purl: str
    paths: tuple[str, ...]
    layer: str


@dataclass(slots=True)
class Inventory:
    """The package list of one image."""

    distribution: Distribution
    packages: list[Package]
    notes: list[str] = field(default_factory=list)
    """what was left out and why"""

    def as_dict(self) -> dict[str, Any]:
        """JSON form, as stored."""
        d = self.distribution
        return {
            "distribution": [d.id, d.version, d.codename, d.name, list(d.like)],
            "packages": [[p.found.as_list(), p.purl, list(p.paths), p.layer] for p in self.packages],
            "notes": self.notes,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Inventory:
        """Inverse of `as_dict`."""
        identifier, version, codename, name, like = data["distribution"]
        return cls(
            Distribution(identifier, version, codename, name, tuple(like)),
            [
                Package(Found.from_list(found), purl, tuple(paths), layer)
                for found, purl, paths, layer in data["packages"]
            ],
            list(data["notes"]),
        )


def purl(found: Found, distribution: Distribution) -> str:
    """Package URL of a package (purl specification, type definitions)."""
    qualifiers: dict[str, str] = {}
    namespace: str | None = found.namespace or None
    name, version = found.name, found.version
    if found.kind in ("deb", "apk", "rpm"):
        namespace = distribution.id or None
        if found.arch:
            qualifiers["arch"] = found.arch
        if distribution.id:
            qualifiers["distro"] = "-".join(p for p in (distribution.id, distribution.version) if p)
        if found.kind == "rpm":
            # The purl type puts the epoch into a qualifier.
            epoch, separator, rest = version.partition(":")
            if separator:
                qualifiers["epoch"], version = epoch, rest
            if found.module:
                qualifiers["rpmmod"] = found.module
        if found.source and found.source != found.name:
            upstream = found.source
            if found.source_version and found.source_version != found.version:
                upstream += f"@{found.source_version}"
            qualifiers["upstream"] = upstream
    elif found.kind in ("golang", "npm"):
        head, _, name = found.name.rpartition("/")
        namespace = head or None
    try:
        return packageurl.PackageURL(
            type=found.kind,
            namespace=namespace,
            name=name,
            version=version or None,
            qualifiers=qualifiers or None,
        ).to_string()
    except ValueError:
        # Names out of a hostile or broken file need not fit a purl.
        return ""


@dataclass(frozen=True, slots=True)
class ReportRow:
    """A stored report without its data; times in Unix seconds."""

    id: int
    uuid: str
    repository_id: int
    digest: str
    scanner: str
    kind: str
    status: str
    job_id: str | None
    severity: str
    total: int
    fixable: int
    counts: dict[str, int] | None
    sbom_digest: str | None
    scanner_info: dict[str, str] | None
    error: str | None
    started_at: float | None
    ended_at: float | None
