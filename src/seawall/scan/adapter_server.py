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
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, insert, select, update
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from seawall.content.names import check_digest, check_name
from seawall.db.schema import scan_requests
from seawall.errors import InvalidError, RegistryError
from seawall.scan import match, report, sbom
from seawall.scan.adapter import ERROR, METADATA, SCAN_RESPONSE
from seawall.scan.inventory import ScanError
from seawall.scan.model import Inventory
from seawall.scan.pull import RemoteImage
from seawall.scan.scanners import METADATA as OURS

if TYPE_CHECKING:
    from seawall.services import Services

PREFIX = "/scanner-adapter/api/v1"
_PURPOSE = "scan-request"
_BODY = 1024 * 1024
_KEEP_SECONDS = 86400


def routes(services: Services) -> list[BaseRoute]:
    """The endpoint's routes; none without `scan.adapter_token`."""
    token = services.settings.scan.adapter_token
    if token is None:
        return []
    endpoint = _Endpoint(services, token)
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
    def __init__(self, services: Services, token: str) -> None:
        self._services = services
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
        """GET /metadata."""
        return self._refused(request) or _answer(200, OURS, METADATA)

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
        except InvalidError as error:
            return _error(422, str(error))
        identifier = str(uuid.uuid4())
        authorization = wanted.pop("authorization")
        sealed = self._services.keys.encrypt(_PURPOSE, authorization.encode()) if authorization else None

        def run(connection: Connection) -> None:
            connection.execute(
                insert(scan_requests).values(
                    id=identifier,
                    request=wanted,
                    credential=sealed,
                    status="Pending",
                    created_at=time.time(),
                )
            )
            self._services.jobs.enqueue_in(connection, "scan-request", {"request": identifier})

        await self._services.db.write(run)
        self._services.jobs.nudge()
        return _answer(202, {"id": identifier}, SCAN_RESPONSE)

    async def report(self, request: Request) -> Response:
        """GET /scan/{id}/report: 302 with Refresh-After until it is there."""
        refused = self._refused(request)
        if refused is not None:
            return refused
        identifier = request.path_params["identifier"][:64]
        row = await self._services.db.read(
            lambda c: c.execute(select(scan_requests).where(scan_requests.c.id == identifier)).first()
        )
        if row is None:
            return _error(404, "no such scan")
        if row.status == "Error":
            return _error(500, row.error or "the scan failed")
        accepted = [_plain(item) for item in request.headers.get("accept", "").split(",") if item.strip()]
        produced = [report.SBOM] if row.request["kind"] == "sbom" else [report.GENERIC, report.NATIVE]
        mime = next((item for item in produced if _plain(item) in accepted or "*/*" in accepted), None)
        if mime is None and accepted:
            return _error(406, f"reports of this scan are {' or '.join(produced)}")
        if row.data is None:
            # Harbor's client does not follow it; the place is the same.
            return Response(status_code=302, headers={"Refresh-After": "2", "Location": str(request.url)})
        return _answer(200, report.unpack(bytes(row.data)), mime or produced[0])


def parse_request(body: bytes) -> dict[str, Any]:
    """A scan request's body, checked: registry, authorization, repository, digest, media_type, kind, ...

    Raises InvalidError.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidError("the request is not JSON") from None
    registry = document.get("registry") if isinstance(document, dict) else None
    artifact = document.get("artifact") if isinstance(document, dict) else None
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
        raise InvalidError("artifact.mime_type is not one that can be scanned")
    kind, sbom_type = "vulnerability", sbom.SPDX
    for item in document.get("enabled_capabilities") or []:
        if not isinstance(item, dict) or item.get("type") not in ("vulnerability", "sbom"):
            raise InvalidError("enabled_capabilities must be vulnerability or sbom")
        kind = item["type"]
        parameters = item.get("parameters")
        formats = parameters.get("sbom_media_types") if isinstance(parameters, dict) else None
        if kind == "sbom" and isinstance(formats, list) and formats:
            sbom_type = next((f for f in formats if f in sbom.FORMATS), "")
            if not sbom_type:
                raise InvalidError(f"SBOMs are {' or '.join(sbom.FORMATS)}")
    return {
        "url": url,
        "authorization": authorization,
        "repository": repository,
        "digest": digest,
        "media_type": media_type,
        "kind": kind,
        "sbom_media_type": sbom_type,
    }


async def run(
    services: Services,
    identifier: str,
    *,
    log: Callable[[str], Awaitable[None]],
    step: Callable[[], Awaitable[None]],
) -> dict[str, Any]:
    """Do one request; its outcome is stored. Raises what made it fail."""
    row = await services.db.read(
        lambda c: c.execute(select(scan_requests).where(scan_requests.c.id == identifier)).first()
    )
    if row is None or row.data is not None:
        return {"status": "gone"}
    wanted = row.request
    authorization = services.keys.decrypt(_PURPOSE, row.credential).decode() if row.credential else ""
    await log(f"{wanted['kind']} of {wanted['repository']}@{wanted['digest']} at {wanted['url']}")
    try:
        async with RemoteImage(wanted["url"], authorization, wanted["repository"], wanted["digest"]) as image:
            inventory = await services.scan.inventory_of(image.digest, image.layers, log=log, step=step)
        document = await _document(services, wanted, inventory)
    except Exception as error:
        message = str(error) if isinstance(error, ScanError) else f"internal error: {type(error).__name__}"
        await services.db.write(lambda c: _close(c, identifier, status="Error", error=message[:2000]))
        raise
    data = report.pack(document)
    await services.db.write(lambda c: _close(c, identifier, status="Success", data=data))
    return {"status": "success", "packages": len(inventory.packages)}


def _close(connection: Connection, identifier: str, **values: Any) -> None:
    # The credential has served its purpose.
    connection.execute(
        update(scan_requests).where(scan_requests.c.id == identifier).values(credential=None, **values)
    )


async def _document(services: Services, wanted: dict[str, Any], inventory: Inventory) -> dict[str, Any]:
    repository, digest = wanted["repository"], wanted["digest"]
    now = time.time()
    if wanted["kind"] == "sbom":
        kind = wanted["sbom_media_type"]
        return {
            "generated_at": report.moment(now),
            "artifact": {"repository": repository, "digest": digest, "mime_type": wanted["media_type"]},
            "scanner": report.SCANNER,
            "media_type": kind,
            "sbom": json.loads(sbom.make(kind, inventory, repository, digest, now)),
        }
    found = await services.db.read(lambda c: match.vulnerabilities(c, inventory))
    return report.build(found, repository, digest, wanted["media_type"], now)


def forget_old(connection: Connection) -> int:
    """Drop requests older than a day; returns how many."""
    before = time.time() - _KEEP_SECONDS
    return int(connection.execute(delete(scan_requests).where(scan_requests.c.created_at < before)).rowcount)
