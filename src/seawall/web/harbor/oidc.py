"""Sign-in through the OpenID provider: the browser's way there and back, and the test of a provider."""

from __future__ import annotations

import dataclasses
import hmac
import re
from typing import Annotated, Any
from urllib.parse import urlencode

import structlog
from fastapi import Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field

from seawall.access.oidc import OidcService
from seawall.access.oidc_provider import Identity, ProviderError
from seawall.kernel.errors import ConflictError, ForbiddenError, InvalidError, SeawallError
from seawall.web.harbor.deps import Access, anyone, system_access
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Accounts, Browsers, Oidc, SettingsDep
from seawall.web.harbor.routing import ApiRouter

log: Any = structlog.get_logger("seawall.oidc")
browser = ApiRouter(prefix="/c/oidc", include_in_schema=False)
router = ApiRouter(tags=["oidc"])
LOGIN_COOKIE, ONBOARD_COOKIE = "oidc_login", "oidc_onboard"


class OidcPing(BaseModel):
    """A provider to be tested: its issuer."""

    url: str = Field(max_length=512)
    verify_cert: bool = True


class Onboarding(BaseModel):
    """The name that a new user chose."""

    username: str = Field(max_length=255)


def _service(access: Access, auth: Accounts, oidc: Oidc) -> OidcService:
    if not auth.required:
        raise ApiError(412, "authentication is off (auth.mode: none)")
    return oidc


async def _enabled(access: Access, auth: Accounts, oidc: Oidc, source: str = "") -> OidcService:
    service = _service(access, auth, oidc)
    if not await service.enabled(source):
        if source:
            raise ApiError(404, f"there is no OpenID provider {source[:64]} to sign in with")
        raise ApiError(412, "auth_mode is not oidc_auth")
    return service


def _base(access: Access, settings: SettingsDep) -> str:
    external = settings.external_url
    return external or str(access.request.base_url).rstrip("/")


def _callback(access: Access, settings: SettingsDep, source: str = "") -> str:
    # Each source has its own, so that a provider which answers for another one is found out.
    return f"{_base(access, settings)}/c/oidc/callback{f'/{source}' if source else ''}"


