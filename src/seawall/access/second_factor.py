"""A second factor for users whose password is here: one-time codes (TOTP, RFC 6238), and recovery codes.

SHA-1, six digits, thirty seconds: what every authenticator program knows. A code is good once, one period
early or late. The key is sealed in the database; of recovery codes it has hashes only.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import struct
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, delete, select, update

from seawall.access.tables import second_factors, used_tokens
from seawall.access.throttle import LoginThrottle, guess
from seawall.access.token_text import hash_of
from seawall.infra.db import Database
from seawall.infra.db.dialect import added, upsert
from seawall.infra.db.together import Also, nothing
from seawall.infra.secrets.keyring import KeyRing
from seawall.kernel.errors import ConflictError, ForbiddenError, NotFoundError

PURPOSE = "second-factor"
_PERIOD, _DIGITS, _KEY_BYTES = 30, 6, 20
_RECOVERY = 10


def code_at(key: bytes, step: int, digits: int = _DIGITS) -> str:
    """The code of a period (RFC 4226 5.3)."""
    digest = hmac.digest(key, struct.pack(">Q", step), "sha1")
    place = digest[-1] & 15
    number = struct.unpack(">I", digest[place : place + 4])[0] & 0x7FFFFFFF
    return str(number % 10**digits).zfill(digits)


class SecondFactors:
    """Enrols users, and checks their codes."""

    def __init__(self, db: Database, keys: KeyRing, throttle: LoginThrottle) -> None:
        self._db = db
        self._keys = keys
        self._throttle = throttle

    async def begin(
        self, user_id: int, username: str, issuer: str, *, also: Also = nothing
    ) -> tuple[str, str]:
        """A new key, as text and as an otpauth URI; nothing is asked for until `confirm`.

        Raises ConflictError when there is a factor already.
        """
        key = secrets.token_bytes(_KEY_BYTES)
        now = self._db.now()
        row = {
            "user_id": user_id,
            "secret": self._keys.encrypt(PURPOSE, key),
            "confirmed_at": None,
            "recovery": [],
            "created_at": now,
            "updated_at": now,
        }

        def store(connection: Connection) -> None:
            # Locked: a key that is confirmed meanwhile must not be written over.
            found = _row(connection, user_id, lock=True)
            if found is not None and found.confirmed_at is not None:
                raise ConflictError("a second factor is on; remove it first")
            connection.execute(upsert(connection, second_factors, row, "user_id"))

        await self._db.write(store, also=also)
        text = base64.b32encode(key).decode()
        label = quote(f"{issuer}:{username}", safe="")
        uri = f"otpauth://totp/{label}?secret={text}&issuer={quote(issuer, safe='')}"
        return text, uri

    async def confirm(self, user_id: int, code: str, *, also: Also = nothing) -> list[str]:
        """Switch the factor on by a first code; gives the recovery codes, which are shown this once.

        Raises ForbiddenError for a wrong code, NotFoundError, ConflictError, RegistryError TOOMANYREQUESTS.
        """
        row = await self._db.point(lambda c: _row(c, user_id))
        if row is None:
            raise NotFoundError("no second factor was begun")
        if row.confirmed_at is not None:
            raise ConflictError("the second factor is on already")
        if not await self._right(row, code):
            raise ForbiddenError("the code is wrong; compare the clocks")
        codes = ["-".join(secrets.token_hex(3) for _ in range(3)) for _ in range(_RECOVERY)]
        now = self._db.now()
        change = (
            update(second_factors)
            .where(second_factors.c.user_id == user_id, second_factors.c.secret == row.secret)
            .values(confirmed_at=now, recovery=[hash_of(item) for item in codes], updated_at=now)
        )

        def switch_on(connection: Connection) -> None:
            if not connection.execute(change).rowcount:
                raise ConflictError("another second factor was begun meanwhile")

        await self._db.write(switch_on, also=also)
        return codes

    async def check(self, user_id: int, code: str) -> bool:
        """Whether the code is right, and was not used before; a recovery code is used up by it.

        Raises RegistryError TOOMANYREQUESTS after several wrong ones.
        """
        row = await self._db.point(lambda c: _row(c, user_id))
        return row is not None and row.confirmed_at is not None and await self._right(row, code)

    async def _right(self, row: Any, code: str) -> bool:
        text = re.sub(r"\s", "", code).lower()
        is_code = re.fullmatch(rf"[0-9]{{{_DIGITS}}}", text) is not None
        # Counted for the user from everywhere: who gets here knows the password, so nobody else can make the
        # user wait, and a million codes are few for somebody with many addresses. By the user's id: names
        # that are alike have one counter, which another user's right code would clear.
        # A code that was wrong may be right in another period, where it is another guess.
        secret = f"{int(self._db.now()) // _PERIOD} {text}" if is_code else text
        this = guess(f"second factor {row.user_id}", secret, "")
        async with self._throttle.attempt(this) as failures:
            if is_code:
                right = await self._once(row, text)
            else:
                right = await self._recovered(row, text)
            if not right:
                await self._throttle.failed(this)
                return False
        if failures:
            await self._throttle.passed(this)
        return True

    async def _once(self, row: Any, code: str) -> bool:
        key = self._keys.decrypt(PURPOSE, row.secret)
        now = self._db.now()
        step = int(now) // _PERIOD
        found = next(
            (n for n in (step, step - 1, step + 1) if hmac.compare_digest(code_at(key, n), code)), None
        )
        if found is None:
            return False
        mark = hashlib.sha256(f"totp\0{row.user_id}\0{found}".encode()).hexdigest()
        used = {"mark": mark, "robot_id": 0, "address": "", "expires_at": now + 4 * _PERIOD}

        def first(connection: Connection) -> bool:
            connection.execute(delete(used_tokens).where(used_tokens.c.expires_at < now))
            return added(connection, used_tokens, used, "mark")

        return await self._db.write(first)

    async def _recovered(self, row: Any, code: str) -> bool:
        mark = hash_of(code)
        if mark not in row.recovery:
            return False

        def take(connection: Connection) -> bool:
            found = connection.execute(
                select(second_factors.c.recovery)
                .where(second_factors.c.user_id == row.user_id)
                .with_for_update()
            ).scalar()
            if not found or mark not in found:
                return False
            left = [item for item in found if item != mark]
            connection.execute(
                update(second_factors)
                .where(second_factors.c.user_id == row.user_id)
                .values(recovery=left, updated_at=self._db.now())
            )
            return True

        return await self._db.write(take)


def _row(connection: Connection, user_id: int, *, lock: bool = False) -> Any:
    query = select(second_factors).where(second_factors.c.user_id == user_id)
    return connection.execute(query.with_for_update() if lock else query).first()


def remaining(connection: Connection, user_id: int) -> int | None:
    """How many recovery codes a user has left; None when no second factor is on."""
    row = _row(connection, user_id)
    return None if row is None or row.confirmed_at is None else len(row.recovery)


def remove(connection: Connection, user_id: int) -> bool:
    """Take a user's second factor off; whether there was one."""
    return bool(
        connection.execute(delete(second_factors).where(second_factors.c.user_id == user_id)).rowcount
    )
