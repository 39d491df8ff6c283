"""Advisories: versions, parsing, import, matching."""

# ruff: noqa: E501 - a table

from __future__ import annotations

import asyncio
import json
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.features.scan import advisories, imported, importer, severity, versions
from seawall.features.scan.ecosystems import ecosystem, of_distribution
from seawall.features.scan.model import Distribution, Found
from seawall.infra.db import Database, open_database
from seawall.kernel.errors import InvalidError
from tests.support.databases import with_schema
from tests.support.registry import Registry
from tests.support.scan.advisories import DEBIAN, ev, record, scan, write

ALPINE = Distribution("alpine", "3.19.1")
ROCKY = Distribution("rocky", "9.3")
NONE = Distribution()


# (kind, version, ranges, versions, affected, fix): the table of OSV cases.
CASES: list[tuple[str, str, list[dict[str, Any]], list[str], bool, str | None]] = [
    # fixed
    ("deb", "3.0.11-1~deb12u1", ev(("introduced", "0"), ("fixed", "3.0.11-1~deb12u2")), [], True, "3.0.11-1~deb12u2"),
    ("deb", "3.0.11-1~deb12u2", ev(("introduced", "0"), ("fixed", "3.0.11-1~deb12u2")), [], False, None),
    ("deb", "3.0.11-1", ev(("introduced", "0"), ("fixed", "3.0.11-1~deb12u2")), [], False, None),
    ("deb", "2.31-13+deb11u9", ev(("introduced", "0"), ("fixed", "2.31-13+deb11u10")), [], True, "2.31-13+deb11u10"),
    # epochs
    ("deb", "1:1.0-1", ev(("introduced", "0"), ("fixed", "2.0-1")), [], False, None),
    ("deb", "9.9-1", ev(("introduced", "0"), ("fixed", "1:1.0-1")), [], True, "1:1.0-1"),
    ("deb", "1:1.0-0", ev(("introduced", "0"), ("fixed", "1:1.0-1")), [], True, "1:1.0-1"),
    ("rpm", "1:1.1.1k-9.el8", ev(("introduced", "0"), ("fixed", "1:1.1.1k-12.el8_9")), [], True, "1:1.1.1k-12.el8_9"),
    ("rpm", "1:1.1.1k-12.el8_9", ev(("introduced", "0"), ("fixed", "0:3.0.0-1.el8")), [], False, None),
    ("rpm", "3.0.0-1.el8", ev(("introduced", "0"), ("fixed", "1:1.1.1k-12.el8_9")), [], True, "1:1.1.1k-12.el8_9"),
    ("rpm", "0:2.0-1", ev(("introduced", "0"), ("fixed", "2.0-1")), [], False, None),
    ("rpm", "1.0~rc1-1", ev(("introduced", "0"), ("fixed", "1.0-1")), [], True, "1.0-1"),
    ("pypi", "1!1.0", ev(("introduced", "0"), ("fixed", "2.0")), [], False, None),
    # unfixed
    ("deb", "99:9-9", ev(("introduced", "0")), [], True, None),
    ("npm", "1.0.0", ev(("introduced", "0")), [], True, None),
    ("apk", "1.2.4-r2", ev(("introduced", "0")), [], True, None),
    ("npm", "0.9.0", ev(("introduced", "1.0.0")), [], False, None),
    # last_affected
    ("npm", "1.2.3", ev(("introduced", "1.0.0"), ("last_affected", "1.2.3")), [], True, None),
    ("npm", "1.2.4", ev(("introduced", "1.0.0"), ("last_affected", "1.2.3")), [], False, None),
    ("maven", "2.14.1", ev(("introduced", "2.0"), ("last_affected", "2.14.1")), [], True, None),
    # several intervals in one range and in several; events in any order
    ("pypi", "3.2.5", ev(("introduced", "0"), ("fixed", "2.2.28"), ("introduced", "3.2"), ("fixed", "3.2.13")), [], True, "3.2.13"),
    ("pypi", "2.2.28", ev(("introduced", "0"), ("fixed", "2.2.28"), ("introduced", "3.2"), ("fixed", "3.2.13")), [], False, None),
    ("pypi", "3.2.5", ev(("fixed", "3.2.13"), ("introduced", "3.2"), ("fixed", "2.2.28"), ("introduced", "0")), [], True, "3.2.13"),
    ("pypi", "2.0", ev(("introduced", "0"), ("fixed", "2.2.28")) + ev(("introduced", "3.2"), ("fixed", "3.2.13")), [], True, "2.2.28"),
    ("npm", "1.5.0", ev(("introduced", "1.0.0"), ("fixed", "1.5.0"), ("introduced", "1.5.0"), ("fixed", "1.6.0")), [], True, "1.6.0"),
    # pre-releases
    ("npm", "2.0.0-rc.1", ev(("introduced", "0"), ("fixed", "2.0.0")), [], True, "2.0.0"),
    ("npm", "2.0.0-alpha.10", ev(("introduced", "0"), ("fixed", "2.0.0-alpha.9")), [], False, None),
    ("pypi", "1.0rc1", ev(("introduced", "0"), ("fixed", "1.0")), [], True, "1.0"),
    ("pypi", "1.0.post1", ev(("introduced", "0"), ("fixed", "1.0")), [], False, None),
    ("maven", "1.0-SNAPSHOT", ev(("introduced", "0"), ("fixed", "1.0")), [], True, "1.0"),
    ("gem", "2.2.3.rc1", ev(("introduced", "0"), ("fixed", "2.2.3")), [], True, "2.2.3"),
    ("gem", "2.2.3.1", ev(("introduced", "0"), ("fixed", "2.2.3")), [], False, None),
    ("golang", "0.0.0-20210101000000-abcdefabcdef", ev(("introduced", "0"), ("fixed", "0.0.0-20220101000000-abcdefabcdef")), [], True, "0.0.0-20220101000000-abcdefabcdef"),
    ("golang", "1.21.5", ev(("introduced", "0"), ("fixed", "1.20.12"), ("introduced", "1.21.0-0"), ("fixed", "1.21.5")), [], False, None),
    ("golang", "1.21.4", ev(("introduced", "0"), ("fixed", "1.20.12"), ("introduced", "1.21.0-0"), ("fixed", "1.21.5")), [], True, "1.21.5"),
    ("cargo", "1.0.0", ev(("introduced", "0.0.0-0"), ("fixed", "1.0.1")), [], True, "1.0.1"),
    # Alpine
    ("apk", "1.2.4-r2", ev(("introduced", "0"), ("fixed", "1.2.4-r10")), [], True, "1.2.4-r10"),
    ("apk", "1.36.1_rc1-r0", ev(("introduced", "0"), ("fixed", "1.36.1-r0")), [], True, "1.36.1-r0"),
    ("apk", "1.36.1_p1-r0", ev(("introduced", "0"), ("fixed", "1.36.1-r0")), [], False, None),
    # lists of versions
    ("pypi", "1.0", [], ["1.0", "1.1"], True, None),
    ("pypi", "1.0.0", [], ["1.0"], True, None),
    ("npm", "1.2.0", [], ["1.0.0"], False, None),
    # limits
    ("npm", "2.5.0", ev(("introduced", "1.0.0"), ("limit", "2.0.0")), [], False, None),
    ("npm", "1.5.0", ev(("introduced", "1.0.0"), ("limit", "2.0.0")), [], True, None),
    ("npm", "1.5.0", ev(("introduced", "1.0.0"), ("limit", "*")), [], True, None),
    # GIT ranges say nothing about versions; garbage is not affected
    ("npm", "1.0.0", [{"type": "GIT", "events": [{"introduced": "0"}]}], [], False, None),
    ("pypi", "not a version", ev(("introduced", "1.0"), ("fixed", "2.0")), [], False, None),
    ("pypi", "1.5", ev(("introduced", "garbage"), ("fixed", "2.0")), [], False, None),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "version", "ranges", "listed", "hit", "fix"), CASES)
