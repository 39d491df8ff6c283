"""The distribution networks that artifacts may be sent to, stored with sealed credentials."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from seawall.features.preheat.drivers import PROVIDERS, Instance, authorization, open_driver
from seawall.features.preheat.model import InstanceRow, InstanceValues, PreheatPolicy, check_name
from seawall.features.preheat.tables import preheat_instances, preheat_policies
from seawall.infra.db import Database
from seawall.infra.db.together import Also, nothing
from seawall.infra.secrets.keyring import KeyRing
from seawall.kernel.errors import ConflictError, InvalidError, NotFoundError, PreconditionError

PURPOSE = "preheat"


def instances_query() -> Select[Any]:
    """A query of instances; its rows make `InstanceRow(*row)`."""
    columns = preheat_instances.c
    return select(*(columns[name] for name in InstanceRow.__dataclass_fields__))


class Instances:
    """The instances."""

    def __init__(self, db: Database, keys: KeyRing) -> None:
        self._db = db
        self._keys = keys

    async def get(self, name: str) -> InstanceRow:
        """One instance. Raises NotFoundError."""
        query = instances_query().where(preheat_instances.c.name == name)
        row = await self._db.read(lambda c: c.execute(query).first())
        if row is None:
            raise NotFoundError(f"preheat instance {name} not found")
        return InstanceRow(*row)

    async def reach(self, instance_id: int) -> Instance:
        """How to reach an instance, with its credentials. Raises NotFoundError."""
        query = select(preheat_instances).where(preheat_instances.c.id == instance_id)
        row = await self._db.read(lambda c: c.execute(query).first())
        if row is None:
            raise NotFoundError(f"preheat instance {instance_id} not found")
        return self._open(row)

    def _open(self, row: Any) -> Instance:
        info = json.loads(self._keys.decrypt(PURPOSE, row.auth_info)) if row.auth_info else None
        return Instance(row.vendor, row.endpoint, row.auth_mode, info, row.insecure)

    async def ping(self, instance: Instance) -> None:
        """Raise InvalidError or DriverError unless the network is well."""
        driver = open_driver(instance)
        try:
            await driver.health()
        finally:
            await driver.close()

    async def add(self, values: InstanceValues, *, also: Also = nothing) -> int:
        """Store an instance; returns its id. Raises InvalidError or ConflictError."""
        made = InstanceValues(
            name=values.name or "",
            description=values.description or "",
            vendor=values.vendor or "",
            endpoint=values.endpoint or "",
            auth_mode=values.auth_mode or "NONE",
            auth_info=values.auth_info,
            enabled=True if values.enabled is None else values.enabled,
            is_default=bool(values.is_default),
            insecure=bool(values.insecure),
        )
        row = {**self._checked(made), "created_at": time.time()}

        def insert_instance(connection: Connection) -> int:
            if row["is_default"]:
                connection.execute(update(preheat_instances).values(is_default=False))
            made = connection.execute(insert(preheat_instances).values(row)).inserted_primary_key
            assert made is not None
            return int(made[0])

        return int(await self._unique(insert_instance, also))

    async def change(self, name: str, values: InstanceValues, *, also: Also = nothing) -> None:
        """Change what is given. Raises NotFoundError, InvalidError or ConflictError."""
        query = select(preheat_instances).where(preheat_instances.c.name == name)
        row = await self._db.read(lambda c: c.execute(query).first())
        if row is None:
            raise NotFoundError(f"preheat instance {name} not found")
        mode = values.auth_mode or row.auth_mode
        kept = self._open(row).auth_info
        # What was given for one address is not sent to another.
        same = mode == row.auth_mode and (values.endpoint or row.endpoint).rstrip("/") == row.endpoint
        info = values.auth_info or (dict(kept) if kept and same else None)
        merged = InstanceValues(
            name=values.name or row.name,
            description=row.description if values.description is None else values.description,
            vendor=values.vendor or row.vendor,
            endpoint=values.endpoint or row.endpoint,
            auth_mode=mode,
            auth_info=info,
            enabled=row.enabled if values.enabled is None else values.enabled,
            is_default=row.is_default if values.is_default is None else values.is_default,
            insecure=row.insecure if values.insecure is None else values.insecure,
        )
        changed = self._checked(merged)

        def update_instance(connection: Connection) -> None:
            if changed["is_default"]:
                connection.execute(update(preheat_instances).values(is_default=False))
            connection.execute(
                update(preheat_instances).where(preheat_instances.c.id == row.id).values(changed)
            )

        await self._unique(update_instance, also)

    def _checked(self, values: InstanceValues) -> dict[str, Any]:
        check_name(values.name or "")
        if values.vendor not in PROVIDERS:
            raise InvalidError(f"vendor must be one of {', '.join(PROVIDERS)}")
        endpoint = (values.endpoint or "").rstrip("/")
        try:
            parts = urlsplit(endpoint)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good or len(endpoint) > 1024 or any(ord(character) < 33 for character in endpoint):
            raise InvalidError("endpoint must be a URL that starts with http:// or https://")
        info = values.auth_info or {}
        authorization(values.auth_mode or "NONE", info)
        sealed = None
        if info and values.auth_mode != "NONE":
            sealed = self._keys.encrypt(PURPOSE, json.dumps(info).encode())
        return {
            "name": values.name,
            "description": values.description,
            "vendor": values.vendor,
            "endpoint": endpoint,
            "auth_mode": values.auth_mode,
            "auth_info": sealed,
            "enabled": values.enabled,
            "is_default": values.is_default,
            "insecure": values.insecure,
        }

    async def remove(self, name: str, *, also: Also = nothing) -> None:
        """Delete an instance. Raises NotFoundError, and PreconditionError while policies use it."""
        found = await self.get(name)

        def delete_instance(connection: Connection) -> None:
            query = select(preheat_policies.c.name).where(preheat_policies.c.provider_id == found.id)
            used = connection.execute(query.limit(1)).scalar()
            if used is not None:
                raise PreconditionError(f"the instance is used by policy {used}")
            connection.execute(delete(preheat_instances).where(preheat_instances.c.id == found.id))

        await self._db.write(delete_instance, also=also)

    async def check(self, policy: PreheatPolicy) -> None:
        """Raise PreconditionError when the policy's instance is switched off, DriverError when not well."""
        query = select(preheat_instances).where(preheat_instances.c.id == policy.provider_id)
        row = await self._db.read(lambda c: c.execute(query).first())
        if row is None or not row.enabled:
            raise PreconditionError(f"preheat instance {policy.provider_name} is not enabled")
        await self.ping(self._open(row))

    async def _unique(self, run: Any, also: Also) -> Any:
        try:
            return await self._db.write(run, also=also)
        except IntegrityError:
            raise ConflictError("an instance has that name or endpoint already") from None
