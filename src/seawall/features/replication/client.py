"""A client of any OCI registry (Distribution 1.1): token and Basic authentication, streamed blobs.

Sources: OCI Distribution 1.1; Docker's token authentication ("Bearer realm=...", also with an OAuth2
refresh token's form, which is not used here).
"""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import re
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import httpx

from seawall import __version__
from seawall.features.replication.origin import HEADER
from seawall.features.replication.transport import AiohttpTransport
from seawall.kernel.errors import SeawallError
from seawall.registry import manifest as manifests

ACCEPT = ", ".join(sorted(manifests.SUPPORTED))
MANIFEST_LIMIT = 16 * 1024 * 1024
# Blobs below this go in one request; above, an upload session is kept so that the next try can go on.
WHOLE_LIMIT = 8 * 1024 * 1024
CHUNK = 10 * 1024 * 1024
MOUNTED = -1
# Bytes of a kilobit, in which Harbor's API states bandwidths.
KILOBIT = 128
_ATTEMPTS = 4
_RETRY = frozenset({408, 429, 500, 502, 503, 504})
_TIMEOUT = httpx.Timeout(60, connect=10, pool=60)

BlobSource = Callable[[int], AsyncIterable[bytes]]


class RemoteError(SeawallError):
    """The other registry refused, failed or cannot be reached; `status` is its HTTP status or 0."""

    def __init__(self, message: str, status: int = 0, code: str = "") -> None:
        self.status = status
        self.code = code
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class RemoteManifest:
    """A manifest as the other registry has it."""

    digest: str
    media_type: str
    payload: bytes


@dataclass(slots=True)
class Credentials:
    """How to log in: a name and secret, or a function that gets fresh ones (cloud registries)."""

    username: str = ""
    secret: str = ""
    refresh: Callable[[httpx.AsyncClient], Any] | None = None
    expires_at: float = 0

    def basic(self) -> str | None:
        """The Basic header, None without credentials."""
        if not self.username and not self.secret:
            return None
        return "Basic " + base64.b64encode(f"{self.username}:{self.secret}".encode()).decode()


@dataclass(slots=True)
class Limiter:
    """A bandwidth limit: `rate` bytes a second, 0 without limit (see KILOBIT).

    `checkpoint` is awaited every half second or so while bytes pass; it may raise to end the transfer.
    """

    rate: int = 0
    checkpoint: Callable[[], Awaitable[None]] | None = None
    _ready_at: float = field(default=0.0)
    _checked_at: float = field(default=0.0)

    async def take(self, amount: int) -> None:
        """Wait until `amount` more bytes may pass."""
        now = time.monotonic()
        await self._check(now)
        if self.rate <= 0:
            return
        self._ready_at = max(now, self._ready_at) + amount / self.rate
        # At most half a second's worth goes ahead of the clock, so that small blobs need not wait each.
        while (wait := self._ready_at - time.monotonic() - 0.5) > 0:
            await asyncio.sleep(min(wait, 0.5))
            await self._check(time.monotonic())

    async def _check(self, now: float) -> None:
        if self.checkpoint is not None and now - self._checked_at > 0.5:
            self._checked_at = now
            await self.checkpoint()


