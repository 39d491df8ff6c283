"""What one LDAP directory is asked: entries, groups, and whether a password is an entry's."""

from __future__ import annotations

import ssl
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from seawall.access.dn import first_value, normal_dn
from seawall.kernel.errors import InvalidError
from seawall.kernel.extras import optional

if TYPE_CHECKING:
    import ldap3
    from ldap3.core import exceptions as ldap_errors
    from ldap3.utils import conv
else:
    ldap3 = optional("ldap3")
    ldap_errors = optional("ldap3.core.exceptions")
    conv = optional("ldap3.utils.conv")

T = TypeVar("T")
# ldap3.BASE, LEVEL and SUBTREE.
_SCOPES: dict[int, Any] = {0: "BASE", 1: "LEVEL", 2: "SUBTREE"}
_RESULTS = 200
# What a directory never changes of an entry: attribute, and whether its value is the 16 bytes of a GUID.
_STABLE = (("entryUUID", False), ("objectGUID", True), ("nsUniqueId", False))
# Active Directory's LDAP_MATCHING_RULE_IN_CHAIN: groups in groups. Other directories do not know the rule. To
# them the clause is undefined (RFC 4511, section 4.5.1.7), which leaves the others of an "or" as they are.
_IN_CHAIN = "1.2.840.113556.1.4.1941"


class DirectoryError(InvalidError):
    """The directory cannot be reached or refuses the search account; the message says which."""


@dataclass(frozen=True, slots=True)
class LdapSettings:
    """How to reach and search the directory: the configuration's `ldap_*` items, without the prefix."""

    url: str
    search_dn: str = ""
    search_password: str = ""
    base_dn: str = ""
    filter: str = ""
    uid: str = "cn"
    scope: int = 2
    timeout: int = 5
    verify_cert: bool = True
    group_base_dn: str = ""
    group_search_filter: str = ""
    group_attribute_name: str = ""
    group_search_scope: int = 2
    group_admin_dn: str = ""
    group_membership_attribute: str = "memberof"


@dataclass(frozen=True, slots=True)
class LdapEntry:
    """A user's entry. `subject` is what the directory never changes of it, or its DN."""

    dn: str
    username: str
    realname: str
    email: str
    groups: tuple[str, ...]
    subject: str


@dataclass(frozen=True, slots=True)
class LdapGroup:
    """A group's entry."""

    dn: str
    name: str


def checked_entry(settings: LdapSettings, username: str, password: str) -> LdapEntry | None:
    """The entry of the user if the directory takes the password. Raises DirectoryError."""
    found = find_users(settings, username, exact=True)
    if len(found) != 1:
        return None
    connection = _connect(settings, found[0].dn, password)
    if connection is None:
        return None
    connection.unbind()
    return found[0]


def dn_subject(dn: str) -> str:
    """The subject of an entry whose directory shows nothing stable of it."""
    return f"dn:{normal_dn(dn) or dn}"[:512]


def _subject(item: dict[str, Any]) -> str:
    """What identifies a found entry, whatever it is called."""
    has = {key.lower(): values for key, values in item.get("raw_attributes", {}).items()}
    for attribute, binary in _STABLE:
        values = has.get(attribute.lower()) or []
        value = values[0] if isinstance(values, list) and values else values
        if not value:
            continue
        if binary:
            if not isinstance(value, bytes) or len(value) != 16:
                continue
            text = str(uuid.UUID(bytes_le=value))
        else:
            text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        return f"{attribute.lower()}:{text.lower()}"[:512]
    return dn_subject(item["dn"])


def by_subject(settings: LdapSettings, subject: str) -> list[LdapEntry]:
    """The entry of a subject, in a list, which is empty when the directory has it no more."""
    kind, _, value = subject.partition(":")
    if kind == "name":
        return find_users(settings, value, exact=True)
    if kind == "dn":
        return _entries(settings, f"({settings.uid}=*)", base=value)
    if kind == "objectguid":
        value = "".join(f"\\{byte:02x}" for byte in uuid.UUID(value).bytes_le)
    else:
        value = conv.escape_filter_chars(value)
    return _entries(settings, f"({kind}={value})")


def ask(settings: LdapSettings, work: Callable[[ldap3.Connection], T]) -> T:
    """Do `work` on a connection of the search account. Raises DirectoryError."""
    connection = _connect(settings, settings.search_dn, settings.search_password)
    if connection is None:
        raise DirectoryError("the directory refuses the search account's name or password")
    try:
        return work(connection)
    except ldap_errors.LDAPException as error:
        raise DirectoryError(f"search in the directory failed: {type(error).__name__}") from None
    finally:
        connection.unbind()


