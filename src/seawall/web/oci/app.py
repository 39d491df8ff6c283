"""The OCI Distribution API (1.1) over ASGI.

Routing is by hand: repository names contain slashes, so a path is read from its end. What a mirror's client
calls a repository becomes its name here, the request is let in (`access`), then one handler calls one verb of
the registry, which may be any composition of registries.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Awaitable, Callable
from urllib.parse import unquote

from starlette.types import Receive, Scope, Send

from seawall.kernel.errors import RegistryError, StorageFullError, UnavailableError
from seawall.kernel.headers import by_name
from seawall.kernel.names import check_name
from seawall.registry.protocol import Registry
from seawall.registry.virtual import Virtual, VirtualProjects
from seawall.registry.virtual import refusal as virtual_refusal
from seawall.web.oci.accelerate import Accelerator, NoAccelerator
from seawall.web.oci.access import RegistryAccess
from seawall.web.oci.blobs import BlobHandlers
from seawall.web.oci.http import ClientGoneError, Request, Response, error_response
from seawall.web.oci.lists import ListHandlers
from seawall.web.oci.manifests import ManifestHandlers
from seawall.web.oci.naming import Naming
from seawall.web.oci.turns import Turns
from seawall.web.oci.uploads import UploadHandlers

_ROUTES = (
    ("manifest", re.compile(r"(?P<name>.+)/manifests/(?P<reference>[^/]+)")),
    ("upload", re.compile(r"(?P<name>.+)/blobs/uploads/(?P<upload>[^/]+)")),
    ("uploads", re.compile(r"(?P<name>.+)/blobs/uploads/?")),
    ("blob", re.compile(r"(?P<name>.+)/blobs/(?P<digest>[^/]+)")),
    ("tags", re.compile(r"(?P<name>.+)/tags/list")),
    ("referrers", re.compile(r"(?P<name>.+)/referrers/(?P<digest>[^/]+)")),
)
# Headers whose repetition would make two parties read one request differently.
_SINGLE = {b"content-length", b"content-range", b"content-type", b"authorization", b"range", b"host"}

# The same of parameters; `tag` may be repeated, and `ns` is looked at where it is used.
_SINGLE_PARAMETERS = ("digest", "digest-algorithm", "mount", "from", "n", "last", "artifactType")

# Answers a request about repository `name` and what the path names in it (a reference, a digest, ...).
Handler = Callable[..., Awaitable[Response]]


class OciApp:
    """ASGI application for everything below `/v2`."""

    def __init__(
        self,
        registry: Registry,
        access: RegistryAccess,
        mirror: Naming,
        virtual: VirtualProjects,
        *,
        manifest_limit: int,
        accelerator: Accelerator | NoAccelerator,
        turns: Turns,
    ) -> None:
        """`manifest_limit`: bytes of the largest manifest. `accelerator`: names files to a proxy.

        `turns`: what changes something waits for its turn.
        """
        self._turns = turns
        self._access = access
        self._mirror = mirror
        lists = ListHandlers(registry, access)
        manifests = ManifestHandlers(registry, access, limit=manifest_limit)
        blobs = BlobHandlers(registry, accelerator)
        uploads = UploadHandlers(registry, access)
        self._registry = registry
        self._virtual = virtual
        self._lists = lists
        self._catalog = lists.catalog
        # By kind of path and method: what the caller must be allowed, and the handler. Reading and cancelling
        # an upload session are part of pushing.
        self._handlers: dict[str, dict[str, tuple[str, Handler]]] = {
            "manifest": {
                "GET": ("pull", manifests.get),
                "HEAD": ("pull", manifests.get),
                "PUT": ("push", manifests.put),
                "DELETE": ("delete", manifests.delete),
            },
            "blob": {
                "GET": ("pull", blobs.get),
                "HEAD": ("pull", blobs.head),
                "DELETE": ("delete", blobs.delete),
            },
            "uploads": {"POST": ("push", uploads.start)},
            "upload": dict.fromkeys(("GET", "PATCH", "PUT", "DELETE"), ("push", uploads.session)),
            "tags": dict.fromkeys(("GET", "HEAD"), ("pull", lists.tags)),
            "referrers": dict.fromkeys(("GET", "HEAD"), ("pull", lists.referrers)),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; every failure becomes an OCI error document."""
        await serve(Request(scope, receive), self._dispatch, send)

    async def _dispatch(self, request: Request) -> Response:
        _check_headers(request)
        if request.query:
            _check_parameters(request)
        path = unquote(request.scope["path"]).removeprefix("/v2")
        if path in ("", "/", "/_catalog"):
            return await self._whole(request, path)
        for kind, pattern in _ROUTES:  # noqa: B007 - used after the loop
            match = pattern.fullmatch(path[1:])
            if match is not None:
                break
        else:
            raise RegistryError("UNSUPPORTED", "no such endpoint", status=404)
        methods = self._handlers[kind]
        if request.method not in methods:
            raise RegistryError("UNSUPPORTED", headers={"Allow": ", ".join(sorted(methods))})
        action, handler = methods[request.method]
        name, *item = match.groups()
        if request.query or not self._mirror.plain:
            # From here on, answers included, the repository has the name that it has here.
            name = await self._meant(request, name)
        check_name(name)
        if kind == "uploads":
            request.mount_from = await self._mount_source(request)
        if action == "push" and await self._virtual.of(name.partition("/")[0]) is not None:
            # Said to everybody who may pull: no token for a push to it is given.
            await self._access.authorize(request, name, "pull")
            raise virtual_refusal(name)
        await self._access.authorize(request, name, action, source=request.mount_from)
        if action != "pull":
            # Who may not push waits for nothing, and keeps nobody waiting.
            async with self._turns.turn(name.partition("/")[0]) as request.place:
                return await handler(request, name, *item)
        try:
            if kind != "referrers":
                return await handler(request, name, *item)
        except RegistryError as error:
            # A virtual project holds nothing, so that its name is looked at here only.
            if error.status != 404:
                raise
            found = await self._virtual.of(name.partition("/")[0])
            if found is None:
                raise
            return await self._virtually(request, name, kind, item, handler, found, error)
        # There are no unknown names here: a list may be empty.
        found = await self._virtual.of(name.partition("/")[0])
        if found is None:
            return await handler(request, name, *item)
        return await self._virtually(request, name, kind, item, handler, found, None)

    async def _virtually(
        self,
        request: Request,
        name: str,
        kind: str,
        item: list[str],
        handler: Handler,
        virtual: Virtual,
        error: RegistryError | None,
    ) -> Response:
        """Answer a pull from a virtual project from those members that the caller may pull from."""
        path = name.partition("/")[2]
        tag = item[0] if kind == "manifest" and ":" not in item[0] else None
        sources = await self._virtual.sources(virtual, path, tag)
        members = [f"{member}/{path}" for member in virtual.members]
        mine = {member for member in members if await self._access.may_pull(request, member)}
        if tag is not None or (kind == "tags" and not sources.together):
            # A member that the caller may not pull from is not passed over: the next may have something else
            # of that name.
            allowed = list(itertools.takewhile(mine.__contains__, sources.names))
        else:
            allowed = [source for source in sources.names if source in mine]
        # Many clients sign in only when they are asked to. Whether a member has the name decides nothing
        # here, or strangers could find out.
        challenge = self._access.better_token(request, name) if len(mine) < len(members) else None
        try:
            if kind == "tags":
                if not sources.hosted:
                    allowed = await self._first_with(allowed)
                return await self._lists.tags_of(request, name, allowed, challenge or error)
            for source in allowed:
                try:
                    if kind == "referrers":
                        await self._registry.manifest(source, item[0])
                    return await handler(request, source, *item)
                except RegistryError as missing:
                    # Nor is an upstream that is away passed over.
                    if missing.status != 404:
                        raise
                    error = missing
        except RegistryError as failed:
            hidden = not {f"{member}/{path}" for member in virtual.hosted} <= mine
            # A range outside a blob tells no more than the blob itself would.
            if hidden and not sources.hosted and failed.status not in (404, 416):
                # What an upstream says of a name would tell that no hosted member has it.
                raise challenge or RegistryError("NAME_UNKNOWN", detail={"name": name}) from None
            raise
        if challenge is not None:
            raise challenge
        if kind == "referrers":
            # There may be none of what is not there.
            return await handler(request, name, *item)
        assert error is not None
        raise error

    async def _first_with(self, sources: list[str]) -> list[str]:
        """The first proxied repository whose upstream has it, alone; none when no upstream has it."""
        for source in sources:
            try:
                if await self._registry.tags(source, 1, None):
                    return [source]
            except RegistryError as error:
                if error.status != 404:
                    raise
            try:
                # A list is empty also where the upstream does not answer.
                await self._registry.manifest(source, "latest")
                return [source]
            except RegistryError as error:
                if error.status != 404:
                    raise
        return []

    async def _meant(self, request: Request, name: str) -> str:
        """The repository that a name in the request means. Raises RegistryError."""
        return await self._mirror.repository(
            name, request.headers.get("host", ""), request.query.getlist("ns")
        )

    async def _mount_source(self, request: Request) -> str | None:
        """The repository that a request mounts a blob from, None where it mounts none or names none."""
        source = request.query.get("from")
        if source is None or "mount" not in request.query:
            return None
        try:
            return check_name(await self._meant(request, source))
        except RegistryError:
            return None

    async def _whole(self, request: Request, path: str) -> Response:
        """Requests about the registry as a whole: the version check, and the catalog."""
        if request.method not in ("GET", "HEAD"):
            raise RegistryError("UNSUPPORTED", headers={"Allow": "GET, HEAD"})
        if path == "/_catalog":
            return await self._catalog(request)
        await self._access.authorize_base(request)
        return Response(200, {"Content-Type": "application/json"}, b"{}")


