"""Passwords: the rule for them, their hashes, and generated ones."""

from __future__ import annotations

import contextlib
import re
import secrets

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from seawall.kernel.errors import InvalidError

# RFC 9106's second recommended set, scaled to 19 MiB so that a burst of logins fits small machines
# (the OWASP minimum for argon2id).
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


def hash_of(password: str) -> str:
    """The argon2id hash to store; takes tens of milliseconds, so not on the event loop."""
    return _HASHER.hash(password)


def generated_password() -> str:
    """A random password (at least 88 bits) that keeps the rule of `check_password`."""
    while True:
        made = secrets.token_urlsafe(15)
        with contextlib.suppress(InvalidError):
            check_password(made)
            return made


def check_password(password: str) -> None:
    """Harbor's rule: 8 to 128 characters with an upper-case and a lower-case letter and a digit.

    Raises InvalidError.
    """
    if not (
        8 <= len(password) <= 128
        and re.search("[a-z]", password)
        and re.search("[A-Z]", password)
        and re.search("[0-9]", password)
    ):
        raise InvalidError("passwords have 8 to 128 characters with upper case, lower case and a digit")


_DUMMY = _HASHER.hash(secrets.token_hex(8))


def verify(stored: str | None, password: str) -> bool:
    """Whether the password is that of the hash; none stands for an unknown user, and costs as much time."""
    # An unknown user costs the same time as a wrong password, so names cannot be told apart.
    try:
        return _HASHER.verify(stored or _DUMMY, password) and bool(stored)
    except (VerificationError, InvalidHashError):
        return False
