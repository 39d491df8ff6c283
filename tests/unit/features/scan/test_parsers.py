"""Parsers: what they find, and that no input makes them crash."""

# ruff: noqa: E501 - files as they are, one a line

from __future__ import annotations

import json
import sqlite3
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.features.scan import catalog
from seawall.features.scan.model import Distribution, Found, purl
from seawall.features.scan.parsers import binaries, java, languages, rpm, system
from seawall.features.scan.parsers.base import ParseError
from tests.support.scan.elf import elf
from tests.support.scan.java import jar, pom
from tests.support.scan.rpms import rpm_databases


def pairs(found: list[Found]) -> list[tuple[str, str]]:
    return [(f.name, f.version) for f in found]


def test_os_release() -> None:
    text = b'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.19.1\nPRETTY_NAME="Alpine Linux v3.19"\n# x\nID_LIKE="a b"\n'
    assert system.os_release(text) == Distribution("alpine", "3.19.1", "", "Alpine Linux v3.19", ("a", "b"))
    assert system.os_release(b"PRETTY_NAME='Debian GNU/Linux trixie/sid'\nID=debian\n").version == ""
    assert system.os_release(b'ID="unclosed\n').id == "unclosed"


def test_dpkg() -> None:
    text = b"""Package: libssl3
Status: install ok installed
Architecture: amd64
Source: openssl (3.0.11-1~deb12u2)
Version: 3.0.11-1~deb12u2+b1
Description: a
 Package: not-a-field
 continued

Package: gone
Status: deinstall ok config-files
Version: 1

Package: plain
Status: install ok installed
Version: 1:2.3
"""
    found = system.dpkg(text)
    assert pairs(found) == [("libssl3", "3.0.11-1~deb12u2+b1"), ("plain", "1:2.3")]
    assert (found[0].source, found[0].source_version) == ("openssl", "3.0.11-1~deb12u2")
    assert (found[1].source, found[1].source_version) == ("plain", "1:2.3")
    assert purl(found[0], Distribution("debian", "12")) == (
        "pkg:deb/debian/libssl3@3.0.11-1~deb12u2%2Bb1"
        "?arch=amd64&distro=debian-12&upstream=openssl%403.0.11-1~deb12u2"
    )


def test_apk() -> None:
    text = b"C:Q1x=\nP:musl\nV:1.2.4-r2\nA:x86_64\nL:MIT\no:musl\nF:lib\nR:x\n\nP:musl-utils\nV:1.2.4-r2\no:musl\n\n"
    found = system.apk(text)
    assert pairs(found) == [("musl", "1.2.4-r2"), ("musl-utils", "1.2.4-r2")]
    assert [f.source for f in found] == ["musl", "musl"]
    assert found[0].licenses == ("MIT",)


@pytest.fixture(scope="module")
def rpms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """rpm databases of each backend."""
    return rpm_databases(tmp_path_factory.mktemp("rpm"))


@pytest.mark.parametrize("backend", ["sqlite", "ndb", "berkeley"])
def test_rpm(rpms: dict[str, bytes], backend: str) -> None:
    found = sorted(rpm.database(rpms[backend]), key=lambda f: f.name)
    assert pairs(found) == [("alpha", "1.5-2.el9"), ("beta", "3:1.4-2.el9"), ("long", "1.4-2.el9")]
    assert {f.source for f in found} == {"alpha", "beta", "long"}
    assert [f.module for f in found] == ["", "tools:3", ""]
    assert found[0].arch == "noarch"
    assert purl(found[1], Distribution("rocky", "9.3")) == (
        "pkg:rpm/rocky/beta@1.4-2.el9?arch=noarch&distro=rocky-9.3&epoch=3&rpmmod=tools:3"
    )


@pytest.mark.parametrize("backend", ["sqlite", "ndb", "berkeley"])
def test_damaged_rpm_databases_never_crash(rpms: dict[str, bytes], backend: str) -> None:
    good = rpms[backend]

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, len(good)), st.binary(min_size=1, max_size=16), st.integers(0, len(good)))
    def check(position: int, patch: bytes, cut: int) -> None:
        for data in (good[:position] + patch + good[position + len(patch) :], good[:cut]):
            try:
                rpm.database(data)
            except ParseError:
                continue

    check()


def test_an_rpm_schema_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "db") as connection:
        connection.execute("CREATE TABLE Packages (blob BLOB)")
    damaged = (tmp_path / "db").read_bytes().replace(b"CREATE TABLE", b"CREATE TABL\x80")
    with pytest.raises(ParseError, match="rpm database"):
        rpm.database(damaged)