def test_osv_cases(
    kind: str, version: str, ranges: list[dict[str, Any]], listed: list[str], hit: bool, fix: str | None
) -> None:
    assert versions.affected(kind, version, ranges, listed) == (hit, fix)


DEB_VERSIONS = st.from_regex(r"([0-2]:)?[0-9][0-9a-z.+~]{0,6}(-[0-9][0-9a-z.+~]{0,4})?", fullmatch=True)


@settings(max_examples=25, deadline=None)
@given(DEB_VERSIONS, DEB_VERSIONS)
def test_debian_order_is_dpkgs(left: str, right: str) -> None:
    for operator, wanted in (("lt", -1), ("eq", 0), ("gt", 1)):
        done = subprocess.run(["dpkg", "--compare-versions", left, operator, right], capture_output=True)
        assert (done.returncode == 0) == (versions.compare("deb", left, right) == wanted)


RPM_VERSIONS = st.from_regex(r"([1-2]:)?[0-9][0-9a-z.~^]{0,6}-[0-9][0-9a-z.]{0,4}", fullmatch=True)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(RPM_VERSIONS, RPM_VERSIONS), min_size=20, max_size=40))
def test_rpm_order_is_rpms(pairs: list[tuple[str, str]]) -> None:
    calls = ", ".join(f'rpm.vercmp("{left}", "{right}")' for left, right in pairs)
    program = f"%{{lua: print(table.concat({{{calls}}}, ' '))}}"
    done = subprocess.run(["rpm", "--eval", program], capture_output=True, text=True, check=True)
    wanted = [int(word) for word in done.stdout.split()]
    assert len(wanted) == len(pairs)
    differ = [
        (pair, order)
        for pair, order in zip(pairs, wanted, strict=True)
        if versions.compare("rpm", *pair) != order
    ]
    assert differ == []


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(versions._classes())), st.text(max_size=12), st.text(max_size=12))
def test_any_text_is_a_version_or_not(kind: str, left: str, right: str) -> None:
    assert versions.compare(kind, left, right) in (-1, 0, 1, None)
    versions.affected(kind, left, ev(("introduced", "0"), ("fixed", right)), [right])


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", ("Critical", 9.8)),
        ("CVSS:3.0/AV:L/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N", ("Low", 1.8)),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", ("Critical", 9.3)),
        ("AV:N/AC:L/Au:N/C:C/I:C/A:C", ("High", 10.0)),
        ("CVSS:3.1/AV:N", None),
        ("nonsense", None),
        (None, None),
    ],
)
def test_cvss(given: Any, wanted: Any) -> None:
    assert severity.vector(given) == wanted


