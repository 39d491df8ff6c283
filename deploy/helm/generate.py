"""Makes what follows from the chart's values.yaml and from the names of Harbor's values.

    python deploy/helm/generate.py

writes, after a change of `seawall/values.yaml`, `seawall/harbor-values.tsv` or `harbor-helm-keys.txt`:

- `seawall/values.schema.json`: types of the values, and which names there are at all;
- `seawall/defaults.tsv`: the defaults of values.yaml for the templates, one leaf a line (path, JSON).
  `helm upgrade --reuse-values` brings the values of an older chart, which lack what is new; a value that is
  set to null is missing too;
- `seawall/files/accelerate.conf`: where nginx sends files from (`core.accelerate`), as `ha lb-config` has it;
- `docs/install/harbor-helm-values.md`: what each of Harbor's values does here.

    python deploy/helm/generate.py keys VALUES_YAML

prints the names that a values.yaml of harbor-helm sets and `harbor-helm-keys.txt` lacks.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import yaml

from seawall.availability.cluster.balancer import file_locations

HERE = Path(__file__).parent
CHART = HERE / "seawall"
PAGE = HERE.parent.parent / "docs" / "install" / "harbor-helm-values.md"

# Values that are any Kubernetes (or seawall.yml) object: not looked into.
_FREE = {"annotations", "containerSecurityContext", "resources", "config"}
_PROBE_TIMES = (
    "initialDelaySeconds",
    "periodSeconds",
    "timeoutSeconds",
    "failureThreshold",
    "successThreshold",
)
_PROBE_OTHERS = ("httpGet", "exec", "tcpSocket", "grpc", "terminationGracePeriodSeconds")
_PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
_COUNT = {"type": "integer", "minimum": 0}
_SOME = {"type": "integer", "minimum": 1}
_SHARE = {"type": ["integer", "string", "null"], "pattern": "^([0-9]+%?)?$"}
_DIGITS = {"type": ["string", "integer", "null"], "pattern": "^[0-9]*$"}
_TEXTS = {"type": ["array", "null"], "items": {"type": "string"}}
_ACCESS = {"enum": ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"]}
_SOURCE = {"enum": ["auto", "secret", "manual"]}

# By the last names of a path, the longest one first; else a value has the type of its default, or is null.
_TYPES: dict[str, dict[str, Any]] = {
    "expose.type": {"enum": ["ingress", "route", "clusterIP", "nodePort", "loadBalancer"]},
    "tls.certSource": {"enum": ["auto", "secret", "none"]},
    "ingress.controller": {"type": ["string", "null"]},
    "internalTLS.certSource": _SOURCE,
    "externalTrafficPolicy": {"enum": ["", "Cluster", "Local", None]},
    "httpPort": _PORT,
    "httpsPort": _PORT,
    "port": _PORT,
    "nodePort.ports.http.nodePort": _PORT,
    "nodePort.ports.https.nodePort": _PORT,
    "sourceRanges": _TEXTS,
    "trustedProxies": _TEXTS,
    "route.hosts": _TEXTS,
    # An empty mapping in Harbor's charts 1.18.0 to 1.18.3.
    "route.parentRefs": {
        "type": ["array", "object", "null"],
        "items": {"type": "object"},
        "maxProperties": 0,
    },
    "families": {"type": ["array", "null"], "items": {"enum": ["IPv4", "IPv6"]}},
    "ipFamily.policy": {"enum": ["", "SingleStack", "PreferDualStack", "RequireDualStack", None]},
    "externalURL": {"type": "string", "pattern": "^https?://[^/ ]+$"},
    "resourcePolicy": {"enum": ["keep", "", None]},
    "accessMode": _ACCESS,
    "imageChartStorage.type": {"enum": ["filesystem", "s3", "gcs", "azure", "oss", "swift"]},
    "chunksize": {"type": ["string", "integer", "null"], "pattern": "^[0-9]*$"},
    "masterKey": {"type": ["string", "null"], "pattern": "^([A-Za-z0-9+/]{43}=)?$"},
    "secretKey": {"type": ["string", "null"], "pattern": "^(.{16})?$"},
    "xsrfKey": {"type": ["string", "null"], "pattern": "^(.{32})?$"},
    "metrics.token": {"type": ["string", "null"], "pattern": "^(.{8,})?$"},
    "imagePullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
    "logLevel": {"enum": ["debug", "info", "warning", "error", "fatal"]},
    "proxy.components": _TEXTS,
    "updateStrategy.type": {"enum": ["", "RollingUpdate", "Recreate", None]},
    "nodeLossSeconds": _COUNT,
    "replicas": _SOME,
    "jobservice.replicas": _COUNT,
    "workers": _SOME,
    "maxJobWorkers": _SOME,
    "minAvailable": _SHARE,
    "maxUnavailable": _SHARE,
    "minReplicas": _SOME,
    "maxReplicas": _SOME,
    "targetCPUUtilizationPercentage": {"type": "integer", "minimum": 1, "maximum": 100},
    "antiAffinity": {"enum": ["soft", "hard", "none"]},
    "revisionHistoryLimit": _COUNT,
    "terminationGracePeriodSeconds": _COUNT,
    "upload_purging.age": {"type": ["string", "null"], "pattern": "^([1-9][0-9]*h)?$"},
    "loggerSweeperDuration": _DIGITS,
    "webhook_job_http_client_timeout": _DIGITS,
    "configureUserSettings": {"type": ["string", "null"]},
    "database.type": {"enum": ["internal", "external", "embedded"]},
    "external.port": {"type": ["string", "integer"], "pattern": "^[0-9]+$"},
    "sslmode": {"enum": ["disable", "require", "verify-ca", "verify-full"]},
    "maxOpenConns": _SOME,
    "redis.type": {"enum": ["internal", "external", "none"]},
    "coreDatabaseIndex": {"type": ["string", "integer"], "pattern": "^[0-9]+$"},
    "tokenKey": {"type": ["string", "null"]},
    "trace.provider": {"enum": ["jaeger", "otel"]},
    "sample_rate": {"type": "number", "minimum": 0, "maximum": 1},
    "otel.timeout": {"type": ["string", "integer"], "pattern": "^[1-9][0-9]*s?$"},
    "url_path": {"type": "string", "pattern": "^/"},
}
_IGNORED = {"description": "Harbor's; has no effect here"}


def defaults() -> dict[str, Any]:
    """The chart's values.yaml."""
    found: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
    return found


