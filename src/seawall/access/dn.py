"""Distinguished names in one form, so that equal names are equal strings (RFC 4514, RFC 4517 section 4.2.15).

Attribute types and the values of naming attributes compare whatever their case and spacing. The form is made
here and not in SQL, since a database lowers only the letters that its collation knows: ASCII alone in SQLite
and under "C".
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from seawall.kernel.extras import optional

if TYPE_CHECKING:
    from ldap3.core import exceptions
    from ldap3.utils import dn as names
else:
    exceptions = optional("ldap3.core.exceptions")
    names = optional("ldap3.utils.dn")


def normal_dn(dn: str) -> str:
    """The DN in the form that is stored and compared; "" when it is malformed or empty.

    Lower case, no space around `,` `+` and `=`, runs of spaces as one, Unicode in form NFC. What must be
    escaped is escaped in one way, whichever of the allowed ones (`\\2C`, `\\,`) the given DN has.
    """
    try:
        parts = names.parse_dn(dn, escape=False, strip=True)
    except exceptions.LDAPException:
        return ""
    written = []
    for name, value, separator in parts:
        written.append(f"{name.strip().lower()}={names.escape_rdn(_value(value))}{separator}")
    return "".join(written)


def first_value(dn: str) -> str:
    """The value of the DN's first part, as people read it; the DN itself when it is malformed."""
    try:
        return _unescaped(str(names.parse_dn(dn, strip=True)[0][1]))
    except (exceptions.LDAPException, IndexError):
        return dn


def _value(text: str) -> str:
    plain = unicodedata.normalize("NFC", _unescaped(text)).lower()
    return " ".join(unicodedata.normalize("NFC", plain).split())


def _unescaped(text: str) -> str:
    def plain(found: re.Match[str]) -> str:
        octets, character = found[1], found[2]
        return bytes.fromhex(octets.replace("\\", "")).decode("utf-8", "replace") if octets else character

    return re.sub(r"((?:\\[0-9a-fA-F]{2})+)|\\(.)", plain, text)
