"""What Harbor encrypts in its database, opened with its secret key.

The form is Harbor's: `<enc-v1>` and base64 of a 16-byte start value and the text in AES-CFB; texts without
the mark are base64 only. The form has no seal, so a wrong key is noticed by what comes out of it.
"""

from __future__ import annotations

import base64
import binascii

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from seawall.kernel.errors import ConfigError

_MARK = "<enc-v1>"


class WrongKeyError(ConfigError):
    """The secret key does not open what the Harbor has encrypted."""


class HarborCipher:
    """Opens texts; `key` is the content of Harbor's `secretkey` file."""

    def __init__(self, key: str | None) -> None:
        """Raises ConfigError for a key of a length that AES has not."""
        self._key = key.encode() if key is not None else None
        if self._key is not None and len(self._key) not in (16, 24, 32):
            raise ConfigError(
                f"the secret key has {len(self._key)} bytes; Harbor's has 16 (its file `secretkey`)"
            )

    def open(self, text: str, what: str) -> str:
        """The text in clear. Raises WrongKeyError naming `what` it belongs to, ConfigError without a key."""
        try:
            if not text.startswith(_MARK):
                return base64.b64decode(text, validate=True).decode()
            sealed = base64.b64decode(text[len(_MARK) :], validate=True)
        except (binascii.Error, UnicodeDecodeError, ValueError):
            raise WrongKeyError(f"{what}: what Harbor has stored is damaged") from None
        if self._key is None:
            raise ConfigError(f"{what} is encrypted: name the Harbor's secret key with --secret-key")
        if len(sealed) < 16:
            raise WrongKeyError(f"{what}: what Harbor has stored is damaged")
        decryptor = Cipher(algorithms.AES(self._key), CFB(sealed[:16])).decryptor()
        plain = decryptor.update(sealed[16:]) + decryptor.finalize()
        try:
            clear = plain.decode()
        except UnicodeDecodeError:
            clear = "\0"
        if any(ord(character) < 32 and character not in "\t\n\r" for character in clear):
            raise WrongKeyError(f"{what}: the secret key does not open it; name the one that this Harbor has")
        return clear
