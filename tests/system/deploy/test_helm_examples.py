"""deploy/helm/examples: what one file names, another one makes, and the values render the same each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.deploy import custom_kinds
from tests.support.deploy.docs import Page
from tests.support.deploy.helm import CHART, Helm

EXAMPLES = CHART.parent / "examples"
VALUES = str(EXAMPLES / "values.yaml")


def made() -> dict[str, set[str]]:
    """Secrets that the examples' operators make, and their keys."""
    found: dict[str, set[str]] = {"registry-tls": {"tls.crt", "tls.key"}}
    for item in documents("external-secrets.yaml"):
        keys = {entry["secretKey"] for entry in item["spec"]["data"]}
        found[item["spec"]["target"]["name"]] = keys
        assert item["spec"]["target"]["deletionPolicy"] == "Retain"
    (database,) = documents("postgresql.yaml")
    name = database["metadata"]["name"]
    # CloudNativePG's names and keys: documentation, "Connecting from an application" and "Certificates".
    found[f"{name}-app"] = {"username", "password", "dbname", "host", "port", "uri"}
    found[f"{name}-ca"] = {"ca.crt", "ca.key"}
    return found


def documents(name: str) -> list[dict[str, Any]]:
    return [item for item in yaml.safe_load_all((EXAMPLES / name).read_text()) if item]


def test_objects_of_operators_are_valid() -> None:
    files = [path.name for path in EXAMPLES.glob("*.yaml") if path.name != "values.yaml"]
    for item in (item for name in files for item in documents(name)):
        custom_kinds.validate(item)


def test_secrets(helm: Helm) -> None:
    secrets = made()
    rendered = helm.objects("-f", VALUES)
    for component in ("core", "jobservice"):
        needed = [
            (item["valueFrom"]["secretKeyRef"]["name"], item["valueFrom"]["secretKeyRef"]["key"])
            for item in rendered.environment(component).values()
            if "secretKeyRef" in item.get("valueFrom", {})
            and not item["valueFrom"]["secretKeyRef"].get("optional")
        ]
        for volume in rendered.pod(component)["volumes"]:
            for source in volume.get("projected", {}).get("sources", ()):
                needed += [(source["secret"]["name"], item["key"]) for item in source["secret"]["items"]]
        for name, key in needed:
            assert key in secrets.get(name, ()), f"nothing makes {name}/{key}"
    assert not rendered.one("Secret").get("data")


def test_addresses(helm: Helm) -> None:
    config = helm.objects("-f", VALUES).config()
    (database,) = documents("postgresql.yaml")
    assert (
        f"@{database['metadata']['name']}-rw:5432/{database['spec']['bootstrap']['initdb']['database']}?"
        in (config["database"]["url"])
    )
    replication, sentinel = documents("redis.yaml")
    assert config["redis"]["sentinel"] == f"{sentinel['metadata']['name']}-sentinel:26379"
    inner = sentinel["spec"]["redisSentinelConfig"]
    assert config["redis"]["sentinel_master"] == inner["masterGroupName"]
    assert inner["redisReplicationName"] == replication["metadata"]["name"]


@pytest.mark.parametrize("name", ["argo-cd.yaml", "flux.yaml"])
def test_gitops(helm: Helm, name: str) -> None:
    """The values file that it names is there, and renders the same twice without a cluster."""
    tool = documents(name)[-1]["spec"]
    if name == "argo-cd.yaml":
        chart, (values,) = Path(tool["source"]["path"]), tool["source"]["helm"]["valueFiles"]
        named = (CHART / values).resolve()
        release = tool["source"]["helm"]["releaseName"]
    else:
        chart, (values,) = Path(tool["chart"]["spec"]["chart"]), tool["chart"]["spec"]["valuesFiles"]
        named = (CHART.parent.parent.parent / values).resolve()
        release = tool["releaseName"]
    assert CHART.parent.parent.parent / chart == CHART
    assert named == EXAMPLES / "values.yaml"
    once, again = (helm.run("template", release, str(CHART), "-f", str(named)) for _ in range(2))
    assert once.returncode == 0, once.stderr
    assert once.stdout == again.stdout


def test_the_pages_values(helm: Helm, tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(Page("gitops.md").one("yaml", "gitops: true"))
    assert helm.template("-f", str(file)) == helm.template("-f", str(file))
