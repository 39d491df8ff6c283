"""Rows as documents by natural key, and back.

Row ids differ from one database to another, so a document names other things as people do: a member is the
project's name, the user's name and a role. A key is a JSON list of such names. Stored secrets are opened for
the way (messages are sealed, see `wire`) and sealed again under the keys of the instance they come to.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, insert, or_, select, update

from seawall.availability.peers.model import Context, Document, MissingError
from seawall.infra.secrets.keyring import KeyRing
from seawall.kernel.errors import ConfigError

_SEALED = re.compile(r"sealed:v\d+:([a-z0-9.-]{1,64}):[A-Za-z0-9_-]+={0,2}")
# What every installation has; as long as nobody changed it, it loses against what somebody did.
_FROM_THE_START = (
    ("user", "admin"),
    ("user-password", "admin"),
    ("user-profile", "admin"),
    ("project", "library"),
)


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
        if self.table.name == "users" and context.erasure is not None:
            context.erasure.order(connection, row.username)
        for schedule in ("retention", "replication", "preheat"):
            if self.table.name == f"{schedule}_policies":
                context.jobs.set_schedule_in(connection, f"{schedule}:{row.id}", None, schedule, {})


@dataclass(frozen=True, slots=True)
class Facet(Kind):
    """Columns of another kind's row that other people change than the rest: an entity of its own.

    So who changes a password does not undo what an administrator made of the account meanwhile. One is there
    while a column of it says something: `empty` has the values of columns that say nothing.
    """

    empty: dict[str, Any] = field(default_factory=dict)

    def put(
        self, connection: Connection, context: Context, key: list[Any], document: Document, names: Names
    ) -> None:
        """See Kind.put; the row is another kind's, which makes it. Raises MissingError."""
        values = self.values(connection, context, key, document, names)
        parts = {name: values.pop(name) for name in self.key}
        if not values:
            return
        where = [self.table.c[name] == value for name, value in parts.items()]
        if not connection.execute(update(self.table).where(*where).values(**values)).rowcount:
            raise MissingError(f"{show(key)} is not here")

    def drop(self, connection: Connection, context: Context, row: Any) -> None:
        """See Kind.drop: the row stays, and says nothing."""
        where = [column == row._mapping[column.name] for column in self.table.primary_key.columns]
        if self.empty:
            connection.execute(update(self.table).where(*where).values(**self.empty))


def facet(
    name: str,
    table: Table,
    key: tuple[str, ...],
    empty: dict[str, Any],
    *,
    refs: dict[str, str] | None = None,
    where: Callable[[], ColumnElement[bool]] | None = None,
    project: str = "",
) -> Facet:
    """A facet of the rows of `table`, of those of `where` (see Facet)."""

    def says_something() -> ColumnElement[bool]:
        said = or_(
            *(
                table.c[column].is_not(None) if value is None else table.c[column] != value
                for column, value in empty.items()
            )
        )
        return said if where is None else and_(said, where())

    return Facet(
        name,
        table,
        key,
        tuple(empty),
        refs or {},
        extra=("updated_at",),
        where=says_something,
        project=project,
        empty=empty,
    )


class Names:
    """Natural keys of rows and back, remembered within one transaction."""

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        self._kinds = kinds
        self._keys: dict[tuple[str, Any], Any] = {}

    def key(self, connection: Connection, kind: str, row_id: Any) -> Any:
        """The natural key of the row with that id (a plain name where that is all), None for none."""
        if not row_id:
            return None
        place = (kind, row_id)
        if place not in self._keys:
            found = self._kinds[kind]
            row = connection.execute(select(found.table).where(found.table.c.id == row_id)).first()
            key = None if row is None else found.key_of(connection, row, self)
            self._keys[place] = key[0] if key is not None and len(key) == 1 else key
        return self._keys[place]

    def id(self, connection: Connection, kind: str, key: Any) -> Any:
        """The id of the row with that natural key, None when it is not here."""
        found = self._kinds[kind]
        row = found.find(connection, [key] if len(found.key) == 1 else list(key), self)
        return None if row is None else row._mapping["id"]


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
    hidden |= {"token_hash", "refresh_hash", "user_code", "recovery"}

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            if set(value) & {"$sealed", "$bytes"}:
                return "(set)"
            return {k: "(set)" if k in hidden and v else clean(v) for k, v in value.items()}
        return [clean(item) for item in value] if isinstance(value, list) else value

    return {name.removeprefix("+"): value for name, value in clean(document).items()}
