"""OVAL and CSAF: what is in the files, held against `oscap` where that can judge."""

# ruff: noqa: E501 - XML

from __future__ import annotations

import asyncio
import bz2
import gzip
import io
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.features.scan import csaf, imported, importer, match, oval
from seawall.features.scan.ecosystems import ecosystem, platform
from seawall.features.scan.model import Distribution, Found
from seawall.infra.db import Database, open_database
from seawall.kernel.errors import InvalidError, NotFoundError
from tests.support.databases import with_schema
from tests.support.scan.advisories import DEBIAN, ev, record, scan, write
from tests.support.scan.ovals import Oval, all_of, any_of

RHEL8 = Distribution("rhel", "8.9")
JAMMY = Distribution("ubuntu", "22.04")
VECTOR = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database; test_advisories does the same work on PostgreSQL too."""
    path = tmp_path_factory.mktemp("template") / "scan.db"
    with_schema(f"sqlite:///{path}")
    return path


@pytest.fixture
def db(template: Path, tmp_path: Path) -> Iterator[Database]:
    """An empty database."""
    shutil.copy(template, tmp_path / "scan.db")
    opened = open_database(f"sqlite:///{tmp_path / 'scan.db'}", pool_size=2)
    yield opened
    asyncio.run(opened.close())


def save(path: Path, made: Oval) -> Path:
    """Write the file, after `oscap` found it to be OVAL."""
    plain = path.parent / "plain.xml"
    plain.write_text(made.text())
    done = subprocess.run(["oscap", "oval", "validate", str(plain)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:800]
    data = plain.read_bytes()
    packed = {".bz2": bz2.compress(data), ".gz": gzip.compress(data)}
    path.write_bytes(packed.get(path.suffix, data))
    return path


def hits(db: Database, distribution: Distribution, *found: Found) -> dict[str, str]:
    return {v.id: v.fixed or v.status for v in scan(db, distribution, *found)}


def test_debians_file_agrees_with_oscap_on_this_machine(db: Database, tmp_path: Path) -> None:
    installed = []
    for name in ("dpkg", "bash", "grep", "sed", "tar", "gzip"):
        shown = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Version}", name], capture_output=True, text=True, check=True
        )
        installed.append(Found("deb", name, shown.stdout))
    made = Oval("org.debian", "dpkginfo")
    release = made.other("Debian 12 is installed")
    wanted: dict[str, str] = {}
    for number, package in enumerate(installed):
        bare = package.version.rpartition(":")[2]
        for which, evr in enumerate(
            (
                package.version,
                f"{package.version}.1",
                f"{package.version}~1",
                f"9:{bare}",
                f"0:{bare}+b9",
                "0:0.1",
            )
        ):
            cve = f"CVE-2024-{1000 + number * 10 + which}"
            test = made.package(f"{package.name} DPKG is earlier than {evr}", package.name, evr=evr)
            criteria = all_of(release, any_of(all_of(made.other("all architecture"), test)))
            wanted[made.define(f"{cve} {package.name}", "Debian GNU/Linux 12", criteria, cve)] = cve
    file = save(tmp_path / "oval-definitions-bookworm.xml.bz2", made)
    judged = subprocess.run(
        ["oscap", "oval", "eval", str(tmp_path / "plain.xml")], capture_output=True, text=True, timeout=60
    )
    verdicts = dict(re.findall(r"Definition (\S+): (true|false)", judged.stdout))
    assert sorted(verdicts) == sorted(wanted)
    (result,) = importer.import_path(db, file)
    assert (result.source, result.added) == ("oval:oval-definitions-bookworm", len(wanted))
    ours = set(hits(db, DEBIAN, *installed))
    assert ours == {wanted[name] for name, verdict in verdicts.items() if verdict == "true"}
    assert 0 < len(ours) < len(wanted)
    assert scan(db, Distribution("debian", "11"), *installed) == []
    (again,) = importer.import_path(db, file)
    assert (again.added, again.changed, again.removed) == (0, 0, 0)


def test_ubuntus_file_names_binary_packages(db: Database, tmp_path: Path) -> None:
    made = Oval("com.ubuntu.jammy", "dpkginfo")
    release = made.define(
        "Check that Ubuntu 22.04 LTS (jammy) is installed.", "Ubuntu", all_of(made.other("x"))
    )
    extend = (
        f'<extend_definition definition_ref="{release}" comment="Ubuntu 22.04 LTS (jammy) is installed."/>'
    )
    advisory = "<advisory><severity>{}</severity></advisory>"
    fixed = made.package(
        "openssl package in jammy was vulnerable but has been fixed (note: '3.0.2-0ubuntu1.1').",
        *("libssl3", "openssl"),
        evr="0:3.0.2-0ubuntu1.1",
    )
    made.define(
        "CVE-2024-1 on Ubuntu",
        "Ubuntu 22.04 LTS",
        all_of(extend, any_of(fixed)),
        "CVE-2024-0001",
        advisory=advisory.format("Medium"),
    )
    unfixed = made.package("zlib package in jammy is affected and needs fixing.", *("zlib1g", "zlib1g-dev"))
    made.define(
        "CVE-2024-2 on Ubuntu",
        "Ubuntu 22.04 LTS",
        all_of(extend, any_of(unfixed)),
        "CVE-2024-0002",
        advisory=advisory.format("Negligible"),
    )
    importer.import_path(db, save(tmp_path / "com.ubuntu.jammy.cve.oval.xml", made))
    old = Found("deb", "libssl3", "3.0.2-0ubuntu1", source="openssl", source_version="3.0.2-0ubuntu1")
    found = {
        v.id: (v.severity, v.fixed, v.status) for v in scan(db, JAMMY, old, Found("deb", "zlib1g", "1:1.2"))
    }
    assert found == {
        "CVE-2024-0001": ("Medium", "3.0.2-0ubuntu1.1", "fixed"),
        "CVE-2024-0002": ("None", "", "open"),
    }
    assert hits(db, JAMMY, Found("deb", "libssl3", "3.0.2-0ubuntu1.1"), Found("deb", "zlib", "1")) == {}


def red_hat() -> Oval:
    made = Oval("com.redhat.rhsa", "rpminfo")
    must = made.package(
        "Red Hat Enterprise Linux must be installed", "redhat-release", evr="0", operation="equals"
    )
    release = made.package(
        "Red Hat Enterprise Linux 8 is installed", "redhat-release", evr="8", operation="equals"
    )
    signed = made.other("nodejs is signed with Red Hat redhatrelease2 key")

    def errata(number: int, stream: str, *packages: str) -> None:
        module = [made.other(f"Module {stream} is enabled", "/etc/dnf/modules.d")] if stream else []
        tests = any_of(*(all_of(item, signed) for item in packages))
        advisory = (
            '<advisory from="secalert@e.test"><severity>Important</severity><issued date="2022-03-01"/>'
            f'<updated date="2022-03-02"/><cve impact="moderate" cvss3="9.8/{VECTOR}">CVE-2022-{number}1</cve>'
            f'<cve impact="low">CVE-2022-{number}2</cve></advisory>'
        )
        made.define(
            f"RHSA-2022:{number}: update (Important)",
            "Red Hat Enterprise Linux 8",
            any_of(must, all_of(release, *module, tests)),
            *(f"RHSA-2022:{number}", f"CVE-2022-{number}1", f"CVE-2022-{number}2"),
            advisory=advisory,
            kind="patch",
            identifier=f"oval:com.redhat.rhsa:def:2022{number}",
        )

    for number, stream, evr in (
        (100, "nodejs:14", "1:14.18.2-2.module+el8.5.0+1+aaaa"),
        (200, "nodejs:16", "1:16.13.1-3.module+el8.5.0+2+bbbb"),
        (300, "", "1:1.1.1k-12.el8_9"),
    ):
        name = "nodejs" if stream else "openssl"
        errata(number, stream, made.package(f"{name} is earlier than {evr}", name, evr=evr))
    for number, state in ((1, "Will not fix"), (2, "Affected"), (3, "")):
        criteria = any_of(must, all_of(release, any_of(made.package("zlib is installed", "zlib"))))
        advisory = f'<advisory><affected><resolution state="{state}"><component>zlib</component></resolution></affected></advisory>'
        space = "unaffected" if not state else "cve"
        made.define(
            "zlib",
            "Red Hat Enterprise Linux 8",
            criteria,
            f"CVE-2021-000{number}",
            advisory=advisory,
            identifier=f"oval:com.redhat.{space}:def:2021000{number}",
        )
    return made


def test_red_hats_module_streams_do_not_mix(db: Database, tmp_path: Path) -> None:
    (result,) = importer.import_path(db, save(tmp_path / "rhel-8-including-unpatched.oval.xml.gz", red_hat()))
    assert result.source == "oval:rhel-8-including-unpatched"
    old = "1:14.17.0-1.module+el8.4.0+1+cccc"
    assert hits(db, RHEL8, Found("rpm", "nodejs", old, module="nodejs:14")) == {
        "CVE-2022-1001": "1:14.18.2-2.module+el8.5.0+1+aaaa",
        "CVE-2022-1002": "1:14.18.2-2.module+el8.5.0+1+aaaa",
    }
    # 14.18 is below what 16 has fixed, and is no build of it; 12 is told of in neither.
    new = "1:14.18.2-2.module+el8.5.0+1+aaaa"
    assert hits(db, RHEL8, Found("rpm", "nodejs", new, module="nodejs:14")) == {}
    assert hits(db, RHEL8, Found("rpm", "nodejs", "1:12.1-1.module+el8+1", module="nodejs:12")) == {}
    assert hits(db, RHEL8, Found("rpm", "nodejs", "1:12.1-1.el8")) == {}
    assert set(hits(db, RHEL8, Found("rpm", "openssl", "1:1.1.1k-9.el8"))) == {
        "CVE-2022-3001",
        "CVE-2022-3002",
    }
    assert hits(db, RHEL8, Found("rpm", "openssl", "1:1.1.1k-12.el8_9")) == {}
    assert hits(db, RHEL8, Found("rpm", "zlib", "1.2-1")) == {
        "CVE-2021-0001": "wontfix",
        "CVE-2021-0002": "open",
    }
    # Each CVE has its own rating, not that of the errata.
    rated = {v.id: (v.severity, v.score) for v in scan(db, RHEL8, Found("rpm", "openssl", "1:1.0-1"))}
    assert rated == {"CVE-2022-3001": ("Medium", 9.8), "CVE-2022-3002": ("Low", None)}
    # The database's own ratings are no findings of themselves, and another release has none of these.
    assert hits(db, Distribution("rhel", "9.1"), Found("rpm", "openssl", "1:1.0-1")) == {}


def test_suses_platforms(db: Database, tmp_path: Path) -> None:
    made = Oval("org.opensuse.security", "rpminfo")
    servers = [
        made.package(f"{name} is installed", release, evr=evr, operation="equals")
        for name, release, evr in (
            ("SUSE Linux Enterprise Server 15 SP4-LTSS", "sles-release", "15.4"),
            ("SUSE Linux Enterprise Module for Basesystem 15 SP5", "sle-module-basesystem-release", "15.5"),
        )
    ]
    tests = [
        made.package("libz1-1.2.13-150500.4.3.1 is installed", "libz1", evr="0:1.2.13-150500.4.3.1"),
        made.package("zlib-devel is not affected", "zlib-devel", evr="0:0", operation="equals"),
    ]
    advisory = f'<advisory><severity>Moderate</severity><cve impact="moderate" cvss3="9.8/{VECTOR}">CVE-2023-45853</cve></advisory>'
    made.define(
        "CVE-2023-45853",
        "SUSE Linux Enterprise Server 15 SP4",
        all_of(any_of(*servers), any_of(*tests)),
        "CVE-2023-45853",
        advisory=advisory,
    )
    importer.import_path(db, save(tmp_path / "suse.linux.enterprise.server.15.xml", made))
    old = (Found("rpm", "libz1", "1.2.13-150500.2.3"), Found("rpm", "zlib-devel", "1.2.13-150500.2.3"))
    for version, wanted in (
        ("15.5", {"CVE-2023-45853"}),
        ("15.4", {"CVE-2023-45853"}),
        ("15.3", set()),
        ("12.5", set()),
    ):
        assert set(hits(db, Distribution("sles", version), *old)) == wanted
    (found,) = scan(db, Distribution("sles", "15.5"), *old)
    assert (found.severity, found.score, found.fixed) == ("Medium", 9.8, "1.2.13-150500.4.3.1")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("SUSE Linux Enterprise Module for Python 3 15 SP5 is installed", "suse:linux enterprise server 15 sp5"),
        ("SUSE Linux Enterprise Server for SAP Applications 12 SP5", "suse:linux enterprise server 12 sp5"),
        ("SUSE Linux Enterprise Server 16.0", "suse:linux enterprise server 16"),
        ("openSUSE Leap 15.6 is installed", "opensuse:leap 15.6"),
        ("Debian GNU/Linux 12", "debian:12"),
        ("Oracle Linux 8 is installed", "oracle linux:8"),
        ("Red Hat Enterprise Linux must be installed", None),
        ("zlib is installed", None),
    ],
)  # fmt: skip
def test_platforms(text: str, wanted: str | None) -> None:
    assert platform(text) == wanted
    if wanted is not None and wanted.startswith("suse:"):
        assert ecosystem(text.removesuffix(" is installed").replace("SUSE ", "SUSE:", 1)) == (wanted, "rpm")


def test_streams_of_osv_errata_are_in_their_summary(db: Database, tmp_path: Path) -> None:
    def errata(name: str, summary: str, fixed: str) -> dict[str, Any]:
        events = ev(("introduced", "0"), ("fixed", fixed))
        return record(name, "nodejs", "AlmaLinux:8", events, summary=summary)

    importer.import_path(
        db,
        write(
            tmp_path / "alma",
            errata("ALSA-1", "Important: nodejs:14 security update", "1:14.18.2-2.module_el8+1+a"),
            errata("ALSA-2", "Moderate: nodejs:16 security update", "1:16.13.1-3.module_el8+1+b"),
        ),
    )
    alma = Distribution("almalinux", "8.9")
    old = Found("rpm", "nodejs", "1:14.1.0-1.module_el8+1+a", module="nodejs:14")
    assert set(hits(db, alma, old)) == {"ALSA-1"}


# -- what is refused -----------------------------------------------------------------------------------

BOMB = (
    '<!DOCTYPE oval_definitions [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
    + "]>"
)


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.xml", b"<oval_definitions", "not valid XML"),
        ("a.xml", b"<html/>", "not an OVAL file"),
        ("a.xml", b"<oval_definitions/>", "no OVAL definitions"),
        ("a.xml", f"{BOMB}<oval_definitions>&j;</oval_definitions>".encode(), "XML"),
        ("a.xml", b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><oval_definitions/>', "document type"),
        (
            "a.xml",
            b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><oval_definitions id="&e;"/>',
            "XML",
        ),
        ("a.xml", b"<oval_definitions>" + b"<a>" * 5000, "not valid XML"),
        ("a.xml.bz2", b"BZh9 nothing", "cannot be unpacked"),
        ("a.xml.gz", b"\x1f\x8b nothing", "cannot be unpacked"),
    ],
)
def test_hostile_xml(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    file = tmp_path / name
    file.write_bytes(data)
    with pytest.raises(InvalidError, match=reason):
        list(oval.advisories(file))


def test_a_file_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oval, "_UNPACKED_BYTES", 1 << 20)
    file = tmp_path / "a.xml.gz"
    file.write_bytes(gzip.compress(b"<oval_definitions>" + b" " * (4 << 20)))
    with pytest.raises(InvalidError, match="too large"):
        list(oval.advisories(file))


def test_a_bad_file_changes_nothing(db: Database, tmp_path: Path) -> None:
    file = save(tmp_path / "rhel-8.oval.xml", red_hat())
    importer.import_path(db, file)
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(InvalidError, match=re.escape("rhel-8.oval.xml: not valid XML")):
        importer.import_path(db, file)
    assert set(hits(db, RHEL8, Found("rpm", "openssl", "1:1.0-1"))) == {"CVE-2022-3001", "CVE-2022-3002"}


# -- CSAF ----------------------------------------------------------------------------------------------


def vex(cve: str = "CVE-2024-7000") -> dict[str, Any]:
    """A VEX document in Red Hat's shape: packages of a platform, and of a module of it."""

    def leaf(identifier: str, **helper: str) -> dict[str, Any]:
        product = {"product_id": identifier, "name": identifier, "product_identification_helper": helper}
        return {"category": "product_version", "name": identifier, "product": product}

    def component(part: str, whole: str) -> dict[str, Any]:
        full = {"product_id": f"{whole}:{part}", "name": "x"}
        return {
            "category": "default_component_of",
            "full_product_name": full,
            "product_reference": part,
            "relates_to_product_reference": whole,
        }

    return {
        "document": {
            "category": "csaf_vex",
            "csaf_version": "2.0",
            "title": cve,
            "aggregate_severity": {"text": "important"},
            "publisher": {"category": "vendor", "name": "V", "namespace": "https://vendor.example"},
            "tracking": {"id": cve, "status": "final", "current_release_date": "2024-01-02T03:04:05+00:00"},
        },
        "product_tree": {
            "branches": [
                {
                    "category": "vendor",
                    "branches": [
                        leaf("BaseOS-8", cpe="cpe:/o:redhat:enterprise_linux:8::baseos"),
                        leaf("zlib-fixed", purl="pkg:rpm/redhat/zlib@1.2.11-21.el8?arch=x86_64"),
                        leaf("zlib-src", purl="pkg:rpm/redhat/zlib@1.2.11-21.el8?arch=src"),
                        leaf("openssl", purl="pkg:rpm/redhat/openssl"),
                        leaf("bash", purl="pkg:rpm/redhat/bash"),
                        leaf("node-14", purl="pkg:rpmmod/redhat/nodejs@14:8040020210817133458:522a0ee4"),
                        leaf("node", purl="pkg:rpm/redhat/nodejs@14.18.2-2.module%2Bel8?arch=x86_64&epoch=1"),
                    ],
                }
            ],
            "relationships": [
                component("node", "BaseOS-8:node-14"),
                component("node-14", "BaseOS-8"),
                *(component(name, "BaseOS-8") for name in ("zlib-fixed", "zlib-src", "openssl", "bash")),
            ],
        },
        "vulnerabilities": [
            {
                "cve": cve,
                "cwe": {"id": "CWE-79", "name": "x"},
                "scores": [{"cvss_v3": {"vectorString": VECTOR}, "products": []}],
                "notes": [{"category": "description", "text": "it is bad"}],
                "references": [{"url": "https://vendor.example/x", "summary": "s"}],
                "product_status": {
                    "fixed": ["BaseOS-8:zlib-fixed", "BaseOS-8:zlib-src", "BaseOS-8:node-14:node"],
                    "known_affected": ["BaseOS-8:openssl"],
                    "known_not_affected": ["BaseOS-8:bash"],
                },
                "remediations": [
                    {
                        "category": "no_fix_planned",
                        "details": "Will not fix",
                        "product_ids": ["BaseOS-8:openssl"],
                    }
                ],
            }
        ],
    }