def _connect(settings: LdapSettings, dn: str, password: str) -> ldap3.Connection | None:
    """A bound connection; None when the directory refuses name and password. Raises DirectoryError."""
    url = settings.url
    if not url:
        raise DirectoryError("ldap_url is not set")
    if "://" not in url:
        url = f"ldap://{url}"
    verify = ssl.CERT_REQUIRED if settings.verify_cert else ssl.CERT_NONE
    try:
        server = ldap3.Server(
            url, get_info=ldap3.NONE, connect_timeout=settings.timeout, tls=ldap3.Tls(validate=verify)
        )
        connection = ldap3.Connection(
            server,
            user=dn or None,
            password=password or None,
            receive_timeout=settings.timeout,
            # Following referrals would send the password to servers that nobody configured.
            auto_referrals=False,
            raise_exceptions=False,
        )
        if not connection.bind():
            connection.unbind()
            return None
        return connection
    except (ldap_errors.LDAPException, OSError, ValueError) as error:
        # ValueError: a host name that cannot be one.
        raise DirectoryError(f"{url[:200]}: {type(error).__name__}") from None


def _filter(given: str, clause: str) -> str:
    given = given.strip()
    if not given:
        return clause
    return f"(&{given if given.startswith('(') else f'({given})'}{clause})"


def find_users(settings: LdapSettings, name: str, *, exact: bool) -> list[LdapEntry]:
    """Entries whose name is `name`, or contains it. Raises DirectoryError."""
    escaped = conv.escape_filter_chars(name)
    value = escaped if exact else f"*{escaped}*" if escaped else "*"
    return _entries(settings, f"({settings.uid}={value})")


def _entries(settings: LdapSettings, clause: str, base: str | None = None) -> list[LdapEntry]:
    """Users that the clause picks, or the one at `base`. Raises DirectoryError."""
    attributes = [settings.uid, "cn", "displayName", "mail", "email", *(name for name, _ in _STABLE)]
    member_of = settings.group_membership_attribute
    if member_of:
        attributes.append(member_of)

    def work(connection: ldap3.Connection) -> list[LdapEntry]:
        connection.search(
            settings.base_dn if base is None else base,
            _filter(settings.filter, clause),
            _SCOPES[settings.scope] if base is None else "BASE",
            attributes=sorted(set(attributes)),
            size_limit=_RESULTS,
        )
        found = []
        for item in connection.response or []:
            if item.get("type") != "searchResEntry":
                continue
            has = {key.lower(): values for key, values in item["attributes"].items()}
            username = _first(has, settings.uid)
            if username:
                found.append(
                    LdapEntry(
                        item["dn"],
                        username,
                        _first(has, "displayname") or _first(has, "cn"),
                        _first(has, "mail") or _first(has, "email"),
                        tuple(_all(has, member_of)),
                        _subject(item),
                    )
                )
        return found

    return ask(settings, work)


def find_groups(settings: LdapSettings, name: str, dn: str) -> list[LdapGroup]:
    """The group at `dn`, or those whose name contains `name`. Raises DirectoryError."""
    attribute = settings.group_attribute_name or "cn"
    escaped = conv.escape_filter_chars(name)
    # The client library takes only DNs without spaces between their parts.
    base = normal_dn(dn) if dn else settings.group_base_dn or settings.base_dn
    if dn and not base:
        raise InvalidError("the group's DN is malformed")

    def work(connection: ldap3.Connection) -> list[LdapGroup]:
        connection.search(
            base,
            _filter(settings.group_search_filter, f"({attribute}={f'*{escaped}*' if escaped else '*'})"),
            "BASE" if dn else _SCOPES[settings.group_search_scope],
            attributes=[attribute],
            size_limit=_RESULTS,
        )
        return _group_entries(connection, attribute)

    return ask(settings, work)


def groups_of(settings: LdapSettings, entry: LdapEntry) -> list[LdapGroup]:
    """Groups of the user: those it names, and those below the group base that name it."""
    result = [LdapGroup(dn, first_value(dn)) for dn in entry.groups]
    if not settings.group_base_dn:
        return result
    attribute = settings.group_attribute_name or "cn"
    dn, uid = conv.escape_filter_chars(entry.dn), conv.escape_filter_chars(entry.username)
    named = f"(member={dn})(uniqueMember={dn})(member:{_IN_CHAIN}:={dn})"

    def work(connection: ldap3.Connection) -> list[LdapGroup]:
        connection.search(
            settings.group_base_dn,
            _filter(settings.group_search_filter, f"(|{named}(memberUid={uid}))"),
            _SCOPES[settings.group_search_scope],
            attributes=[attribute],
            size_limit=_RESULTS,
        )
        return _group_entries(connection, attribute)

    # Named by the directory last, so that its attribute wins over the first part of the DN.
    return [*result, *ask(settings, work)]


def _group_entries(connection: ldap3.Connection, attribute: str) -> list[LdapGroup]:
    found = []
    for item in connection.response or []:
        if item.get("type") == "searchResEntry":
            has = {key.lower(): values for key, values in item["attributes"].items()}
            found.append(LdapGroup(item["dn"], _first(has, attribute) or first_value(item["dn"])))
    return found


def _all(attributes: dict[str, Any], name: str) -> list[str]:
    value = attributes.get(name.lower(), [])
    values = value if isinstance(value, list) else [value]
    return [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in values]


def _first(attributes: dict[str, Any], name: str) -> str:
    return next(iter(_all(attributes, name)), "")
