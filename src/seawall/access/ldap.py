"""Users and groups of an LDAP directory (configuration `auth_mode: ldap_auth`).

A login searches the user's entry as the search account, then binds as that entry with the password
(RFC 4513, 5.1.3; an empty password would be an "unauthenticated bind", which succeeds, so it is refused
before). Groups are those the entry names in `ldap_group_membership_attribute` and, of those below
`ldap_group_base_dn`, the ones that name the entry as a member. Groups in groups count in Active Directory.
"""

from __future__ import annotations

import asyncio
import dataclasses
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from sqlalchemy import Connection as DbConnection
from sqlalchemy import select

from seawall.access import members, users
from seawall.access.arrivals import admit
from seawall.access.dn import first_value, normal_dn
from seawall.access.principal import Principal
from seawall.access.service import principal_of
from seawall.access.tables import oidc_users
from seawall.access.tables import users as users_table
from seawall.infra.configuration import Configuration
from seawall.infra.db import Database
from seawall.infra.db.together import Also, nothing
from seawall.kernel.errors import ConflictError, InvalidError, NotFoundError, StandbyError, UnavailableError
from seawall.kernel.extras import optional

if TYPE_CHECKING:
    import ldap3
    from ldap3.core import exceptions as ldap_errors
    from ldap3.utils import conv
else:
    ldap3 = optional("ldap3")
    ldap_errors = optional("ldap3.core.exceptions")
    conv = optional("ldap3.utils.conv")

T = TypeVar("T")
log: Any = structlog.get_logger("seawall.ldap")
# ldap3.BASE, LEVEL and SUBTREE.
_SCOPES: dict[int, Any] = {0: "BASE", 1: "LEVEL", 2: "SUBTREE"}
_RESULTS = 200
# How long the directory's word that it has a user is good (seconds).
_KNOWN_SECONDS = 300
# Active Directory's LDAP_MATCHING_RULE_IN_CHAIN: groups in groups. Other directories do not know the rule. To
# them the clause is undefined (RFC 4511, section 4.5.1.7), which leaves the others of an "or" as they are.
_IN_CHAIN = "1.2.840.113556.1.4.1941"


class DirectoryError(InvalidError):
    """The directory cannot be reached or refuses the search account; the message says which."""


@dataclass(frozen=True, slots=True)
class LdapSettings:
    """How to reach and search the directory: the configuration's `ldap_*` items, without the prefix."""

    url: str
    search_dn: str = ""
    search_password: str = ""
    base_dn: str = ""
    filter: str = ""
    uid: str = "cn"
    scope: int = 2
    timeout: int = 5
    verify_cert: bool = True
    group_base_dn: str = ""
    group_search_filter: str = ""
    group_attribute_name: str = ""
    group_search_scope: int = 2
    group_admin_dn: str = ""
    group_membership_attribute: str = "memberof"


@dataclass(frozen=True, slots=True)
class LdapEntry:
    """A user's entry."""

    dn: str
    username: str
    realname: str
    email: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LdapGroup:
    """A group's entry."""

    dn: str
    name: str


