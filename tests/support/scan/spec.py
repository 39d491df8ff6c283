"""The messages of Harbor's Pluggable Scanner API 1.2 as JSON Schemas, and an adapter that takes nothing else.

Written from the published specification (operations, media types, required fields, enumerations).
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonschema

TEXT = {"type": "string"}
TEXTS = {"type": "array", "items": TEXT}
MIMES = {
    "metadata": [f"application/vnd.scanner.adapter.metadata+json; version=1.{n}" for n in (0, 1)],
    "request": [f"application/vnd.scanner.adapter.scan.request+json; version=1.{n}" for n in (0, 1)],
    "response": ["application/vnd.scanner.adapter.scan.response+json; version=1.0"],
    "error": ["application/vnd.scanner.adapter.error+json; version=1.0"],
}
NATIVE = "application/vnd.scanner.adapter.vuln.report.harbor+json; version=1.0"
GENERIC = "application/vnd.security.vulnerability.report; version=1.1"
SBOM = "application/vnd.security.sbom.report+json; version=1.0"
FORMATS = ["application/spdx+json", "application/vnd.cyclonedx+json"]
SEVERITY = {"enum": ["Unknown", "Negligible", "Low", "Medium", "High", "Critical"]}


def thing(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties}


SCANNER = thing(("name", "vendor", "version"), name=TEXT, vendor=TEXT, version=TEXT)
ARTIFACT = thing(("repository", "digest"), repository=TEXT, digest=TEXT, tag=TEXT, mime_type=TEXT)
FORMAT = {"enum": FORMATS}
KIND = {"enum": ["vulnerability", "sbom"]}
METADATA = thing(
    ("scanner", "capabilities"),
    scanner=SCANNER,
    capabilities={
        "type": "array",
        "minItems": 1,
        "items": thing(
            ("consumes_mime_types", "produces_mime_types"),
            type=KIND,
            consumes_mime_types=TEXTS,
            produces_mime_types=TEXTS,
            additional_attributes={"type": "object"},
        ),
    },
    properties={"type": "object", "additionalProperties": TEXT},
)
REQUEST = thing(
    ("registry", "artifact"),
    registry=thing(("url",), url={"type": "string", "pattern": "^https?://"}, authorization=TEXT),
    artifact=ARTIFACT,
    enabled_capabilities={
        "type": "array",
        "items": thing(
            ("type",),
            type=KIND,
            produces_mime_types=TEXTS,
            parameters=thing((), sbom_media_types={"type": "array", "items": FORMAT}),
        ),
    },
)
RESPONSE = thing(("id",), id=TEXT)
ERROR = thing(("error",), error=thing(("message",), message=TEXT))
MOMENT = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"}
REPORT = thing(
    ("generated_at", "artifact", "scanner", "severity", "vulnerabilities"),
    generated_at=MOMENT,
    artifact=ARTIFACT,
    scanner=SCANNER,
    severity=SEVERITY,
    vulnerabilities={
        "type": "array",
        "items": thing(
            ("id", "package", "version", "severity"),
            id=TEXT,
            package=TEXT,
            version=TEXT,
            fix_version=TEXT,
            severity=SEVERITY,
            description=TEXT,
            links={"type": "array", "items": {"type": "string", "pattern": "^https?://"}},
            preferred_cvss=thing(
                (), score_v3={"type": "number"}, score_v2={"type": "number"}, vector_v3=TEXT, vector_v2=TEXT
            ),
            cwe_ids=TEXTS,
            vendor_attributes={"type": "object"},
        ),
    },
)
SBOM_REPORT = thing(
    ("generated_at", "artifact", "scanner", "media_type", "sbom"),
    generated_at=MOMENT,
    artifact=ARTIFACT,
    scanner=SCANNER,
    vendor_attributes={"type": "object"},
    media_type=FORMAT,
    sbom={"type": "object"},
)

MANIFESTS = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
]
# What Trivy's adapter says of itself.
TRIVY: dict[str, Any] = {
    "scanner": {"name": "Trivy", "vendor": "Aqua Security", "version": "v0.60.0"},
    "capabilities": [
        {
            "type": "vulnerability",
            "consumes_mime_types": MANIFESTS,
            # Since version 0.38, which refuses a request for the older report.
            "produces_mime_types": [GENERIC],
        },
        {
            "type": "sbom",
            "consumes_mime_types": MANIFESTS,
            "produces_mime_types": [SBOM],
            "additional_attributes": {"sbom_media_types": FORMATS[1:]},
        },
    ],
    "properties": {"harbor.scanner-adapter/scanner-type": "os-package-vulnerability"},
}


def holds(document: Any, schema: dict[str, Any]) -> None:
    """Raises jsonschema.ValidationError."""
    jsonschema.validate(document, schema)


@dataclass
class Adapter:
    """A strict adapter: what it is sent must keep to the specification, or `faults` says why not.

    `reports`: what /report answers in turn: a number of seconds to come back after (302), an error
    (500), or a document by media type.
    """

    metadata: dict[str, Any]
    reports: list[int | str | dict[str, Any]]
    header: str = "Refresh-After"
    credential: tuple[str, str] | None = None
    url: str = ""
    faults: list[str] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    asked: list[tuple[str, dict[str, list[str]]]] = field(default_factory=list)

    def answer(
        self, method: str, target: str, headers: Any, body: bytes
    ) -> tuple[int, str, Any, dict[str, str]]:
        if self.credential is not None and headers.get(self.credential[0]) != self.credential[1]:
            return 401, MIMES["error"][0], {"error": {"message": "no credential"}}, {}
        path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
        accepted = [item.strip() for item in headers.get("Accept", "").split(",")]
        if (method, path) == ("GET", "/api/v1/metadata"):
            mime = next(item for item in MIMES["metadata"] if item in accepted)
            return 200, mime, self.metadata, {}
        if (method, path) == ("POST", "/api/v1/scan"):
            assert headers["Content-Type"] in MIMES["request"], headers["Content-Type"]
            assert MIMES["response"][0] in accepted, accepted
            request = json.loads(body)
            holds(request, REQUEST)
            made = {mime for item in self.metadata["capabilities"] for mime in item["produces_mime_types"]}
            for wanted in request.get("enabled_capabilities", []):
                for mime in set(wanted.get("produces_mime_types", [])) - made:
                    return (
                        400,
                        MIMES["error"][0],
                        {"error": {"message": f"unsupported mime type: {mime}"}},
                        {},
                    )
            self.requests.append(request)
            return 202, MIMES["response"][0], {"id": "scan-1"}, {}
        assert (method, path) == ("GET", "/api/v1/scan/scan-1/report"), (method, path)
        (mime,) = accepted
        self.asked.append((mime, query))
        assert mime in (NATIVE, GENERIC, SBOM), mime
        assert mime != SBOM or query.get("sbom_media_type", [""])[0] in FORMATS, query
        report = self.reports.pop(0)
        if isinstance(report, int):
            return 302, "", None, {self.header: str(report)}
        if isinstance(report, str):
            return 500, MIMES["error"][0], {"error": {"message": report}}, {}
        return 200, mime, report, {}

    @contextmanager
    def serve(self, tls: ssl.SSLContext | None = None) -> Iterator[Adapter]:
        """Listen on a free port."""
        adapter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                try:
                    status, mime, document, more = adapter.answer(self.command, self.path, self.headers, body)
                except (
                    AssertionError,
                    StopIteration,
                    KeyError,
                    ValueError,
                    jsonschema.ValidationError,
                ) as error:
                    adapter.faults.append(f"{self.command} {self.path}: {error}")
                    status, mime, document, more = 400, MIMES["error"][0], {"error": {"message": "bad"}}, {}
                data = b"" if document is None else json.dumps(document).encode()
                self.send_response(status)
                for name, value in {"Content-Type": mime, "Content-Length": str(len(data)), **more}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_arguments: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        scheme = "https" if tls is not None else "http"
        self.url = f"{scheme}://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
