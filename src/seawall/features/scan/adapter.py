"""Client of Harbor's Pluggable Scanner API 1.2: how Trivy's, Clair's and other adapters are spoken to.

Source: the Pluggable Scanner API specification, versions 1.0 to 1.2.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from seawall.features.scan.report import GENERIC
from seawall.infra.outgoing import LIMIT, guarded
from seawall.kernel.errors import SeawallError

METADATA = "application/vnd.scanner.adapter.metadata+json; version=1.1"
METADATA_OLD = "application/vnd.scanner.adapter.metadata+json; version=1.0"
SCAN_REQUEST = "application/vnd.scanner.adapter.scan.request+json; version=1.1"
_REQUEST_OLD = "application/vnd.scanner.adapter.scan.request+json; version=1.0"
SCAN_RESPONSE = "application/vnd.scanner.adapter.scan.response+json; version=1.0"
ERROR = "application/vnd.scanner.adapter.error+json; version=1.0"
AUTHORIZATION = "harbor.scanner-adapter/registry-authorization-type"
# One answer takes at most so long, however it trickles in.
_ANSWER_SECONDS = 600.0
_REPORT_BYTES = 256 * 1024 * 1024
_DOCKER = "application/vnd.docker.distribution.manifest.v2+json"


class AdapterError(SeawallError):
    """The scanner adapter cannot be reached or answered with an error."""


@dataclass(frozen=True, slots=True)
class Registration:
    """How to reach an adapter. `auth` is "", Basic, Bearer or APIKey (header X-ScannerAdapter-API-Key)."""

    url: str
    auth: str = ""
    credential: str = ""
    skip_cert_verify: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """What an adapter is asked: where the image is, how to pull it, and what is wanted of it."""

    registry: str
    authorization: str
    repository: str
    digest: str
    media_type: str
    tag: str = ""
    size: int = 0
    kind: str = "vulnerability"
    # One that the adapter says it makes: some refuse a request that names others as well.
    produces: str = GENERIC
    sbom_media_type: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The request's body."""
        wanted: dict[str, Any] = {"type": self.kind, "produces_mime_types": [self.produces]}
        if self.kind == "sbom":
            wanted["parameters"] = {"sbom_media_types": [self.sbom_media_type]}
        return {
            "registry": {
                "url": self.registry,
                "authorization": self.authorization,
                "insecure": self.registry.startswith("http://"),
            },
            "artifact": {
                "repository": self.repository,
                "digest": self.digest,
                "tag": self.tag,
                "mime_type": self.media_type,
                "size": self.size,
            },
            "enabled_capabilities": [wanted],
        }


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class AdapterClient:
    """One adapter; use as an async context manager."""

    def __init__(self, registration: Registration, *, timeout: float = 30) -> None:
        headers = {}
        secret = registration.credential
        if registration.auth.lower() == "apikey":
            headers["X-ScannerAdapter-API-Key"] = secret
        elif registration.auth.lower() == "bearer":
            headers["Authorization"] = f"Bearer {secret}"
        elif registration.auth.lower() == "basic" and ":" in secret:
            user, _, password = secret.partition(":")
            pair = base64.b64encode(f"{user}:{password}".encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        self._base = registration.url.rstrip("/") + "/api/v1"
        self._client = httpx.AsyncClient(
            headers=headers,
            timeout=timeout,
            # Adapters are in the cluster; a proxy of the environment is for the world outside.
            transport=guarded(registration.url, verify=not registration.skip_cert_verify),
            follow_redirects=False,
        )

    async def __aenter__(self) -> AdapterClient:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._client.aclose()

    async def metadata(self) -> dict[str, Any]:
        """The adapter's metadata, checked. Raises AdapterError."""
        found = await self._json("GET", "/metadata", {"Accept": f"{METADATA}, {METADATA_OLD}"}, 200)
        scanner, capabilities = found.get("scanner"), found.get("capabilities")
        if not isinstance(scanner, dict) or not all(
            isinstance(scanner.get(key), str) and scanner[key] for key in ("name", "vendor", "version")
        ):
            raise AdapterError("the adapter's metadata names no scanner")
        if not isinstance(capabilities, list) or not capabilities:
            raise AdapterError("the adapter's metadata lists no capabilities")
        for item in capabilities:
            consumes = item.get("consumes_mime_types") if isinstance(item, dict) else None
            if not isinstance(consumes, list) or not isinstance(item.get("produces_mime_types"), list):
                raise AdapterError("the adapter's metadata has a capability without mime types")
        if not isinstance(found.get("properties"), dict):
            found["properties"] = {}
        return found

    async def submit(self, request: Request) -> str:
        """Start a scan; returns the adapter's id of it. Raises AdapterError."""
        # Every adapter takes 1.0; later versions only add fields to the body.
        headers = {"Content-Type": _REQUEST_OLD, "Accept": SCAN_RESPONSE}
        answer = await self._json("POST", "/scan", headers, 202, request.as_dict())
        identifier = answer.get("id")
        if not isinstance(identifier, str) or not identifier or "/" in identifier:
            raise AdapterError("the adapter gave the scan no id")
        return identifier

    async def report(
        self,
        identifier: str,
        mime_type: str,
        *,
        seconds: float,
        wait: Callable[[], Awaitable[None]],
        sbom_media_type: str = "",
    ) -> dict[str, Any]:
        """The finished report, asked for until it is there, at most `seconds`. Raises AdapterError.

        `wait` is awaited between questions and may raise to give up.
        """
        deadline = time.monotonic() + seconds
        parameters = {"sbom_media_type": sbom_media_type} if sbom_media_type else None
        while True:
            response = await self._send(
                "GET", f"/scan/{identifier}/report", {"Accept": mime_type}, None, parameters
            )
            if response.status == 200:
                return self._document(response)
            if response.status != 302:
                raise AdapterError(f"scan report: {self._reason(response)}")
            if time.monotonic() > deadline:
                raise AdapterError(f"the adapter had no report after {int(seconds)} seconds")
            await wait()
            after = response.headers.get("refresh-after") or response.headers.get("retry-after") or ""
            await asyncio.sleep(min(float(after), 30) if after.isdecimal() else 5)

    async def _json(
        self, method: str, path: str, headers: dict[str, str], status: int, body: Any = None
    ) -> dict[str, Any]:
        response = await self._send(method, path, headers, body)
        if response.status != status:
            raise AdapterError(self._reason(response))
        return self._document(response)

    async def _send(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        body: Any,
        parameters: dict[str, str] | None = None,
    ) -> _Answer:
        content = json.dumps(body).encode() if body is not None else None
        request = self._client.build_request(
            method,
            self._base + path,
            headers=headers,
            content=content,
            params=parameters,
            # Counted below, unpacked.
            extensions={LIMIT: None},
        )
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                response = await self._client.send(request, stream=True)
                try:
                    parts = []
                    size = 0
                    async for part in response.aiter_bytes():
                        size += len(part)
                        if size > _REPORT_BYTES:
                            raise AdapterError("the adapter's answer is too large")
                        parts.append(part)
                finally:
                    await response.aclose()
        except (httpx.HTTPError, TimeoutError) as error:
            raise AdapterError(f"the adapter cannot be reached: {error or type(error).__name__}") from None
        return _Answer(response.status_code, dict(response.headers), b"".join(parts))

    @staticmethod
    def _document(response: _Answer) -> dict[str, Any]:
        try:
            document = json.loads(response.body)
        except (ValueError, RecursionError):
            raise AdapterError("the adapter's answer is not JSON") from None
        if not isinstance(document, dict):
            raise AdapterError("the adapter's answer is not a JSON object")
        return document

    @staticmethod
    def _reason(response: _Answer) -> str:
        message: Any = ""
        try:
            message = json.loads(response.body)["error"]["message"]
        except (ValueError, KeyError, TypeError, RecursionError):
            message = ""
        text = f": {message[:300]}" if isinstance(message, str) and message else ""
        return f"the adapter answered {response.status}{text}"


def capability(metadata: dict[str, Any], kind: str, media_type: str) -> dict[str, Any] | None:
    """The capability of an adapter that makes reports of `kind` for artifacts of `media_type`."""
    for item in metadata["capabilities"]:
        # Adapters before 1.2 name no type and find vulnerabilities.
        if (item.get("type") or "vulnerability") == kind and media_type in item["consumes_mime_types"]:
            found: dict[str, Any] = item
            return found
    return None


def sbom_format(able: dict[str, Any], known: Sequence[str]) -> str | None:
    """The first of `known` SBOM formats that a capability offers; the first where it names none."""
    attributes = able.get("additional_attributes")
    offered = attributes.get("sbom_media_types") if isinstance(attributes, dict) else None
    if not isinstance(offered, list) or not offered:
        return known[0]
    return next((item for item in known if item in offered), None)