class UploadsForPeers:
    """ASGI for upload sessions of this instance whose requests came to a peer, which has let them in."""

    def __init__(self, registry: Registry, access: RegistryAccess) -> None:
        """`registry`: without peers, or two instances would send a request to each other for ever."""
        self._uploads = UploadHandlers(registry, access)

    async def serve(self, scope: Scope, receive: Receive, send: Send, name: str, upload_id: str) -> None:
        """Serve one request about a session."""

        async def dispatch(request: Request) -> Response:
            return await self._uploads.session(request, check_name(name), upload_id)

        await serve(Request(scope, receive), dispatch, send)


async def serve(request: Request, dispatch: Callable[[Request], Awaitable[Response]], send: Send) -> None:
    """Send the answer of `dispatch`; every failure becomes an OCI error document."""
    try:
        response = await dispatch(request)
        if response.stream is not None and request.method != "HEAD":
            await response.prime()
    except RegistryError as error:
        response = error_response(error)
    except StorageFullError as error:
        response = error_response(RegistryError("UNAVAILABLE", str(error), status=507))
    except UnavailableError as error:
        response = error_response(RegistryError("UNAVAILABLE", str(error), headers={"Retry-After": "1"}))
    except ClientGoneError:
        # Often nobody is left to read this; a client that closed only its sending side is.
        response = error_response(RegistryError("SIZE_INVALID", "the request's body ended early"))
    response.headers["Docker-Distribution-Api-Version"] = "registry/2.0"
    await response.send(request.scope, send)


def _check_parameters(request: Request) -> None:
    for name in _SINGLE_PARAMETERS:
        if len(request.query.getlist(name)) > 1:
            raise RegistryError("UNSUPPORTED", f"parameter {name} is given more than once", status=400)


def _check_headers(request: Request) -> None:
    if len(by_name(request.scope)) == len(request.scope["headers"]):
        return
    seen: set[bytes] = set()
    for name, _ in request.scope["headers"]:
        if name in _SINGLE:
            if name in seen:
                raise RegistryError(
                    "UNSUPPORTED", f"header {name.decode()} is given more than once", status=400
                )
            seen.add(name)
