"""Names of ecosystems and packages, the same for advisories and inventories.

Sources: OSV schema, "Defined ecosystems"; os-release(5).
"""

from __future__ import annotations

import re

from seawall.scan.model import Distribution, Found
from seawall.scan.parsers.languages import pypi_name

LANGUAGES = {
    "pypi": "pypi",
    "npm": "npm",
    "go": "golang",
    "maven": "maven",
    "crates.io": "cargo",
    "rubygems": "gem",
}
_ECOSYSTEMS = {kind: name for name, kind in LANGUAGES.items()}
SYSTEMS = {
    "debian": "deb",
    "ubuntu": "deb",
    "alpine": "apk",
    "wolfi": "apk",
    "chainguard": "apk",
    "minimos": "apk",
    "rocky linux": "rpm",
    "almalinux": "rpm",
    "red hat": "rpm",
    "suse": "rpm",
    "opensuse": "rpm",
    "mageia": "rpm",
    "openeuler": "rpm",
    "azure linux": "rpm",
}
DEBIAN_RELEASES = {
    "buster": "10",
    "bullseye": "11",
    "bookworm": "12",
    "trixie": "13",
    "forky": "14",
    "duke": "15",
    "sid": "unstable",
}


def ecosystem(name: str) -> tuple[str, str] | None:
    """(normalised ecosystem, package kind) of an OSV ecosystem string; None when it is not matched."""
    base, _, rest = name.partition(":")
    base = base.strip().lower()
    if base in LANGUAGES:
        return base, LANGUAGES[base]
    kind = SYSTEMS.get(base)
    if kind is None:
        return None
    rest = rest.strip().lower()
    if base == "ubuntu":
        # "22.04:LTS", "Pro:18.04:LTS": fixes of Ubuntu Pro are not for everybody.
        pro = rest.startswith("pro:") or ":pro" in rest
        number = re.search(r"\d\d\.\d\d", rest)
        rest = ("pro:" if pro else "") + (number[0] if number else rest)
    elif base == "red hat":
        number = re.search(r"enterprise_linux:(\d+)", rest)
        if number is None:
            return None
        rest = number[1]
    return (f"{base}:{rest}" if rest else base), kind


def package(kind: str, name: str) -> str:
    """A package's name as it is looked up."""
    return pypi_name(name) if kind == "pypi" else name


def of_distribution(distribution: Distribution) -> list[str]:
    """Normalised ecosystems whose advisories apply to the operating system's packages."""
    identifier, version = distribution.id, distribution.version
    major = version.partition(".")[0]
    if identifier == "debian":
        release = version or DEBIAN_RELEASES.get(distribution.codename, "unstable")
        return [f"debian:{release.partition('.')[0]}"]
    if identifier == "ubuntu":
        return [f"ubuntu:{version}"]
    if identifier == "alpine":
        parts = version.split(".")
        if "_alpha" in version or len(parts) < 2:
            return ["alpine:edge"]
        return [f"alpine:v{parts[0]}.{parts[1]}"]
    if identifier in ("wolfi", "chainguard", "minimos"):
        return [identifier] if identifier != "chainguard" else ["chainguard", "wolfi"]
    if identifier == "rocky":
        return [f"rocky linux:{major}"]
    if identifier == "almalinux":
        return [f"almalinux:{major}"]
    if identifier in ("rhel", "centos"):
        return [f"red hat:{major}"]
    if identifier in ("sles", "sled"):
        service = version.partition(".")[2]
        return [f"suse:linux enterprise server {major}" + (f" sp{service}" if service else "")]
    if identifier == "opensuse-leap":
        return [f"opensuse:leap {version}"]
    if identifier == "opensuse-tumbleweed":
        return ["opensuse:tumbleweed"]
    if identifier == "mageia":
        return [f"mageia:{version}"]
    if identifier == "azurelinux":
        return [f"azure linux:{major}"]
    return []


def lookups(found: Found, distribution: Distribution) -> list[tuple[str, str, str]]:
    """(ecosystem, name, version) under which advisories about a package are filed."""
    if found.kind in ("deb", "apk", "rpm"):
        keys = []
        for name in of_distribution(distribution):
            if SYSTEMS.get(name.partition(":")[0]) != found.kind:
                continue
            if found.kind == "rpm":
                # Errata of rpm distributions name binary packages.
                keys.append((name, found.name, found.version))
            else:
                keys.append((name, found.source or found.name, found.source_version or found.version))
        return keys
    name = f"{found.namespace}:{found.name}" if found.kind == "maven" and found.namespace else found.name
    version = found.version.removeprefix("v") if found.kind == "golang" else found.version
    return [(_ECOSYSTEMS[found.kind], package(found.kind, name), version)]
