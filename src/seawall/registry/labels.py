"""Labels: global ones, which the system's administrators keep, and those of a project."""

from __future__ import annotations

import re
import time
from typing import Any

from sqlalchemy import Connection, Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from seawall.kernel.errors import ConflictError, InvalidError, NotFoundError
from seawall.registry.artifacts import LABEL_COLUMNS, Label
from seawall.registry.tables import labels

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