def test_severity_words() -> None:
    assert [severity.word(w) for w in ("MODERATE", "Important", "unimportant", "low**", "?", 3)] == [
        "Medium",
        "High",
        "None",
        "Low",
        "",
        "",
    ]
    assert severity.highest(["Low", "Critical", "Unknown"]) == "Critical"
    assert severity.highest([]) == "None"


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("Debian:12", ("debian:12", "deb")),
        ("Ubuntu:22.04:LTS", ("ubuntu:22.04", "deb")),
        ("Ubuntu:Pro:18.04:LTS", ("ubuntu:pro:18.04", "deb")),
        ("Alpine:v3.19", ("alpine:v3.19", "apk")),
        ("Rocky Linux:9", ("rocky linux:9", "rpm")),
        ("Red Hat:enterprise_linux:9::appstream", ("red hat:9", "rpm")),
        ("PyPI", ("pypi", "pypi")),
        ("crates.io", ("crates.io", "cargo")),
        ("Android", None),
    ],
)
def test_ecosystems(name: str, wanted: Any) -> None:
    assert ecosystem(name) == wanted


def test_distributions() -> None:
    assert of_distribution(DEBIAN) == ["debian:12"]
    assert of_distribution(Distribution("debian", "", "trixie")) == ["debian:13"]
    assert of_distribution(ALPINE) == ["alpine:v3.19"]
    assert of_distribution(Distribution("alpine", "3.21.0_alpha20240807")) == ["alpine:edge"]
    assert of_distribution(Distribution("sles", "15.5")) == ["suse:linux enterprise server 15 sp5"]
    assert of_distribution(NONE) == []


# -- database ----------------------------------------------------------------------------------------


@pytest.fixture
def db(
    database_settings: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Database]:
    """An empty database, on SQLite and on PostgreSQL."""
    url = f"sqlite:///{tmp_path / 'scan.db'}"
    if database_settings:
        url = str(request.getfixturevalue("postgres").migrated())
    with_schema(url)
    opened = open_database(url, pool_size=2)
    yield opened
    asyncio.run(opened.close())


