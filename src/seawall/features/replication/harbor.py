"""Harbor and Seawall, which have projects and labels."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx

from seawall.features.replication.adapter import Adapter
from seawall.features.replication.remote import RemoteError, document_of
from seawall.kernel import patterns


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
            items = document_of(response) or []
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
        return {str(item["name"]) for item in document_of(response).get("labels") or []}

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
