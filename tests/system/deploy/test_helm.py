"""The Helm chart: lint, every scenario rendered, manifests valid for Kubernetes, bad combinations refused."""

from __future__ import annotations

import base64
import copy
import functools
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import kubernetes_validate
import kubernetes_validate.utils as schemas
import pytest
import yaml
from cryptography import x509

from seawall.infra.loading import load
from tests.support.deploy import custom_kinds
from tests.support.deploy.helm import CHART, Helm, generate
from tests.support.processes import ROOT

SCENARIOS = sorted(path.stem for path in (CHART / "ci").glob("*.yaml"))
TWO_CENTERS = ["values-dc-a", "values-dc-b"]
# Kubernetes knows these only by a CRD, so no schema ships with it; ours are in `custom_kinds`.
CUSTOM = {"ServiceMonitor", "PrometheusRule", "HTTPRoute"}
PODS = ("core", "jobservice")
SCRIPT = CHART / "files" / "push_and_pull.py"


def values(scenario: str) -> str:
    folder = CHART.parent if scenario in TWO_CENTERS else CHART / "ci"
    return str(folder / f"{scenario}.yaml")


def test_lint(helm: Helm) -> None:
    for scenario in [*SCENARIOS, *TWO_CENTERS]:
        result = helm.run("lint", "--strict", str(CHART), "-f", values(scenario))
        assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("version", ["1.28", "1.29", "1.30", "1.31", "1.32", "1.33", "1.34", "1.35"])
def test_manifests_are_valid(helm: Helm, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # It reads 1.5 MB of JSON for each object otherwise.
    monkeypatch.setattr(schemas, "schema_contents", functools.cache(schemas.schema_contents))
    for scenario in [*SCENARIOS, *TWO_CENTERS]:
        documents = helm.objects("-f", values(scenario))
        assert {d["kind"] for d in documents} >= {"Deployment", "Service", "ConfigMap", "Secret"}
        for document in documents:
            if document["kind"] in CUSTOM:
                custom_kinds.validate(document)
            else:
                kubernetes_validate.validate(document, version, strict=True)
        names = {(d["kind"], d["metadata"]["name"]) for d in documents}
        assert len(names) == len(documents)


def test_objects_of_operators_are_valid(helm: Helm, tmp_path: Path) -> None:
    """With all that their sections may have."""
    file = tmp_path / "values.yaml"
    relabeling = [{"sourceLabels": ["pod"], "targetLabel": "pod_name", "action": "replace"}]
    monitor: dict[str, Any] = {
        "enabled": True,
        "interval": "30s",
        "additionalLabels": {"release": "prometheus"},
    }
    monitor |= {"relabelings": relabeling, "metricRelabelings": [{"regex": "x_.*", "action": "labeldrop"}]}
    header = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["traceparent"]}}
    route: dict[str, Any] = {
        "parentRefs": [{"name": "gateway", "namespace": "ingress", "sectionName": "https"}]
    }
    route |= {"hosts": ["registry.example.com"], "timeouts": {"request": "0s"}, "filters": [header]}
    content: dict[str, Any] = {
        "expose": {"type": "route", "route": route},
        "metrics": {
            "token": "a-long-token",
            "serviceMonitor": monitor,
            "prometheusRule": {"enabled": True, "additionalLabels": {"release": "prometheus"}},
        },
    }
    file.write_text(yaml.safe_dump(content))
    documents = helm.objects("-f", str(file))
    found = [item for item in documents if item["kind"] in CUSTOM]
    assert sorted({item["kind"] for item in found}) == sorted(CUSTOM)
    for item in found:
        custom_kinds.validate(item)
        wrong = copy.deepcopy(item)
        wrong["spec"]["misspelt"] = True
        with pytest.raises(jsonschema.ValidationError):
            custom_kinds.validate(wrong)
    for item in documents.kinds("ServiceMonitor"):
        credentials = item["spec"]["endpoints"][0]["authorization"]["credentials"]
        assert base64.b64decode(documents.one("Secret")["data"][credentials["key"]]) == b"a-long-token"
        assert credentials["name"] == "release-seawall"
    for component in PODS:
        reference = documents.environment(component)["SEAWALL_METRICS__TOKEN"]["valueFrom"]["secretKeyRef"]
        assert reference == {"name": "release-seawall", "key": "metricsToken"}