def test_import_is_incremental_and_idempotent(db: Database, tmp_path: Path) -> None:
    folder = write(
        tmp_path / "osv",
        record(
            "GHSA-1", "left", "npm", ev(("introduced", "0"), ("fixed", "1.0.0")), aliases=["CVE-2024-0001"]
        ),
        record("PYSEC-1", "Foo_Bar", "PyPI", ev(("introduced", "0"), ("fixed", "2"))),
    )
    (first,) = importer.import_path(db, folder)
    assert (first.total, first.added, first.changed) == (2, 2, 0)
    (second,) = importer.import_path(db, folder)
    assert (second.total, second.added, second.changed) == (2, 0, 0)
    left = Found("npm", "left", "0.9.0")
    assert [(v.id, v.fixed) for v in scan(db, NONE, left)] == [("CVE-2024-0001", "1.0.0")]
    assert [v.id for v in scan(db, NONE, Found("pypi", "foo-bar", "1"))] == ["PYSEC-1"]
    # A correction replaces what was known.
    write(
        folder,
        record(
            "GHSA-1", "left", "npm", ev(("introduced", "0"), ("fixed", "0.5.0")), aliases=["CVE-2024-0001"]
        ),
    )
    (third,) = importer.import_path(db, folder)
    assert (third.added, third.changed) == (0, 1)
    assert scan(db, NONE, left) == []
    # The same records as a zip change nothing.
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for file in folder.iterdir():
            opened.write(file, file.name)
    (fourth,) = importer.import_path(db, archive)
    assert (fourth.total, fourth.added, fourth.changed) == (2, 0, 0)
    (row,) = db.sync_read(imported.status)
    assert (row["name"], row["advisories"], row["modified_at"]) == ("osv", 2, 1704164645.0)


def test_a_withdrawn_advisory_no_longer_counts(db: Database, tmp_path: Path) -> None:
    item = record("GHSA-2", "p", "npm", ev(("introduced", "0")))
    importer.import_path(db, write(tmp_path / "a", item))
    assert len(scan(db, NONE, Found("npm", "p", "1.0.0"))) == 1
    importer.import_path(db, write(tmp_path / "a", {**item, "withdrawn": "2024-02-01T00:00:00Z"}))
    assert scan(db, NONE, Found("npm", "p", "1.0.0")) == []


def test_aliases_are_one_finding(db: Database, tmp_path: Path) -> None:
    vector = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
    importer.import_path(
        db,
        write(
            tmp_path / "a",
            record("GHSA-3", "p", "PyPI", ev(("introduced", "0"), ("fixed", "2.0")), aliases=["CVE-2024-3"]),
            record(
                "GHSA-4", "p", "PyPI", ev(("introduced", "0"), ("fixed", "2.1")), aliases=["CVE-2024-0004"]
            ),
            record(
                "PYSEC-4",
                "p",
                "PyPI",
                ev(("introduced", "0"), ("fixed", "2.0.5")),
                aliases=["CVE-2024-0004", "GHSA-4"],
                severity=[{"type": "CVSS_V3", "score": vector}],
            ),
        ),
    )
    found = scan(db, NONE, Found("pypi", "p", "1.0"))
    # "CVE-2024-3" is no CVE id (four digits at least), so GHSA-3 stands for itself.
    assert [(v.id, v.severity, v.score, v.fixed) for v in found] == [
        ("CVE-2024-0004", "Critical", 9.8, "2.0.5"),
        ("GHSA-3", "Unknown", None, "2.0"),
    ]
    assert found[0].advisories == ("GHSA-4", "PYSEC-4")


