"""Where a user lets programs in (`seawall login`): the routes behind the portal's pages. Seawall's own."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from seawall.access.login_requests import check_request, shown_name
from seawall.access.logins import Waiting
from seawall.access.user_tokens import checked_scopes
from seawall.web.harbor.deps import Access, client_address, signed_in, timestamp
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import LoginsDep
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["token"])


class DeviceCode(BaseModel):
    """The code that a device shows."""

    user_code: str = Field(max_length=32)


class DeviceDecision(DeviceCode):
    """Whether the device is let in."""

    approve: bool


class WaitingDevice(BaseModel):
    """A device that waits for its user: what it calls itself, from where and when it asked, and for what."""

    client: str
    address: str
    scopes: list[str]
    creation_time: str | None
    expiration_time: str | None


class BrowserLogin(BaseModel):
    """What a program asks through its user's browser (RFC 6749 4.1.1, RFC 7636 4.3)."""

    redirect_uri: str = Field(max_length=512)
    code_challenge: str = Field("", max_length=128)
    code_challenge_method: str = Field("", max_length=16)
    state: str = Field(min_length=8, max_length=512)
    scope: str = Field("push api-read", max_length=255)
    client_name: str = Field("", max_length=255)


class BrowserAnswer(BaseModel):
    """Where the browser goes with the code."""

    redirect_to: str


def _model(found: Waiting) -> WaitingDevice:
    return WaitingDevice(
        client=found.client,
        address=found.address,
        scopes=list(found.scopes),
        creation_time=timestamp(found.created_at),
        expiration_time=timestamp(found.expires_at),
    )


def _person(access: Access) -> None:
    access.require_no_token()
    if access.principal.kind != "user" or not access.principal.id:
        raise ApiError(412, "the caller is not a user")


@router.post("/users/current/logins/device")
async def find_device(
    body: DeviceCode, access: Annotated[Access, signed_in()], logins: LoginsDep
) -> WaitingDevice:
    """The device that shows a code. Nothing is changed."""
    _person(access)
    access.recorded = True
    address = client_address(access.request)
    return _model(await logins.waiting(access.principal, body.user_code, address))


@router.put("/users/current/logins/device")
async def decide_device(
    body: DeviceDecision, access: Annotated[Access, signed_in()], logins: LoginsDep
) -> WaitingDevice:
    """Let in the device that shows a code, or refuse it. A code is valid for one decision."""
    _person(access)
    address = client_address(access.request)
    found = await logins.decide(
        access.principal, body.user_code, address, approve=body.approve, also=access.trace
    )
    said = f"{'approve' if body.approve else 'refuse'} sign-in of {found.client} at {found.address}"
    access.audited("create" if body.approve else "refuse", "login", found.client, said)
    return _model(found)


@router.post("/users/current/logins/browser")
async def authorize_browser(
    body: BrowserLogin, access: Annotated[Access, signed_in()], logins: LoginsDep
) -> BrowserAnswer:
    """Let in a program on the user's own computer: gives the loopback address that brings it its code."""
    _person(access)
    # Before anything else: a page must not be sent to an address that is not the user's own computer.
    check_request(body.redirect_uri, body.code_challenge, body.code_challenge_method)
    scopes, name = tuple(checked_scopes(tuple(body.scope.split()))), shown_name(body.client_name)
    target = await logins.authorize(
        access.principal,
        scopes,
        name,
        client_address(access.request),
        redirect_uri=body.redirect_uri,
        challenge=body.code_challenge,
        method=body.code_challenge_method,
        state=body.state,
        also=access.trace,
    )
    access.audited("create", "login", name, f"approve sign-in of {name} on this computer")
    return BrowserAnswer(redirect_to=target)
