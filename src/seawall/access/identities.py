"""How the sources of identity know the users here.

A user is found by source, issuer and subject, and never by name or mail address, which a source may give to
somebody else later. Rows come about when somebody arrives for the first time, and by `link`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import Connection, delete, exists, insert, select, update

from seawall.access.accounts import end_logins
from seawall.access.tables import (
    identity_sources,
    oidc_users,
    sessions,
    user_group_members,
    user_groups,
    user_identities,
    users,
)
from seawall.kernel.errors import ConflictError, ForbiddenError, NotFoundError

# The source that `auth_mode` names, and what is left of a user's last source.
DEFAULT, GONE = "", "#"


@dataclass(frozen=True, slots=True)
class Link:
    """A user as a source knows it. `issuer` is "" for a directory; `created_at` in Unix seconds."""

    source: str
    issuer: str
    subject: str
    created_at: float


def find(connection: Connection, source: str, issuer: str, subject: str) -> int | None:
    """Id of the user that the source knows so, None when there is none."""
    t = user_identities.c
    query = select(t.user_id).where(t.source == source, t.issuer == issuer, t.subject == subject)
    found = connection.execute(query).scalar()
    if found is None and source == DEFAULT and issuer:
        # As an instance of an older version writes it, or the adoption of a Harbor.
        query = select(oidc_users.c.user_id).where(
            oidc_users.c.issuer == issuer, oidc_users.c.subject == subject
        )
        found = connection.execute(query).scalar()
    return None if found is None else int(found)


def require_enabled(connection: Connection, source: str) -> None:
    """Raise ForbiddenError where the source was removed or switched off while somebody was on the way."""
    t = identity_sources.c
    query = select(t.name).where(t.name == source, t.enabled)
    if source != DEFAULT and connection.execute(query).first() is None:
        raise ForbiddenError(f"source {source} is gone, or switched off")


def add(connection: Connection, user_id: int, source: str, issuer: str, subject: str, *, made: bool) -> None:
    """Note how a source knows a user; nothing when that is noted. `made`: the user was made for it."""
    t = user_identities.c
    here = select(t.user_id).where(t.source == source, t.issuer == issuer, t.subject == subject)
    if connection.execute(here).first() is not None:
        return
    if made:
        made = connection.execute(select(t.user_id).where(t.made_user_id == user_id)).first() is None
    now = time.time()
    connection.execute(
        insert(user_identities).values(
            source=source,
            issuer=issuer,
            subject=subject,
            user_id=user_id,
            made_user_id=user_id if made else None,
            created_at=now,
            updated_at=now,
        )
    )


def replace_subject(connection: Connection, source: str, old: str, new: str) -> None:
    """Know an entry of a directory by a better subject from now on."""
    t = user_identities.c
    connection.execute(
        update(user_identities)
        .where(t.source == source, t.issuer == "", t.subject == old)
        .values(subject=new, updated_at=time.time())
    )


def of_user(connection: Connection, user_id: int) -> list[Link]:
    """How sources know the user; one of `GONE` where the last source is gone."""
    t = user_identities.c
    query = select(t.source, t.issuer, t.subject, t.created_at).where(t.user_id == user_id)
    found = [Link(*row) for row in connection.execute(query.order_by(t.source, t.issuer, t.subject))]
    row = connection.execute(
        select(oidc_users.c.issuer, oidc_users.c.subject, oidc_users.c.created_at).where(
            oidc_users.c.user_id == user_id
        )
    ).first()
    # See `find`; rows of further sources name these, with a space.
    if row is not None and " " not in row[0] and not any((i.issuer, i.subject) == row[:2] for i in found):
        found.append(Link(DEFAULT, *row))
    return found


def unclaimed(connection: Connection, username: str) -> int | None:
    """Id of the directory's user of that name that is not linked to a subject of a source yet.

    Before subjects were noted, users of the one directory were known by their names.
    """
    row = connection.execute(
        select(users.c.id, users.c.password_hash, oidc_users.c.user_id)
        .outerjoin(oidc_users, oidc_users.c.user_id == users.c.id)
        .where(users.c.username == username)
    ).first()
    if row is None or row[1] is not None or row[2] is not None:
        return None
    known = connection.execute(select(exists().where(user_identities.c.user_id == row[0]))).scalar()
    return None if known else int(row[0])


def by_name(username: str) -> str:
    """The subject of a user of the default directory whose real one has yet to be seen."""
    return f"name:{username}"


def link(connection: Connection, user_id: int, source: str, issuer: str, subject: str) -> None:
    """Let the source's identity be this user. Raises NotFoundError, ConflictError."""
    name = connection.execute(select(users.c.username).where(users.c.id == user_id)).scalar()
    if name is None:
        raise NotFoundError(f"user {user_id} not found")
    holder = find(connection, source, issuer, subject)
    if holder == user_id:
        return
    if holder is not None:
        other = connection.execute(select(users.c.username).where(users.c.id == holder)).scalar()
        raise ConflictError(f"{subject} of {shown(source)} is user {other} here; unlink or delete that first")
    held = [item for item in of_user(connection, user_id) if item.source == source]
    if held:
        raise ConflictError(f"{shown(source)} knows {name} as {held[0].subject} already; unlink that first")
    if unclaimed(connection, name) == user_id:
        # It goes on to be the one that the default directory knows by this name.
        add(connection, user_id, DEFAULT, "", by_name(name), made=True)
    add(connection, user_id, source, issuer, subject, made=False)


