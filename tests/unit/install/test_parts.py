"""The SBOM of Seawall's own wheel: what is in it is named, and the same sources have the same."""

from __future__ import annotations

import json
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from seawall.install.parts import portal_components, wheel_sbom
from tests.support.processes import ROOT


def test_the_portals_packages_are_named() -> None:
    lock = ROOT / "portal" / "package-lock.json"
    components = portal_components(lock)
    names = {item.name for item in components}
    # What ships, and not what builds it.
    assert {"react", "dompurify", "marked"} <= names
    assert not {"vite", "typescript", "biome"} & names
    assert all(item.hashes and item.version for item in components)
    text = wheel_sbom("1.2.3", ["b>=1", "a"], components).decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    content = json.loads(text)
    assert content["metadata"]["component"]["purl"] == "pkg:pypi/seawall@1.2.3"
    assert [item["name"] for item in content["components"] if "purl" not in item] == ["a", "b>=1"]
    assert wheel_sbom("1.2.3", ["a", "b>=1"], portal_components(lock)).decode() == text


def test_without_a_portal(tmp_path: Path) -> None:
    assert portal_components(tmp_path / "package-lock.json") == []
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(wheel_sbom("1", [], []).decode()) is None
