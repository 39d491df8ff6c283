"""Sign-in of programs by their user's browser: device flow (RFC 8628), code flow with PKCE (RFC 8252, 7636).

Both end in a login: a token of minutes and what renews it, which changes with each renewal. A renewal that
comes a second time means that somebody copied it, so the login ends for both. Logins are in `user_tokens`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import structlog
from sqlalchemy import Connection, delete, insert, select, update

from seawall.access.login_requests import (
    OAuthError,
    _pending,
    check_request,
    near,
    parse_refresh,
    scope_list,
    shown_name,
    user_hash,
)
from seawall.access.principal import EndedError, Principal
from seawall.access.tables import login_requests, user_tokens
from seawall.access.throttle import LoginThrottle, guess
from seawall.access.token_text import LOGIN, REFRESH, hash_of, new_token
from seawall.access.user_tokens import TokenLogins, checked_scopes
from seawall.infra.addresses import counted_as
from seawall.infra.db import Database
from seawall.infra.db.together import Also, nothing
from seawall.kernel.errors import NotFoundError, UnavailableError

log: Any = structlog.get_logger("seawall.logins")
CLIENT_ID = "seawall-cli"
ACCESS_SECONDS = 900
# A login that is not renewed for so long has ended.
_IDLE_SECONDS = 30 * 86400
# How long a device's code waits for its user, and a browser's for its program.
DEVICE_SECONDS, _BROWSER_SECONDS = 600, 60
WAIT_SECONDS = 5
# Devices of one address that may wait at once.
_WAITING = 20
# No vowels, so that no words come about, and nothing ambiguous (RFC 8628, 6.1): 20^8 codes.
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
_USER_CODE = re.compile(f"[{_LETTERS}]{{8}}")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


@dataclass(frozen=True, slots=True)
class Given:
    """What a program gets: `access` for `seconds`, and what renews it."""

    username: str
    access: str
    refresh: str
    scopes: tuple[str, ...]
    seconds: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A device that waits for its user. Times are Unix seconds."""

    client: str
    address: str
    scopes: tuple[str, ...]
    created_at: float
    expires_at: float


# Notes the end of a login whose renewal came twice: user's name, login's name, address.
NoteReuse = Callable[[Connection, str, str, str], None]


