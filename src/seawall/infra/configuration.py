"""Configuration that administrators change at run time: Harbor's items that have an effect in Seawall.

A value set through the API is in the database and goes before the default; a default may come from the
settings file. Secrets are sealed under the cluster's secret key and never shown. Every process sees a
change at once on SQLite and within `_SECONDS` on PostgreSQL.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, delete, insert, select

from seawall.infra.db import Database
from seawall.infra.db.together import Also, nothing
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.settings import Settings
from seawall.infra.tables import configurations
from seawall.kernel.errors import ConfigError, ForbiddenError, InvalidError
from seawall.kernel.extras import need
from seawall.kernel.spelling import did_you_mean

_SECONDS = 2.0
Kind = Literal["bool", "int", "string", "password"]


@dataclass(frozen=True, slots=True)
class Item:
    """One item: its type, default, and check (returns what is wrong, or None)."""

    name: str
    kind: Kind
    default: Any
    check: Callable[[Any], str | None] | None = None


def _one_of(*values: Any) -> Callable[[Any], str | None]:
    text = ", ".join(str(v) for v in values)
    return lambda value: None if value in values else f"must be one of {text}"


def _between(low: int, high: int) -> Callable[[Any], str | None]:
    return lambda value: None if low <= value <= high else f"must be between {low} and {high}"


def _matches(pattern: str, message: str) -> Callable[[Any], str | None]:
    return lambda value: None if re.fullmatch(pattern, value) else message


def _json_object(value: str) -> str | None:
    try:
        parsed = json.loads(value or "{}")
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict) or not all(isinstance(v, str) for v in parsed.values()):
        return "must be a JSON object of strings"
    return None


def _regular(value: str) -> str | None:
    try:
        re.compile(value)
    except re.error:
        return "is not a regular expression"
    return None


def _syslog(value: str) -> str | None:
    if value and _HOST_PORT(value) is None and not 0 < int(value.rpartition(":")[2]) < 65536:
        return "must have a port from 1 to 65535"
    return _HOST_PORT(value)


def _banner(value: str) -> str | None:
    return None if len(value) <= 4096 else "has more than 4096 characters"


_URL = _matches(r"|https?://\S{1,500}", "must be an http:// or https:// URL")
_LDAP_URL = _matches(r"|ldaps?://\S{1,500}|[\w.-]+(:\d+)?", "must be an ldap:// or ldaps:// URL")
_HOST_PORT = _matches(r"|[\w.\-\[\]:]+:\d{1,5}", "must be host:port")
_FILTER = _matches(r"|\(.*\)|[^()]+", "must be an LDAP filter")

ITEMS: dict[str, Item] = {
    item.name: item
    for item in (
        Item("auth_mode", "string", "db_auth", _one_of("db_auth", "ldap_auth", "oidc_auth")),
        Item("primary_auth_mode", "bool", False),
        Item("self_registration", "bool", False),
        Item("project_creation_restriction", "string", "everyone", _one_of("everyone", "adminonly")),
        Item("read_only", "bool", False),
        Item("token_expiration", "int", 30, _between(1, 1440)),
        Item("session_timeout", "int", 60, _between(1, 60 * 24 * 30)),
        Item("banner_message", "string", "", _banner),
        Item("notification_enable", "bool", True),
        Item("quota_per_project_enable", "bool", True),
        Item("storage_per_project", "int", -1, lambda v: None if v == -1 or v > 0 else "must be -1 or > 0"),
        Item("robot_token_duration", "int", 30, lambda v: None if v == -1 or v > 0 else "must be -1 or > 0"),
        Item("personal_token_max_days", "int", 365, _between(1, 3650)),
        Item("second_factor_required", "bool", False),
        Item(
            "robot_name_prefix",
            "string",
            "robot$",
            _matches(
                r'[^\s/:,"~#%\\]{1,64}', 'must have 1 to 64 characters without spaces and / : , " ~ # % \\'
            ),
        ),
        Item("pull_count_update_disable", "bool", False),
        Item("pull_time_update_disable", "bool", False),
        Item("pull_audit_log_disable", "bool", False),
        Item("audit_log_forward_endpoint", "string", "", _syslog),
        Item("skip_audit_log_database", "bool", False),
        Item("disabled_audit_log_event_types", "string", ""),
        Item("scanner_skip_update_pulltime", "bool", False),
        Item("ldap_url", "string", "", _LDAP_URL),
        Item("ldap_search_dn", "string", ""),
        Item("ldap_search_password", "password", ""),
        Item("ldap_base_dn", "string", ""),
        Item("ldap_filter", "string", "", _FILTER),
        Item("ldap_uid", "string", "cn", _matches(r"[\w.;-]{1,64}", "must be an attribute name")),
        Item("ldap_scope", "int", 2, _one_of(0, 1, 2)),
        Item("ldap_timeout", "int", 5, _between(1, 60)),
        Item("ldap_verify_cert", "bool", True),
        Item("ldap_group_base_dn", "string", ""),
        Item("ldap_group_search_filter", "string", "", _FILTER),
        Item("ldap_group_attribute_name", "string", ""),
        Item("ldap_group_search_scope", "int", 2, _one_of(0, 1, 2)),
        Item("ldap_group_admin_dn", "string", ""),
        Item("ldap_group_membership_attribute", "string", "memberof"),
        Item("oidc_name", "string", ""),
        Item("oidc_endpoint", "string", "", _URL),
        Item("oidc_client_id", "string", ""),
        Item("oidc_client_secret", "password", ""),
        Item("oidc_scope", "string", ""),
        Item("oidc_user_claim", "string", ""),
        Item("oidc_groups_claim", "string", ""),
        Item("oidc_admin_group", "string", ""),
        Item("oidc_group_filter", "string", "", _regular),
        Item("oidc_auto_onboard", "bool", False),
        Item("oidc_verify_cert", "bool", True),
        Item("oidc_extra_redirect_parms", "string", "{}", _json_object),
        Item("oidc_logout", "bool", False),
    )
}


class Configuration:
    """Reads and writes the items."""

    def __init__(
        self,
        db: Database,
        keys: KeyRing,
        settings: Settings,
        *,
        has_other_users: Callable[[Connection], bool],
    ) -> None:
        """`has_other_users`: whether there are users other than the admin who would lose their way in.

        Raises ConfigError for an item of `settings.configuration` that does not exist or is not acceptable.
        """
        self._db = db
        self._has_other_users = has_other_users
        self._keys = keys
        self._defaults = {
            "token_expiration": settings.auth.token_minutes,
            # Fractions of a minute are for tests; whole minutes are what the API can say.
            "session_timeout": settings.auth.session_idle_minutes,
        }
        self._fixed = fixed_items(settings)
        self._cached: dict[str, Any] | None = None
        # Whether what is cached may be old. It stays until there is newer: `current` is asked meanwhile.
        self._stale = False
        self._token: int | None = None
        self._until = 0.0

    async def all(self) -> dict[str, Any]:
        """Every item's value in force, secrets in clear: for services, never for an answer."""
        token = self._db.change_token()
        current = not (self._cached is None or self._stale) and (
            token == self._token if token is not None else time.monotonic() < self._until
        )
        if not current:
            self._stale = False
            stored = await self._db.point(_stored)
            self._cached = {name: self._value(item, stored) for name, item in ITEMS.items()}
            self._token, self._until = token, time.monotonic() + _SECONDS
        assert self._cached is not None
        return self._cached

    async def reread(self) -> dict[str, Any]:
        """`all` as the database has it now: what an administrator has just saved elsewhere is in it."""
        self._stale = True
        return await self.all()

    @property
    def current(self) -> dict[str, Any]:
        """What `all` gave last, for code inside a transaction; the defaults before that."""
        if self._cached is not None:
            return self._cached
        return {name: self._value(item, {}) for name, item in ITEMS.items()}

    @property
    def fixed(self) -> frozenset[str]:
        """Names of the items that the settings decide (Harbor's CONFIG_OVERWRITE_JSON)."""
        return frozenset(self._fixed)

    async def get(self, name: str) -> Any:
        """One item's value in force."""
        return (await self.all())[name]

    def _value(self, item: Item, stored: dict[str, Any]) -> Any:
        if item.name in self._fixed:
            return self._fixed[item.name]
        if item.name not in stored:
            return self._defaults.get(item.name, item.default)
        value = stored[item.name]
        if item.kind == "password" and value:
            return self._keys.decrypt("configuration", value).decode()
        return value

    async def set(self, values: dict[str, Any], *, also: Also = nothing) -> None:
        """Change items, all or none.

        Raises InvalidError naming the first that is not acceptable, ForbiddenError for what settings fix,
        MissingExtraError for a mode whose packages are not installed.
        """
        checked = {name: acceptable(name, value) for name, value in values.items()}
        for name in sorted(self._fixed.keys() & checked):
            if checked[name] != self._fixed[name]:
                raise ForbiddenError(f"{name} is set by `configuration` in the settings; change it there")
            del checked[name]
        mode = checked.get("auth_mode")
        _need_of(mode)
        rows = []
        for name, value in checked.items():
            if ITEMS[name].kind == "password" and value:
                value = self._keys.encrypt("configuration", value.encode())
            rows.append({"name": name, "value": value, "updated_at": time.time()})

        def store_items(connection: Connection) -> None:
            before = _stored(connection).get("auth_mode", "db_auth")
            if mode is not None and mode != before and self._has_other_users(connection):
                raise InvalidError(
                    "auth_mode cannot be changed when there are users other than admin who are of no further "
                    "source (seawall user link)"
                )
            if {"skip_audit_log_database", "audit_log_forward_endpoint"} & checked.keys():
                after = {**_stored(connection), **checked}
                if after.get("skip_audit_log_database") and not after.get("audit_log_forward_endpoint"):
                    raise InvalidError("skip_audit_log_database needs audit_log_forward_endpoint")
            if rows:
                connection.execute(delete(configurations).where(configurations.c.name.in_(checked)))
                connection.execute(insert(configurations), rows)

        await self._db.write(store_items, also=also)
        # The audit entry of this change goes where the items now say.
        await self.reread()


