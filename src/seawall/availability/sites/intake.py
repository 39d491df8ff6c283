"""The new active's part of a rescue: it takes in what the old one had, or lists it as a divergence."""

from __future__ import annotations

import base64
import json
import time
import uuid
from typing import Any

import httpx
from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Table,
    insert,
    null,
    select,
    update,
)

from seawall.access.tables import projects
from seawall.availability.sites import state
from seawall.availability.sites.rescue import CHAINS, digests_in, encoded, natural
from seawall.availability.sites.tables import dr_divergences
from seawall.availability.sites.wire import Peer
from seawall.infra.db import Database, changes, dump
from seawall.infra.db.dialect import added
from seawall.infra.db.metadata import metadata
from seawall.kernel.context import SYSTEM, actor
from seawall.kernel.errors import (
    NotFoundError,
    PreconditionError,
    RegistryError,
    SeawallError,
    UnavailableError,
)
from seawall.registry import accounting
from seawall.registry.local import LocalRegistry
from seawall.registry.tables import manifests, repositories, tags

CARRIED, KEPT, LISTED, REFUSED, SAME = "carried", "kept", "listed", "refused", "same"


_UNSHOWN = {"password_hash", "secret_hash", "material", "private", "secret", "token", "access_secret"}


_UNCOMPARED = {"used_storage", "artifact_count", "pull_count", "next_at", "checked_at", "status"}


_NAMESPACE = uuid.UUID("6f3c1a52-9a63-4a53-8f0b-2f5a9c0d7e11")


class Intake:
    """The new active's part."""

    def __init__(self, db: Database, content: LocalRegistry, peer: Peer) -> None:
        """`peer` is the old active, which has the blobs."""
        self._db = db
        self._content = content
        self._peer = peer

    async def take_in(self, body: dict[str, Any]) -> dict[str, Any]:
        """Take items of the old active `body["site"]`; returns how many outcomes were recorded.

        Raises UnavailableError when its blobs cannot be fetched: it tells again later.
        """
        token = actor.set(SYSTEM)
        try:
            await self._db.read(_must_reign)
            here = await self._db.read(_changed_here)
            recorded = 0
            for item in body["items"]:
                outcome = await self._take(item, here)
                for kind, name, detail, result in outcome:
                    if result != SAME:
                        recorded += await self._record(str(body["site"]), kind, name, detail, result)
            self._content.writes.committed()
            return {"recorded": recorded}
        finally:
            actor.reset(token)

    async def _take(self, item: dict[str, Any], here: set[tuple[str, str]] | None) -> list[_Outcome]:
        kind = item["kind"]
        if kind == "derived":
            reason = "made again, or the record of work at the old site"
            return [("derived", item["table"], {"rows": item["rows"], "reason": reason}, LISTED)]
        if kind == "gone":
            found = await self._db.read(lambda c: _gone(c, item))
            return [found] if found else []
        if kind == "artifact":
            return await self._artifact(item, here)
        if kind == "blob":
            return [await self._blob(item)]
        try:
            return [await self._db.write(lambda c: _row(c, item, here))]
        except UnavailableError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0][:300]
            return [_told(item, LISTED, reason)]

    async def _artifact(self, item: dict[str, Any], here: set[tuple[str, str]] | None) -> list[_Outcome]:
        name, digest = item["repository"], item["digest"]
        payload = base64.b64decode(item["payload"])
        try:
            there = await self._db.read(lambda c: _has(c, name, digest))
            if not there:
                for blob in sorted(digests_in(payload)):
                    await self._bring(name, blob)
                await self._content.manifests.put(
                    name, digest, payload, item["media_type"], sparse=True, replica=True
                )
        except UnavailableError:
            raise
        except SeawallError as error:
            detail = {"reason": str(error), "media_type": item["media_type"], "payload": item["payload"]}
            tagged = [f"{name}:{tag}" for tag in item["tags"]]
            return [("artifact", ", ".join([*tagged, f"{name}@{digest}"])[:1024], detail, REFUSED)]
        found: list[_Outcome] = []
        for tag in item["tags"]:
            found.append(await self._tag(item, tag, payload, here))
        if not there and not item["tags"]:
            found.append(("artifact", f"{name}@{digest}", {"digest": digest}, CARRIED))
        return found

    async def _tag(
        self, item: dict[str, Any], tag: str, payload: bytes, here: set[tuple[str, str]] | None
    ) -> _Outcome:
        name, digest = item["repository"], item["digest"]

        def look(connection: Connection) -> tuple[str, int] | None:
            row = connection.execute(
                select(manifests.c.digest, tags.c.repository_id)
                .join(tags, tags.c.manifest_id == manifests.c.id)
                .join(repositories, repositories.c.id == tags.c.repository_id)
                .where(repositories.c.name == name, tags.c.name == tag)
            ).first()
            return None if row is None else (row[0], row[1])

        found = await self._db.read(look)
        detail = {"digest": digest}
        if found is not None and found[0] == digest:
            return "tag", f"{name}:{tag}", detail, SAME
        if found is not None:
            key = json.dumps({"name": tag, "repository_id": found[1]}, sort_keys=True)
            if here is None or ("tags", key) in here or item["unsure"]:
                reason = f"the tag was moved at both sites; it stays at {found[0]}"
                return "tag", f"{name}:{tag}", {**detail, "reason": reason, "active": found[0]}, KEPT
        elif item["unsure"]:
            reason = "the log of changes is too short to tell whether the tag was deleted here"
            return "tag", f"{name}:{tag}", {**detail, "reason": reason}, KEPT
        try:
            await self._content.manifests.put(
                name, tag, payload, item["media_type"], digest=digest, sparse=True, replica=True
            )
        except UnavailableError:
            raise
        except SeawallError as error:
            return "tag", f"{name}:{tag}", {**detail, "reason": str(error)}, KEPT
        return "tag", f"{name}:{tag}", detail, CARRIED

    async def _blob(self, item: dict[str, Any]) -> _Outcome:
        name, digest = item["repository"], item["digest"]
        try:
            new = await self._bring(name, digest)
        except UnavailableError:
            raise
        except SeawallError as error:
            return "blob", f"{name}@{digest}", {"reason": str(error)}, REFUSED
        return "blob", f"{name}@{digest}", {"digest": digest}, CARRIED if new else SAME

    async def _bring(self, name: str, digest: str) -> bool:
        """See that the repository has the blob; whether it was new to it."""
        project = name.partition("/")[0]
        if (
            await self._db.read(
                lambda c: c.execute(select(projects.c.id).where(projects.c.name == project)).first()
            )
            is None
        ):
            raise NotFoundError(f"project {project} is not here")
        try:
            await self._content.blobs.get(name, digest)
            return False
        except RegistryError:
            pass
        answer = await self._peer.stream("blob", digest=digest)
        writer = await self._content.storage.open_upload(str(uuid.uuid4()), 0, {})
        try:
            async for part in answer.aiter_raw(1024 * 1024):
                await writer.write(part)
        except httpx.HTTPError as error:
            await writer.abort()
            raise UnavailableError(f"the link broke: {str(error) or type(error).__name__}") from None
        finally:
            await answer.aclose()
        await self._content.uploads.finish(None, writer, name, digest, replica=True)
        return True

    async def _record(self, site: str, kind: str, name: str, detail: dict[str, Any], outcome: str) -> int:
        mark = json.dumps(
            [site, kind, name, outcome, detail.get("digest"), detail.get("content")], sort_keys=True
        )
        row = {
            "id": str(uuid.uuid5(_NAMESPACE, mark)),
            "kind": kind,
            "name": name,
            "detail": {"site": site, **detail},
            "outcome": outcome,
            "at": time.time(),
        }

        def put(connection: Connection) -> int:
            return int(added(connection, dr_divergences, row, "id"))

        return await self._db.write(put)