def test_rpm_view_that_never_ends_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "db") as connection:
        connection.execute(
            "CREATE VIEW Packages AS WITH RECURSIVE n(blob) AS (SELECT x'00' UNION ALL SELECT blob FROM n) SELECT * FROM n"
        )
    with pytest.raises(ParseError, match="no Packages table"):
        rpm.database((tmp_path / "db").read_bytes())


def test_python_files() -> None:
    metadata = b"Metadata-Version: 2.1\nName: Foo_Bar\nVersion: 1.0\nLicense: MIT\n\nName: no\nVersion: 9\n"
    assert languages.python_metadata(metadata) == [Found("pypi", "foo-bar", "1.0", licenses=("MIT",))]
    assert languages.python_metadata(b"Name: x\n") == []
    text = b"a==1.0  # c\nB[extra] == 2.0 ; python_version > '3'\nc>=1\nd==1.*\n-r other\ne==3 --hash=sha256:00 \\\n --hash=sha256:11\n"
    assert pairs(languages.requirements(text)) == [("a", "1.0"), ("b", "2.0"), ("e", "3")]
    lock = b'[[package]]\nname="A"\nversion="1"\n[[package]]\nname="me"\nversion="0"\nsource={virtual="."}\n'
    assert pairs(languages.python_lock(lock)) == [("a", "1")]
    pipfile = {
        "_meta": {},
        "default": {"x": {"version": "==1.2"}},
        "develop": {"y": {"version": "==2"}, "z": {}},
    }
    assert pairs(languages.pipfile_lock(json.dumps(pipfile).encode())) == [("x", "1.2"), ("y", "2")]


def test_javascript_files() -> None:
    assert pairs(languages.package_json(b'{"name":"@a/b","version":"1.0.0","license":{"type":"MIT"}}')) == [
        ("@a/b", "1.0.0")
    ]
    assert languages.package_json(b'{"name":"x"}') == []
    assert languages.package_json(b"[]") == []
    two = {"packages": {"": {"version": "0"}, "node_modules/@s/a": {"version": "1"}, "w": {"link": True}}}
    two["packages"]["node_modules/x/node_modules/b"] = {"version": "2"}
    assert pairs(languages.package_lock(json.dumps(two).encode())) == [("@s/a", "1"), ("b", "2")]
    one = {"dependencies": {"a": {"version": "1", "dependencies": {"b": {"version": "npm:c@3"}}}}}
    assert pairs(languages.package_lock(json.dumps(one).encode())) == [("a", "1"), ("c", "3")]
    classic = b'# yarn lockfile v1\n\n"@a/b@^1", "@a/b@~1.2":\n  version "1.2.3"\n  resolved "x"\n\nc@1:\n  version "4.0.0"\n'
    assert pairs(languages.yarn_lock(classic)) == [("@a/b", "1.2.3"), ("c", "4.0.0")]
    berry = b'__metadata:\n  version: 6\n\n"a@npm:^1":\n  version: 1.5.0\n\n"me@workspace:.":\n  version: 0.0.0\n\n"al@npm:real@^2":\n  version: 2.1.0\n'
    assert pairs(languages.yarn_lock(berry)) == [("a", "1.5.0"), ("real", "2.1.0")]
    pnpm = b"lockfileVersion: '9.0'\nimporters:\n  .:\n    x: 1\npackages:\n\n  '@a/b@1.0.0':\n    resolution: {}\n\n  c@2.0.0(d@1.0.0):\n    x: y\nsnapshots:\n  z@9.9.9:\n"
    assert pairs(languages.pnpm_lock(pnpm)) == [("@a/b", "1.0.0"), ("c", "2.0.0")]
    old = b"lockfileVersion: 5.4\npackages:\n\n  /@a/b/1.0.0:\n    x: y\n  /c/2.0.0_d@1.0.0:\n    x: y\n"
    assert pairs(languages.pnpm_lock(old)) == [("@a/b", "1.0.0"), ("c", "2.0.0")]


def test_go_files() -> None:
    text = b'module m\n\ngo 1.21\nrequire a.b/c v1.0.0 // indirect\nrequire (\n\t"d.e/f" v2.0.0\n\tx.y/z v0.1.0\n)\nreplace x.y/z => q.r/z v0.2.0\nexclude a.b/c v0.9.0\n'
    assert pairs(languages.go_mod(text)) == [("a.b/c", "v1.0.0"), ("d.e/f", "v2.0.0"), ("q.r/z", "v0.2.0")]
    text = b"a v1.0.0 h1:x=\na v1.0.0/go.mod h1:y=\nb v2.0.0/go.mod h1:z=\n"
    assert pairs(languages.go_sum(text)) == [("a", "v1.0.0")]


