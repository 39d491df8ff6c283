"""Authentication of users and robot accounts, and what they may do through the registry API.

Who may do what is in `seawall.access.rbac`; a role that is not listed there may do nothing (deny by default).
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol
from weakref import WeakValueDictionary

import structlog
from sqlalchemy import Connection, update

from seawall.access import access
from seawall.access.federation import TokenRefusedError, is_token
from seawall.access.passwords import check_password, hash_of, is_foreign, verify
from seawall.access.principal import ANONYMOUS, EndedError, Principal
from seawall.access.principals import Account, Found, Login, accounts_of, principal_of
from seawall.access.rbac import OCI_ACTIONS
from seawall.access.tables import robots, users
from seawall.access.throttle import LOGINS, LoginThrottle, Seen, guess
from seawall.access.tokens import Scope
from seawall.access.trusted_issuers import TrustedIssuer
from seawall.infra.addresses import counted_as
from seawall.infra.configuration import Configuration
from seawall.infra.db import Database
from seawall.infra.db.gather import Gatherer
from seawall.infra.redis import RedisClient
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.telemetry import Counter
from seawall.kernel.errors import SeawallError
from seawall.kernel.presence import holding

log: Any = structlog.get_logger("seawall.auth")

_ALL = frozenset({"pull", "push", "delete"})
# How long a directory's "yes" is remembered by a process: a docker push asks dozens of times.
_OUTSIDE_SECONDS = 60

User = Principal

PASSWORDS = Counter(
    "seawall_password_cache_total",
    "Checks of secrets; hit: checked a short time before, so not hashed again",
    ["result"],
    known=[("hit",), ("miss",)],
)


class External(Protocol):
    """Directories that check passwords of users who have none here (LDAP)."""

    async def enabled(self) -> bool:
        """Whether it is to be asked at all."""

    async def login(self, username: str, password: str) -> Principal | None:
        """The user, made or brought up to date here, when a directory accepts the password."""


class Provider(Protocol):
    """The OpenID providers, as far as the CLI secrets of their users go."""

    async def still_valid(self, user_id: int) -> bool:
        """Whether they still let the user in."""

    async def why_ended(self, user: Principal) -> str:
        """Since when and why it does not, in a sentence for the user."""


class Issuers(Protocol):
    """Checks tokens of issuers that robots trust (`access.federation.Federation`)."""

    async def admit(
        self,
        robot: tuple[int, str, int | None],
        issuers: list[TrustedIssuer],
        token: str,
        address: str,
        *,
        once: bool,
    ) -> None:
        """Raise TokenRefusedError unless the token stands for the robot."""


class AuthService:
    """Authenticates callers and decides their access."""

    def __init__(
        self,
        db: Database,
        *,
        attempts: int,
        wait_seconds: int,
        configuration: Configuration,
        keys: KeyRing,
        external: External,
        oidc: Provider,
        issuers: Issuers,
        redis: RedisClient,
        required: bool,
    ) -> None:
        """`required`: whether callers must say who they are; not so with `auth.mode: none`.

        `attempts` and `wait_seconds`: see LoginThrottle.
        """
        self._db = db
        self.required = required
        self._throttle = LoginThrottle(db, redis, attempts=attempts, wait_seconds=wait_seconds)
        self._configuration = configuration
        self._keys = keys
        self._external = external
        self._issuers = issuers
        self._oidc = oidc
        # A key of this process only: remembered logins are worthless outside it.
        self._pepper = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, float] = OrderedDict()
        self._outside: OrderedDict[bytes, tuple[float, Principal]] = OrderedDict()
        self._wrong: OrderedDict[bytes, float] = OrderedDict()
        # argon2 is meant to be slow: without a bound, a burst of logins would starve everything else.
        self._slots = asyncio.Semaphore(2)
        # Projects' times of making, and until when (or for which change token) they are known.
        self._ages: dict[str, tuple[float, float]] = {}
        self._made: Gatherer[str, float] = Gatherer(db, access.times_made)
        # A fleet signs in within a moment.
        self._accounts: Gatherer[Login, Found] = Gatherer(db, accounts_of)
        self._named: Gatherer[access.Named, access.WithRoles] = Gatherer(db, access.projects_with_roles)
        self._lines: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def robot_prefix(self) -> str:
        """What the names of robot accounts begin with."""
        return str(await self._configuration.get("robot_name_prefix"))

    async def authenticate(
        self, username: str, password: str, client: str, *, programs: bool = True
    ) -> Principal | None:
        """The user or robot if the password is right, else None. `client` is the caller's address.

        A user who signs in through OIDC shows the CLI secret, which is for `programs` only; EndedError says
        when and why a right one ended.
        Raises RegistryError TOOMANYREQUESTS (with Retry-After) after repeated failures of this user from this
        address.
        """
        prefix = await self.robot_prefix()
        counted = self._throttle.mark()
        account, state = await self._account(username, prefix, None if counted is None else client)
        if account is not None and account.issuers and is_token(password):
            # Never remembered: a token expires, and may be good once.
            try:
                await self._admit(account, password, client, once=False)
            except TokenRefusedError:
                return None
            return account.principal
        stored = account.stored if account else None
        mark = hmac.digest(self._pepper, f"{username}\0{password}\0{stored}\0{programs}".encode(), "sha256")
        this = guess(username, password, client, stored)
        # Before anything is remembered: past the limit, right and wrong secrets get the same answer.
        seen = None
        if counted is not None and state is not None:
            seen = Seen(state[0], state[1] or 0, state[2] or 0.0, counted)
        async with self._throttle.attempt(this, seen) as failures:
            # The stored hash is part of the mark, so a changed password or deleted user counts at once.
            remembered = self._remembered(account, mark)
            PASSWORDS.inc("miss" if remembered is None else "hit")
            if remembered is not None:
                LOGINS.inc("ok")
                return remembered
            principal: Principal | None = None
            how = ""
            if self._wrong.get(mark, 0) <= time.time():
                principal, how = await self._checked(
                    account, username, password, prefix, client, mark, programs=programs
                )
            if principal is None:
                if stored is not None:
                    _remember(self._wrong, mark, time.time() + 300)
                await self._throttle.failed(this)
                LOGINS.inc("refused")
                return None
        if account and stored and how == "here":
            _remember(self._known, mark, time.time() + 300)
            if is_foreign(stored):
                await self._rehash(account, stored, password)
        elif account and how == "outside" and account.principal.id == principal.id:
            _remember(self._outside, mark, (time.time() + _OUTSIDE_SECONDS, principal))
        if failures:
            await self._throttle.passed(this)
        LOGINS.inc("ok")
        return principal

    async def password_is_not_enough(self, user: Principal) -> str | None:
        """Why a program may not use the user's password, None when it may: programs have no second factor."""
        if user.factor == "on":
            return f"{user.name} has a second factor: use a personal access token in place of the password"
        if user.factor == "off" and await self._configuration.get("second_factor_required"):
            return (
                "a second factor is required: set it up in the portal, and use a personal access token "
                "in place of the password"
            )
        return None

    async def _rehash(self, account: Account, stored: str, password: str) -> None:
        """Replace another registry's hash by ours; where that cannot be written, it is as good as before."""
        async with self._slots:
            fresh = await asyncio.to_thread(hash_of, password)
        table = robots if account.principal.kind == "robot" else users
        column = robots.c.secret_hash if table is robots else users.c.password_hash
        change = update(table).where(table.c.id == account.principal.id, column == stored)
        try:
            await self._db.write(lambda c: c.execute(change.values({column: fresh})))
        except SeawallError as error:
            log.info("a password hash could not be renewed", user=account.principal.name, reason=str(error))

    async def exchange(self, name: str, token: str, client: str) -> Principal:
        """The robot that an issuer's token stands for; a token with a `jti` is taken once (RFC 8693).

        Raises TokenRefusedError; UnavailableError when the issuer cannot be asked.
        """
        prefix = await self.robot_prefix()
        account, _ = await self._account(name, prefix)
        if account is None or not account.issuers:
            log.warning("token refused", robot=name[:255], reason="no such robot, or it trusts no issuer")
            raise TokenRefusedError("there is no such robot, or it trusts no issuer")
        await self._admit(account, token, client, once=True)
        return account.principal

    async def _admit(self, account: Account, token: str, client: str, *, once: bool) -> None:
        # Without LoginThrottle: a signature cannot be guessed, and the jobs of a whole fleet come at once
        # from one address, each with a token of its own.
        try:
            await self._issuers.admit(account.robot, account.issuers, token, client, once=once)
        except TokenRefusedError as error:
            log.warning("token refused", robot=account.principal.name, reason=str(error))
            raise

    def _remembered(self, account: Account | None, mark: bytes) -> Principal | None:
        """The user or robot that this process has let in with this very secret a short time ago."""
        if account is None:
            return None
        if account.stored and self._known.get(mark, 0) > time.time():
            return account.principal
        outside = self._outside.get(mark)
        return outside[1] if outside is not None and outside[0] > time.time() else None

    async def _checked(
        self,
        account: Account | None,
        username: str,
        password: str,
        prefix: str,
        client: str,
        mark: bytes,
        *,
        programs: bool,
    ) -> tuple[Principal | None, str]:
        """The user whose secret it is, and which one: the `cli` secret, a password `here` or `outside`.

        `mark` is what this very login is remembered by.

        A directory is never asked for the name of a local user: those who run it would learn passwords.
        """
        if account is not None and account.sealed is not None:
            secret = self._keys.decrypt("cli-secret", account.sealed).decode()
            if hmac.compare_digest(secret.encode(), password.encode()):
                if not programs:
                    return None, ""
                if not await self._oidc.still_valid(account.principal.id):
                    LOGINS.inc("refused")
                    raise EndedError(await self._oidc.why_ended(account.principal))
                # A second factor is asked for with the password only.
                return replace(account.principal, factor=""), "cli"
        outside = (account is None or account.stored is None) and not username.startswith(prefix)
        if outside and await self._external.enabled():
            return await self._external.login(username, password), "outside"
        if account is not None and account.sealed is not None and account.stored is None:
            return None, ""
        # One at a time of an address, so that many bad clients of one do not keep the others waiting.
        line = self._lines.setdefault(counted_as(client), asyncio.Lock())
        async with holding(line), holding(self._slots):
            # Of a fleet with one secret only the first has to be checked.
            now = time.time()
            if account is not None and self._known.get(mark, 0) > now:
                return account.principal, "here"
            if self._wrong.get(mark, 0) > now:
                return None, "here"
            right = await asyncio.to_thread(verify, account.stored if account else None, password)
        return (account.principal if account is not None and right else None), "here"

    async def grant(self, user: Principal | None, scopes: list[Scope]) -> list[Scope]:
        """The part of `scopes` that `user` (None: anonymous) may have; empty ones are kept, empty."""
        now = self._db.now()
        named = frozenset(_project_of(scope) for scope in scopes if scope.type == "repository")
        found = await self._projects_of(user, named) if named else {}
        return [_grant(found, user, scope, now) for scope in scopes]

    async def is_older(self, project: str, since: float, *, fresh: bool) -> bool:
        """Whether no project of that name was made after `since` (Unix seconds).

        What was given then is about this project, and not about another that had its name before. Without
        `fresh` the answer may be a second old where commits cannot be seen cheaply.
        """
        known = self._ages.get(project)
        token = self._db.change_token()
        if known is not None and (
            known[0] == token if token is not None else not fresh and time.monotonic() < known[0]
        ):
            return known[1] <= since
        mark = token if token is not None else time.monotonic() + 1
        made = await self._made.get(project)
        if made is None:
            return True
        self._ages[project] = (mark, made)
        if len(self._ages) > 4096:
            self._ages.pop(next(iter(self._ages)))
        return made <= since

    async def actions(self, user: Principal | None, repository: str) -> frozenset[str]:
        """What `user` may do to the repository: a subset of pull, push, delete."""
        project = repository.partition("/")[0]
        found = await self._projects_of(user, frozenset({project}))
        return _actions_in(user, found.get(project))

    async def _account(self, name: str, prefix: str, client: str | None = None) -> Found:
        found = await self._accounts.get((name, prefix, client))
        return found if found is not None else (None, None)

    async def _projects_of(self, user: Principal | None, names: frozenset[str]) -> access.WithRoles:
        return await self._named.get((user or ANONYMOUS, names)) or {}

    async def user(self, name: str) -> Principal | None:
        """The user or robot called `name`."""
        prefix = await self.robot_prefix()
        account, _ = await self._account(name, prefix)
        return account.principal if account else None

    async def user_by_id(self, user_id: int) -> Principal | None:
        """The user of that id, with its groups."""
        return await self._db.point(lambda c: principal_of(c, users.c.id == user_id))

    async def hash(self, password: str) -> str:
        """The hash to store for a password. Raises InvalidError when it is too weak."""
        check_password(password)
        async with self._slots:
            return await asyncio.to_thread(hash_of, password)

    def visible_projects(self, user: Principal | None) -> Callable[[Connection], set[int] | None]:
        """A function of a Connection giving the ids of projects `user` may see; None means all."""

        def visible_ids(connection: Connection) -> set[int] | None:
            query = access.visible(user or ANONYMOUS)
            return None if query is None else set(connection.execute(query).scalars())

        return visible_ids


