"""The Helm chart: lint, every scenario rendered, manifests valid for Kubernetes, bad combinations refused."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from seawall.infra.loading import load
from tests.support.deploy.helm import CHART, Helm

SCENARIOS = sorted(path.stem for path in (CHART / "ci").glob("*.yaml"))
TWO_CENTERS = ["values-dc-a", "values-dc-b"]
# Kubernetes knows these only by a CRD, so no schema ships with it.
CUSTOM = {"ServiceMonitor"}


def values(scenario: str) -> str:
    folder = CHART.parent if scenario in TWO_CENTERS else CHART / "ci"
    return str(folder / f"{scenario}.yaml")


def render(helm: Helm, *args: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(helm.template(*args)) if document]


def one(documents: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = [d for d in documents if d["kind"] == kind and d["metadata"]["name"] == name]
    return found


def settings_of(documents: list[dict[str, Any]]) -> dict[str, Any]:
    (config,) = [d for d in documents if d["kind"] == "ConfigMap"]
    result: dict[str, Any] = yaml.safe_load(config["data"]["seawall.yml"])
    return result


def environment_of(deployment: dict[str, Any]) -> dict[str, Any]:
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    return {item["name"]: item for item in container["env"]}


def test_lint(helm: Helm) -> None:
    for scenario in [*SCENARIOS, *TWO_CENTERS]:
        result = helm.run("lint", "--strict", str(CHART), "-f", values(scenario))
        assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("version", ["1.27", "1.31", "1.35"])
@pytest.mark.parametrize("scenario", [*SCENARIOS, *TWO_CENTERS])
def test_manifests_are_valid(helm: Helm, scenario: str, version: str) -> None:
    documents = render(helm, "-f", values(scenario), "--kube-version", f"{version}.0")
    assert {d["kind"] for d in documents} >= {"Deployment", "Service", "ConfigMap", "Secret"}
    names = set()
    for document in documents:
        if document["kind"] not in CUSTOM:
            kubernetes_validate.validate(document, version, strict=True)
        names.add((document["kind"], document["metadata"]["name"]))
    assert len(names) == len(documents)


@pytest.mark.parametrize("scenario", [*SCENARIOS, *TWO_CENTERS])
def test_references_lead_somewhere(helm: Helm, scenario: str) -> None:
    documents = render(helm, "-f", values(scenario))
    ours = {
        document["metadata"]["name"]: set(document.get("data") or {})
        for document in documents
        if document["kind"] == "Secret"
    }
    given = Path(values(scenario)).read_text()
    labels = {}
    for deployment in (d for d in documents if d["kind"] in ("Deployment", "StatefulSet")):
        pod = deployment["spec"]["template"]["spec"]
        labels[deployment["metadata"]["name"]] = deployment["spec"]["template"]["metadata"]["labels"]
        mounted = {mount["name"] for c in pod["containers"] for mount in c["volumeMounts"]}
        claims = {c["metadata"]["name"] for c in deployment["spec"].get("volumeClaimTemplates", ())}
        assert mounted <= {volume["name"] for volume in pod.get("volumes", ())} | claims
        secrets = (
            [
                (item["valueFrom"]["secretKeyRef"]["name"], item["valueFrom"]["secretKeyRef"]["key"])
                for container in pod["containers"]
                for item in container["env"] or ()
                if "secretKeyRef" in item.get("valueFrom", ())
            ]
            if deployment["kind"] == "Deployment"
            else []
        )
        for volume in pod.get("volumes", ()):
            for source in volume.get("projected", {}).get("sources", ()):
                secrets += [(source["secret"]["name"], item["key"]) for item in source["secret"]["items"]]
        for name, key in secrets:
            assert key in ours.get(name, ()) or f": {name}\n" in given, f"nothing provides {name}/{key}"
    for service in (d for d in documents if d["kind"] == "Service"):
        selector = service["spec"]["selector"].items()
        assert any(selector <= found.items() for found in labels.values())


def test_every_value_is_in_the_schema() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    def check(value: Any, schema: dict[str, Any], path: str) -> None:
        if isinstance(value, dict) and "properties" in schema:
            for key, inner in value.items():
                assert key in schema["properties"], f"{path}.{key}"
                check(inner, schema["properties"][key], f"{path}.{key}")

    check(yaml.safe_load((CHART / "values.yaml").read_text()), schema, "values")


@pytest.mark.parametrize("scenario", [*SCENARIOS, *TWO_CENTERS])
def test_settings_are_seawalls(
    helm: Helm, scenario: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the chart writes, with what its secrets would add, is what Seawall's own loader takes."""
    documents = render(helm, "-f", values(scenario))
    file = tmp_path / "seawall.yml"
    file.write_text(yaml.safe_dump(settings_of(documents)))
    names = [d for d in documents if d["kind"] == "Deployment"]
    for deployment in names:
        for name, item in environment_of(deployment).items():
            if name.startswith("SEAWALL_") and name != "SEAWALL_CONFIG":
                monkeypatch.setenv(name, item.get("value", "from-secret"))
        found = load(file)
        assert found.external_url == settings_of(documents)["external_url"]
        embedded = deployment["metadata"]["name"].endswith("core") and len(names) == 1
        if deployment["metadata"]["name"].endswith("core"):
            assert found.jobs.embedded is embedded
        assert bool(found.redis.configured) == ("redis" in settings_of(documents))


