"""Users and groups of LDAP directories: of the one of `auth_mode: ldap_auth`, and of further sources.

A login searches the user's entry as the search account, then binds as that entry with the password
(RFC 4513, 5.1.3; an empty password would be an "unauthenticated bind", which succeeds, so it is refused
before). The directories are asked in their order; one that is away is skipped. A user is known by what the
directory never changes of the entry (entryUUID, objectGUID), so another entry under the same name is another
user. Groups are those the entry names in `ldap_group_membership_attribute` and, of those below
`ldap_group_base_dn`, the ones that name the entry as a member. Groups in groups count in Active Directory.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import Any

import structlog
from sqlalchemy import Connection as DbConnection
from sqlalchemy import select

from seawall.access import identities, members, users
from seawall.access.accounts import check_free, check_not_reserved
from seawall.access.arrivals import admit
from seawall.access.dn import normal_dn
from seawall.access.identities import DEFAULT
from seawall.access.ldap_search import (
    DirectoryError,
    LdapEntry,
    LdapGroup,
    LdapSettings,
    ask,
    by_subject,
    checked_entry,
    dn_subject,
    find_groups,
    find_users,
    groups_of,
)
from seawall.access.principal import EndedError, Principal
from seawall.access.principals import principal_of
from seawall.access.sources import LDAP, Source, Sources
from seawall.access.tables import users as users_table
from seawall.infra.db import Database
from seawall.infra.db.together import Also, nothing
from seawall.kernel.errors import ConflictError, InvalidError, NotFoundError, StandbyError, UnavailableError

log: Any = structlog.get_logger("seawall.ldap")
# How long the directory's word that it has a user is good (seconds).
_KNOWN_SECONDS = 300
# How long a directory that could not be asked is left out, while there are others (seconds).
_AWAY_SECONDS = 10


class Directory:
    """The directories that users come from."""

    def __init__(self, db: Database, sources: Sources) -> None:
        self._db = db
        self._sources = sources
        # Until when users are known to be in their directory still, and directories to be away.
        self._known: dict[str, float] = {}
        self._away: dict[str, float] = {}

    async def enabled(self) -> bool:
        """Whether logins go to a directory."""
        return bool(await self._sources.enabled(LDAP))

    async def settings(self, name: str = DEFAULT) -> LdapSettings:
        """A directory as configured; without a name, that of the configuration. Raises NotFoundError."""
        source = await self._sources.get(name) if name else await self._sources.default(LDAP)
        if source.kind != LDAP:
            raise NotFoundError(f"source {name} is not a directory")
        return _settings(source)

    async def login(self, username: str, password: str) -> Principal | None:
        """The user if a directory takes the password, else None.

        Raises UnavailableError when a directory that may have the user is away: a right password must not be
        called wrong. Raises EndedError for a right password of one whose name is somebody else's here.
        """
        if not password or not username:
            return None
        found = await self._sources.enabled(LDAP)
        if len(found) > 1:
            # Whose name it is comes first: no other directory is shown a right password, nor takes the name.
            homes = await self._homes(username)
            found = sorted(found, key=lambda item: (item.name not in homes, not item.names(username)))
        away = []
        for source in found:
            if len(found) > 1 and self._away.get(source.name, 0) > time.monotonic():
                away.append(source)
                continue
            settings = _settings(source)
            try:
                entry = await asyncio.to_thread(
                    checked_entry, settings, source.name_there(username), password
                )
                groups = await asyncio.to_thread(groups_of, settings, entry) if entry is not None else []
            except DirectoryError as error:
                log.error("the directory cannot be asked", source=source.name, error=str(error))
                self._away[source.name] = time.monotonic() + _AWAY_SECONDS
                away.append(source)
                continue
            if entry is not None:
                return await self._arrive(source, entry, groups)
        if away and await self._may_have(username, away):
            names = ", ".join(source.name for source in away if source.name)
            which = f"the directory {names}" if names else "the directory"
            raise UnavailableError(f"{which} (LDAP) cannot be asked now")
        return None

    async def _may_have(self, username: str, away: list[Source]) -> bool:
        """Whether the user of that name may be of one of these directories."""
        known = await self._homes(username)
        return not known or not known.isdisjoint(source.name for source in away)

    async def _homes(self, username: str) -> set[str]:
        """The sources that know the user who is called so here."""

        def homes(connection: DbConnection) -> set[str]:
            found = users.find(connection, None, username)
            return {item.source for item in identities.of_user(connection, found[0])} if found else set()

        return await self._db.point(homes)

    async def _arrive(self, source: Source, entry: LdapEntry, groups: list[LdapGroup]) -> Principal:
        """The user of the entry here, made or brought up to date. Raises EndedError."""
        known = {normal_dn(group.dn): group for group in groups if normal_dn(group.dn)}

        def admit_user(connection: DbConnection) -> Principal | None:
            user_id = _ensure(connection, source, entry)
            if user_id is None:
                return None
            pairs = [(group.name, group.dn) for group in known.values()]
            members.arrive(connection, user_id, source.name, members.LDAP, pairs)
            return principal_of(connection, users_table.c.id == user_id)

        def look(connection: DbConnection) -> Principal | None:
            user_id = _known(connection, source, entry)
            return principal_of(connection, users_table.c.id == user_id) if user_id else None

        try:
            principal = await admit(self._db, admit_user)
        except StandbyError:
            # Users and their groups are as the active site last saw them; nobody new is made.
            principal = await self._db.read(look)
            if principal is None:
                raise
        if principal is None:
            name = source.prefix + entry.username
            log.warning("a directory's user has a name that is taken", source=source.name, user=name[:255])
            raise EndedError(
                f"the directory lets you in, but {name[:255]} is somebody else's account here: "
                "an administrator can link the two (seawall user link)"
            )
        admin = normal_dn(source.admin_group)
        sysadmin = principal.sysadmin or bool(admin and admin in known)
        return dataclasses.replace(principal, sysadmin=sysadmin, source=source.name)

    async def knows(self, user_id: int, username: str, *, linked: bool = False) -> bool:
        """Whether a directory still has the user; yes while it is away, so that pulls do not stop with it.

        Each is asked every five minutes at most. `linked`: no for a user who is of no directory.
        """
        links = await self._db.point(lambda c: identities.of_user(c, user_id))
        sources = {source.name: source for source in await self._sources.enabled(LDAP)}
        if not links:
            # Made before subjects were noted: of the default directory, by its name.
            if linked:
                return False
            return DEFAULT not in sources or await self._has(sources[DEFAULT], None, username)
        for item in links:
            source = None if item.issuer else sources.get(item.source)
            if source is not None and await self._has(source, item.subject, username):
                return True
        return False

    async def _has(self, source: Source, subject: str | None, username: str) -> bool:
        key = f"{source.name} {subject or username}"
        if self._known.get(key, 0) > time.monotonic():
            return True
        settings = _settings(source)
        try:
            if subject is None:
                found = await asyncio.to_thread(find_users, settings, username, exact=True)
            else:
                found = await asyncio.to_thread(by_subject, settings, subject)
        except DirectoryError as error:
            log.warning("the directory cannot be asked for a user", source=source.name, error=str(error))
            return True
        if len(found) != 1:
            self._known.pop(key, None)
            return False
        self._known[key] = time.monotonic() + _KNOWN_SECONDS
        if len(self._known) > 4096:
            self._known.pop(next(iter(self._known)))
        return True

    async def subject_of(self, source: Source, name: str) -> str:
        """What the source knows its user `name` by. Raises NotFoundError, DirectoryError."""
        found = await asyncio.to_thread(find_users, _settings(source), name, exact=True)
        if len(found) != 1:
            raise NotFoundError(f"the directory has no user {name[:100]}")
        return found[0].subject

    async def search_users(self, name: str, settings: LdapSettings | None = None) -> list[LdapEntry]:
        """Users whose name contains `name` (all when empty), at most 200. Raises DirectoryError."""
        chosen = settings or await self.settings()
        return await asyncio.to_thread(find_users, chosen, name, exact=False)

    async def ping(self, settings: LdapSettings) -> None:
        """Bind as the search account. Raises DirectoryError saying what failed."""
        await asyncio.to_thread(ask, settings, lambda _connection: None)

    async def search_groups(self, name: str, dn: str, source: str = DEFAULT) -> list[LdapGroup]:
        """Groups by DN, or whose name contains `name`. Raises DirectoryError."""
        settings = await self.settings(source)
        return await asyncio.to_thread(find_groups, settings, name, dn)

    async def checked_group(self, dn: str, name: str, *, free: bool = True) -> str:
        """The name to give the group at `dn`. Raises NotFoundError when the directory does not have it.

        `name` begins with `SOURCE:` for a group of a further source. Unless `free`, the rest of it is as the
        directory has it.
        """
        source = name.partition(":")[0]
        enabled = {item.name for item in await self._sources.enabled(LDAP)}
        if ":" not in name or source not in enabled:
            source = DEFAULT
        if source not in enabled:
            return name if free else ""
        found = await self.search_groups("", dn, source)
        if not found:
            raise NotFoundError(f"the directory has no group {dn[:200]}")
        if name and free:
            return name
        return f"{source}:{found[0].name}" if source else found[0].name

    async def ensure_user(self, username: str, *, also: Also = nothing) -> None:
        """Make a directory's user known here, so that it can be given a role before it ever signs in."""
        exists = select(users_table.c.id).where(users_table.c.username == username)
        if await self._db.point(lambda c: c.execute(exists).first()):
            return
        # Of further directories the user has the name that a sign-in would give it.
        found = [s for s in await self._sources.enabled(LDAP) if username.startswith(s.prefix)]
        found.sort(key=lambda source: -len(source.prefix))
        for number, source in enumerate(found, 1):
            try:
                await self._import(source, source.name_there(username), also)
            except NotFoundError:
                if number == len(found):
                    raise
            else:
                return

    async def import_user(self, username: str, *, also: Also = nothing) -> None:
        """Add one user of the default directory. Raises NotFoundError, ConflictError, DirectoryError."""
        await self._import(await self._sources.default(LDAP), username, also)

    async def _import(self, source: Source, username: str, also: Also) -> None:
        found = await asyncio.to_thread(find_users, _settings(source), username, exact=True)
        if len(found) != 1:
            raise NotFoundError(f"the directory has no user {username[:100]}")

        def add_user(connection: DbConnection) -> None:
            if _ensure(connection, source, found[0]) is None:
                raise ConflictError(f"{username[:100]} is the name of a user who is not of the directory")

        await admit(self._db, add_user, also=also)


