"""Labels: global ones, which the system's administrators keep, and those of a project."""

from __future__ import annotations

import re
import time
from typing import Any

from sqlalchemy import Connection, Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from seawall.infra.db.dialect import upsert
from seawall.infra.db.listing import Field, Fields, Page, contains
from seawall.kernel.errors import ConflictError, InvalidError, NotFoundError
from seawall.registry.artifacts import LABEL_COLUMNS, Label
from seawall.registry.tables import labels, manifest_labels

_COLOR = re.compile(r"#[0-9a-fA-F]{6}|")


def query() -> Select[Any]:
    """A query of labels; its rows make `Label(*row)`."""
    return select(*LABEL_COLUMNS)


def get(connection: Connection, label_id: int) -> Label:
    """One label. Raises NotFoundError."""
    row = connection.execute(query().where(labels.c.id == label_id)).first()
    if row is None:
        raise NotFoundError(f"label {label_id} not found")
    return Label(*row)


def _values(name: str, description: str, color: str) -> dict[str, Any]:
    if not name.strip() or len(name) > 128:
        raise InvalidError("a label's name has 1 to 128 characters")
    if not _COLOR.fullmatch(color):
        raise InvalidError("a label's color has the form #rrggbb")
    return {"name": name, "description": description, "color": color, "updated_at": time.time()}


def create(connection: Connection, name: str, description: str, color: str, project_id: int | None) -> int:
    """Add a label; returns its id. Raises InvalidError, ConflictError."""
    values = _values(name, description, color)
    try:
        with connection.begin_nested():
            return int(
                connection.execute(
                    insert(labels)
                    .values(project_id=project_id, created_at=values["updated_at"], **values)
                    .returning(labels.c.id)
                ).scalar_one()
            )
    except IntegrityError:
        raise ConflictError(f"label {name} exists") from None


def change(connection: Connection, label_id: int, name: str, description: str, color: str) -> None:
    """Change a label. Raises InvalidError, ConflictError."""
    try:
        with connection.begin_nested():
            connection.execute(
                update(labels).where(labels.c.id == label_id).values(**_values(name, description, color))
            )
    except IntegrityError:
        raise ConflictError(f"label {name} exists") from None


def remove(connection: Connection, label_id: int) -> None:
    """Delete a label; it disappears from its artifacts."""
    connection.execute(delete(labels).where(labels.c.id == label_id))


_FIELDS: Fields = {
    "id": Field(labels.c.id, "int"),
    "name": Field(labels.c.name),
    "project_id": Field(labels.c.project_id, "int"),
    "creation_time": Field(labels.c.created_at, "time"),
    "update_time": Field(labels.c.updated_at, "time"),
}


def list_labels(
    connection: Connection, project_id: int | None, name_part: str | None, page: Page
) -> tuple[int, list[Label]]:
    """Labels of a project, or (None) the global ones, oldest first."""
    of = labels.c.project_id.is_(None) if project_id is None else labels.c.project_id == project_id
    found = query().where(of)
    if name_part is not None:
        found = found.where(contains(labels.c.name, name_part))
    total, rows = page.fetch(connection, found, _FIELDS, labels.c.id)
    return total, [Label(*row) for row in rows]


def put_on(connection: Connection, label_id: int, manifest_id: int, project_id: int) -> None:
    """Put a label, global or of the project, on an artifact of it. Raises NotFoundError, ConflictError."""
    row = connection.execute(select(labels.c.project_id).where(labels.c.id == label_id)).first()
    if row is None or row[0] not in (None, project_id):
        raise NotFoundError(f"label {label_id} not found")
    link = {"manifest_id": manifest_id, "label_id": label_id, "created_at": time.time()}
    add = upsert(connection, manifest_labels, link, ("manifest_id", "label_id"))
    if connection.execute(add.returning(manifest_labels.c.label_id)).first() is None:
        raise ConflictError(f"the artifact has label {label_id} already")


def take_off(connection: Connection, label_id: int, manifest_id: int) -> None:
    """Take a label off an artifact. Raises NotFoundError when it does not have it."""
    gone = connection.execute(
        delete(manifest_labels).where(
            manifest_labels.c.manifest_id == manifest_id, manifest_labels.c.label_id == label_id
        )
    )
    if not gone.rowcount:
        raise NotFoundError(f"the artifact does not have label {label_id}")
