"""A second factor for the caller's own account, and its removal by an administrator: Seawall's own routes."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Response
from pydantic import BaseModel, Field

from seawall.access import second_factor as domain
from seawall.access.users import by_id, is_local
from seawall.web.harbor.deps import Access, Id, signed_in, system_access
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Config, Db, SecondFactorsDep, SessionsDep, SettingsDep
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["user"])


class SecondFactor(BaseModel):
    """Whether a second factor is on, and has to be; how many recovery codes are left."""

    enabled: bool
    required: bool
    recovery_codes: int = 0


class SecondFactorKey(BaseModel):
    """A new key, shown this once: as text, and as an address for authenticator programs."""

    secret: str
    uri: str


class SecondFactorCode(BaseModel):
    """A code of the authenticator program, or a recovery code."""

    code: str = Field(max_length=64)


class RecoveryCodes(BaseModel):
    """Codes that are each good once in place of the authenticator's; shown this once."""

    recovery_codes: list[str]


async def _own(access: Access, db: Db) -> int:
    """The caller's id; of a person with a password here, who shows that and no token."""
    principal = access.principal
    if principal.limits is not None and "enrol" not in principal.limits.scopes:
        access.require_no_token()
    if principal.kind != "user" or not principal.id:
        raise ApiError(412, "the caller is not a user")
    if not await db.point(lambda c: is_local(c, principal.id)):
        raise ApiError(412, "the identity provider asks for second factors of its users")
    return principal.id


@router.get("/users/current/second-factor")
async def get_second_factor(
    access: Annotated[Access, signed_in()], db: Db, configuration: Config
) -> SecondFactor:
    """Whether the caller has a second factor."""
    user_id = await _own(access, db)
    left = await db.point(lambda c: domain.remaining(c, user_id))
    return SecondFactor(
        enabled=left is not None,
        required=bool(await configuration.get("second_factor_required")),
        recovery_codes=left or 0,
    )


@router.post("/users/current/second-factor", status_code=201)
async def begin_second_factor(
    response: Response,
    access: Annotated[Access, signed_in()],
    db: Db,
    settings: SettingsDep,
    factors: SecondFactorsDep,
) -> SecondFactorKey:
    """Make a key for the caller's authenticator program; it counts once a first code has confirmed it."""
    user_id = await _own(access, db)
    host = urlsplit(settings.external_url or "").netloc or access.request.url.netloc
    name = access.principal.name
    secret, uri = await factors.begin(user_id, name, f"Seawall {host}", also=access.trace)
    access.audited("update", "user", name, f"begin second factor of {name}")
    response.headers["Cache-Control"] = "no-store"
    return SecondFactorKey(secret=secret, uri=uri)


@router.put("/users/current/second-factor")
async def confirm_second_factor(
    response: Response,
    body: SecondFactorCode,
    access: Annotated[Access, signed_in()],
    db: Db,
    factors: SecondFactorsDep,
    sessions: SessionsDep,
) -> RecoveryCodes:
    """Switch on the caller's second factor with a first code; gives the recovery codes."""
    user_id, name = await _own(access, db), access.principal.name
    codes = await factors.confirm(user_id, body.code, also=access.trace)
    # Sessions that began with the password alone end.
    await sessions.delete_user(user_id, also=access.trace)
    access.audited("update", "user", name, f"switch second factor of {name} on")
    response.headers["Cache-Control"] = "no-store"
    return RecoveryCodes(recovery_codes=codes)


@router.post("/users/current/second-factor/removal")
async def remove_own_second_factor(
    body: SecondFactorCode,
    access: Annotated[Access, signed_in()],
    db: Db,
    factors: SecondFactorsDep,
) -> Response:
    """Switch off the caller's second factor, with a code of it."""
    user_id, name = await _own(access, db), access.principal.name
    if not await factors.check(user_id, body.code):
        raise ApiError(403, "the code is wrong or was used")
    await access.write(lambda c: domain.remove(c, user_id))
    access.audited("update", "user", name, f"switch second factor of {name} off")
    return Response()


@router.delete("/users/{user_id}/second-factor")
async def remove_second_factor(
    user_id: Id, access: Annotated[Access, system_access("user", "update")], db: Db, sessions: SessionsDep
) -> Response:
    """Switch off the second factor of another user who has lost it."""
    access.require_no_token()
    if not access.principal.sysadmin:
        raise access.refusal()
    if access.principal.kind == "user" and access.principal.id == user_id:
        raise ApiError(403, "switch off your own second factor with a code of it")
    row = await db.point(lambda c: by_id(c, user_id))
    if row is None:
        raise ApiError(404, f"user {user_id} not found")
    await access.write(lambda c: domain.remove(c, user_id))
    await sessions.delete_user(user_id, also=access.trace)
    access.audited("update", "user", row.username, f"switch second factor of {row.username} off")
    return Response()
