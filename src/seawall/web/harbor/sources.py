"""Sources of identity, and how they know users: Seawall's own part of the API."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from seawall.access import identities
from seawall.access.identities import GONE
from seawall.access.linking import identity_in
from seawall.access.sources import LDAP, Change, Source
from seawall.access.users import by_id
from seawall.web.harbor.deps import Access, Id, location, system_access, timestamp
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Db, Ldap, Oidc, SessionsDep, SourcesDep
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["source"])
Name = Annotated[str, Path(max_length=64, pattern="^[a-z0-9-]+$")]


class IdentitySource(BaseModel):
    """A source of identity. `configuration`: Harbor's items of its kind, without prefix and secrets."""

    name: str
    kind: str
    title: str
    position: int
    enabled: bool
    prefix: str
    admin_group: str
    configuration: dict[str, Any]


class IdentitySourceChange(BaseModel):
    """What is to change; `configuration` is added to what is there."""

    title: str | None = Field(None, max_length=255)
    position: int | None = Field(None, ge=0, le=10000)
    enabled: bool | None = None
    prefix: str | None = Field(None, max_length=32)
    admin_group: str | None = Field(None, max_length=512)
    configuration: dict[str, Any] | None = None


class IdentitySourceReq(IdentitySourceChange):
    """A source to be added."""

    name: str = Field(max_length=64)
    kind: str = Field(max_length=16)


class UserIdentity(BaseModel):
    """How a source knows a user; without `source` it is the default one."""

    source: str | None = None
    issuer: str | None = None
    subject: str
    creation_time: str | None = None


class UserLinkReq(BaseModel):
    """A source's user: by its `subject`, or in a directory by its `username` there."""

    source: str = Field("", max_length=64)
    subject: str | None = Field(None, max_length=255)
    username: str | None = Field(None, max_length=255)


def _require_admin(access: Access) -> None:
    # Who says where users come from, or who they are, has the rights of all of them.
    if not access.principal.sysadmin:
        raise access.refusal()
    access.require_no_token()


def _change(body: IdentitySourceChange) -> Change:
    return Change(body.title, body.position, body.enabled, body.prefix, body.admin_group, body.configuration)


@router.get("/system/identity-sources")
async def list_identity_sources(
    access: Annotated[Access, system_access("configuration", "read")], sources: SourcesDep
) -> list[IdentitySource]:
    """The sources other than the default one, in their order."""
    return [_model(sources, item) for item in await sources.further()]


def _model(sources: SourcesDep, item: Source) -> IdentitySource:
    return IdentitySource(
        name=item.name,
        kind=item.kind,
        title=item.title,
        position=item.position,
        enabled=item.enabled,
        prefix=item.prefix,
        admin_group=item.admin_group,
        configuration=sources.shown(item, defaults=True),
    )


@router.post("/system/identity-sources", status_code=201)
async def create_identity_source(
    request: Request,
    body: IdentitySourceReq,
    access: Annotated[Access, system_access("configuration", "update")],
    sources: SourcesDep,
) -> Response:
    """Add a source."""
    _require_admin(access)
    await sources.add(body.name, body.kind, _change(body), also=access.trace)
    access.audited("create", "configuration", body.name, f"add source {body.name}")
    return Response(status_code=201, headers=location(request, body.name))


@router.get("/system/identity-sources/{source_name}")
async def get_identity_source(
    source_name: Name, access: Annotated[Access, system_access("configuration", "read")], sources: SourcesDep
) -> IdentitySource:
    """One source."""
    return _model(sources, await sources.get(source_name))


@router.put("/system/identity-sources/{source_name}")
async def update_identity_source(
    source_name: Name,
    body: IdentitySourceChange,
    access: Annotated[Access, system_access("configuration", "update")],
    sources: SourcesDep,
) -> Response:
    """Change a source: only what is given."""
    _require_admin(access)
    await sources.change(source_name, _change(body), also=access.trace)
    access.audited("update", "configuration", source_name, f"change source {source_name}")
    return Response()


@router.delete("/system/identity-sources/{source_name}")
async def delete_identity_source(
    source_name: Name,
    access: Annotated[Access, system_access("configuration", "update")],
    sources: SourcesDep,
) -> Response:
    """Remove a source with its groups; its users stay, signed out, and can be linked to another source."""
    _require_admin(access)
    users = await sources.remove(source_name, also=access.trace)
    said = f"remove source {source_name}; users of it: {len(users)}"
    access.audited("delete", "configuration", source_name, said)
    return Response()


@router.post("/system/identity-sources/{source_name}/ping")
async def ping_identity_source(
    source_name: Name,
    access: Annotated[Access, system_access("configuration", "update")],
    sources: SourcesDep,
    directory: Ldap,
    oidc: Oidc,
) -> Response:
    """Whether the source answers; 400 says what is wrong."""
    found = await sources.get(source_name)
    if found.kind == LDAP:
        await directory.ping(await directory.settings(source_name))
    else:
        await oidc.ping(found.values["endpoint"], found.values["verify_cert"])
    access.audited("operate", "configuration", source_name, f"test source {source_name}")
    return Response()


@router.get("/users/{user_id}/identities")
async def list_user_identities(
    user_id: Id, access: Annotated[Access, system_access("user", "read")], db: Db
) -> list[UserIdentity]:
    """How sources know a user."""

    def known(connection: Connection) -> list[identities.Link] | None:
        if by_id(connection, user_id) is None:
            return None
        return identities.of_user(connection, user_id)

    found = await db.read(known)
    if found is None:
        raise ApiError(404, f"user {user_id} not found")
    return [
        UserIdentity(
            source=item.source or None,
            issuer=item.issuer or None,
            subject=item.subject,
            creation_time=timestamp(item.created_at),
        )
        for item in found
        if item.source != GONE
    ]


@router.post("/users/{user_id}/identities", status_code=201)
async def link_user(
    user_id: Id,
    body: UserLinkReq,
    access: Annotated[Access, system_access("user", "update")],
    db: Db,
    sources: SourcesDep,
    directory: Ldap,
    oidc: Oidc,
) -> Response:
    """Let a source's user be this one, which keeps its roles, robots and history."""
    _require_admin(access)
    row = await db.point(lambda c: by_id(c, user_id))
    if row is None:
        raise ApiError(404, f"user {user_id} not found")
    issuer, subject = await identity_in(sources, directory, oidc, body.source, body.subject, body.username)
    await access.write(lambda c: identities.link(c, user_id, body.source, issuer, subject))
    where = identities.shown(body.source)
    access.audited("update", "user", row.username, f"link {row.username} to {subject} of {where}")
    return Response(status_code=201)


@router.delete("/users/{user_id}/identities")
async def unlink_user(
    user_id: Id,
    access: Annotated[Access, system_access("user", "update")],
    db: Db,
    sessions: SessionsDep,
    source: Annotated[str, Query(max_length=64)] = "",
    subject: Annotated[str | None, Query(max_length=512)] = None,
) -> Response:
    """Take a source's identity (all of the source without `subject`) from a user, who is signed out."""
    _require_admin(access)
    row = await db.point(lambda c: by_id(c, user_id))
    if row is None:
        raise ApiError(404, f"user {user_id} not found")
    await sessions.delete_user(user_id, also=access.trace)
    await access.write(lambda c: identities.unlink(c, user_id, source, subject))
    where = identities.shown(source)
    access.audited("update", "user", row.username, f"unlink {row.username} from {where}")
    return Response()
