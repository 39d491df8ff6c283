"""The LDAP directory: test, search, import."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from fastapi import Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from seawall.access import members
from seawall.access.ldap import Directory
from seawall.access.ldap_search import DirectoryError
from seawall.kernel.errors import ConflictError, InvalidError, NotFoundError
from seawall.web.harbor.deps import Access, system_access
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.members import UserGroup
from seawall.web.harbor.needs import Accounts, Ldap
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["Ldap"])


class LdapConf(BaseModel):
    """A directory to be tested; what is not given is as configured."""

    ldap_url: str | None = Field(None, max_length=512)
    ldap_search_dn: str | None = Field(None, max_length=512)
    ldap_search_password: str | None = Field(None, max_length=512)
    ldap_base_dn: str | None = Field(None, max_length=512)
    ldap_filter: str | None = Field(None, max_length=1024)
    ldap_uid: str | None = Field(None, max_length=64)
    ldap_scope: int | None = Field(None, ge=0, le=2)
    ldap_connection_timeout: int | None = Field(None, ge=1, le=60)
    ldap_verify_cert: bool | None = None


class LdapPingResult(BaseModel):
    """Whether the directory answered, and if not, why."""

    success: bool
    message: str = ""


class LdapUser(BaseModel):
    """A user of the directory."""

    username: str
    realname: str | None = None
    email: str | None = None


class LdapImportUsers(BaseModel):
    """Names of users to be made known here."""

    ldap_uid_list: list[str] = Field(max_length=1000)


class LdapFailedImportUser(BaseModel):
    """A user that was not imported."""

    uid: str
    error: str


def _directory(access: Access, auth: Accounts, directory: Ldap) -> Directory:
    if not auth.required:
        raise ApiError(412, "authentication is off (auth.mode: none)")
    return directory


@router.post("/ldap/ping")
async def ping_ldap(
    access: Annotated[Access, system_access("configuration", "read")],
    auth: Accounts,
    directory: Ldap,
    body: LdapConf | None = None,
) -> LdapPingResult:
    """Bind to the directory as its search account."""
    directory = _directory(access, auth, directory)
    given = {
        {"ldap_connection_timeout": "timeout"}.get(name, name.removeprefix("ldap_")): value
        for name, value in (body.model_dump(exclude_none=True) if body else {}).items()
    }
    configured = await directory.settings()
    if given.get("url", configured.url) != configured.url and "search_password" not in given:
        # The stored password goes to the configured server only.
        given["search_password"] = ""
    try:
        await directory.ping(dataclasses.replace(configured, **given))
    except DirectoryError as error:
        return LdapPingResult(success=False, message=str(error))
    return LdapPingResult(success=True)


@router.get("/ldap/users/search")
async def search_ldap_user(
    access: Annotated[Access, system_access("ldap-user", "list")],
    auth: Accounts,
    directory: Ldap,
    username: Annotated[str, Query(max_length=255)] = "",
) -> list[LdapUser]:
    """Users of the directory whose name contains `username`."""
    found = await _directory(access, auth, directory).search_users(username)
    return [
        LdapUser(username=item.username, realname=item.realname or None, email=item.email or None)
        for item in found
    ]


@router.post(
    "/ldap/users/import", response_model=None, responses={404: {"model": list[LdapFailedImportUser]}}
)
async def import_ldap_user(
    body: LdapImportUsers,
    access: Annotated[Access, system_access("ldap-user", "create")],
    auth: Accounts,
    directory: Ldap,
) -> Response:
    """Make users of the directory known here; 404 with a list names those that are not in the directory."""
    directory, failed = _directory(access, auth, directory), []
    for uid in body.ldap_uid_list:
        try:
            await directory.import_user(uid, also=access.trace)
        except (NotFoundError, ConflictError, InvalidError) as error:
            failed.append({"uid": uid, "error": str(error)})
    done = len(body.ldap_uid_list) - len(failed)
    access.audited("create", "user", "LDAP", f"import {done} users of the directory")
    return JSONResponse(failed, 404) if failed else Response()


@router.get("/ldap/groups/search")
async def search_ldap_group(
    access: Annotated[Access, system_access("ldap-user", "list")],
    auth: Accounts,
    directory: Ldap,
    groupname: Annotated[str, Query(max_length=255)] = "",
    groupdn: Annotated[str, Query(max_length=512)] = "",
) -> list[UserGroup]:
    """Groups of the directory by part of their name, or by DN; 404 when there is none."""
    found = await _directory(access, auth, directory).search_groups(groupname, groupdn)
    if not found:
        raise NotFoundError(f"the directory has no group {(groupname or groupdn)[:200]}")
    return [UserGroup(group_name=item.name, group_type=members.LDAP, ldap_group_dn=item.dn) for item in found]