def _varint(text: bytes) -> bytes:
    length, out = len(text), b""
    while length > 127:
        out += bytes([length & 127 | 128])
        length >>= 7
    return out + bytes([length]) + text


GO_INFO = (
    "path\texample.com/cmd\nmod\texample.com/m\t(devel)\t\ndep\ta.b/c\tv1.0.0\th1:x\n"
    "dep\td.e/f\tv1.0.0\n=>\tg.h/f\tv1.5.0\th1:y\ndep\ti.j/k\tv1.1.0\n=>\t./local\t\n"
    'build\t-ldflags="-s -X main.version=2.3.4"\n'
)
GO_WANTED = [
    ("a.b/c", "v1.0.0"),
    ("g.h/f", "v1.5.0"),
    ("i.j/k", "v1.1.0"),
    ("example.com/m", "v2.3.4"),
    ("stdlib", "1.21.5"),
]


def test_go_binary_inline() -> None:
    info = b"\xff Go buildinf:\x08\x02".ljust(32, b"\0") + _varint(b"go1.21.5")
    info += _varint(b"0" * 16 + GO_INFO.encode() + b"1" * 16)
    assert pairs(binaries.executable(elf({".go.buildinfo": info}))) == GO_WANTED
    # Section headers stripped, and a PE file: found by its mark.
    assert pairs(binaries.executable(b"MZ" + b"\0" * 600 + info)) == GO_WANTED


def test_go_binary_with_pointers() -> None:
    # Before Go 1.18 the two strings are behind pointers to string headers.
    version, text = b"go1.17.3", b"0" * 16 + GO_INFO.encode() + b"1" * 16
    base = 0x400000

    def data(address: int) -> bytes:
        start = address + 32
        headers = struct.pack("<QQQQ", start + 32, len(version), start + 32 + len(version), len(text))
        mark = b"\xff Go buildinf:\x08\x00" + struct.pack("<QQ", start, start + 16)
        return mark + headers + version + text

    found = binaries.executable(elf({".go.buildinfo": data(base)}, address=base))
    assert ("a.b/c", "v1.0.0") in pairs(found)
    assert ("stdlib", "1.17.3") in pairs(found)


def test_rust_binary() -> None:
    document = {
        "packages": [
            {"name": "serde", "version": "1.0.1", "source": "crates.io"},
            {"name": "cc", "version": "1.0.0", "source": "crates.io", "kind": "build"},
            {"name": "me", "version": "0.1.0", "source": "local", "root": True},
        ]
    }
    section = zlib.compress(json.dumps(document).encode())
    assert pairs(binaries.executable(elf({".dep-v0": section}))) == [("serde", "1.0.1"), ("me", "0.1.0")]
    with pytest.raises(ParseError):
        binaries.executable(elf({".dep-v0": zlib.compress(b"[" * 100_000)}))
    with pytest.raises(ParseError):
        binaries.executable(elf({".dep-v0": zlib.compress(b" " * (17 << 20))}))


def test_rust_and_ruby_files() -> None:
    lock = (
        b'[[package]]\nname="a"\nversion="1.0.0"\nsource="registry+x"\n[[package]]\nname="me"\nversion="0"\n'
    )
    assert pairs(languages.cargo_lock(lock)) == [("a", "1.0.0")]
    lock = b"GEM\n  remote: x\n  specs:\n    rack (2.2.3)\n      a (>= 1)\n    nokogiri (1.15.0-x86_64-linux)\n\nDEPENDENCIES\n    no (1)\n"
    assert pairs(languages.gemfile_lock(lock)) == [("rack", "2.2.3"), ("nokogiri", "1.15.0")]
    spec = b'Gem::Specification.new do |s|\n  s.name = "rake".freeze\n  s.version = "13.0.6"\n  s.license = "MIT"\n'
    assert pairs(languages.gemspec(spec)) == [("rake", "13.0.6")]
    spec = b"  s.name = 'x'\n  s.version = Gem::Version.new(\"1.2\")\n"
    assert pairs(languages.gemspec(spec)) == [("x", "1.2")]


def test_java() -> None:
    inner = jar(pom("org.x", "inner", "2.0"))
    shaded = jar(
        {**pom("org.x", "app", "1.0"), **pom("com.y", "lib", "3.1"), "BOOT-INF/lib/inner-2.0.jar": inner}
    )
    found = java.archive(shaded, "opt/app-1.0.jar")
    assert {(f.namespace, f.name, f.version) for f in found} == {
        ("org.x", "app", "1.0"),
        ("com.y", "lib", "3.1"),
        ("org.x", "inner", "2.0"),
    }
    manifest = b"Manifest-Version: 1.0\r\nBundle-SymbolicName: org.a.thing;singleton:=true\r\nImplementation-Ver\r\n sion: 4.5\r\n\r\nName: x\r\nImplementation-Version: 9\r\n"
    (one,) = java.archive(jar({"META-INF/MANIFEST.MF": manifest}), "opt/thing.jar")
    assert (one.namespace, one.name, one.version) == ("org.a", "thing", "4.5")
    assert pairs(java.archive(jar({"a": b""}), "x/some_lib_2.13-4.0.7.jar")) == [("some_lib_2.13", "4.0.7")]


