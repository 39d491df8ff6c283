"""Rows of Harbor's brought into tables here, as often as wanted.

What was brought is remembered (`adopted_rows`): what Harbor said of the row, and how it was written. So a
later run brings what is new, changes what has changed in Harbor, and removes what has gone there; and a row
that somebody has changed here in the meantime is left as it is, and reported.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, String, Table, and_, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from seawall.availability.adopt.report import Report
from seawall.availability.adopt.schema import adopted_rows
from seawall.infra.db import dialect
from seawall.infra.db.dialect import upsert

_BATCH = 200
_HERE_BEFORE = "+"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of rows. `marked`: the columns whose change here counts as somebody's change.

    `stays`: whether a row that Harbor has no more must not be removed all the same. `changed` gets a row that
    was here and has been changed, as it was before.
    """

    name: str
    table: Table
    marked: tuple[str, ...]
    stays: Callable[[Connection, Any], str | None] = lambda connection, row: None
    changed: Callable[[Connection, Any], None] = lambda connection, row: None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A row as Harbor says it should be.

    `values` are compared and written, `sealed` (column -> clear text) are compared and written sealed,
    `initial` are written once. `key` finds a row that is here already; `takes`: Harbor's goes before it.
    """

    source: str
    shown: str
    values: dict[str, Any]
    sealed: dict[str, Any] = field(default_factory=dict)
    initial: dict[str, Any] = field(default_factory=dict)
    key: tuple[str, ...] = ()
    id: int | None = None
    takes: bool = False


@dataclass(slots=True)
class _Known:
    target: list[Any]
    said: str
    written: str


class Merger:
    """Merges within one transaction."""

    def __init__(
        self, connection: Connection, report: Report, seal: Callable[[str, str, Any], Any], pepper: bytes
    ) -> None:
        """`seal(kind, column, clear)` gives what is stored of a secret; `pepper` hides what is remembered."""
        self.connection = connection
        self._report = report
        self._seal = seal
        self._pepper = pepper
        self._pruned: list[tuple[Kind, dict[str, _Known]]] = []

    def merge(self, kind: Kind, wanted: Iterable[Wanted]) -> dict[str, Any]:
        """Bring the rows; returns source -> first column of the primary key here.

        What has gone in Harbor is removed by `prune`, after all kinds were brought.
        """
        items = [item for item in wanted if self._fits(kind, item)]
        known = self._known(kind)
        rows = self._rows(kind, [item.target for item in known.values()])
        counts = self._report.of(kind.name)
        counts.found += len(items)
        result: dict[str, Any] = {}
        fresh: list[Wanted] = []
        for item in items:
            before = known.pop(item.source, None)
            if before is None:
                fresh.append(item)
                continue
            row = rows.get(_key(before.target))
            if row is None:
                self._report.keep(f"{kind.name} {item.shown}", "was removed here, and stays removed")
                continue
            result[item.source] = before.target[0]
            self._change(kind, item, before, row)
        result |= self._add(kind, fresh)
        self._pruned.append((kind, known))
        return result

    def prune(self, connection: Connection) -> None:
        """Remove what Harbor has no more, of every kind that was merged, last ones first.

        May have a later transaction than the merge: what is in use by content goes after that.
        """
        self.connection = connection
        for kind, gone in reversed(self._pruned):
            rows = self._rows(kind, [item.target for item in gone.values()])
            for source, known in gone.items():
                row = rows.get(_key(known.target))
                if row is not None and not self._remove(kind, source, known, row):
                    continue
                self._forget(kind, source)

    def _remove(self, kind: Kind, source: str, known: _Known, row: Any) -> bool:
        """Whether the row is not to be thought of any more."""
        if not known.written or known.written.startswith(_HERE_BEFORE):
            return True
        why = "was changed here" if _mark(kind, row) != known.written else kind.stays(self.connection, row)
        if why is not None:
            self._report.keep(
                f"{kind.name} {_name_of(row, source)}", f"no longer exists in Harbor, but {why}"
            )
            return False
        try:
            with self.connection.begin_nested():
                self.connection.execute(delete(kind.table).where(_is(kind.table, known.target)))
        except IntegrityError:
            self._report.keep(
                f"{kind.name} {_name_of(row, source)}", "no longer exists in Harbor, but is in use here"
            )
            return False
        self._report.of(kind.name).removed += 1
        return True

    def _forget(self, kind: Kind, source: str) -> None:
        self.connection.execute(
            delete(adopted_rows).where(adopted_rows.c.kind == kind.name, adopted_rows.c.source == source)
        )

    def _known(self, kind: Kind) -> dict[str, _Known]:
        query = select(adopted_rows).where(adopted_rows.c.kind == kind.name)
        return {
            row.source: _Known(json.loads(row.target), row.said, row.written)
            for row in self.connection.execute(query)
        }

    def _rows(self, kind: Kind, targets: Collection[list[Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        wanted = list(targets)
        for start in range(0, len(wanted), _BATCH):
            part = or_(*(_is(kind.table, target) for target in wanted[start : start + _BATCH]))
            for row in self.connection.execute(select(kind.table).where(part)):
                found[_key(_target(kind.table, row))] = row
        return found

    def _change(self, kind: Kind, item: Wanted, before: _Known, row: Any) -> None:
        said = self._said(item)
        if said == before.said or not before.written:
            return
        mark = before.written.removeprefix(_HERE_BEFORE)
        if _mark(kind, row) != mark:
            self._report.keep(f"{kind.name} {item.shown}", "was changed here and in Harbor")
            return
        values = self._written(kind, item)
        try:
            with self.connection.begin_nested():
                self.connection.execute(
                    update(kind.table).where(_is(kind.table, before.target)).values(**values)
                )
        except IntegrityError:
            self._report.leave(f"{kind.name} {item.shown}", "its name is in use here already")
            return
        kind.changed(self.connection, row)
        self._report.of(kind.name).changed += 1
        here = _HERE_BEFORE if before.written.startswith(_HERE_BEFORE) else ""
        self._remember(kind, item.source, before.target, said, here + self._mark_of(kind, before.target))

    def _add(self, kind: Kind, fresh: list[Wanted]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        free = self._free_ids(kind, [item.id for item in fresh if item.id is not None])
        rows: list[tuple[Wanted, dict[str, Any]]] = []
        for item in fresh:
            there = self._there(kind, item)
            if there is not None:
                result[item.source] = self._take(kind, item, there)
                continue
            values = {**item.initial, **self._written(kind, item)}
            if item.id in free:
                values["id"] = item.id
            rows.append((item, values))
        for item, values in rows:
            target = self._insert(kind, item, values)
            if target is not None:
                result[item.source] = target[0]
        if free:
            dialect.advance_sequences(self.connection, [kind.table])
        return result

    def _insert(self, kind: Kind, item: Wanted, values: dict[str, Any]) -> list[Any] | None:
        try:
            with self.connection.begin_nested():
                made = self.connection.execute(insert(kind.table).values(**values)).inserted_primary_key
        except IntegrityError:
            self._report.leave(f"{kind.name} {item.shown}", "its name is in use here already")
            return None
        assert made is not None
        self._report.of(kind.name).new += 1
        target = list(made)
        self._remember(kind, item.source, target, self._said(item), self._mark_of(kind, target))
        return target

    def _take(self, kind: Kind, item: Wanted, row: Any) -> Any:
        """A row that was here before the first run is Harbor's from now on, or stays as it is."""
        target = _target(kind.table, row)
        written = ""
        if item.takes:
            self.connection.execute(
                update(kind.table).where(_is(kind.table, target)).values(**self._written(kind, item))
            )
            kind.changed(self.connection, row)
            written = _HERE_BEFORE + self._mark_of(kind, target)
            self._report.of(kind.name).changed += 1
        else:
            self._report.keep(f"{kind.name} {item.shown}", "was here before the adoption")
        self._remember(kind, item.source, target, self._said(item), written)
        return target[0]

    def _there(self, kind: Kind, item: Wanted) -> Any:
        if not item.key:
            return None
        columns = kind.table.c
        same = and_(
            *(
                columns[name].is_(None) if item.values[name] is None else columns[name] == item.values[name]
                for name in item.key
            )
        )
        return self.connection.execute(select(kind.table).where(same)).first()

    def _free_ids(self, kind: Kind, ids: list[int]) -> set[int]:
        if "id" not in kind.table.c or not ids:
            return set()
        taken: set[int] = set()
        for start in range(0, len(ids), 500):
            column = kind.table.c.id
            query = select(column).where(column.in_(ids[start : start + 500]))
            taken |= set(self.connection.execute(query).scalars())
        return set(ids) - taken

    def _written(self, kind: Kind, item: Wanted) -> dict[str, Any]:
        sealed = {
            name: self._seal(kind.name, name, clear) if clear else None for name, clear in item.sealed.items()
        }
        return {**item.values, **sealed}

    def _mark_of(self, kind: Kind, target: list[Any]) -> str:
        row = self.connection.execute(select(kind.table).where(_is(kind.table, target))).one()
        return _mark(kind, row)

    def _remember(self, kind: Kind, source: str, target: list[Any], said: str, written: str) -> None:
        row = {
            "kind": kind.name,
            "source": source,
            "target": json.dumps(target),
            "said": said,
            "written": written,
        }
        self.connection.execute(
            upsert(self.connection, adopted_rows, row, ["kind", "source"], ["target", "said", "written"])
        )

    def _said(self, item: Wanted) -> str:
        text = digest({"values": item.values, "sealed": item.sealed})
        return hmac.digest(self._pepper, text.encode(), "sha256").hex()

    def _fits(self, kind: Kind, item: Wanted) -> bool:
        for name, value in {**item.initial, **item.values}.items():
            limit = getattr(kind.table.c[name].type, "length", None)
            text = isinstance(kind.table.c[name].type, String) and isinstance(value, str)
            if text and limit is not None and len(value) > limit:
                self._report.leave(f"{kind.name} {item.shown}", f"{name} has more than {limit} characters")
                return False
        return True


def _is(table: Table, target: list[Any]) -> Any:
    return and_(*(column == value for column, value in zip(table.primary_key.columns, target, strict=True)))


def _target(table: Table, row: Any) -> list[Any]:
    return [row._mapping[column.name] for column in table.primary_key.columns]


def _key(target: list[Any]) -> str:
    return json.dumps(target)


def _mark(kind: Kind, row: Any) -> str:
    return digest({name: row._mapping[name] for name in kind.marked})


def _name_of(row: Any, source: str) -> str:
    fields = row._mapping
    return str(fields.get("username") or fields.get("name") or source)


def digest(value: Any) -> str:
    """SHA-256 of a JSON-able value, however its mappings are ordered."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
