"""Routes of the API: bodies without nulls, read-only mode, and the audit log's entry for every change."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from sqlalchemy import Connection

from seawall.kernel.errors import SeawallError
from seawall.web.harbor import unknown
from seawall.web.harbor.deps import Access, Requirement, entry_of, gate_of
from seawall.web.harbor.errors import ApiError, status_of
from seawall.web.harbor.sessions import SAFE_METHODS


class _Request(Request):
    given: Any = None

    async def json(self) -> Any:
        """The body; members that are null are left out, which is what they mean to Harbor."""
        self.given = await super().json()
        return _without_nulls(self.given)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


class ApiRoute(APIRoute):
    """A route that says who may use it, is sure to have decided, and writes the audit log."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        # Harbor leaves out what has no value.
        options["response_model_exclude_none"] = True
        super().__init__(path, endpoint, **options)
        calls = [dependency.call for dependency in self.dependant.dependencies]
        requirements: list[Any] = [call for call in calls if isinstance(call, Requirement)]
        if not requirements:
            raise TypeError(f"route {path} does not say who may use it; see seawall.web.harbor.deps")
        self.openapi_extra = {**(self.openapi_extra or {}), "x-seawall-access": requirements[0].declares}

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler with the checks around it."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            request = _Request(request.scope, request.receive)
            if request.method not in SAFE_METHODS:
                await self._check_mode(request)
            try:
                response = await handler(request)
            except RequestValidationError as error:
                self._name_unknown(request, error)
                raise
            except SeawallError as error:
                if status_of(error) in (400, 422):
                    self._name_unknown(request, error)
                if request.method not in SAFE_METHODS:
                    if status_of(error) == 403:
                        await _write_audit(request, success=False)
                    else:
                        await _settle(request)
                raise
            access: Access | None = getattr(request.state, "access", None)
            if access is None or not access.decided:
                raise RuntimeError(f"{self.path}: nobody decided about access")
            if request.method not in SAFE_METHODS:
                if response.status_code < 400:
                    await _write_audit(request, success=True)
                else:
                    await _settle(request)
            return response

        return handle

    def _name_unknown(self, request: _Request, error: Exception) -> None:
        for item in self.dependant.body_params:
            said = unknown.note(item.field_info.annotation, request.given)
            if said:
                error.add_note(said)

    async def _check_mode(self, request: Request) -> None:
        # What must go on in read only mode: signing in, repairing accounts, and switching the mode off.
        path = self.path.removeprefix("/api/v2.0")
        if path.startswith(
            ("/c/", "/configurations", "/system/", "/users", "/ldap/", "/jobservice/", "/dr/")
        ):
            return
        if await gate_of(request).read_only():
            raise ApiError(403, "the system is in read only mode", "DENIED")


async def _write_audit(request: Request, *, success: bool) -> None:
    access: Access | None = getattr(request.state, "access", None)
    if access is None or (access.recorded and success):
        return
    entries = access.entries if access.entries and success else [entry_of(request, access, success=success)]
    who, intent = access.actor, access.intent

    def record_entry(connection: Connection) -> None:
        if intent is not None and intent.written:
            intent.settle(connection)
        access._gate.audit.record(connection, who, *entries)

    await access._gate.db.write(record_entry)


async def _settle(request: Request) -> None:
    """After a failure: tell of the part of the change that was committed before it, if any was."""
    access: Access | None = getattr(request.state, "access", None)
    intent = access.intent if access is not None else None
    if access is None or intent is None or not intent.written:
        return
    who, entry = access.actor, entry_of(request, access, success=False)

    def settle_intent(connection: Connection) -> None:
        if intent.settle(connection):
            access._gate.audit.record(connection, who, entry)

    await access._gate.db.write(settle_intent)


class ApiRouter(APIRouter):
    """An APIRouter whose routes are `ApiRoute`s."""

    def __init__(self, **options: Any) -> None:
        super().__init__(route_class=ApiRoute, redirect_slashes=False, **options)
