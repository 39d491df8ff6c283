"""Kinds of entities whose documents are more than the columns of a row."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, select, update

from seawall.access import robots
from seawall.availability.peers import schema as t
from seawall.availability.peers.documents import Facet, Kind, Names, opened, sealed
from seawall.availability.peers.model import Context, Document, MissingError

# Sessions say at this grain when they were last used, so that using one is not a change each time.
SEEN_GRAIN = 300


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
        # When they were given is said by each instance's own times of its projects.
        found["permissions"] = [
            {name: value for name, value in item.items() if name != "since"}
            for item in robots.live(connection, row.permissions)
        ]
        return found

    def values(
        self, connection: Connection, context: Context, key: list[Any], document: Document, names: Names
    ) -> dict[str, Any]:
        """See Kind.values; an unknown maker is nobody."""
        found = Kind.values(self, connection, context, key, document, names)
        creator = document.get("+creator")
        kind = "robot" if document["creator_type"] == "robot" else "user"
        found["permissions"] = robots.dated(connection, document["permissions"], time.time())
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

    def values(
        self, connection: Connection, context: Context, key: list[Any], document: Document, names: Names
    ) -> dict[str, Any]:
        """See Kind.values; a new one was last used when it was made."""
        found = Kind.values(self, connection, context, key, document, names)
        row = connection.execute(select(self.table).where(self.table.c.id_hash == key[0])).first()
        found["seen_at"] = max(found["created_at"], 0.0 if row is None else row.seen_at)
        return found


class SessionUseKind(Facet):
    """When sessions were last used. Signing out is a change of the session: no later use takes it back."""

    def document(self, connection: Connection, context: Context, row: Any, names: Names) -> Document:
        """See Kind.document."""
        return {"seen_at": float(int(row.seen_at) // SEEN_GRAIN * SEEN_GRAIN)}

    def values(
        self, connection: Connection, context: Context, key: list[Any], document: Document, names: Names
    ) -> dict[str, Any]:
        """See Kind.values; a use that is known here and later stays."""
        found = Kind.values(self, connection, context, key, document, names)
        row = connection.execute(select(self.table).where(self.table.c.id_hash == key[0])).first()
        # Within the grain it may have been used at any time, up to now.
        seen = min(time.time(), found["seen_at"] + SEEN_GRAIN - 1)
        found["seen_at"] = seen if row is None else max(row.seen_at, seen)
        return found


class TokenUseKind(Facet):
    """When tokens of users were last used, and from where; the later use stays."""

    def put(
        self, connection: Connection, context: Context, key: list[Any], document: Document, names: Names
    ) -> None:
        """See Kind.put."""
        row = self.find(connection, key, names)
        if row is None or row.last_used_at < document["last_used_at"]:
            Facet.put(self, connection, context, key, document, names)


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


class RepositoryKind(Kind):
    """Repositories: one that has held a manifest exists, wherever that is now."""

    def values(
        self, connection: Connection, context: Context, key: list[Any], document: Document, names: Names
    ) -> dict[str, Any]:
        """See Kind.values; the later push stays."""
        found = Kind.values(self, connection, context, key, document, names)
        row = self.find(connection, key, names)
        pushed = [found.get("pushed_at"), None if row is None else row.pushed_at]
        found["pushed_at"] = max((at for at in pushed if at is not None), default=None)
        return found


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


def _packed(value: Any) -> Any:
    return {"$bytes": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"$bytes"}:
        return base64.b64decode(value["$bytes"])
    return value