def _local(target: str) -> str:
    """A path of this server; anything else would make us send users to other people's pages."""
    return target if re.fullmatch(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*", target) else "/"


def _cookie(access: Access, browsers: Browsers, response: Response, name: str, value: str) -> None:
    response.set_cookie(
        name,
        value,
        max_age=600,
        path="/c/oidc",
        httponly=True,
        samesite="lax",
        secure=browsers.is_secure(access.request),
    )


def _refused(access: Access, error: SeawallError, target: str) -> Response:
    """Back to the portal's sign-in page with what went wrong; raises the error to who is not a browser."""
    if "text/html" not in access.request.headers.get("accept", ""):
        raise error
    # A word, not the message: anyone who makes a link could otherwise put their text on our page.
    kind = "provider" if isinstance(error, ProviderError) else "again"
    if isinstance(error, _RefusedError):
        kind = "refused"
    log.warning("a sign-in through the provider failed", error=str(error))
    return RedirectResponse(f"/account/sign-in?{urlencode({'oidc': kind, 'redirect_url': target})}", 302)


class _RefusedError(ForbiddenError):
    """The provider sent the browser back without a code."""


@browser.get("/login")
async def log_in(
    access: Annotated[Access, anyone()],
    settings: SettingsDep,
    auth: Accounts,
    oidc: Oidc,
    browsers: Browsers,
    redirect_url: Annotated[str, Query(max_length=2048)] = "/",
    source: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """Send the browser to the provider: that of `source`, or of the configuration."""
    service = await _enabled(access, auth, oidc, source)
    try:
        url, cookie = await service.begin(_callback(access, settings, source), _local(redirect_url), source)
    except ProviderError as error:
        return _refused(access, error, _local(redirect_url))
    response = RedirectResponse(url, 302)
    _cookie(access, browsers, response, LOGIN_COOKIE, cookie)
    return response


@browser.get("/callback")
@browser.get("/callback/{source}")
async def callback(
    request: Request,
    access: Annotated[Access, anyone()],
    settings: SettingsDep,
    auth: Accounts,
    oidc: Oidc,
    browsers: Browsers,
    state: Annotated[str, Query(max_length=512)] = "",
    code: Annotated[str, Query(max_length=4096)] = "",
    error: Annotated[str, Query(max_length=512)] = "",
    iss: Annotated[str | None, Query(max_length=512)] = None,
) -> Response:
    """The browser comes back from the provider."""
    source = request.path_params.get("source", "")
    service = await _enabled(access, auth, oidc, source)
    target = "/"
    try:
        begun = service.unseal("oidc-login", request.cookies.get(LOGIN_COOKIE))
        if not hmac.compare_digest(begun["state"].encode(), state.encode()):
            raise ForbiddenError("the state does not match; try again")
        if begun.get("source", "") != source:
            raise ForbiddenError("the sign-in was begun with another provider; try again")
        target = begun["target"]
        if error or not code:
            reason = error if re.fullmatch("[a-z_]+", error) else "error"
            raise _RefusedError(f"the provider refused: {reason}")
        identity = await service.finish(_callback(access, settings, source), code, begun, iss)
    except ForbiddenError as problem:
        return _refused(access, problem, target)
    provider = await service.settings(source)
    name = identity.username if provider.auto_onboard and identity.username else None
    try:
        user = await service.arrive(identity, onboard_as=name, also=access.trace)
    except (ConflictError, InvalidError):
        # The name is taken or cannot be used: the person chooses another one.
        user = None
    if user is None:
        query = urlencode({"username": identity.username, "redirect_url": begun["target"]})
        response: Response = RedirectResponse(f"/oidc-onboard?{query}", 302)
        data = {"identity": dataclasses.asdict(identity), "target": begun["target"]}
        _cookie(access, browsers, response, ONBOARD_COOKIE, service.seal("oidc-onboard", data))
    else:
        response = RedirectResponse(begun["target"], 302)
        await browsers.begin(request, response, user.id, _data(identity), also=access.trace)
        access.principal = user
        await access.record("login", "user", user.name, f"login of {user.name} through OIDC")
    response.delete_cookie(LOGIN_COOKIE, path="/c/oidc")
    return response


def _data(identity: Identity) -> dict[str, Any]:
    data: dict[str, Any] = {"admin": True} if identity.admin else {}
    return {**data, "source": identity.source} if identity.source else data


@browser.post("/onboard")
async def onboard(
    request: Request,
    body: Onboarding,
    access: Annotated[Access, anyone()],
    auth: Accounts,
    oidc: Oidc,
    browsers: Browsers,
) -> Response:
    """A new user says what it wants to be called."""
    service = _service(access, auth, oidc)
    browsers.require_csrf(request)
    data = service.unseal("oidc-onboard", request.cookies.get(ONBOARD_COOKIE))
    identity = Identity(**{**data["identity"], "groups": tuple(data["identity"]["groups"])})
    await _enabled(access, auth, oidc, identity.source)
    user = await service.arrive(identity, onboard_as=body.username, also=access.trace)
    assert user is not None
    response = Response()
    await browsers.begin(request, response, user.id, _data(identity), also=access.trace)
    response.delete_cookie(ONBOARD_COOKIE, path="/c/oidc")
    access.principal = user
    access.audited("create", "user", user.name, f"onboard {user.name} through OIDC")
    return response


@browser.get("/logout")
async def log_out(
    request: Request,
    access: Annotated[Access, anyone()],
    settings: SettingsDep,
    auth: Accounts,
    oidc: Oidc,
    browsers: Browsers,
) -> Response:
    """End the session here and, when configured, at the provider."""
    # All who have a CLI secret come here, also from a session that began with a password.
    source = await browsers.source(request)
    service = _service(access, auth, oidc)
    url = await service.end_session_url(f"{_base(access, settings)}/", source)
    # Not to "/": with `primary_auth_mode` that leads to the provider, which may sign the user in at once.
    response = RedirectResponse(url or "/account/sign-in", 302)
    await browsers.end(request, response, also=access.trace)
    return response


@router.post("/system/oidc/ping")
async def ping_oidc(
    body: OidcPing,
    access: Annotated[Access, system_access("configuration", "update")],
    auth: Accounts,
    oidc: Oidc,
) -> Response:
    """Whether a provider answers with a discovery document that names itself."""
    service = _service(access, auth, oidc)
    if not body.url.startswith(("http://", "https://")):
        raise ApiError(400, "url: must start with http:// or https://")
    await service.ping(body.url, body.verify_cert)
    access.audited("operate", "configuration", "OIDC", "test an OpenID provider")
    return Response()
