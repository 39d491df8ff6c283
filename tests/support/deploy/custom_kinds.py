"""Schemas of objects that Kubernetes knows by a CRD only, as far as the chart and the examples use them.

Strict: a field that is not here is refused, so a misspelt one is found. Written from the API references:
Prometheus operator v1, Gateway API v1, External Secrets v1, CloudNativePG v1, the OT redis-operator v1beta2,
Argo CD v1alpha1, Flux source v1 and helm v2.
"""

from __future__ import annotations

from typing import Any

import jsonschema

Schema = dict[str, Any]
_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_NAME: Schema = {"type": "string", "pattern": r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", "maxLength": 253}
_DURATION: Schema = {"type": "string", "pattern": r"^([0-9]+(ms|[smhdwy]))+$"}
_TEXTS: Schema = {"type": "array", "items": _TEXT}
_MAP: Schema = {"type": "object", "additionalProperties": _TEXT}
_QUANTITY: Schema = {"type": ["string", "integer"], "pattern": r"^[0-9.]+([EPTGMK]i?|m|k)?$"}
_LABEL: Schema = {"type": "string", "pattern": "^[a-zA-Z_][a-zA-Z0-9_]*$"}


def _strict(required: str = "", **properties: Schema) -> Schema:
    """An object with these fields and no others; `required`: names with spaces between them."""
    names = {name.rstrip("_"): schema for name, schema in properties.items()}
    return {
        "type": "object",
        "properties": names,
        "required": required.split(),
        "additionalProperties": False,
    }


def _list(item: Schema, least: int = 0) -> Schema:
    return {"type": "array", "items": item, "minItems": least}


_KEY = _strict("key", name=_NAME, key=_TEXT, optional=_FLAG)
_RESOURCES = _strict(
    requests={"type": "object", "additionalProperties": _QUANTITY},
    limits={"type": "object", "additionalProperties": _QUANTITY},
)
_RELABELING = _strict(
    sourceLabels=_list(_LABEL),
    separator=_TEXT,
    targetLabel=_TEXT,
    regex=_TEXT,
    modulus=_COUNT,
    replacement=_TEXT,
    action={
        "enum": [
            "replace",
            "keep",
            "drop",
            "hashmod",
            "labelmap",
            "labeldrop",
            "labelkeep",
            "lowercase",
            "uppercase",
            "keepequal",
            "dropequal",
        ]
    },
)
_SELECTOR = _strict(matchLabels=_MAP, matchExpressions=_list({"type": "object"}))
_ENDPOINT = _strict(
    port=_TEXT,
    targetPort={"type": ["string", "integer"]},
    path={"type": "string", "pattern": "^/"},
    scheme={"enum": ["http", "https"]},
    interval=_DURATION,
    scrapeTimeout=_DURATION,
    honorLabels=_FLAG,
    authorization=_strict(type=_TEXT, credentials=_KEY),
    tlsConfig=_strict(insecureSkipVerify=_FLAG, serverName=_TEXT, ca={"type": "object"}),
    relabelings=_list(_RELABELING),
    metricRelabelings=_list(_RELABELING),
)
_RULE = {
    **_strict(
        "expr",
        record={"type": "string", "pattern": "^[a-zA-Z_:][a-zA-Z0-9_:]*$"},
        alert=_TEXT,
        expr={"type": ["string", "integer"]},
        for_=_DURATION,
        keep_firing_for=_DURATION,
        labels=_MAP,
        annotations=_MAP,
    ),
    "oneOf": [{"required": ["record"]}, {"required": ["alert"]}],
}
_MONITORING: dict[str, Schema] = {
    "ServiceMonitor": _strict(
        "selector endpoints",
        jobLabel=_TEXT,
        targetLabels=_TEXTS,
        selector=_SELECTOR,
        namespaceSelector=_strict(any=_FLAG, matchNames=_TEXTS),
        endpoints=_list(_ENDPOINT, 1),
    ),
    "PrometheusRule": _strict(
        groups=_list(_strict("name", name=_TEXT, interval=_DURATION, limit=_COUNT, rules=_list(_RULE)))
    ),
}
_HEADERS = _list(_strict("name value", name=_TEXT, value=_TEXT))
_HEADER_CHANGE = _strict(set=_HEADERS, add=_HEADERS, remove=_TEXTS)
_FILTER = _strict(
    "type",
    type={
        "enum": [
            *("RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror", "RequestRedirect"),
            *("URLRewrite", "ExtensionRef"),
        ]
    },
    requestHeaderModifier=_HEADER_CHANGE,
    responseHeaderModifier=_HEADER_CHANGE,
    requestRedirect=_strict(
        scheme={"enum": ["http", "https"]},
        hostname=_TEXT,
        path={"type": "object"},
        port=_COUNT,
        statusCode={"enum": [301, 302]},
    ),
    extensionRef=_strict("group kind name", group=_TEXT, kind=_TEXT, name=_NAME),
)
_GATEWAY: dict[str, Schema] = {
    "HTTPRoute": _strict(
        parentRefs=_list(
            _strict(
                "name", group=_TEXT, kind=_TEXT, name=_NAME, namespace=_NAME, sectionName=_TEXT, port=_COUNT
            ),
            1,
        ),
        hostnames=_list({"type": "string", "pattern": r"^(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"}),
        rules=_list(
            _strict(
                name=_TEXT,
                matches=_list(
                    _strict(
                        path=_strict(
                            type={"enum": ["Exact", "PathPrefix", "RegularExpression"]},
                            value={"type": "string", "pattern": "^/"},
                        ),
                        headers=_list({"type": "object"}),
                        method=_TEXT,
                    )
                ),
                filters=_list(_FILTER),
                timeouts=_strict(request=_DURATION, backendRequest=_DURATION),
                backendRefs=_list(
                    _strict(
                        "name",
                        group=_TEXT,
                        kind=_TEXT,
                        name=_NAME,
                        namespace=_NAME,
                        port={"type": "integer", "minimum": 1, "maximum": 65535},
                        weight=_COUNT,
                    )
                ),
            ),
            1,
        ),
    )
}
_SECRETS: dict[str, Schema] = {
    "ExternalSecret": _strict(
        refreshInterval=_DURATION,
        secretStoreRef=_strict("name", name=_NAME, kind={"enum": ["SecretStore", "ClusterSecretStore"]}),
        target=_strict(
            name=_NAME,
            creationPolicy={"enum": ["Owner", "Orphan", "Merge", "None"]},
            deletionPolicy={"enum": ["Delete", "Merge", "Retain"]},
            immutable=_FLAG,
            template={"type": "object"},
        ),
        data=_list(
            _strict(
                "secretKey remoteRef",
                secretKey={"type": "string", "pattern": r"^[-._a-zA-Z0-9]{1,253}$"},
                remoteRef=_strict("key", key=_TEXT, property=_TEXT, version=_TEXT),
            )
        ),
    )
}
_POSTGRESQL: dict[str, Schema] = {
    "Cluster": _strict(
        "instances",
        instances={"type": "integer", "minimum": 1},
        imageName=_TEXT,
        postgresql=_strict(
            parameters=_MAP,
            synchronous=_strict(
                "method number",
                method={"enum": ["any", "first"]},
                number={"type": "integer", "minimum": 1},
                dataDurability={"enum": ["required", "preferred"]},
            ),
        ),
        bootstrap=_strict(initdb=_strict(database=_TEXT, owner=_TEXT, secret=_strict("name", name=_NAME))),
        affinity=_strict(
            enablePodAntiAffinity=_FLAG,
            topologyKey=_TEXT,
            podAntiAffinityType={"enum": ["preferred", "required"]},
        ),
        storage=_strict(size=_QUANTITY, storageClass=_TEXT),
        resources=_RESOURCES,
    )
}
_KUBERNETES = _strict(
    "image",
    image=_TEXT,
    imagePullPolicy=_TEXT,
    redisSecret=_strict("name key", name=_NAME, key=_TEXT),
    resources=_RESOURCES,
)
_REDIS: dict[str, Schema] = {
    "RedisReplication": _strict(
        "clusterSize kubernetesConfig",
        clusterSize=_COUNT,
        kubernetesConfig=_KUBERNETES,
        storage=_strict(volumeClaimTemplate={"type": "object"}),
    ),
    "RedisSentinel": _strict(
        "clusterSize kubernetesConfig",
        clusterSize=_COUNT,
        redisSentinelConfig=_strict(
            "redisReplicationName",
            redisReplicationName=_NAME,
            masterGroupName=_TEXT,
            redisPort=_TEXT,
            quorum=_TEXT,
            parallelSyncs=_TEXT,
            failoverTimeout=_TEXT,
            downAfterMilliseconds=_TEXT,
            redisReplicationPassword=_strict(secretKeyRef=_KEY),
        ),
        kubernetesConfig=_KUBERNETES,
    ),
}
_ARGO: dict[str, Schema] = {
    "Application": _strict(
        "project destination source",
        project=_TEXT,
        destination=_strict(server=_TEXT, name=_TEXT, namespace=_NAME),
        source=_strict(
            "repoURL",
            repoURL=_TEXT,
            targetRevision=_TEXT,
            path=_TEXT,
            helm=_strict(releaseName=_TEXT, valueFiles=_TEXTS, values=_TEXT),
        ),
        ignoreDifferences=_list(
            _strict(
                "kind", group=_TEXT, kind=_TEXT, name=_TEXT, jsonPointers=_TEXTS, jqPathExpressions=_TEXTS
            )
        ),
        syncPolicy=_strict(
            automated=_strict(prune=_FLAG, selfHeal=_FLAG), syncOptions=_TEXTS, retry={"type": "object"}
        ),
    )
}
_FLUX_SOURCE: dict[str, Schema] = {
    "GitRepository": _strict(
        "interval url",
        interval=_DURATION,
        url={"type": "string", "pattern": "^(http|https|ssh)://.*$"},
        ref=_strict(branch=_TEXT, tag=_TEXT, semver=_TEXT, commit=_TEXT),
    )
}
_FLUX_HELM: dict[str, Schema] = {
    "HelmRelease": _strict(
        "interval",
        interval=_DURATION,
        releaseName={"type": "string", "maxLength": 53},
        chart=_strict(
            "spec",
            spec=_strict(
                "chart sourceRef",
                chart=_TEXT,
                version=_TEXT,
                valuesFiles=_TEXTS,
                sourceRef=_strict(
                    "name", kind={"enum": ["HelmRepository", "GitRepository", "Bucket"]}, name=_NAME
                ),
            ),
        ),
        test=_strict(enable=_FLAG, timeout=_DURATION),
        upgrade=_strict(
            remediation=_strict(retries={"type": "integer"}, strategy={"enum": ["rollback", "uninstall"]})
        ),
        values={"type": "object"},
    )
}
KINDS: dict[tuple[str, str], Schema] = {
    (version, kind): spec
    for version, kinds in {
        "monitoring.coreos.com/v1": _MONITORING,
        "gateway.networking.k8s.io/v1": _GATEWAY,
        "external-secrets.io/v1": _SECRETS,
        "postgresql.cnpg.io/v1": _POSTGRESQL,
        "redis.redis.opstreelabs.in/v1beta2": _REDIS,
        "argoproj.io/v1alpha1": _ARGO,
        "source.toolkit.fluxcd.io/v1": _FLUX_SOURCE,
        "helm.toolkit.fluxcd.io/v2": _FLUX_HELM,
    }.items()
    for kind, spec in kinds.items()
}
_METADATA = _strict("name", name=_NAME, namespace=_NAME, labels=_MAP, annotations=_MAP)


def validate(document: dict[str, Any]) -> None:
    """Raise jsonschema.ValidationError for what the API would not take, KeyError for an unknown kind."""
    spec = KINDS[document["apiVersion"], document["kind"]]
    whole = _strict(
        "apiVersion kind metadata spec", apiVersion=_TEXT, kind=_TEXT, metadata=_METADATA, spec=spec
    )
    jsonschema.validate(document, whole)