def unlink(connection: Connection, user_id: int, source: str, subject: str | None = None) -> None:
    """Take the user's identity of a source away: sessions and logins end, groups of the source are left.

    Raises NotFoundError.
    """
    name = connection.execute(select(users.c.username).where(users.c.id == user_id)).scalar()
    if name is None:
        raise NotFoundError(f"user {user_id} not found")
    held = [
        item
        for item in of_user(connection, user_id)
        if item.source == source and subject in (None, item.subject)
    ]
    if not held or source == GONE:
        raise NotFoundError(f"{shown(source)} does not know {name}")
    t = user_identities.c
    for item in held:
        connection.execute(
            delete(user_identities).where(
                t.source == source, t.issuer == item.issuer, t.subject == item.subject
            )
        )
        gone = stored_issuer(source, item.issuer)
        connection.execute(
            delete(oidc_users).where(
                oidc_users.c.user_id == user_id,
                oidc_users.c.issuer == gone,
                oidc_users.c.subject == item.subject,
            )
        )
    _settle(connection, user_id, name, source)


def forget_source(connection: Connection, source: str) -> list[int]:
    """Take every identity and group of a source away; returns the ids of its users, who stay."""
    t = user_identities.c
    found = list(connection.execute(select(t.user_id).where(t.source == source).distinct()).scalars())
    for user_id in found:
        unlink(connection, user_id, source)
    connection.execute(delete(user_groups).where(user_groups.c.source == source))
    return found


def leave_groups(connection: Connection, source: str, user_id: int | None = None) -> None:
    """Take users (or one) out of a source's groups, until they arrive from it again."""
    mine = select(user_groups.c.id).where(user_groups.c.source == source)
    leave = delete(user_group_members).where(user_group_members.c.group_id.in_(mine))
    if user_id is not None:
        leave = leave.where(user_group_members.c.user_id == user_id)
    connection.execute(leave)


def has_unlinked(connection: Connection) -> bool:
    """Whether there are users, except the first administrator, that no further source knows."""
    named = select(identity_sources.c.name)
    t = user_identities.c
    known = exists().where(t.user_id == users.c.id, t.source.in_(named))
    query = select(users.c.id).where(users.c.id > 1, ~known).limit(1)
    return connection.execute(query).first() is not None


def shown(source: str) -> str:
    """A source's name for people."""
    return f"source {source}" if source else "the default source"


def stored_issuer(source: str, issuer: str) -> str:
    """What `oidc_users.issuer` has: two sources may be clients of one provider."""
    return f"{source} {issuer}"[:255] if source else issuer


def _settle(connection: Connection, user_id: int, name: str, source: str) -> None:
    end_logins(connection, user_id)
    connection.execute(delete(sessions).where(sessions.c.user_id == user_id))
    leave_groups(connection, source, user_id)
    if not of_user(connection, user_id):
        # Not as if no source had ever known it: the directory's next user of that name is somebody else.
        add(connection, user_id, GONE, "", name, made=False)


__all__ = ["DEFAULT", "GONE", "Link"]
