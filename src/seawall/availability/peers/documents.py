"""What is kept equal between peers, as documents by natural key.

Row ids differ from one database to another, so a document names other things as people do: a member is the
project's name, the user's name and a role. A key is a JSON list of such names. Stored secrets are opened for
the way (messages are sealed, see `wire`) and sealed again under the keys of the instance they come to.

Not here, because it is of one instance: the audit log, jobs and executions, scan reports and advisories,
pull counts, failed logins.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, delete, insert, select, update

from seawall.availability.peers import schema as t
from seawall.infra.jobs.service import JobService
from seawall.infra.secrets.keyring import KeyRing
from seawall.kernel.errors import ConfigError

Document = dict[str, Any]
_SEALED = re.compile(r"sealed:v\d+:([a-z0-9.-]{1,64}):[A-Za-z0-9_-]+={0,2}")
# Sessions say at this grain when they were last used, so that using one is not a change each time.
_SEEN_GRAIN = 300
# What every installation has; as long as nobody changed it, it loses against what somebody did.
_FROM_THE_START = (("user", "admin"), ("project", "library"))


class MissingError(Exception):
    """A document refers to something that is not here (yet)."""


@dataclass(slots=True)
class Context:
    """What documents need beside a connection."""

    keys: KeyRing
    jobs: JobService
    _known: tuple[tuple[str, ...], list[bytes]] | None = None

    def digest(self, document: Document) -> str:
        """Tells documents apart; keyed, because some hold secrets that could be guessed."""
        return self.digests(document)[0]

    def digests(self, document: Document) -> list[str]:
        """`digest` under every master key that is held, the one in use first."""
        kept = {name: value for name, value in document.items() if not name.startswith("+")}
        data = json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()
        keys = self._digest_keys()
        return [hmac.digest(key, data, "sha256").hex()[:40] for key in keys]

    def _digest_keys(self) -> list[bytes]:
        # Deriving costs more than using, and every comparison does it.
        held = (self.keys.masters.fingerprint, *self.keys.masters.fingerprints)
        if self._known is None or self._known[0] != held:
            self._known = (held, list(self.keys.masters.peer_keys("digest").values()))
        return self._known[1]


@dataclass(frozen=True, slots=True)
class Kind:
    """Entities of one kind, one a row of `table`.

    `key`: columns whose values (names, for `refs`) make up the natural key. `refs`: kind that a column
    refers to. `columns`: what a document has. `extra`: carried along, but a difference in it alone is no
    change. `defaults`: values of columns that only a new row gets. `where`: which rows count. `unique`:
    other columns that the database wants distinct. `permanent`: rows are never deleted for a peer.
    """

    name: str
    table: Table
    key: tuple[str, ...]
    columns: tuple[str, ...] = ()
    refs: dict[str, str] = field(default_factory=dict)
    extra: tuple[str, ...] = ("created_at", "updated_at")
    defaults: dict[str, Any] = field(default_factory=dict)
    where: Callable[[], ColumnElement[bool]] | None = None
    unique: tuple[tuple[str, ...], ...] = ()
    permanent: bool = False
    # Things of a project go with it.
    project: str = ""
    changed: Callable[[Connection, Context, Any], None] | None = None

    # -- reading ---------------------------------------------------------------------------------------

    def rows(self, connection: Connection) -> Iterator[Any]:
        """Every row (several may be one entity)."""
        query = select(self.table)
        if self.where is not None:
            query = query.where(self.where())
        yield from connection.execute(query)

    def by_row_key(self, connection: Connection, row_key: dict[str, Any]) -> Any:
        """The row with that primary key."""
        query = select(self.table).where(*(self.table.c[name] == value for name, value in row_key.items()))
        if self.where is not None:
            query = query.where(self.where())
        return connection.execute(query).first()

    def row_key(self, row: Any) -> str:
        """The primary key of a row, as text."""
        names = [column.name for column in self.table.primary_key.columns]
        found = {name: row._mapping[name] for name in names}
        return json.dumps(found, separators=(",", ":"), sort_keys=True)

    def key_of(self, connection: Connection, row: Any, names: Names) -> list[Any]:
        """The natural key of a row."""
        return [
            names.key(connection, self.refs[part], row._mapping[part])
            if part in self.refs
            else row._mapping[part]
            for part in self.key
        ]

    def find(self, connection: Connection, key: list[Any], names: Names) -> Any:
        """The row of that natural key, None when there is none."""
        conditions: list[ColumnElement[bool]] = []
        for part, value in zip(self.key, key, strict=True):
            column = self.table.c[part]
            if value is None:
                conditions.append(column.is_(None))
                continue
            if part in self.refs:
                value = names.id(connection, self.refs[part], value)
                if value is None:
                    return None
            conditions.append(column == value)
        query = select(self.table).where(*conditions)
        if self.where is not None:
            query = query.where(self.where())
        return connection.execute(query).first()

    def document(self, connection: Connection, context: Context, row: Any, names: Names) -> Document:
        """What a row says."""
        values = row._mapping
        found: Document = {}
        for name in self.columns:
            if name in self.refs:
                found[name] = names.key(connection, self.refs[name], values[name])
            else:
                found[name] = opened(values[name], context.keys)
        for name in self.extra:
            if name in self.table.c:
                found["+" + name] = opened(values[name], context.keys)
        return found

    def stamp(self, row: Any) -> float:
        """When the row was last changed (Unix seconds), 0 for one that comes with every installation."""
        values = row._mapping
        found = values.get("updated_at") or values.get("pushed_at") or values.get("created_at") or 0.0
        untouched = values.get("created_at") == values.get("updated_at")
        if untouched and (self.name, values.get("username", values.get("name"))) in _FROM_THE_START:
            return 0.0
        return float(found)

    # -- writing ---------------------------------------------------------------------------------------

    def values(
        self, connection: Connection, context: Context, key: list[Any], document: Document, names: Names
    ) -> dict[str, Any]:
        """Column values of a document. Raises MissingError."""
        found: dict[str, Any] = {}
        # A peer of an older version does not know every column: what is here stays then.
        told = [(name, document[name]) for name in self.columns if name in document]
        for part, value in [*zip(self.key, key, strict=True), *told]:
            if part in self.refs and value is not None:
                found[part] = names.id(connection, self.refs[part], value)
                if found[part] is None:
                    raise MissingError(f"{self.refs[part]} {show(value)} is not here")
            else:
                found[part] = sealed(value, context.keys)
        for name in self.extra:
            if "+" + name in document and name in self.table.c:
                found[name] = sealed(document["+" + name], context.keys)
        return found

    def put(
        self, connection: Connection, context: Context, key: list[Any], document: Document, names: Names
    ) -> None:
        """Make the row say what the document says. Raises MissingError, IntegrityError."""
        values = self.values(connection, context, key, document, names)
        row = self.find(connection, key, names)
        primary = [column.name for column in self.table.primary_key.columns]
        if row is None:
            connection.execute(insert(self.table).values(**{**self.defaults, **values}))
        else:
            changes = {name: value for name, value in values.items() if name not in primary}
            where = [self.table.c[name] == row._mapping[name] for name in primary]
            if changes:
                connection.execute(update(self.table).where(*where).values(**changes))
        if self.changed is not None:
            self.changed(connection, context, self.find(connection, key, names))

    def drop(self, connection: Connection, context: Context, row: Any) -> None:
        """Delete a row."""
        where = [column == row._mapping[column.name] for column in self.table.primary_key.columns]
        connection.execute(delete(self.table).where(*where))
        for schedule in ("retention", "replication", "preheat"):
            if self.table.name == f"{schedule}_policies":
                context.jobs.set_schedule_in(connection, f"{schedule}:{row.id}", None, schedule, {})


class Names:
    """Natural keys of rows and back, remembered within one transaction."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, Any], Any] = {}

    def key(self, connection: Connection, kind: str, row_id: Any) -> Any:
        """The natural key of the row with that id (a plain name where that is all), None for none."""
        if not row_id:
            return None
        place = (kind, row_id)
        if place not in self._keys:
            found = KINDS[kind]
            row = connection.execute(select(found.table).where(found.table.c.id == row_id)).first()
            key = None if row is None else found.key_of(connection, row, self)
            self._keys[place] = key[0] if key is not None and len(key) == 1 else key
        return self._keys[place]

    def id(self, connection: Connection, kind: str, key: Any) -> Any:
        """The id of the row with that natural key, None when it is not here."""
        found = KINDS[kind]
        row = found.find(connection, [key] if len(found.key) == 1 else list(key), self)
        return None if row is None else row._mapping["id"]


