"""How tokens of users are written: `swp_`, 36 random letters and digits, six of a checksum.

Secret scanners find them by prefix and checksum, and a typing error is known without the database. A token
has 214 random bits, so that a plain SHA-256 of it is as good as a slow hash.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib

# A token that a user made; the token of `seawall login`, and what renews that.
PERSONAL, LOGIN, REFRESH = "swp_", "swl_", "swr_"
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM, _CHECK = 36, 6
_FORM = re.compile(r"(sw[plr]_)([0-9A-Za-z]{36})([0-9A-Za-z]{6})")


def new_token(prefix: str) -> str:
    """A random token."""
    body = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))
    return prefix + body + _checksum(prefix + body)


def is_token(text: str, *prefixes: str) -> bool:
    """Whether a text has the form of a token with one of these prefixes, checksum included."""
    match = _FORM.fullmatch(text)
    return match is not None and match[1] in prefixes and _checksum(match[1] + match[2]) == match[3]


def hash_of(token: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _checksum(text: str) -> str:
    number, written = zlib.crc32(text.encode()), ""
    for _ in range(_CHECK):
        number, digit = divmod(number, len(_ALPHABET))
        written = _ALPHABET[digit] + written
    return written
