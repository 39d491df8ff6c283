"""Harbor's Pluggable Scanner API, both sides: one Seawall scans for another.

Between them stands a proxy that records what goes over the wire, so that messages are held against the
specification's schemas, and that can stand in for adapters with other properties.
"""

# ruff: noqa: E501 - messages as they are
from __future__ import annotations

import base64
import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.registry import Registry
from tests.support.scan import spec
from tests.support.scan.advisories import ev, record
from tests.support.scan.client import Client, artifact
from tests.support.scan.content import CRITICAL, DEBIAN, advisories, npm, project
from tests.support.waiting import until

TOKEN = "adapter-credential-0123456789"
METADATA = "application/vnd.scanner.adapter.metadata+json; version=1.1"
ERROR = "application/vnd.scanner.adapter.error+json; version=1.0"
GENERIC = "application/vnd.security.vulnerability.report; version=1.1"
SPDX_REPORT = "application/vnd.security.sbom.report+json; version=1.0"


@dataclass
class Exchange:
    """One request and its answer."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int
    answer: bytes
    answer_headers: dict[str, str]


@dataclass
class Proxy:
    """Forwards to an adapter and records; `basic` and `never` change what it says."""

    target: str
    exchanges: list[Exchange] = field(default_factory=list)
    basic: bool = False
    never: bool = False
    url: str = ""

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        headers = {key.lower(): value for key, value in handler.headers.items()}
        sent = {k: v for k, v in headers.items() if k not in ("host", "connection", "content-length")}
        response = httpx.request(
            handler.command, self.target + handler.path, content=body, headers=sent, timeout=30
        )
        status, answer = response.status_code, response.content
        if self.basic and handler.path.endswith("/metadata"):
            document = json.loads(answer)
            document["properties"]["harbor.scanner-adapter/registry-authorization-type"] = "Basic"
            answer = json.dumps(document).encode()
        if self.never and "/report" in handler.path:
            status, answer = 302, b""
        self.exchanges.append(
            Exchange(handler.command, handler.path, headers, body, status, answer, dict(response.headers))
        )
        handler.send_response(status)
        for name in ("content-type", "refresh-after", "location"):
            if name in response.headers:
                handler.send_header(name, response.headers[name])
        handler.send_header("content-length", str(len(answer)))
        handler.end_headers()
        handler.wfile.write(answer)

    def of(self, method: str, part: str) -> list[Exchange]:
        return [e for e in self.exchanges if e.method == method and part in e.path]


@pytest.fixture
def proxy(scanner: Registry) -> Iterator[Proxy]:
    recorder = Proxy(scanner.url)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            recorder.handle(self)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    recorder.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield recorder
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def scanner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """The Seawall that scans for others; only it has advisories."""
    root = tmp_path_factory.mktemp("scanner")
    server = Registry(root / "data", {"SEAWALL_SCAN__ADAPTER_TOKEN": TOKEN})
    server.start()
    try:
        advisories(
            server,
            root / "osv",
            record("GHSA-1", "left", "npm", ev(("introduced", "0"), ("fixed", "1.2.0")), severity=CRITICAL),
        )
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The Seawall that lets others scan."""
    server = Registry(tmp_path_factory.mktemp("asker") / "data")
    server.start()
    try:
        yield Client(server)
    finally:
        server.close()


def register(client: Client, name: str, url: str, **more: Any) -> str:
    body = {"name": name, "url": url, "auth": "Bearer", "access_credential": TOKEN, **more}
    made = client.api("POST", "/scanners", 201, json=body)
    return made.headers["location"].rpartition("/")[2]


def use(client: Client, name: str, scanner_id: str) -> None:
    client.api("PUT", f"/projects/{name}/scanner", json={"uuid": scanner_id})