def leaves(
    node: dict[str, Any], path: tuple[str, ...] = (), free: Collection[str] = _FREE
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(path, value) of everything that is no section; an empty mapping and what is in `free` are leaves."""
    for key, value in node.items():
        here = (*path, key)
        if isinstance(value, dict) and value and key not in free:
            yield from leaves(value, here, free)
        else:
            yield here, value


def rules() -> dict[str, tuple[str, str]]:
    """(verdict, text) by a value's name or that of a section: the longest that fits a name is its rule."""
    lines = (CHART / "harbor-values.tsv").read_text().splitlines()
    return {name: (verdict, text) for name, verdict, text in (line.split("\t") for line in lines)}


def rule(name: str, known: dict[str, tuple[str, str]]) -> tuple[str, str]:
    """The rule for a value. Raises KeyError when there is none."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        if (found := known.get(".".join(parts[:length]))) is not None:
            return found
    raise KeyError(name)


def harbor_keys() -> dict[str, bool]:
    """Names of Harbor's values, and whether values.yaml sets them (False: in a comment)."""
    lines = (HERE / "harbor-helm-keys.txt").read_text().splitlines()
    return {line.partition("\t")[0]: "\t" not in line for line in lines if not line.startswith("#")}


def _typed(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    for start in range(len(path)):
        if (found := _TYPES.get(".".join(path[start:]))) is not None:
            return found
    if isinstance(value, bool):
        return {"type": "boolean"}
    if isinstance(value, int):
        return {"type": "integer", "minimum": 0}
    if isinstance(value, list):
        return {"type": ["array", "null"], "items": {"type": "object"}}
    if isinstance(value, dict):
        return {"type": ["object", "null"]}
    return {"type": ["string", "null"]}


def schema() -> dict[str, Any]:
    """The JSON schema of the values: ours with their types, Harbor's others with any."""
    root: dict[str, Any] = {}
    ours: set[str] = set()
    for path, value in leaves(defaults()):
        ours.add(".".join(path))
        _put(root, path, _typed(path, value))
        if path[-2].endswith("Probe") if len(path) > 1 else False:
            for name in _PROBE_TIMES:
                _put(root, (*path[:-1], name), {"type": "integer", "minimum": 0})
            for name in _PROBE_OTHERS:
                _put(root, (*path[:-1], name), {"type": ["object", "integer"]})
    named = [name for name, (verdict, _) in rules().items() if verdict == "ignored"]
    harbors = sorted({*harbor_keys(), *named})
    for name in harbors:
        inner = any(other.startswith(name + ".") for other in (*harbors, *ours))
        if name not in ours and not inner:
            _put(root, tuple(name.split(".")), _IGNORED)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the Seawall chart",
        # Helm passes the values of a parent chart.
        **_section({**root, "global": {"type": "object"}}),
    }


def _put(tree: dict[str, Any], path: tuple[str, ...], leaf: dict[str, Any]) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {"__section": {}})
        if "__section" not in tree:
            return  # A free object of ours has it.
        tree = tree["__section"]
    tree.setdefault(path[-1], leaf)


