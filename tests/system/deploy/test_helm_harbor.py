"""Harbor's values.yaml, unchanged: every one of its 505 values is used, ignored and named, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tests.support.deploy.helm import CHART, Helm, generate

VALUES = Path(__file__).parent / "values"
EVERY = str(VALUES / "harbor-helm.yaml")
# Made at random otherwise.
KEY = ("--set", "masterKey=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
NAMES = generate.harbor_keys()
RULES = generate.rules()


def present(values: dict[str, Any], name: str) -> tuple[bool, Any]:
    """Whether a value is set, and what it is."""
    node: Any = values
    for part in name.split("."):
        if not isinstance(node, dict) or part not in node:
            return False, None
        node = node[part]
    return True, node


def test_every_name_has_a_rule() -> None:
    assert sum(NAMES.values()) == 505
    verdicts = {name: generate.rule(name, RULES)[0] for name in NAMES}
    assert set(verdicts.values()) == {"used", "ignored", "refused"}
    # What is said to be used is one of the chart's own values, which the templates read.
    own = {".".join(path) for path, _ in generate.leaves(generate.defaults())}
    for name, verdict in verdicts.items():
        if verdict == "used" and not any(name == value or name.startswith(f"{value}.") for value in own):
            # A probe has more times than those with a default.
            assert "Probe." in name, f"{name} is not used"
            assert f"{name.rpartition('.')[0]}.periodSeconds" in own, name
        if verdict == "ignored":
            assert name not in own, f"{name} is ignored, and the chart has it"


def test_all_values_at_once(helm: Helm) -> None:
    """All 505 are taken, and make what the same wishes make that are written for this chart."""
    values = yaml.safe_load(Path(EVERY).read_text())
    for name, shown in NAMES.items():
        if shown and not name.startswith("expose.ingress.annotations."):
            assert present(values, name)[0], f"{name} is not in {EVERY}"
    found = helm.objects("-f", EVERY, *KEY)
    wanted = helm.objects("-f", str(VALUES / "harbor-helm-by-hand.yaml"), *KEY)
    annotations = found.one("ConfigMap")["metadata"]["annotations"]
    said = annotations["seawall/ignored-values"].split(", ")
    expected = [
        name
        for name, (verdict, _) in RULES.items()
        if verdict == "ignored" and (value := present(values, name))[0] and value[1]
    ]
    assert said == sorted(expected)
    for kind, name in sorted({(d["kind"], d["metadata"]["name"]) for d in [*found, *wanted]}):
        ours, theirs = (
            next(d for d in documents if (d["kind"], d["metadata"]["name"]) == (kind, name))
            for documents in (wanted, found)
        )
        if (kind, name) == ("ConfigMap", "release-seawall"):
            assert theirs["data"] == ours["data"]
        else:
            assert theirs == ours, f"{kind} {name}"


def test_null_lists(helm: Helm, tmp_path: Path) -> None:
    """As Harbor's values.yaml has them: a name and nothing after it."""
    nothing = [
        *["imagePullSecrets", "jobservice.topologySpreadConstraints", "core.priorityClassName"],
        *["proxy.httpProxy", "core.configureUserSettings", "nginx.priorityClassName"],
        *["core.artifactPullAsyncFlushDuration", "exporter.tolerations", "core.tokenKey"],
    ]
    values: dict[str, Any] = {}
    for name in nothing:
        node = values
        *heads, last = name.split(".")
        for head in heads:
            node = node.setdefault(head, {})
        node[last] = None
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    rendered = helm.objects("-f", str(file), *KEY)
    said = rendered.one("ConfigMap")["metadata"]["annotations"]["seawall/ignored-values"]
    assert said == "exporter, nginx"
    plain = helm.objects(*KEY)
    for component in ("core", "jobservice"):
        assert rendered.pod(component) == plain.pod(component)


def test_values_without_meaning(helm: Helm, tmp_path: Path) -> None:
    """Each is taken, and said in the notes and in an annotation."""
    paths = sorted(name for name, (verdict, _) in RULES.items() if verdict == "ignored")
    inner = [p for p in paths if not any(other.startswith(f"{p}.") for other in NAMES)]
    content: dict[str, Any] = {}
    for path in inner:
        *heads, last = path.split(".")
        node = content
        for head in heads:
            node = node.setdefault(head, {})
        node[last] = "x"
    content["trivy"] = {"enabled": True}
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(content))
    config = helm.objects("-f", str(file)).one("ConfigMap")
    said = config["metadata"]["annotations"]["seawall/ignored-values"].split(", ")
    assert set(inner) | {"trivy"} <= set(said) <= set(paths)
    shown = helm.run("install", "release", str(CHART), "--dry-run=client", "--set", "trivy.enabled=true")
    assert shown.stdout.endswith("no effect here: trivy\n"), shown.stderr
    assert "docs/install/harbor-helm-values.md" in shown.stdout
    assert "annotations" not in helm.settings().one("ConfigMap")["metadata"]


def test_values_of_older_charts(helm: Helm, tmp_path: Path) -> None:
    """Charts 1.18.0 to 1.18.3 have a mapping where later ones have a list, those before 1.12 more names."""
    claim = {
        "existingClaim": "",
        "storageClass": "",
        "subPath": "",
        "accessMode": "ReadWriteOnce",
        "size": "1Gi",
    }
    content: dict[str, Any] = {
        "expose": {"route": {"parentRefs": {}}},
        "internalTLS": {"chartmuseum": {"secretName": ""}, "clair": {"secretName": ""}},
        "persistence": {"persistentVolumeClaim": {"jobservice": {**claim, "scanDataExports": claim}}},
        "registry": {"credentials": {"htpasswd": "x"}},
    }
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(content))
    found = helm.objects("-f", str(file), *KEY)
    assert found.pod("core") == helm.objects(*KEY).pod("core")
    # What is in it is not taken for a list.
    content["expose"]["route"]["parentRefs"] = {"name": "gateway"}
    file.write_text(yaml.safe_dump(content))
    assert "maxProperties" in helm.refusal("-f", str(file), *KEY)


def test_slips_are_refused(helm: Helm) -> None:
    """A name that neither chart has, at every depth."""
    schema = json.loads((CHART / "values.schema.json").read_text())

    def closed(node: dict[str, Any], path: str) -> None:
        assert node["additionalProperties"] is False, path
        for name, inner in node["properties"].items():
            if "properties" in inner:
                closed(inner, f"{path}.{name}")

    closed(schema, "values")
    for word in (
        "exporter.replica=1",
        "registry.registry.imag.tag=1",
        "redis.external.adr=x",
        "trivvy.enabled=1",
    ):
        assert "not allowed" in helm.refusal("--set", word)
