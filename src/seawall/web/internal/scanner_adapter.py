"""The embedded scanner as an adapter: Harbor's Pluggable Scanner API 1.2 at `/scanner-adapter/api/v1`.

Another Harbor (or Seawall) registers `https://this-host/scanner-adapter` with the credential
`scan.adapter_token`. Requests are jobs like our own scans; an image that was read once, wherever it is, is
known by its digest. Without the setting, the endpoint is not there.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from seawall.features.scan import report, sbom
from seawall.features.scan.adapter import ERROR, METADATA, METADATA_OLD, SCAN_RESPONSE
from seawall.features.scan.adapter_requests import AdapterRequests
from seawall.features.scan.scanners import METADATA as OURS
from seawall.kernel.errors import InvalidError, RegistryError
from seawall.kernel.names import check_digest, check_name

PREFIX = "/scanner-adapter/api/v1"
_BODY = 1024 * 1024


def routes(requests: AdapterRequests, token: str | None) -> list[BaseRoute]:
    """The endpoint's routes; none without a `token` (`scan.adapter_token`)."""
    if token is None:
        return []
    endpoint = _Endpoint(requests, token)
    return [
        Route(f"{PREFIX}/metadata", endpoint.metadata, methods=["GET"]),
        Route(f"{PREFIX}/scan", endpoint.scan, methods=["POST"]),
        Route(f"{PREFIX}/scan/{{identifier}}/report", endpoint.report, methods=["GET"]),
    ]


def _answer(status: int, document: Any, media_type: str, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(document), status, headers, media_type)


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return _answer(status, {"error": {"message": message}}, ERROR, headers)


def _plain(mime: str) -> str:
    return mime.replace(" ", "").lower()


class _Endpoint:
    def __init__(self, requests: AdapterRequests, token: str) -> None:
        self._requests = requests
        self._token = token.encode()

    def _refused(self, request: Request) -> Response | None:
        given = request.headers.get("x-scanneradapter-api-key", "")
        scheme, _, rest = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            given = rest.strip()
        elif scheme.lower() == "basic":
            try:
                given = base64.b64decode(rest.strip(), validate=True).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                given = ""
        if hmac.compare_digest(given.encode(), self._token):
            return None
        return _error(401, "the credential is not right", {"WWW-Authenticate": "Bearer"})

    async def metadata(self, request: Request) -> Response:
        """GET /metadata, in version 1.1 unless only 1.0 is asked for."""
        refused = self._refused(request)
        if refused is not None:
            return refused
        updated = await self._requests.updated_at()
        properties = dict(OURS["properties"])
        if updated is not None:
            properties["harbor.scanner-adapter/vulnerability-database-updated-at"] = report.moment(updated)
        accepted = _plain(request.headers.get("accept", ""))
        old = _plain(METADATA_OLD) in accepted and _plain(METADATA) not in accepted
        return _answer(200, {**OURS, "properties": properties}, METADATA_OLD if old else METADATA)

    async def scan(self, request: Request) -> Response:
        """POST /scan."""
        refused = self._refused(request)
        if refused is not None:
            return refused
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _BODY:
                return _error(413, "the request is too large")
        try:
            wanted = parse_request(body)
        except _NotJsonError as error:
            return _error(400, str(error))
        except _NotAbleError as error:
            return _error(501, str(error))
        except InvalidError as error:
            return _error(422, str(error))
        identifier = await self._requests.add(wanted, wanted.pop("authorization"))
        return _answer(202, {"id": identifier}, SCAN_RESPONSE)

    async def report(self, request: Request) -> Response:
        """GET /scan/{id}/report: 302 with Refresh-After until it is there."""
        refused = self._refused(request)
        if refused is not None:
            return refused
        identifier = request.path_params["identifier"][:64]
        row = await self._requests.find(identifier)
        if row is None:
            return _error(404, "no such scan")
        if row.status == "Error":
            return _error(500, row.error or "the scan failed")
        accepted = [_plain(item) for item in request.headers.get("accept", "").split(",") if item.strip()]
        kinds = row.request.get("kinds") or [row.request["kind"]]
        produced = [mime for kind in kinds for mime in _PRODUCED[kind]]
        mime = next((item for item in produced if _plain(item) in accepted), None)
        if mime is None:
            if accepted and not {"*/*", "application/*"} & set(accepted):
                return _error(501, f"reports of this scan are {' or '.join(produced)}")
            mime = produced[0]
        wanted = request.query_params.get("sbom_media_type", "")
        if mime == report.SBOM and wanted not in sbom.FORMATS:
            return _error(400, f"sbom_media_type must be {' or '.join(sbom.FORMATS)}")
        if row.data is None:
            # Harbor's client does not follow it; the place is the same.
            return Response(status_code=302, headers={"Refresh-After": "2", "Location": str(request.url)})
        found = report.unpack(bytes(row.data))
        # An instance of the version before keeps the one document by itself.
        documents = found.get("documents") or {found.get("media_type", "vulnerability"): found}
        document = documents.get(wanted if mime == report.SBOM else "vulnerability")
        if document is None:
            return _error(400, f"the scan was not asked for {wanted}")
        return _answer(200, document, mime)


