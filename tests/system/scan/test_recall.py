"""Packages found, compared with the real syft on images made of real packages."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import sysconfig
import zlib
from pathlib import Path

import pytest

from seawall.features.scan.inventory import LayerSource, build
from seawall.features.scan.model import Inventory, Limits
from tests.support.scan import images, syft
from tests.support.scan.elf import elf
from tests.support.scan.java import jar, pom
from tests.support.scan.rpms import rpm_databases

Key = tuple[str, str, str]
# Installed by .ci/packages.txt or part of every Debian system: C programs, Perl, and Go (skopeo, umoci).
DEBIAN = ("bash", "coreutils", "dpkg", "libc6", "libssl3", "openssl", "perl-base", "skopeo", "tar", "umoci")


def scan(layers: list[tuple[str, Path]]) -> Inventory:
    return asyncio.run(build([LayerSource(digest, path) for digest, path in layers], Limits()))


def keys(inventory: Inventory) -> set[Key]:
    return {(p.found.kind, p.found.name, p.found.version) for p in inventory.packages}


def compare(root: Path, layers: list[bytes], compression: str = "gzip") -> tuple[set[Key], set[Key]]:
    written = images.layout(root, layers, compression=compression)
    inventory = scan(written)
    assert inventory.notes == []
    return keys(inventory), syft.packages(root)


def recall(ours: set[Key], theirs: set[Key]) -> float:
    missed = sorted(theirs - ours)
    print(f"syft {len(theirs)}, Seawall {len(ours)}, missed {missed}, more {sorted(ours - theirs)[:20]}")
    return len(ours & theirs) / len(theirs)


@pytest.fixture(scope="module")
def debian() -> bytes:
    return images.debian(DEBIAN)


def site_packages() -> list[tuple[Path, str]]:
    site = Path(sysconfig.get_path("purelib"))
    target = "usr/local/lib/python3.11/site-packages"
    return [(path, f"{target}/{path.name}") for path in sorted(site.glob("*.dist-info"))]


def node_modules() -> dict[str, bytes]:
    files = {}
    for number in range(60):
        name = f"@scope/p{number}" if number % 3 else f"p{number}"
        document = {"name": name, "version": f"{number}.2.1", "license": "MIT", "main": "index.js"}
        files[f"app/node_modules/{name}/package.json"] = json.dumps(document).encode()
        files[f"app/node_modules/{name}/index.js"] = b"module.exports = 1\n" * 20
    nested = {"name": "p0", "version": "9.0.0"}
    files["app/node_modules/@scope/p1/node_modules/p0/package.json"] = json.dumps(nested).encode()
    return files


def test_debian_python_npm_go(debian: bytes, tmp_path: Path) -> None:
    """Real Debian packages, a pip-installed tree, a node tree, and a Go program, in four layers."""
    program = Path(sys.executable).with_name("syft")
    binary = next(
        p for p in Path(sysconfig.get_path("purelib")).rglob("bin/syft") if p.stat().st_size > 1 << 20
    )
    assert program.exists()
    layers = [
        debian,
        images.tree(site_packages()),
        images.tar(node_modules()),
        images.tree([(binary, "usr/local/bin/syft")]),
    ]
    ours, theirs = compare(tmp_path / "image", layers)
    assert {kind for kind, _, _ in theirs} == {"deb", "pypi", "npm", "golang"}
    assert len(theirs) > 350
    assert recall(ours, theirs) >= 0.99
    # Nothing is made up either: what is more than syft's is little.
    assert len(ours - theirs) <= 0.01 * len(ours)


def test_every_package_of_a_whole_system(tmp_path: Path) -> None:
    """The dpkg status of this machine, hundreds of packages."""
    extra = {
        "var/lib/dpkg/status": Path("/var/lib/dpkg/status").read_bytes(),
        "etc/os-release": Path("/etc/os-release").read_bytes(),
    }
    ours, theirs = compare(tmp_path / "image", [images.tar(extra)], "zstd")
    assert len(theirs) > 100
    assert recall(ours, theirs) >= 0.99


def test_removed_and_replaced_packages(debian: bytes, tmp_path: Path) -> None:
    """An upper layer that removes a package, deletes a tree and replaces another."""
    upper = {
        "var/lib/dpkg/status": b"Package: only\nVersion: 1\nStatus: install ok installed\n",
        "app/node_modules/.wh.p0": b"",
        "app/node_modules/@scope/.wh..wh..opq": b"",
        "app/node_modules/@scope/new/package.json": b'{"name": "@scope/new", "version": "1.0.0"}',
    }
    ours, theirs = compare(tmp_path / "image", [debian, images.tar(node_modules()), images.tar(upper)])
    # syft keeps the files that an opaque directory hides when the marker comes in the same layer as new
    # ones; what the image shows when it runs is ours.
    assert ("npm", "@scope/new", "1.0.0") in ours
    assert ("npm", "@scope/p1", "1.2.1") not in ours
    assert {key for key in ours if key[0] == "deb"} == {("deb", "only", "1")}
    assert ("npm", "p0", "0.2.1") not in ours
    assert recall(ours, {key for key in theirs if not key[1].startswith("@scope/p")}) >= 0.99


def test_other_ecosystems(tmp_path: Path) -> None:
    """rpm in its three formats, apk, Java, Ruby and Rust."""
    manifest = b"Manifest-Version: 1.0\r\nImplementation-Title: plain\r\nImplementation-Version: 4.5\r\n\r\n"
    audit = {"packages": [{"name": n, "version": "1.2.3", "source": "crates.io"} for n in ("serde", "libc")]}
    apk = "".join(
        f"C:Q1\nP:pkg{n}\nV:1.{n}-r0\nA:x86_64\nS:1\nI:1\nT:t\nU:u\nL:MIT\no:src\n\n" for n in range(20)
    )
    gem = 'Gem::Specification.new do |s|\n  s.name = "rake".freeze\n  s.version = "13.0.6"\n\nend\n'
    inner = jar(pom("org.x", "inner", "2.0"))
    files = {
        "etc/os-release": b"ID=rocky\nVERSION_ID=9.3\n",
        "lib/apk/db/installed": apk.encode(),
        "usr/lib/ruby/gems/3.1.0/specifications/rake-13.0.6.gemspec": gem.encode(),
        "opt/app-1.0.jar": jar({**pom("org.x", "app", "1.0"), "BOOT-INF/lib/inner-2.0.jar": inner}),
        "opt/plain-4.5.jar": jar({"META-INF/MANIFEST.MF": manifest}),
        "opt/some_lib_2.13-4.0.7.jar": jar({"META-INF/MANIFEST.MF": b"Manifest-Version: 1.0\r\n\r\n"}),
        "usr/bin/rusty": elf({".dep-v0": zlib.compress(json.dumps(audit).encode())}),
    }
    layer = images.tar(files, modes={"usr/bin/rusty": 0o755})
    databases = rpm_databases(tmp_path)
    places = {
        "sqlite": "var/lib/rpm/rpmdb.sqlite",
        "berkeley": "var/lib/rpm/Packages",
        "ndb": "usr/lib/sysimage/rpm/Packages.db",
    }
    ours: set[Key] = set()
    for backend, place in places.items():
        root = tmp_path / backend
        found, theirs = compare(root, [layer, images.tar({place: databases[backend]})], "none")
        assert {key for key in theirs if key[0] == "rpm"}, backend
        wanted = {"rpm", "apk", "maven", "gem", "cargo"}
        assert {kind for kind, _, _ in theirs} == wanted
        # syft leaves the epoch out of the version.
        plain = {(k, n, v.partition(":")[2] or v) if k == "rpm" else (k, n, v) for k, n, v in found}
        theirs = {(k, n, v.partition(":")[2] or v) if k == "rpm" else (k, n, v) for k, n, v in theirs}
        assert recall(plain, theirs) >= 0.99
        ours |= found
        shutil.rmtree(root)
    assert ("rpm", "beta", "3:1.4-2.el9") in ours
