"""The endpoint of a site for the other one, below `/internal/dr`; every request is signed (`wire`)."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import IO, Any

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from seawall.availability.sites import ship, state
from seawall.availability.sites.intake import Intake
from seawall.availability.sites.service import DrService
from seawall.availability.sites.wire import PREFIX, received
from seawall.infra.db import Database, dump
from seawall.infra.storage import BlobStorage
from seawall.kernel.errors import (
    ForbiddenError,
    NotFoundError,
    PreconditionError,
    SeawallError,
    UnavailableError,
)
from seawall.registry.local import LocalRegistry

log: Any = structlog.get_logger("seawall.dr")
_CHUNK = 1024 * 1024


def dr_routes(
    dr: DrService, db: Database, storage: BlobStorage, content: LocalRegistry, database_url: str
) -> list[BaseRoute]:
    """The routes; none without the section `dr`."""
    if not dr.enabled:
        return []
    pair = dr.pair
    view, switch = pair.view, pair.switch
    intake = Intake(db, content, pair.peer)

    async def hello(body: dict[str, Any]) -> Response:
        await view.learn(body)
        return JSONResponse(await view.info())

    async def demote(body: dict[str, Any]) -> Response:
        return JSONResponse(await switch.yield_to(int(body["epoch"])))

    async def resume(body: dict[str, Any]) -> Response:
        await switch.resume(int(body["epoch"]))
        return JSONResponse({})

    async def promote(_body: dict[str, Any]) -> Response:
        await switch.promote(planned=True)
        return JSONResponse(await view.info())

    async def promise(body: dict[str, Any]) -> Response:
        return JSONResponse({"granted": await switch.promise(int(body["epoch"]), float(body["seconds"]))})

    async def keys(_body: dict[str, Any]) -> Response:
        row = await db.read(state.read)
        if row is None or row["role"] == state.STANDBY:
            raise PreconditionError("this site is a standby itself")
        rows = await db.read(state.key_rows)
        encoded = [
            {k: dump.encode(v) if isinstance(v, bytes | memoryview) else v for k, v in row.items()}
            for row in rows
        ]
        return JSONResponse({"rows": encoded, "lineage": row["lineage"]})

    async def changes(body: dict[str, Any]) -> Response:
        row = await db.read(state.read)
        if row is None or row["role"] == state.STANDBY:
            raise PreconditionError("this site is a standby itself")
        if int(body.get("epoch") or 0) > row["epoch"]:
            await view.learn_epoch(int(body["epoch"]))
            raise PreconditionError("this site is of an older epoch")
        cursor = body.get("cursor")
        head = {"lineage": row["lineage"], "site": row["site"]}
        file = await asyncio.to_thread(
            ship.write_changes, database_url, None if cursor is None else str(cursor), head
        )
        return StreamingResponse(_read(file), media_type="application/x-ndjson")

    async def blob(body: dict[str, Any]) -> Response:
        digest = str(body["digest"])
        found = await db.read(lambda c: state.blob_place(c, digest))
        if found is None:
            raise NotFoundError(f"no blob {digest}")
        headers = {"Content-Length": str(found.size)}
        return StreamingResponse(
            storage.stream(found.storage_key, 0, found.size) if found.size else _nothing(),
            media_type="application/octet-stream",
            headers=headers,
        )

    async def rescue(body: dict[str, Any]) -> Response:
        return JSONResponse(await intake.take_in(body))

    async def is_new(nonce: str) -> bool:
        now = time.time()
        return await db.write(lambda c: state.first_use(c, nonce, now), durable=False)

    verbs: dict[str, Callable[[dict[str, Any]], Awaitable[Response]]] = {
        "hello": hello,
        "demote": demote,
        "resume": resume,
        "promote": promote,
        "promise": promise,
        "keys": keys,
        "changes": changes,
        "blob": blob,
        "rescue": rescue,
    }

    async def serve(request: Request) -> Response:
        try:
            if not (dr.settings.allow_http or is_private(request)):
                raise ForbiddenError("sites talk over https only (dr.allow_http)")
            body = await received(request, pair.signer, is_new)
            verb = verbs.get(request.path_params["verb"])
            if verb is None:
                raise NotFoundError("no such request")
            return await verb(body)
        except ForbiddenError as error:
            return _error(403, str(error))
        except NotFoundError as error:
            return _error(404, str(error))
        except UnavailableError as error:
            return _error(503, str(error))
        except (KeyError, TypeError, ValueError):
            return _error(409, "not a request of a Seawall site")
        except SeawallError as error:
            return _error(409, str(error))

    return [Route(PREFIX + "/{verb}", serve, methods=["POST"])]


def is_private(request: Request) -> bool:
    """Whether nobody on the way can read the answer: https, or both ends on this host."""
    client = request.client.host if request.client else ""
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(client.partition("%")[0]).is_loopback:
            return True
    return request.url.scheme == "https"


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status)


async def _read(file: IO[bytes]) -> AsyncIterator[bytes]:
    try:
        while data := await asyncio.to_thread(file.read, _CHUNK):
            yield data
    finally:
        file.close()


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