def acceptable(name: str, value: Any) -> Any:
    """The value of an item as it is stored (a password in clear). Raises InvalidError."""
    item = ITEMS.get(name)
    if item is None:
        raise InvalidError(f"unknown configuration item: {name[:100]}{did_you_mean(name[:100], ITEMS)}")
    if item.kind == "bool":
        if isinstance(value, str) and value.lower() in ("true", "false"):
            value = value.lower() == "true"
        if not isinstance(value, bool):
            raise InvalidError(f"{name} must be true or false")
    elif item.kind == "int":
        if isinstance(value, str) and re.fullmatch(r"-?\d{1,18}", value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**63:
            raise InvalidError(f"{name} must be a number")
    elif not isinstance(value, str) or len(value) > 8192 or "\0" in value:
        raise InvalidError(f"{name} must be a string of at most 8192 characters")
    problem = item.check(value) if item.check else None
    if problem:
        raise InvalidError(f"{name} {problem}")
    return value


def fixed_items(settings: Settings) -> dict[str, Any]:
    """The items that the settings decide. Raises ConfigError."""
    found = {}
    for name, value in settings.configuration.items():
        if name not in ITEMS:
            raise ConfigError(f"configuration.{name[:100]}: unknown item{did_you_mean(name[:100], ITEMS)}")
        try:
            found[name] = acceptable(name, value)
        except InvalidError as error:
            raise ConfigError(f"configuration: {error}") from None
    _need_of(found.get("auth_mode"))
    return found


def _need_of(mode: str | None) -> None:
    extra = {"ldap_auth": "ldap", "oidc_auth": "oidc"}.get(mode or "")
    if extra is not None:
        need(extra, f"auth_mode {mode}")


def _stored(connection: Connection) -> dict[str, Any]:
    rows = connection.execute(select(configurations.c.name, configurations.c.value))
    return {row[0]: row[1] for row in rows}
