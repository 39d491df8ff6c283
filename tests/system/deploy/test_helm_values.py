"""Each value of values.yaml does something.

A few renderings have every value set to a text or number of its own, which must be found in the manifests.
The others (switches, choices) are changed one by one, and the manifests must change.
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from tests.support.deploy.helm import Helm, Objects, generate

MASTER = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
LEAVES = {".".join(path): value for path, value in generate.leaves(generate.defaults())}
STORE = "persistence.imageChartStorage"
CLAIMS = "persistence.persistentVolumeClaim"
# Alternatives of which one hides the other, and values whose form is given: "" is the default here.
PLAIN = {
    "existingSecretMasterKey": "",
    "existingSecretSecretKey": "",
    "existingSecretAdminPassword": "",
    "core.secretName": "",
    "core.existingXsrfSecret": "",
    "database.external.existingSecret": "",
    "redis.external.existingSecret": "",
    f"{STORE}.s3.existingSecret": "",
    f"{STORE}.gcs.existingSecret": "",
    f"{STORE}.azure.existingSecret": "",
    f"{STORE}.oss.existingSecret": "",
    "redis.external.sentinelMasterSet": "",
    f"{CLAIMS}.registry.existingClaim": "",
    f"{CLAIMS}.database.existingClaim": "",
    f"{CLAIMS}.redis.existingClaim": "",
    "masterKey": MASTER,
    "secretKey": "0123456789abcdef",
    "core.configureUserSettings": '{"auth_mode": "mode-of-ours"}',
    "core.xsrfKey": "0123456789abcdef0123456789abcdef",
    "externalURL": "https://host-of-ours",
    f"{STORE}.filesystem.rootdirectory": "/storage/root-of-ours",
    "core.podDisruptionBudget.maxUnavailable": "",
    "jobservice.podDisruptionBudget.maxUnavailable": "",
    "core.serviceAccountName": "",
    "core.replicas": 9,
    "jobservice.replicas": 9,
    "core.autoscaling.minReplicas": 12,
    "core.autoscaling.maxReplicas": 13,
    "jobservice.autoscaling.minReplicas": 14,
    "jobservice.autoscaling.maxReplicas": 15,
    "core.autoscaling.targetCPUUtilizationPercentage": 81,
    "jobservice.autoscaling.targetCPUUtilizationPercentage": 82,
    "core.podDisruptionBudget.minAvailable": 3,
    "jobservice.podDisruptionBudget.minAvailable": 4,
    "database.maxOpenConns": 83,
    "registry.replicas": 1,
    "portal.replicas": 1,
    "expose.tls.certSource": "secret",
    "updateStrategy.type": "",
    "ipFamily.policy": "RequireDualStack",
    f"{STORE}.s3.chunksize": "5300001",
    f"{STORE}.gcs.chunksize": "5300002",
    f"{CLAIMS}.registry.accessMode": "ReadWriteMany",
    "core.updateStrategy": {},
    "jobservice.updateStrategy": {},
    "internalTLS.certSource": "manual",
    "expose.ingress.controller": "default",
    "core.terminationGracePeriodSeconds": 171,
    "jobservice.terminationGracePeriodSeconds": 172,
    "redis.external.coreDatabaseIndex": "11",
    "redis.internal.coreDatabaseIndex": "12",
    "ipFamily.families": ["IPv6", "IPv4"],
    "networkPolicy.ingressFrom": [{"namespaceSelector": {"matchLabels": {"x": "networkPolicy.ingressFrom"}}}],
    "database.external.port": "5499",
    f"{STORE}.gcs.encodedkey": "a2V5LW9mLW91cnM=",
    "jobservice.loggerSweeperDuration": "1061",
    "metrics.existingSecret": "",
    "trace.provider": "otel",
    "trace.sample_rate": 0.4321,
    "trace.otel.url_path": "/path-of-ours",
    "trace.otel.timeout": 271,
    "trace.jaeger.endpoint": "http://jaeger-of-ours:4318",
    "jobservice.notification.webhook_job_http_client_timeout": "1062",
}
ON = {
    "metrics.serviceMonitor.enabled": True,
    "metrics.prometheusRule.enabled": True,
    "metrics.dashboards.enabled": True,
    "kubelet.enabled": True,
    "enableMigrateHelmHook": True,
    "trace.enabled": True,
    "core.serviceAccount.create": True,
    f"{STORE}.s3.encrypt": True,
}
# What each rendering is about.
RENDERINGS: dict[str, dict[str, Any]] = {
    "bundled": {
        "core.accelerate.enabled": True,
        "core.autoscaling.enabled": True,
        "jobservice.autoscaling.enabled": True,
        "internalTLS.enabled": True,
        "jobservice.serviceAccountName": "",
        "jobservice.serviceAccount.create": True,
    },
    "s3": {
        "expose.type": "loadBalancer",
        "database.type": "external",
        "redis.type": "external",
        f"{STORE}.type": "s3",
        "existingSecretMasterKey": "existingSecretMasterKey",
        "core.secretName": "core.secretName",
        "existingSecretSecretKey": "existingSecretSecretKey",
        "core.serviceAccountName": "core.serviceAccountName",
        "redis.external.sentinelMasterSet": "redis.external.sentinelMasterSet",
        "core.replicas": 33,
        "core.podDisruptionBudget.maxUnavailable": 7,
        "jobservice.podDisruptionBudget.maxUnavailable": 8,
        "jobservice.replicas": 34,
        "core.updateStrategy": {"type": "core.updateStrategy"},
        "jobservice.updateStrategy": {"type": "jobservice.updateStrategy"},
    },
    "s3 with secrets": {
        "expose.type": "loadBalancer",
        "database.type": "external",
        "redis.type": "external",
        f"{STORE}.type": "s3",
        "existingSecretAdminPassword": "existingSecretAdminPassword",
        "expose.tls.enabled": False,
        "core.existingXsrfSecret": "core.existingXsrfSecret",
        f"{STORE}.s3.existingSecret": f"{STORE}.s3.existingSecret",
        "database.external.existingSecret": "database.external.existingSecret",
        "portal.replicas": 36,
        "metrics.existingSecret": "metrics.existingSecret",
        "trace.provider": "jaeger",
        "redis.external.existingSecret": "redis.external.existingSecret",
    },
    "gcs": {
        "expose.type": "nodePort",
        f"{STORE}.type": "gcs",
        f"{CLAIMS}.database.existingClaim": "claim-of-database",
        f"{CLAIMS}.redis.existingClaim": "claim-of-redis",
        "expose.tls.enabled": False,
        "registry.replicas": 35,
    },
    "gcs with secrets": {
        "expose.type": "nodePort",
        f"{STORE}.type": "gcs",
        "expose.tls.certSource": "auto",
        f"{STORE}.gcs.existingSecret": f"{STORE}.gcs.existingSecret",
        "expose.tls.auto.commonName": "name-of-ours",
    },
    "azure": {"expose.type": "clusterIP", f"{STORE}.type": "azure"},
    "azure with secrets": {
        "expose.type": "clusterIP",
        "expose.tls.enabled": False,
        f"{STORE}.type": "azure",
        f"{STORE}.azure.existingSecret": f"{STORE}.azure.existingSecret",
    },
    "oss": {"expose.type": "route", f"{STORE}.type": "oss"},
    "oss with secrets": {
        "expose.type": "route",
        f"{STORE}.type": "oss",
        f"{STORE}.oss.endpoint": "",
        f"{STORE}.oss.existingSecret": f"{STORE}.oss.existingSecret",
        "internalTLS.enabled": False,
    },
    "claim": {
        f"{CLAIMS}.registry.existingClaim": "claim-of-registry",
        "internalTLS.enabled": True,
        "internalTLS.certSource": "secret",
    },
}
OSS = {
    f"{STORE}.{name}": "b" for name in ("oss.bucket", "oss.region", "oss.accesskeyid", "oss.accesskeysecret")
}
OSS[f"{STORE}.type"] = "oss"
# (what it is changed to, what else must be so) of values that no text or number shows.
SWITCHES: dict[str, tuple[Any, dict[str, Any]]] = {
    "expose.type": ("clusterIP", {}),
    "expose.loadBalancer.externalTrafficPolicy": ("Local", {"expose.type": "loadBalancer"}),
    "expose.nodePort.externalTrafficPolicy": ("Local", {"expose.type": "nodePort"}),
    "core.accelerate.enabled": (True, {}),
    "core.gdpr.auditLogsCompliant": (True, {}),
    "core.gdpr.deleteUser": (True, {}),
    "expose.tls.enabled": (False, {}),
    "expose.tls.certSource": ("none", {}),
    "expose.ingress.controller": ("gce", {}),
    "gitops": (True, {"core.autoscaling.enabled": True, f"{CLAIMS}.registry.accessMode": "ReadWriteMany"}),
    "ipFamily.ipv6.enabled": (False, {"ipFamily.policy": "PreferDualStack"}),
    "ipFamily.ipv4.enabled": (False, {}),
    "persistence.enabled": (False, {f"{STORE}.type": "s3", f"{STORE}.s3.bucket": "b"}),
    "persistence.resourcePolicy": ("", {}),
    f"{CLAIMS}.registry.accessMode": ("ReadWriteMany", {}),
    f"{CLAIMS}.database.accessMode": ("ReadWriteOncePod", {}),
    f"{CLAIMS}.redis.accessMode": ("ReadWriteOncePod", {}),
    f"{STORE}.disableredirect": (True, {f"{STORE}.type": "s3", f"{STORE}.s3.bucket": "b"}),
    f"{STORE}.type": ("s3", {f"{STORE}.s3.bucket": "b"}),
    f"{STORE}.s3.forcepathstyle": (False, {f"{STORE}.type": "s3", f"{STORE}.s3.bucket": "b"}),
    f"{STORE}.s3.secure": (
        False,
        {f"{STORE}.type": "s3", f"{STORE}.s3.bucket": "b", f"{STORE}.s3.regionendpoint": "h:9000"},
    ),
    f"{STORE}.s3.encrypt": (True, {f"{STORE}.type": "s3", f"{STORE}.s3.bucket": "b"}),
    f"{STORE}.s3.skipverify": (True, {f"{STORE}.type": "s3", f"{STORE}.s3.bucket": "b"}),
    f"{STORE}.gcs.useWorkloadIdentity": (
        True,
        {f"{STORE}.type": "gcs", f"{STORE}.gcs.bucket": "b", f"{STORE}.gcs.encodedkey": "a2V5"},
    ),
    f"{STORE}.oss.internal": (
        True,
        OSS,
    ),
    f"{STORE}.oss.secure": (
        False,
        OSS,
    ),
    f"{STORE}.oss.encrypt": (
        True,
        OSS,
    ),
    "imagePullPolicy": ("Never", {}),
    "logLevel": ("error", {}),
    "proxy.components": ([], {"proxy.httpProxy": "http://p"}),
    "internalTLS.enabled": (True, {"internalTLS.certSource": "secret", "internalTLS.core.secretName": "x"}),
    "internalTLS.certSource": ("secret", {"internalTLS.enabled": True, "internalTLS.core.secretName": "x"}),
    "updateStrategy.type": ("Recreate", {f"{CLAIMS}.registry.accessMode": "ReadWriteMany"}),
    "enableMigrateHelmHook": (True, {}),
    "core.antiAffinity": ("hard", {}),
    "jobservice.antiAffinity": ("none", {}),
    "core.startupProbe.enabled": (False, {}),
    "registry.upload_purging.enabled": (False, {}),
    "registry.upload_purging.dryrun": (True, {}),
    "registry.upload_purging.age": ("77h", {}),
    "core.automountServiceAccountToken": (True, {}),
    "jobservice.automountServiceAccountToken": (True, {}),
    "database.internal.automountServiceAccountToken": (True, {}),
    "redis.internal.automountServiceAccountToken": (True, {}),
    "core.serviceAccount.create": (True, {}),
    "jobservice.serviceAccount.create": (True, {}),
    **{
        f"{name}.podDisruptionBudget.enabled": (
            False,
            {f"{CLAIMS}.registry.accessMode": "ReadWriteMany", f"{name}.replicas": 2},
        )
        for name in ("core", "jobservice")
    },
    **{
        f"{name}.autoscaling.enabled": (True, {f"{CLAIMS}.registry.accessMode": "ReadWriteMany"})
        for name in ("core", "jobservice")
    },
    "database.type": ("embedded", {"redis.type": "none"}),
    "database.external.sslmode": ("require", {"database.type": "external", "database.external.host": "h"}),
    "redis.type": ("none", {}),
    "redis.external.tlsOptions.enable": (True, {"redis.type": "external", "redis.external.addr": "h:1"}),
    "metrics.enabled": (False, {}),
    "metrics.serviceMonitor.enabled": (True, {}),
    "metrics.prometheusRule.enabled": (True, {}),
    "metrics.dashboards.enabled": (True, {}),
    "kubelet.enabled": (True, {}),
    "networkPolicy.enabled": (False, {}),
    "trace.enabled": (True, {"trace.otel.endpoint": "h:4318"}),
    "trace.provider": ("jaeger", {"trace.enabled": True, "trace.otel.endpoint": "h:4318"}),
    "trace.otel.insecure": (False, {"trace.enabled": True, "trace.otel.endpoint": "h:4318"}),
    "trace.otel.compression": (True, {"trace.enabled": True, "trace.otel.endpoint": "h:4318"}),
}


def tree(values: dict[str, Any]) -> dict[str, Any]:
    """Nested values from dotted names."""
    root: dict[str, Any] = {}
    for name, value in values.items():
        *heads, last = name.split(".")
        node = root
        for head in heads:
            node = node.setdefault(head, {})
        node[last] = value
    return root


def marks() -> dict[str, Any]:
    """A value that nothing else has, for each that may have any text, number, list or mapping."""
    found: dict[str, Any] = {}
    for number, (name, default) in enumerate(sorted(LEAVES.items())):
        last = name.rpartition(".")[2]
        if isinstance(default, bool) or name in SWITCHES:
            continue
        if isinstance(default, int):
            found[name] = 6000 + number
        elif isinstance(default, str):
            found[name] = name
        elif isinstance(default, dict):
            known = default if last == "containerSecurityContext" else {}
            found[name] = {**copy.deepcopy(known), name.replace(".", "-"): "x"}
            if last == "config":
                found[name] = {"scan": {"adapter_token": name}}
            elif last == "resources":
                found[name] = {"limits": {f"example.com/{name}": 1}}
        elif last in ("trustedProxies", "sourceRanges"):
            found[name] = [f"192.0.{number % 250}.0/24"]
        elif last == "hosts":
            found[name] = [name]
        elif "onstraints" in last:
            found[name] = [{"topologyKey": name, "maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway"}]
        else:
            found[name] = [{"name": name, "value": name, "key": name}]
    return found


def texts(value: Any) -> Iterator[str]:
    """Every key and value of a manifest as text."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    else:
        yield str(value)


