"""A release over its life: installed, upgraded, uninstalled and installed again, by helm itself."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from tests.support.deploy.helm import CHART, Helm
from tests.support.deploy.kubernetes import Kubernetes

HOST = "externalURL=https://registry.example.com"


class Release:
    """A release named `release` in namespace `registry` of one cluster."""

    def __init__(self, helm: Helm, kubernetes: Kubernetes) -> None:
        self._helm = helm
        self.kubernetes = kubernetes

    def do(self, verb: str, *words: str, chart: Path = CHART, flags: tuple[str, ...] = ()) -> str:
        """`helm install`, `upgrade` or `uninstall` with `--set` words; what it printed."""
        result = self._run(verb, words, chart, flags)
        assert result.returncode == 0, result.stderr
        return str(result.stdout)

    def refused(self, verb: str, *words: str) -> str:
        """Why helm does not."""
        result = self._run(verb, words, CHART, ())
        assert result.returncode != 0, result.stdout
        return str(result.stderr)

    def _run(self, verb: str, words: tuple[str, ...], chart: Path, flags: tuple[str, ...]) -> Any:
        arguments = [verb, "release", "--namespace", "registry", *flags]
        if verb != "uninstall":
            arguments += [str(chart), "--disable-openapi-validation"]
            arguments += [word for item in words for word in ("--set", item)]
        return self._helm.run(*arguments, kubeconfig=self.kubernetes.kubeconfig)

    def secret(self, name: str = "release-seawall") -> dict[str, str]:
        """A secret's content."""
        data: dict[str, str] = self.kubernetes.get("Secret", name)["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def deployment(self, component: str = "core") -> dict[str, Any]:
        """`spec` of a Deployment."""
        spec: dict[str, Any] = self.kubernetes.get("Deployment", f"release-seawall-{component}")["spec"]
        return spec

    def claim_of_database(self) -> None:
        """What the controller of the StatefulSet makes, and nobody deletes."""
        name = "data-release-seawall-database-0"
        claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": {}}
        self.kubernetes.put(claim)


@pytest.fixture
def release(helm: Helm, tmp_path: Path) -> Iterator[Release]:
    with Kubernetes(tmp_path) as kubernetes:
        yield Release(helm, kubernetes)


def test_uninstalled_and_installed_again(release: Release) -> None:
    """The claims stay, and what opens them stays too."""
    release.do("install")
    release.claim_of_database()
    before, tls = release.secret(), release.secret("release-seawall-tls")
    assert before.keys() == {"masterKey", "HARBOR_ADMIN_PASSWORD", "databasePassword"}
    kept = release.do("uninstall")
    assert "[Secret] release-seawall" in kept
    assert release.kubernetes.names("Secret") == ["release-seawall", "release-seawall-tls"]
    assert release.kubernetes.names("PersistentVolumeClaim") == [
        "data-release-seawall-database-0",
        "release-seawall-registry",
    ]
    assert not release.kubernetes.names("Deployment")
    release.do("install")
    assert release.secret() == before
    assert release.secret("release-seawall-tls") == tls


def test_a_certificate_for_another_name(release: Release) -> None:
    release.do("install")
    first = release.secret("release-seawall-tls")
    release.do("upgrade", "logLevel=debug")
    assert release.secret("release-seawall-tls") == first
    release.do("upgrade", "expose.ingress.hosts.core=other.example.com")
    second = release.secret("release-seawall-tls")
    names = (
        x509.load_pem_x509_certificate(second["tls.crt"].encode())
        .extensions.get_extension_for_class(x509.SubjectAlternativeName)
        .value.get_values_for_type(x509.DNSName)
    )
    assert names == ["other.example.com"]
    release.do("upgrade", "expose.ingress.hosts.core=other.example.com", "logLevel=debug")
    assert release.secret("release-seawall-tls") == second
    # A chart that did not write the names down made this one.
    del release.kubernetes.get("Secret", "release-seawall-tls")["metadata"]["annotations"]["seawall/hosts"]
    release.do("upgrade", "expose.ingress.hosts.core=third.example.com")
    assert release.secret("release-seawall-tls") == second


def test_a_database_without_its_secret(release: Release) -> None:
    release.do("install")
    release.claim_of_database()
    before = release.secret()
    release.do("uninstall")
    release.kubernetes.delete("Secret", "release-seawall")
    said = release.refused("install")
    assert "data-release-seawall-database-0 holds the database of a former installation" in said
    assert "give masterKey and database.internal.password as they were" in said
    assert "delete pvc data-release-seawall-database-0" in said
    given = [f"masterKey={before['masterKey']}", f"database.internal.password={before['databasePassword']}"]
    assert "give database.internal.password as they were" in release.refused("install", given[0])
    release.do("install", *given)
    after = release.secret()
    assert (after["masterKey"], after["databasePassword"]) == (
        before["masterKey"],
        before["databasePassword"],
    )


def test_the_embedded_registry_without_its_secret(release: Release) -> None:
    words = ["database.type=embedded", "redis.type=none"]
    release.do("install", *words)
    release.do("uninstall")
    release.kubernetes.delete("Secret", "release-seawall")
    assert "release-seawall-registry holds the database" in release.refused("install", *words)


def test_another_key_than_before(release: Release) -> None:
    release.do("install")
    other = base64.b64encode(bytes(32)).decode()
    said = release.refused("upgrade", f"masterKey={other}")
    assert "masterKey is not the one in secret release-seawall" in said
    assert "kubectl -n registry patch secret release-seawall" in said
    assert "ALTER USER seawall" in release.refused("upgrade", "database.internal.password=another")
    release.do("upgrade", f"masterKey={release.secret()['masterKey']}")


def test_the_secret_of_a_release_that_runs(release: Release) -> None:
    """Gone, or elsewhere before: a new key would not open the database, wherever that is."""
    external = ["database.type=external", "database.external.host=db", "database.external.existingSecret=db"]
    release.do("install", *external)
    before = release.secret()
    release.kubernetes.delete("Secret", "release-seawall")
    said = release.refused("upgrade", *external)
    assert "a master key that is not in secret release-seawall" in said
    release.do("upgrade", *external, f"masterKey={before['masterKey']}")
    release.do("upgrade", *external, "existingSecretMasterKey=elsewhere")
    assert "masterKey" not in release.secret()
    assert "give masterKey or existingSecretMasterKey" in release.refused("upgrade", *external)


def test_what_restarts_pods(release: Release) -> None:
    """A changed secret does, the chart's own or the operator's; an upgrade that changes nothing does not."""
    external = [
        *["database.type=external", "database.external.host=db", "database.external.existingSecret=db"],
        *["redis.type=external", "redis.external.addr=redis:6379", "redis.external.password=one"],
        "caBundleSecretName=authorities",
    ]

    def keep(name: str, value: str) -> None:
        release.kubernetes.put(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {"x": value}}
        )

    def pods() -> list[Any]:
        return [release.deployment(component)["template"] for component in ("core", "jobservice")]

    keep("db", "b25l")
    release.do("install", *external)
    last = pods()
    release.do("upgrade", *external)
    assert pods() == last
    for secret, word in (
        ("db", ""),
        ("authorities", ""),
        ("", "redis.external.password=two"),
        ("", "secretKey=0123456789abcdef"),
        ("", "logLevel=debug"),
    ):
        if secret:
            keep(secret, "dHdv")
        else:
            external.append(word)
        release.do("upgrade", *external)
        assert all(new != old for new, old in zip(pods(), last, strict=True))
        last = pods()
    checksum = last[0]["metadata"]["annotations"]["checksum/secrets"]
    assert len(checksum) == 64


