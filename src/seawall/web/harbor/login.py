"""The portal's sign-in and sign-out (`/c/...`): not part of the API proper, named as Harbor names them."""

from __future__ import annotations

import contextlib
from typing import Annotated, Any

from fastapi import Form, Request, Response

from seawall.access.principal import EndedError, Principal
from seawall.features.audit.trail import Entry
from seawall.kernel.context import Actor
from seawall.web.harbor.deps import Access, anyone, client_address, unauthorized
from seawall.web.harbor.needs import Accounts, Audit, Browsers, Config, SecondFactorsDep
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(prefix="/c", include_in_schema=False)


@router.post("/login")
async def log_in(
    request: Request,
    access: Annotated[Access, anyone()],
    audit: Audit,
    auth: Accounts,
    browsers: Browsers,
    principal: Annotated[str, Form(max_length=255)],
    password: Annotated[str, Form(max_length=256)],
    factors: SecondFactorsDep,
    configuration: Config,
    code: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """Start a session by user name and password; needs the CSRF token of an earlier answer.

    `code`: of the second factor, for a user who has one.
    """
    if not auth.required:
        return Response()
    browsers.require_csrf(request)
    address = client_address(request)
    user: Principal | None = None
    with contextlib.suppress(EndedError):
        # A CLI secret is for programs: it must not open the portal past the provider.
        user = await auth.authenticate(principal, password, address, programs=False)
    if user is None or user.kind != "user":
        failed = Entry("login", "user", principal, f"login of {principal} failed", success=False)
        await access.write(lambda c: audit.record(c, Actor(principal, address), failed))
        raise unauthorized("wrong user name or password")
    if user.factor == "on":
        # Only who knows the password learns that there is a second factor.
        if not code:
            raise unauthorized("second factor: a code is needed")
        if not await factors.check(user.id, code):
            failed = Entry("login", "user", principal, f"second factor of {principal} failed", success=False)
            await access.write(lambda c: audit.record(c, Actor(principal, address), failed))
            raise unauthorized("second factor: the code is wrong or was used")
    response = Response()
    stored = await auth.user_by_id(user.id)
    # Only a right that a directory's group gives is the session's: what is stored is looked up each time.
    by_group = user.sysadmin and stored is not None and not stored.sysadmin
    data: dict[str, Any] = {"admin": True} if by_group else {}
    if user.source:
        data["source"] = user.source
    if user.factor == "off" and await configuration.get("second_factor_required"):
        data = {"enrol": True}
    await browsers.begin(request, response, user.id, data, also=access.trace)
    access.audited("login", "user", user.name, f"login of {user.name}")
    access.principal = user
    return response


@router.get("/log_out")
async def log_out(request: Request, access: Annotated[Access, anyone()], browsers: Browsers) -> Response:
    """End the session."""
    response, name = Response(), access.principal.name
    await browsers.end(request, response, also=access.trace)
    if name:
        await access.record("logout", "user", name, f"logout of {name}")
    return response
