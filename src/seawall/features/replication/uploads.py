"""Uploading blobs to another registry: in one request, in chunks, or where an earlier try left off."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Any
from urllib.parse import quote

import httpx

from seawall.features.replication.limiter import Limiter
from seawall.features.replication.remote import RemoteError, refused, unreached
from seawall.features.replication.session import FAILURES, Session

# Blobs below this go in one request; above, an upload session is kept so that the next try can go on.
WHOLE_LIMIT = 8 * 1024 * 1024
CHUNK = 10 * 1024 * 1024
MOUNTED = -1

BlobSource = Callable[[int], AsyncIterable[bytes]]


class Uploads:
    """Uploads over one session."""

    def __init__(self, session: Session, limiter: Limiter, *, single_post: bool) -> None:
        """`single_post`: the registry takes a small blob in one POST (Distribution 1.1, "Single POST")."""
        self._session = session
        self._limiter = limiter
        self._single_post = single_post

    async def put(
        self,
        repository: str,
        digest: str,
        size: int,
        source: BlobSource,
        *,
        session: str | None = None,
        opened: Callable[[str], Any] | None = None,
        by_chunk: bool = False,
        mount_from: str | None = None,
    ) -> int:
        """Upload a blob of `size` bytes from `source(offset)`; returns how many bytes were sent.

        `mount_from` names a repository of the registry that may have the blob: MOUNTED comes back when the
        registry links it from there. `session` is the location of an upload that an earlier try left open:
        its bytes are not sent again. `opened` (a coroutine function) learns the location of a session worth
        going on with.
        """
        scope = push_scope(repository)
        offset = 0
        where = None
        if session is not None:
            where, offset = await self._resume(repository, session)
            if offset > size:
                where, offset = None, 0
        small = not by_chunk and size <= WHOLE_LIMIT and offset == 0
        if where is None:
            path = f"/v2/{path_of(repository)}/blobs/uploads/"
            if small and self._single_post and mount_from is None:
                content = await self._whole(source)
                await self._session.request(
                    "POST",
                    f"{path}?digest={quote(digest)}",
                    scope,
                    accept=frozenset({201}),
                    headers={"Content-Type": "application/octet-stream"},
                    content=content,
                )
                return size
            if mount_from is None:
                response = await self._session.request("POST", path, scope, accept=frozenset({202}))
            else:
                path += f"?mount={quote(digest)}&from={quote(mount_from)}"
                both = f"{scope} {pull_scope(mount_from)}"
                response = await self._session.request("POST", path, both, accept=frozenset({201, 202}))
                if response.status_code == 201:
                    return MOUNTED
            where = self._location(response)
        first = offset
        if small:
            await self._finish(where, scope, digest, await self._whole(source))
            return size
        if opened is not None:
            await opened(where)
        while offset < size:
            end = min(size, offset + CHUNK) if by_chunk else size
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Length": str(end - offset),
                "Content-Range": f"{offset}-{end - 1}",
                **await self._session.headers(where, scope),
            }
            try:
                response = await self._session.http.request(
                    "PATCH", where, headers=headers, content=self._counted(source, offset, end)
                )
            except FAILURES as error:
                raise unreached(self._session.url, error) from None
            if response.status_code != 202:
                raise refused("PATCH", where, response)
            where = self._location(response)
            offset = end
            if opened is not None and offset < size:
                await opened(where)
        await self._finish(where, scope, digest, b"")
        return size - first

    async def _whole(self, source: BlobSource) -> bytes:
        content = b"".join([data async for data in source(0)])
        await self._limiter.take(len(content))
        return content

    async def _counted(self, source: BlobSource, start: int, end: int) -> AsyncIterator[bytes]:
        left = end - start
        async for data in source(start):
            part = data[:left]
            left -= len(part)
            await self._limiter.take(len(part))
            yield part
            if left <= 0:
                return
        raise RemoteError("the source ended before the blob did")

    async def _finish(self, where: str, scope: str, digest: str, content: bytes) -> None:
        separator = "&" if "?" in where else "?"
        await self._session.request(
            "PUT",
            f"{where}{separator}digest={quote(digest)}",
            scope,
            accept=frozenset({201}),
            headers={"Content-Type": "application/octet-stream"},
            content=content,
        )

    async def _resume(self, repository: str, session: str) -> tuple[str | None, int]:
        try:
            response = await self._session.request(
                "GET", session, push_scope(repository), accept=frozenset({204, 202})
            )
        except RemoteError as error:
            if error.status:
                return None, 0
            raise
        match = re.fullmatch(r"(?:bytes=)?0-(\d+)", response.headers.get("range", ""))
        if match is None or match[1] == "0":
            # "0-0" may mean none or one byte.
            return None, 0
        return self._location(response, session), int(match[1]) + 1

    def _location(self, response: httpx.Response, default: str = "") -> str:
        target = response.headers.get("location") or default
        if not target:
            raise RemoteError(f"{self._session.url}: an upload was answered without a Location")
        return self._session.place(target, str(response.request.url))


def pull_scope(repository: str) -> str:
    """The scope of a token that reads."""
    return f"repository:{repository}:pull"


def push_scope(repository: str) -> str:
    """The scope of a token that writes."""
    return f"repository:{repository}:pull,push"


def path_of(repository: str) -> str:
    """A repository's name in a URL."""
    return quote(repository, safe="/")
