"""What carries a release: workflow files, the changelog's fragments, versions, archives that do not vary."""

from __future__ import annotations

import io
import json
import platform
import re
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import release, release_image
from tests.support.processes import ROOT
from tests.support.steps import ReleaseError

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_call_what_there_is(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step), step
            for line in re.findall(r"^make (.*)$", step.get("run", ""), re.MULTILINE):
                assert set(line.split()) <= targets, line
            # A pinned major version; a branch may be anything tomorrow.
            assert re.fullmatch(r"[\w.-]+/[\w./-]+@v\d+", step.get("uses", "a/b@v1")), step


def test_every_supported_python_is_checked() -> None:
    check = yaml.safe_load((ROOT / ".github/workflows/check.yml").read_text())
    tried = check["jobs"]["unit"]["strategy"]["matrix"]["python"]
    assert tried == ["3.11", "3.12", "3.13", "3.14"]
    assert PROJECT["project"]["requires-python"] == f">={tried[0]}"


def test_fragments_have_a_kind_that_there_is() -> None:
    kinds = {item["directory"] for item in PROJECT["tool"]["towncrier"]["type"]}
    said = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "changelog.d/README.md").read_text(), re.MULTILINE))
    assert said == kinds
    for path in (ROOT / "changelog.d").iterdir():
        if path.name != "README.md":
            found = re.fullmatch(r"(?:\d+|\+[\w-]+)\.(\w+)\.md", path.name)
            assert found, path.name
            assert found[1] in kinds, path.name
            assert path.read_text().strip(), path.name
    assert PROJECT["tool"]["towncrier"]["start_string"].strip() in (ROOT / "CHANGELOG.md").read_text()


def test_one_version_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEAWALL_RELEASE_TAG", raising=False)
    assert release.version() == PROJECT["project"]["version"]
    monkeypatch.setenv("SEAWALL_RELEASE_TAG", "v99.0")
    with pytest.raises(ReleaseError, match=r"v99\.0"):
        release.version()


def test_the_chart_does_not_vary_and_has_the_licence(tmp_path: Path) -> None:
    one, two = tmp_path / "one.tgz", tmp_path / "two.tgz"
    for path in (one, two):
        release.chart(ROOT, path, 1_700_000_000)
    assert one.read_bytes() == two.read_bytes()
    assert {"seawall/Chart.yaml", "seawall/LICENSE", "seawall/NOTICE"} <= set(release.names_in(one))
    release.chart(ROOT, two, 1_700_000_001)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one.rename(tmp_path / "a" / "x")
    two.rename(tmp_path / "b" / "x")
    with pytest.raises(ReleaseError, match="differ in x"):
        release.compare(tmp_path / "a", tmp_path / "b")


def test_an_archive_without_the_licence_is_refused(tmp_path: Path) -> None:
    release.archive(tmp_path / "x.tar.gz", {"x/LICENSE": b"text"}, 0)
    with pytest.raises(ReleaseError, match=r"x\.tar\.gz lacks NOTICE"):
        release.check_legal(tmp_path)


def test_an_sdist_is_the_same_whenever_it_was_built(tmp_path: Path) -> None:
    one, two = tmp_path / "one.tar.gz", tmp_path / "two.tar.gz"
    release.archive(one, {"x/a": b"1", "x/b": b"2"}, 1)
    release.archive(two, {"x/b": b"2", "x/a": b"1"}, 2)
    assert one.read_bytes() != two.read_bytes()
    for path in (one, two):
        release.normalised(path, 3)
    assert one.read_bytes() == two.read_bytes()


def test_a_processor_is_emulated_only_where_containers_can_run_it(tmp_path: Path) -> None:
    assert release_image.emulated(platform.machine(), tmp_path) == ""
    assert "install qemu-user-static" in release_image.emulated("s390x", tmp_path)
    handler = tmp_path / "qemu-s390x"
    handler.write_text("disabled\nflags: OCF\n")
    assert "not enabled" in release_image.emulated("s390x", tmp_path)
    handler.write_text("enabled\ninterpreter /usr/bin/qemu-s390x-static\nflags: OC\n")
    assert "no flag F" in release_image.emulated("s390x", tmp_path)
    handler.write_text("enabled\ninterpreter /usr/bin/qemu-s390x-static\nflags: OCF\n")
    assert release_image.emulated("s390x", tmp_path) == ""


def test_the_image_s_sbom_has_the_packages_of_its_base(tmp_path: Path) -> None:
    status = b"Package: zlib1g\nVersion: 1:1.2\n\nPackage: apt\nVersion: 2.6\nDescription: x\n more\n\n"
    with tarfile.open(tmp_path / "base.tar", "w") as tar:
        entry = tarfile.TarInfo("./var/lib/dpkg/status")
        entry.size = len(status)
        tar.addfile(entry, io.BytesIO(status))
    packages = release_image.debian_packages(tmp_path / "base.tar", "amd64")
    assert [item["name"] for item in packages] == ["apt", "zlib1g"]
    bundled = tmp_path / "sbom.json"
    bundled.write_text(json.dumps({"components": [{"name": "granian"}], "serialNumber": "urn:uuid:x"}))
    made = release_image.sbom(bundled, packages)
    assert made == release_image.sbom(bundled, packages)
    document = json.loads(made)
    assert [item["name"] for item in document["components"]] == ["granian", "apt", "zlib1g"]
    assert document["components"][2]["purl"] == "pkg:deb/debian/zlib1g@1:1.2?arch=amd64&distro=bookworm"
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}",
                        document["serialNumber"])  # fmt: skip


def test_the_image_is_built_by_the_same_file_everywhere() -> None:
    """Its base is a build argument; what is compiled does not depend on the time."""
    text = (ROOT / release_image.DOCKERFILE).read_text()
    assert re.findall(r"^FROM (\S+)", text, re.MULTILINE) == ["${BASE}", "${BASE}"]
    assert "--no-compile" in text
    assert "--invalidation-mode unchecked-hash" in text


def test_a_packed_folder_is_the_same_whenever_it_was_packed(tmp_path: Path) -> None:
    folder = tmp_path / "image"
    folder.mkdir()
    for name in ("b", "a"):
        (folder / name).write_text(name)
    release.packed(tmp_path / "one.tar", folder, 5)
    (folder / "a").touch()
    release.packed(tmp_path / "two.tar", folder, 5)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    assert release.names_in(tmp_path / "one.tar") == ["a", "b"]