class RegistryClient:
    """One registry. Every method may raise RemoteError."""

    def __init__(
        self,
        url: str,
        credentials: Credentials | None = None,
        *,
        insecure: bool = False,
        ca_certificate: str | None = None,
        limiter: Limiter | None = None,
        single_post: bool = False,
    ) -> None:
        """`single_post`: the registry takes a small blob in one POST (Distribution 1.1, "Single POST")."""
        self.url = url.rstrip("/")
        self._credentials = credentials or Credentials()
        verify: bool | ssl.SSLContext = not insecure
        if not insecure:
            # The same certificates as httpx trusts, or the given one alone.
            verify = ssl.create_default_context(cadata=ca_certificate) if ca_certificate else _trusted()
        self._single_post = single_post
        self.http = httpx.AsyncClient(
            transport=AiohttpTransport(verify),
            timeout=_TIMEOUT,
            follow_redirects=False,
            headers={"User-Agent": f"seawall/{__version__}"},
        )
        self._limiter = limiter or Limiter()
        # How the registry wants to be logged in to, once it has said so: realm and service, or Basic.
        self._bearer: tuple[str, str] | None = None
        self._basic = False
        self._tokens: dict[str, tuple[str, float]] = {}
        self._token_locks: dict[str, asyncio.Lock] = {}

    async def close(self) -> None:
        """Close connections."""
        await self.http.aclose()

    # -- requests ------------------------------------------------------------------------------------

    async def request(
        self,
        method: str,
        path: str,
        scope: str = "",
        *,
        accept: frozenset[int] = frozenset({200}),
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
        json: Any = None,
        follow: bool = False,
    ) -> httpx.Response:
        """One small request; tried again when that can do no harm. Raises RemoteError."""
        url = path if path.startswith(("http://", "https://")) else self.url + path
        wait = 0.3
        for attempt in range(_ATTEMPTS):
            last = attempt == _ATTEMPTS - 1
            try:
                sent = {**(headers or {}), **await self._authorization(scope)}
                options: dict[str, Any] = {"content": content} if json is None else {"json": json}
                response = await self.http.request(
                    method, url, headers=sent, follow_redirects=follow, **options
                )
                if response.status_code == 401 and self._learn(response, scope):
                    sent = {**(headers or {}), **await self._authorization(scope)}
                    response = await self.http.request(
                        method, url, headers=sent, follow_redirects=follow, **options
                    )
            except (httpx.HTTPError, ssl.SSLError) as error:
                if last or isinstance(error, httpx.UnsupportedProtocol):
                    raise RemoteError(f"{self.url}: {_reason(error)}") from None
            else:
                if response.status_code in accept:
                    return response
                if last or response.status_code not in _RETRY:
                    raise _refused(method, url, response)
                wait = max(wait, _retry_after(response))
            await asyncio.sleep(wait)
            wait *= 2
        raise AssertionError("unreachable")

    async def _authorization(self, scope: str) -> dict[str, str]:
        await self._fresh_credentials()
        if self._basic:
            basic = self._credentials.basic()
            return {"Authorization": basic} if basic else {}
        if self._bearer is None or not scope:
            return {}
        lock = self._token_locks.setdefault(scope, asyncio.Lock())
        async with lock:
            token, expires = self._tokens.get(scope, ("", 0.0))
            if time.monotonic() > expires - 10:
                token, expires = await self._fetch_token(scope)
                self._tokens[scope] = (token, expires)
        return {"Authorization": f"Bearer {token}"}

    async def _fresh_credentials(self) -> None:
        credentials = self._credentials
        if credentials.refresh is not None and time.time() > credentials.expires_at - 300:
            credentials.username, credentials.secret, credentials.expires_at = await credentials.refresh(
                self.http
            )

    def _learn(self, response: httpx.Response, scope: str) -> bool:
        """Take up the challenge of a 401; whether asking once more makes sense."""
        sent = response.request.headers.get("authorization", "")
        for challenge in response.headers.get_list("www-authenticate"):
            scheme, _, rest = challenge.partition(" ")
            if scheme.lower() == "bearer":
                values = dict(re.findall(r'(\w+)="([^"]*)"', rest))
                realm = urljoin(self.url, values.get("realm", ""))
                if urlsplit(self.url).scheme == "https" and urlsplit(realm).scheme != "https":
                    raise RemoteError(f"{self.url}: its token server has no TLS; credentials are not sent")
                self._bearer = (realm, values.get("service", ""))
                # Another request may have got a newer token meanwhile; that one is good.
                if sent == f"Bearer {self._tokens.get(scope, ('', 0.0))[0]}":
                    del self._tokens[scope]
                return bool(scope)
            if scheme.lower() == "basic" and self._credentials.basic():
                self._basic = True
                return not sent
        return False

    async def _fetch_token(self, scope: str) -> tuple[str, float]:
        assert self._bearer is not None
        realm, service = self._bearer
        parameters: list[Any] = [("service", service), *(("scope", item) for item in scope.split())]
        basic = self._credentials.basic()
        try:
            response = await self.http.get(
                realm, params=parameters, headers={"Authorization": basic} if basic else {}
            )
        except httpx.HTTPError as error:
            raise RemoteError(f"{realm}: {_reason(error)}") from None
        if response.status_code != 200:
            raise _refused("GET", realm, response)
        try:
            body = response.json()
            token = str(body.get("token") or body["access_token"])
            seconds = float(body.get("expires_in") or 60)
        except (ValueError, KeyError, AttributeError, TypeError):
            raise RemoteError(f"{realm}: the token server's answer is not understood") from None
        return token, time.monotonic() + seconds

    # -- the registry --------------------------------------------------------------------------------

    async def ping(self) -> None:
        """Raise RemoteError unless the registry answers and takes the credentials."""
        try:
            response = await self.http.get(f"{self.url}/v2/")
        except (httpx.HTTPError, ssl.SSLError) as error:
            raise RemoteError(f"{self.url}: {_reason(error)}") from None
        if response.status_code == 200:
            # Nothing to log in to; credentials that are given must still be right where they are looked at.
            return
        if response.status_code != 401:
            raise _refused("GET", f"{self.url}/v2/", response)
        self._learn(response, "")
        await self._fresh_credentials()
        headers: dict[str, str] = {}
        if self._bearer is not None:
            headers = {"Authorization": f"Bearer {(await self._fetch_token(''))[0]}"}
        elif self._basic:
            headers = {"Authorization": self._credentials.basic() or ""}
        response = await self.http.get(f"{self.url}/v2/", headers=headers)
        if response.status_code != 200:
            raise _refused("GET", f"{self.url}/v2/", response)

    async def catalog(self) -> AsyncIterator[str]:
        """Every repository name."""
        async for name in self._pages("/v2/_catalog?n=1000", "registry:catalog:*", "repositories"):
            yield name

    async def tags(self, repository: str) -> list[str]:
        """The tags of a repository; none when it does not exist."""
        path = f"/v2/{_path(repository)}/tags/list?n=1000"
        try:
            return [tag async for tag in self._pages(path, _pull(repository), "tags")]
        except RemoteError as error:
            if error.status == 404:
                return []
            raise

    async def _pages(self, path: str, scope: str, key: str) -> AsyncIterator[str]:
        while True:
            response = await self.request("GET", path, scope)
            try:
                items = response.json().get(key) or []
            except (ValueError, AttributeError):
                raise RemoteError(f"{self.url}{path}: the answer is not understood") from None
            for item in items:
                yield str(item)
            following = _next_page(response, self.url + path)
            if following is None or not items:
                return
            path = following

    async def head_manifest(self, repository: str, reference: str) -> str | None:
        """The digest a tag or digest stands for, None when it is unknown."""
        response = await self.request(
            "HEAD",
            f"/v2/{_path(repository)}/manifests/{reference}",
            _pull(repository),
            accept=frozenset({200, 404}),
            headers={"Accept": ACCEPT},
        )
        if response.status_code == 404:
            return None
        digest = response.headers.get("docker-content-digest")
        if digest is None:
            found = await self.manifest(repository, reference)
            return found.digest if found else None
        return str(digest)

    async def manifest(self, repository: str, reference: str) -> RemoteManifest | None:
        """A manifest, None when it is unknown; its bytes are checked against the digest."""
        response = await self.request(
            "GET",
            f"/v2/{_path(repository)}/manifests/{reference}",
            _pull(repository),
            accept=frozenset({200, 404}),
            headers={"Accept": ACCEPT},
            follow=True,
        )
        if response.status_code == 404:
            return None
        payload = response.content
        if len(payload) > MANIFEST_LIMIT:
            raise RemoteError(f"{repository}@{reference}: the manifest is too large")
        digest = reference if ":" in reference else response.headers.get("docker-content-digest", "")
        algorithm = digest.partition(":")[0]
        if algorithm not in ("sha256", "sha512"):
            algorithm, digest = "sha256", ""
        actual = f"{algorithm}:{hashlib.new(algorithm, payload).hexdigest()}"
        if digest and digest != actual:
            raise RemoteError(f"{repository}@{reference}: the content does not match its digest")
        media_type = response.headers.get("content-type", "").split(";")[0].strip()
        return RemoteManifest(actual, media_type, payload)

    async def put_manifest(
        self, repository: str, reference: str, media_type: str, payload: bytes, origin: str = ""
    ) -> None:
        """Store a manifest under a tag or digest; `origin` is the header of `replication.origin`."""
        await self.request(
            "PUT",
            f"/v2/{_path(repository)}/manifests/{reference}",
            _push(repository),
            accept=frozenset({200, 201, 202}),
            headers={"Content-Type": media_type, **({HEADER: origin} if origin else {})},
            content=payload,
        )

    async def delete_manifest(self, repository: str, reference: str, origin: str = "") -> bool:
        """Delete a manifest (by digest) or, where the registry can, a tag; False when it is unknown."""
        response = await self.request(
            "DELETE",
            f"/v2/{_path(repository)}/manifests/{reference}",
            f"repository:{repository}:pull,push,delete",
            accept=frozenset({200, 202, 404}),
            headers={HEADER: origin} if origin else None,
        )
        return response.status_code != 404

    async def referrers(self, repository: str, digest: str) -> list[str]:
        """Digests of what refers to `digest`; by the referrers API, or the tag that stands in for it."""
        path = f"/v2/{_path(repository)}/referrers/{digest}"
        found: list[str] = []
        while True:
            response = await self.request(
                "GET", path, _pull(repository), accept=frozenset({200, 400, 404, 405}), follow=True
            )
            if response.status_code != 200:
                break
            page = _index_digests(response.content)
            found += page
            following = _next_page(response, self.url + path)
            if following is None or not page:
                return found
            path = following
        # Distribution 1.1, "Referrers Tag Schema".
        fallback = await self.manifest(repository, digest.replace(":", "-", 1)[:128])
        if fallback is None or fallback.media_type != manifests.OCI_INDEX:
            return []
        return _index_digests(fallback.payload)

    async def has_blob(self, repository: str, digest: str) -> bool:
        """Whether a repository has a blob."""
        response = await self.request(
            "HEAD",
            f"/v2/{_path(repository)}/blobs/{digest}",
            _pull(repository),
            accept=frozenset({200, 307, 302, 404}),
        )
        return response.status_code != 404

    async def blob(self, repository: str, digest: str, offset: int = 0) -> AsyncIterator[bytes]:
        """A blob's bytes from `offset` on; the receiver checks them against the digest."""
        url = f"{self.url}/v2/{_path(repository)}/blobs/{digest}"
        headers = {"Accept-Encoding": "identity", **await self._authorization(_pull(repository))}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        try:
            for attempt in (1, 2):
                async with self.http.stream("GET", url, headers=headers, follow_redirects=True) as response:
                    if response.status_code == 401 and attempt == 1:
                        if not self._learn(response, _pull(repository)):
                            raise _refused("GET", url, response)
                        headers.update(await self._authorization(_pull(repository)))
                        continue
                    if response.status_code not in (200, 206):
                        await response.aread()
                        raise _refused("GET", url, response)
                    skip = offset if response.status_code == 200 else 0
                    async for data in response.aiter_raw():
                        if skip:
                            cut = min(skip, len(data))
                            skip -= cut
                            data = data[cut:]
                        if data:
                            await self._limiter.take(len(data))
                            yield data
                    return
        except (httpx.HTTPError, ssl.SSLError) as error:
            raise RemoteError(f"{self.url}: {_reason(error)}") from None

    async def open_blob(self, repository: str, digest: str) -> tuple[int, AsyncGenerator[bytes, None]] | None:
        """A blob's size and bytes, None when it is unknown; close (`aclose`) what is not read to its end."""
        url = f"{self.url}/v2/{_path(repository)}/blobs/{digest}"
        for attempt in (1, 2):
            headers = {"Accept-Encoding": "identity", **await self._authorization(_pull(repository))}
            try:
                request = self.http.build_request("GET", url, headers=headers)
                response = await self.http.send(request, stream=True, follow_redirects=True)
                if response.status_code == 200:
                    break
                await response.aread()
            except (httpx.HTTPError, ssl.SSLError) as error:
                raise RemoteError(f"{self.url}: {_reason(error)}") from None
            if response.status_code == 401 and attempt == 1 and self._learn(response, _pull(repository)):
                continue
            if response.status_code == 404:
                return None
            raise _refused("GET", url, response)
        length = response.headers.get("content-length", "")
        if not length.isdigit():
            await response.aclose()
            raise RemoteError(f"{self.url}: a blob came without Content-Length")

        async def parts() -> AsyncGenerator[bytes, None]:
            try:
                async for data in response.aiter_raw(256 * 1024):
                    await self._limiter.take(len(data))
                    yield data
            except (httpx.HTTPError, ssl.SSLError) as error:
                raise RemoteError(f"{self.url}: {_reason(error)}") from None
            finally:
                await response.aclose()

        return int(length), parts()

    async def put_blob(
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
        scope = _push(repository)
        offset = 0
        where = None
        if session is not None:
            where, offset = await self._resume(repository, session)
            if offset > size:
                where, offset = None, 0
        small = not by_chunk and size <= WHOLE_LIMIT and offset == 0
        if where is None:
            path = f"/v2/{_path(repository)}/blobs/uploads/"
            if small and self._single_post and mount_from is None:
                content = await self._whole(source)
                await self.request(
                    "POST",
                    f"{path}?digest={quote(digest)}",
                    scope,
                    accept=frozenset({201}),
                    headers={"Content-Type": "application/octet-stream"},
                    content=content,
                )
                return size
            if mount_from is None:
                response = await self.request("POST", path, scope, accept=frozenset({202}))
            else:
                path += f"?mount={quote(digest)}&from={quote(mount_from)}"
                both = f"{scope} {_pull(mount_from)}"
                response = await self.request("POST", path, both, accept=frozenset({201, 202}))
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
                **await self._authorization(scope),
            }
            try:
                response = await self.http.request(
                    "PATCH", where, headers=headers, content=self._counted(source, offset, end)
                )
            except (httpx.HTTPError, ssl.SSLError) as error:
                raise RemoteError(f"{self.url}: {_reason(error)}") from None
            if response.status_code != 202:
                raise _refused("PATCH", where, response)
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
        await self.request(
            "PUT",
            f"{where}{separator}digest={quote(digest)}",
            scope,
            accept=frozenset({201}),
            headers={"Content-Type": "application/octet-stream"},
            content=content,
        )

    async def _resume(self, repository: str, session: str) -> tuple[str | None, int]:
        try:
            response = await self.request("GET", session, _push(repository), accept=frozenset({204, 202}))
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
            raise RemoteError(f"{self.url}: an upload was answered without a Location")
        return str(urljoin(str(response.request.url), target))


