"""The OCI distribution specification's conformance suite against each way to set Seawall up."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.support.conformance import VERSIONS, run_suite
from tests.support.foreign import PROGRAMS, build
from tests.support.setups import Setup, proxy_project, without_authentication

Record = Callable[[str, object], None]


@pytest.fixture(scope="module", autouse=True)
def suite_built() -> None:
    build(PROGRAMS["conformance"])


@pytest.mark.parametrize("version", VERSIONS)
def test_private_project(setup: Setup, version: str, tmp_path: Path, record_property: Record) -> None:
    project = setup.project()
    repositories = (f"{project}/one", f"{project}/deep/two")
    found = run_suite(setup, version, repositories, tmp_path / "results")
    record_property("conformance", json.dumps({"version": version, **asdict(found)}))
    assert found.faults == {}
    assert found.failed == 0
    assert found.passed > 800


@pytest.mark.parametrize("version", VERSIONS)
def test_without_authentication(version: str, tmp_path: Path, record_property: Record) -> None:
    with without_authentication(tmp_path) as setup:
        found = run_suite(setup, version, ("a/one", "b/two"), tmp_path / "results")
    record_property("setup", "one instance on SQLite, authentication off")
    record_property("conformance", json.dumps({"version": version, **asdict(found)}))
    assert found.faults == {}
    assert found.failed == 0
    assert found.passed > 800


def test_proxy_project(tmp_path: Path, record_property: Record) -> None:
    """What can be read, through the cache; nothing can be pushed there."""
    with proxy_project(tmp_path) as cached:
        found = run_suite(
            cached.setup,
            "1.1",
            (cached.repository, cached.repository),
            tmp_path / "results",
            OCI_API_PUSH="false",
            OCI_API_BLOBS_DELETE="false",
            OCI_API_MANIFESTS_DELETE="false",
            OCI_API_TAGS_DELETE="false",
            OCI_RO_DATA_TAGS=" ".join(cached.tags),
            OCI_RO_DATA_MANIFESTS=" ".join(cached.manifests),
            OCI_RO_DATA_BLOBS=" ".join(cached.blobs),
            OCI_RO_DATA_REFERRERS=" ".join(cached.subjects),
        )
    record_property("setup", "a proxy project, what can be read")
    record_property("conformance", json.dumps({"version": "1.1", **asdict(found)}))
    assert found.faults == {}
    assert found.failed == 0
    assert found.passed > 10
