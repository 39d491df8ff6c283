"""What routers build on: the caller, the decision about access, the audit log, list parameters.

Deny by default, twice. A route says what it needs with one of the dependencies of this module
(`project_access`, `system_access`, `signed_in`, `anyone`, `checked`); `routing.ApiRoute` refuses to be made
without one. And after the handler it makes sure that a decision was in fact taken, so a `checked` route that
forgets to call `Access.require` answers 500, not data.

    router = ApiRouter(tags=["member"])

    @router.get("/projects/{project_name_or_id}/members")
    async def members(access: Annotated[Access, project_access("member", "list")]) -> list[Member]:
        ...access.project.id...

Every successful change is written to the audit log before it is answered, under what `Access.audited` was
given, or else what the path says. The trace of an `Intent` commits with the change, so that the log will tell
of it even when the server dies between the two.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar
from urllib.parse import unquote

from fastapi import Depends, Header, Path, Request
from sqlalchemy import Connection

from seawall.access import access as decide
from seawall.access.access import Project
from seawall.access.principal import Principal
from seawall.features.audit.trail import AuditTrail, Entry, Intent
from seawall.infra.configuration import Configuration
from seawall.infra.db import Database
from seawall.kernel.context import Actor
from seawall.registry.elsewhere import Elsewhere
from seawall.web.caller import Callers, CredentialsError
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.query import Listing, listing
from seawall.web.harbor.sessions import SAFE_METHODS, BrowserSessions

# 0 is taken too: nothing has it, so it is not found.
Id = Annotated[int, Path(ge=0, le=2**53)]
ListingDep = Annotated[Listing, Depends(listing)]


T = TypeVar("T")
_OPERATIONS = {"POST": "create", "PUT": "update", "PATCH": "update", "DELETE": "delete"}
# What a session does in which the second factor that is required has yet to be set up.
_ENROLLING = ("/c/", "/api/v2.0/users/current", "/api/v2.0/systeminfo")


def timestamp(seconds: float | None) -> str | None:
    """Unix seconds as Harbor writes times: RFC 3339, UTC, milliseconds."""
    if seconds is None:
        return None
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def client_address(request: Request) -> str:
    """The client's address as the server sees it."""
    return request.client.host if request.client else ""


class Gate:
    """What every request goes through: who calls, whether changes are taken, what the audit log gets."""

    def __init__(
        self,
        db: Database,
        callers: Callers,
        browsers: BrowserSessions,
        audit: AuditTrail,
        configuration: Configuration,
        elsewhere: Elsewhere,
    ) -> None:
        self.db = db
        self.audit = audit
        self.elsewhere = elsewhere
        self._callers = callers
        self._browsers = browsers
        self._configuration = configuration

    async def principal(self, request: Request) -> Principal:
        """Who calls: by Basic credentials, a token of the OIDC provider or a user's, or a session cookie.

        Raises ApiError 401 for wrong credentials, and 403 for a change without the CSRF header in a session
        and for what a user's token is not for.
        """
        known: Principal | None = getattr(request.state, "principal", None)
        if known is not None:
            return known
        try:
            principal = await self._callers.of_api(
                request.headers.get("authorization"),
                client_address(request),
                lambda: self._browsers.principal(request),
            )
        except CredentialsError as error:
            raise unauthorized(str(error)) from None
        limits = principal.limits
        if limits is not None and "enrol" in limits.scopes:
            if not request.url.path.startswith(_ENROLLING):
                raise ApiError(403, "set up a second factor first")
        elif limits is not None:
            reading = request.method in SAFE_METHODS
            if not (limits.reads_api() if reading else "api-write" in limits.scopes):
                scope = "api-read" if reading else "api-write"
                raise ApiError(403, f"the token lacks the scope {scope}")
        request.state.principal = principal
        return principal

    async def read_only(self) -> bool:
        """Whether the system takes no changes."""
        return bool(await self._configuration.get("read_only"))


def gate_of(request: Request) -> Gate:
    """What decides about requests, of this application."""
    gate: Gate = request.app.state.gate
    return gate


def unauthorized(message: str = "authentication is required") -> ApiError:
    """401; without a challenge, so that a browser does not open its own login window."""
    return ApiError(401, message)