class RuleKind(Kind):
    """Immutable-tag rules have no names: what a rule says is its key."""

    def key_of(self, connection: Connection, row: Any, names: Names) -> list[Any]:
        """See Kind.key_of."""
        text = json.dumps(row.rule, sort_keys=True).encode()
        return [names.key(connection, "project", row.project_id), hashlib.sha256(text).hexdigest()[:24]]

    def find(self, connection: Connection, key: list[Any], names: Names) -> Any:
        """See Kind.find; of equal rules the first counts."""
        project = names.id(connection, "project", key[0])
        rows = connection.execute(
            select(self.table).where(self.table.c.project_id == project).order_by(self.table.c.id)
        )
        return next((row for row in rows if self.key_of(connection, row, names) == key), None)

    def values(
        self, connection: Connection, context: Context, key: list[Any], document: Document, names: Names
    ) -> dict[str, Any]:
        """See Kind.values."""
        found: dict[str, Any] = {name: document[name] for name in self.columns}
        found["project_id"] = names.id(connection, "project", key[0])
        if found["project_id"] is None:
            raise MissingError(f"project {key[0]} is not here")
        return found | {name: document["+" + name] for name in self.extra}


class RobotKind(Kind):
    """Robot accounts: who made one is a user or a robot."""

    def document(self, connection: Connection, context: Context, row: Any, names: Names) -> Document:
        """See Kind.document."""
        found = Kind.document(self, connection, context, row, names)
        kind = "robot" if row.creator_type == "robot" else "user"
        found["+creator"] = names.key(connection, kind, row.creator_id)
        return found

    def values(
        self, connection: Connection, context: Context, key: list[Any], document: Document, names: Names
    ) -> dict[str, Any]:
        """See Kind.values; an unknown maker is nobody."""
        found = Kind.values(self, connection, context, key, document, names)
        creator = document.get("+creator")
        kind = "robot" if document["creator_type"] == "robot" else "user"
        found["creator_id"] = (names.id(connection, kind, creator) if creator is not None else None) or 0
        return found


