"""Sources of identity: where users come from who have no password here.

The default source is what `auth_mode` and Harbor's `ldap_*` or `oidc_*` items configure. Further ones, each
an LDAP directory or an OpenID provider, are in the table `identity_sources`, in an order. Their
configuration has the same items, without the prefix.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Connection, delete, func, insert, select, update

from seawall.access import identities
from seawall.access.identities import DEFAULT
from seawall.access.tables import identity_sources, user_groups
from seawall.infra.configuration import ITEMS, Configuration, acceptable
from seawall.infra.db import Database
from seawall.infra.db.together import Also, nothing
from seawall.infra.secrets.keyring import KeyRing
from seawall.kernel.errors import ConfigError, ConflictError, InvalidError, NotFoundError
from seawall.kernel.extras import need
from seawall.kernel.spelling import did_you_mean

log: Any = structlog.get_logger("seawall.sources")
LDAP, OIDC = "ldap", "oidc"
_SECONDS = 2.0
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_PREFIX = re.compile(r"[^\s,\"~#%$:/\\]{0,32}")
_PURPOSE = "identity-source"
# What a source has outside its configuration, and what must be there.
_ELSEWHERE = {"oidc_name", "oidc_admin_group", "ldap_group_admin_dn"}
_NEEDED = {LDAP: ("url",), OIDC: ("endpoint", "client_id")}
_ADDRESS = {LDAP: ("url", "search_password"), OIDC: ("endpoint", "client_secret")}


@dataclass(frozen=True, slots=True)
class Source:
    """A source. `name` is "" for the default one; `values` are its items, secrets in clear."""

    name: str
    kind: str
    title: str
    position: int
    enabled: bool
    prefix: str
    admin_group: str
    values: dict[str, Any]

    def names(self, username: str) -> bool:
        """Whether the name is like those of its users, by the prefix."""
        return bool(self.prefix) and username.startswith(self.prefix)

    def name_there(self, username: str) -> str:
        """What a user who types `username` is called in the source."""
        return username.removeprefix(self.prefix)


@dataclass(frozen=True, slots=True)
class Change:
    """What is to become of a source; None leaves a part as it is.

    `configuration` is added to what is there.
    """

    title: str | None = None
    position: int | None = None
    enabled: bool | None = None
    prefix: str | None = None
    admin_group: str | None = None
    configuration: dict[str, Any] | None = None


class Sources:
    """The sources of an installation."""

    def __init__(
        self, db: Database, configuration: Configuration, keys: KeyRing, *, peers: bool = False
    ) -> None:
        """`peers`: whether other instances, which may be out of touch, let people in too."""
        self._peers = peers
        self._db = db
        self._configuration = configuration
        self._keys = keys
        self._cached: list[Source] | None = None
        self._token: int | None = None
        self._until = 0.0

    # -- reading -------------------------------------------------------------------------------------

    async def further(self) -> list[Source]:
        """The sources other than the default one, in their order, also those that are not enabled."""
        token = self._db.change_token()
        current = self._cached is not None and (
            token == self._token if token is not None else time.monotonic() < self._until
        )
        if not current:
            rows = await self._db.point(lambda c: list(c.execute(_ordered())))
            self._cached = [self._source(row) for row in rows]
            self._token, self._until = token, time.monotonic() + _SECONDS
        assert self._cached is not None
        return self._cached

    async def default(self, kind: str) -> Source:
        """The default source as Harbor's items of that kind configure it, enabled or not."""
        values = await self._configuration.all()
        mine = {name.removeprefix(f"{kind}_"): value for name, value in values.items() if _of(kind, name)}
        admin = mine["group_admin_dn" if kind == LDAP else "admin_group"]
        enabled = values["auth_mode"] == f"{kind}_auth"
        return Source(DEFAULT, kind, values["oidc_name"], 0, enabled, "", admin, mine)

    async def enabled(self, kind: str) -> list[Source]:
        """The sources of a kind by which users sign in, in order: the default one first."""
        default = await self.default(kind)
        found = [source for source in await self.further() if source.kind == kind and source.enabled]
        return [default, *found] if default.enabled else found

    async def usable(self, name: str, kind: str) -> Source | None:
        """The enabled source of that name and kind, None when there is none."""
        return next((item for item in await self.enabled(kind) if item.name == name), None)

    async def is_enabled(self, name: str) -> bool:
        """Whether there is an enabled source of that name, other than the default one."""
        return any(item.name == name and item.enabled for item in await self.further())

    async def get(self, name: str) -> Source:
        """The source of that name, enabled or not. Raises NotFoundError."""
        found = next((item for item in await self.further() if item.name == name), None)
        if found is None:
            names = [item.name for item in await self.further()]
            raise NotFoundError(f"source {name[:64]} not found{did_you_mean(name[:64], names)}")
        return found

    def shown(self, source: Source, *, defaults: bool = False) -> dict[str, Any]:
        """The items of a source without what is secret; those that are as by default with `defaults` only."""
        found = {}
        for key, value in source.values.items():
            item = ITEMS.get(f"{source.kind}_{key}")
            if item is not None and item.kind != "password" and (defaults or value != item.default):
                found[key] = value
        for key in ("admin_group", "group_admin_dn", "name"):
            found.pop(key, None)
        return found

    # -- changing ------------------------------------------------------------------------------------

    async def add(self, name: str, kind: str, change: Change, *, also: Also = nothing) -> None:
        """Add a source, as the last. Raises InvalidError, ConflictError, MissingExtraError."""
        if kind not in _NEEDED:
            raise InvalidError("kind must be ldap or oidc")
        if not _NAME.fullmatch(name) or name in ("local", "default"):
            raise InvalidError(
                "a source's name has 1 to 63 lower-case letters, digits and - between them, and is neither "
                "local nor default"
            )
        need(kind, f"a source of kind {kind}")
        items = _checked(kind, change.configuration or {})
        for key in _NEEDED[kind]:
            if not items.get(key):
                raise InvalidError(f"a source of kind {kind} needs {key} in its configuration")
        now = time.time()
        row: dict[str, Any] = {
            "name": name,
            "kind": kind,
            "title": _title(change.title or ""),
            "enabled": change.enabled is not False,
            "configuration": self._sealed(kind, items),
            "prefix": self._prefix(f"{name}-" if change.prefix is None else change.prefix),
            "admin_group": _group(change.admin_group or ""),
            "created_at": now,
            "updated_at": now,
        }

        def add_source(connection: Connection) -> None:
            rows = list(connection.execute(_ordered()))
            if any(item.name == name for item in rows):
                raise ConflictError(f"source {name} exists")
            held = select(user_groups.c.name).where(
                user_groups.c.name.startswith(f"{name}:", autoescape=True)
            )
            taken = connection.execute(held.limit(1)).scalar()
            if taken is not None:
                # It would pass for a group of the source, with the roles that it was given before.
                raise ConflictError(f"user group {taken} begins with {name}: already; choose another name")
            _check_own(connection, name, row["prefix"])
            last = max((item.position for item in rows), default=0) + 1
            place = last if change.position is None else _place(change.position)
            connection.execute(insert(identity_sources).values(**row, position=place))

        await self._db.write(add_source, also=also)
        self._cached = None

    async def change(self, name: str, change: Change, *, also: Also = nothing) -> None:
        """Change a source. Raises NotFoundError, InvalidError."""
        self._cached = None
        source = await self.get(name)
        values: dict[str, Any] = {"updated_at": time.time()}
        if change.title is not None:
            values["title"] = _title(change.title)
        if change.position is not None:
            values["position"] = _place(change.position)
        if change.enabled is not None:
            values["enabled"] = change.enabled
        if change.prefix is not None:
            values["prefix"] = self._prefix(change.prefix)
        if change.admin_group is not None:
            values["admin_group"] = _group(change.admin_group)
        items = _checked(source.kind, change.configuration or {})
        address, secret = _ADDRESS[source.kind]
        moved = items.get(address, source.values[address]) != source.values[address]
        if moved and source.values[secret] and secret not in items:
            raise InvalidError(f"give {secret} too: the stored one is sent to {address} as it was only")
        for key in _NEEDED[source.kind]:
            if key in items and not items[key]:
                raise InvalidError(f"a source of kind {source.kind} needs {key} in its configuration")
        sealed = self._sealed(source.kind, items)

        def change_source(connection: Connection) -> None:
            here = identity_sources.c.name == name
            row = connection.execute(
                select(identity_sources.c.configuration).where(here).with_for_update()
            ).first()
            if row is None:
                raise NotFoundError(f"source {name} not found")
            if "prefix" in values:
                _check_own(connection, name, values["prefix"])
            values["configuration"] = {**row[0], **sealed}
            connection.execute(update(identity_sources).where(here).values(**values))
            if change.enabled is False:
                # What its groups gave ends with it, also for users that another source lets in.
                identities.leave_groups(connection, name)

        await self._db.write(change_source, also=also)
        self._cached = None

    async def remove(self, name: str, *, also: Also = nothing) -> list[int]:
        """Remove a source with its groups; its users stay, and their sessions end. Returns the users' ids.

        Raises NotFoundError.
        """

        def remove_source(connection: Connection) -> list[int]:
            gone = delete(identity_sources).where(identity_sources.c.name == name)
            if not connection.execute(gone).rowcount:
                raise NotFoundError(f"source {name[:64]} not found")
            return identities.forget_source(connection, name)

        found = await self._db.write(remove_source, also=also)
        self._cached = None
        return found

    # -- rows ----------------------------------------------------------------------------------------

    def _prefix(self, text: str) -> str:
        if not _PREFIX.fullmatch(text) or not text.isprintable():
            raise InvalidError('prefix has at most 32 characters, without spaces and , " ~ # % $ : / \\')
        if self._peers and not text:
            # Two people, of one name each, at two of them: to the peers they would be one.
            raise InvalidError("a source of an installation with peers needs a prefix")
        return text

    def _sealed(self, kind: str, items: dict[str, Any]) -> dict[str, Any]:
        return {
            key: self._keys.encrypt(_PURPOSE, value.encode())
            if value and ITEMS[f"{kind}_{key}"].kind == "password"
            else value
            for key, value in items.items()
        }

    def _opened(self, name: str, sealed: str) -> str:
        try:
            return self._keys.decrypt(_PURPOSE, sealed).decode()
        except ConfigError as error:
            # The other sources go on; this one says at each sign-in that it cannot be asked.
            log.error("a secret of a source is not readable", source=name, error=str(error))
            return ""

    def _source(self, row: Any) -> Source:
        values = {}
        for name, item in ITEMS.items():
            if _of(row.kind, name):
                key = name.removeprefix(f"{row.kind}_")
                value = row.configuration.get(key, item.default)
                if item.kind == "password" and value:
                    value = self._opened(row.name, value)
                values[key] = value
        values["group_admin_dn" if row.kind == LDAP else "admin_group"] = row.admin_group
        return Source(
            row.name,
            row.kind,
            row.title or row.name,
            row.position,
            row.enabled,
            row.prefix,
            row.admin_group,
            values,
        )