def _settings(source: Source) -> LdapSettings:
    names = [field.name for field in dataclasses.fields(LdapSettings)]
    return LdapSettings(**{name: source.values[name] for name in names})


def _ensure(connection: DbConnection, source: Source, entry: LdapEntry) -> int | None:
    """Id of the user here; None when somebody has the name who is not the entry's. Raises ForbiddenError."""
    identities.require_enabled(connection, source.name)
    found = _known(connection, source, entry)
    if found is not None:
        if identities.find(connection, source.name, "", entry.subject) is None:
            # What may be another entry's later is good no longer than nothing better is known.
            for weaker in _weaker(source, entry):
                identities.replace_subject(connection, source.name, weaker, entry.subject)
        identities.add(connection, found, source.name, "", entry.subject, made=True)
        return found
    name = source.prefix + entry.username
    if connection.execute(select(users_table.c.id).where(users_table.c.username == name)).first():
        return None
    try:
        check_not_reserved(connection, name, source.prefix)
        if source.name:
            check_free(connection, name)
    except ConflictError:
        return None
    made = _make(connection, name, entry)
    identities.add(connection, made, source.name, "", entry.subject, made=True)
    return made


def _make(connection: DbConnection, name: str, entry: LdapEntry) -> int:
    email = entry.email
    if email and connection.execute(select(users_table.c.id).where(users_table.c.email == email)).first():
        email = ""
    try:
        return users.create(connection, name, None, email=email, realname=entry.realname[:255])
    except InvalidError:
        # The directory has names and addresses that ours may not have.
        return users.create(connection, name, None)


def _known(connection: DbConnection, source: Source, entry: LdapEntry) -> int | None:
    """Id of the entry's user here, None when it has none yet.

    Users stay when the way to sign in is changed, and a name alone makes nobody their heir. It does so once:
    for a user of the default directory from the time before subjects were noted.
    """
    for subject in (entry.subject, *_weaker(source, entry)):
        found = identities.find(connection, source.name, "", subject)
        if found is not None:
            return found
    return None if source.name else identities.unclaimed(connection, entry.username)


def _weaker(source: Source, entry: LdapEntry) -> list[str]:
    """Subjects of the entry from the time before its own was seen."""
    found = [dn_subject(entry.dn)]
    if source.name == DEFAULT:
        found.append(identities.by_name(entry.username))
    return found
