"""The offline bundle: one archive with everything that a host without a network needs.

It holds wheels of Seawall and of exactly those versions of its dependencies that the bundling environment
has, pip's own wheel, the installer, the Helm chart, a list of hashes and an SBOM (CycloneDX 1.6). The
bundling host reaches a package index, in pip's own configured way; the installing host reaches nothing.
"""

from __future__ import annotations

import contextlib
import datetime
import gzip
import hashlib
import importlib.metadata
import importlib.resources
import io
import json
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import tomllib
import uuid
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from seawall import __version__
from seawall.infra.private import check_writable
from seawall.install.parts import portal_components
from seawall.kernel.errors import ConfigError

_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
# pyproject.toml, requires-python
_OLDEST = 11
_FILES = {"install.sh": 0o755, "prepare": 0o755, "harbor.yml.tmpl": 0o644}


@dataclass(frozen=True, slots=True)
class Package:
    """A distribution that Seawall needs, as installed here."""

    name: str
    version: str
    license: str | None
    requires: tuple[str, ...]


def closure(source: Path) -> tuple[list[Package], list[str]]:
    """Seawall and every distribution it needs at run time on this platform, by name.

    Its own needs are those of the source tree's pyproject.toml, with every extra. Some needs depend on
    Python's patch release, and the installing host may have an older one: those that are not installed here
    are the second part, as requirements. Raises ConfigError naming one that is needed here and not installed.
    """
    project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    found: dict[str, Package] = {}
    elsewhere: dict[str, str] = {}
    waiting: list[tuple[str, frozenset[str]]] = [("seawall", frozenset())]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen or name in elsewhere:
            continue
        seen.add((name, extras))
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            raise ConfigError(f"{name} is needed for the bundle, but not installed here") from None
        needs = []
        requires = _needs(project) if name == "seawall" else distribution.requires or ()
        for text in requires:
            requirement = Requirement(text)
            dependency = canonicalize_name(requirement.name)
            if not _applies(requirement, extras, sys.version.partition(" ")[0]):
                if _applies(requirement, extras, f"{_PYTHON}.0") and not _installed(dependency):
                    elsewhere[dependency] = f"{dependency}{requirement.specifier}"
                    needs.append(dependency)
                continue
            needs.append(dependency)
            waiting.append((dependency, frozenset(requirement.extras)))
        known = found.get(name)
        merged = tuple(sorted({*needs, *(known.requires if known else ())}))
        found[name] = Package(name, distribution.version, _license(distribution), merged)
    return [found[name] for name in sorted(found)], sorted(elsewhere.values())


def _needs(project: dict[str, Any]) -> list[str]:
    """What Seawall needs with all of its extras; those that name Seawall itself only join others."""
    extras = project.get("optional-dependencies", {}).values()
    return [*project["dependencies"], *(n for extra in extras for n in extra if not n.startswith("seawall["))]


def _applies(requirement: Requirement, extras: frozenset[str], python: str) -> bool:
    if requirement.marker is None:
        return True
    return any(
        requirement.marker.evaluate({"extra": extra, "python_full_version": python})
        for extra in extras or {""}
    )


def _installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _license(distribution: importlib.metadata.Distribution) -> str | None:
    for name in ("License-Expression", "License"):
        for value in distribution.metadata.get_all(name) or ():
            # Some have the licence's whole text here.
            if 0 < len(value) < 60 and "\n" not in value:
                return str(value)
    for classifier in distribution.metadata.get_all("Classifier") or ():
        if classifier.startswith("License :: ") and not classifier.endswith("OSI Approved"):
            return str(classifier.rpartition(" :: ")[2])
    return None