def shown(documents: Objects) -> str:
    """All that the manifests say, settings and secrets in clear."""
    words = list(texts(documents))
    for item in documents:
        if item["kind"] == "Secret":
            data = (item.get("data") or {}).values()
            words += [*data, *(base64.b64decode(value).decode("latin-1") for value in data)]
            if "traceHeaders" in item["data"]:
                header = json.loads(base64.b64decode(item["data"]["traceHeaders"]))["Authorization"]
                words.append(base64.b64decode(header.removeprefix("Basic ")).decode())
            if "tls.crt" in item["data"] and b"BEGIN" in (pem := base64.b64decode(item["data"]["tls.crt"])):
                words.append(x509.load_pem_x509_certificate(pem).subject.rfc4514_string())
    return "\n".join(words)


def needle(name: str, value: Any) -> str:
    """What of a mark must be found."""
    while isinstance(value, dict | list):
        if isinstance(value, list):
            value = value[0]
        else:
            key, inner = list(value.items())[-1]
            if not isinstance(inner, dict | list) and inner in ("x", 1):
                return str(key)
            value = inner
    return str(value)


def render(helm: Helm, folder: Path, name: str, values: dict[str, Any]) -> Objects:
    file = folder / f"{name.replace(' ', '-')}.yaml"
    file.write_text(yaml.safe_dump(tree(values)))
    return helm.objects("-f", str(file))


