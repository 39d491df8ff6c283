"""Accounts and projects as the command line manages them, and the administrator of a first start."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from seawall.access.erasure import Erasure
from seawall.access.passwords import check_password, generated_password, hash_of
from seawall.access.principal import Principal
from seawall.access.rbac import ROLES
from seawall.access.tables import (
    identity_sources,
    login_requests,
    project_members,
    projects,
    second_factors,
    sessions,
    user_tokens,
    users,
)
from seawall.infra.db import Database
from seawall.kernel.errors import ConfigError, ConflictError, InvalidError, NotFoundError
from seawall.kernel.spelling import did_you_mean

# The id of the user of the first start.
FIRST_ADMIN = 1
USERNAME = re.compile(r"[^\s,\"~#%$:/\\]{1,255}")


def check_username(username: str) -> None:
    """Raises InvalidError where nobody can be called so."""
    # What cannot be seen would let one name look like another.
    if not USERNAME.fullmatch(username) or not username.isprintable():
        raise InvalidError(
            f"user {username[:64]!a}: names have 1 to 255 visible characters, without spaces and "
            ', " ~ # % $ : / \\'
        )


def check_free(connection: Connection, username: str) -> None:
    """Raise ConflictError where a user is called so already, or only its letters' case differs."""
    # A database lowers ASCII letters only. So another letter stands for any here, and Python compares.
    pattern = "".join(
        character.lower() if character.isascii() else "_"
        for character in username.replace("\\", r"\\").replace("_", r"\_").replace("%", r"\%")
    )
    query = select(users.c.username).where(func.lower(users.c.username).like(pattern, escape="\\"))
    for taken in connection.execute(query).scalars():
        if taken.casefold() == username.casefold():
            raise ConflictError(f"user {taken} exists")


def _id_of(connection: Connection, username: str) -> int:
    """The user's id. Raises NotFoundError."""
    found = connection.execute(select(users.c.id).where(users.c.username == username)).scalar()
    if found is None:
        raise NotFoundError(f"user {username} not found")
    return int(found)


def check_not_reserved(connection: Connection, username: str, prefix: str = "") -> None:
    """Raise ConflictError for a name that looks like one of a source's user, to everybody but its users.

    `prefix` is what names of the user's own source begin with: the longest one that fits decides.
    """
    t = identity_sources.c
    for name, reserved in connection.execute(select(t.name, t.prefix).where(t.prefix != "")):
        if len(reserved) > len(prefix) and username.lower().startswith(reserved.lower()):
            raise ConflictError(f"names that begin with {reserved} are those of users of source {name}")


def end_logins(connection: Connection, user_id: int) -> None:
    """End the user's logins by `seawall login`, also those that the user agreed to and nobody fetched yet."""
    logins = (user_tokens.c.user_id == user_id, user_tokens.c.kind == "login")
    connection.execute(delete(user_tokens).where(*logins))
    connection.execute(delete(login_requests).where(login_requests.c.user_id == user_id))