def test_highly_available(helm: Helm) -> None:
    documents = render(helm, "-f", values("ha-s3"))
    core = one(documents, "Deployment", "release-seawall-core")
    assert core["spec"]["replicas"] == 3
    assert core["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    pod = core["spec"]["template"]["spec"]
    (term,) = pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    container = pod["containers"][0]
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert one(documents, "PodDisruptionBudget", "release-seawall-core")["spec"]["minAvailable"] == 2
    assert one(documents, "Deployment", "release-seawall-jobservice")["spec"]["replicas"] == 2
    assert one(documents, "ServiceMonitor", "release-seawall")["spec"]["endpoints"][0]["interval"] == "30s"
    assert not [d for d in documents if d["kind"] in ("StatefulSet", "PersistentVolumeClaim")]
    # No secret of the operator's is copied into the release.
    assert not one(documents, "Secret", "release-seawall").get("data")


def test_autoscaling(helm: Helm) -> None:
    documents = render(helm, "-f", values("ha-filesystem"))
    scaler = one(documents, "HorizontalPodAutoscaler", "release-seawall-core")
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (2, 5)
    # A number of replicas beside an autoscaler would undo it at each upgrade.
    assert "replicas" not in one(documents, "Deployment", "release-seawall-core")["spec"]


def test_harbors_names(helm: Helm) -> None:
    documents = render(helm, "-f", values("harbor-values"))
    assert one(documents, "Deployment", "release-seawall-core")["spec"]["replicas"] == 3
    service = one(documents, "Service", "harbor")
    assert service["spec"]["type"] == "LoadBalancer"
    assert service["spec"]["loadBalancerIP"] == "192.0.2.10"
    assert service["spec"]["ports"][0]["port"] == 443
    data = one(documents, "Secret", "release-seawall")["data"]
    plain = {key: base64.b64decode(value).decode() for key, value in data.items()}
    assert plain["HARBOR_ADMIN_PASSWORD"] == "Harbor12345"
    assert plain["secretKey"] == "not-a-secure-key"
    assert plain["databasePassword"] == "pass/word@1"
    assert "pass/word@1" not in json.dumps(settings_of(documents))
    assert settings_of(documents)["http"]["tls_key"] == "/etc/seawall/tls/tls.key"


def test_harbors_values_without_meaning(helm: Helm, tmp_path: Path) -> None:
    paths = (CHART / "harbor-values.txt").read_text().split()
    assert paths == sorted(set(paths))
    content: dict[str, Any] = {}
    for path in paths:
        *heads, last = path.split(".")
        node = content
        for head in heads:
            node = node.setdefault(head, {})
        node[last] = {"enabled": True}
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(content))
    (config,) = [d for d in render(helm, "-f", str(file)) if d["kind"] == "ConfigMap"]
    assert config["metadata"]["annotations"]["seawall/ignored-values"] == ", ".join(paths)
    shown = helm.run("install", "release", str(CHART), "--dry-run=client", "--set", "trivy.enabled=true")
    assert shown.stdout.endswith("no effect here: trivy\n"), shown.stderr
    (config,) = [d for d in render(helm) if d["kind"] == "ConfigMap"]
    assert "annotations" not in config["metadata"]