def test_values_that_are_seen(helm: Helm, tmp_path: Path) -> None:
    every = marks()
    left = dict.fromkeys(every)
    for name, about in RENDERINGS.items():
        values = {**every, **PLAIN, **ON, **about}
        said = shown(render(helm, tmp_path, name, values))
        for value in [*left]:
            if values[value] not in ("", LEAVES[value], {}) and needle(value, values[value]) in said:
                del left[value]
    assert list(left) == [], "in no manifest"


@pytest.mark.parametrize("group", range(4))
def test_values_that_switch(helm: Helm, tmp_path: Path, group: int) -> None:
    given = {"masterKey": MASTER, "expose.tls.certSource": "secret", "expose.tls.secret.secretName": "tls"}
    given |= {"harborAdminPassword": "x", "database.internal.password": "x"}
    for number, (name, (value, others)) in enumerate(sorted(SWITCHES.items())):
        if number % 4 != group:
            continue
        assert LEAVES[name] != value, name
        base = {**given, **others, name: LEAVES[name]} if name != "expose.tls.certSource" else given | others
        before = render(helm, tmp_path, f"{number}-before", base)
        after = render(helm, tmp_path, f"{number}-after", base | {name: value})
        assert list(before) != list(after), f"{name} changes nothing"


def test_every_value_is_tried() -> None:
    assert LEAVES.keys() == marks().keys() | SWITCHES.keys()
    assert not marks().keys() & SWITCHES.keys()