def _must_reign(connection: Connection) -> None:
    row = state.read(connection)
    if row is None or row["role"] != state.ACTIVE:
        raise PreconditionError("this site is not the active one")


def _changed_here(connection: Connection) -> set[tuple[str, str]] | None:
    """(table, key) of the rows written since this site reigns; None: not known."""
    row = state.read(connection)
    base = row and row["base"]
    own = json.loads(base)["from"] if base else None
    found = changes.since(connection, own) if own else None
    if found is None:
        return None
    return {(change.table, json.dumps(dict(change.key), sort_keys=True)) for change in found[0]}


_Outcome = tuple[str, str, dict[str, Any], str]


def _told(item: dict[str, Any], outcome: str, reason: str = "", **more: Any) -> _Outcome:
    table = metadata.tables[item["table"]]
    names = natural(table, item["row"]) or [column.name for column in table.primary_key.columns]
    name = ", ".join(
        str(_last(item["refs"].get(column)) if item["refs"].get(column) else item["row"][column])
        for column in names
        if item["row"].get(column) is not None
    )
    shown = {k: v for k, v in item["row"].items() if k not in _UNSHOWN}
    detail = {"content": shown, **({"reason": reason} if reason else {}), **more}
    return item["table"], name[:1024], detail, outcome


def _last(reference: dict[str, Any] | None) -> str:
    return "" if reference is None else "/".join(str(value) for value in reference["key"].values())