def build(
    output: Path,
    *,
    source: Path | None = None,
    wheels: Path | None = None,
    pythons: Iterable[str] = (),
    machine: str | None = None,
) -> dict[str, Any]:
    """Write the bundle to `output` (.tar.gz); returns what is in bundle.json.

    `source` is Seawall's source tree (default: the one this process runs from); `wheels` a folder whose
    wheels are used before the index is asked. `pythons` are further versions ("3.12") that the installing
    host may have: wheels of the same releases come along for them. `machine` is another processor that the
    installing host may have, as `uname -m` calls it. Raises ConfigError with pip's last line when it fails.
    """
    machine = machine or platform.machine()
    if not re.fullmatch(r"[a-z0-9_]{1,32}", machine):
        raise ConfigError(f"--machine {machine}: must be as `uname -m` says it, such as aarch64")
    foreign = _wheels_of(machine) if machine != platform.machine() else []
    pythons = [_PYTHON, *sorted({*pythons} - {_PYTHON})]
    for version in pythons:
        if not re.fullmatch(r"3\.\d{1,2}", version) or int(version[2:]) < _OLDEST:
            raise ConfigError(f"--python {version}: must be 3.{_OLDEST} or newer")
    source = source or _source()
    # Before the minutes that the wheels take.
    check_writable(output)
    packages, elsewhere = closure(source)
    with _named(), tempfile.TemporaryDirectory(prefix="seawall-bundle-") as temporary:
        folder = Path(temporary)
        target = folder / "wheels"
        target.mkdir()
        pins = [f"{p.name}=={p.version}" for p in packages if p.name != "seawall"]
        pins.append(f"pip=={importlib.metadata.version('pip')}")
        (folder / "pins.txt").write_text("".join(f"{pin}\n" for pin in pins))
        find = ["--find-links", str(wheels)] if wheels else []
        into = ["download", *foreign, "-d"] if foreign else ["wheel", "-w"]
        _pip(*into, str(target), "--no-deps", *find, "-r", str(folder / "pins.txt"))
        if elsewhere:
            limits = ["--constraint", str(folder / "pins.txt")]
            _pip(*into, str(target), *find, *limits, *elsewhere)
        for version in pythons[1:]:
            # Wheels only: another version's cannot be built by this interpreter.
            choice = [*(foreign or _ONLY_WHEELS), "--python-version", version, "--no-deps"]
            _pip("download", "-d", str(target), *find, *choice, "-r", str(folder / "pins.txt"))
        # A copy: setuptools builds inside the tree, and would take in what an earlier build left there.
        tree = folder / "source"
        leave = shutil.ignore_patterns("*.egg-info", "__pycache__", "node_modules")
        for name in ("src", "portal"):
            if (source / name).is_dir():
                shutil.copytree(source / name, tree / name, ignore=leave)
        for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "NOTICE"):
            if (source / name).is_file():
                shutil.copy2(source / name, tree)
        _pip("wheel", "--no-deps", "-w", str(target), *find, str(tree))
        (folder / "pins.txt").unlink()
        return _assemble(output, folder, source, packages, pythons, machine)


_ONLY_WHEELS = ["--only-binary", ":all:"]


def _wheels_of(machine: str) -> list[str]:
    """pip's options for wheels of another processor: of each C library up to Debian 12's."""
    names = [*(f"manylinux_2_{minor}_{machine}" for minor in range(17, 37)), f"manylinux2014_{machine}"]
    return [*_ONLY_WHEELS, *(word for name in names for word in ("--platform", name))]


@contextlib.contextmanager
def _named() -> Iterator[None]:
    """Errors of the folder for temporary files say which it is."""
    try:
        yield
    except shutil.Error as error:
        # A list of (from, to, reason): a disk that is full is so for each.
        raise ConfigError(f"{tempfile.gettempdir()}: {error.args[0][0][2]}; TMPDIR names another") from None
    except OSError as error:
        if error.filename is None:
            error.filename = tempfile.gettempdir()
        raise


def _source() -> Path:
    root = Path(__file__).resolve().parents[3]
    if not (root / "pyproject.toml").exists():
        raise ConfigError("Seawall runs from an installed package here; name its source tree with --source")
    return root


