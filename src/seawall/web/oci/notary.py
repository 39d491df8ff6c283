"""HTTP of Notary v1: `/v2/<gun>/_trust/tuf/...` and the change feed, next to the Distribution API.

Errors have Notary's codes, and INVALID_UPDATE carries in `detail` the error that its client shows.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import AsyncGenerator
from email.utils import formatdate
from urllib.parse import unquote

import msgspec
from python_multipart.multipart import parse_options_header
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import Receive, Scope, Send

from seawall.features.trust import tuf
from seawall.features.trust.collections import Stored
from seawall.features.trust.notary import NotaryService
from seawall.kernel.errors import ConflictError, NotFoundError, RegistryError
from seawall.kernel.names import check_name
from seawall.web.oci.access import RegistryAccess
from seawall.web.oci.http import ClientGoneError, Request, Response, error_response, without_host

_ROLE = r"(?P<role>root|snapshot|timestamp|targets(?:/[a-z0-9_.-]+)*)"
_ROUTES = (
    ("update", re.compile(r"(?P<gun>.+)/_trust/tuf/")),
    ("key", re.compile(r"(?P<gun>.+)/_trust/tuf/(?P<role>snapshot|timestamp)\.key")),
    ("checksum", re.compile(rf"(?P<gun>.+)/_trust/tuf/{_ROLE}\.(?P<checksum>[0-9a-fA-F]{{64}})\.json")),
    ("version", re.compile(rf"(?P<gun>.+)/_trust/tuf/(?P<version>[1-9]\d{{0,8}})\.{_ROLE}\.json")),
    ("role", re.compile(rf"(?P<gun>.+)/_trust/tuf/{_ROLE}\.json")),
    ("feed", re.compile(r"(?P<gun>.+)/_trust/changefeed")),
)
_METHODS = {
    "update": {"POST": "push", "DELETE": "delete"},
    "key": {"GET": "push", "POST": "push"},
    "checksum": {"GET": "pull"},
    "version": {"GET": "pull"},
    "role": {"GET": "pull"},
    "feed": {"GET": "pull"},
}
_UPDATE_BYTES = 32 * 1024 * 1024


class NotaryApp:
    """ASGI application for paths with `/_trust/`; identity and access are the registry's own."""

    def __init__(self, access: RegistryAccess, notary: NotaryService) -> None:
        self._access = access
        self._notary = notary

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive)
        try:
            response = await self._dispatch(request)
        except tuf.TufError as error:
            detail = {"Name": error.name, "Error": {"Msg": error.message}}
            response = _error(400, "INVALID_UPDATE", f"update is invalid: {error.message}", detail)
        except ConflictError as error:
            response = _error(400, "VERSION", str(error))
        except NotFoundError as error:
            response = _error(404, "METADATA_NOT_FOUND", str(error))
        except RegistryError as error:
            response = error_response(error)
        except ClientGoneError:
            response = _error(400, "MALFORMED_UPLOAD", "the request's body ended early")
        await response.send(scope, send)

    async def _dispatch(self, request: Request) -> Response:
        path = unquote(request.scope["path"]).removeprefix("/v2/")
        if path == "_trust/changefeed":
            await self._access.authorize_catalog(request)
            return await self._feed(request, None)
        for kind, pattern in _ROUTES:
            match = pattern.fullmatch(path)
            if match is not None:
                return await self._serve(request, kind, match.groupdict())
        raise NotFoundError("no such endpoint")

    async def _serve(self, request: Request, kind: str, groups: dict[str, str]) -> Response:
        actions = _METHODS[kind]
        if request.method not in actions:
            raise RegistryError("UNSUPPORTED", headers={"Allow": ", ".join(sorted(actions))})
        gun = check_name(without_host(groups["gun"], self._access.base_url(request)))
        await self._access.authorize(request, gun, actions[request.method])
        role = groups.get("role", "")
        if kind == "feed":
            return await self._feed(request, gun)
        if kind == "key":
            make = self._notary.rotate_key if request.method == "POST" else self._notary.key
            key = await make(gun, role)
            return _json({"keytype": key.type, "keyval": {"private": None, "public": key.public}})
        if kind == "update":
            if request.method == "DELETE":
                await self._notary.delete(gun)
            else:
                await self._notary.publish(gun, await _files(request))
            return Response(200)
        if kind == "checksum":
            return _metadata(await self._notary.get_by_checksum(gun, role, groups["checksum"]), fixed=True)
        if kind == "version":
            stored = await self._notary.get_by_version(gun, role, int(groups["version"]))
            return _metadata(stored, fixed=True)
        return _metadata(await self._notary.get(gun, role), fixed=False)

    async def _feed(self, request: Request, gun: str | None) -> Response:
        after, count = request.query.get("change_id", "0"), request.query.get("records", "100")
        if not re.fullmatch(r"-1|\d{1,18}", after) or not re.fullmatch(r"-?\d{1,6}", count):
            return _error(400, "INVALID_PARAMETER", "change_id and records must be numbers")
        found = await self._notary.changes(gun, int(after), int(count) or 100)
        records = [
            {
                "ID": str(item.id),
                "CreatedAt": datetime.datetime.fromtimestamp(item.created_at, datetime.UTC).isoformat(),
                "GUN": item.gun,
                "Version": item.version,
                "SHA256": item.sha256,
                "Category": item.category,
            }
            for item in found
        ]
        return _json({"count": len(records), "records": records})


async def _files(request: Request) -> dict[str, bytes]:
    """Metadata of a multipart form by role: each file's name is its role's."""
    kind, _options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        raise tuf.TufError("ErrValidation", "the update is not a multipart form")
    size = request.headers.get("content-length", "0")
    if size.isdigit() and int(size) > _UPDATE_BYTES:
        raise tuf.TufError("ErrValidation", f"the update is larger than {_UPDATE_BYTES} bytes")
    seen = 0

    async def limited() -> AsyncGenerator[bytes, None]:
        nonlocal seen
        async for chunk in request.body():
            seen += len(chunk)
            if seen > _UPDATE_BYTES:
                raise tuf.TufError("ErrValidation", f"the update is larger than {_UPDATE_BYTES} bytes")
            yield chunk

    try:
        form = await MultiPartParser(request.headers, limited(), max_files=200, max_fields=0).parse()
    except MultiPartException as error:
        raise tuf.TufError("ErrValidation", f"the update is not a multipart form: {error.message}") from None
    found: dict[str, bytes] = {}
    try:
        for _name, value in form.multi_items():
            if isinstance(value, str) or not value.filename:
                continue
            if value.filename in found:
                raise tuf.TufError("ErrValidation", f"{value.filename} was sent twice")
            found[value.filename] = await value.read()
    finally:
        await form.close()
    return found


def _metadata(stored: Stored, *, fixed: bool) -> Response:
    headers = {
        "Content-Type": "application/json",
        "Last-Modified": formatdate(stored.created_at, usegmt=True),
        # What is asked for by version or checksum never changes.
        "Cache-Control": "public, max-age=2592000" if fixed else "no-cache, max-age=0",
        "ETag": f'"{stored.sha256}"',
    }
    return Response(200, headers, stored.content)


def _json(value: object) -> Response:
    return Response(200, {"Content-Type": "application/json"}, msgspec.json.encode(value))


def _error(status: int, code: str, message: str, detail: object = None) -> Response:
    item = {"code": code, "message": message, "detail": detail}
    return Response(status, {"Content-Type": "application/json"}, msgspec.json.encode({"errors": [item]}))
