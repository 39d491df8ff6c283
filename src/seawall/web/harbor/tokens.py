"""Personal access tokens: Seawall's own part of the API."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Request, Response
from pydantic import BaseModel, Field

from seawall.access import user_tokens as domain
from seawall.access.users import by_id
from seawall.web.harbor.deps import Access, Id, checked, location, signed_in, timestamp
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Config, Db
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["token"])
Uid = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


class UserTokenReq(BaseModel):
    """A token to be made. `projects` are names; without them it is for all that its user may do."""

    name: str = Field(max_length=255)
    scopes: list[str] = Field(max_length=8)
    projects: list[str] | None = Field(None, max_length=1000)
    expires_in_days: int = 30


class UserToken(BaseModel):
    """A token of a user. `kind`: personal, or login (made by `seawall login`)."""

    id: str
    name: str
    kind: str
    scopes: list[str]
    projects: list[str] | None = None
    creation_time: str | None
    expiration_time: str | None
    last_used_time: str | None = None
    last_address: str = ""
    client: str = ""


class UserTokenCreated(UserToken):
    """A new token; `token` is shown this once."""

    token: str


def _model(token: domain.UserToken) -> UserToken:
    return UserToken(
        id=token.uid,
        name=token.name,
        kind=token.kind,
        scopes=list(token.scopes),
        projects=None if token.projects is None else list(token.projects),
        creation_time=timestamp(token.created_at),
        expiration_time=timestamp(token.expires_at),
        last_used_time=timestamp(token.last_used_at),
        last_address=token.last_address,
        client=token.client,
    )


def _person(access: Access) -> int:
    principal = access.principal
    if principal.kind != "user" or not principal.id:
        raise ApiError(412, "the caller is not a user")
    return principal.id


@router.get("/users/current/tokens")
async def list_own_tokens(access: Annotated[Access, signed_in()], db: Db) -> list[UserToken]:
    """The caller's tokens, newest first."""
    user_id = _person(access)
    return [_model(item) for item in await db.read(lambda c: domain.list_of(c, user_id))]


@router.post("/users/current/tokens", status_code=201)
async def create_token(
    request: Request,
    response: Response,
    body: UserTokenReq,
    access: Annotated[Access, signed_in()],
    configuration: Config,
) -> UserTokenCreated:
    """Make a token for the caller; it is shown in this answer only."""
    _person(access)
    access.require_no_token()
    token = domain.make_token()
    days = int(await configuration.get("personal_token_max_days"))
    named = None if body.projects is None else tuple(dict.fromkeys(body.projects))
    wanted = domain.TokenRequest(body.name, tuple(body.scopes), body.expires_in_days, named)
    made = await access.write(lambda c: domain.create(c, access.principal, wanted, token, max_days=days))
    scope = f"{', '.join(made.scopes)} on {', '.join(made.projects) if made.projects else 'all projects'}"
    access.audited("create", "token", made.name, f"create token {made.name}: {scope}")
    response.headers.update({**location(request, made.uid), "Cache-Control": "no-store"})
    return UserTokenCreated(**_model(made).model_dump(), token=token)


@router.delete("/users/current/tokens/{token_id}")
async def delete_own_token(token_id: Uid, access: Annotated[Access, signed_in()], db: Db) -> Response:
    """End a token of the caller's."""
    return await _end(access, db, _person(access), token_id)


@router.get("/users/{user_id}/tokens")
async def list_tokens(
    user_id: Id, access: Annotated[Access, checked("user", "read", "user")], db: Db
) -> list[UserToken]:
    """A user's tokens: one's own, or anybody's for administrators."""
    await _of(access, db, user_id, "read")
    return [_model(item) for item in await db.read(lambda c: domain.list_of(c, user_id))]


@router.delete("/users/{user_id}/tokens/{token_id}")
async def delete_token(
    user_id: Id, token_id: Uid, access: Annotated[Access, checked("user", "update", "user")], db: Db
) -> Response:
    """End a user's token: one's own, or anybody's as an administrator."""
    await _of(access, db, user_id, "update")
    return await _end(access, db, user_id, token_id)


async def _of(access: Access, db: Db, user_id: int, action: str) -> None:
    access.require_known()
    if not (access.principal.kind == "user" and access.principal.id == user_id):
        await access.require("user", action)
        # Who ends an administrator's tokens can keep it out of the system.
        if not access.principal.sysadmin:
            raise access.refusal()
    if await db.point(lambda c: by_id(c, user_id)) is None:
        raise ApiError(404, f"user {user_id} not found")


async def _end(access: Access, db: Db, user_id: int, uid: str) -> Response:
    access.require_no_token()
    found = await db.point(lambda c: domain.get(c, user_id, uid))
    await access.write(lambda c: domain.revoke(c, user_id, uid))
    whose = "" if found.user_id == access.principal.id else f" of {found.username}"
    access.audited("delete", "token", found.name, f"delete token {found.name}{whose}")
    return Response()