def test_registrations(client: Client, scanner: Registry, proxy: Proxy) -> None:
    url = f"{proxy.url}/scanner-adapter"
    settings = {"name": "x", "url": url, "auth": "Bearer", "access_credential": TOKEN}
    client.api("POST", "/scanners/ping", json=settings)
    client.api("POST", "/scanners/ping", 400, json={**settings, "access_credential": "wrong"})
    client.api("POST", "/scanners/ping", 400, json={**settings, "url": "http://127.0.0.1:9"})
    client.api("POST", "/scanners/ping", 400, json={**settings, "url": "file:///etc/passwd"})
    identifier = register(client, "Remote", url)
    client.api("POST", "/scanners", 409, json={**settings, "name": "Remote"})
    client.api(
        "POST", "/scanners", 400, json={**settings, "name": "y", "url": "http://h", "access_credential": ""}
    )
    shown = client.get(f"/scanners/{identifier}")
    assert (shown["adapter"], shown["health"], shown["access_credential"]) == ("Seawall", "healthy", "")
    assert shown["capabilities"] == {"support_vulnerability": True, "support_sbom": True}
    assert [s["name"] for s in client.get("/scanners")] == ["Seawall", "Remote"]
    assert client.get(f"/scanners/{identifier}/metadata")["scanner"]["vendor"] == "Seawall"
    # The credential stays when none is given.
    change = {"name": "Remote", "url": url, "auth": "Bearer", "description": "changed"}
    client.api("PUT", f"/scanners/{identifier}", json=change)
    assert client.get(f"/scanners/{identifier}")["health"] == "healthy"
    client.api("PATCH", f"/scanners/{identifier}", json={"is_default": True})
    client.api("DELETE", f"/scanners/{identifier}", 400)
    # The default one is the first.
    assert [(s["name"], s["is_default"]) for s in client.get("/scanners")] == [
        ("Remote", True),
        ("Seawall", False),
    ]
    embedded = client.get("/scanners")[1]["uuid"]
    client.api("PATCH", f"/scanners/{embedded}", json={"is_default": True})
    client.api("DELETE", f"/scanners/{embedded}", 400)
    assert client.api("DELETE", f"/scanners/{identifier}").json()["name"] == "Remote"
    client.api("GET", f"/scanners/{identifier}", 404)


@pytest.mark.parametrize("basic", [False, True])
def test_scan_by_an_adapter(client: Client, scanner: Registry, proxy: Proxy, basic: bool) -> None:
    name = f"adapter{'basic' if basic else 'bearer'}"
    proxy.basic = basic
    project(client, name, prevent_vul="true", severity="critical")
    digest = client.push(f"{name}/a/b", "v1", DEBIAN, npm(("left", "1.0.0"), ("own", name)), note=name)
    identifier = register(client, f"Remote {name}", f"{proxy.url}/scanner-adapter")
    use(client, name, identifier)
    client.scan(f"{name}/a/b", "v1")
    report = client.wait_report(f"{name}/a/b", "v1")
    assert [(v["id"], v["severity"], v["fix_version"]) for v in report["vulnerabilities"]] == [
        ("GHSA-1", "Critical", "1.2.0")
    ]
    # The gate holds everybody back but the adapter, which had to pull.
    assert client.http.get(f"/v2/{name}/a/b/manifests/v1").status_code == 412

    (submitted,) = proxy.of("POST", "/scan")
    assert (
        submitted.headers["content-type"] == "application/vnd.scanner.adapter.scan.request+json; version=1.0"
    )
    assert submitted.headers["authorization"] == f"Bearer {TOKEN}"
    assert submitted.status == 202
    assert submitted.answer_headers["content-type"].startswith(
        "application/vnd.scanner.adapter.scan.response+json"
    )
    assert set(json.loads(submitted.answer)) == {"id"}
    request = json.loads(submitted.body)
    assert request["artifact"] == {
        "repository": f"{name}/a/b",
        "digest": digest,
        "tag": "v1",
        "mime_type": "application/vnd.oci.image.manifest.v1+json",
        "size": request["artifact"]["size"],
    }
    assert request["artifact"]["size"] > 0
    assert request["registry"]["url"] == client.registry.url
    assert request["enabled_capabilities"][0]["type"] == "vulnerability"
    (meta,) = proxy.of("GET", "/metadata")[-1:]
    assert meta.answer_headers["content-type"] == METADATA
    first = proxy.of("GET", "/report")[0]
    assert GENERIC in first.headers["accept"]
    final = proxy.of("GET", "/report")[-1]
    assert (final.status, final.answer_headers["content-type"]) == (200, GENERIC)
    for waiting in proxy.of("GET", "/report")[:-1]:
        assert waiting.status == 302
        assert waiting.answer_headers["refresh-after"].isdigit()
    # The credential lets pull this and nothing else, and a robot's is gone when the scan is over.
    scheme, _, value = request["registry"]["authorization"].partition(" ")
    assert scheme == ("Basic" if basic else "Bearer")
    other = client.push(f"{name}/other", "v1", npm(("x", "1.0.0")), note=name)
    headers = {"Authorization": request["registry"]["authorization"]}
    refused = httpx.get(f"{client.registry.url}/v2/{name}/other/manifests/{other}", headers=headers)
    assert refused.status_code in (401, 403)
    pushed = httpx.post(f"{client.registry.url}/v2/{name}/a/b/blobs/uploads/", headers=headers)
    assert pushed.status_code in (401, 403)
    if basic:
        user, _, _ = base64.b64decode(value).decode().partition(":")
        assert user.startswith(f"robot${name}+scanner-")
        number = client.get(f"/projects/{name}")["project_id"]
        assert client.get("/robots", q=f"Level=project,ProjectID={number}") == []