def _ordered() -> Any:
    return select(identity_sources).order_by(identity_sources.c.position, identity_sources.c.name)


def _of(kind: str, name: str) -> bool:
    return name.startswith(f"{kind}_")


def _checked(kind: str, given: dict[str, Any]) -> dict[str, Any]:
    """The items of a source's configuration as they are stored, secrets in clear. Raises InvalidError."""
    allowed = [n.removeprefix(f"{kind}_") for n in ITEMS if _of(kind, n) and n not in _ELSEWHERE]
    found = {}
    for key, value in given.items():
        if key not in allowed:
            raise InvalidError(
                f"configuration has no {key[:64]} for kind {kind}{did_you_mean(key[:64], allowed)}"
            )
        found[key] = acceptable(f"{kind}_{key}", value)
    return found


def _title(text: str) -> str:
    if len(text) > 255 or not text.isprintable():
        raise InvalidError("title has at most 255 printable characters")
    return text


def _check_own(connection: Connection, name: str, prefix: str) -> None:
    """Raise ConflictError where another source's users have names that begin so."""
    t = identity_sources.c
    # As names are: two that differ in letters' case only are one.
    query = select(t.name).where(func.lower(t.prefix) == prefix.lower(), t.name != name)
    other = connection.execute(query).scalars().first() if prefix else None
    if other is not None:
        raise ConflictError(f"the prefix {prefix} is that of source {other}")


def _group(text: str) -> str:
    if len(text) > 512 or "\0" in text:
        raise InvalidError("admin_group has at most 512 characters")
    return text


def _place(number: int) -> int:
    if not 0 <= number <= 10000:
        raise InvalidError("position must be between 0 and 10000")
    return number