def _row(connection: Connection, item: dict[str, Any], here: set[tuple[str, str]] | None) -> _Outcome:
    table = metadata.tables.get(item["table"])
    if table is None:
        return item["table"], "", {"content": item["row"], "reason": "this version has no such table"}, LISTED
    row = {k: dump.decode(v) for k, v in item["row"].items() if k in table.columns}
    if table.name in CHAINS:
        return _told(item, LISTED, "a collection's chain of signed metadata is not merged")
    for column, reference in item["refs"].items():
        there = _resolve(connection, reference)
        if there is None:
            if table.columns[column].nullable and reference is None:
                row[column] = None
                continue
            return _told(item, LISTED, f"what its {column} names is not here")
        row[column] = there
    identity = table.autoincrement_column
    old = dict(row)
    if identity is not None:
        row.pop(identity.name, None)
    names = natural(table, row)
    if table.name == "audit_log":
        return _append(connection, table, item, row)
    if names is None:
        same = connection.execute(select(table).where(*_equal(table, _compared(row, names)))).first()
        return _told(item, SAME) if same else _told(item, LISTED, "rows of this kind have no name")
    found = (
        connection.execute(select(table).where(*_equal(table, {n: row[n] for n in names}))).mappings().first()
    )
    if found is None:
        if item["unsure"]:
            return _told(item, LISTED, "the log of changes is too short to tell whether it was deleted here")
        connection.execute(insert(table).values(_nulls(table, row)))
        return _told(item, CARRIED)
    if _compared(dict(found), names) == _compared(row, names):
        return _told(item, SAME)
    keys = {column.name: found[column.name] for column in table.primary_key.columns}
    touched = here is None or (table.name, json.dumps(keys, sort_keys=True)) in here
    one = identity is None or old.get(identity.name) == found[identity.name]
    if touched or item["unsure"] or not one:
        kept = {k: v for k, v in encoded(dict(found)).items() if k not in _UNSHOWN}
        return _told(item, LISTED, "changed at both sites; the active's stays", active=kept)
    values = {k: v for k, v in row.items() if k not in keys and k not in _UNCOMPARED}
    values = _nulls(table, values)
    connection.execute(update(table).where(*(table.columns[k] == v for k, v in keys.items())).values(values))
    if table.name == "quotas":
        accounting.settle(connection, found["project_id"])
    return _told(item, CARRIED)


def _nulls(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    # A missing JSON value is NULL, not the JSON text `null`.
    return {k: null() if v is None and isinstance(table.columns[k].type, JSON) else v for k, v in row.items()}


def _append(connection: Connection, table: Table, item: dict[str, Any], row: dict[str, Any]) -> _Outcome:
    if connection.execute(select(table.c.id).where(*_equal(table, row))).first() is None:
        connection.execute(insert(table).values(row))
    # The log is its own record.
    return _told(item, SAME)


def _equal(table: Table, values: dict[str, Any]) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    for name, value in values.items():
        column = table.columns[name]
        if isinstance(value, dict | list):
            continue
        found.append(column.is_(None) if value is None else column == value)
    return found


def _compared(row: dict[str, Any], names: list[str] | None) -> dict[str, Any]:
    del names
    return {
        k: bytes(v) if isinstance(v, memoryview) else v
        for k, v in row.items()
        if k != "id" and not k.endswith("_at") and k not in _UNCOMPARED
    }


def _resolve(connection: Connection, reference: dict[str, Any] | None) -> Any:
    """The id here of the row that a reference names; None when it is not here."""
    if reference is None:
        return None
    table = metadata.tables[reference["table"]]
    key = {name: dump.decode(value) for name, value in reference["key"].items()}
    for column, parent in reference["refs"].items():
        key[column] = _resolve(connection, parent)
        if key[column] is None:
            return None
    identity = next(iter(table.primary_key.columns))
    return connection.execute(select(identity).where(*_equal(table, key))).scalar()


def _gone(connection: Connection, item: dict[str, Any]) -> _Outcome | None:
    """A deletion that the new active did not receive, where the thing is still there."""
    table = metadata.tables[item["table"]]
    key = {name: dump.decode(value) for name, value in item["key"].items()}
    if item["table"] == "tags":
        query = select(repositories.c.id).where(repositories.c.name == item["repository"])
        key["repository_id"] = connection.execute(query).scalar()
    row = connection.execute(select(table).where(*_equal(table, key))).mappings().first()
    reign = state.read(connection)
    since = (reign or {}).get("synced_at") or 0.0
    if row is None or (row.get("created_at") or row.get("pushed_at") or 0.0) > since:
        # Never here, or another one under its id.
        return None
    names = natural(table, dict(row)) or list(key)
    name = "/".join(str(row[column]) for column in names)
    if "repository_id" in row:
        repository = connection.execute(
            select(repositories.c.name).where(repositories.c.id == row["repository_id"])
        ).scalar()
        name = f"{repository}{':' if item['table'] == 'tags' else '@'}{row.get('name') or row.get('digest')}"
    shown = {k: v for k, v in encoded(dict(row)).items() if k not in _UNSHOWN}
    reason = "deleted at the old site and not here; delete it again"
    return item["table"], name[:1024], {"deleted": True, "content": shown, "reason": reason}, LISTED


def _has(connection: Connection, name: str, digest: str) -> bool:
    query = select(manifests.c.id).join(repositories, repositories.c.id == manifests.c.repository_id)
    return (
        connection.execute(query.where(repositories.c.name == name, manifests.c.digest == digest)).first()
        is not None
    )
