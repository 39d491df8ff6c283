"""The other registries: stored with sealed secrets, tried before they are, opened as adapters."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from seawall.access.projects import using_registry
from seawall.features.replication.adapter import Adapter, RemoteRegistry
from seawall.features.replication.adapters import ADAPTERS, open_adapter, unknown_type
from seawall.features.replication.limiter import Limiter
from seawall.features.replication.model import RegistryInfo
from seawall.features.replication.session import trusting
from seawall.features.replication.tables import registries, replication_policies
from seawall.infra.addresses import networks
from seawall.infra.db import Database
from seawall.infra.db.listing import Field, Fields, Page, contains
from seawall.infra.db.together import Also, nothing
from seawall.infra.secrets.keyring import KeyRing
from seawall.kernel.errors import ConflictError, InvalidError, NotFoundError, PreconditionError, SeawallError

PURPOSE = "registry"
_FIELDS: Fields = {
    "id": Field(registries.c.id, "int"),
    "name": Field(registries.c.name),
    "description": Field(registries.c.description),
    "type": Field(registries.c.type),
    "url": Field(registries.c.url),
    "credential_type": Field(registries.c.credential_type),
    "insecure": Field(registries.c.insecure, "bool"),
    "status": Field(registries.c.status),
    "creation_time": Field(registries.c.created_at, "time"),
    "update_time": Field(registries.c.updated_at, "time"),
}


class Registries:
    """The registries that this one copies to and from, and stands before as a cache."""

    def __init__(self, db: Database, keys: KeyRing) -> None:
        self._db = db
        self._keys = keys

    async def all(self) -> list[RegistryInfo]:
        """All registries, by name."""
        query = select(registries).order_by(registries.c.name)
        return await self._db.read(lambda c: [_info(row) for row in c.execute(query)])

    async def page(self, page: Page, name: str | None = None) -> tuple[int, list[RegistryInfo]]:
        """How many registries there are, by name those of a page; `name` is part of theirs."""
        query = select(registries)
        if name:
            query = query.where(contains(registries.c.name, name))
        total, rows = await self._db.read(lambda c: page.fetch(c, query, _FIELDS, registries.c.name))
        return total, [_info(row) for row in rows]

    async def get(self, registry_id: int) -> RegistryInfo:
        """One registry. Raises NotFoundError."""
        row = await self._row(registry_id)
        return _info(row)

    async def _row(self, registry_id: int) -> Any:
        query = select(registries).where(registries.c.id == registry_id)
        row = await self._db.read(lambda c: c.execute(query).first())
        if row is None:
            raise NotFoundError(f"registry {registry_id} not found")
        return row

    async def add(
        self,
        *,
        name: str,
        url: str,
        type: str,
        description: str = "",
        credential_type: str = "basic",
        access_key: str = "",
        access_secret: str = "",
        insecure: bool = False,
        ca_certificate: str | None = None,
        internal_networks: Sequence[str] = (),
        also: Also = nothing,
    ) -> int:
        """Store a registry that answers and takes the credentials; returns its id.

        Raises InvalidError, ConflictError, or RemoteError from the registry.
        """
        if not 0 < len(name) <= 255:
            raise InvalidError("a registry's name has 1 to 255 characters")
        url = check_url(url)
        allow = _checked_networks(internal_networks)
        token_origin = await self.check(
            RemoteRegistry(
                0, name, type, url, access_key, access_secret, insecure, ca_certificate, None, allow
            )
        )
        now = time.time()
        row = {
            "name": name,
            "description": description,
            "type": type,
            "url": url,
            "credential_type": credential_type,
            "access_key": access_key or None,
            "access_secret": self._seal(access_secret),
            "insecure": insecure,
            "ca_certificate": ca_certificate,
            "token_origin": token_origin,
            "internal_networks": list(allow) or None,
            "status": "healthy",
            "checked_at": now,
            "created_at": now,
            "updated_at": now,
        }
        try:
            made = await self._db.write(
                lambda c: c.execute(insert(registries).values(row)).inserted_primary_key, also=also
            )
        except IntegrityError:
            raise ConflictError(f"registry {name} exists") from None
        assert made is not None
        return int(made[0])

    async def change(self, registry_id: int, changes: dict[str, Any], *, also: Also = nothing) -> None:
        """Change name, description, url, credential_type, access_key, access_secret, insecure,
        ca_certificate, internal_networks; those not given stay.

        A registry that gets another address loses its secret, unless that is given again. Raises as `add`.
        """
        row = await self._row(registry_id)
        values = {key: value for key, value in changes.items() if value is not None}
        if "url" in values:
            values["url"] = check_url(values["url"])
        if "internal_networks" in values:
            values["internal_networks"] = list(_checked_networks(values["internal_networks"]))
        secret = values.pop("access_secret", None)
        current = self._open(row)
        url = values.get("url", row.url)
        if url != row.url and secret is None:
            # What was given for one address is not sent to another address, no matter who names it.
            secret = ""
            values.setdefault("access_key", "")
        token_origin = await self.check(
            RemoteRegistry(
                registry_id,
                values.get("name", row.name),
                row.type,
                url,
                values.get("access_key", row.access_key or ""),
                current.secret if secret is None else secret,
                values.get("insecure", row.insecure),
                values.get("ca_certificate", row.ca_certificate),
                # The token server is looked up again with the secret.
                current.token_origin if secret is None else None,
                tuple(values.get("internal_networks", current.internal_networks)),
            )
        )
        if secret is not None:
            values["access_secret"] = self._seal(secret)
        now = time.time()
        values.update(updated_at=now, status="healthy", checked_at=now, token_origin=token_origin)
        try:
            await self._db.write(
                lambda c: c.execute(update(registries).where(registries.c.id == registry_id).values(values)),
                also=also,
            )
        except IntegrityError:
            raise ConflictError(f"registry {values['name']} exists") from None

    async def remove(self, registry_id: int, *, also: Also = nothing) -> None:
        """Forget a registry. Raises NotFoundError, PreconditionError while something uses it."""

        def delete_registry(connection: Connection) -> None:
            policies = replication_policies.c
            used = connection.execute(
                select(policies.name).where(
                    or_(policies.src_registry_id == registry_id, policies.dest_registry_id == registry_id)
                )
            ).scalar()
            if used is not None:
                raise PreconditionError(f"replication policy {used} uses this registry")
            project = using_registry(connection, registry_id)
            if project is not None:
                raise PreconditionError(f"proxy-cache project {project} uses this registry")
            if not connection.execute(delete(registries).where(registries.c.id == registry_id)).rowcount:
                raise NotFoundError(f"registry {registry_id} not found")

        await self._db.write(delete_registry, also=also)

    async def check(self, registry: RemoteRegistry) -> str | None:
        """Raise RemoteError unless the registry answers and takes the credentials.

        Returns the token server that they are for, where it has another address.
        """
        _checked_networks(registry.internal_networks)
        if registry.ca_certificate:
            # Also of a registry whose certificate is not looked at for now.
            trusting(registry.ca_certificate)
        adapter = open_adapter(registry)
        try:
            await adapter.ping()
            return adapter.client.session.login.token_origin or None
        finally:
            await adapter.close()

    async def with_secret(self, registry_id: int) -> RemoteRegistry:
        """A registry with its secret, for logging in to it. Raises NotFoundError."""
        return self._open(await self._row(registry_id))

    async def adapter(self, registry_id: int, limiter: Limiter | None = None) -> Adapter:
        """An open adapter of a stored registry; close it. Raises NotFoundError."""
        return open_adapter(await self.with_secret(registry_id), limiter)

    async def check_all(self) -> dict[str, str]:
        """Ping every registry and store the outcome; returns status by name."""
        result = {}
        for item in await self.all():
            status = "healthy"
            try:
                await self.check(await self.with_secret(item.id))
            except SeawallError:
                status = "unhealthy"
            result[item.name] = status
            if status != item.status:
                await self.mark(item.id, status)
        return result

    async def mark(self, registry_id: int, status: str) -> None:
        """Store whether a registry is `healthy` or `unhealthy`."""
        statement = update(registries).where(registries.c.id == registry_id)
        await self._db.write(lambda c: c.execute(statement.values(status=status, checked_at=time.time())))

    def _open(self, row: Any) -> RemoteRegistry:
        secret = self._keys.decrypt(PURPOSE, row.access_secret).decode() if row.access_secret else ""
        return RemoteRegistry(
            row.id,
            row.name,
            row.type,
            row.url,
            row.access_key or "",
            secret,
            row.insecure,
            row.ca_certificate,
            row.token_origin or "",
            tuple(row.internal_networks or ()),
        )

    def _seal(self, secret: str) -> str | None:
        return self._keys.encrypt(PURPOSE, secret.encode()) if secret else None


def _info(row: Any) -> RegistryInfo:
    return RegistryInfo(
        row.id,
        row.name,
        row.description,
        row.type,
        row.url,
        row.credential_type,
        row.access_key,
        row.access_secret is not None,
        row.insecure,
        row.ca_certificate,
        row.token_origin,
        tuple(row.internal_networks or ()),
        row.status,
        row.created_at,
        row.updated_at,
    )


def _checked_networks(values: Sequence[str]) -> tuple[str, ...]:
    try:
        return tuple(str(item) for item in networks(values))
    except ValueError as error:
        raise InvalidError(f"internal_networks: {error}"[:200]) from None


def check_url(url: str) -> str:
    """The address of a registry, in one form. Raises InvalidError."""
    try:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or parts.username is not None or parts.query or parts.fragment or len(url) > 1000:
        raise InvalidError(f"{url[:200]!r} is not the address of a registry")
    return parts.geturl().rstrip("/")


def check_type(kind: str) -> None:
    """Raise InvalidError for an unknown kind of registry."""
    if kind not in ADAPTERS:
        raise unknown_type(kind)


def registry_row(connection: Connection, registry_id: int) -> Any:
    """The registry's row (its secret is sealed), None when there is none."""
    return connection.execute(select(registries).where(registries.c.id == registry_id)).first()
