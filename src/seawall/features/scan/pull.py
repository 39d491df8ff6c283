"""Reads an image from another registry, for the adapter: everything is checked against its digest.

The caller, who has the adapter's token, names the registry. Its answers may send us on, to a token service or
by a redirect: never to an address inside, unless `scan.internal_networks` allows it.

Source: OCI Distribution 1.1, CNCF Distribution "Token Authentication Specification".
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx

from seawall.features.scan.inventory import LAYER_TYPES, LayerSource, ScanError
from seawall.infra.addresses import Network
from seawall.infra.outgoing import LIMIT, AiohttpTransport, Reach, origin_of, trusted
from seawall.kernel.errors import RegistryError
from seawall.kernel.names import check_digest
from seawall.registry.manifest import DOCKER_MANIFEST, OCI_MANIFEST

_MANIFEST_BYTES = 4 * 1024 * 1024
_TOKEN_BYTES = 1024 * 1024
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


class RemoteImage:
    """An image at `url` (base of the registry), pulled with the given Authorization header."""

    def __init__(
        self, url: str, authorization: str, repository: str, digest: str, *, allow: tuple[Network, ...] = ()
    ) -> None:
        self.repository = repository
        self.digest = digest
        self._base = f"{url.rstrip('/')}/v2/{repository}"
        self._given = authorization
        self._header = authorization
        self._url = url
        reach = Reach(allow=allow)
        reach.add(url)
        self._client = httpx.AsyncClient(
            transport=AiohttpTransport(trusted(), reach=reach, proxies=False),
            headers={"Accept-Encoding": "identity"},
            timeout=60,
            follow_redirects=True,
        )

    async def __aenter__(self) -> RemoteImage:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._client.aclose()

    async def layers(self) -> list[LayerSource]:
        """The image's layers, lowest first. Raises ScanError."""
        try:
            check_digest(self.digest)
            data = await self._manifest()
            document = json.loads(data)
        except (ValueError, RecursionError, RegistryError):
            raise ScanError("the image's manifest is not valid") from None
        found = document.get("layers") if isinstance(document, dict) else None
        if not isinstance(found, list):
            raise ScanError("the artifact is not an image")
        result = []
        for item in found:
            kind = item.get("mediaType") if isinstance(item, dict) else None
            if not isinstance(kind, str) or not kind.startswith(LAYER_TYPES):
                continue
            if item.get("urls"):
                raise ScanError("the image has a layer that is not in its registry")
            try:
                digest = check_digest(str(item.get("digest")))
            except RegistryError:
                raise ScanError("the image's manifest names a bad digest") from None
            result.append(LayerSource(digest, stream=functools.partial(self._blob, digest)))
        return result

    async def _manifest(self) -> bytes:
        headers = {"Accept": f"{OCI_MANIFEST}, {DOCKER_MANIFEST}"}
        data = b""
        async for part in self._get(f"/manifests/{self.digest}", headers):
            data += part
            if len(data) > _MANIFEST_BYTES:
                raise ScanError("the image's manifest is too large")
        algorithm, _, value = self.digest.partition(":")
        if hashlib.new(algorithm, data).hexdigest() != value:
            raise ScanError("the registry sent another manifest than was asked for")
        return data

    async def _blob(self, digest: str) -> AsyncIterator[bytes]:
        algorithm, _, value = digest.partition(":")
        running = hashlib.new(algorithm)
        async for part in self._get(f"/blobs/{digest}", {}):
            running.update(part)
            yield part
        # Before the layer's result is stored: results are shared by digest.
        if running.hexdigest() != value:
            raise ScanError(f"{digest}: the registry sent other bytes")

    async def _get(self, path: str, headers: dict[str, str]) -> AsyncIterator[bytes]:
        for last in (False, True):
            sent = {**headers, **({"Authorization": self._header} if self._header else {})}
            try:
                async with self._client.stream(
                    "GET", self._base + path, headers=sent, extensions={LIMIT: None}
                ) as response:
                    if response.status_code == 401 and not last:
                        challenge = response.headers.get("www-authenticate", "")
                    elif response.status_code != 200:
                        raise ScanError(f"the registry answered {response.status_code} for {path[1:80]}")
                    else:
                        async for part in response.aiter_raw():
                            yield part
                        return
            except httpx.HTTPError as error:
                raise ScanError(f"the registry cannot be read: {error or type(error).__name__}") from None
            await self._login(challenge)

    async def _login(self, challenge: str) -> None:
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() != "bearer":
            raise ScanError("the registry refused the credential")
        parameters = dict(_PARAMETER.findall(rest))
        realm = parameters.get("realm", "")
        if not realm.startswith(("http://", "https://")):
            raise ScanError("the registry names no place to log in")
        try:
            there = origin_of(realm)
            safe = there.startswith("https://") or there == origin_of(self._url)
        except ValueError:
            raise ScanError("the registry names no place to log in") from None
        query = {"scope": f"repository:{self.repository}:pull"}
        if "service" in parameters:
            query["service"] = parameters["service"]
        headers = {}
        if self._given.lower().startswith("basic "):
            # A registry inside a cluster names its outer address; nothing goes there in clear.
            if not safe:
                raise ScanError("the registry wants the credential sent to another host in clear")
            headers["Authorization"] = self._given
        try:
            response = await self._client.get(
                realm, params=query, headers=headers, follow_redirects=False, extensions={LIMIT: _TOKEN_BYTES}
            )
            document: Any = response.json()
        except (httpx.HTTPError, ValueError, RecursionError):
            raise ScanError("the registry's token service cannot be used") from None
        token = document.get("token") or document.get("access_token") if isinstance(document, dict) else None
        if response.status_code != 200 or not isinstance(token, str):
            raise ScanError(f"the registry's token service answered {response.status_code}")
        self._header = f"Bearer {token}"