def test_a_folder_without_advisories_is_an_error(db: Database, tmp_path: Path) -> None:
    (tmp_path / "README").write_text("none")
    with pytest.raises(InvalidError, match="no files of advisories"):
        importer.import_path(db, tmp_path)


def test_csaf_vex(db: Database, tmp_path: Path) -> None:
    folder = tmp_path / "vex"
    folder.mkdir()
    (folder / "cve.json").write_text(json.dumps(vex(), indent=2))
    write(folder, record("GHSA-1", "left", "npm", ev(("introduced", "0"))))
    results = importer.import_path(db, folder)
    assert [(item.source, item.added) for item in results] == [("osv", 1), ("csaf", 1)]
    found = scan(
        db,
        RHEL8,
        Found("rpm", "zlib", "1.2.11-20.el8"),
        Found("rpm", "openssl-libs", "1:1.1.1k-9.el8", source="openssl"),
        Found("rpm", "bash", "5.1-1"),
        Found("rpm", "nodejs", "1:14.1-1.module+el8", module="nodejs:14"),
        Found("rpm", "nodejs", "1:12.1-1.module+el8", module="nodejs:12"),
    )
    assert {(v.package, v.version): (v.severity, v.fixed, v.status) for v in found} == {
        ("zlib", "1.2.11-20.el8"): ("High", "1.2.11-21.el8", "fixed"),
        ("openssl-libs", "1:1.1.1k-9.el8"): ("High", "", "wontfix"),
        ("nodejs", "1:14.1-1.module+el8"): ("High", "1:14.18.2-2.module+el8", "fixed"),
    }
    assert (found[0].id, found[0].score, found[0].cwes) == ("CVE-2024-7000", 9.8, ("CWE-79",))
    assert hits(db, RHEL8, Found("rpm", "zlib", "1.2.11-21.el8")) == {}
    # A correction, alone in its file: the package is not affected after all.
    corrected = vex()
    del corrected["vulnerabilities"][0]["product_status"]["known_affected"]
    file = tmp_path / "one.json"
    file.write_text(json.dumps(corrected))
    (again,) = importer.import_path(db, file)
    assert (again.source, again.added, again.changed) == ("csaf", 0, 1)
    assert hits(db, RHEL8, Found("rpm", "openssl", "1:1.1.1k-9.el8")) == {}