def test_sbom_by_an_adapter(client: Client, scanner: Registry, proxy: Proxy) -> None:
    project(client, "adaptersbom")
    digest = client.push("adaptersbom/x", "v1", npm(("left", "1.0.0"), ("own", "sbom")))
    use(client, "adaptersbom", register(client, "Remote SBOM", f"{proxy.url}/scanner-adapter"))
    client.scan("adaptersbom/x", "v1", "sbom")

    def referrers() -> list[dict[str, Any]]:
        return list(client.http.get(f"/v2/adaptersbom/x/referrers/{digest}").json()["manifests"])

    (entry,) = until(referrers)
    manifest = client.http.get(f"/v2/adaptersbom/x/manifests/{entry['digest']}").json()
    (layer,) = manifest["layers"]
    assert layer["mediaType"] == "application/spdx+json"
    spdx = client.http.get(f"/v2/adaptersbom/x/blobs/{layer['digest']}").json()
    assert {p["name"] for p in spdx["packages"]} >= {"left", "own"}
    request = json.loads(proxy.of("POST", "/scan")[0].body)
    assert request["enabled_capabilities"] == [
        {
            "type": "sbom",
            "produces_mime_types": [SPDX_REPORT],
            "parameters": {"sbom_media_types": ["application/spdx+json"]},
        }
    ]
    assert "sbom_media_type=application" in proxy.of("GET", "/report")[0].path


def test_stop(client: Client, scanner: Registry, proxy: Proxy) -> None:
    project(client, "adapterstop")
    client.push("adapterstop/x", "v1", npm(("left", "1.0.0"), ("own", "stop")))
    use(client, "adapterstop", register(client, "Remote stop", f"{proxy.url}/scanner-adapter"))
    proxy.never = True
    client.scan("adapterstop/x", "v1")
    until(lambda: proxy.of("GET", "/report"))
    # A second request while one runs is refused.
    client.scan("adapterstop/x", "v1", expect=409)
    client.api(
        "POST", f"{artifact('adapterstop/x', 'v1')}/scan/stop", 202, json={"scan_type": "vulnerability"}
    )
    proxy.never = False
    until(lambda: client.http.post(f"/api/v2.0{artifact('adapterstop/x', 'v1')}/scan").status_code == 202)
    assert client.ids("adapterstop/x", "v1") == ["GHSA-1"]