def test_debian_matches_by_source_package(db: Database, tmp_path: Path) -> None:
    tracker = {
        "openssl": {
            "CVE-2024-1000": {
                "description": "bad",
                "releases": {
                    "bookworm": {
                        "status": "resolved",
                        "fixed_version": "3.0.11-1~deb12u2",
                        "urgency": "high**",
                    },
                    "trixie": {"status": "resolved", "fixed_version": "3.1-1", "urgency": "high"},
                },
            },
            "CVE-2024-1001": {"releases": {"bookworm": {"status": "open", "urgency": "unimportant"}}},
            "CVE-2024-1002": {"releases": {"bookworm": {"status": "resolved", "fixed_version": "0"}}},
            "CVE-2024-1003": {"releases": {"bookworm": {"status": "open", "nodsa": "Minor issue"}}},
            "CVE-2024-1004": {"releases": {"bookworm": {"status": "undetermined"}}},
        },
        "epoch": {
            "CVE-2024-1005": {"releases": {"bookworm": {"status": "resolved", "fixed_version": "1:0.5-1"}}}
        },
    }
    file = tmp_path / "debian.json"
    file.write_text(json.dumps(tracker))
    (result,) = importer.import_path(db, file)
    assert (result.source, result.added) == ("debian-tracker", 6)
    old = Found("deb", "libssl3", "3.0.11-1~deb12u1+b1", source="openssl", source_version="3.0.11-1~deb12u1")
    found = {v.id: v for v in scan(db, DEBIAN, old)}
    assert sorted(found) == ["CVE-2024-1000", "CVE-2024-1001", "CVE-2024-1003"]
    fixed = found["CVE-2024-1000"]
    assert (fixed.package, fixed.fixed, fixed.severity, fixed.status) == (
        "libssl3",
        "3.0.11-1~deb12u2",
        "High",
        "fixed",
    )
    assert (found["CVE-2024-1001"].severity, found["CVE-2024-1001"].status) == ("None", "open")
    assert found["CVE-2024-1003"].status == "wontfix"
    new = Found("deb", "libssl3", "3.0.11-1~deb12u2", source="openssl", source_version="3.0.11-1~deb12u2")
    assert sorted(v.id for v in scan(db, DEBIAN, new)) == ["CVE-2024-1001", "CVE-2024-1003"]
    # Another release has other fixes, another distribution none of these.
    assert [v.id for v in scan(db, Distribution("debian", "13"), old)] == ["CVE-2024-1000"]
    assert scan(db, Distribution("ubuntu", "22.04"), old) == []
    assert [v.fixed for v in scan(db, DEBIAN, Found("deb", "epoch", "9.0-1"))] == ["1:0.5-1"]
    assert scan(db, DEBIAN, Found("deb", "epoch", "1:0.5-1")) == []
    # What the tracker no longer has goes.
    del tracker["epoch"]
    file.write_text(json.dumps(tracker))
    (result,) = importer.import_path(db, file)
    assert (result.added, result.changed, result.removed) == (0, 0, 1)


def test_alpine_and_rpm(db: Database, tmp_path: Path) -> None:
    secdb = {
        "distroversion": "v3.19",
        "reponame": "main",
        "packages": [
            {
                "pkg": {
                    "name": "busybox",
                    "secfixes": {
                        "1.36.1-r7": ["CVE-2023-42366", "CVE-2023-42363 CVE-2023-42364"],
                        "0": ["CVE-2020-1111"],
                    },
                }
            }
        ],
    }
    file = tmp_path / "main.json"
    file.write_text(json.dumps(secdb))
    (result,) = importer.import_path(db, file)
    assert result.source == "alpine-secdb:v3.19/main"
    shell = Found("apk", "busybox-binsh", "1.36.1-r2", source="busybox", source_version="1.36.1-r2")
    assert len(scan(db, ALPINE, shell)) == 3
    assert scan(db, Distribution("alpine", "3.18.0"), shell) == []
    errata = record(
        "RLSA-1",
        "openssl",
        "Rocky Linux:9",
        ev(("introduced", "0"), ("fixed", "1:3.0.7-25.el9_3")),
        upstream=["CVE-2023-5678", "CVE-2023-9999"],
        severity=[{"type": "Ubuntu", "score": "medium"}],
    )
    importer.import_path(db, write(tmp_path / "r", errata))
    found = scan(db, ROCKY, Found("rpm", "openssl", "1:3.0.7-24.el9"))
    assert [(v.id, v.severity) for v in found] == [("CVE-2023-5678", "Medium"), ("CVE-2023-9999", "Medium")]
    assert scan(db, ROCKY, Found("rpm", "openssl", "1:3.0.7-25.el9_3")) == []


def test_severity_of_another_advisory_about_the_cve(db: Database, tmp_path: Path) -> None:
    vector = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:N"
    importer.import_path(
        db,
        write(
            tmp_path / "a",
            record("DSA-1", "curl", "Debian:12", ev(("introduced", "0")), upstream=["CVE-2024-5000"]),
            record("CVE-2024-5000", "curl", "GIT", [], severity=[{"type": "CVSS_V3", "score": vector}]),
        ),
    )
    (found,) = scan(db, DEBIAN, Found("deb", "curl", "1", source="curl", source_version="1"))
    assert (found.id, found.severity, found.score) == ("CVE-2024-5000", "Critical", 9.1)


