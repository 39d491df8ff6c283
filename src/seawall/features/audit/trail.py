"""The audit log: who changed what, when, from where.

`AuditTrail.record` writes an entry in the transaction of the change it tells of. Entries are never changed;
the purge job deletes old ones. With `audit_log_forward_endpoint` set, each entry also goes to a syslog
server (over TCP, a line each, as Harbor sends them), through the outbox: at least once, in spite
of crashes and of a syslog server that is away.

What a change made over the API is called is known only when its handler is done, so its entry is written
in a transaction of its own. An `Intent` is written with the change, and deleted with the entry; `recover`
makes entries of those whose server died in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import os
import re
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, insert, or_, select

from seawall.access.projects import ids_of
from seawall.features.audit.tables import audit_intents, audit_log
from seawall.infra.configuration import Configuration
from seawall.infra.db import Database
from seawall.infra.db.batch import later
from seawall.infra.db.dialect import upsert
from seawall.infra.jobs.base import JobContext
from seawall.infra.outbox.events import Subscribers
from seawall.kernel.context import Actor, actor
from seawall.registry.hooks import ContentHook, Deletion, Push
from seawall.registry.model import StoredManifest

PURGE_SCHEDULE = "system:purge-audit"
SYSLOG_EVENT = "AUDIT"
_SYSLOG_SECONDS = 10.0
_SYSLOG_READS_SECONDS = 1.0
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_PURGE_BATCH = 5000
# Built once (see `seawall.infra.db.batch.Asked`).
_INSERT = insert(audit_log)
# Longer than any request takes to its audit entry.
_INTENT_SECONDS = 120.0
# Kinds that `disabled_audit_log_event_types` and the purge job can name, `<operation>_<resource type>`.
EVENT_TYPES = (
    "create_artifact",
    "delete_artifact",
    "pull_artifact",
    "create_project",
    "update_project",
    "delete_project",
    "create_member",
    "update_member",
    "delete_member",
    "delete_repository",
    "login_user",
    "logout_user",
    "create_user",
    "update_user",
    "delete_user",
    "create_robot",
    "update_robot",
    "delete_robot",
    "exchange_robot",
    "create_token",
    "delete_token",
    "create_login",
    "refuse_login",
    "delete_login",
    "update_configuration",
)
# All of these but the first three, which are about artifacts.
OTHER = "other"


@dataclass(frozen=True, slots=True)
class Entry:
    """One change. `resource` is its name as a person knows it; `operation` is create, update, delete, ..."""

    operation: str
    resource_type: str
    resource: str
    description: str = ""
    project_id: int | None = None
    success: bool = True


class AuditTrail:
    """Writes entries, as configured."""

    def __init__(self, configuration: Configuration, events: Subscribers) -> None:
        self._configuration = configuration
        self._events = events

    def record(self, connection: Connection, actor: Actor, *entries: Entry, at: float | None = None) -> None:
        """Write entries in the transaction of `connection`."""
        moment = at or time.time()
        self.record_all(connection, [(actor, entry, moment) for entry in entries])

    def record_all(self, connection: Connection, entries: list[tuple[Actor, Entry, float]]) -> None:
        """Write entries of several actors and times, in one statement."""
        values = self._configuration.current
        left_out = {name.strip() for name in values["disabled_audit_log_event_types"].split(",")}
        rows = [
            {
                "at": at,
                "username": actor.name[:511],
                "address": actor.address[:64],
                "operation": entry.operation[:32],
                "resource_type": entry.resource_type[:64],
                "resource": entry.resource[:1024],
                "description": entry.description[:4096],
                "success": entry.success,
                "project_id": entry.project_id,
            }
            for actor, entry, at in entries
            if f"{entry.operation}_{entry.resource_type}" not in left_out
        ]
        if not rows:
            return
        endpoint = values["audit_log_forward_endpoint"]
        if endpoint:
            for row in rows:
                self._events.record(connection, SYSLOG_EVENT, row)
        if not (endpoint and values["skip_audit_log_database"]):
            later(connection, _INSERT, rows)

    async def forward(self, _kind: str, data: dict[str, Any]) -> None:
        """Send an entry to the syslog server. Raises OSError or TimeoutError when that does not take it."""
        endpoint = await self._configuration.get("audit_log_forward_endpoint")
        if not endpoint:
            return  # switched off meanwhile
        host, _, port = str(endpoint).rpartition(":")
        message = syslog_message(data)

        async def send() -> None:
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            try:
                writer.write(message)
                writer.write_eof()
                # A server that ends with the line unread resets the connection, which is seen only here.
                # One that has read all closes it. Others have had the line for long enough.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_SYSLOG_READS_SECONDS):
                        while await reader.read(4096):
                            pass
            finally:
                writer.close()
                await writer.wait_closed()

        await asyncio.wait_for(send(), _SYSLOG_SECONDS)


class Intent:
    """Sees to it that a request's change cannot commit without leaving a trace.

    Given to each write of the request as its `also`, it adds a row in that transaction (the same one every
    time); `settle` takes it back, in the transaction of the entry.
    """

    def __init__(self, who: Actor, entry: Callable[[], Entry]) -> None:
        """`entry` gives what the log will say if the server dies before it knows better."""
        self._id = uuid.uuid4().hex
        self._who = who
        self._entry = entry
        self._over = False
        # Whether a transaction may have committed with the row.
        self.written = False

    def __call__(self, connection: Connection) -> None:
        """Add the row."""
        if self._over:
            return
        self.written = True
        told = {**asdict(self._entry()), "username": self._who.name, "address": self._who.address}
        row = {"id": self._id, "at": time.time(), "entry": told}
        connection.execute(upsert(connection, audit_intents, row, "id"))

    def settle(self, connection: Connection) -> bool:
        """Take the row back; whether it was there, that is whether anything was committed."""
        self._over = True
        return bool(connection.execute(delete(audit_intents).where(audit_intents.c.id == self._id)).rowcount)


def recover(connection: Connection, trail: AuditTrail, older_than_seconds: float) -> int:
    """Write the entries of changes whose server died before it could; returns how many."""
    old = delete(audit_intents).where(audit_intents.c.at < time.time() - older_than_seconds)
    rows = connection.execute(old.returning(audit_intents.c.at, audit_intents.c.entry)).all()
    for at, kept in rows:
        values = dict(kept)
        who = Actor(values.pop("username"), values.pop("address"))
        values["description"] = (
            f"{values['description']} (the server stopped or failed before it had answered)"
        )
        trail.record(connection, who, Entry(**values), at=at)
    return len(rows)


def syslog_message(row: dict[str, Any]) -> bytes:
    """The entry as Harbor sends it, so that what reads Harbor's goes on; with two fields more.

    That is the older form of syslog (RFC 3164) with an RFC 3339 time, as Go's library writes it, and a line
    end behind each message (RFC 6587 3.4.2).
    """
    moment = datetime.datetime.fromtimestamp(row["at"], datetime.UTC)
    stamp = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    level, name = (6, "INFO") if row["success"] else (4, "WARNING")
    fields = {
        "address": row["address"],
        "operator": row["username"],
        "resourceType": row["resource_type"],
        "success": str(row["success"]).lower(),
        "time": moment.isoformat(),
    }
    # JSON escapes quotes and line ends: a name can forge neither a field nor a second message.
    said = " ".join(
        f"{key}={_one_line(json.dumps(value, ensure_ascii=False))}" for key, value in fields.items()
    )
    resource, description = (_one_line(row[key]) for key in ("resource", "description"))
    action = f"action:{row['operation']}, resource:{resource}, operation_description:{description}"
    process = f"{socket.gethostname()[:255]} audit[{os.getpid()}]"
    return f"<{level}>{stamp} {process}: {stamp} [{name}] [{said}]: {action}\n".encode(
        errors="backslashreplace"
    )


def _one_line(text: str) -> str:
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class AuditHook(ContentHook):
    """Tells of pushes, deletions and pulls of artifacts. Pulls are gathered and written every few seconds."""

    blind = True

    def __init__(self, db: Database, trail: AuditTrail, configuration: Configuration) -> None:
        self._db = db
        self._trail = trail
        self._configuration = configuration
        self._pulls: list[tuple[str, str, Actor, float]] = []

    def after_push(self, connection: Connection, push: Push, manifest_id: int) -> None:
        """See ContentHook.after_push."""
        for reference in push.tags or (push.digest,):
            name = _name(push.repository.name, reference)
            entry = Entry("create", "artifact", name, f"push {name}", push.repository.project_id)
            self._trail.record(connection, push.actor, entry, at=push.at)

    def after_delete(self, connection: Connection, deletion: Deletion) -> None:
        """See ContentHook.after_delete."""
        kind = "artifact" if deletion.tag is None else "tag"
        name = _name(deletion.repository.name, deletion.tag or deletion.digest)
        entry = Entry("delete", kind, name, f"delete {name}", deletion.repository.project_id)
        self._trail.record(connection, deletion.actor, entry, at=deletion.at)

    async def before_pull(self, repository: str, manifest: StoredManifest, reference: str) -> None:
        """See ContentHook.before_pull."""
        if await self._configuration.get("pull_audit_log_disable") or len(self._pulls) > 10_000:
            return
        self._pulls.append((repository, reference, actor.get(), time.time()))

    async def run(self) -> None:
        """Write the pulls every few seconds, until cancelled."""
        while True:
            for _ in range(15):
                await asyncio.sleep(2)
                await self.flush()
            await self.recover()

    async def recover(self) -> None:
        """Write the entries of changes whose server died before it could."""
        before = time.time() - _INTENT_SECONDS
        left = select(audit_intents.c.id).where(audit_intents.c.at < before).limit(1)
        if await self._db.read(lambda c: c.execute(left).first()) is not None:
            await self._db.write(lambda c: recover(c, self._trail, _INTENT_SECONDS))

    async def flush(self) -> None:
        """Write the pulls gathered so far."""
        if not self._pulls:
            return
        taken, self._pulls = self._pulls, []

        def record_pulls(connection: Connection) -> None:
            ids = ids_of(connection, {repository.partition("/")[0] for repository, _, _, _ in taken})
            entries = []
            for repository, reference, who, at in taken:
                name, project = _name(repository, reference), ids.get(repository.partition("/")[0])
                entries.append((who, Entry("pull", "artifact", name, f"pull {name}", project), at))
            self._trail.record_all(connection, entries)

        await self._db.write(record_pulls, durable=False)


def _name(repository: str, reference: str) -> str:
    return f"{repository}{'@' if ':' in reference else ':'}{reference}"


def _chosen(types: list[str]) -> ColumnElement[bool] | None:
    """Entries of the given kinds: `create_artifact`, or an operation alone; None for all."""
    conditions: list[ColumnElement[bool]] = []
    if OTHER in types:
        types = [*(name for name in types if name != OTHER), *EVENT_TYPES[3:]]
    for name in types:
        operation, _, resource_type = name.partition("_")
        condition = audit_log.c.operation == operation
        conditions.append(
            condition & (audit_log.c.resource_type == resource_type) if resource_type else condition
        )
    return or_(*conditions) if conditions else None


class Purge:
    """The job that deletes old entries."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def run(self, context: JobContext, args: dict[str, Any]) -> int:
        """Delete entries older than `audit_retention_hour` hours.

        Of the kinds in `include_event_types`, or by its older name `include_operations`, only (comma
        separated; none means all); `dry_run` counts. Returns how many.
        """
        await context.log("Purge audit job start")
        hours = int(args.get("audit_retention_hour", 0))
        dry_run = bool(args.get("dry_run", False))
        wanted = str(args.get("include_event_types") or args.get("include_operations") or "")
        types = [name.strip() for name in wanted.split(",") if name.strip()]
        # Not this host's clock: ahead of the others, it would have entries go that are to be kept.
        old = audit_log.c.at < self._db.now() - hours * 3600
        chosen = _chosen(types)
        if chosen is not None:
            old = old & chosen
        db, done, last = self._db, 0, 0
        while True:
            await context.checkpoint()
            batch = select(audit_log.c.id).where(old, audit_log.c.id > last).order_by(audit_log.c.id)
            ids = await db.read(lambda c, q=batch: list(c.execute(q.limit(_PURGE_BATCH)).scalars()))  # type: ignore[misc]
            if not ids:
                break
            last = ids[-1]
            if not dry_run:
                gone = delete(audit_log).where(audit_log.c.id.in_(ids))
                await db.write(lambda c, q=gone: c.execute(q).rowcount)  # type: ignore[misc]
            done += len(ids)
        # The first words of these lines are what scripts look for in Harbor's.
        await context.log(f"{'[DRYRUN]' if dry_run else ''}Purged {done} rows of audit logs")
        await context.log(
            f"{done} entries older than {hours} hours {'would be ' if dry_run else ''}deleted "
            f"({', '.join(types) or 'all kinds'})"
        )
        return done