_PRODUCED = {"vulnerability": (report.GENERIC, report.NATIVE), "sbom": (report.SBOM,)}


class _NotJsonError(InvalidError):
    """400 of the specification."""


class _NotAbleError(InvalidError):
    """501 of the specification."""


def parse_request(body: bytes) -> dict[str, Any]:
    """A scan request's body, checked: registry, authorization, repository, digest, media_type, kinds, ...

    Without `enabled_capabilities` everything is asked for. Raises InvalidError.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise _NotJsonError("the request is not JSON") from None
    if not isinstance(document, dict):
        raise _NotJsonError("the request is not a JSON object")
    registry, artifact = document.get("registry"), document.get("artifact")
    if not isinstance(registry, dict) or not isinstance(artifact, dict):
        raise InvalidError("registry and artifact are required")
    url, authorization = registry.get("url"), registry.get("authorization") or ""
    if not isinstance(url, str) or not url.startswith(("http://", "https://")) or len(url) > 1000:
        raise InvalidError("registry.url must be an http or https URL")
    if not isinstance(authorization, str) or not authorization.isprintable() or len(authorization) > 65536:
        raise InvalidError("registry.authorization is not valid")
    repository, digest = artifact.get("repository"), artifact.get("digest")
    media_type = artifact.get("mime_type")
    try:
        check_name(str(repository))
        check_digest(str(digest))
    except RegistryError as error:
        raise InvalidError(f"artifact: {error.message}") from None
    if media_type not in OURS["capabilities"][0]["consumes_mime_types"]:
        raise _NotAbleError("artifact.mime_type is not one that can be scanned")
    kinds, formats = _wanted(document.get("enabled_capabilities"))
    return {
        "url": url,
        "authorization": authorization,
        "repository": repository,
        "digest": digest,
        "media_type": media_type,
        "kinds": kinds,
        "sbom_media_types": formats,
        # What the version before reads, while both run.
        "kind": kinds[0],
        "sbom_media_type": formats[0],
    }


def _wanted(capabilities: Any) -> tuple[list[str], list[str]]:
    """(kinds of reports, SBOM formats) of a request's `enabled_capabilities`."""
    if not capabilities:
        return ["vulnerability", "sbom"], list(sbom.FORMATS)
    if not isinstance(capabilities, list) or not all(isinstance(item, dict) for item in capabilities):
        raise InvalidError("enabled_capabilities must be a list of objects")
    kinds: list[str] = []
    formats = list(sbom.FORMATS)
    for item in capabilities:
        kind = item.get("type")
        if kind not in _PRODUCED:
            raise _NotAbleError("enabled_capabilities must be vulnerability or sbom")
        if kind not in kinds:
            kinds.append(kind)
        parameters = item.get("parameters")
        asked = parameters.get("sbom_media_types") if isinstance(parameters, dict) else None
        if kind == "sbom" and isinstance(asked, list) and asked:
            formats = [known for known in sbom.FORMATS if known in asked]
            if not formats:
                raise _NotAbleError(f"SBOMs are {' or '.join(sbom.FORMATS)}")
    return kinds, formats
