"""Cloud registries whose login or lists are not those of OCI Distribution."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from seawall.features.replication.adapter import Adapter
from seawall.features.replication.login import Credentials
from seawall.features.replication.remote import RemoteError, document_of
from seawall.kernel import patterns
from seawall.kernel.errors import InvalidError
from seawall.kernel.sigv4 import sign_v4


class DockerHubAdapter(Adapter):
    """Docker Hub: its registry has another host than its API, and no catalog."""

    def _registry_url(self) -> str:
        if urlsplit(self.registry.url).hostname in ("hub.docker.com", "docker.io", "registry-1.docker.io"):
            return "https://registry-1.docker.io"
        return self.registry.url

    async def _repositories(self, pattern: str) -> AsyncIterator[str]:
        exact = patterns.literals(pattern)
        if exact is not None:
            for name in exact:
                yield name if "/" in name else f"library/{name}"
            return
        async for name in self._all(pattern):
            if patterns.matches(pattern, name):
                yield name

    async def _all(self, pattern: str) -> AsyncIterator[str]:
        namespace = patterns.literals(pattern.partition("/")[0])
        if namespace is None or "/" not in pattern:
            raise InvalidError("Docker Hub lists repositories by namespace only: write namespace/pattern")
        token = ""
        if self.registry.username:
            login = await self.client.session.http.post(
                f"{self.registry.url}/v2/users/login",
                json={"username": self.registry.username, "password": self.registry.secret},
            )
            token = str(document_of(login).get("token", "")) if login.status_code == 200 else ""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        for name in namespace:
            for page in range(1, 10_000):
                response = await self.client.session.http.get(
                    f"{self.registry.url}/v2/repositories/{quote(name)}/?page={page}&page_size=100",
                    headers=headers,
                )
                if response.status_code != 200:
                    raise RemoteError(f"Docker Hub: {response.status_code}", response.status_code)
                body = document_of(response)
                for item in body.get("results") or []:
                    yield f"{name}/{item['name']}"
                if not body.get("next"):
                    break


class EcrAdapter(Adapter):
    """Amazon ECR: access key and secret are exchanged for a registry password that lives 12 hours.

    Source: Amazon ECR API, GetAuthorizationToken and CreateRepository; AWS Signature Version 4.
    """

    def _region(self) -> str:
        host = urlsplit(self.registry.url).hostname or ""
        found = re.search(r"\.ecr[.-](?:fips\.)?([a-z0-9-]+)\.amazonaws\.com", host)
        if found is None:
            raise InvalidError(f"{self.registry.url} is not an address of Amazon ECR")
        return found[1]

    def _registry_url(self) -> str:
        self._region()
        return self.registry.url

    def _credentials(self) -> Credentials:
        if self.registry.username == "AWS" or not self.registry.username:
            # A password from `aws ecr get-login-password`.
            return Credentials(self.registry.username, self.registry.secret)
        return Credentials(refresh=self._login)

    async def _login(self, http: httpx.AsyncClient) -> tuple[str, str, float]:
        body = await self._call(http, "GetAuthorizationToken", {})
        try:
            data = body["authorizationData"][0]
            username, _, secret = base64.b64decode(data["authorizationToken"]).decode().partition(":")
            expires = float(data["expiresAt"])
        except (KeyError, IndexError, ValueError, TypeError):
            raise RemoteError("Amazon ECR: the answer to GetAuthorizationToken is not understood") from None
        if ".dkr." not in self.client.session.url:
            # An address of the API was given; the registry's own comes with the token.
            self.client.session.move(str(data["proxyEndpoint"]))
        return username, secret, expires

    async def ping(self) -> None:
        """See Adapter.ping."""
        await self.client.session.login.refresh()
        await self.client.ping()

    async def prepare(self, repository: str) -> None:
        """Make the repository; ECR does not make it on push."""
        if self.registry.username not in ("", "AWS"):
            await self._call(self.client.session.http, "CreateRepository", {"repositoryName": repository})

    async def _call(self, http: httpx.AsyncClient, action: str, body: dict[str, Any]) -> dict[str, Any]:
        region = self._region()
        # As AWS's own clients have it, for an interface endpoint of one's network.
        endpoint = os.environ.get("AWS_ENDPOINT_URL_ECR", "").rstrip("/")
        if not endpoint:
            suffix = ".cn" if region.startswith("cn-") else ""
            endpoint = f"https://api.ecr.{region}.amazonaws.com{suffix}"
        self.client.session.reach(endpoint)
        host = urlsplit(endpoint).netloc
        payload = json.dumps(body).encode()
        headers = {
            "content-type": "application/x-amz-json-1.1",
            "host": host,
            "x-amz-date": datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"),
            "x-amz-target": f"AmazonEC2ContainerRegistry_V20150921.{action}",
        }
        headers["authorization"] = sign_v4(
            "POST", "/", "", headers, payload, region, "ecr", self.registry.username, self.registry.secret
        )
        try:
            response = await http.post(f"{endpoint}/", content=payload, headers=headers)
        except httpx.HTTPError as error:
            raise RemoteError(f"Amazon ECR: {error}") from None
        try:
            answer = dict(document_of(response))
        except (ValueError, TypeError):
            raise RemoteError(f"Amazon ECR {action}: {response.status_code}", response.status_code) from None
        if response.status_code != 200 and "AlreadyExists" not in str(answer.get("__type", "")):
            raise RemoteError(
                f"Amazon ECR {action}: {answer.get('message') or response.status_code}", response.status_code
            )
        return answer
