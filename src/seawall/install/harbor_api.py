"""A client of the management API that Harbor and Seawall share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx

from seawall.infra.outgoing import guarded
from seawall.kernel.errors import SeawallError

_PAGE = 100


_TIMEOUT = httpx.Timeout(120, connect=15)


class ApiError(SeawallError):
    """One of the two refused or failed; `status` is its HTTP status, 0 when it cannot be reached."""

    def __init__(self, message: str, status: int) -> None:
        self.status = status
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two registries: address (`https://host`) and an administrator's login."""

    url: str
    username: str
    password: str
    insecure: bool = False


class Api:
    """A client of Harbor's API, version 2.0."""

    def __init__(self, side: Side) -> None:
        self.url = side.url.rstrip("/")
        self._http = httpx.AsyncClient(
            base_url=f"{self.url}/api/v2.0",
            auth=(side.username, side.password),
            transport=guarded(self.url, verify=not side.insecure, proxies=True),
            timeout=_TIMEOUT,
        )

    async def close(self) -> None:
        """Close connections."""
        await self._http.aclose()

    async def call(self, method: str, path: str, body: Any = None, **query: Any) -> httpx.Response:
        """One request. Raises ApiError with the other side's own words."""
        try:
            answer = await self._http.request(method, path, json=body, params=query or None)
        except httpx.HTTPError as error:
            raise ApiError(f"{self.url}: {error or type(error).__name__}", 0) from None
        if answer.status_code >= 400:
            raise ApiError(f"{method} {path}: {answer.status_code} {_words(answer)}", answer.status_code)
        return answer

    async def get(self, path: str, **query: Any) -> Any:
        """A GET's JSON."""
        try:
            return (await self.call("GET", path, **query)).json()
        except ValueError:
            raise ApiError(f"GET {path}: the answer is not JSON", 0) from None

    async def all(self, path: str, **query: Any) -> AsyncIterator[dict[str, Any]]:
        """Every item of a list, page by page."""
        page = 1
        while True:
            found = await self.get(path, page=page, page_size=_PAGE, **query)
            for item in found or []:
                yield item
            if not found or len(found) < _PAGE:
                return
            page += 1


def _words(answer: httpx.Response) -> str:
    try:
        return "; ".join(str(item["message"]) for item in answer.json()["errors"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:200]
