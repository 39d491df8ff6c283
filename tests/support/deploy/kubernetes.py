"""What of a Kubernetes API helm needs: objects that are kept, found, applied and deleted.

It stores objects and knows nothing about them: no controllers, no validation (kubernetes_validate does that),
and one default of the real API. Helm itself is the real one: releases, `lookup`, server-side apply, policies.
"""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

_KINDS: dict[str, dict[str, str]] = {
    "v1": {
        "secrets": "Secret",
        "configmaps": "ConfigMap",
        "services": "Service",
        "persistentvolumeclaims": "PersistentVolumeClaim",
        "serviceaccounts": "ServiceAccount",
        "pods": "Pod",
    },
    "apps/v1": {"deployments": "Deployment", "statefulsets": "StatefulSet", "replicasets": "ReplicaSet"},
    "networking.k8s.io/v1": {"networkpolicies": "NetworkPolicy", "ingresses": "Ingress"},
    "policy/v1": {"poddisruptionbudgets": "PodDisruptionBudget"},
    "autoscaling/v2": {"horizontalpodautoscalers": "HorizontalPodAutoscaler"},
    "batch/v1": {"jobs": "Job"},
}
Object = dict[str, Any]


class Kubernetes:
    """The API on a port of this host; a context manager."""

    def __init__(self, folder: Path) -> None:
        self.objects: dict[tuple[str, str, str], Object] = {}
        self._version = 0
        self._lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.kubeconfig = folder / "kubeconfig"
        host = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "c", "cluster": {"server": host}}],
                    "users": [{"name": "u", "user": {}}],
                    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                    "current-context": "x",
                }
            )
        )

    def __enter__(self) -> Kubernetes:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def get(self, kind: str, name: str, namespace: str = "registry") -> Object:
        """An object. Raises KeyError when there is none."""
        with self._lock:
            return self.objects[kind, namespace, name]

    def names(self, kind: str, namespace: str = "registry") -> list[str]:
        """Names of the objects of a kind, without those in which helm keeps its releases."""
        with self._lock:
            found = [key[2] for key in self.objects if key[:2] == (kind, namespace)]
        return sorted(name for name in found if not name.startswith("sh.helm."))

    def put(self, item: Object, namespace: str = "registry") -> Object:
        """Keep an object, as another client or a controller does."""
        with self._lock:
            key = (item["kind"], namespace, item["metadata"]["name"])
            old = self.objects.get(key, {"metadata": {"uid": f"uid-{len(self.objects)}-{self._version}"}})
            self._version += 1
            stamp = {"uid": old["metadata"]["uid"], "resourceVersion": str(self._version)}
            item["metadata"] |= {"namespace": namespace, **stamp}
            if item["kind"] == "Deployment":
                item["spec"].setdefault("replicas", 1)
            self.objects[key] = item
            return item

    def delete(self, kind: str, name: str, namespace: str = "registry") -> Object:
        """Remove an object. Raises KeyError when there is none."""
        with self._lock:
            return self.objects.pop((kind, namespace, name))

    def _answer(self, method: str, target: str, body: bytes) -> tuple[int, Object]:
        url = urlsplit(target)
        parts = url.path.strip("/").split("/")
        if url.path == "/version":
            return 200, {"major": "1", "minor": "34", "gitVersion": "v1.34.0"}
        if url.path == "/api":
            return 200, {"kind": "APIVersions", "versions": ["v1"]}
        if url.path == "/apis":
            groups = [version.split("/") for version in _KINDS if "/" in version]
            listed = [
                {
                    "name": group,
                    "versions": [{"groupVersion": f"{group}/{version}", "version": version}],
                    "preferredVersion": {"groupVersion": f"{group}/{version}", "version": version},
                }
                for group, version in groups
            ]
            return 200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
        version, rest = ("v1", parts[2:]) if parts[0] == "api" else ("/".join(parts[1:3]), parts[3:])
        if parts[0] not in ("api", "apis") or version not in _KINDS:
            return _missing(url.path)
        if not rest:
            return 200, {
                "kind": "APIResourceList",
                "groupVersion": version,
                "resources": [
                    {"name": name, "singularName": "", "namespaced": True, "kind": kind, "verbs": _VERBS}
                    for name, kind in _KINDS[version].items()
                ],
            }
        if rest[0] != "namespaces" or len(rest) < 3 or rest[2] not in _KINDS[version]:
            return _missing(url.path)
        return self._on_object(method, url.query, version, rest[1:], body)

    def _on_object(
        self, method: str, query: str, version: str, rest: list[str], body: bytes
    ) -> tuple[int, Object]:
        namespace, kind = rest[0], _KINDS[version][rest[1]]
        with self._lock:
            if len(rest) == 2 and method == "GET":
                wanted = parse_qs(query).get("labelSelector", [""])[0]
                pairs = [pair.split("=", 1) for pair in wanted.split(",") if pair]
                items = [
                    item
                    for key, item in self.objects.items()
                    if key[:2] == (kind, namespace)
                    and all(item["metadata"].get("labels", {}).get(k) == v for k, v in pairs)
                ]
                return 200, {"kind": f"{kind}List", "apiVersion": version, "metadata": {}, "items": items}
            given = {} if method == "DELETE" else _read(body)
            name = rest[2] if len(rest) > 2 else given["metadata"]["name"]
            there = (kind, namespace, name) in self.objects
            if method == "POST" and there:
                return 409, _status(409, "AlreadyExists", name)
            if method == "POST" or (method in ("PUT", "PATCH") and given.get("kind") == kind):
                # Server-side apply by the one manager of an object: what it no longer names is gone.
                return 201 if method == "POST" else 200, self.put(given, namespace)
            if not there:
                return 404, _status(404, "NotFound", name)
            if method == "PATCH":
                item = self.objects[kind, namespace, name]
                _merge(item, given)
                return 200, self.put(item, namespace)
            if method == "DELETE":
                return 200, self.delete(kind, name, namespace)
            return 200, self.objects[kind, namespace, name]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        kubernetes = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, answer = kubernetes._answer(self.command, self.path, body)
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


_VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]


def _status(code: int, reason: str, name: str) -> Object:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "code": code,
        "message": f"{name}: {reason}",
    }


def _missing(path: str) -> tuple[int, Object]:
    return 404, _status(404, "NotFound", path)


def _read(body: bytes) -> Object:
    """An object from JSON or YAML; or a Secret from protobuf, in which helm writes its releases."""
    if not body.startswith(b"k8s\0"):
        return yaml.safe_load(body) if body else {}
    unknown = _fields(body[4:])
    assert _fields(unknown[1][0])[2] == [b"Secret"]
    secret = _fields(unknown[2][0])
    meta = _fields(secret[1][0])
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": meta[1][0].decode(),
            "labels": {key.decode(): value.decode() for key, value in _pairs(meta.get(11, []))},
        },
        "data": {key.decode(): base64.b64encode(value).decode() for key, value in _pairs(secret.get(2, []))},
        "type": secret[3][0].decode(),
    }


def _fields(message: bytes) -> dict[int, list[bytes]]:
    """The length-delimited fields of a protobuf message (https://protobuf.dev/programming-guides/encoding)."""
    found: dict[int, list[bytes]] = {}
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        size, at = _varint(message, at)
        if tag & 7 == 2:
            found.setdefault(tag >> 3, []).append(message[at : at + size])
            at += size
        else:
            assert tag & 7 == 0, tag
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def _pairs(entries: list[bytes]) -> list[tuple[bytes, bytes]]:
    return [(fields[1][0], fields.get(2, [b""])[0]) for fields in map(_fields, entries)]


def _merge(into: Object, patch: Object) -> None:
    for name, value in patch.items():
        if value is None:
            into.pop(name, None)
        elif isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = value