@pytest.mark.parametrize("scenario", [*SCENARIOS, *TWO_CENTERS])
def test_references_lead_somewhere(helm: Helm, scenario: str) -> None:
    documents = helm.objects("-f", values(scenario))
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
        secrets = [
            (item["valueFrom"]["secretKeyRef"]["name"], item["valueFrom"]["secretKeyRef"]["key"])
            for container in pod["containers"]
            for item in container.get("env", ())
            if "secretKeyRef" in item.get("valueFrom", ())
        ]
        for volume in pod.get("volumes", ()):
            for source in volume.get("projected", {}).get("sources", ()):
                secrets += [(source["secret"]["name"], item["key"]) for item in source["secret"]["items"]]
        for name, key in secrets:
            assert key in ours.get(name, ()) or f": {name}\n" in given, f"nothing provides {name}/{key}"
        for container in pod["containers"]:
            assert {"requests", "limits"} <= container["resources"].keys(), "quotas ask for both"
    for service in (d for d in documents if d["kind"] == "Service"):
        selector = service["spec"]["selector"].items()
        assert any(selector <= found.items() for found in labels.values())


def test_made_files_are_of_these_values() -> None:
    """Schema, defaults and the page of Harbor's values follow from values.yaml and harbor-values.tsv."""
    for path, text in generate.files().items():
        assert path.read_text() == text, f"{path.name} is old: python deploy/helm/generate.py"


