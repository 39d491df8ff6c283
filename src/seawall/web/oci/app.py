"""The OCI Distribution API (1.1) over ASGI.

Routing is by hand: repository names contain slashes, so a path is read from its end. Blob reads are handed
to the server as a file path where it can send files itself (ASGI "http.response.pathsend"), so the bytes
do not pass through Python.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

import msgspec
from sqlalchemy import Connection
from starlette.datastructures import Headers, QueryParams
from starlette.types import Receive, Scope, Send

from seawall.access.service import AuthService, User
from seawall.access.tokens import TokenService
from seawall.features.replication.origin import parse_header
from seawall.infra.configuration import Configuration
from seawall.infra.ratelimit import RateLimiter
from seawall.infra.storage import UploadWriter
from seawall.kernel.context import Actor, actor
from seawall.kernel.errors import RegistryError, SeawallError, UnavailableError
from seawall.kernel.names import check_digest, check_name
from seawall.kernel.ranges import parse_content_range, parse_range
from seawall.registry.local import LocalRegistry
from seawall.registry.manifest import OCI_INDEX
from seawall.registry.model import PAGE_LIMIT, Upload

if TYPE_CHECKING:
    from seawall.availability.peers.client import Peer
    from seawall.availability.peers.service import PeerService
    from seawall.features.proxycache.cache import ProxyCache

_ROUTES = (
    ("manifest", re.compile(r"(?P<name>.+)/manifests/(?P<reference>[^/]+)")),
    ("upload", re.compile(r"(?P<name>.+)/blobs/uploads/(?P<upload>[^/]+)")),
    ("uploads", re.compile(r"(?P<name>.+)/blobs/uploads/?")),
    ("blob", re.compile(r"(?P<name>.+)/blobs/(?P<digest>[^/]+)")),
    ("tags", re.compile(r"(?P<name>.+)/tags/list")),
    ("referrers", re.compile(r"(?P<name>.+)/referrers/(?P<digest>[^/]+)")),
)
_METHODS = {
    "manifest": {"GET", "HEAD", "PUT", "DELETE"},
    "upload": {"GET", "PATCH", "PUT", "DELETE"},
    "uploads": {"POST"},
    "blob": {"GET", "HEAD", "DELETE"},
    "tags": {"GET", "HEAD"},
    "referrers": {"GET", "HEAD"},
}
_ACTION = {"GET": "pull", "HEAD": "pull", "PUT": "push", "POST": "push", "PATCH": "push", "DELETE": "delete"}
# Request bytes are gathered to this much before they go to a storage thread: large enough that hashing
# and writing dwarf the hand-over, small enough that memory stays flat.
_BATCH = 1024 * 1024
# Headers whose repetition would make two parties read one request differently.
_SINGLE = {b"content-length", b"content-range", b"content-type", b"authorization", b"range", b"host"}


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete."""


class Request:
    """One request: parsed lazily, with the body as an iterator."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.headers = Headers(scope=scope)
        self.query = QueryParams(scope.get("query_string", b""))
        self._receive = receive

    async def body(self) -> AsyncIterator[bytes]:
        """Body chunks as they arrive. Raises ClientGoneError."""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body"):
                return

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises RegistryError with 413 past `limit` bytes."""
        parts = bytearray()
        async for chunk in self.body():
            parts += chunk
            if len(parts) > limit:
                raise RegistryError("MANIFEST_INVALID", f"manifest is larger than {limit} bytes", status=413)
        return bytes(parts)


