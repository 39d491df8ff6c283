"""Tokens of users for programs: made, listed, ended, and taken in place of the password.

A token never allows more than its user may do when it is used. What it leaves of that is in `Limits`. It
makes no other credentials and opens no session of the portal. The rows of `seawall login` are here too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
import uuid
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Protocol

import structlog
from sqlalchemy import Connection, delete, func, insert, select, update

from seawall.access import access
from seawall.access.principal import EndedError, Limits, Principal
from seawall.access.principals import groups_of, principal_of, principal_with
from seawall.access.tables import oidc_users, projects, user_tokens, users
from seawall.access.throttle import LOGINS, Guess, LoginThrottle, Seen, guess, state_of
from seawall.access.token_text import LOGIN, PERSONAL, hash_of, is_token, new_token
from seawall.infra.db import Database
from seawall.infra.db.batch import Asked, many
from seawall.kernel.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError, SeawallError

log: Any = structlog.get_logger("seawall.tokens")
SCOPES = ("pull", "push", "api-read", "api-write")
_DAY = 86400
# How many a user may have, ended ones not counted, and of how many projects one may be.
_MOST, _MOST_PROJECTS = 100, 100
# How often at most the use of a token is written (seconds).
_TOUCH_SECONDS = 300
# How long a token is remembered after its end, so that its holder gets a clear answer.
KEEP_SECONDS = 30 * _DAY


class Knows(Protocol):
    """Where users come from, as far as tokens go."""

    async def still_valid(self, user_id: int) -> bool:
        """Whether the user's OpenID provider still lets it in."""


class Directory(Protocol):
    """Directories of users who have no password here."""

    async def knows(self, user_id: int, username: str, *, linked: bool = False) -> bool:
        """Whether one still has the user; with `linked`, no for a user who is of none."""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What a token is to be. `days` until its end; `projects` are names, None for all."""

    name: str
    scopes: tuple[str, ...]
    days: int
    projects: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class UserToken:
    """A token without anything secret. Times are Unix seconds."""

    uid: str
    user_id: int
    username: str
    kind: str
    name: str
    scopes: tuple[str, ...]
    projects: tuple[str, ...] | None
    created_at: float
    expires_at: float
    last_used_at: float | None
    last_address: str
    client: str


def checked_scopes(scopes: tuple[str, ...]) -> list[str]:
    """Scopes in their usual order, each once. Raises InvalidError."""
    unknown = [name for name in scopes if name not in SCOPES]
    if unknown or not scopes:
        raise InvalidError(f"scopes must be some of {', '.join(SCOPES)}")
    return [name for name in SCOPES if name in scopes]


def create(
    connection: Connection, user: Principal, request: TokenRequest, token: str, *, max_days: int
) -> UserToken:
    """Add a token of the user. Raises InvalidError, ConflictError, ForbiddenError, NotFoundError."""
    if user.kind != "user" or not user.id:
        raise ForbiddenError("only users have personal access tokens")
    if not 0 < len(request.name.strip()) <= 255 or not request.name.isprintable():
        raise InvalidError("a token needs a name of 1 to 255 printable characters")
    if not 1 <= request.days <= max_days:
        raise InvalidError(f"a token lives 1 to {max_days} days (personal_token_max_days)")
    scopes = checked_scopes(request.scopes)
    now = time.time()
    live = user_tokens.c.expires_at > now
    mine = select(user_tokens.c.name).where(
        user_tokens.c.user_id == user.id, user_tokens.c.kind == "personal", live
    )
    names = list(connection.execute(mine).scalars())
    if request.name in names:
        raise ConflictError(f"a token called {request.name} exists")
    if len(names) >= _MOST:
        raise ConflictError(f"a user has at most {_MOST} tokens; delete one")
    uid = uuid.uuid4().hex
    row = {
        "uid": uid,
        "user_id": user.id,
        "kind": "personal",
        "name": request.name,
        "token_hash": hash_of(token),
        "scopes": scopes,
        "projects": _dated(connection, user, request.projects, now),
        "expires_at": now + request.days * _DAY,
        "created_at": now,
        "updated_at": now,
    }
    connection.execute(insert(user_tokens).values(**row))
    return get(connection, user.id, uid)


def _dated(
    connection: Connection, user: Principal, names: tuple[str, ...] | None, now: float
) -> dict[str, float] | None:
    if names is None:
        return None
    if not 0 < len(names) <= _MOST_PROJECTS:
        raise InvalidError(f"a token is for all projects, or for 1 to {_MOST_PROJECTS} of them")
    visible = access.visible(user)
    found: dict[str, float] = {}
    for name in names:
        project = access.project_by_name(connection, name)
        seen = project is not None and (
            visible is None or connection.execute(visible.where(projects.c.id == project.id)).first()
        )
        if project is None or not seen:
            raise InvalidError(f"project {name[:255]} not found")
        # Clocks of hosts differ: a project that is there is never younger than a token for it.
        found[name] = max(now, project.created_at)
    return found


_SHOWN = select(user_tokens, users.c.username).join(users, users.c.id == user_tokens.c.user_id)


def _shown(row: Any) -> UserToken:
    return UserToken(
        row.uid,
        row.user_id,
        row.username,
        row.kind,
        row.name,
        tuple(row.scopes),
        None if row.projects is None else tuple(row.projects),
        row.created_at,
        row.expires_at if row.refresh_until is None else row.refresh_until,
        row.last_used_at,
        row.last_address,
        row.client,
    )


def get(connection: Connection, user_id: int, uid: str) -> UserToken:
    """One token of the user. Raises NotFoundError."""
    query = _SHOWN.where(user_tokens.c.user_id == user_id, user_tokens.c.uid == uid)
    row = connection.execute(query).first()
    if row is None:
        raise NotFoundError("token not found")
    return _shown(row)


def list_of(connection: Connection, user_id: int) -> list[UserToken]:
    """Tokens of the user, newest first, ended ones too while they are remembered."""
    query = _SHOWN.where(user_tokens.c.user_id == user_id).order_by(user_tokens.c.created_at.desc())
    return [_shown(row) for row in connection.execute(query)]


def revoke(connection: Connection, user_id: int, uid: str) -> None:
    """End a token now. Raises NotFoundError."""
    gone = delete(user_tokens).where(user_tokens.c.user_id == user_id, user_tokens.c.uid == uid)
    if not connection.execute(gone).rowcount:
        raise NotFoundError("token not found")


def ending(connection: Connection, within_seconds: float) -> list[UserToken]:
    """Personal tokens that end soon and were not yet announced."""
    now = time.time()
    query = _SHOWN.where(
        user_tokens.c.kind == "personal",
        user_tokens.c.noticed_at.is_(None),
        user_tokens.c.expires_at > now,
        user_tokens.c.expires_at <= now + within_seconds,
    )
    return [_shown(row) for row in connection.execute(query.limit(1000))]


def noticed(connection: Connection, uid: str) -> None:
    """Remember that a token's end was announced."""
    change = update(user_tokens).where(user_tokens.c.uid == uid).values(noticed_at=time.time())
    connection.execute(change)


