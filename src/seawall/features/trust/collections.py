"""The rows of Notary's collections: metadata of all versions, the server's keys, the change feed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select

from seawall.access.projects import id_of
from seawall.features.trust import tuf
from seawall.features.trust.tables import tuf_changes, tuf_keys, tuf_metadata
from seawall.features.trust.tuf import Document, Key


@dataclass(frozen=True, slots=True)
class Stored:
    """Metadata to send: its bytes and when they were accepted (Unix seconds)."""

    content: bytes
    sha256: str
    created_at: float


@dataclass(frozen=True, slots=True)
class Change:
    """An entry of the change feed."""

    id: int
    gun: str
    version: int
    sha256: str
    category: str
    created_at: float


def project_of(connection: Connection, gun: str) -> int:
    """Id of the project of a collection. Raises NotFoundError."""
    return id_of(connection, gun.partition("/")[0])


def latest_metadata(connection: Connection, gun: str, role: str) -> Document | None:
    """The newest metadata of a role, None before the first."""
    content = connection.execute(
        select(tuf_metadata.c.content)
        .where(tuf_metadata.c.gun == gun, tuf_metadata.c.role == role)
        .order_by(tuf_metadata.c.version.desc())
        .limit(1)
    ).scalar()
    return tuf.parse(role, bytes(content)) if content is not None else None


def all_metadata(connection: Connection, gun: str) -> dict[str, Document]:
    """role -> its newest metadata."""
    newest = (
        select(tuf_metadata.c.role, func.max(tuf_metadata.c.version).label("version"))
        .where(tuf_metadata.c.gun == gun)
        .group_by(tuf_metadata.c.role)
        .subquery()
    )
    rows = connection.execute(
        select(tuf_metadata.c.role, tuf_metadata.c.content)
        .join(
            newest,
            (newest.c.role == tuf_metadata.c.role) & (newest.c.version == tuf_metadata.c.version),
        )
        .where(tuf_metadata.c.gun == gun)
    )
    return {role: tuf.parse(role, bytes(content)) for role, content in rows}


def stored_metadata(connection: Connection, gun: str, *wanted: Any) -> Stored | None:
    """The newest metadata that fits the conditions."""
    row = connection.execute(
        select(tuf_metadata.c.content, tuf_metadata.c.sha256, tuf_metadata.c.created_at)
        .where(tuf_metadata.c.gun == gun, *wanted)
        .order_by(tuf_metadata.c.version.desc())
        .limit(1)
    ).first()
    return Stored(bytes(row[0]), row[1], row[2]) if row else None


def newest_key(connection: Connection, gun: str, role: str) -> Key | None:
    """The key that the server made last for a role."""
    public = connection.execute(
        select(tuf_keys.c.public)
        .where(tuf_keys.c.gun == gun, tuf_keys.c.role == role)
        .order_by(tuf_keys.c.id.desc())
        .limit(1)
    ).scalar()
    return Key("ecdsa", public) if public is not None else None


def insert_metadata(connection: Connection, project_id: int, gun: str, document: Document, at: float) -> None:
    """Keep accepted metadata."""
    connection.execute(
        insert(tuf_metadata).values(
            project_id=project_id,
            gun=gun,
            role=document.role,
            version=document.version,
            sha256=document.sha256,
            content=document.payload,
            created_at=at,
        )
    )


def record_change(
    connection: Connection, gun: str, version: int, sha256: str, category: str, at: float
) -> None:
    """Write an entry of the change feed."""
    connection.execute(
        insert(tuf_changes).values(gun=gun, version=version, sha256=sha256, category=category, created_at=at)
    )
