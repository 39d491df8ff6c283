"""Scanner registrations: the embedded scanner and adapters by URL; which one a project uses."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from seawall import __version__
from seawall.features.scan import report, sbom
from seawall.features.scan.adapter import Registration
from seawall.features.scan.tables import project_scanners, scanners
from seawall.infra.db import Database
from seawall.infra.db.listing import Field, Fields, Page
from seawall.infra.db.together import Also, nothing
from seawall.infra.outgoing import origin_of
from seawall.infra.secrets.keyring import KeyRing
from seawall.kernel.errors import ConflictError, InvalidError, NotFoundError

# The embedded scanner is a registration like the others, so that it can be chosen, disabled or replaced.
EMBEDDED = "00000000-0000-4000-8000-000000000001"
EMBEDDED_URL = "seawall:embedded"
AUTH = ("", "Basic", "Bearer", "APIKey")
_PURPOSE = "scanner"


def check_url(url: str) -> None:
    """Raise InvalidError for what is not an address of a scanner."""
    if not url.startswith(("http://", "https://")) or len(url) > 512 or " " in url or not url.isprintable():
        raise InvalidError("a scanner's url starts with http:// or https://")
    try:
        origin_of(url)
    except ValueError as error:
        raise InvalidError(str(error)) from None


@dataclass(frozen=True, slots=True)
class Scanner:
    """A registration; `sealed` is the credential as stored."""

    id: int
    uuid: str
    name: str
    description: str
    url: str
    auth: str
    sealed: str | None
    disabled: bool
    is_default: bool
    skip_cert_verify: bool
    use_internal_addr: bool
    created_at: float
    updated_at: float

    @property
    def embedded(self) -> bool:
        """Whether it is the scanner inside Seawall."""
        return self.uuid == EMBEDDED


_COLUMNS = (
    scanners.c.id,
    scanners.c.uuid,
    scanners.c.name,
    scanners.c.description,
    scanners.c.url,
    scanners.c.auth,
    scanners.c.credential,
    scanners.c.disabled,
    scanners.c.is_default,
    scanners.c.skip_cert_verify,
    scanners.c.use_internal_addr,
    scanners.c.created_at,
    scanners.c.updated_at,
)
_MANIFESTS = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
]
METADATA: dict[str, Any] = {
    "scanner": report.SCANNER,
    "capabilities": [
        {
            "type": "vulnerability",
            "consumes_mime_types": _MANIFESTS,
            "produces_mime_types": [report.GENERIC, report.NATIVE],
        },
        {
            "type": "sbom",
            "consumes_mime_types": _MANIFESTS,
            "produces_mime_types": [report.SBOM],
            "additional_attributes": {"sbom_media_types": list(sbom.FORMATS)},
        },
    ],
    "properties": {
        "harbor.scanner-adapter/scanner-type": "os-package-vulnerability",
        "harbor.scanner-adapter/registry-authorization-type": "Bearer",
        "seawall/version": __version__,
    },
}


def ensure_embedded(connection: Connection) -> None:
    """Register the embedded scanner, as the default, unless it is there."""
    if connection.execute(select(scanners.c.id).where(scanners.c.uuid == EMBEDDED)).first():
        return
    now = time.time()
    other = connection.execute(select(scanners.c.id).where(scanners.c.is_default)).first()
    connection.execute(
        insert(scanners).values(
            uuid=EMBEDDED,
            name="Seawall",
            description="The scanner inside Seawall",
            url=EMBEDDED_URL,
            is_default=other is None,
            created_at=now,
            updated_at=now,
        )
    )


def _scanner(row: Any) -> Scanner:
    return Scanner(*row)


_FIELDS: Fields = {
    "uuid": Field(scanners.c.uuid),
    "name": Field(scanners.c.name),
    "description": Field(scanners.c.description),
    "url": Field(scanners.c.url),
    "disabled": Field(scanners.c.disabled, "bool"),
    "is_default": Field(scanners.c.is_default, "bool"),
    "skip_cert_verify": Field(scanners.c.skip_cert_verify, "bool"),
    "use_internal_addr": Field(scanners.c.use_internal_addr, "bool"),
    "create_time": Field(scanners.c.created_at, "time"),
    "update_time": Field(scanners.c.updated_at, "time"),
}


def list_scanners(connection: Connection, page: Page) -> tuple[int, list[Scanner]]:
    """How many registrations there are, and those of a page: the default first, then the newest."""
    newest = scanners.c.is_default.desc(), scanners.c.id.desc()
    total, rows = page.fetch(connection, select(*_COLUMNS), _FIELDS, *newest)
    return total, [_scanner(row) for row in rows]


def find(connection: Connection, identifier: str) -> Scanner | None:
    """The registration of that uuid."""
    return _one(connection, scanners.c.uuid == identifier)


def _one(connection: Connection, condition: ColumnElement[bool]) -> Scanner | None:
    row = connection.execute(select(*_COLUMNS).where(condition).order_by(scanners.c.id)).first()
    return _scanner(row) if row else None


def of_project(connection: Connection, project_id: int | None) -> Scanner | None:
    """The scanner a project uses: its own choice or the default; None when there is none."""
    if project_id is not None:
        chosen = connection.execute(
            select(project_scanners.c.scanner).where(project_scanners.c.project_id == project_id)
        ).scalar()
        if chosen is not None:
            found = find(connection, chosen)
            if found is not None:
                return found
    return _one(connection, scanners.c.is_default)


def choose(connection: Connection, project_id: int, identifier: str) -> None:
    """Let a project use a scanner. Raises NotFoundError, InvalidError (disabled)."""
    found = find(connection, identifier)
    if found is None:
        raise NotFoundError(f"scanner {identifier[:64]} not found")
    if found.disabled:
        raise InvalidError(f"scanner {found.name} is disabled")
    connection.execute(delete(project_scanners).where(project_scanners.c.project_id == project_id))
    connection.execute(insert(project_scanners).values(project_id=project_id, scanner=identifier))


class Scanners:
    """Changes of registrations."""

    def __init__(self, db: Database, keys: KeyRing) -> None:
        self._db = db
        self._keys = keys

    def registration(self, scanner: Scanner) -> Registration:
        """How to reach an adapter."""
        credential = self._keys.decrypt(_PURPOSE, scanner.sealed).decode() if scanner.sealed else ""
        return Registration(scanner.url, scanner.auth, credential, scanner.skip_cert_verify)

    async def create(self, values: dict[str, Any], *, also: Also = nothing) -> str:
        """Add an adapter; returns its uuid. Raises InvalidError, ConflictError."""
        row = self._row(values, None)
        identifier = str(uuid.uuid4())
        now = time.time()

        def insert_scanner(connection: Connection) -> None:
            _unique(connection, row, None)
            connection.execute(
                insert(scanners).values(uuid=identifier, created_at=now, updated_at=now, **row)
            )

        await self._db.write(insert_scanner, also=also)
        return identifier

    async def change(self, identifier: str, values: dict[str, Any], *, also: Also = nothing) -> None:
        """Replace a registration. An empty credential keeps the old one while address and need stay.

        Raises NotFoundError, InvalidError, ConflictError.
        """

        def update_scanner(connection: Connection) -> None:
            old = find(connection, identifier)
            if old is None:
                raise NotFoundError(f"scanner {identifier[:64]} not found")
            if old.embedded:
                # Only what makes sense for it.
                row = {
                    "description": str(values.get("description") or "")[:1024],
                    "disabled": bool(values.get("disabled")),
                }
            else:
                row = self._row(values, old)
                _unique(connection, row, identifier)
            if row.get("disabled") and old.is_default:
                raise InvalidError("the default scanner cannot be disabled; make another one the default")
            connection.execute(
                update(scanners).where(scanners.c.uuid == identifier).values(updated_at=time.time(), **row)
            )

        await self._db.write(update_scanner, also=also)

    async def remove(self, identifier: str, *, also: Also = nothing) -> Scanner:
        """Delete a registration and return what it was. Raises NotFoundError, InvalidError."""

        def delete_scanner(connection: Connection) -> Scanner:
            old = find(connection, identifier)
            if old is None:
                raise NotFoundError(f"scanner {identifier[:64]} not found")
            if old.embedded:
                raise InvalidError("the embedded scanner cannot be deleted; it can be disabled")
            if old.is_default:
                raise InvalidError("the default scanner cannot be deleted; make another one the default")
            connection.execute(delete(project_scanners).where(project_scanners.c.scanner == identifier))
            connection.execute(delete(scanners).where(scanners.c.uuid == identifier))
            return old

        return await self._db.write(delete_scanner, also=also)

    async def make_default(self, identifier: str, *, also: Also = nothing) -> None:
        """Make a scanner the default. Raises NotFoundError, InvalidError (disabled)."""

        def switch_default(connection: Connection) -> None:
            found = find(connection, identifier)
            if found is None:
                raise NotFoundError(f"scanner {identifier[:64]} not found")
            if found.disabled:
                raise InvalidError(f"scanner {found.name} is disabled")
            connection.execute(update(scanners).values(is_default=False))
            connection.execute(update(scanners).where(scanners.c.uuid == identifier).values(is_default=True))

        await self._db.write(switch_default, also=also)

    def _row(self, values: dict[str, Any], old: Scanner | None) -> dict[str, Any]:
        name, url = str(values.get("name") or "").strip(), str(values.get("url") or "").strip()
        if not name or len(name) > 128:
            raise InvalidError("a scanner's name has 1 to 128 characters")
        check_url(url)
        auth = next((a for a in AUTH if a.lower() == str(values.get("auth") or "").lower()), None)
        if auth is None:
            raise InvalidError("auth must be empty, Basic, Bearer or APIKey")
        credential = str(values.get("access_credential") or "")
        sealed = self._keys.encrypt(_PURPOSE, credential.encode()) if credential and auth else None
        if sealed is None and auth and old is not None and url.rstrip("/") == old.url:
            # What was given for one address is not sent to another.
            sealed = old.sealed
        if auth and sealed is None:
            raise InvalidError(f"auth {auth} needs an access_credential")
        return {
            "name": name,
            "description": str(values.get("description") or "")[:1024],
            "url": url.rstrip("/"),
            "auth": auth,
            "credential": sealed,
            "disabled": bool(values.get("disabled")),
            "skip_cert_verify": bool(values.get("skip_certVerify")),
            "use_internal_addr": bool(values.get("use_internal_addr")),
        }


def _unique(connection: Connection, row: dict[str, Any], identifier: str | None) -> None:
    for column, text in ((scanners.c.name, "name"), (scanners.c.url, "url")):
        query = select(scanners.c.uuid).where(column == row[text])
        found = connection.execute(query).scalar()
        if found is not None and found != identifier:
            raise ConflictError(f"a scanner with that {text} exists")