@dataclass(slots=True)
class Access:
    """The decision about one request, and what its handler works with."""

    principal: Principal
    request: Request
    _gate: Gate
    # The project named in the path, of routes with `project_access`.
    _project: Project | None = None
    decided: bool = False
    entries: list[Entry] = field(default_factory=list)
    # The change writes its own entry, in its transaction (`seawall.features.audit.trail.AuditHook`).
    recorded: bool = False
    intent: Intent | None = None

    def trace(self, connection: Connection) -> None:
        """Leave a trace of the change in its transaction, unless that writes the entry.

        Every write of a route carries it along: `write`, or the `also` of a service's method.
        """
        if self.intent is not None and not self.recorded:
            self.intent(connection)

    async def write(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn` in a transaction of the request's change and commit; see `Database.write`."""
        return await self._gate.db.write(fn, also=self.trace)

    @property
    def project(self) -> Project:
        """The project in the path."""
        assert self._project is not None
        return self._project

    @property
    def actor(self) -> Actor:
        """The caller for records."""
        return Actor(self.principal.name, client_address(self.request))

    async def project_of(self, project_id: int) -> Project:
        """The project of that id. Raises ApiError 404."""
        found = await self._gate.db.point(lambda c: decide.project_by_id(c, project_id))
        if found is None:
            raise ApiError(404, f"project {project_id} not found")
        return found

    async def allowed(self, resource: str, action: str, project: Project | int | None = None) -> bool:
        """Whether the caller may, on a project or (None) on the system; counts as the decision."""
        self.decided = True
        if project is None:
            return decide.may_system(self.principal, resource, action)
        where = await self.project_of(project) if isinstance(project, int) else project
        return await self._gate.db.point(lambda c: decide.may(c, self.principal, where, resource, action))

    async def require(self, resource: str, action: str, project: Project | int | None = None) -> None:
        """Refuse with 401 (anonymous) or 403 unless the caller may."""
        if not await self.allowed(resource, action, project):
            raise self.refusal()

    def require_known(self) -> None:
        """Refuse anonymous callers with 401."""
        self.decided = True
        if not self.principal.known:
            raise unauthorized()

    def require_no_token(self) -> None:
        """Refuse a user's token: it makes no credentials, so that nothing of it outlives it."""
        if self.principal.limits is not None:
            raise ApiError(403, "not with a token: sign in with a password, or in the portal")

    def require_all_projects(self) -> None:
        """Refuse a token that is for some projects, at what is not of one project."""
        if self.principal.limits is not None and self.principal.limits.projects is not None:
            raise ApiError(403, "the token is for some projects only")

    def refusal(self) -> ApiError:
        """401 for anonymous callers, 403 for others."""
        return ApiError(403, "forbidden") if self.principal.known else unauthorized()

    def audited(
        self,
        operation: str,
        resource_type: str,
        resource: str,
        description: str = "",
        project_id: int | None = None,
    ) -> None:
        """Say how the audit log is to tell of this change."""
        self.entries.append(Entry(operation, resource_type, resource, description, project_id))

    async def record(self, operation: str, resource_type: str, resource: str, description: str) -> None:
        """Write an entry now: for a GET that changes something, like the end of a sign-in."""
        who, entry = self.actor, Entry(operation, resource_type, resource, description)
        await self._gate.db.write(lambda c: self._gate.audit.record(c, who, entry))


def entry_of(request: Request, access: Access, *, success: bool) -> Entry:
    """What is known of any request: by its method and path."""
    project = access._project
    path = getattr(request.scope.get("route"), "path", request.url.path)
    parts = [part for part in path.removeprefix("/api/v2.0").split("/") if part and part[0] != "{"]
    resource = request.url.path.removeprefix("/api/v2.0")
    return Entry(
        _OPERATIONS.get(request.method, "operate"),
        parts[-1] if parts else "",
        resource,
        f"{request.method} {resource}",
        project.id if project else None,
        success,
    )


async def _access(request: Request) -> Access:
    gate = gate_of(request)
    access = Access(await gate.principal(request), request, gate)
    request.state.access = access
    if request.method not in SAFE_METHODS:
        access.intent = Intent(access.actor, lambda: entry_of(request, access, success=True))
    return access


class Requirement:
    """Base of the dependencies by which a route says who may use it. `declares` goes into the OpenAPI."""

    def __init__(self, scope: str, resource: str = "", action: str = "") -> None:
        self.declares = {"scope": scope, "resource": resource, "action": action}


async def _find_project(access: Access, name_or_id: str, by_name: bool) -> Project | None:
    value = unquote(name_or_id)
    if not by_name and value.isascii() and value.isdigit() and len(value) < 17:
        number = int(value)
        return await access._gate.db.point(lambda c: decide.project_by_id(c, number))
    return await access._gate.db.point(lambda c: decide.project_by_name(c, value))


async def _enter_project(
    access: Access, found: Project | None, name: str, *wanted: tuple[str, str]
) -> Access:
    if found is None:
        access.decided = True
        # Only who may see every project learns that one does not exist.
        if access.principal.sysadmin:
            raise ApiError(404, f"project {unquote(name)} not found")
        raise access.refusal()
    # Before the decision: a refusal is written to the project's log.
    access._project = found
    for resource, action in wanted:
        if await access.allowed(resource, action, found):
            return access
    raise access.refusal()


class _ByNameOrId(Requirement):
    async def __call__(
        self,
        request: Request,
        project_name_or_id: Annotated[str, Path(max_length=255)],
        x_is_resource_name: Annotated[bool, Header()] = False,
    ) -> Access:
        access = await _access(request)
        found = await _find_project(access, project_name_or_id, x_is_resource_name)
        wanted = self.declares["resource"], self.declares["action"]
        return await _enter_project(access, found, project_name_or_id, wanted)


class _ByName(Requirement):
    def __init__(self, resource: str, action: str, *others: tuple[str, str]) -> None:
        super().__init__("project", resource, action)
        self._wanted = (resource, action), *others

    async def __call__(self, request: Request, project_name: Annotated[str, Path(max_length=255)]) -> Access:
        access = await _access(request)
        found = await _find_project(access, project_name, True)
        access = await _enter_project(access, found, project_name, *self._wanted)
        repository = request.path_params.get("repository_name")
        if repository is not None:
            # Whatever the route does with it: it knows of what other instances took before.
            await access._gate.elsewhere.ready_repository(f"{access.project.name}/{unquote(repository)}")
        return access


class _System(Requirement):
    async def __call__(self, request: Request) -> Access:
        access = await _access(request)
        await access.require(self.declares["resource"], self.declares["action"])
        return access


class _SignedIn(Requirement):
    async def __call__(self, request: Request) -> Access:
        access = await _access(request)
        access.require_known()
        return access


class _Anyone(Requirement):
    async def __call__(self, request: Request) -> Access:
        access = await _access(request)
        access.decided = True
        return access


class _Checked(Requirement):
    async def __call__(self, request: Request) -> Access:
        return await _access(request)


def project_access(resource: str, action: str) -> Any:
    """Let in who may do `action` on `resource` of the project `{project_name_or_id}` in the path."""
    return Depends(_ByNameOrId("project", resource, action))


def named_project_access(resource: str, action: str, *others: tuple[str, str]) -> Any:
    """Like `project_access`, for paths with `{project_name}`, which is never taken for an id.

    `others`: rights that let in too; the handler then asks for the one that its body needs.
    """
    return Depends(_ByName(resource, action, *others))


def system_access(resource: str, action: str) -> Any:
    """Let in system administrators and system robots with the permission."""
    return Depends(_System("system", resource, action))


def signed_in() -> Any:
    """Let in everyone who is known."""
    return Depends(_SignedIn("signed-in"))


def anyone() -> Any:
    """Let in everyone; what the answer shows must then depend on the caller."""
    return Depends(_Anyone("anyone"))


def checked(resource: str, action: str, scope: str = "project") -> Any:
    """Let the handler decide, by `Access.require`; the arguments say what it will ask for."""
    requirement = _Checked(scope, resource, action)
    requirement.declares["checked"] = "by the handler"
    return Depends(requirement)


def location(request: Request, identifier: int | str) -> dict[str, str]:
    """A Location header below the request's own path."""
    return {"Location": f"{request.url.path.rstrip('/')}/{identifier}"}