class Logins:
    """Begins, decides, gives out and renews logins."""

    def __init__(
        self, db: Database, throttle: LoginThrottle, tokens: TokenLogins, note_reuse: NoteReuse
    ) -> None:
        self._db = db
        self._throttle = throttle
        self._tokens = tokens
        self._note_reuse = note_reuse

    # -- device flow ---------------------------------------------------------------------------------

    async def begin_device(self, scopes: tuple[str, ...], client: str, address: str) -> tuple[str, str]:
        """(device code, user code) of a device that now waits. Raises OAuthError."""
        wanted = scope_list(scopes)
        device, user = secrets.token_urlsafe(32), "".join(secrets.choice(_LETTERS) for _ in range(8))
        now = self._db.now()
        row = {
            "code_hash": hash_of(device),
            "kind": "device",
            "user_code": user_hash(user),
            "state": "pending",
            "scopes": wanted,
            "client": shown_name(client),
            "address": address[:64],
            "created_at": now,
            "updated_at": now,
            "expires_at": now + DEVICE_SECONDS,
            "wait_seconds": WAIT_SECONDS,
        }

        def add(connection: Connection) -> bool:
            # An hour longer than they are good, so that a device hears why there is nothing for it.
            connection.execute(delete(login_requests).where(login_requests.c.expires_at < now - 3600))
            # Of IPv6 a client has many addresses.
            mine = select(login_requests.c.address).where(
                login_requests.c.address.like(near(address)),
                login_requests.c.expires_at > now,
                login_requests.c.state == "pending",
            )
            found = connection.execute(mine).scalars()
            if sum(counted_as(item) == counted_as(address) for item in found) >= _WAITING:
                return False
            connection.execute(insert(login_requests).values(**row))
            return True

        if not await self._db.write(add):
            raise OAuthError("slow_down", "too many devices of this address wait for their user")
        return device, f"{user[:4]}-{user[4:]}"

    async def waiting(self, user: Principal, user_code: str, address: str) -> Waiting:
        """The device that shows this code, for its user to look at.

        Raises NotFoundError; RegistryError TOOMANYREQUESTS after several wrong codes of this user.
        """
        code = re.sub(r"[\s-]", "", user_code).upper()
        this = guess(f"device code of {user.name}", code, address)
        async with self._throttle.attempt(this):
            row = None
            if _USER_CODE.fullmatch(code):
                row = await self._db.point(lambda c: c.execute(_pending(code, self._db.now())).first())
            if row is None:
                await self._throttle.failed(this)
                raise NotFoundError("no program waits with this code: it is wrong, used or too old")
        return Waiting(row.client, row.address, tuple(row.scopes), row.created_at, row.expires_at)

    async def decide(
        self, user: Principal, user_code: str, address: str, *, approve: bool, also: Also = nothing
    ) -> Waiting:
        """Let the device that shows this code in as the user, or not. Raises as `waiting` does."""
        found = await self.waiting(user, user_code, address)
        code = re.sub(r"[\s-]", "", user_code).upper()
        now = self._db.now()
        change = (
            update(login_requests)
            .where(
                login_requests.c.user_code == user_hash(code),
                login_requests.c.state == "pending",
                login_requests.c.expires_at > now,
            )
            .values(
                state="approved" if approve else "denied",
                user_id=user.id,
                # A code is used once, whatever was decided.
                user_code="",
                updated_at=now,
            )
        )
        if not await self._db.write(lambda c: c.execute(change).rowcount, also=also):
            raise NotFoundError("no program waits with this code: it is wrong, used or too old")
        return found

    async def poll(self, device_code: str) -> Given:
        """What a device gets once its user has let it in. Raises OAuthError (RFC 8628, 3.5)."""
        code, now = hash_of(device_code), self._db.now()

        def take(connection: Connection) -> Given | OAuthError:
            query = select(login_requests).where(
                login_requests.c.code_hash == code, login_requests.c.kind == "device"
            )
            row = connection.execute(query.with_for_update()).first()
            if row is None:
                return OAuthError("invalid_grant", "the device code is wrong or was used")
            here = login_requests.c.code_hash == code
            if row.expires_at <= now:
                connection.execute(delete(login_requests).where(here))
                return OAuthError("expired_token", "nobody entered the code in time; begin again")
            if row.state == "denied":
                connection.execute(delete(login_requests).where(here))
                return OAuthError("access_denied", "the user refused")
            if row.state == "pending":
                hurried = now - row.polled_at < row.wait_seconds - 1
                wait = row.wait_seconds + (5 if hurried else 0)
                connection.execute(
                    update(login_requests).where(here).values(polled_at=now, wait_seconds=wait)
                )
                if hurried:
                    return OAuthError("slow_down", f"ask every {wait} seconds at most")
                return OAuthError("authorization_pending", "the user has not decided yet")
            connection.execute(delete(login_requests).where(here))
            return self._login(connection, row, now)

        return _or_raise(await self._db.write(take))

    # -- browser flow --------------------------------------------------------------------------------

    async def authorize(
        self,
        user: Principal,
        scopes: tuple[str, ...],
        client: str,
        address: str,
        *,
        redirect_uri: str,
        challenge: str,
        method: str,
        state: str,
        also: Also = nothing,
    ) -> str:
        """Where the browser of a user who agreed goes: to its program on this very computer, with a code.

        Raises InvalidError; the address of the program is never gone to unless it is one of loopback.
        """
        check_request(redirect_uri, challenge, method)
        code, now = secrets.token_urlsafe(32), self._db.now()
        row = {
            "code_hash": hash_of(code),
            "kind": "browser",
            "state": "approved",
            "user_id": user.id,
            "scopes": checked_scopes(scopes),
            "client": shown_name(client),
            "address": address[:64],
            "challenge": challenge,
            "redirect_uri": redirect_uri,
            "created_at": now,
            "updated_at": now,
            "expires_at": now + _BROWSER_SECONDS,
        }
        await self._db.write(lambda c: c.execute(insert(login_requests).values(**row)), also=also)
        return f"{redirect_uri}?{urlencode({'code': code, 'state': state})}"

    async def redeem(self, code: str, verifier: str, redirect_uri: str) -> Given:
        """What a program gets for a code of `authorize`, once. Raises OAuthError."""
        now = self._db.now()

        def take(connection: Connection) -> Given | OAuthError:
            mine = (login_requests.c.code_hash == hash_of(code), login_requests.c.kind == "browser")
            row = connection.execute(select(login_requests).where(*mine)).first()
            # Whatever is wrong with the rest: a code is shown once.
            if row is None or not connection.execute(delete(login_requests).where(*mine)).rowcount:
                return OAuthError("invalid_grant", "the code is wrong or was used")
            if row.expires_at <= now:
                return OAuthError("invalid_grant", "the code is too old")
            if redirect_uri != row.redirect_uri:
                return OAuthError("invalid_grant", "the code was sent to another address")
            digest = hashlib.sha256(verifier.encode("utf-8", "surrogateescape")).digest()
            shown = base64.urlsafe_b64encode(digest).decode().rstrip("=")
            if not _VERIFIER.fullmatch(verifier) or not hmac.compare_digest(shown, row.challenge):
                return OAuthError("invalid_grant", "code_verifier is missing or wrong")
            return self._login(connection, row, now)

        return _or_raise(await self._db.write(take))

    # -- logins --------------------------------------------------------------------------------------

    def _login(self, connection: Connection, row: Any, now: float) -> Given | OAuthError:
        """Add the login that a request was approved for."""
        found = self._tokens.user_of(connection, row.user_id)
        if found is None:
            return OAuthError("access_denied", "the user is gone")
        uid, access, refresh = uuid.uuid4().hex, new_token(LOGIN), new_token(REFRESH)
        connection.execute(
            insert(user_tokens).values(
                uid=uid,
                user_id=row.user_id,
                kind="login",
                name=row.client,
                token_hash=hash_of(access),
                scopes=row.scopes,
                expires_at=now + ACCESS_SECONDS,
                created_at=now,
                updated_at=now,
                client=f"{row.client} at {row.address}"[:255],
                refresh_hash=hash_of(refresh),
                generation=0,
                refresh_until=now + _IDLE_SECONDS,
            )
        )
        return Given(found[0].name, access, f"{uid}.0.{refresh}", tuple(row.scopes), ACCESS_SECONDS)

    async def renew(self, given: str, address: str, max_days: int) -> Given:
        """Another token for what renews one, which is used up by it.

        Raises OAuthError; UnavailableError when an instance that is not in touch has renewed it last.
        """
        uid, number, refresh = parse_refresh(given)
        now = self._db.now()
        row, known = await self._db.point(lambda c: self._renewable(c, uid))
        if row is None or known is None:
            raise OAuthError("invalid_grant", "the login has ended: it was revoked, or not used for long")
        if number > row.generation:
            raise UnavailableError("another instance renewed the login, and this one does not know it yet")
        if number < row.generation:
            await self._reused(uid, known[0].name, row.name, address)
            raise OAuthError("invalid_grant", "the login has ended: its renewal was used twice")
        if not hmac.compare_digest(hash_of(refresh), row.refresh_hash):
            raise OAuthError("invalid_grant", "the refresh token is wrong")
        if min(row.refresh_until, row.created_at + max_days * 86400) <= now:
            raise OAuthError("invalid_grant", "the login has ended: sign in again")
        user, by_provider, local = known
        try:
            await self._tokens.require_known(user, by_provider=by_provider, local=local)
        except EndedError as error:
            raise OAuthError("invalid_grant", str(error)) from None
        access, fresh = new_token(LOGIN), new_token(REFRESH)
        change = (
            update(user_tokens)
            .where(user_tokens.c.uid == uid, user_tokens.c.generation == number)
            .values(
                token_hash=hash_of(access),
                expires_at=now + ACCESS_SECONDS,
                refresh_hash=hash_of(fresh),
                generation=number + 1,
                refresh_until=min(now + _IDLE_SECONDS, row.created_at + max_days * 86400),
                updated_at=now,
            )
        )
        if not await self._db.write(lambda c: c.execute(change).rowcount):
            await self._reused(uid, user.name, row.name, address)
            raise OAuthError("invalid_grant", "the login has ended: its renewal was used twice")
        return Given(user.name, access, f"{uid}.{number + 1}.{fresh}", tuple(row.scopes), ACCESS_SECONDS)

    def _renewable(self, connection: Connection, uid: str) -> tuple[Any, Any]:
        mine = (user_tokens.c.uid == uid, user_tokens.c.kind == "login")
        row = connection.execute(select(user_tokens).where(*mine)).first()
        return row, None if row is None else self._tokens.user_of(connection, row.user_id)

    async def _reused(self, uid: str, username: str, name: str, address: str) -> None:
        def end(connection: Connection) -> None:
            if connection.execute(delete(user_tokens).where(user_tokens.c.uid == uid)).rowcount:
                self._note_reuse(connection, username, name, address)

        await self._db.write(end)
        log.warning("login ended: its renewal was used twice", user=username, login=name, address=address)

    async def end_login(self, given: str) -> None:
        """End a login by what renews it (RFC 7009); an unknown one is not an error."""
        uid, number, refresh = parse_refresh(given)
        mine = (user_tokens.c.uid == uid, user_tokens.c.generation == number)
        gone = delete(user_tokens).where(*mine, user_tokens.c.refresh_hash == hash_of(refresh))
        await self._db.write(lambda c: c.execute(gone))


def _or_raise(found: Given | OAuthError) -> Given:
    # Raised outside the transaction: what it deleted stays deleted.
    if isinstance(found, OAuthError):
        raise found
    return found