def forget_old(connection: Connection) -> int:
    """Delete tokens that ended long ago; returns how many."""
    end = func.coalesce(user_tokens.c.refresh_until, user_tokens.c.expires_at)
    return connection.execute(delete(user_tokens).where(end < time.time() - KEEP_SECONDS)).rowcount


def limited(user: Principal, scopes: list[str], named: dict[str, float] | None, end: float) -> Principal:
    """The user with what a token leaves of its rights."""
    pairs = None if named is None else tuple(named.items())
    limits = Limits(frozenset(scopes), pairs, user.sysadmin)
    # Of one who administers the system, a token for some projects administers those.
    sysadmin = user.sysadmin and pairs is None
    return dataclasses.replace(user, limits=limits, sysadmin=sysadmin, expires_at=int(end))


_USER = (users.c.id, users.c.username, users.c.sysadmin, users.c.password_hash, oidc_users.c.user_id)


class TokenLogins:
    """Takes tokens in place of passwords."""

    def __init__(
        self,
        db: Database,
        throttle: LoginThrottle,
        provider: Knows,
        directory: Directory,
    ) -> None:
        self._db = db
        self._throttle = throttle
        self._provider = provider
        self._directory = directory
        self._touched: dict[str, float] = {}

    @staticmethod
    def takes(secret: str) -> bool:
        """Whether a secret has the form of a token, and so is not a password."""
        return is_token(secret, PERSONAL, LOGIN)

    async def admit(self, username: str | None, token: str, address: str) -> Principal | None:
        """The token's user with the token's limits, None for a wrong one.

        `username` (None: not given) must be the user's. Raises EndedError; RegistryError
        TOOMANYREQUESTS after repeated wrong ones of a user, as for passwords.
        """
        found = await self._found(username, token, address)
        if found is None:
            LOGINS.inc("refused")
            return None
        row, user, by_provider, local = found
        if row.expires_at <= self._db.now():
            LOGINS.inc("refused")
            what = "login" if row.kind == "login" else "personal access token"
            raise EndedError(f"the {what} {row.name} expired at {_moment(row.expires_at)}")
        await self.require_known(user, by_provider=by_provider, local=local)
        await self._touch(row, address)
        LOGINS.inc("ok")
        return limited(user, row.scopes, row.projects, row.expires_at)

    async def _found(self, username: str | None, token: str, address: str) -> Any:
        """What `_look` finds, None for a wrong token."""
        if username is None:
            # Nobody guesses 214 bits, and a counter of an address would let one program with old tokens
            # keep the other ones of its address out.
            return (await self._db.point(lambda c: self._look(c, token)))[0]
        # Not the counter of the user's passwords: a token that is right must not clear what was guessed of
        # those.
        this = guess(username, token, address, "token")
        counted = self._throttle.mark()
        asked = None if counted is None else this
        found, state = await self._db.point(lambda c: self._look(c, token, asked))
        seen = None if counted is None else Seen(this.key, state[0], state[1], counted)
        async with self._throttle.attempt(this, seen) as failures:
            if found is None or found[1].name != username:
                await self._throttle.failed(this)
                return None
        if failures:
            await self._throttle.passed(this)
        return found

    async def require_known(self, user: Principal, *, by_provider: bool, local: bool) -> None:
        """Raise EndedError when those who know the user say that it is gone."""
        if local:
            return
        if by_provider:
            # A user of several sources is known as long as one of them knows it.
            known = await self._provider.still_valid(user.id)
            if not known and not await self._directory.knows(user.id, user.name, linked=True):
                raise EndedError(f"the identity provider no longer lets {user.name} in")
        elif not await self._directory.knows(user.id, user.name):
            raise EndedError(f"the directory no longer has {user.name}")

    @staticmethod
    def _look(connection: Connection, token: str, of: Guess | None = None) -> tuple[Any, tuple[int, float]]:
        """The token's row with its user, None for none; and the state of the counter of a guess.

        One round trip. The first is (row, user, whether an OpenID provider knows it, whether its password is
        here).
        """
        mine = user_tokens.c.token_hash == hash_of(token)
        query = (
            select(*_USER, *user_tokens.c)
            .join(users, users.c.id == user_tokens.c.user_id)
            .outerjoin(oidc_users, oidc_users.c.user_id == users.c.id)
            .where(mine)
        )
        of_user = users.c.id.in_(select(user_tokens.c.user_id).where(mine))
        asked: list[Asked] = [(query, {}), (groups_of(of_user), {})]
        if of is not None:
            asked.append(state_of(of))
        found, groups, *states = many(connection, *asked)
        state = states[0][0] if states and states[0] else (0, 0.0)
        if not found:
            return None, state
        user = principal_with(found[0], groups)
        _, _, _, password, provided, *columns = found[0]
        row = SimpleNamespace(**dict(zip(user_tokens.c.keys(), columns, strict=True)))
        return (row, user, provided is not None, password is not None), state

    @staticmethod
    def user_of(connection: Connection, user_id: int) -> tuple[Principal, bool, bool] | None:
        """The user, whether an OpenID provider knows it, and whether its password is here."""
        query = (
            select(users.c.password_hash, oidc_users.c.user_id)
            .outerjoin(oidc_users, oidc_users.c.user_id == users.c.id)
            .where(users.c.id == user_id)
        )
        row = connection.execute(query).first()
        user = principal_of(connection, users.c.id == user_id) if row is not None else None
        return None if row is None or user is None else (user, row[1] is not None, row[0] is not None)

    async def _touch(self, row: Any, address: str) -> None:
        now = self._db.now()
        last = max(row.last_used_at or 0.0, self._touched.get(row.uid, 0.0))
        if now - last < _TOUCH_SECONDS:
            return
        self._touched[row.uid] = now
        if len(self._touched) > 4096:
            self._touched.pop(next(iter(self._touched)))
        change = (
            update(user_tokens)
            .where(user_tokens.c.uid == row.uid)
            .values(last_used_at=now, last_address=address[:64])
        )
        # A pull goes on while nothing can be written.
        with contextlib.suppress(SeawallError):
            await self._db.write(lambda c: c.execute(change), durable=False)


def make_token() -> str:
    """A new personal access token."""
    return new_token(PERSONAL)


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