class LocalAccounts:
    """Local users, projects and their members, on an open database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def check_new(self, username: str) -> None:
        """Raise InvalidError or ConflictError where nobody new can be called so."""
        check_username(username)
        await self._db.read(lambda c: check_free(c, username))

    async def check_known(self, username: str) -> None:
        """Raise NotFoundError where there is no such user."""
        await self._db.read(lambda c: _id_of(c, username))

    async def create_user(self, username: str, password: str, *, sysadmin: bool = False) -> None:
        """Add a local user. Raises InvalidError or ConflictError."""
        check_username(username)
        check_password(password)
        hashed = await asyncio.to_thread(hash_of, password)
        now = time.time()

        def add_user(connection: Connection) -> None:
            check_free(connection, username)
            check_not_reserved(connection, username)
            connection.execute(
                insert(users).values(
                    username=username, password_hash=hashed, sysadmin=sysadmin, created_at=now, updated_at=now
                )
            )

        await self._db.write(add_user)

    async def set_password(self, username: str, password: str) -> None:
        """Give a user a new password; sessions and logins end. Raises InvalidError or NotFoundError.

        An instance that remembers a session takes it for half a minute more.
        """
        check_password(password)
        hashed = await asyncio.to_thread(hash_of, password)

        def store_hash(connection: Connection) -> None:
            found = _id_of(connection, username)
            connection.execute(
                update(users).where(users.c.id == found).values(password_hash=hashed, updated_at=time.time())
            )
            end_logins(connection, found)
            connection.execute(delete(sessions).where(sessions.c.user_id == found))

        await self._db.write(store_hash)

    async def delete_user(self, username: str, erasure: Erasure | None = None) -> None:
        """Remove a user, and order what `erasure` wants.

        Raises NotFoundError, InvalidError for the first administrator.
        """

        def remove_user(connection: Connection) -> None:
            found = _id_of(connection, username)
            if found == FIRST_ADMIN:
                # No start would make another one while there are users.
                raise InvalidError(f"user {username} is the first administrator, and cannot be removed")
            connection.execute(delete(users).where(users.c.id == found))
            if erasure is not None:
                erasure.order(connection, username)

        await self._db.write(remove_user)

    async def remove_second_factor(self, username: str) -> bool:
        """Switch off a user's second factor; whether there was one. Raises NotFoundError."""

        def remove_factor(connection: Connection) -> bool:
            found = _id_of(connection, username)
            gone = delete(second_factors).where(second_factors.c.user_id == found)
            return bool(connection.execute(gone).rowcount)

        return await self._db.write(remove_factor)

    async def list_users(self) -> list[Principal]:
        """All users by name."""
        rows = await self._db.read(
            lambda c: list(
                c.execute(select(users.c.id, users.c.username, users.c.sysadmin).order_by(users.c.username))
            )
        )
        return [Principal(*row) for row in rows]

    async def list_projects(self) -> list[tuple[str, bool]]:
        """(name, public) of every project, by name."""
        rows = await self._db.read(
            lambda c: list(c.execute(select(projects.c.name, projects.c.public).order_by(projects.c.name)))
        )
        return [(row[0], row[1]) for row in rows]

    async def set_member(self, project: str, username: str, role: str) -> None:
        """Give a user a role in a project, replacing any earlier one. Raises NotFoundError, InvalidError."""
        if role not in ROLES:
            hint = did_you_mean(role, ROLES) or f"; there are {', '.join(ROLES)}"
            raise InvalidError(f"no role {role[:64]!r}{hint}")

        def set_role(connection: Connection) -> None:
            project_id = connection.execute(select(projects.c.id).where(projects.c.name == project)).scalar()
            if project_id is None:
                raise NotFoundError(f"project {project} not found")
            user_id = _id_of(connection, username)
            connection.execute(
                delete(project_members).where(
                    project_members.c.project_id == project_id, project_members.c.user_id == user_id
                )
            )
            connection.execute(
                insert(project_members).values(project_id=project_id, user_id=user_id, role=role)
            )

        await self._db.write(set_role)


def check_admin_password(password: str) -> None:
    """Raise ConfigError for a password of the settings that no user may have."""
    try:
        check_password(password)
    except InvalidError as error:
        raise ConfigError(f"admin_password: {error}") from None


def ensure_admin(
    db: Database, password: str | None, also: Callable[[Connection], None] = lambda _: None
) -> str | None:
    """Make user `admin` at first start; returns a generated password, else None.

    `also`: what else the first start makes, in the same transaction.
    """
    if db.sync_read(lambda c: c.execute(select(users.c.id).limit(1)).first()):
        return None
    if password is not None:
        check_admin_password(password)
    given = password or generated_password()
    hashed = hash_of(given)
    now = time.time()

    def add_admin(connection: Connection) -> bool:
        if connection.execute(select(users.c.id).limit(1)).first():
            return False
        connection.execute(
            insert(users).values(
                username="admin", password_hash=hashed, sysadmin=True, created_at=now, updated_at=now
            )
        )
        also(connection)
        return True

    try:
        made = db.sync_write(add_admin)
    except IntegrityError:
        # Of instances that start together for the first time another was first.
        return None
    return given if made and password is None else None