class DefaultScannerKind(Kind):
    """Which scanner is the default: one entity, so that two instances cannot each have their own."""

    def key_of(self, connection: Connection, row: Any, names: Names) -> list[Any]:
        """See Kind.key_of."""
        return ["default"]

    def find(self, connection: Connection, key: list[Any], names: Names) -> Any:
        """See Kind.find."""
        return connection.execute(select(t.scanners).where(t.scanners.c.is_default)).first()

    def put(
        self, connection: Connection, context: Context, key: list[Any], document: Document, names: Names
    ) -> None:
        """See Kind.put."""
        row = connection.execute(select(t.scanners).where(t.scanners.c.uuid == document["uuid"])).first()
        if row is None:
            raise MissingError(f"scanner {document['uuid']} is not here")
        connection.execute(update(t.scanners).values(is_default=t.scanners.c.id == row.id))


class ScheduleKind(Kind):
    """Schedules of the system."""

    def put(
        self, connection: Connection, context: Context, key: list[Any], document: Document, names: Names
    ) -> None:
        """See Kind.put."""
        name = key[0]
        context.jobs.set_schedule_in(connection, name, document["cron"], document["kind"], document["args"])
        where = t.job_schedules.c.name == name
        connection.execute(update(t.job_schedules).where(where).values(enabled=document["enabled"]))