class Directory:
    """The configured directory."""

    def __init__(self, db: Database, configuration: Configuration) -> None:
        self._db = db
        self._configuration = configuration
        # Until when users are known to be in the directory still.
        self._known: dict[str, float] = {}

    async def enabled(self) -> bool:
        """Whether logins go to the directory."""
        return bool(await self._configuration.get("auth_mode") == "ldap_auth")

    async def settings(self) -> LdapSettings:
        """The directory as configured."""
        values = await self._configuration.all()
        names = [field.name for field in dataclasses.fields(LdapSettings)]
        return LdapSettings(**{name: values[f"ldap_{name}"] for name in names})

    async def login(self, username: str, password: str) -> Principal | None:
        """The user if the directory takes the password, else None.

        Raises UnavailableError when the directory is away: a right password must not be called wrong.
        """
        if not password or not username:
            return None
        settings = await self.settings()

        def check() -> LdapEntry | None:
            found = _users(settings, username, exact=True)
            if len(found) != 1:
                return None
            connection = _connect(settings, found[0].dn, password)
            if connection is None:
                return None
            connection.unbind()
            return found[0]

        try:
            entry = await asyncio.to_thread(check)
            groups = await asyncio.to_thread(_groups_of, settings, entry) if entry is not None else []
        except DirectoryError as error:
            log.error("the directory cannot be asked", error=str(error))
            raise UnavailableError("the directory (LDAP) cannot be asked now") from None
        return await self._arrive(settings, entry, groups) if entry is not None else None

    async def _arrive(
        self, settings: LdapSettings, entry: LdapEntry, groups: list[LdapGroup]
    ) -> Principal | None:
        """The user of the entry here, made or brought up to date."""
        known = {normal_dn(group.dn): group for group in groups if normal_dn(group.dn)}

        def admit_user(connection: DbConnection) -> Principal | None:
            user_id = _ensure(connection, entry)
            if user_id is None:
                return None
            ids = set()
            for group in known.values():
                found = members.find_group(connection, group.name, members.LDAP, group.dn)
                if found is None:
                    found = members.create_group(connection, group.name, members.LDAP, group.dn)
                ids.add(found)
            members.set_groups_of(connection, user_id, ids)
            return principal_of(connection, users_table.c.id == user_id)

        def look(connection: DbConnection) -> Principal | None:
            user_id = _known(connection, entry)
            return principal_of(connection, users_table.c.id == user_id) if user_id else None

        try:
            principal = await admit(self._db, admit_user)
        except StandbyError:
            # Users and their groups are as the active site last saw them.
            principal = await self._db.read(look)
        admin = normal_dn(settings.group_admin_dn)
        if principal is not None and admin and admin in known:
            return dataclasses.replace(principal, sysadmin=True)
        return principal

    async def knows(self, username: str) -> bool:
        """Whether the directory still has the user; yes while it is away, so that pulls do not stop with it.

        Asked every five minutes at most.
        """
        if self._known.get(username, 0) > time.monotonic():
            return True
        settings = await self.settings()
        try:
            found = await asyncio.to_thread(_users, settings, username, exact=True)
        except DirectoryError as error:
            log.warning("the directory cannot be asked for a user", error=str(error))
            return True
        if len(found) != 1:
            self._known.pop(username, None)
            return False
        self._known[username] = time.monotonic() + _KNOWN_SECONDS
        if len(self._known) > 4096:
            self._known.pop(next(iter(self._known)))
        return True

    async def search_users(self, name: str, settings: LdapSettings | None = None) -> list[LdapEntry]:
        """Users whose name contains `name` (all when empty), at most 200. Raises DirectoryError."""
        chosen = settings or await self.settings()
        return await asyncio.to_thread(_users, chosen, name, exact=False)

    async def ping(self, settings: LdapSettings) -> None:
        """Bind as the search account. Raises DirectoryError saying what failed."""

        def check() -> None:
            connection = _connect(settings, settings.search_dn, settings.search_password)
            if connection is None:
                raise DirectoryError("the directory refuses the search account's name or password")
            connection.unbind()

        await asyncio.to_thread(check)

    async def search_groups(self, name: str, dn: str) -> list[LdapGroup]:
        """Groups by DN, or whose name contains `name`. Raises DirectoryError."""
        settings = await self.settings()
        return await asyncio.to_thread(_groups, settings, name, dn)

    async def checked_group(self, dn: str, name: str) -> str:
        """The name to give the group at `dn`. Raises NotFoundError when the directory does not have it."""
        if not await self.enabled():
            return name
        found = await self.search_groups("", dn)
        if not found:
            raise NotFoundError(f"the directory has no group {dn[:200]}")
        return name or found[0].name

    async def ensure_user(self, username: str, *, also: Also = nothing) -> None:
        """Make the directory's user known here, so that it can be given a role before it ever signs in."""
        if not await self.enabled():
            return
        exists = select(users_table.c.id).where(users_table.c.username == username)
        if await self._db.point(lambda c: c.execute(exists).first()):
            return
        await self.import_user(username, also=also)

    async def import_user(self, username: str, *, also: Also = nothing) -> None:
        """Add one user of the directory. Raises NotFoundError, ConflictError, DirectoryError."""
        settings = await self.settings()
        found = await asyncio.to_thread(_users, settings, username, exact=True)
        if len(found) != 1:
            raise NotFoundError(f"the directory has no user {username[:100]}")

        def add_user(connection: DbConnection) -> None:
            if _ensure(connection, found[0]) is None:
                raise ConflictError(f"{username[:100]} is the name of a user who is not of the directory")

        await admit(self._db, add_user, also=also)


def _ensure(connection: DbConnection, entry: LdapEntry) -> int | None:
    """Id of the user here; None when somebody has the name who is not the directory's."""
    found = _known(connection, entry)
    if found is not None:
        return found or None
    email = entry.email
    if email and connection.execute(select(users_table.c.id).where(users_table.c.email == email)).first():
        email = ""
    try:
        return users.create(connection, entry.username, None, email=email, realname=entry.realname[:255])
    except InvalidError:
        # The directory has names and addresses that ours may not have.
        return users.create(connection, entry.username, None)


def _known(connection: DbConnection, entry: LdapEntry) -> int | None:
    """Id of the directory's user here, 0 when a local user or one of an OpenID provider has the name.

    Users stay when the way to sign in is changed, and a name alone makes nobody their heir.
    """
    row = connection.execute(
        select(users_table.c.id, users_table.c.password_hash, oidc_users.c.user_id)
        .outerjoin(oidc_users, oidc_users.c.user_id == users_table.c.id)
        .where(users_table.c.username == entry.username)
    ).first()
    if row is None:
        return None
    return int(row[0]) if row[1] is None and row[2] is None else 0


def _run(settings: LdapSettings, work: Callable[[ldap3.Connection], T]) -> T:
    connection = _connect(settings, settings.search_dn, settings.search_password)
    if connection is None:
        raise DirectoryError("the directory refuses the search account's name or password")
    try:
        return work(connection)
    except ldap_errors.LDAPException as error:
        raise DirectoryError(f"search in the directory failed: {type(error).__name__}") from None
    finally:
        connection.unbind()