def test_the_endpoint_itself(client: Client, scanner: Registry) -> None:
    base = f"{scanner.url}/scanner-adapter/api/v1"
    # Not there unless it is configured.
    assert httpx.get(f"{client.registry.url}/scanner-adapter/api/v1/metadata").status_code == 404
    assert httpx.get(f"{base}/metadata").status_code == 401
    assert httpx.get(f"{base}/metadata", auth=("any", TOKEN)).status_code == 200
    key = {"X-ScannerAdapter-API-Key": TOKEN}
    metadata = httpx.get(f"{base}/metadata", headers=key).json()
    for item in metadata["capabilities"]:
        assert "application/vnd.docker.distribution.manifest.v2+json" in item["consumes_mime_types"]
    assert httpx.get(f"{base}/scan/none/report", headers=key).status_code == 404
    good = {
        "registry": {"url": "http://127.0.0.1:9", "authorization": ""},
        "artifact": {"repository": "a/b", "digest": "sha256:" + "0" * 64, "mime_type": metadata["capabilities"][0]["consumes_mime_types"][0]},
    }  # fmt: skip
    for part, change, status in (
        ("registry", {"url": "file:///etc"}, 422),
        ("registry", {"authorization": "a\r\nb"}, 422),
        ("artifact", {"digest": "sha256:no"}, 422),
        ("artifact", {"repository": "../x"}, 422),
        ("artifact", {"mime_type": "text/plain"}, 501),
    ):
        bad = {**good, part: {**good[part], **change}}
        answer = httpx.post(f"{base}/scan", headers=key, json=bad)
        assert answer.status_code == status
        assert answer.headers["content-type"] == ERROR
        assert answer.json()["error"]["message"]
    for content in (b"{", b"[]"):
        assert httpx.post(f"{base}/scan", headers=key, content=content).status_code == 400
    # A registry that cannot be reached: the report is an error.
    identifier = httpx.post(f"{base}/scan", headers=key, json=good).json()["id"]

    def outcome() -> Any:
        answer = httpx.get(f"{base}/scan/{identifier}/report", headers={**key, "Accept": GENERIC})
        return answer if answer.status_code != 302 else None

    answer = until(outcome)
    assert answer.status_code == 500
    assert "registry cannot be read" in answer.json()["error"]["message"]


def test_a_registry_that_lies_is_found_out(scanner: Registry, tmp_path: Path) -> None:
    """Bytes that do not match their digest end the scan, before anything is remembered of them."""

    class Liar(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = b'{"layers": []}'
            self.send_response(200)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Liar)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        key = {"X-ScannerAdapter-API-Key": TOKEN}
        base = f"{scanner.url}/scanner-adapter/api/v1"
        body = {
            "registry": {"url": f"http://127.0.0.1:{server.server_address[1]}", "authorization": ""},
            "artifact": {
                "repository": "a/b",
                "digest": "sha256:" + "1" * 64,
                "mime_type": "application/vnd.oci.image.manifest.v1+json",
            },
        }
        identifier = httpx.post(f"{base}/scan", headers=key, json=body).json()["id"]

        def outcome() -> Any:
            answer = httpx.get(f"{base}/scan/{identifier}/report", headers={**key, "Accept": GENERIC})
            return answer if answer.status_code != 302 else None

        assert "another manifest" in until(outcome).json()["error"]["message"]
    finally:
        server.shutdown()
        server.server_close()


# -- held against the specification --------------------------------------------------------------------

# As before 1.1: no types, no report but Harbor's own, no properties.
CLAIR: dict[str, Any] = {
    "scanner": {"name": "Clair", "vendor": "CoreOS", "version": "2.x"},
    "capabilities": [
        {"consumes_mime_types": spec.MANIFESTS[1:] + spec.MANIFESTS[:1], "produces_mime_types": [spec.NATIVE]}
    ],
}


def found(name: str, *items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "generated_at": "2026-01-02T03:04:05.678Z",
        "artifact": {"repository": name, "digest": "sha256:0"},
        "scanner": spec.TRIVY["scanner"],
        "severity": "High",
        "vulnerabilities": list(items),
        **more,
    }


ITEM = {
    "id": "CVE-2024-1",
    "package": "a",
    "version": "1",
    "fix_version": "",
    "severity": "High",
    "links": None,
}