@pytest.mark.parametrize("scenario", [*SCENARIOS, *TWO_CENTERS])
def test_settings_are_seawalls(
    helm: Helm, scenario: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the chart writes, with what its secrets would add, is what Seawall's own loader takes."""
    documents = helm.objects("-f", values(scenario))
    file = tmp_path / "seawall.yml"
    file.write_text(yaml.safe_dump(documents.config()))
    components = [name for name in PODS if documents.named("Deployment", name)]
    for component in components:
        with monkeypatch.context() as patch:
            for name, item in documents.environment(component).items():
                if name.startswith("SEAWALL_") and name != "SEAWALL_CONFIG":
                    made = '{"auth_mode": "db_auth"}' if name == "SEAWALL_CONFIGURATION" else "from-secret"
                    # The kubelet puts in the pod's address.
                    patch.setenv(name, item.get("value", made).replace("$(POD_IP)", "10.1.2.3"))
            found = load(file)
        assert found.external_url == documents.config()["external_url"]
        if component == "core":
            assert found.jobs.embedded is (components == ["core"])
        else:
            port = documents.container(component)["ports"][0]
            assert (port["name"], port["containerPort"]) == ("health", found.jobs.health_port)
        assert bool(found.redis.configured) == ("redis" in documents.config())


def test_names_of_removed_users(helm: Helm) -> None:
    assert "gdpr" not in helm.settings().config()
    config = helm.settings("core.gdpr.auditLogsCompliant=true").config()
    assert config["gdpr"] == {"audit_logs": True, "delete_user": False}
    assert helm.settings("core.gdpr.deleteUser=true").config()["gdpr"]["delete_user"] is True


def test_highly_available(helm: Helm) -> None:
    documents = helm.settings(values="ha-s3")
    core = documents.one("Deployment", "core")
    assert core["spec"]["replicas"] == 3
    assert core["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    pod = core["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert documents.one("PodDisruptionBudget", "core")["spec"]["minAvailable"] == 2
    assert documents.one("Deployment", "jobservice")["spec"]["replicas"] == 2
    assert documents.one("ServiceMonitor")["spec"]["endpoints"][0]["interval"] == "30s"
    rules = documents.one("PrometheusRule")
    assert rules["metadata"]["labels"]["release"] == "prometheus"
    folder = ROOT / "deploy" / "observability"
    assert rules["spec"] == yaml.safe_load((folder / "rules.yaml").read_text())
    place = "metrics.prometheusRule.runbooksURL=https://docs.example.com/runbooks/"
    alerts = helm.settings(place, values="ha-s3").one("PrometheusRule")["spec"]["groups"][1]["rules"]
    links = {alert["alert"]: alert["annotations"]["runbook_url"] for alert in alerts}
    assert links["SeawallDown"] == "https://docs.example.com/runbooks/SeawallDown.md"
    boards = [d for d in documents.kinds("ConfigMap") if "grafana_dashboard" in d["metadata"]["labels"]]
    texts = {name: text for board in boards for name, text in board["data"].items()}
    assert {f"seawall-{path.name}" for path in (folder / "dashboards").iterdir()} == set(texts)
    assert json.loads(texts["seawall-overview.json"])["uid"] == "seawall-overview"
    assert not [d for d in documents if d["kind"] in ("StatefulSet", "PersistentVolumeClaim")]
    # No secret of the operator's is copied into the release.
    assert not documents.one("Secret").get("data")


def test_autoscaling(helm: Helm) -> None:
    documents = helm.settings(values="ha-filesystem")
    scaler = documents.one("HorizontalPodAutoscaler", "core")
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (2, 5)
    # Not one pod until the autoscaler acts. What runs is looked up: test_helm_release.py.
    assert documents.one("Deployment", "core")["spec"]["replicas"] == 2
    assert "replicas" not in helm.settings(values="internal-tls").one("Deployment", "core")["spec"]


@pytest.mark.parametrize("component", PODS)
def test_spread(helm: Helm, component: str) -> None:
    """Pods of one revision are counted, on hosts that take pods; the operator's constraints are completed."""
    own = f"{component}.topologySpreadConstraints[0]"
    for how, unsatisfiable in (("soft", "ScheduleAnyway"), ("hard", "DoNotSchedule"), ("none", None)):
        documents = helm.settings(f"{component}.antiAffinity={how}", values="route")
        found = {item["topologyKey"]: item for item in documents.pod(component)["topologySpreadConstraints"]}
        assert found["topology.kubernetes.io/zone"]["whenUnsatisfiable"] == "ScheduleAnyway"
        assert found.get("kubernetes.io/hostname", {}).get("whenUnsatisfiable") == unsatisfiable
        for item in found.values():
            assert item["matchLabelKeys"] == ["pod-template-hash"]
            assert item["nodeTaintsPolicy"] == "Honor"
            labels = documents.one("Deployment", component)["spec"]["template"]["metadata"]["labels"]
            assert item["labelSelector"]["matchLabels"].items() <= labels.items()
            assert item["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] == component
        assert "affinity" not in documents.pod(component)
    # As Harbor's users write it: without a selector.
    documents = helm.settings(
        f"{own}.topologyKey=kubernetes.io/hostname",
        f"{own}.maxSkew=2",
        f"{own}.whenUnsatisfiable=DoNotSchedule",
        values="route",
    )
    host, zone = documents.pod(component)["topologySpreadConstraints"]
    assert (host["topologyKey"], host["maxSkew"]) == ("kubernetes.io/hostname", 2)
    assert host["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] == component
    assert zone["topologyKey"] == "topology.kubernetes.io/zone"


def test_strategy(helm: Helm) -> None:
    def of(component: str, *words: str, values: str = "route") -> Any:
        documents = helm.settings(*words, values=values)
        return documents.one("Deployment", component)["spec"]["strategy"]

    surge = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    assert of("core") == of("jobservice") == surge
    assert of("core", values="default") == {"type": "Recreate"}
    assert of("jobservice", "updateStrategy.type=Recreate") == {"type": "Recreate"}
    assert of("core", "jobservice.updateStrategy.type=Recreate") == surge
    assert of("jobservice", "jobservice.updateStrategy.type=Recreate") == {"type": "Recreate"}
    # Before matchLabelKeys an old pod keeps its host, and a surge pod may find none.
    old = helm.objects("-f", values("route"), "--kube-version", "1.26.0")
    assert old.one("Deployment", "core")["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == 0
    assert "matchLabelKeys" not in old.pod("core")["topologySpreadConstraints"][0]


def test_lost_nodes_and_hung_pods(helm: Helm) -> None:
    documents = helm.settings(values="ha-s3")
    for component in PODS:
        keys = {item["key"]: item for item in documents.pod(component)["tolerations"]}
        for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
            assert (keys[key]["effect"], keys[key]["tolerationSeconds"]) == ("NoExecute", 30)
        container = documents.container(component)
        for probe in ("livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["port"] == ("http" if component == "core" else "health")
    ready = documents.container("core")["readinessProbe"]
    assert ready["periodSeconds"] + ready["timeoutSeconds"] * ready["failureThreshold"] <= 9
    own = "core.tolerations[0].key=node.kubernetes.io/not-ready"
    documents = helm.settings(
        own, "core.tolerations[0].operator=Exists", "nodeLossSeconds=99", values="ha-s3"
    )
    found = [
        (item["key"].split("/")[1], item.get("tolerationSeconds"))
        for item in documents.pod("core")["tolerations"]
    ]
    assert found == [("not-ready", None), ("unreachable", 99)]
    # Who tolerates everything tolerates this too.
    everything = helm.settings("core.tolerations[0].operator=Exists", values="ha-s3").pod("core")[
        "tolerations"
    ]
    assert everything == [{"operator": "Exists"}]


@pytest.mark.parametrize("component", PODS)
def test_budgets(helm: Helm, component: str) -> None:
    def of(*words: str) -> Any:
        budget = [f"{component}.podDisruptionBudget.{word}" for word in words]
        spec = helm.settings(f"{component}.replicas=3", *budget, values="ha-s3").one(
            "PodDisruptionBudget", component
        )
        return {key: value for key, value in spec["spec"].items() if key != "selector"}

    assert of("minAvailable=1") == {"minAvailable": 1}
    assert of("maxUnavailable=1") == {"maxUnavailable": 1}
    assert of("maxUnavailable=50%") == {"maxUnavailable": "50%"}
    assert of("minAvailable=60%") == {"minAvailable": "60%"}
    # 67% of 3 are rounded up, to 3.
    for word in (
        "minAvailable=3",
        "minAvailable=67%",
        "minAvailable=100%",
        "maxUnavailable=0",
        "maxUnavailable=0%",
    ):
        said = helm.refusal(
            *["-f", values("ha-s3"), "--set", f"{component}.replicas=3"],
            *["--set", f"{component}.podDisruptionBudget.{word}"],
        )
        assert "no node could ever be drained" in said, word


@pytest.mark.parametrize("component", [*PODS, "database", "redis"])
def test_own_variables(helm: Helm, component: str) -> None:
    """One of the chart's name takes its place: server-side apply refuses a name that is there twice."""
    where = component if component in PODS else f"{component}.internal"
    taken = {"core": "SEAWALL_HA__ADDRESS", "jobservice": "SEAWALL_JOBS__SLOTS", "database": "POSTGRES_DB"}
    name = taken.get(component, "A")
    documents = helm.settings(
        *[f"{where}.extraEnvVars[{n}].name={key}" for n, key in enumerate(["OWN", name, name])],
        *[f"{where}.extraEnvVars[{n}].value={value}" for n, value in enumerate(["1", "2", "3"])],
    )
    found = documents.environment(component)
    assert found["OWN"]["value"] == "1"
    assert found[name] == {"name": name, "value": "3"}
    if component == "core":
        # $(POD_IP) must stand before what refers to it.
        order = list(found)
        assert order.index("POD_IP") < order.index(name)


def test_variables_are_texts(helm: Helm, tmp_path: Path) -> None:
    given = {"A": 104857600, "B": True, "C": 0.5, "D": "007", "E": ""}
    file = tmp_path / "values.yaml"
    own = [{"name": name, "value": value} for name, value in given.items()]
    file.write_text(yaml.safe_dump({"core": {"extraEnvVars": own}}))
    found = helm.objects("-f", str(file)).environment("core")
    assert [found[name]["value"] for name in given] == ["104857600", "true", "0.5", "007", ""]


@pytest.mark.parametrize("length", [35, 36, 45, 53])
def test_long_release_names(helm: Helm, length: int) -> None:
    """Pods of a StatefulSet have a label of its name and 11 characters more."""
    name = "r" * length
    result = helm.run("template", name, str(CHART))
    assert result.returncode == 0, result.stderr
    documents = [d for d in yaml.safe_load_all(result.stdout) if d]
    services = {d["metadata"]["name"] for d in documents if d["kind"] == "Service"}
    for item in documents:
        assert len(item["metadata"]["name"]) <= 63
        if item["kind"] == "StatefulSet":
            assert len(item["metadata"]["name"]) + 11 <= 63
            assert item["spec"]["serviceName"] == item["metadata"]["name"] in services
    config = next(d for d in documents if d["kind"] == "ConfigMap" and "seawall.yml" in d["data"])
    settings = yaml.safe_load(config["data"]["seawall.yml"])
    assert urlsplit(settings["database"]["url"]).hostname in services
    assert urlsplit(settings["redis"]["url"]).hostname in services


def test_authorities_are_added(helm: Helm) -> None:
    documents = helm.settings(values="internal-tls")
    assert documents.config()["ca_bundle"] == "/etc/seawall/ca"
    for component in PODS:
        (volume,) = [item for item in documents.pod(component)["volumes"] if item["name"] == "ca"]
        sources = [source["secret"] for source in volume["projected"]["sources"]]
        assert [source["name"] for source in sources] == ["company-ca", "uaa"]
        # The server reads *.crt.
        paths = [item["path"] for source in sources for item in source["items"]]
        assert len(set(paths)) == 2
        assert all(path.endswith(".crt") for path in paths)
        # Nothing in the pod replaces the public authorities.
        assert not {"SSL_CERT_FILE", "PGSSLROOTCERT"} & documents.environment(component).keys()
    assert "ca_bundle" not in helm.settings(values="default").config()


def test_internal_tls(helm: Helm) -> None:
    documents = helm.settings(values="internal-tls")
    assert documents.config()["http"]["tls_key"] == "/etc/seawall/tls/tls.key"
    (volume,) = [item for item in documents.pod("core")["volumes"] if item["name"] == "tls"]
    assert volume["secret"]["secretName"] == "core-tls"
    assert documents.container("core")["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"
    ingress = documents.one("Ingress")
    assert ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/backend-protocol"] == "HTTPS"
    backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    (port,) = documents.one("Service")["spec"]["ports"]
    assert backend["port"]["name"] == port["name"] == "https"
    made = helm.settings("internalTLS.enabled=true").one("Secret", "internal-tls")["data"]
    certificate = x509.load_pem_x509_certificate(base64.b64decode(made["tls.crt"]))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "release-seawall.registry.svc" in names.get_values_for_type(x509.DNSName)
    given = helm.settings(
        *["internalTLS.enabled=true", "internalTLS.certSource=manual", "internalTLS.core.crt=c"],
        *["internalTLS.core.key=k", "internalTLS.trustCa=t"],
    )
    assert given.one("Secret", "internal-tls")["data"] == {
        "tls.crt": "Yw==",
        "tls.key": "aw==",
        "ca.crt": "dA==",
    }


def test_route_and_dual_stack(helm: Helm) -> None:
    documents = helm.settings(values="route")
    route = documents.one("HTTPRoute")["spec"]
    assert route["hostnames"] == ["registry.example.com"]
    assert route["parentRefs"] == [{"name": "gateway", "namespace": "networking", "sectionName": "https"}]
    (backend,) = route["rules"][0]["backendRefs"]
    service = documents.one("Service", backend["name"])["spec"]
    assert backend["port"] == service["ports"][0]["port"]
    for item in documents.kinds("Service"):
        assert item["spec"]["ipFamilyPolicy"] == "PreferDualStack"
        assert item["spec"]["ipFamilies"] == ["IPv6", "IPv4"]
    assert documents.config()["http"]["host"] == "::"
    assert helm.settings(values="default").config()["http"]["host"] == "0.0.0.0"
    assert not documents.kinds("Ingress")
    named = helm.settings("expose.route.hosts[0]=a.example.com", values="route").one("HTTPRoute")
    assert named["spec"]["hostnames"] == ["a.example.com"]


@pytest.mark.parametrize(
    ("controller", "path"), [("default", "/"), ("gce", "/*"), ("ncp", "/.*"), ("f5-bigip", "/")]
)
def test_ingress_controllers(helm: Helm, controller: str, path: str) -> None:
    (rule,) = helm.settings(f"expose.ingress.controller={controller}").one("Ingress")["spec"]["rules"]
    assert rule["http"]["paths"][0]["path"] == path


def test_service_accounts(helm: Helm) -> None:
    documents = helm.settings(values="route")
    (made,) = documents.kinds("ServiceAccount")
    assert made["metadata"]["annotations"]["eks.amazonaws.com/role-arn"]
    assert documents.pod("core")["serviceAccountName"] == made["metadata"]["name"]
    assert documents.pod("jobservice")["serviceAccountName"] == "workers"


def test_object_stores(helm: Helm) -> None:
    s3 = helm.settings(values="internal-tls").config()["storage"]["s3"]
    assert (s3["storageclass"], s3["encrypt"]) == ("STANDARD_IA", True)
    documents = helm.settings(values="route")
    storage = documents.config()["storage"]
    assert storage["driver"] == "s3"
    assert storage["s3"] | {"rootdirectory": ""} == {
        "bucket": "seawall", "region": "oss-cn-hangzhou", "forcepathstyle": False, "rootdirectory": "",
        "regionendpoint": "https://s3.oss-cn-hangzhou.aliyuncs.com",
    }  # fmt: skip
    base = "persistence.imageChartStorage"
    named = [f"{base}.oss.region=oss-cn-hangzhou", f"{base}.oss.endpoint=seawall.oss.example.com"]
    found = helm.settings(*named, values="route").config()["storage"]["s3"]
    assert (found["region"], found["regionendpoint"]) == ("oss-cn-hangzhou", "https://oss.example.com")
    kept = helm.settings(f"{base}.oss.existingSecret=oss", f"{base}.oss.internal=true", values="route")
    assert (
        kept.config()["storage"]["s3"]["regionendpoint"] == "https://s3.oss-cn-hangzhou-internal.aliyuncs.com"
    )
    key = kept.environment("core")["SEAWALL_STORAGE__S3__SECRETKEY"]["valueFrom"]["secretKeyRef"]
    assert key == {"name": "oss", "key": "REGISTRY_STORAGE_OSS_ACCESSKEYSECRET"}
    azure = helm.settings(f"{base}.azure.realm=core.chinacloudapi.cn", values="azure-clusterip").config()
    assert azure["storage"]["azure"]["endpoint"] == "https://account.blob.core.chinacloudapi.cn"


@pytest.mark.parametrize(
    ("root", "mount"), [("/storage", "/storage"), ("/storage/a", "/storage"), ("/data/blobs/", "/data/blobs")]
)
def test_blobs_are_in_the_volume(helm: Helm, root: str, mount: str) -> None:
    documents = helm.settings(f"persistence.imageChartStorage.filesystem.rootdirectory={root}")
    found = [m["mountPath"] for m in documents.container("core")["volumeMounts"] if m["name"] == "registry"]
    assert found == [mount]
    assert documents.config()["storage"]["root"] == root


def test_migration_hook(helm: Helm) -> None:
    documents = helm.settings(values="route")
    job = documents.one("Job", "migrate")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-upgrade"
    pod = job["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert container["args"] == ["migrate"]
    # It has settings of its own: those of the release are the last version's until the hook has ended.
    config = documents.one("ConfigMap", "migrate")
    assert config["metadata"]["annotations"]["helm.sh/hook-weight"] == "-1"
    assert config["data"]["seawall.yml"] == documents.one("ConfigMap")["data"]["seawall.yml"]
    # So are its secrets: a key that is new, or another password, comes after the hook.
    secret = documents.one("Secret", "migrate")
    assert secret["metadata"]["annotations"] == config["metadata"]["annotations"]
    assert secret["data"].keys() == {"databasePassword"}
    environment = {item["name"]: item for item in container["env"]}
    assert environment.keys() == {"SEAWALL_CONFIG", "PGPASSWORD"}
    reference = {"name": secret["metadata"]["name"], "key": "databasePassword"}
    assert environment["PGPASSWORD"]["valueFrom"]["secretKeyRef"] == reference
    given = helm.settings("enableMigrateHelmHook=true", values="ha-s3")
    assert not given.named("Secret", "migrate")
    (container,) = given.one("Job", "migrate")["spec"]["template"]["spec"]["containers"]
    (password,) = [item for item in container["env"] if item["name"] == "PGPASSWORD"]
    assert password["valueFrom"]["secretKeyRef"]["key"] == "password"
    assert pod["metadata"]["labels"]["app.kubernetes.io/component"] in str(
        documents.one("NetworkPolicy", "database")["spec"]["ingress"]
    )
    assert not helm.settings().kinds("Job")


def test_gitops_makes_nothing_at_random(helm: Helm) -> None:
    """Argo CD renders again and again, and sees no cluster."""
    scenario = values("internal-tls")
    first = helm.template("-f", scenario)
    assert helm.template("-f", scenario) == first
    for word, value in (
        ("masterKey=", "masterKey or existingSecretMasterKey"),
        ("harborAdminPassword=", "harborAdminPassword or existingSecretAdminPassword"),
        ("database.internal.password=", "database.internal.password"),
        ("expose.tls.certSource=auto", "expose.tls.certSource secret or none"),
        ("internalTLS.certSource=auto", "internalTLS.certSource secret or manual"),
    ):
        assert value in helm.refusal("-f", scenario, "--set", word)


def test_helms_test(helm: Helm) -> None:
    for scenario, url in (
        ("default", "http://release-seawall:80"),
        ("internal-tls", "https://release-seawall:443"),
        ("gcs-nodeport", "https://seawall:443"),
        ("harbor-values", "https://harbor:443"),
        ("azure-clusterip", "http://seawall:80"),
    ):
        documents = helm.settings(values=scenario)
        pod = documents.one("Pod", "test")
        assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
        environment = {item["name"]: item for item in pod["spec"]["containers"][0]["env"]}
        assert environment["SEAWALL_TEST_URL"]["value"] == url
        config = documents.one("ConfigMap", "test")["data"]
        assert config["push_and_pull.py"].strip() == SCRIPT.read_text().strip()


def test_harbors_names(helm: Helm) -> None:
    documents = helm.settings(values="harbor-values")
    assert documents.one("Deployment", "core")["spec"]["replicas"] == 3
    service = documents.one("Service", "harbor")
    assert service["spec"]["type"] == "LoadBalancer"
    assert service["spec"]["loadBalancerIP"] == "192.0.2.10"
    assert service["spec"]["ports"][0]["port"] == 443
    data = documents.one("Secret")["data"]
    plain = {key: base64.b64decode(value).decode() for key, value in data.items()}
    assert plain["HARBOR_ADMIN_PASSWORD"] == "Harbor12345"
    assert plain["secretKey"] == "not-a-secure-key"
    assert plain["databasePassword"] == "pass/word@1"
    assert "pass/word@1" not in json.dumps(documents.config())
    assert documents.config()["http"]["tls_key"] == "/etc/seawall/tls/tls.key"


def test_harbors_images_are_not_used(helm: Helm) -> None:
    names = [f"{part}.internal.image.repository" for part in ("database", "redis")]
    text = helm.template(
        *[
            "--set",
            f"{names[0]}=mirror.example.com/goharbor/harbor-db",
            "--set",
            f"{names[1]}=goharbor/redis-photon",
        ]
    )
    assert "goharbor/" not in text
    assert "image: postgres:17" in text
    assert "image: redis:7" in text
    assert 'seawall/ignored-values: "database.internal.image, redis.internal.image"' in text


@pytest.mark.parametrize("scenario", ["ha-s3", "gcs-nodeport", "azure-clusterip", "default"])
def test_authority_of_the_object_store(helm: Helm, scenario: str) -> None:
    """S3 has one of its own; the other stores look at those that all connections trust."""
    name = "persistence.imageChartStorage.caBundleSecretName=store-ca"
    documents = helm.settings(name, values=scenario)
    config = documents.config()
    for component in (name for name in PODS if documents.named("Deployment", name)):
        volumes = {item["name"]: item for item in documents.pod(component)["volumes"]}
        assert ("storage-ca" in volumes) is (scenario == "ha-s3")
        if scenario == "ha-s3":
            assert volumes["storage-ca"]["secret"]["secretName"] == "store-ca"
            assert config["storage"]["s3"]["cacert"] == "/etc/seawall/storage-ca/ca.crt"
        elif scenario != "default":
            assert "store-ca" in str(volumes["ca"])
            assert config["ca_bundle"] == "/etc/seawall/ca"


def test_jobs_end_within_the_grace_period(helm: Helm) -> None:
    def of(*words: str) -> Any:
        return helm.settings(*words).config().get("jobs", {}).get("drain_seconds")

    assert of() == 45
    assert of("jobservice.terminationGracePeriodSeconds=600") == 585
    assert of("jobservice.terminationGracePeriodSeconds=600", "config.jobs.drain_seconds=99") == 99
    # They run in core then.
    assert of("jobservice.replicas=0") is None


def test_user_of_redis(helm: Helm) -> None:
    """Of the values, as Harbor's charts have it, or of the secret."""
    base = ["redis.type=external", "redis.external.addr=r:6379", "redis.external.existingSecret=s"]
    found = helm.settings(*base, "redis.external.username=acl").environment("core")
    assert found["SEAWALL_REDIS__USERNAME"]["value"] == "acl"
    found = helm.settings(*base).environment("core")
    assert found["SEAWALL_REDIS__USERNAME"]["valueFrom"]["secretKeyRef"]["key"] == "REDIS_USERNAME"


def test_names_in_the_database_url(helm: Helm) -> None:
    names = ["database.external.username=a b@c", "database.external.coreDatabase=x/y"]
    url = helm.settings("database.type=external", r"database.external.host=h\,[fd00::1]", *names).config()
    assert url["database"]["url"] == "postgresql://a%20b%40c@h:5432,[fd00::1]:5432/x%2Fy?sslmode=disable"


def test_storage_encryption_and_authority(helm: Helm) -> None:
    storage = "persistence.imageChartStorage"
    documents = helm.settings(
        *[f"{storage}.type=s3", f"{storage}.s3.bucket=b", f"{storage}.s3.encrypt=true", "caSecretName=my-ca"]
    )
    settings = documents.config()
    assert settings["storage"]["s3"]["encrypt"] is True
    assert settings["ca_download"] == "/etc/seawall/ca-download"
    for component in ("core", "jobservice"):
        pod = documents.pod(component)
        (volume,) = [item for item in pod["volumes"] if item["name"] == "ca-download"]
        assert volume["secret"]["secretName"] == "my-ca"
        (mount,) = [item for item in pod["containers"][0]["volumeMounts"] if item["name"] == "ca-download"]
        assert mount["mountPath"] == settings["ca_download"]


def test_made_keys_are_good(helm: Helm) -> None:
    documents = helm.settings(values="default")
    data = documents.one("Secret")["data"]
    assert len(base64.b64decode(base64.b64decode(data["masterKey"]))) == 32
    again = helm.objects("--set", "logLevel=debug").one("Secret")["data"]
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
        (["persistence.imageChartStorage.type=gcs", "persistence.imageChartStorage.gcs.bucket=b"], "no key"),
        (["persistence.imageChartStorage.type=azure"], "azure.container or accountname is empty"),
        (
            [f"persistence.imageChartStorage.{word}" for word in ("type=azure", "azure.container=c")]
            + ["persistence.imageChartStorage.azure.accountname=a"],
            "azure.existingSecret or accountkey",
        ),
        (["expose.tls.certSource=secret"], "secret.secretName is empty"),
        (["expose.type=nodePort"], "commonName is needed"),
        (["expose.type=clusterIP", "expose.tls.certSource=none"], "is for expose.type ingress"),
        (["core.tokenKey=x"], "given together"),
        (["core.replica=2"], "replica"),
        (["database.type=mysql"], "database"),
        (["externalURL=registry.example.com"], "externalURL"),
        (["secretKey=short"], "secretKey"),
        (["persistence.imageChartStorage.type=swift"], "use type s3"),
        (["persistence.imageChartStorage.type=oss"], "oss.bucket or region is empty"),
        (
            [f"persistence.imageChartStorage.{word}" for word in ("type=oss", "oss.bucket=b", "oss.region=r")]
            + ["persistence.imageChartStorage.oss.existingSecret=s"],
            "oss.accesskeyid",
        ),
        (["persistence.imageChartStorage.filesystem.rootdirectory=/etc/x"], "hide the image's own files"),
        (["database.type=embedded", "persistence.imageChartStorage.filesystem.rootdirectory=/a"], "/storage"),
        (["core.configureUserSettings=auth_mode: db_auth"], "not a JSON object"),
        (["metrics.token=short"], "token"),
        (
            ["database.type=external", "database.external.host=d", "database.external.sslmode=verify-ca"],
            "caBundleSecretName",
        ),
        (["expose.type=route"], "parentRefs names no gateway"),
        (
            ["expose.type=route", "expose.route.parentRefs[0].name=g", "internalTLS.enabled=true"],
            "BackendTLS",
        ),
        (["internalTLS.enabled=true", "internalTLS.certSource=secret"], "core.secretName is empty"),
        (["internalTLS.enabled=true", "internalTLS.certSource=manual"], "core.crt or key is empty"),
        (["ipFamily.ipv4.enabled=false", "ipFamily.ipv6.enabled=false"], "both false"),
        (["ipFamily.ipv6.enabled=false", "ipFamily.families={IPv6}"], "would not listen"),
        (["core.livenessProbe.periodSecond=1"], "periodSecond"),
        (["trivy.enabledd=true"], "enabledd"),
        (["registry.upload_purging.age=2d"], "age"),
        (["core.podDisruptionBudget.maxUnavailable=x"], "maxUnavailable"),
    ],
)
def test_refused(helm: Helm, arguments: list[str], said: str) -> None:
    assert said in helm.refusal(*[item for argument in arguments for item in ("--set", argument)])
