"""Names of ecosystems and packages, the same for advisories and inventories.

Sources: OSV schema, "Defined ecosystems"; os-release(5).
"""

from __future__ import annotations

import re

from seawall.features.scan.model import Distribution, Found
from seawall.features.scan.parsers.languages import pypi_name

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
    "oracle linux": "rpm",
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
# Endings of ecosystems whose advisories name packages otherwise than is usual for them.
BINARY, SOURCE = "/binary", "/source"
_PLATFORMS = (
    (re.compile(r"^Debian (?:GNU/Linux )?(\d+)"), "debian:{}"),
    (re.compile(r"^Ubuntu (\d\d\.\d\d)"), "ubuntu:{}"),
    (re.compile(r"^(?:Red Hat Enterprise Linux|CentOS Linux)(?: [A-Za-z]+)* (\d+)"), "red hat:{}"),
    (re.compile(r"^AlmaLinux(?: OS)? (\d+)"), "almalinux:{}"),
    (re.compile(r"^Rocky Linux (\d+)"), "rocky linux:{}"),
    (re.compile(r"^Oracle Linux (\d+)"), "oracle linux:{}"),
    (re.compile(r"^openSUSE Leap (\d+\.\d+)"), "opensuse:leap {}"),
    (re.compile(r"^openSUSE (Tumbleweed)"), "opensuse:tumbleweed"),
)
# Modules and the editions for SAP, computing and so on have the packages of the server of that service pack.
_SUSE = re.compile(r"\blinux enterprise .*?\b(1\d)(?:\.(\d+))?(?:[ -]sp(\d+))?(?![\w.])", re.I)


def platform(text: str) -> str | None:
    """Normalised ecosystem of a distribution's name and version, as OVAL and CSAF write them."""
    text = text.strip()
    for pattern, shape in _PLATFORMS:
        match = pattern.match(text)
        if match is not None:
            return shape.format(match[1].lower())
    return f"suse:{_suse(text)}" if text.startswith("SUSE Linux Enterprise") and _SUSE.search(text) else None


def _suse(text: str) -> str:
    match = _SUSE.search(text)
    if match is None:
        return text
    pack = match[3] or match[2]
    return f"linux enterprise server {match[1]}" + (f" sp{pack}" if pack and pack != "0" else "")


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
    elif base == "suse":
        rest = _suse(rest)
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
    if identifier == "ol":
        return [f"oracle linux:{major}"]
    if identifier in ("sles", "sled", "sles_sap", "sle_hpc"):
        return [f"suse:{_suse(f'linux enterprise server {version}')}"]
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
                # Errata of rpm distributions name binary packages; what is not fixed may be named by source.
                keys.append((name, found.name, found.version))
                keys.append((name + SOURCE, found.source or found.name, found.version))
            else:
                if found.kind == "deb":
                    keys.append((name + BINARY, found.name, found.version))
                keys.append((name, found.source or found.name, found.source_version or found.version))
        return keys
    name = f"{found.namespace}:{found.name}" if found.kind == "maven" and found.namespace else found.name
    version = found.version.removeprefix("v") if found.kind == "golang" else found.version
    return [(_ECOSYSTEMS[found.kind], package(found.kind, name), version)]
