"""Harbor's error envelope: `{"errors": [{"code": "NOT_FOUND", "message": "..."}]}`."""

from __future__ import annotations

from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import StatementError
from starlette.exceptions import HTTPException

from seawall.infra.db import faults
from seawall.infra.loading import in_words
from seawall.kernel.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    PreconditionError,
    RegistryError,
    SeawallError,
    StorageFullError,
    UnavailableError,
)
from seawall.kernel.extras import MissingExtraError

log: Any = structlog.get_logger("seawall.web.harbor")

CODES: dict[int, str] = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    409: "CONFLICT",
    412: "PRECONDITION",
    413: "REQUEST_ENTITY_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    422: "UNPROCESSABLE_ENTITY",
    429: "TOO_MANY_REQUESTS",
    500: "UNKNOWN",
    502: "BAD_GATEWAY",
    503: "UNAVAILABLE",
    507: "INSUFFICIENT_STORAGE",
}
_KINDS: tuple[tuple[type[SeawallError], int], ...] = (
    (NotFoundError, 404),
    (ConflictError, 409),
    (ForbiddenError, 403),
    (PreconditionError, 412),
    (MissingExtraError, 412),
    (InvalidError, 400),
    (StorageFullError, 507),
    (UnavailableError, 503),
)


# Seconds: what is away for a failover is back soon.
RETRY_AFTER = "1"


class ErrorItem(BaseModel):
    """One error."""

    code: str
    message: str


class Errors(BaseModel):
    """The envelope of every answer that is not a success."""

    errors: list[ErrorItem]


class ApiError(SeawallError):
    """An error with a status of its own."""

    def __init__(
        self, status: int, message: str, code: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        self.status = status
        self.message = message
        self.code = code or CODES.get(status, "UNKNOWN")
        self.headers = headers or {}
        super().__init__(message)


def status_of(error: SeawallError) -> int:
    """The HTTP status that an error of the domain gets."""
    if isinstance(error, (ApiError, RegistryError)):
        return error.status
    return next((status for kind, status in _KINDS if isinstance(error, kind)), 500)


def envelope(
    status: int, message: str, code: str | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    """An answer in the envelope."""
    item = {"code": code or CODES.get(status, "UNKNOWN"), "message": message}
    return JSONResponse({"errors": [item]}, status, headers=headers)


def _with_notes(error: Exception, message: str) -> str:
    return "; ".join([message, *getattr(error, "__notes__", ())])


def install(app: FastAPI) -> None:
    """Render every error of `app` in the envelope."""

    @app.exception_handler(SeawallError)
    async def seawall_error(_request: Request, error: SeawallError) -> JSONResponse:
        status = status_of(error)
        if status == 500:
            log.error("request failed", error=str(error))
            return envelope(500, "internal error")
        code = error.code if isinstance(error, ApiError) else None
        headers = error.headers if isinstance(error, (ApiError, RegistryError)) else None
        if isinstance(error, UnavailableError):
            headers = {"Retry-After": RETRY_AFTER}
        return envelope(status, _with_notes(error, str(error)), code, headers)

    @app.exception_handler(RequestValidationError)
    async def validation_error(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = [str(part) for part in first["loc"]]
        # Harbor: a body that is not JSON is a bad request, a value outside its schema is unprocessable.
        if first["type"] == "json_invalid":
            return envelope(400, "the request body is not valid JSON")
        if where == ["body"] and "json" not in request.headers.get("content-type", ""):
            return envelope(422, "the request body must be JSON, sent with Content-Type: application/json")
        place = f"{'.'.join(where[1:])} in {where[0]}" if len(where) > 1 else ".".join(where)
        message = f"{place}: {in_words(first, 'an object')}"
        return envelope(422, _with_notes(error, message))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        headers = dict(error.headers) if error.headers else None
        if error.status_code == 404 and error.detail == "Not Found":
            return envelope(404, f"no such endpoint: {request.url.path[:200]}", headers=headers)
        return envelope(error.status_code, str(error.detail), headers=headers)

    @app.exception_handler(StatementError)
    async def refused_by_database(_request: Request, error: StatementError) -> JSONResponse:
        found = faults.status(error)
        if found is None:
            raise error
        log.warning("refused by the database", error=str(error.orig).splitlines()[0])
        return envelope(*found)

    async def unstorable(_request: Request, _error: Exception) -> JSONResponse:
        return envelope(400, faults.Fault.INVALID.value)

    app.add_exception_handler(OverflowError, unstorable)
    app.add_exception_handler(UnicodeEncodeError, unstorable)

    @app.exception_handler(Exception)
    async def surprise(_request: Request, _error: Exception) -> JSONResponse:
        # It is raised again after this answer, and logged with its trace under the request's id.
        return envelope(500, "internal error")