class SessionKind(Kind):
    """Portal sessions; the database of each instance has them all, so any serves any."""

    def document(self, connection: Connection, context: Context, row: Any, names: Names) -> Document:
        """See Kind.document."""
        found = Kind.document(self, connection, context, row, names)
        found["seen_at"] = float(int(row.seen_at) // _SEEN_GRAIN * _SEEN_GRAIN)
        return found

    def values(
        self, connection: Connection, context: Context, key: list[Any], document: Document, names: Names
    ) -> dict[str, Any]:
        """See Kind.values; a use that is known here and later stays."""
        found = Kind.values(self, connection, context, key, document, names)
        row = self.find(connection, key, names)
        seen = found["seen_at"] if row is None else max(row.seen_at, found["seen_at"])
        # Within the grain it may have been used at any time, up to now.
        found["seen_at"] = max(seen, min(time.time(), found["seen_at"] + _SEEN_GRAIN - 1))
        return found


class ClusterKeyKind(Kind):
    """Keys: every instance has its own and accepts those of all. Only their maker changes or retires them."""

    def key_of(self, connection: Connection, row: Any, names: Names) -> list[Any]:
        """See Kind.key_of."""
        return [row.name, row.fingerprint]

    def find(self, connection: Connection, key: list[Any], names: Names) -> Any:
        """See Kind.find."""
        table = t.cluster_keys
        query = select(table).where(table.c.name == key[0], table.c.fingerprint == key[1])
        return connection.execute(query.order_by(table.c.version.desc())).first()

    def document(self, connection: Connection, context: Context, row: Any, names: Names) -> Document:
        """See Kind.document."""
        plain = context.keys.open_material(row.name, row.material)
        return {
            "material": base64.b64encode(plain).decode(),
            "public": row.public,
            "retire_at": row.retire_at,
            "+created_at": row.created_at,
            "+active_at": row.active_at,
        }

    def put(
        self, connection: Connection, context: Context, key: list[Any], document: Document, names: Names
    ) -> None:
        """See Kind.put."""
        context.keys.rotation.accept(
            connection,
            key[0],
            key[1],
            base64.b64decode(document["material"]),
            document["public"],
            created_at=document["+created_at"],
            retire_at=document["retire_at"],
        )


class TufKind(Kind):
    """A Notary collection, as one: its metadata of all versions and the keys that the server has for it."""

    def key_of(self, connection: Connection, row: Any, names: Names) -> list[Any]:
        """See Kind.key_of."""
        return [row.gun]

    def find(self, connection: Connection, key: list[Any], names: Names) -> Any:
        """See Kind.find."""
        for table in (t.tuf_keys, t.tuf_metadata):
            row = connection.execute(select(table).where(table.c.gun == key[0]).order_by(table.c.id)).first()
            if row is not None:
                return row
        return None

    def rows(self, connection: Connection) -> Iterator[Any]:
        """See Kind.rows."""
        for table in (t.tuf_metadata, t.tuf_keys):
            yield from connection.execute(select(table))

    def row_key(self, row: Any) -> str:
        """See Kind.row_key."""
        return json.dumps({"gun": row.gun})

    def document(self, connection: Connection, context: Context, row: Any, names: Names) -> Document:
        """See Kind.document."""

        def records(table: Table, *order: str) -> list[dict[str, Any]]:
            query = select(table).where(table.c.gun == row.gun).order_by(*(table.c[name] for name in order))
            return [
                {
                    name: _packed(opened(value, context.keys))
                    for name, value in item._mapping.items()
                    if name not in ("id", "project_id", "gun")
                }
                for item in connection.execute(query)
            ]

        return {"metadata": records(t.tuf_metadata, "role", "version"), "keys": records(t.tuf_keys, "key_id")}

    def put(
        self, connection: Connection, context: Context, key: list[Any], document: Document, names: Names
    ) -> None:
        """See Kind.put; change feed entries of the collection are written for what is new."""
        gun = key[0]
        project = names.id(connection, "project", gun.partition("/")[0])
        if project is None:
            raise MissingError(f"project of {gun} is not here")
        old = {
            row.sha256
            for row in connection.execute(select(t.tuf_metadata.c.sha256).where(t.tuf_metadata.c.gun == gun))
        }
        for table, records in ((t.tuf_metadata, document["metadata"]), (t.tuf_keys, document["keys"])):
            connection.execute(delete(table).where(table.c.gun == gun))
            for record in records:
                values = {name: sealed(_unpacked(value), context.keys) for name, value in record.items()}
                connection.execute(insert(table).values(gun=gun, project_id=project, **values))
        for record in document["metadata"]:
            if record["role"] == "timestamp" and record["sha256"] not in old:
                connection.execute(
                    insert(t.tuf_changes).values(
                        gun=gun,
                        version=record["version"],
                        sha256=record["sha256"],
                        category="update",
                        created_at=time.time(),
                    )
                )

    def drop(self, connection: Connection, context: Context, row: Any) -> None:
        """See Kind.drop."""
        for table in (t.tuf_metadata, t.tuf_keys):
            connection.execute(delete(table).where(table.c.gun == row.gun))


class ManifestKind(Kind):
    """Manifests by repository and digest; their bytes come by `content`, not with the document."""

    def find(self, connection: Connection, key: list[Any], names: Names) -> Any:
        """See Kind.find."""
        query = (
            select(t.manifests)
            .join(t.repositories, t.repositories.c.id == t.manifests.c.repository_id)
            .where(t.repositories.c.name == key[0], t.manifests.c.digest == key[1])
        )
        return connection.execute(query).first()


class TagKind(Kind):
    """Tags: what digest one stands for."""

    def find(self, connection: Connection, key: list[Any], names: Names) -> Any:
        """See Kind.find."""
        query = (
            select(t.tags)
            .join(t.repositories, t.repositories.c.id == t.tags.c.repository_id)
            .where(t.repositories.c.name == key[0], t.tags.c.name == key[1])
        )
        return connection.execute(query).first()

    def document(self, connection: Connection, context: Context, row: Any, names: Names) -> Document:
        """See Kind.document."""
        query = select(t.manifests.c.digest).where(t.manifests.c.id == row.manifest_id)
        return {"digest": connection.execute(query).scalar(), "pushed_at": row.pushed_at}


def opened(value: Any, keys: KeyRing) -> Any:
    """The value with sealed texts replaced by what is in them."""
    if isinstance(value, str):
        match = _SEALED.fullmatch(value)
        if match is None:
            return value
        try:
            plain = keys.decrypt(match[1], value)
        except ConfigError:
            # Unreadable here, it is nothing that a peer could use.
            return None
        return {"$sealed": [match[1], base64.b64encode(plain).decode()]}
    if isinstance(value, dict):
        return {name: opened(item, keys) for name, item in value.items()}
    if isinstance(value, list):
        return [opened(item, keys) for item in value]
    return value


def sealed(value: Any, keys: KeyRing) -> Any:
    """Reverse of `opened`, under the keys that are here."""
    if isinstance(value, dict):
        if set(value) == {"$sealed"}:
            purpose, data = value["$sealed"]
            return keys.encrypt(purpose, base64.b64decode(data))
        return {name: sealed(item, keys) for name, item in value.items()}
    if isinstance(value, list):
        return [sealed(item, keys) for item in value]
    return value


def _packed(value: Any) -> Any:
    return {"$bytes": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"$bytes"}:
        return base64.b64decode(value["$bytes"])
    return value


def show(key: Any) -> str:
    """A natural key for people: `library/app:v1`."""
    if isinstance(key, list):
        parts = [show(part) for part in key if part not in (None, "")]
        if len(parts) == 2 and re.fullmatch(r"sha\d+:[0-9a-f]+", parts[1]):
            return "@".join(parts)
        return ":".join(parts)
    return str(key)


def shown_document(document: Document | None) -> Document | None:
    """A document for people: without what is secret."""
    if document is None:
        return None
    hidden = {"password_hash", "secret_hash", "material", "access_key", "credential"}

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            if set(value) & {"$sealed", "$bytes"}:
                return "(set)"
            return {k: "(set)" if k in hidden and v else clean(v) for k, v in value.items()}
        return [clean(item) for item in value] if isinstance(value, list) else value

    return {name.removeprefix("+"): value for name, value in clean(document).items()}


def _retention_schedule(connection: Connection, context: Context, row: Any) -> None:
    context.jobs.set_schedule_in(
        connection, f"retention:{row.id}", row.cron or None, "retention-schedule", {"policy": row.id}
    )


def _replication_schedule(connection: Connection, context: Context, row: Any) -> None:
    cron = row.cron if row.trigger_type == "scheduled" and row.enabled else None
    context.jobs.set_schedule_in(connection, f"replication:{row.id}", cron, "replication", {"policy": row.id})


def _preheat_schedule(connection: Connection, context: Context, row: Any) -> None:
    cron = row.cron if row.trigger_type == "scheduled" and row.enabled else None
    context.jobs.set_schedule_in(connection, f"preheat:{row.id}", cron, "preheat", {"policy": row.id})


_PROJECT = {"project_id": "project"}
_WHEN = ("created_at", "updated_at")

# In the order in which they can be made: each after what it refers to.
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        ClusterKeyKind("key", t.cluster_keys, ("name", "fingerprint"), permanent=True),
        Kind("setting", t.configurations, ("name",), ("value",)),
        Kind(
            "user",
            t.users,
            ("username",),
            ("email", "realname", "comment", "password_hash", "sysadmin"),
        ),
        Kind(
            "oidc-user",
            t.oidc_users,
            ("user_id",),
            ("issuer", "subject", "secret", "token"),
            {"user_id": "user"},
            unique=(("issuer", "subject"),),
        ),
        Kind("group", t.user_groups, ("name", "type", "ldap_group_dn")),
        Kind(
            "group-member",
            t.user_group_members,
            ("user_id", "group_id"),
            (),
            {"user_id": "user", "group_id": "group"},
            extra=(),
        ),
        Kind(
            "registry",
            t.registries,
            ("name",),
            (
                "description",
                "type",
                "url",
                "credential_type",
                "access_key",
                "access_secret",
                "insecure",
                "ca_certificate",
            ),
            defaults={"status": "healthy"},
        ),
        Kind(
            "project",
            t.projects,
            ("name",),
            ("owner_id", "registry_id", "public"),
            {"owner_id": "user", "registry_id": "registry"},
        ),
        Kind(
            "project-setting",
            t.project_metadata,
            ("project_id", "name"),
            ("value",),
            _PROJECT,
            extra=(),
            project="project_id",
        ),
        Kind(
            "quota",
            t.quotas,
            ("project_id",),
            ("hard_storage",),
            _PROJECT,
            defaults={"used_storage": 0},
            permanent=True,
            project="project_id",
        ),
        Kind(
            "member",
            t.project_members,
            ("project_id", "user_id", "group_id"),
            ("role",),
            {**_PROJECT, "user_id": "user", "group_id": "group"},
            extra=(),
            project="project_id",
        ),
        RobotKind(
            "robot",
            t.robots,
            ("name",),
            (
                "project_id",
                "description",
                "secret_hash",
                "permissions",
                "disabled",
                "duration",
                "expires_at",
                "creator_type",
            ),
            _PROJECT,
            where=lambda: t.robots.c.creator_type != "scanner",
            project="project_id",
        ),
        Kind(
            "label",
            t.labels,
            ("project_id", "name"),
            ("description", "color"),
            _PROJECT,
            project="project_id",
        ),
        Kind(
            "allowlist",
            t.cve_allowlists,
            ("project_id",),
            ("expires_at", "items"),
            _PROJECT,
            project="project_id",
        ),
        RuleKind(
            "immutable-rule",
            t.immutable_rules,
            ("project_id", "rule"),
            ("disabled", "priority", "rule"),
            _PROJECT,
            project="project_id",
        ),
        Kind(
            "retention",
            t.retention_policies,
            ("project_id",),
            ("algorithm", "rules", "cron"),
            _PROJECT,
            project="project_id",
            changed=_retention_schedule,
        ),
        Kind(
            "webhook",
            t.webhook_policies,
            ("project_id", "name"),
            (
                "description",
                "target_type",
                "address",
                "skip_verify",
                "payload_format",
                "event_types",
                "creator",
                "enabled",
                "secret",
            ),
            _PROJECT,
            project="project_id",
        ),
        Kind(
            "trusted-key",
            t.trusted_keys,
            ("project_id", "name"),
            ("kind", "pem", "fingerprint", "identities"),
            _PROJECT,
            unique=(("project_id", "fingerprint"),),
            project="project_id",
        ),
        Kind(
            "scanner",
            t.scanners,
            ("uuid",),
            (
                "name",
                "description",
                "url",
                "auth",
                "credential",
                "disabled",
                "skip_cert_verify",
                "use_internal_addr",
            ),
            unique=(("name",), ("url",)),
            defaults={"is_default": False},
        ),
        DefaultScannerKind(
            "default-scanner",
            t.scanners,
            ("uuid",),
            ("uuid",),
            extra=(),
            where=lambda: t.scanners.c.is_default,
            permanent=True,
        ),
        Kind(
            "project-scanner",
            t.project_scanners,
            ("project_id",),
            ("scanner",),
            _PROJECT,
            extra=(),
            project="project_id",
        ),
        Kind(
            "replication-policy",
            t.replication_policies,
            ("name",),
            (
                "description",
                "src_registry_id",
                "dest_registry_id",
                "dest_namespace",
                "dest_namespace_replace_count",
                "trigger_type",
                "cron",
                "filters",
                "replicate_deletion",
                "override",
                "enabled",
                "speed",
                "copy_by_chunk",
                "single_active",
            ),
            {"src_registry_id": "registry", "dest_registry_id": "registry"},
            changed=_replication_schedule,
        ),
        Kind(
            "preheat-instance",
            t.preheat_instances,
            ("name",),
            (
                "description",
                "vendor",
                "endpoint",
                "auth_mode",
                "auth_info",
                "enabled",
                "is_default",
                "insecure",
            ),
            extra=("created_at",),
            unique=(("endpoint",),),
        ),
        Kind(
            "preheat-policy",
            t.preheat_policies,
            ("project_id", "name"),
            (
                "provider_id",
                "description",
                "filters",
                "trigger_type",
                "cron",
                "enabled",
                "extra_attrs",
            ),
            {**_PROJECT, "provider_id": "preheat-instance"},
            project="project_id",
            changed=_preheat_schedule,
        ),
        ScheduleKind(
            "schedule",
            t.job_schedules,
            ("name",),
            ("cron", "kind", "args", "enabled"),
            extra=(),
            where=lambda: t.job_schedules.c.name.like("system:%"),
        ),
        SessionKind(
            "session",
            t.sessions,
            ("id_hash",),
            ("user_id", "seen_at", "expires_at", "address", "agent", "data"),
            {"user_id": "user"},
            extra=("created_at",),
        ),
        TufKind("notary", t.tuf_metadata, ("gun",), project="project_id"),
        Kind(
            "repository",
            t.repositories,
            ("name",),
            ("description", "project_id"),
            _PROJECT,
            project="project_id",
        ),
        ManifestKind(
            "manifest",
            t.manifests,
            ("repository_id", "digest"),
            ("media_type", "pushed_at"),
            {"repository_id": "repository"},
            extra=(),
        ),
        TagKind(
            "tag",
            t.tags,
            ("repository_id", "name"),
            ("digest", "pushed_at"),
            {"repository_id": "repository"},
            extra=(),
        ),
        # What lost is told to all, whichever of them noticed.
        Kind(
            "conflict",
            t.peer_conflicts,
            ("kind", "key", "dropped_version"),
            ("kept_version", "note", "dropped"),
            extra=("at", "kept"),
            permanent=True,
        ),
        Kind(
            "artifact-label",
            t.manifest_labels,
            ("manifest_id", "label_id"),
            (),
            {"manifest_id": "manifest", "label_id": "label"},
            extra=("created_at",),
        ),
    )
}
ORDER = {name: number for number, name in enumerate(KINDS)}
CONTENT = frozenset({"repository", "manifest", "tag"})
TABLES: dict[str, list[Kind]] = {}
for _kind in KINDS.values():
    TABLES.setdefault(_kind.table.name, []).append(_kind)
TABLES["tuf_keys"] = [KINDS["notary"]]
__all__ = ["CONTENT", "KINDS", "ORDER", "TABLES", "Context", "Document", "Kind", "MissingError", "Names"]