def _connect(settings: LdapSettings, dn: str, password: str) -> ldap3.Connection | None:
    """A bound connection; None when the directory refuses name and password. Raises DirectoryError."""
    url = settings.url
    if not url:
        raise DirectoryError("ldap_url is not set")
    if "://" not in url:
        url = f"ldap://{url}"
    verify = ssl.CERT_REQUIRED if settings.verify_cert else ssl.CERT_NONE
    try:
        server = ldap3.Server(
            url, get_info=ldap3.NONE, connect_timeout=settings.timeout, tls=ldap3.Tls(validate=verify)
        )
        connection = ldap3.Connection(
            server,
            user=dn or None,
            password=password or None,
            receive_timeout=settings.timeout,
            # Following referrals would send the password to servers that nobody configured.
            auto_referrals=False,
            raise_exceptions=False,
        )
        if not connection.bind():
            connection.unbind()
            return None
        return connection
    except (ldap_errors.LDAPException, OSError, ValueError) as error:
        # ValueError: a host name that cannot be one.
        raise DirectoryError(f"{url[:200]}: {type(error).__name__}") from None


def _filter(given: str, clause: str) -> str:
    given = given.strip()
    if not given:
        return clause
    return f"(&{given if given.startswith('(') else f'({given})'}{clause})"


def _users(settings: LdapSettings, name: str, *, exact: bool) -> list[LdapEntry]:
    escaped = conv.escape_filter_chars(name)
    value = escaped if exact else f"*{escaped}*" if escaped else "*"
    attributes = [settings.uid, "cn", "displayName", "mail", "email"]
    member_of = settings.group_membership_attribute
    if member_of:
        attributes.append(member_of)

    def work(connection: ldap3.Connection) -> list[LdapEntry]:
        connection.search(
            settings.base_dn,
            _filter(settings.filter, f"({settings.uid}={value})"),
            _SCOPES[settings.scope],
            attributes=sorted(set(attributes)),
            size_limit=_RESULTS,
        )
        found = []
        for item in connection.response or []:
            if item.get("type") != "searchResEntry":
                continue
            has = {key.lower(): values for key, values in item["attributes"].items()}
            username = _first(has, settings.uid)
            if username:
                found.append(
                    LdapEntry(
                        item["dn"],
                        username,
                        _first(has, "displayname") or _first(has, "cn"),
                        _first(has, "mail") or _first(has, "email"),
                        tuple(_all(has, member_of)),
                    )
                )
        return found

    return _run(settings, work)


def _groups(settings: LdapSettings, name: str, dn: str) -> list[LdapGroup]:
    attribute = settings.group_attribute_name or "cn"
    escaped = conv.escape_filter_chars(name)
    # The client library takes only DNs without spaces between their parts.
    base = normal_dn(dn) if dn else settings.group_base_dn or settings.base_dn
    if dn and not base:
        raise InvalidError("the group's DN is malformed")

    def work(connection: ldap3.Connection) -> list[LdapGroup]:
        connection.search(
            base,
            _filter(settings.group_search_filter, f"({attribute}={f'*{escaped}*' if escaped else '*'})"),
            "BASE" if dn else _SCOPES[settings.group_search_scope],
            attributes=[attribute],
            size_limit=_RESULTS,
        )
        return _group_entries(connection, attribute)

    return _run(settings, work)


def _groups_of(settings: LdapSettings, entry: LdapEntry) -> list[LdapGroup]:
    """Groups of the user: those it names, and those below the group base that name it."""
    result = [LdapGroup(dn, first_value(dn)) for dn in entry.groups]
    if not settings.group_base_dn:
        return result
    attribute = settings.group_attribute_name or "cn"
    dn, uid = conv.escape_filter_chars(entry.dn), conv.escape_filter_chars(entry.username)
    named = f"(member={dn})(uniqueMember={dn})(member:{_IN_CHAIN}:={dn})"

    def work(connection: ldap3.Connection) -> list[LdapGroup]:
        connection.search(
            settings.group_base_dn,
            _filter(settings.group_search_filter, f"(|{named}(memberUid={uid}))"),
            _SCOPES[settings.group_search_scope],
            attributes=[attribute],
            size_limit=_RESULTS,
        )
        return _group_entries(connection, attribute)

    # Named by the directory last, so that its attribute wins over the first part of the DN.
    return [*result, *_run(settings, work)]


def _group_entries(connection: ldap3.Connection, attribute: str) -> list[LdapGroup]:
    found = []
    for item in connection.response or []:
        if item.get("type") == "searchResEntry":
            has = {key.lower(): values for key, values in item["attributes"].items()}
            found.append(LdapGroup(item["dn"], _first(has, attribute) or first_value(item["dn"])))
    return found


def _all(attributes: dict[str, Any], name: str) -> list[str]:
    value = attributes.get(name.lower(), [])
    values = value if isinstance(value, list) else [value]
    return [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in values]


def _first(attributes: dict[str, Any], name: str) -> str:
    return next(iter(_all(attributes, name)), "")