def _section(tree: dict[str, Any]) -> dict[str, Any]:
    properties = {
        name: _section(item["__section"]) if "__section" in item else item
        for name, item in sorted(tree.items())
    }
    return {"type": "object", "additionalProperties": False, "properties": properties}


_HEAD = """\
# Harbor's Helm values

`helm install registry deploy/helm/seawall -f values.yaml` takes the values.yaml of Harbor's chart as it is:
all {count} values of its main branch, those that it shows in comments, and those of older charts. A value is
used, or ignored (the notes after `helm install` and `helm upgrade` name those that say something), or refused
where ignoring it would lose data or security. A name that neither chart has is refused.

Made by `python deploy/helm/generate.py` from the names and from `harbor-values.tsv`, which the chart reads.

| Value | Here | |
|---|---|---|
"""


def page() -> str:
    """`docs/install/harbor-helm-values.md`."""
    known = rules()
    names = harbor_keys()
    rows = []
    for name in sorted({*names, *(key for key, (verdict, _) in known.items() if verdict == "ignored")}):
        if any(other.startswith(name + ".") for other in names):
            continue
        verdict, text = rule(name, known)
        rows.append(f"| `{name}` | {verdict} | {text} |\n")
    return _HEAD.format(count=sum(names.values())) + "".join(rows)


def files() -> dict[Path, str]:
    """What is made: content by file."""
    lines = [
        f"{'.'.join(path)}\t{json.dumps(value, separators=(',', ':'))}\n"
        for path, value in leaves(defaults())
    ]
    return {
        CHART / "values.schema.json": json.dumps(schema(), indent=1) + "\n",
        CHART / "defaults.tsv": "".join(lines),
        # The template puts the storage's root in place of the name.
        CHART / "files" / "accelerate.conf": file_locations("/STORAGE_ROOT"),
        PAGE: page(),
    }


def main() -> None:
    """Write the files, or compare names."""
    if sys.argv[1:2] == ["keys"]:
        given = {".".join(path) for path, _ in leaves(yaml.safe_load(Path(sys.argv[2]).read_text()), free=())}
        print("\n".join(sorted(given - harbor_keys().keys())))
        return
    for path, text in files().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
