"""Labels and annotations: each key once, what selectors go by as it is, the operator's before the chart's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.support.deploy.helm import CHART, Helm

VALUES: dict[str, Any] = {
    "commonLabels": {
        "team": "all",
        "app.kubernetes.io/part-of": "platform",
        "app.kubernetes.io/name": "other",
        "app.kubernetes.io/managed-by": "other",
    },
    "core": {
        "podLabels": {"team": "core", "app.kubernetes.io/component": "web"},
        "labels": {"team": "core"},
        "podAnnotations": {"checksum/config": "mine", "mine": "yes"},
    },
    "jobservice": {"podLabels": {"team": "jobs"}},
    "database": {"podLabels": {"app.kubernetes.io/instance": "other"}},
    "expose": {"ingress": {"labels": {"team": "edge"}}},
    "metrics": {
        "serviceMonitor": {"enabled": True, "additionalLabels": {"team": "watch"}},
        "prometheusRule": {"enabled": True, "additionalLabels": {"team": "watch"}},
        "dashboards": {"enabled": True, "additionalLabels": {"grafana_dashboard": "2"}},
    },
    "persistence": {
        "persistentVolumeClaim": {"registry": {"annotations": {"helm.sh/resource-policy": "keep"}}}
    },
}


class _Strict(yaml.SafeLoader):
    """Refuses a key that is there twice, as kustomize (Flux's post-renderers) does."""


def _mapping(loader: _Strict, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    assert len(keys) == len(set(keys)), f"line {node.start_mark.line}: {sorted(keys)}"
    return loader.construct_mapping(node, deep=True)


_Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def test_operators_labels(helm: Helm, tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(VALUES))
    documents = [d for d in yaml.load_all(helm.template("-f", str(file)), Loader=_Strict) if d]
    found: dict[tuple[str, str], str] = {}
    for item in documents:
        labels = item["metadata"]["labels"]
        assert labels["app.kubernetes.io/part-of"] == "platform"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        found[item["kind"], item["metadata"]["name"]] = labels["team"]
        if item["kind"] in ("Deployment", "StatefulSet"):
            template = item["spec"]["template"]["metadata"]
            assert item["spec"]["selector"]["matchLabels"].items() <= template["labels"].items()
            found["pod of", item["metadata"]["name"]] = template["labels"]["team"]
        if item["metadata"]["name"] == "release-seawall-core" and item["kind"] == "Deployment":
            annotations = item["spec"]["template"]["metadata"]["annotations"]
            assert annotations["mine"] == "yes"
            assert annotations["checksum/config"] != "mine"
        if "dashboard" in item["metadata"]["name"]:
            assert labels["grafana_dashboard"] == "2"
    assert found["Deployment", "release-seawall-core"] == "core"
    assert found["pod of", "release-seawall-core"] == "core"
    assert found["Deployment", "release-seawall-jobservice"] == "all"
    assert found["pod of", "release-seawall-jobservice"] == "jobs"
    assert found["Ingress", "release-seawall"] == "edge"
    assert found["ServiceMonitor", "release-seawall"] == found["PrometheusRule", "release-seawall"] == "watch"


def test_a_release_whose_name_is_a_number(helm: Helm) -> None:
    """A label's value is a text."""
    result = helm.run("template", "2026", str(CHART))
    assert result.returncode == 0, result.stderr
    for item in (d for d in yaml.safe_load_all(result.stdout) if d):
        assert item["metadata"]["labels"]["app.kubernetes.io/instance"] == "2026"
        if item["kind"] == "Service":
            assert item["spec"]["selector"]["app.kubernetes.io/instance"] == "2026"
