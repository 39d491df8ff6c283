"""What the chart makes of each scenario is written down in `golden/`, so that a change is seen in review.

After a change that is meant: SEAWALL_TEST_GOLDEN=1 pytest tests/system/deploy/test_helm_golden.py
"""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.deploy.helm import CHART, Helm, Objects

GOLDEN = Path(__file__).parent / "golden"
SCENARIOS = {
    path.stem: path for path in [*(CHART / "ci").glob("*.yaml"), *CHART.parent.glob("values-*.yaml")]
}
# Another one with each release of the chart.
VERSIONS = ("helm.sh/chart", "app.kubernetes.io/version")


def written(documents: Objects) -> str:
    """The manifests without what is made at random, sorted by kind and name."""
    return yaml.safe_dump_all(
        [
            _steady(document)
            for document in sorted(documents, key=lambda d: (d["kind"], d["metadata"]["name"]))
        ],
        default_flow_style=None,
        width=110,
    )


def _steady(document: dict[str, Any]) -> dict[str, Any]:
    steady = copy.deepcopy(document)
    template = steady.get("spec", {}).get("template", {}).get("metadata", {})
    for metadata in (steady["metadata"], template):
        for name in VERSIONS:
            metadata.get("labels", {}).pop(name, None)
    for name in template.get("annotations", {}):
        if name.startswith("checksum/"):
            template["annotations"][name] = "(of it)"
    if steady["kind"] == "Secret":
        steady["data"] = dict.fromkeys(steady.get("data") or {}, "(kept)")
    if "push_and_pull.py" in steady.get("data", {}):
        steady["data"] = {"push_and_pull.py": "(files/push_and_pull.py)"}
    for name in steady.get("data", {}):
        if name.endswith(".json"):
            steady["data"][name] = "(files/observability/dashboards)"
    if steady["kind"] == "PrometheusRule":
        steady["spec"] = "(files/observability/rules.yaml)"
    if "seawall.yml" in steady.get("data", {}):
        steady["data"]["seawall.yml"] = yaml.safe_load(steady["data"]["seawall.yml"])
    return steady


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_golden(helm: Helm, scenario: str) -> None:
    file = GOLDEN / f"{scenario}.yaml"
    found = written(helm.objects("-f", str(SCENARIOS[scenario])))
    if os.environ.get("SEAWALL_TEST_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(found)
    assert file.read_text() == found, "meant? SEAWALL_TEST_GOLDEN=1 writes it"


def test_no_golden_of_what_is_gone() -> None:
    assert {path.stem for path in GOLDEN.glob("*.yaml")} == SCENARIOS.keys()
