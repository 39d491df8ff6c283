"""Kinds of registries: how each lists what it has, logs in, and makes room for what comes.

Tested against real servers: seawall, docker-registry. The cloud registries' forms of logging in follow
their documentation and are tested as far as that goes without an account (see docs/replication.md).
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from seawall.features.replication.client import RegistryClient
from seawall.features.replication.endpoint import RemoteEndpoint
from seawall.features.replication.limiter import Limiter
from seawall.features.replication.login import Credentials
from seawall.features.replication.remote import RemoteError
from seawall.features.replication.session import Patience
from seawall.kernel import patterns
from seawall.kernel.errors import InvalidError
from seawall.kernel.sigv4 import sign_v4


@dataclass(frozen=True, slots=True)
class AdapterInfo:
    """What a kind of registry can do, and its usual addresses as (name, URL)."""

    type: str
    description: str
    endpoints: tuple[tuple[str, str], ...] = ()
    label_filter: bool = False
    # Name and secret are fixed or of a special kind, as Harbor's pages show them.
    key_type: str = "AccessKeyTypeStandard"
    key_data: str = "No Change"
    secret_type: str = "AccessSecretTypeStandard"  # noqa: S105 - a form's name
    secret_data: str = "No Change"  # noqa: S105


_AWS_REGIONS = [
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
    "ca-central-1",
    "eu-central-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eu-north-1",
    "eu-south-1",
    "ap-south-1",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-east-1",
    "sa-east-1",
    "me-south-1",
    "af-south-1",
]

ADAPTERS: dict[str, AdapterInfo] = {
    item.type: item
    for item in (
        AdapterInfo("seawall", "Seawall", label_filter=True),
        AdapterInfo("harbor", "Harbor", label_filter=True),
        AdapterInfo("docker-registry", "Any registry that speaks OCI Distribution"),
        AdapterInfo("docker-hub", "Docker Hub", (("hub.docker.com", "https://hub.docker.com"),)),
        AdapterInfo(
            "aws-ecr",
            "Amazon Elastic Container Registry",
            tuple((region, f"https://api.ecr.{region}.amazonaws.com") for region in _AWS_REGIONS),
        ),
        AdapterInfo(
            "google-gcr",
            "Google Container Registry and Artifact Registry",
            tuple((host, f"https://{host}") for host in ("gcr.io", "us.gcr.io", "eu.gcr.io", "asia.gcr.io")),
            key_type="AccessKeyTypeFix",
            key_data="_json_key",
            secret_type="AccessSecretTypeFile",  # noqa: S106
        ),
        AdapterInfo("azure-acr", "Azure Container Registry"),
        AdapterInfo("github-ghcr", "GitHub Container Registry", (("ghcr.io", "https://ghcr.io"),)),
        AdapterInfo("quay", "Quay", (("quay.io", "https://quay.io"),)),
        AdapterInfo("gitlab", "GitLab Container Registry", (("gitlab.com", "https://registry.gitlab.com"),)),
        AdapterInfo("jfrog-artifactory", "JFrog Artifactory"),
        AdapterInfo("ali-acr", "Alibaba Cloud Container Registry"),
        AdapterInfo("huawei-SWR", "Huawei SWR"),
        AdapterInfo("tencent-tcr", "Tencent Container Registry"),
    )
}


@dataclass(slots=True)
class RemoteRegistry:
    """A registry endpoint with its secret in clear text; never shown or logged."""

    id: int
    name: str
    type: str
    url: str
    username: str = ""
    secret: str = field(default="", repr=False)
    insecure: bool = False
    ca_certificate: str | None = None


class Adapter:
    """One registry of any kind."""

    def __init__(
        self, registry: RemoteRegistry, limiter: Limiter | None = None, patience: Patience | None = None
    ) -> None:
        self.registry = registry
        self.client = RegistryClient(
            self._registry_url(),
            self._credentials(),
            insecure=registry.insecure,
            ca_certificate=registry.ca_certificate,
            limiter=limiter,
            single_post=registry.type == "seawall",
            patience=patience,
        )
        self.endpoint = RemoteEndpoint(self.client)

    async def close(self) -> None:
        """Close connections."""
        await self.client.close()

    async def ping(self) -> None:
        """Raise RemoteError unless the registry answers and takes the credentials."""
        await self.client.ping()

    def repositories(self, pattern: str) -> AsyncIterator[str]:
        """Names of repositories that match `pattern`."""
        return self._repositories(pattern)

    async def labels(self, repository: str, tag: str) -> set[str]:
        """Names of the labels of a tagged artifact; none where the registry has no labels."""
        del repository, tag
        return set()

    async def prepare(self, repository: str) -> None:
        """Make what must be there before a push."""

    async def delete(self, repository: str, reference: str, origin: str = "") -> bool:
        """Delete a tag or a manifest; False when it is unknown. `origin`: see `replication.origin`."""
        return await self.client.delete_manifest(repository, reference, origin)

    async def _repositories(self, pattern: str) -> AsyncIterator[str]:
        exact = patterns.literals(pattern)
        if exact is not None:
            # Many registries have no catalog, and none is needed for names that are known.
            for name in exact:
                yield name
            return
        async for name in self._all(pattern):
            if patterns.matches(pattern, name):
                yield name

    async def _all(self, pattern: str) -> AsyncIterator[str]:
        del pattern
        async for name in self.client.catalog():
            yield name

    def _registry_url(self) -> str:
        return self.registry.url

    def _credentials(self) -> Credentials:
        return Credentials(self.registry.username, self.registry.secret)


class HarborAdapter(Adapter):
    """Harbor and Seawall: projects, and labels, through the management API."""

    async def ping(self) -> None:
        """See Adapter.ping."""
        await self.client.ping()
        if self.registry.username:
            await self._api("GET", "/users/current", accept=frozenset({200, 403, 404, 412}))

    async def _api(
        self, method: str, path: str, accept: frozenset[int] = frozenset({200}), json: Any = None
    ) -> httpx.Response:
        headers = {}
        basic = self._credentials().basic()
        if basic:
            headers["Authorization"] = basic
        try:
            response = await self.client.session.http.request(
                method, f"{self.client.session.url}/api/v2.0{path}", headers=headers, json=json
            )
        except httpx.HTTPError as error:
            raise RemoteError(f"{self.client.session.url}: {error}") from None
        if response.status_code not in accept:
            raise RemoteError(
                f"{method} {self.client.session.url}/api/v2.0{path}: {response.status_code}",
                response.status_code,
            )
        return response

    async def _all(self, pattern: str) -> AsyncIterator[str]:
        # Only the projects that the pattern can mean.
        heads = patterns.expand(pattern.partition("/")[0]) if "/" in pattern and "{" not in pattern else [""]
        for project in await self._pages("/projects"):
            name = str(project["name"])
            if not any(patterns.matches(head, name) for head in heads):
                continue
            for repository in await self._pages(f"/projects/{quote(name)}/repositories"):
                yield str(repository["name"])

    async def _pages(self, path: str) -> list[dict[str, Any]]:
        result: list[dict[str, Any]] = []
        for page in range(1, 10_000):
            response = await self._api("GET", f"{path}?page={page}&page_size=100")
            items = response.json() or []
            result += items
            if len(items) < 100:
                break
        return result

    async def labels(self, repository: str, tag: str) -> set[str]:
        """See Adapter.labels."""
        project, _, rest = repository.partition("/")
        path = (
            f"/projects/{quote(project)}/repositories/{quote(quote(rest, safe=''), safe='')}/artifacts/{tag}"
        )
        response = await self._api("GET", f"{path}?with_label=true", accept=frozenset({200, 404}))
        if response.status_code == 404:
            return set()
        return {str(item["name"]) for item in response.json().get("labels") or []}

    async def prepare(self, repository: str) -> None:
        """Make the project if it is missing."""
        project = repository.partition("/")[0]
        found = await self._api(
            "HEAD", f"/projects?project_name={quote(project)}", accept=frozenset({200, 404, 403, 401})
        )
        if found.status_code == 404:
            body = {"project_name": project, "metadata": {"public": "false"}}
            # 409: somebody else made it. 403: no right to; the push will say what is wrong.
            await self._api("POST", "/projects", accept=frozenset({201, 409, 403}), json=body)


class OriginalHarborAdapter(HarborAdapter):
    """Harbor itself, whose registry API deletes by digest only."""

    async def delete(self, repository: str, reference: str, origin: str = "") -> bool:
        """See Adapter.delete."""
        del origin
        project, _, rest = repository.partition("/")
        name = quote(quote(rest, safe=""), safe="")
        path = f"/projects/{quote(project)}/repositories/{name}/artifacts/{reference}"
        if ":" not in reference:
            path += f"/tags/{reference}"
        response = await self._api("DELETE", path, accept=frozenset({200, 404}))
        return response.status_code == 200


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
            token = str(login.json().get("token", "")) if login.status_code == 200 else ""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        for name in namespace:
            for page in range(1, 10_000):
                response = await self.client.session.http.get(
                    f"{self.registry.url}/v2/repositories/{quote(name)}/?page={page}&page_size=100",
                    headers=headers,
                )
                if response.status_code != 200:
                    raise RemoteError(f"Docker Hub: {response.status_code}", response.status_code)
                body = response.json()
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
            answer = dict(response.json())
        except (ValueError, TypeError):
            raise RemoteError(f"Amazon ECR {action}: {response.status_code}", response.status_code) from None
        if response.status_code != 200 and "AlreadyExists" not in str(answer.get("__type", "")):
            raise RemoteError(
                f"Amazon ECR {action}: {answer.get('message') or response.status_code}", response.status_code
            )
        return answer


_CLASSES: dict[str, type[Adapter]] = {
    "harbor": OriginalHarborAdapter,
    "seawall": HarborAdapter,
    "docker-hub": DockerHubAdapter,
    "aws-ecr": EcrAdapter,
}


def open_adapter(
    registry: RemoteRegistry, limiter: Limiter | None = None, patience: Patience | None = None
) -> Adapter:
    """The adapter of a registry. Raises InvalidError for an unknown kind or unusable address."""
    if registry.type not in ADAPTERS:
        raise InvalidError(f"no adapter for registries of type {registry.type!r}")
    return _CLASSES.get(registry.type, Adapter)(registry, limiter, patience)