def test_an_adapter_like_trivys(client: Client, tmp_path: Path) -> None:
    """Bearer credential, TLS with a certificate of nobody, a report that takes its time, an SBOM in CycloneDX only."""
    project(client, "strict")
    client.push("strict/x", "v1", npm(("left", "1.0.0"), ("own", "strict")))
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-days", "2", "-subj", "/CN=adapter", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    negligible: dict[str, Any] = {
        **ITEM,
        "id": "CVE-2024-2",
        "severity": "Negligible",
        "vendor_attributes": {"CVSS": {}},
    }
    adapter = spec.Adapter(
        spec.TRIVY,
        [1, 0, found("strict/x", ITEM, negligible)],
        credential=("Authorization", f"Bearer {TOKEN}"),
    )
    with adapter.serve(tls):
        settings = {"name": "x", "url": adapter.url, "auth": "Bearer", "access_credential": TOKEN}
        client.api("POST", "/scanners/ping", 400, json=settings)  # the certificate is nobody's
        client.api("POST", "/scanners/ping", json={**settings, "skip_certVerify": True})
        client.api(
            "POST",
            "/scanners/ping",
            400,
            json={**settings, "skip_certVerify": True, "access_credential": "no"},
        )
        use(client, "strict", register(client, "Strict Trivy", adapter.url, skip_certVerify=True))
        client.scan("strict/x", "v1")
        report = client.wait_report("strict/x", "v1")
        assert {v["id"]: v["severity"] for v in report["vulnerabilities"]} == {
            "CVE-2024-1": "High",
            "CVE-2024-2": "None",
        }
        assert [mime for mime, _ in adapter.asked] == [spec.GENERIC] * 3
        adapter.reports += [found("strict/x", media_type=spec.FORMATS[1], sbom={"bomFormat": "CycloneDX"})]
        client.scan("strict/x", "v1", "sbom")
        path = f"/api/v2.0{artifact('strict/x', 'v1')}/additions/sbom"
        answer = until(lambda: a if (a := client.http.get(path)).status_code == 200 else None)
        assert answer.json() == {"bomFormat": "CycloneDX"}
        assert adapter.asked[-1] == (spec.SBOM, {"sbom_media_type": [spec.FORMATS[1]]})
    assert adapter.faults == []
    assert [r["enabled_capabilities"][0]["type"] for r in adapter.requests] == ["vulnerability", "sbom"]


@pytest.mark.parametrize("auth", ["Basic", "APIKey", ""])
def test_an_adapter_like_clairs(client: Client, auth: str) -> None:
    """The API's version 1.0, `null` for nothing found, and an error where it cannot scan."""
    name = f"clair{auth.lower() or 'none'}"
    project(client, name)
    client.push(f"{name}/x", "v1", npm(("left", "1.0.0"), ("own", name)))
    pair = "Basic " + base64.b64encode(b"user:secret").decode()
    header = {"Basic": ("Authorization", pair), "APIKey": ("X-ScannerAdapter-API-Key", "user:secret")}.get(
        auth
    )
    adapter = spec.Adapter(
        CLAIR,
        [1, {**found(f"{name}/x"), "vulnerabilities": None}, "the image cannot be pulled"],
        header="Retry-After",
        credential=header,
    )
    with adapter.serve():
        given = (
            {"auth": auth, "access_credential": "user:secret"}
            if auth
            else {"auth": "", "access_credential": ""}
        )
        use(client, name, register(client, f"Clair {name}", adapter.url, **given))
        client.scan(f"{name}/x", "v1")
        assert client.wait_report(f"{name}/x", "v1")["vulnerabilities"] == []
        assert [mime for mime, _ in adapter.asked] == [spec.NATIVE] * 2
        client.scan(f"{name}/x", "v1", "sbom")  # it makes none: the scan says so
        client.scan(f"{name}/x", "v1")

        def statuses() -> Any:
            shown = client.get(
                artifact(f"{name}/x", "v1"), with_scan_overview="true", with_sbom_overview="true"
            )
            (scanned,) = shown["scan_overview"].values()
            both = (scanned["scan_status"], (shown.get("sbom_overview") or {}).get("scan_status"))
            return both if both == ("Error", "Error") else None

        until(statuses)
    assert adapter.faults == []
    assert len(adapter.requests) == 2


