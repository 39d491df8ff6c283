"""Which files of a layer are read, and by which parser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from seawall.features.scan.model import Found
from seawall.features.scan.parsers import binaries, java, languages, rpm, system

# Raised when the parsers find more or other things, so that stored layer results are made again.
REVISION = 3


@dataclass(frozen=True, slots=True)
class Cataloger:
    """A parser; `large` ones may read files up to `Limits.binary_bytes`.

    `system`: the list of a distribution's packages; an image whose list cannot be read is not scanned.
    """

    name: str
    parse: Callable[[bytes, str], list[Found]]
    large: bool = False
    system: bool = False


def _plain(name: str, parse: Callable[[bytes], list[Found]], *, system: bool = False) -> Cataloger:
    return Cataloger(name, lambda data, _path: parse(data), system=system)


OS_RELEASE = "os-release"
EXECUTABLE = Cataloger("executable", lambda data, _path: binaries.executable(data), large=True)
_RPM = Cataloger("rpm", lambda data, _path: rpm.database(data), large=True, system=True)
_JAVA = Cataloger("java", java.archive, large=True)
_DPKG = _plain("dpkg", system.dpkg, system=True)
_APK = _plain("apk", system.apk, system=True)
_METADATA = _plain("python", languages.python_metadata)
_GEMSPEC = _plain("gem", languages.gemspec)

OS_RELEASE_PATHS = ("etc/os-release", "usr/lib/os-release")
_PATHS = {
    "var/lib/dpkg/status": _DPKG,
    "lib/apk/db/installed": _APK,
    "usr/lib/apk/db/installed": _APK,
    **{
        f"{place}/{name}": _RPM
        for place in ("var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm")
        for name in ("Packages", "Packages.db", "rpmdb.sqlite")
    },
}
_NAMES = {
    "package.json": _plain("npm", languages.package_json),
    "package-lock.json": _plain("npm-lock", languages.package_lock),
    ".package-lock.json": _plain("npm-lock", languages.package_lock),
    "npm-shrinkwrap.json": _plain("npm-lock", languages.package_lock),
    "yarn.lock": _plain("yarn-lock", languages.yarn_lock),
    "pnpm-lock.yaml": _plain("pnpm-lock", languages.pnpm_lock),
    "poetry.lock": _plain("python-lock", languages.python_lock),
    "uv.lock": _plain("python-lock", languages.python_lock),
    "pdm.lock": _plain("python-lock", languages.python_lock),
    "pylock.toml": _plain("python-lock", languages.python_lock),
    "Pipfile.lock": _plain("pipfile-lock", languages.pipfile_lock),
    "Cargo.lock": _plain("cargo-lock", languages.cargo_lock),
    "Gemfile.lock": _plain("gem-lock", languages.gemfile_lock),
    "go.mod": _plain("go-mod", languages.go_mod),
    "go.sum": _plain("go-sum", languages.go_sum),
}
_REQUIREMENTS = _plain("requirements", languages.requirements)
# Lock files that packages ship for their own development say nothing about the image.
_SHIPPED = ("node_modules/", "site-packages/", "dist-packages/", "pkg/mod/", "registry/src/", "gems/")
_INSTALLED = {"npm", "python", "gem"}


def choose(path: str, mode: int) -> Cataloger | None:
    """The cataloger of a regular file, by path and mode; None for most files."""
    special = _PATHS.get(path)
    if special is not None:
        return special
    directory, _, name = path.rpartition("/")
    found = _NAMES.get(name)
    if found is not None:
        if found.name not in _INSTALLED and any(part in path for part in _SHIPPED):
            return None
        return found
    dot = name.rfind(".")
    suffix = name[dot:] if dot >= 0 else ""
    if name in ("METADATA", "PKG-INFO"):
        if directory.lower().endswith((".dist-info", ".egg-info", "/egg-info")):
            return _METADATA
    elif suffix in java.ARCHIVES:
        return _JAVA
    elif suffix == ".gemspec":
        if "/specifications/" in path or path.startswith("specifications/"):
            return _GEMSPEC
    elif suffix == ".egg-info":
        return _METADATA
    elif suffix == ".txt" and name.startswith("requirements"):
        if not any(part in path for part in _SHIPPED):
            return _REQUIREMENTS
    elif directory == "var/lib/dpkg/status.d" and suffix != ".md5sums":
        return _DPKG
    if mode & 0o111 and suffix not in (".py", ".sh", ".pl", ".js"):
        return EXECUTABLE
    return None


def is_executable(head: bytes) -> bool:
    """Whether the first bytes are those of a program that may carry a module list."""
    return head[:4] == b"\x7fELF" or head[:2] == b"MZ"