def _remember(where: OrderedDict[bytes, Any], mark: bytes, value: Any) -> None:
    where[mark] = value
    if len(where) > 4096:
        where.popitem(last=False)


def _project_of(scope: Scope) -> str:
    return scope.name.partition("/")[0]


def _actions_in(
    user: Principal | None, project: tuple[access.Project, frozenset[str]] | None
) -> frozenset[str]:
    principal = user or ANONYMOUS
    allowed = _ALL if principal.limits is None else principal.limits.oci_actions()
    if principal.sysadmin:
        return allowed
    if project is None:
        return frozenset()
    where, own = project
    return frozenset(
        name
        for name, (resource, action) in OCI_ACTIONS.items()
        if name in allowed and access.allows(principal, where, lambda: own, resource, action)
    )


def _grant(found: access.WithRoles, user: Principal | None, scope: Scope, now: float) -> Scope:
    allowed: frozenset[str] = frozenset()
    if scope.type == "repository":
        project = found.get(_project_of(scope))
        allowed = _actions_in(user, project)
        wanted = _ALL if "*" in scope.actions else scope.actions
        # Clocks of hosts differ: a project that is there is never younger than what is given on it.
        since = max(now, project[0].created_at) if project is not None else now
        return Scope(scope.type, scope.name, wanted & allowed, since)
    limits = user.limits if user is not None else None
    if limits is not None and (limits.projects is not None or not limits.reads_api()):
        # The catalog shows names of every project that the user sees.
        return Scope(scope.type, scope.name, frozenset())
    if scope.type == "registry" and scope.name == "catalog" and user is not None:
        return Scope(scope.type, scope.name, scope.actions)
    return Scope(scope.type, scope.name, allowed)