def test_maven_and_go_names(db: Database, tmp_path: Path) -> None:
    log4j = "org.apache.logging.log4j:log4j-core"
    importer.import_path(
        db,
        write(
            tmp_path / "a",
            record("GHSA-7", log4j, "Maven", ev(("introduced", "2.0"), ("fixed", "2.15.0"))),
            record("GO-1", "stdlib", "Go", ev(("introduced", "0"), ("fixed", "1.21.6"))),
            record("GO-2", "golang.org/x/net", "Go", ev(("introduced", "0"), ("fixed", "0.17.0"))),
        ),
    )
    found = scan(
        db,
        NONE,
        Found("maven", "log4j-core", "2.14.1", "org.apache.logging.log4j"),
        Found("golang", "stdlib", "1.21.5"),
        Found("golang", "golang.org/x/net", "v0.16.0"),
    )
    assert {(v.id, v.package) for v in found} == {
        ("GHSA-7", log4j),
        ("GO-1", "stdlib"),
        ("GO-2", "golang.org/x/net"),
    }


def test_bad_files(db: Database, tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="no such file"):
        importer.import_path(db, tmp_path / "absent")
    for name, data in (("a.json", b"{"), ("b.zip", b"PK"), ("c.txt", b""), ("d.json", b'{"x": 1}')):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InvalidError, match=name):
            importer.import_path(db, tmp_path / name)
    # One bad record does not keep the others out.
    folder = write(tmp_path / "x", record("GHSA-8", "p", "npm", ev(("introduced", "0"))))
    (folder / "bad.json").write_text('{"no": "id"}')
    (result,) = importer.import_path(db, folder)
    assert result.added == 1
    assert len(result.rejected) == 1


def test_a_source_is_imported_whole_or_not_at_all(db: Database, tmp_path: Path) -> None:
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for number in range(1200):
            item = record(f"GHSA-{number}", "p", "npm", ev(("introduced", "0")))
            opened.writestr(f"{number}.json", json.dumps(item))
    data = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as opened:
        last = opened.getinfo("1199.json").header_offset
    data[last + 60 : last + 90] = b"\xff" * 30
    archive.write_bytes(bytes(data))
    with pytest.raises(InvalidError):
        importer.import_path(db, archive)
    assert db.sync_read(imported.status) == []
    assert scan(db, NONE, Found("npm", "p", "1.0.0")) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "affected", "package", "ecosystem", "name", "ranges", "events", "type", "npm"]
            )
            | st.sampled_from(
                ["introduced", "fixed", "severity", "score", "aliases", "database_specific", "releases"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)


@settings(max_examples=300, deadline=None)
@given(JSON)
def test_no_document_crashes_the_parsers(document: Any) -> None:
    for run in (advisories.osv, lambda d: list(advisories.debian_tracker(d)), advisories.alpine_secdb):
        try:
            run(document)
        except InvalidError:
            continue


@settings(max_examples=200, deadline=None)
@given(JSON, JSON, JSON)
def test_no_osv_field_crashes_the_parser(affected: Any, rated: Any, specific: Any) -> None:
    document = {"id": "X-1", "affected": affected, "severity": rated, "database_specific": specific}
    advisories.osv(document)
    advisories.osv(
        {**document, "affected": [{"package": {"ecosystem": "npm", "name": "p"}, "ranges": affected}]}
    )


def test_command_line(fresh_registry: Registry, tmp_path: Path) -> None:
    # Only `serve` and `restore` make a registry: a command does not.
    with_schema(f"sqlite:///{fresh_registry.data_dir / 'seawall.db'}")
    assert "no advisories imported" in fresh_registry.cli("scan", "db", "status").stdout
    folder = write(tmp_path / "osv", record("GHSA-9", "p", "npm", ev(("introduced", "0"))))
    done = fresh_registry.cli("scan", "db", "import", str(folder))
    assert done.returncode == 0
    assert done.stdout == "osv: 1 advisories read, 1 new, 0 changed, 0 removed\n"
    shown = fresh_registry.cli("scan", "db", "status").stdout
    assert "osv" in shown
    assert "seconds" in shown
    assert fresh_registry.cli("scan", "db", "remove", "osv").stdout == "osv: 1 advisories removed\n"
    done = fresh_registry.cli("scan", "db", "remove", "absent")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    done = fresh_registry.cli("scan", "db", "import", str(tmp_path / "absent"))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("seawall: ")
    assert "Traceback" not in done.stderr