class Response:
    """An answer: JSON-able `content`, bytes, a blob file, or a stream."""

    def __init__(
        self,
        status: int = 200,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        *,
        path: str | None = None,
        stream: AsyncIterator[bytes] | None = None,
    ) -> None:
        self.status = status
        self.headers = headers or {}
        self.body = body
        self.path = path
        self.stream = stream

    async def prime(self) -> None:
        """Fetch a stream's first piece: a storage that fails is then told by the status, while it can be."""
        if self.stream is not None:
            first = await anext(self.stream, b"")
            self.stream = _continued(first, self.stream)

    async def send(self, scope: Scope, send: Send) -> None:
        """Write the answer; for HEAD only its headers."""
        headers = [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in self.headers.items()]
        if "Content-Length" not in self.headers and self.status != 204:
            headers.append((b"content-length", str(len(self.body)).encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
        elif self.path is not None:
            await send({"type": "http.response.pathsend", "path": self.path})
        elif self.stream is not None:
            async for chunk in self.stream:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        else:
            await send({"type": "http.response.body", "body": self.body})


async def _continued(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for chunk in rest:
        yield chunk


def error_response(error: RegistryError) -> Response:
    """The spec's error document ("Error Codes")."""
    item: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.detail is not None:
        item["detail"] = error.detail
    headers = {"Content-Type": "application/json", **error.headers}
    return Response(error.status, headers, msgspec.json.encode({"errors": [item]}))


def base_url(external_url: str | None, headers: Headers, scheme: str) -> str:
    """The address clients see: `external_url`, else the Host header's; "" when that is no host."""
    if external_url:
        return external_url
    host = headers.get("host", "")
    if not re.fullmatch(r"[A-Za-z0-9.\-_]+(?::\d{1,5})?|\[[0-9A-Fa-f:.]+\](?::\d{1,5})?", host):
        return ""
    return f"{scheme}://{host}"


def without_host(name: str, base: str) -> str:
    """A repository's name when it is given with the registry's host before it, as Notary's clients do."""
    first, separator, rest = name.partition("/")
    host = base.partition("://")[2]
    # No project has a colon in its name, so whatever has one is a host with a port.
    if separator and (":" in first or first in (host, host.rpartition(":")[0])):
        return rest
    return name


def basic_credentials(header: str) -> tuple[str, str] | None:
    """User and password of an RFC 7617 header, None when it is not one."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, separator, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (user, password) if separator and "\0" not in user + password else None


class OciApp:
    """ASGI application for everything below `/v2`."""

    def __init__(
        self,
        content: LocalRegistry,
        auth: AuthService | None,
        tokens: TokenService | None,
        external_url: str | None,
        configuration: Configuration | None = None,
        proxy: ProxyCache | None = None,
        rates: RateLimiter | None = None,
        peers: PeerService | None = None,
    ) -> None:
        """`auth` and `tokens` None: no authentication, everyone may do everything."""
        self._peers = peers
        self._proxy = proxy
        self._rates = rates
        self._content = content
        self._auth = auth
        self._tokens = tokens
        self._external_url = external_url
        self._configuration = configuration

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; every failure becomes an OCI error document."""
        await self._serve(Request(scope, receive), self._dispatch, send)

    async def _serve(
        self, request: Request, dispatch: Callable[[Request], Awaitable[Response]], send: Send
    ) -> None:
        scope = request.scope
        try:
            response = await dispatch(request)
            if request.method != "HEAD":
                await response.prime()
        except RegistryError as error:
            response = error_response(error)
        except UnavailableError as error:
            response = error_response(RegistryError("UNAVAILABLE", str(error), headers={"Retry-After": "1"}))
        except ClientGoneError:
            # Often nobody is left to read this; a client that closed only its sending side is.
            response = error_response(RegistryError("SIZE_INVALID", "the request's body ended early"))
        response.headers["Docker-Distribution-Api-Version"] = "registry/2.0"
        await response.send(scope, send)

    async def _dispatch(self, request: Request) -> Response:
        seen: set[bytes] = set()
        for name, _ in request.scope["headers"]:
            if name in _SINGLE:
                if name in seen:
                    raise RegistryError(
                        "UNSUPPORTED", f"header {name.decode()} is given more than once", status=400
                    )
                seen.add(name)
        path = unquote(request.scope["path"]).removeprefix("/v2")
        if path in ("", "/"):
            return await self._base(request)
        if path == "/_catalog":
            return await self._catalog(request)
        for kind, pattern in _ROUTES:  # noqa: B007 - used after the loop
            match = pattern.fullmatch(path[1:])
            if match is not None:
                break
        else:
            raise RegistryError("UNSUPPORTED", "no such endpoint", status=404)
        if request.method not in _METHODS[kind]:
            raise RegistryError("UNSUPPORTED", headers={"Allow": ", ".join(sorted(_METHODS[kind]))})
        groups = match.groupdict()
        name = check_name(groups["name"])
        # Reading and cancelling a session are part of pushing.
        action = "push" if kind in ("upload", "uploads") else _ACTION[request.method]
        await self._authorize(request, name, action)
        if action == "push" and self._proxy is not None and await self._proxy.of(name) is not None:
            raise RegistryError("DENIED", "a proxy-cache project takes no pushes", status=405)
        if kind == "manifest":
            return await self._manifest(request, name, groups["reference"])
        if kind == "blob":
            return await self._blob(request, name, groups["digest"])
        if kind == "uploads":
            return await self._start_upload(request, name)
        if kind == "upload":
            return await self._upload(request, name, groups["upload"])
        if kind == "tags":
            return await self._tags(request, name)
        return await self._referrers(request, name, groups["digest"])

    # -- access --------------------------------------------------------------------------------------

    def base_url(self, request: Request) -> str:
        """The address clients see: `external_url`, else what this request was sent to."""
        return base_url(self._external_url, request.headers, request.scope.get("scheme", "http"))

    async def authorize(self, request: Request, name: str, action: str) -> None:
        """Raise RegistryError unless the caller may do `action` (pull, push, delete) to repository `name`."""
        await self._authorize(request, name, action)

    async def authorize_catalog(self, request: Request) -> None:
        """Raise RegistryError unless the caller is a system administrator."""
        if self._auth is None or self._tokens is None:
            return
        header = request.headers.get("authorization", "")
        user: User | None
        if header[:7].lower() == "bearer ":
            grant = self._tokens.verify(header[7:].strip())
            if grant is None or not grant.allows("registry", "catalog", "*"):
                raise self._challenge(request, "registry:catalog:*", "insufficient_scope")
            user = await self._auth.user(grant.subject)
        else:
            user = await self._identify(request)
        if user is None:
            raise self._challenge(request, "registry:catalog:*", None)
        if not user.sysadmin:
            raise RegistryError("DENIED")

    def _challenge(self, request: Request, scope: str | None, error: str | None) -> RegistryError:
        assert self._tokens is not None
        value = f'Bearer realm="{self.base_url(request)}/service/token",service="{self._tokens.service}"'
        if scope:
            value += f',scope="{scope}"'
        if error:
            value += f',error="{error}"'
        return RegistryError("UNAUTHORIZED", headers={"WWW-Authenticate": value})

    async def _identify(self, request: Request) -> User | None:
        """The caller by Basic credentials, None for anonymous. Raises 401 for wrong ones."""
        assert self._auth is not None
        header = request.headers.get("authorization")
        if header is None:
            return None
        credentials = basic_credentials(header)
        if credentials is None:
            raise self._challenge(request, None, "invalid_token")
        user = await self._auth.authenticate(*credentials, _client(request))
        if user is None:
            raise self._challenge(request, None, None)
        await self._count(request, user.name)
        return user

    async def _count(self, request: Request, name: str) -> None:
        """Count the request towards its user's rate. Raises RegistryError TOOMANYREQUESTS."""
        if self._rates is not None:
            await self._rates.check_user(name, _client(request))

    async def _allowed(self, request: Request, name: str, action: str) -> tuple[bool, bool]:
        """(whether the caller may, whether the caller is known)."""
        assert self._auth is not None
        assert self._tokens is not None
        header = request.headers.get("authorization", "")
        if header[:7].lower() == "bearer ":
            grant = self._tokens.verify(header[7:].strip())
            if grant is None:
                raise self._challenge(request, f"repository:{name}:{_wanted(action)}", "invalid_token")
            await self._count(request, grant.subject)
            actor.set(Actor(grant.subject, _client(request), request.headers.get("user-agent", "")[:255]))
            return grant.allows("repository", name, action), False
        user = await self._identify(request)
        agent = request.headers.get("user-agent", "")[:255]
        actor.set(Actor(user.name if user else "", _client(request), agent))
        return action in await self._auth.actions(user, name), user is not None

    async def _authorize(self, request: Request, name: str, action: str) -> None:
        await self._check_access(request, name, action)
        # After the decision: who may not write is told so, whatever the mode.
        if action != "pull" and self._configuration and await self._configuration.get("read_only"):
            raise RegistryError("DENIED", "the registry is in read only mode")
        origin = request.headers.get("seawall-replication")
        if origin is not None and action != "pull":
            passed, pushed_at = parse_header(origin, time.time())
            actor.set(replace(actor.get(), passed=passed, pushed_at=pushed_at))

    async def _check_access(self, request: Request, name: str, action: str) -> None:
        if self._auth is None:
            return
        allowed, known = await self._allowed(request, name, action)
        if allowed:
            return
        if known:
            raise RegistryError("DENIED")
        # A token without the access gets a challenge too: the client asks for a better token, and the
        # refusal is final only when that one lacks the access as well.
        has_token = request.headers.get("authorization") is not None
        raise self._challenge(
            request, f"repository:{name}:{_wanted(action)}", "insufficient_scope" if has_token else None
        )

    async def _base(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            raise RegistryError("UNSUPPORTED", headers={"Allow": "GET, HEAD"})
        if self._auth is not None and self._tokens is not None:
            header = request.headers.get("authorization", "")
            if header[:7].lower() == "bearer ":
                grant = self._tokens.verify(header[7:].strip())
                if grant is None:
                    raise self._challenge(request, None, "invalid_token")
                await self._count(request, grant.subject)
            elif await self._identify(request) is None:
                raise self._challenge(request, None, None)
        return Response(200, {"Content-Type": "application/json"}, b"{}")

    # -- lists ---------------------------------------------------------------------------------------

    async def _catalog(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            raise RegistryError("UNSUPPORTED", headers={"Allow": "GET, HEAD"})
        visible: Any = _everything
        if self._auth is not None and self._tokens is not None:
            header = request.headers.get("authorization", "")
            user: User | None
            if header[:7].lower() == "bearer ":
                grant = self._tokens.verify(header[7:].strip())
                if grant is None or not grant.allows("registry", "catalog", "*"):
                    raise self._challenge(request, "registry:catalog:*", "insufficient_scope")
                await self._count(request, grant.subject)
                user = await self._auth.user(grant.subject)
            else:
                user = await self._identify(request)
            if user is None:
                raise self._challenge(request, "registry:catalog:*", None)
            visible = self._auth.visible_projects(user)
        n, last = _page(request)
        names = await self._content.catalog(n + 1, last, visible) if n else []
        return _list_response({"repositories": names[:n]}, "/v2/_catalog", n, names)

    async def _tags(self, request: Request, name: str) -> Response:
        n, last = _page(request)
        found = await self._proxied_tags(name, n + 1, last)
        if found is None:
            if self._peers is not None:
                await self._peers.demand.ready_repository(name)
            found = await self._content.tags(name, n + 1, last)
        return _list_response({"name": name, "tags": found[:n]}, f"/v2/{name}/tags/list", n, found)

    async def _proxied_tags(self, name: str, n: int, last: str | None) -> list[str] | None:
        upstream = await self._proxy.of(name) if self._proxy is not None else None
        if upstream is None or self._proxy is None:
            return None
        tags = await self._proxy.tags(upstream, name)
        return None if tags is None else [tag for tag in tags if last is None or tag > last][:n]

    async def _referrers(self, request: Request, name: str, digest: str) -> Response:
        artifact_type = _text(request, "artifactType")
        after = request.query.get("after", "0")
        if not after.isascii() or not after.isdigit() or len(after) > 18:
            raise RegistryError("UNSUPPORTED", "after must be a number", status=400)
        if self._peers is not None:
            await self._peers.demand.ready_repository(name)
        found, following = await self._content.referrers(name, digest, artifact_type, PAGE_LIMIT, int(after))
        headers = {"Content-Type": OCI_INDEX}
        if artifact_type is not None:
            headers["OCI-Filters-Applied"] = "artifactType"
        if following is not None:
            query = f"after={following}"
            if artifact_type is not None:
                query += f"&artifactType={quote(artifact_type, safe='')}"
            headers["Link"] = f'</v2/{name}/referrers/{digest}?{query}>; rel="next"'
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found}
        return Response(200, headers, msgspec.json.encode(index))

    # -- manifests -----------------------------------------------------------------------------------

    async def _manifest(self, request: Request, name: str, reference: str) -> Response:
        if request.method == "PUT":
            length = request.headers.get("content-length")
            if length is not None and length.isdigit() and int(length) > self._content.manifest_limit:
                raise RegistryError("MANIFEST_INVALID", "manifest is too large", status=413)
            payload = await request.read(self._content.manifest_limit)
            extra = tuple(request.query.getlist("tag"))
            if len(extra) > 64:
                raise RegistryError("MANIFEST_INVALID", "more than 64 tags")
            if self._peers is not None:
                await self._peers.demand.ready_content(name, payload, request.headers.get("content-type"))
            digest, subject = await self._content.put_manifest(
                name,
                reference,
                payload,
                request.headers.get("content-type"),
                extra,
                request.query.get("digest"),
            )
            headers = {
                "Location": f"{self.base_url(request)}/v2/{name}/manifests/{digest}",
                "Docker-Content-Digest": digest,
            }
            if subject is not None:
                headers["OCI-Subject"] = subject
            if extra:
                headers["OCI-Tag"] = ", ".join(extra)
            return Response(201, headers)
        if self._peers is not None and request.method in ("GET", "HEAD", "DELETE"):
            await self._peers.demand.ready_manifest(name, reference)
        if request.method == "DELETE":
            await self._content.delete_manifest(name, reference)
            return Response(202)
        upstream = await self._proxy.of(name) if self._proxy is not None else None
        if self._proxy is not None and upstream is not None:
            found = await self._proxy.manifest(upstream, name, reference)
        else:
            found = await self._content.manifest(name, reference)
        if request.method == "GET":
            await self._content.pulling(name, found, reference)
        etag = f'"{found.digest}"'
        headers = {
            "Content-Type": found.media_type,
            "Docker-Content-Digest": found.digest,
            "ETag": etag,
            "X-Content-Type-Options": "nosniff",
        }
        if request.headers.get("if-none-match") in (etag, found.digest, "*"):
            return Response(304, {**headers, "Content-Length": "0"})
        headers["Content-Length"] = str(len(found.payload))
        return Response(200, headers, found.payload)

    # -- blobs ---------------------------------------------------------------------------------------

    async def _blob(self, request: Request, name: str, digest: str) -> Response:
        if request.method == "DELETE":
            await self._content.blobs.delete(name, digest)
            return Response(202)
        passing = None if self._proxy is None else await self._proxied_blob(request, name, digest)
        if passing is not None:
            return passing
        try:
            blob = await self._content.blobs.get(name, digest)
        except RegistryError as error:
            if self._peers is None or error.status != 404:
                raise
            if request.method == "HEAD":
                size = await self._peers.demand.blob_size(name, digest)
                if size is None:
                    raise
                kind = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": digest}
                return Response(200, {**kind, "Content-Length": str(size)})
            if not await self._peers.demand.ready_blob(name, digest):
                raise
            blob = await self._content.blobs.get(name, digest)
        headers = {
            "Content-Type": "application/octet-stream",
            "Docker-Content-Digest": blob.digest,
            "ETag": f'"{blob.digest}"',
            "Accept-Ranges": "bytes",
            "Cache-Control": "max-age=31536000",
            "X-Content-Type-Options": "nosniff",
            "Content-Length": str(blob.size),
        }
        if request.method == "HEAD":
            return Response(200, headers)
        whole = request.headers.get("range") is None
        small = await self._content._small.read(blob) if whole else None
        if small is not None:
            return Response(200, headers, small)
        location = self._content.storage.locate(blob.key)
        if location.url is not None:
            return Response(307, {"Location": location.url, "Docker-Content-Digest": blob.digest})
        wanted = request.headers.get("range")
        if_range = request.headers.get("if-range")
        span = None
        if wanted and if_range in (None, headers["ETag"]):
            span = parse_range(wanted, blob.size)
        if span is not None:
            headers["Content-Length"] = str(span[1] - span[0])
            headers["Content-Range"] = f"bytes {span[0]}-{span[1] - 1}/{blob.size}"
            return Response(206, headers, stream=self._content.storage.stream(blob.key, *span))
        if location.path is not None and "http.response.pathsend" in request.scope.get("extensions", {}):
            return Response(200, headers, path=str(location.path))
        return Response(200, headers, stream=self._content.storage.stream(blob.key, 0, blob.size))

    async def _proxied_blob(self, request: Request, name: str, digest: str) -> Response | None:
        """A blob of a proxy-cache project that is not here yet; None for every other blob."""
        assert self._proxy is not None
        upstream = await self._proxy.of(name)
        if upstream is None:
            return None
        upstream.check(name)
        check_digest(digest)
        try:
            await self._content.blobs.get(name, digest)
        except RegistryError as error:
            if error.status != 404:
                raise
        else:
            return None
        headers = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": digest}
        if request.method == "HEAD":
            size = await self._proxy.blob_size(upstream, name, digest)
            return Response(200, {**headers, "Content-Length": str(size)})
        if request.headers.get("range") is not None:
            # A part is served from the stored blob, once it is that.
            await self._proxy.fetch(upstream, name, digest)
            return None
        passing = await self._proxy.blob(upstream, name, digest)
        if passing is None:
            return None
        return Response(200, {**headers, "Content-Length": str(passing.size)}, stream=passing.stream)

    async def _start_upload(self, request: Request, name: str) -> Response:
        source, mount = request.query.get("from"), request.query.get("mount")
        if mount is not None and await self._mount(request, name, mount, source):
            return self._created(request, name, mount)
        digest = request.query.get("digest")
        if digest is not None:
            check_digest(digest)
            await self._content.repositories.ensure(name)
            writer = await self._content.storage.open_upload(str(uuid.uuid4()), 0, {})
            try:
                await self._receive(request, writer)
                blob = await self._content.uploads.finish(None, writer, name, digest)
            except BaseException:
                # No session was promised to the client, so nothing of a failed request is kept.
                await asyncio.shield(writer.abort())
                raise
            return self._created(request, name, blob.digest)
        algorithm = request.query.get("digest-algorithm")
        if algorithm is not None and algorithm not in ("sha256", "sha512"):
            raise RegistryError("DIGEST_INVALID", "unsupported digest algorithm; use sha256 or sha512")
        return self._session(request, await self._content.uploads.start(name), 0)

    async def _mount(self, request: Request, name: str, digest: str, source: str | None) -> bool:
        check_digest(digest)
        if source is None:
            return False  # the spec's "anonymous mount" is optional; the client uploads instead
        try:
            check_name(source)
            if self._auth is not None and not (await self._allowed(request, source, "pull"))[0]:
                return False
        except RegistryError:
            return False
        return await self._content.blobs.mount(name, digest, source)

    async def _upload(self, request: Request, name: str, upload_id: str) -> Response:
        if not re.fullmatch(r"[0-9a-f-]{36}", upload_id):
            raise RegistryError("BLOB_UPLOAD_UNKNOWN")
        if self._peers is not None:
            owner = await self._elsewhere(request, name, upload_id)
            if owner is not None:
                return await self._forward(request, owner, name, upload_id)
        return await self._upload_here(request, name, upload_id)

    async def _elsewhere(self, request: Request, name: str, upload_id: str) -> Peer | None:
        """The peer that has an upload session which is not here."""
        assert self._peers is not None
        try:
            await self._content.uploads.get(name, upload_id)
        except RegistryError as error:
            if error.code != "BLOB_UPLOAD_UNKNOWN":
                raise
            return await self._peers.demand.owner(name, upload_id)
        return None

    async def _forward(self, request: Request, owner: Peer, name: str, upload_id: str) -> Response:
        """Have the instance that has the session serve the request."""
        target = f"/_seawall/peers/v2/{quote(name)}/blobs/uploads/{upload_id}"
        query = request.scope.get("query_string", b"").decode("latin-1")
        headers = {
            header: request.headers[header]
            for header in ("content-type", "content-length", "content-range")
            if header in request.headers
        }
        who = actor.get()
        headers |= {"X-Seawall-Actor": quote(who.name), "X-Seawall-Address": who.address}
        try:
            answer = await owner.forward(
                request.method, f"{target}?{query}" if query else target, headers, request.body()
            )
        except SeawallError as error:
            raise RegistryError("UNAVAILABLE", str(error), status=503) from None
        kept = {
            key: value
            for key, value in answer.headers.items()
            if key in ("range", "docker-upload-uuid", "docker-content-digest", "content-type")
        }
        location = answer.headers.get("location")
        if location is not None:
            kept["location"] = self.base_url(request) + urlsplit(location).path
        return Response(answer.status_code, kept, answer.content)

    async def upload_for_peer(
        self, scope: Scope, receive: Receive, send: Send, name: str, upload_id: str
    ) -> None:
        """A request about an upload session here that came to another instance, which has let it in."""

        async def serve(request: Request) -> Response:
            return await self._upload_here(request, check_name(name), upload_id)

        await self._serve(Request(scope, receive), serve, send)

    async def _upload_here(self, request: Request, name: str, upload_id: str) -> Response:
        if request.method == "DELETE":
            await self._content.uploads.cancel(name, upload_id)
            return Response(204)
        upload = await self._session_of(request, name, upload_id)
        if upload is None:
            return self._created(request, name, request.query["digest"])
        if request.method == "GET":
            return self._session(request, upload, upload.offset, status=204)
        digest = request.query.get("digest")
        if request.method == "PUT":
            if digest is None:
                raise RegistryError("DIGEST_INVALID", "the closing request needs a digest parameter")
            check_digest(digest)
        self._check_position(request, upload)
        writer = await self._content.uploads.open_writer(upload)
        try:
            await self._receive(request, writer)
        except BaseException:
            # What arrived is kept, so that the client can ask for the offset and go on from there.
            await asyncio.shield(self._content.uploads.save_progress(upload, writer))
            raise
        if request.method == "PATCH":
            return self._session(request, upload, await self._content.uploads.save_progress(upload, writer))
        assert digest is not None
        blob = await self._content.uploads.finish(upload, writer, name, digest)
        return self._created(request, name, blob.digest)

    async def _session_of(self, request: Request, name: str, upload_id: str) -> Upload | None:
        """The session, or None when a closing request asks again for what was done already.

        An instance may die between the commit and its answer; the client then asks another one.
        """
        try:
            return await self._content.uploads.get(name, upload_id)
        except RegistryError as error:
            digest = request.query.get("digest")
            if request.method != "PUT" or digest is None or error.code != "BLOB_UPLOAD_UNKNOWN":
                raise
            try:
                await self._content.blobs.get(name, digest)
            except RegistryError:
                raise error from None
            async for _ in request.body():
                pass
            return None

    def _check_position(self, request: Request, upload: Upload) -> None:
        value = request.headers.get("content-range")
        if value is None:
            return
        start, end = parse_content_range(value)
        length = request.headers.get("content-length")
        problem = None
        if start != upload.offset:
            problem = f"chunk starts at {start}, the session is at {upload.offset}"
        elif length is not None and length.isdigit() and int(length) != end - start + 1:
            problem = "Content-Length and Content-Range differ"
        if problem:
            headers = {
                "Location": self._upload_url(request, upload),
                "Range": f"0-{max(upload.offset - 1, 0)}",
                "Docker-Upload-UUID": upload.id,
            }
            raise RegistryError("BLOB_UPLOAD_INVALID", problem, status=416, headers=headers)

    async def _receive(self, request: Request, writer: UploadWriter) -> None:
        """Write the body: one batch is hashed and stored in a thread while the next one arrives."""
        limit = self._content.uploads.blob_limit
        batch = bytearray()
        pending: asyncio.Task[None] | None = None
        total = writer.offset
        try:
            async for chunk in request.body():
                batch += chunk
                total += len(chunk)
                if limit and total > limit:
                    raise RegistryError(
                        "SIZE_INVALID", "blob is larger than this registry allows", status=413
                    )
                if len(batch) >= _BATCH:
                    if pending is not None:
                        await pending
                    pending = asyncio.ensure_future(writer.write(batch))
                    batch = bytearray()
        finally:
            # Also when the client went away: a write in flight must end before the writer is used again.
            if pending is not None:
                await asyncio.shield(pending)
            if batch:
                await asyncio.shield(writer.write(batch))

    def _upload_url(self, request: Request, upload: Upload) -> str:
        return f"{self.base_url(request)}/v2/{upload.repository.name}/blobs/uploads/{upload.id}"

    def _session(self, request: Request, upload: Upload, offset: int, status: int = 202) -> Response:
        headers = {
            "Location": self._upload_url(request, upload),
            # The spec's Range is inclusive and so cannot say "nothing yet"; 0-0 is what clients expect.
            "Range": f"0-{max(offset - 1, 0)}",
            "Docker-Upload-UUID": upload.id,
        }
        return Response(status, headers)

    def _created(self, request: Request, name: str, digest: str) -> Response:
        location = f"{self.base_url(request)}/v2/{name}/blobs/{digest}"
        return Response(201, {"Location": location, "Docker-Content-Digest": digest})


def _everything(_connection: Connection) -> None:
    return None


def _client(request: Request) -> str:
    client = request.scope.get("client")
    return client[0] if client else ""


def _wanted(action: str) -> str:
    return "pull,push" if action == "push" else action


def _page(request: Request) -> tuple[int, str | None]:
    value = request.query.get("n")
    n = PAGE_LIMIT
    if value is not None:
        if not value.isascii() or not value.isdigit() or len(value) > 9:
            raise RegistryError("UNSUPPORTED", "n must be a number of 0 or more", status=400)
        n = min(int(value), PAGE_LIMIT)
    return n, _text(request, "last")


def _text(request: Request, parameter: str) -> str | None:
    """A query parameter. Raises 400 for one with a NUL, which PostgreSQL cannot even compare."""
    value = request.query.get(parameter)
    if value is not None and "\0" in value:
        raise RegistryError("UNSUPPORTED", f"{parameter} has a NUL character", status=400)
    return value


def _list_response(content: dict[str, Any], path: str, n: int, found: list[str]) -> Response:
    headers = {"Content-Type": "application/json"}
    if n and len(found) > n:
        headers["Link"] = f'<{path}?n={n}&last={quote(found[n - 1], safe="")}>; rel="next"'
    return Response(200, headers, msgspec.json.encode(content))


__all__ = ["OciApp", "Request", "Response", "error_response"]