@functools.cache
def _trusted() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def _pull(repository: str) -> str:
    return f"repository:{repository}:pull"


def _push(repository: str) -> str:
    return f"repository:{repository}:pull,push"


def _path(repository: str) -> str:
    return quote(repository, safe="/")


def _next_page(response: httpx.Response, url: str) -> str | None:
    link = re.search(r'<([^>]+)>\s*;\s*rel="?next"?', response.headers.get("link", ""))
    if link is None:
        return None
    # The host in a Link is the registry's own idea of its name; only path and query count.
    target = urlsplit(urljoin(url, link[1]))
    return str(target.path) + (f"?{target.query}" if target.query else "")


def _index_digests(payload: bytes) -> list[str]:
    try:
        return list(manifests.parse(payload, manifests.OCI_INDEX).manifests)
    except SeawallError:
        return []


def _reason(error: BaseException) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    return first or type(error).__name__


def _retry_after(response: httpx.Response) -> float:
    value = response.headers.get("retry-after", "")
    return min(float(value), 30.0) if value.isdigit() else 0.0


def _refused(method: str, url: str, response: httpx.Response) -> RemoteError:
    code = message = ""
    try:
        first = response.json()["errors"][0]
        code, message = str(first.get("code", "")), str(first.get("message", ""))
    except Exception:
        message = response.reason_phrase
    where = urlsplit(url)
    shown = f"{where.scheme}://{where.hostname}{f':{where.port}' if where.port else ''}{where.path}"
    text = f"{method} {shown}: {response.status_code} {code} {message}"
    return RemoteError(" ".join(text.split())[:1000], response.status_code, code)