@pytest.mark.parametrize("suffix", [".tar", ".tar.bz2", ".tar.zst"])
def test_archives_of_csaf(db: Database, tmp_path: Path, suffix: str) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for number in range(3):
            data = json.dumps(vex(f"CVE-2024-700{number}")).encode()
            info = tarfile.TarInfo(f"2024/cve-{number}.json")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        archive.addfile(tarfile.TarInfo("2024/changes.csv"))
    pack: dict[str, Any] = {".tar.bz2": bz2.compress, ".tar.zst": zstandard.compress}
    data = pack.get(suffix, bytes)(out.getvalue())
    file = tmp_path / f"csaf_vex{suffix}"
    file.write_bytes(data)
    (result,) = importer.import_path(db, file)
    assert (result.source, result.added) == ("csaf", 3)
    (again,) = importer.import_path(db, file)
    assert (again.total, again.added, again.changed) == (3, 0, 0)
    for bad in (data[: len(data) // 2], b"no archive"):
        file.write_bytes(bad)
        with pytest.raises(InvalidError, match="csaf_vex"):
            importer.import_path(db, file)


def test_a_source_is_forgotten(db: Database, tmp_path: Path) -> None:
    file = tmp_path / "cve.json"
    file.write_text(json.dumps(vex()))
    importer.import_path(db, file)
    importer.import_path(db, save(tmp_path / "rhel-8.oval.xml", red_hat()))
    zlib = Found("rpm", "zlib", "1.2.11-1.el8")
    assert set(hits(db, RHEL8, zlib)) == {"CVE-2024-7000", "CVE-2021-0001", "CVE-2021-0002"}
    before = db.sync_read(match.database_time)
    assert imported.remove(db, "oval:rhel-8") > 0
    assert set(hits(db, RHEL8, zlib)) == {"CVE-2024-7000"}
    # Reports made before are out of date.
    assert (db.sync_read(match.database_time) or 0) > (before or 0)
    assert {row["name"]: row["advisories"] for row in db.sync_read(imported.status)} == {
        "csaf": 1,
        "oval:rhel-8": 0,
    }
    with pytest.raises(NotFoundError, match="no source"):
        imported.remove(db, "oval:rhel-7")


NODES = st.recursive(
    st.none() | st.integers() | st.sampled_from(["", "x", "2.0", "CVE-2024-0001", "pkg:rpm/a/b@1", "final"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "cve",
                    "product",
                    "branches",
                    "product_id",
                    "relationships",
                    "full_product_name",
                    "fixed",
                    "product_status",
                    "known_affected",
                    "remediations",
                    "scores",
                    "cvss_v3",
                    "vectorString",
                    "product_identification_helper",
                    "purl",
                    "cpe",
                    "tracking",
                    "id",
                    "cwe",
                    "references",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(NODES, NODES, NODES)
def test_no_csaf_document_crashes_the_parser(head: Any, tree: Any, listed: Any) -> None:
    for document in (
        head,
        {"document": head, "product_tree": tree, "vulnerabilities": listed},
        {**vex(), "product_tree": tree},
        {**vex(), "vulnerabilities": [listed]},
    ):
        try:
            csaf.advisory(document)
        except InvalidError:
            continue