def test_replicas_beside_an_autoscaler(release: Release) -> None:
    """Three replicas stay three when autoscaling is turned on, and what the autoscaler did is not undone."""
    words = [
        "persistence.persistentVolumeClaim.registry.accessMode=ReadWriteMany",
        *["core.replicas=3", "jobservice.replicas=2"],
    ]
    release.do("install", *words)
    scaled = [*words, "core.autoscaling.enabled=true", "jobservice.autoscaling.enabled=true"]
    release.do("upgrade", *scaled)
    assert (release.deployment()["replicas"], release.deployment("jobservice")["replicas"]) == (3, 2)
    for now, wanted in ((5, 5), (1, 2), (9, 6)):
        release.deployment()["replicas"] = now
        release.do("upgrade", *scaled, "logLevel=debug")
        assert release.deployment()["replicas"] == wanted, now


def test_values_of_an_older_chart(release: Release, tmp_path: Path) -> None:
    """`--reuse-values` brings the defaults of the chart that was installed, which lack what is new."""
    old = tmp_path / "old"
    shutil.copytree(CHART, old)
    known = yaml.safe_load((old / "values.yaml").read_text())
    for name in ("ipFamily", "internalTLS", "gitops", "nodeLossSeconds", "test", "updateStrategy"):
        del known[name]
    for name in ("livenessProbe", "readinessProbe", "serviceAccount", "notification", "updateStrategy"):
        del known["jobservice"][name]
    del known["registry"]["upload_purging"], known["expose"]["route"], known["proxy"]["components"]
    (old / "values.yaml").write_text(yaml.safe_dump(known))
    release.do("install", HOST, "core.workers=3", chart=old)
    before = release.kubernetes.get("ConfigMap", "release-seawall")["data"]
    release.do("upgrade", "logLevel=info", flags=("--reuse-values",))
    assert release.kubernetes.get("ConfigMap", "release-seawall")["data"] == before
    assert "workers: 3" in before["seawall.yml"]
    probe = release.deployment("jobservice")["template"]["spec"]["containers"][0]["livenessProbe"]
    assert probe["failureThreshold"] == 6


def test_null_is_the_default(helm: Helm) -> None:
    for word in ("core.replicas", "core", "registry", "proxy.noProxy", "imagePullSecrets", "redis.internal"):
        found = helm.objects("--set", f"{word}=null")
        assert found.one("Deployment", "core")["spec"]["replicas"] == 1, word


def test_notes_say_that_all_clients_share_an_address(helm: Helm) -> None:
    def notes(*words: str) -> str:
        options = [item for word in (HOST, *words) for item in ("--set", word)]
        return str(helm.run("install", "release", str(CHART), "--dry-run=client", *options).stdout)

    assert "trustedProxies is empty" in notes()
    assert "trustedProxies is empty" not in notes("trustedProxies={10.42.0.0/16}")
    assert "trustedProxies is empty" not in notes("expose.type=loadBalancer")
    # The host of the ingress is left as it was.
    assert "expose.ingress.hosts.core" not in notes()
    assert "clients are sent to other.example.com" in notes("externalURL=https://other.example.com:8443")