def test_java_bombs() -> None:
    nested = jar({"META-INF/MANIFEST.MF": b"\0" * (5 << 20)})
    with pytest.raises(ParseError, match="too large"):
        java.archive(nested, "x.jar")
    deep = jar(pom("g", "deepest", "1"))
    for _ in range(10):
        deep = jar({"a.jar": deep})
    assert java.archive(deep, "x.jar") == []


PARSERS: list[Callable[[bytes], object]] = [
    system.os_release,
    system.dpkg,
    system.apk,
    rpm.database,
    rpm.header,
    languages.python_metadata,
    languages.requirements,
    languages.python_lock,
    languages.pipfile_lock,
    languages.package_json,
    languages.package_lock,
    languages.yarn_lock,
    languages.pnpm_lock,
    languages.go_mod,
    languages.go_sum,
    languages.cargo_lock,
    languages.gemfile_lock,
    languages.gemspec,
    binaries.executable,
    lambda data: java.archive(data, "a.jar"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["packages", "package", "dependencies", "name", "version", "default", "source", ""]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(
        [b"", b"\x7fELF\x02\x01", b"MZ\xff Go buildinf:", b"SQLite format 3\0", b"RpmP", b"PK\3\4"]
    ),
    st.binary(max_size=2000),
)
def test_parsers_never_crash_on_noise(head: bytes, noise: bytes) -> None:
    for parse in PARSERS:
        try:
            parse(head + noise)
        except ParseError:
            continue


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_json_parsers_never_crash_on_other_documents(document: object) -> None:
    data = json.dumps(document).encode()
    for parse in (languages.pipfile_lock, languages.package_json, languages.package_lock):
        parse(data)
    binaries._auditable(zlib.compress(data))


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from(" \n\t:=@\"'()[]/#-.,_aP1Vo"), max_size=300))
def test_text_parsers_never_crash_on_punctuation(text: str) -> None:
    test_parsers_never_crash_on_noise.hypothesis.inner_test(b"", text.encode())  # type: ignore[attr-defined]


def test_no_pattern_goes_quadratic() -> None:
    """Half a megabyte of what a careless pattern would try again and again; a hang is the failure."""
    size = 500_000
    for text in (b"\n" * size, b" " * size, b"-" * size, b"a" * size, b'"@' * (size // 2), b"(" * size):
        for parse in PARSERS:
            try:
                parse(text)
            except ParseError:
                continue
    binaries._go_modules(b"go1.21.0", b"0" * 16 + b"build\t-ldflags=-X " + b"a" * size + b"1" * 16)
    java.archive(jar({"a": b""}), "-v1" * size + ".jar")


def test_deep_documents_are_refused() -> None:
    for parse in (languages.package_json, languages.pipfile_lock):
        with pytest.raises(ParseError):
            parse(b'{"a":' * 100_000)
    with pytest.raises(ParseError):
        languages.python_lock(b"a = " + b"[" * 100_000)


@pytest.mark.parametrize(
    ("path", "mode", "name"),
    [
        ("var/lib/dpkg/status", 0o644, "dpkg"),
        ("var/lib/dpkg/status.d/base", 0o644, "dpkg"),
        ("var/lib/dpkg/status.d/base.md5sums", 0o644, None),
        ("usr/lib/apk/db/installed", 0o644, "apk"),
        ("usr/lib/sysimage/rpm/rpmdb.sqlite", 0o644, "rpm"),
        ("a/b-1.dist-info/METADATA", 0o644, "python"),
        ("a/METADATA", 0o644, None),
        ("a/node_modules/b/package.json", 0o644, "npm"),
        ("app/yarn.lock", 0o644, "yarn-lock"),
        ("app/node_modules/b/yarn.lock", 0o644, None),
        ("root/go/pkg/mod/a@v1/go.mod", 0o644, None),
        ("usr/bin/x", 0o755, "executable"),
        ("usr/bin/x", 0o644, None),
        ("usr/lib/ruby/gems/3.0/specifications/a.gemspec", 0o644, "gem"),
    ],
)
def test_choice(path: str, mode: int, name: str | None) -> None:
    chosen = catalog.choose(path, mode)
    assert (chosen.name if chosen else None) == name
