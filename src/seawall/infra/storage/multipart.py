"""S3's unfinished multipart uploads, which obstore does not show: listed, and aborted when they are old.

An instance that is killed while it writes an object leaves one behind; the store keeps (and bills) its parts,
unseen. Source: Amazon S3 API, ListMultipartUploads and AbortMultipartUpload; AWS Signature Version 4.
"""

from __future__ import annotations

import hashlib
import ssl
import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

import httpx

from seawall.infra.settings import S3Settings
from seawall.kernel.errors import UnavailableError
from seawall.kernel.sigv4 import sign_v4

_PAGES = 1000


class S3Multipart:
    """The unfinished uploads of one bucket, with the access key of the settings."""

    def __init__(self, settings: S3Settings, timeout_seconds: float) -> None:
        self._settings = settings
        self._timeout = timeout_seconds
        host = settings.regionendpoint or f"https://s3.{settings.region}.amazonaws.com"
        parts = urlsplit(host.rstrip("/"))
        if settings.forcepathstyle:
            self._base, self._root = f"{parts.scheme}://{parts.netloc}", f"{parts.path}/{settings.bucket}"
        else:
            self._base, self._root = f"{parts.scheme}://{settings.bucket}.{parts.netloc}", parts.path
        self._verify: ssl.SSLContext | bool = not settings.skipverify
        if settings.cacert is not None and not settings.skipverify:
            self._verify = ssl.create_default_context(cafile=str(settings.cacert))

    async def abort_older(self, prefix: str, before: float) -> int:
        """Abort the uploads to names with this prefix that began before that time; returns how many.

        Raises UnavailableError when the store does not answer or refuses.
        """
        aborted = 0
        async with httpx.AsyncClient(verify=self._verify, timeout=self._timeout) as client:
            for key, upload, began in await self._list(client, prefix):
                if began < before:
                    await self._call(client, "DELETE", key, {"uploadId": upload}, (204, 404))
                    aborted += 1
        return aborted

    async def _list(self, client: httpx.AsyncClient, prefix: str) -> list[tuple[str, str, float]]:
        found: list[tuple[str, str, float]] = []
        query = {"uploads": "", "prefix": prefix}
        for _ in range(_PAGES):
            answer = await self._call(client, "GET", "", query, (200,))
            try:
                page = ElementTree.fromstring(answer.content)  # noqa: S314 - from our own store
            except ElementTree.ParseError:
                raise UnavailableError("storage: its list of multipart uploads is not understood") from None
            for item in page.findall("{*}Upload"):
                began = datetime.fromisoformat(item.findtext("{*}Initiated", "").replace("Z", "+00:00"))
                found.append(
                    (item.findtext("{*}Key", ""), item.findtext("{*}UploadId", ""), began.timestamp())
                )
            if page.findtext("{*}IsTruncated") != "true":
                break
            query = {
                "uploads": "",
                "prefix": prefix,
                "key-marker": page.findtext("{*}NextKeyMarker", ""),
                "upload-id-marker": page.findtext("{*}NextUploadIdMarker", ""),
            }
        return found

    async def _call(
        self, client: httpx.AsyncClient, method: str, key: str, query: dict[str, str], expect: tuple[int, ...]
    ) -> httpx.Response:
        settings = self._settings
        assert settings.accesskey is not None
        assert settings.secretkey is not None
        path = quote(f"{self._root}/{key}" if key else self._root or "/", safe="/-_.~")
        pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in query.items())
        text = "&".join(f"{name}={value}" for name, value in pairs)
        headers = {
            "host": urlsplit(self._base).netloc,
            "x-amz-content-sha256": hashlib.sha256(b"").hexdigest(),
            "x-amz-date": datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"),
        }
        if settings.sessiontoken:
            headers["x-amz-security-token"] = settings.sessiontoken
        headers["authorization"] = sign_v4(
            method, path, text, headers, b"", settings.region, "s3", settings.accesskey, settings.secretkey
        )
        try:
            answer = await client.request(method, f"{self._base}{path}?{text}", headers=headers)
        except httpx.HTTPError as error:
            raise UnavailableError(f"storage: {type(error).__name__}") from None
        if answer.status_code not in expect:
            raise UnavailableError(
                f"storage: {method} of multipart uploads was answered {answer.status_code}"
            )
        return answer