def test_harbors_images_are_not_used(helm: Helm) -> None:
    names = [f"{part}.internal.image.repository" for part in ("database", "redis")]
    text = helm.template(
        *["--set", f"{names[0]}=goharbor/harbor-db", "--set", f"{names[1]}=goharbor/redis-photon"]
    )
    assert "image: goharbor/" not in text
    assert "image: postgres:17" in text
    assert "image: redis:7" in text
    assert 'seawall/ignored-values: "database.internal.image, redis.internal.image"' in text


def test_storage_encryption_and_authority(helm: Helm) -> None:
    storage = "persistence.imageChartStorage"
    words = [
        f"{storage}.type=s3",
        f"{storage}.s3.bucket=b",
        f"{storage}.s3.encrypt=true",
        "caSecretName=my-ca",
    ]
    documents = render(helm, *[item for word in words for item in ("--set", word)])
    settings = settings_of(documents)
    assert settings["storage"]["s3"]["encrypt"] is True
    assert settings["ca_download"] == "/etc/seawall/ca-download"
    for component in ("core", "jobservice"):
        pod = one(documents, "Deployment", f"release-seawall-{component}")["spec"]["template"]["spec"]
        (volume,) = [item for item in pod["volumes"] if item["name"] == "ca-download"]
        assert volume["secret"]["secretName"] == "my-ca"
        (mount,) = [item for item in pod["containers"][0]["volumeMounts"] if item["name"] == "ca-download"]
        assert mount["mountPath"] == settings["ca_download"]


def test_made_keys_are_good(helm: Helm) -> None:
    documents = render(helm, "-f", values("default"))
    data = one(documents, "Secret", "release-seawall")["data"]
    assert len(base64.b64decode(base64.b64decode(data["masterKey"]))) == 32
    again = one(render(helm, "-f", values("default")), "Secret", "release-seawall")["data"]
    assert again["masterKey"] != data["masterKey"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["core.replicas=2"], "accessMode is ReadWriteOnce"),
        (["registry.replicas=2"], "accessMode is ReadWriteOnce"),
        (["jobservice.replicas=2"], "jobservice has more than one replica"),
        (["core.autoscaling.enabled=true"], "may come to 6 replicas"),
        (["core.replicas=2", "database.type=embedded"], "database.type is embedded"),
        (
            ["core.replicas=2", "redis.type=none", "persistence.imageChartStorage.type=s3"],
            "redis.type is none",
        ),
        (["persistence.enabled=false"], "files of their own"),
        (["database.type=external"], "database.external.host is empty"),
        (["redis.type=external"], "redis.external.addr is empty"),
        (["redis.type=external", r"redis.external.addr=a:1\,b:1"], "sentinelMasterSet is empty"),
        (["persistence.imageChartStorage.type=s3"], "s3.bucket is empty"),
        (["persistence.imageChartStorage.type=gcs"], "gcs.bucket is empty"),
        (["persistence.imageChartStorage.type=azure"], "azure.container is empty"),
        (["expose.tls.certSource=secret"], "secret.secretName is empty"),
        (["expose.type=nodePort"], "commonName is needed"),
        (["expose.type=clusterIP", "expose.tls.certSource=none"], "is for expose.type ingress"),
        (["core.tokenKey=x"], "given together"),
        (["core.replica=2"], "replica"),
        (["database.type=mysql"], "database"),
        (["externalURL=registry.example.com"], "externalURL"),
        (["secretKey=short"], "secretKey"),
        (["persistence.imageChartStorage.type=swift"], "imageChartStorage"),
    ],
)
def test_refused(helm: Helm, arguments: list[str], said: str) -> None:
    assert said in helm.refusal(*[item for argument in arguments for item in ("--set", argument)])


def test_refused_budget(helm: Helm) -> None:
    said = helm.refusal("-f", values("ha-s3"), "--set", "core.podDisruptionBudget.minAvailable=3")
    assert "no node could ever be drained" in said