def test_our_adapter_keeps_to_the_specification(client: Client, scanner: Registry) -> None:
    base, key = f"{scanner.url}/scanner-adapter/api/v1", {"X-ScannerAdapter-API-Key": TOKEN}
    for mime in spec.MIMES["metadata"]:
        answer = httpx.get(f"{base}/metadata", headers={**key, "Accept": mime})
        assert answer.headers["content-type"] == mime
        spec.holds(answer.json(), spec.METADATA)
    assert "harbor.scanner-adapter/vulnerability-database-updated-at" in answer.json()["properties"]
    (sbom,) = [item for item in answer.json()["capabilities"] if item["type"] == "sbom"]
    assert sbom["additional_attributes"]["sbom_media_types"] == spec.FORMATS
    client.api("POST", "/projects", 201, json={"project_name": "specified", "metadata": {"public": "true"}})
    digest = client.push("specified/x", "v1", npm(("left", "1.0.0"), ("own", "specified")))
    body: dict[str, Any] = {
        "registry": {"url": client.registry.url, "authorization": ""},
        "artifact": {"repository": "specified/x", "digest": digest, "mime_type": spec.MANIFESTS[0]},
    }
    spec.holds(body, spec.REQUEST)

    def ask(**more: Any) -> httpx.Response:
        headers = {**key, "Content-Type": spec.MIMES["request"][1], "Accept": spec.MIMES["response"][0]}
        return httpx.post(f"{base}/scan", headers=headers, content=json.dumps({**body, **more}))

    def get(identifier: str, mime: str, kind: str = "") -> httpx.Response:
        query = {"sbom_media_type": kind} if kind else {}
        path = f"{base}/scan/{identifier}/report"
        return httpx.get(path, headers={**key, "Accept": mime}, params=query)

    def finished(identifier: str, mime: str, kind: str = "") -> httpx.Response:
        found: httpx.Response = until(
            lambda: a if (a := get(identifier, mime, kind)).status_code != 302 else None
        )
        assert found.status_code == 200, found.text
        assert found.headers["content-type"] == mime
        return found

    # Nothing said: everything, in every form.
    accepted = ask()
    assert (accepted.status_code, accepted.headers["content-type"]) == (202, spec.MIMES["response"][0])
    spec.holds(accepted.json(), spec.RESPONSE)
    identifier = accepted.json()["id"]
    for mime in (spec.GENERIC, spec.NATIVE):
        document = finished(identifier, mime).json()
        spec.holds(document, spec.REPORT)
        assert (document["severity"], len(document["vulnerabilities"])) == ("Critical", 1)
    for kind in spec.FORMATS:
        document = finished(identifier, spec.SBOM, kind).json()
        spec.holds(document, spec.SBOM_REPORT)
        assert document["media_type"] == kind
    for answer, status in (
        (get(identifier, spec.SBOM), 400),
        (get(identifier, spec.SBOM, "text/plain"), 400),
        (get(identifier, "application/vnd.scanner.adapter.vuln.report.raw"), 501),
        (get("absent", spec.GENERIC), 404),
        (ask(enabled_capabilities=[{"type": "malware"}]), 501),
        (ask(enabled_capabilities=["sbom"]), 422),
    ):
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == spec.MIMES["error"][0]
        spec.holds(answer.json(), spec.ERROR)
    # One thing asked for: the other is not there.
    one = {"type": "sbom", "parameters": {"sbom_media_types": spec.FORMATS[1:]}}
    identifier = ask(enabled_capabilities=[one]).json()["id"]
    finished(identifier, spec.SBOM, spec.FORMATS[1])
    assert get(identifier, spec.SBOM, spec.FORMATS[0]).status_code == 400
    assert get(identifier, spec.GENERIC).status_code == 501
    # An image without findings, whose severity has a word in the specification too.
    body["artifact"]["digest"] = client.push("specified/x", "v2", npm(("own", "specified2")))
    identifier = ask(enabled_capabilities=[{"type": "vulnerability"}]).json()["id"]
    document = finished(identifier, spec.GENERIC).json()
    spec.holds(document, spec.REPORT)
    assert document["vulnerabilities"] == []
