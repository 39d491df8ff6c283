"""Users: their profiles, and what the management API does with them."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, delete, func, insert, select, update

from seawall.access.accounts import FIRST_ADMIN, check_free, check_not_reserved, check_username, end_logins
from seawall.access.tables import oidc_users, user_tokens, users
from seawall.infra.db.listing import Field, Fields, Page, contains
from seawall.kernel.errors import ConflictError, InvalidError, NotFoundError

_EMAIL = re.compile(r"[^@\s\"<>(),;:\\\[\]]{1,64}@[A-Za-z0-9.-]{1,190}")
# The first administrator cannot be removed or lose its rights: somebody must be able to repair things.


@dataclass(frozen=True, slots=True)
class UserRow:
    """A user without anything secret. Times are Unix seconds."""

    id: int
    username: str
    email: str | None
    realname: str
    comment: str
    sysadmin: bool
    created_at: float
    updated_at: float


def base_query() -> Select[Any]:
    """Columns of `UserRow`."""
    return select(
        users.c.id,
        users.c.username,
        users.c.email,
        users.c.realname,
        users.c.comment,
        users.c.sysadmin,
        users.c.created_at,
        users.c.updated_at,
    )


def by_id(connection: Connection, user_id: int) -> UserRow | None:
    """The user of that id."""
    row = connection.execute(base_query().where(users.c.id == user_id)).first()
    return UserRow(*row) if row else None


def check_profile(email: str | None, realname: str, comment: str) -> None:
    """Raises InvalidError for a value that is not acceptable."""
    if email and not _EMAIL.fullmatch(email):
        raise InvalidError("email is not an address")
    if len(realname) > 255 or re.search(r'[,"~#%$\x00-\x1f]', realname):
        raise InvalidError('realname has at most 255 characters, without , " ~ # % $')
    if len(comment) > 255:
        raise InvalidError("comment has at most 255 characters")


def create(
    connection: Connection,
    username: str,
    password_hash: str | None,
    *,
    email: str | None = None,
    realname: str = "",
    comment: str = "",
) -> int:
    """Add a user; returns its id. No hash: it signs in elsewhere. Raises InvalidError, ConflictError."""
    check_username(username)
    check_profile(email, realname, comment)
    if password_hash is not None:
        check_free(connection, username)
        check_not_reserved(connection, username)
    elif connection.execute(select(users.c.id).where(users.c.username == username)).first():
        raise ConflictError(f"user {username} exists")
    _unique_email(connection, email, None)
    now = time.time()
    made = connection.execute(
        insert(users).values(
            username=username,
            password_hash=password_hash,
            email=email or None,
            realname=realname,
            comment=comment,
            sysadmin=False,
            created_at=now,
            updated_at=now,
        )
    ).inserted_primary_key
    assert made is not None
    return int(made[0])


def update_profile(
    connection: Connection, user_id: int, email: str | None, realname: str, comment: str
) -> None:
    """Change what people see of a user. Raises InvalidError, ConflictError."""
    check_profile(email, realname, comment)
    _unique_email(connection, email, user_id)
    connection.execute(
        update(users)
        .where(users.c.id == user_id)
        .values(email=email or None, realname=realname, comment=comment, updated_at=time.time())
    )


def _unique_email(connection: Connection, email: str | None, own: int | None) -> None:
    if not email:
        return
    query = select(users.c.id).where(users.c.email == email)
    if own is not None:
        query = query.where(users.c.id != own)
    if connection.execute(query).first():
        raise ConflictError("another user has that email")


def set_sysadmin(connection: Connection, user_id: int, sysadmin: bool) -> None:
    """Give or take system administration; without it the user's tokens end.

    Raises NotFoundError, InvalidError for the first administrator.
    """
    if user_id == FIRST_ADMIN and not sysadmin:
        raise InvalidError("the first administrator stays one")
    changed = connection.execute(
        update(users).where(users.c.id == user_id).values(sysadmin=sysadmin, updated_at=time.time())
    )
    if not changed.rowcount:
        raise NotFoundError(f"user {user_id} not found")
    if not sysadmin:
        end_logins(connection, user_id)
        connection.execute(delete(user_tokens).where(user_tokens.c.user_id == user_id))


def remove(connection: Connection, user_id: int) -> None:
    """Remove a user. Raises NotFoundError, InvalidError for the first administrator."""
    if user_id == FIRST_ADMIN:
        raise InvalidError("the first administrator cannot be removed")
    if not connection.execute(delete(users).where(users.c.id == user_id)).rowcount:
        raise NotFoundError(f"user {user_id} not found")


def set_hash(connection: Connection, user_id: int, password_hash: str) -> None:
    """Store the hash of a new password; what `seawall login` was given before ends."""
    end_logins(connection, user_id)
    connection.execute(
        update(users).where(users.c.id == user_id).values(password_hash=password_hash, updated_at=time.time())
    )


def is_local(connection: Connection, user_id: int) -> bool:
    """Whether the user has a password here (else LDAP or OIDC says who it is)."""
    row = connection.execute(select(users.c.password_hash).where(users.c.id == user_id)).first()
    return row is not None and row[0] is not None


def oidc_of(connection: Connection, user_id: int) -> Any:
    """The row of `oidc_users`, None for a user of another kind."""
    return connection.execute(select(oidc_users).where(oidc_users.c.user_id == user_id)).first()


_FIELDS: Fields = {
    "username": Field(users.c.username),
    "email": Field(users.c.email),
    "user_id": Field(users.c.id, "int"),
    "sysadmin_flag": Field(users.c.sysadmin, "bool"),
    "creation_time": Field(users.c.created_at, "time"),
    "update_time": Field(users.c.updated_at, "time"),
}


def list_users(connection: Connection, page: Page) -> tuple[int, list[UserRow]]:
    """How many users there are, and a page of them, by name."""
    total, rows = page.fetch(connection, base_query(), _FIELDS, users.c.username)
    return total, [UserRow(*row) for row in rows]


def search(connection: Connection, part: str, page: Page) -> tuple[int, list[tuple[int, str]]]:
    """Ids and names of users whose name contains `part`, shortest first, whatever the conditions."""
    query = select(users.c.id, users.c.username).where(contains(users.c.username, part))
    query = query.order_by(func.length(users.c.username), users.c.username)
    total = connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()
    return int(total), [(row[0], row[1]) for row in connection.execute(page.slice(query))]


def find(connection: Connection, user_id: int | None, username: str) -> tuple[int, str] | None:
    """Id and name of the user with that id, or (without an id) that name."""
    where = users.c.id == user_id if user_id else users.c.username == username
    row = connection.execute(select(users.c.id, users.c.username).where(where)).first()
    return (row[0], row[1]) if row else None


def first_administrator(connection: Connection) -> int | None:
    """The id of the oldest system administrator."""
    return connection.execute(select(func.min(users.c.id)).where(users.c.sysadmin.is_(True))).scalar()


def set_cli_secret(connection: Connection, user_id: int, sealed: str) -> None:
    """Give an OIDC user another CLI secret, which is sealed; `seawall login` ends as with a new password."""
    end_logins(connection, user_id)
    connection.execute(update(oidc_users).where(oidc_users.c.user_id == user_id).values(secret=sealed))
