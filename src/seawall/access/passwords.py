"""Passwords: the rule for them, their hashes, and generated ones."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
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


# How Harbor hashes: PBKDF2 to 16 bytes, with the hash function and the rounds of its "password version".
_HARBOR = {"sha1": ("sha1", 4096), "sha256": ("sha256", 4096), "pbkdf2_sha256": ("sha256", 600_000)}
_HARBOR_HASH = re.compile(r"\$harbor\$(?P<version>\w+)\$(?P<salt>[A-Za-z0-9_=-]*)\$(?P<hash>[0-9a-f]{32})")


def harbor_hash(version: str, salt: str, hexadecimal: str) -> str:
    """A hash from Harbor's database as it is stored here. Raises InvalidError for another text."""
    encoded = base64.urlsafe_b64encode(salt.encode()).decode()
    made = f"$harbor${version}${encoded}${hexadecimal}"
    if version not in _HARBOR or len(made) > 255 or not _HARBOR_HASH.fullmatch(made):
        raise InvalidError("not a password hash of Harbor's")
    return made


def is_foreign(stored: str | None) -> bool:
    """Whether the hash is another registry's, to be replaced once the password is known."""
    return stored is not None and stored.startswith("$harbor$")


def _verify_harbor(stored: str, password: str) -> bool:
    found = _HARBOR_HASH.fullmatch(stored)
    if found is None or found["version"] not in _HARBOR:
        return False
    name, rounds = _HARBOR[found["version"]]
    try:
        salt = base64.urlsafe_b64decode(found["salt"])
    except binascii.Error:
        return False
    made = hashlib.pbkdf2_hmac(name, password.encode(errors="surrogatepass"), salt, rounds, 16)
    return hmac.compare_digest(made.hex(), found["hash"])


def _nobody() -> str:
    """A hash of no password; to verify it takes the time of any other."""
    # Put together, not computed: each command imports this module.
    salt, made = (base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (16, 32))
    cost = f"m={_HASHER.memory_cost},t={_HASHER.time_cost},p={_HASHER.parallelism}"
    return f"$argon2id$v=19${cost}${salt}${made}"


_DUMMY = _nobody()


def verify(stored: str | None, password: str) -> bool:
    """Whether the password is that of the hash; none stands for an unknown user, and costs as much time."""
    if stored is not None and is_foreign(stored):
        return _verify_harbor(stored, password)
    # An unknown user costs the same time as a wrong password, so nobody learns which names exist.
    try:
        return _HASHER.verify(stored or _DUMMY, password) and bool(stored)
    except (VerificationError, InvalidHashError):
        return False