def _pip(command: str, *arguments: str) -> None:
    result = subprocess.run(  # noqa: S603 - our own interpreter, fixed arguments
        [sys.executable, "-m", "pip", "--disable-pip-version-check", command, "-q", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        lines = [line for line in result.stderr.splitlines() if line.strip()] or ["failed"]
        raise ConfigError(f"pip {command}: {lines[-1]}")


def _assemble(
    output: Path, folder: Path, source: Path, packages: list[Package], pythons: list[str], machine: str
) -> dict[str, Any]:
    hashes = {wheel.name: _sha256(wheel) for wheel in sorted((folder / "wheels").glob("*.whl"))}
    files: dict[str, tuple[bytes, int]] = {
        f"wheels/{name}": ((folder / "wheels" / name).read_bytes(), 0o644) for name in hashes
    }
    versions = {str(n): str(v) for n, v, _, _ in map(parse_wheel_filename, hashes)}
    missing = sorted(versions.keys() - {p.name for p in packages} - {"pip"})
    packages = [*packages, *(Package(name, versions[name], None, ()) for name in missing)]
    data = importlib.resources.files("seawall.install") / "data"
    for name, mode in _FILES.items():
        files[name] = ((data / name).read_bytes(), mode)
    about = {
        "version": __version__,
        "revision": _revision(source),
        "python": _PYTHON,
        "pythons": pythons,
        "platform": sysconfig.get_platform().replace(platform.machine(), machine),
        "portal": _has_portal(folder / "wheels"),
        "wheels": len(hashes),
    }
    files["VERSION"] = (f"{__version__}\n".encode(), 0o644)
    files["PYTHON"] = (f"{' '.join(pythons)}\n".encode(), 0o644)
    files["bundle.json"] = (_json(about), 0o644)
    files["requirements.txt"] = (_requirements(hashes), 0o644)
    # The portal's files were built from packages of npm, which are in no wheel's own name.
    bundled = portal_components(source / "portal" / "package-lock.json") if about["portal"] else []
    files["sbom.cdx.json"] = (sbom(packages, hashes, bundled), 0o644)
    for name in ("LICENSE", "NOTICE"):
        if (source / name).is_file():
            files[name] = ((source / name).read_bytes(), 0o644)
    for part in ("helm", "docker"):
        for path in sorted((source / "deploy" / part).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                files[f"deploy/{path.relative_to(source / 'deploy')}"] = (path.read_bytes(), 0o644)
    sums = "".join(
        f"{hashlib.sha256(content).hexdigest()}  {n}\n" for n, (content, _) in sorted(files.items())
    )
    files["SHA256SUMS"] = (sums.encode(), 0o644)
    _tar(output, f"seawall-{__version__}", files)
    return about


def _has_portal(wheels: Path) -> bool:
    (wheel,) = wheels.glob("seawall-*.whl")
    with zipfile.ZipFile(wheel) as package:
        return "seawall/portal_dist/index.html" in package.namelist()


def _tar(output: Path, top: str, files: dict[str, tuple[bytes, int]]) -> None:
    # Fixed times and owners: the same content gives the same archive.
    temporary = output.with_name(f".{output.name}.new")
    try:
        with (
            temporary.open("wb") as raw,
            gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, compresslevel=1, filename="") as zipped,
            tarfile.open(fileobj=zipped, mode="w") as tar,
        ):
            for name, (content, mode) in sorted(files.items()):
                entry = tarfile.TarInfo(f"{top}/{name}")
                entry.size, entry.mode, entry.mtime = len(content), mode, 0
                tar.addfile(entry, io.BytesIO(content))
        temporary.replace(output)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(output)) from None
    finally:
        temporary.unlink(missing_ok=True)


def _requirements(hashes: dict[str, str]) -> bytes:
    found: dict[str, list[str]] = {}
    for name, digest in hashes.items():
        project, version, _build, _tags = parse_wheel_filename(name)
        if project != "pip":
            found.setdefault(f"{project}=={version}", []).append(f" --hash=sha256:{digest}")
    return "".join(f"{pin}{''.join(digests)}\n" for pin, digests in found.items()).encode()


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=2, sort_keys=True).encode() + b"\n"


def _revision(source: Path) -> str | None:
    try:
        result = subprocess.run(  # noqa: S603 - fixed arguments
            ["git", "-C", str(source), "rev-parse", "HEAD"],  # noqa: S607 - git is wherever it is
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    revision = result.stdout.strip()
    return revision if re.fullmatch(r"[0-9a-f]{40,64}", revision) else None


def sbom(packages: Iterable[Package], hashes: dict[str, str], bundled: Iterable[Component] = ()) -> bytes:
    """A CycloneDX 1.6 document (JSON) of Seawall and what it needs.

    `hashes` are SHA-256 by wheel name; `bundled` is what the wheel of Seawall has next to its own code.
    """
    bundled = list(bundled)
    digests = {str(parse_wheel_filename(wheel)[0]): digest for wheel, digest in hashes.items()}
    components = {package.name: _component(package, digests.get(package.name)) for package in packages}
    main = components["seawall"]
    bom = Bom(components=[*(c for c in components.values() if c is not main), *bundled])
    bom.metadata.component = main
    # Of the content and not of the moment: the same bundle has the same SBOM.
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(hashes, sort_keys=True))
    bom.metadata.timestamp = datetime.datetime.fromtimestamp(0, datetime.UTC)
    for package in packages:
        needs = [components[name] for name in package.requires if name in components]
        needs += bundled if package.name == "seawall" else []
        bom.register_dependency(components[package.name], needs)
    return JsonV1Dot6(bom).output_as_string(indent=2).encode() + b"\n"


def _component(package: Package, digest: str | None) -> Component:
    kind = ComponentType.APPLICATION if package.name == "seawall" else ComponentType.LIBRARY
    purl = PackageURL("pypi", None, package.name, package.version)
    return Component(
        type=kind,
        name=package.name,
        version=package.version,
        purl=purl,
        bom_ref=purl.to_string(),
        licenses=[DisjunctiveLicense(name=package.license)] if package.license else None,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)] if digest else None,
    )
