"""Package lists of images: from the database, from the layers, or from an SBOM that others attached.

A list belongs to a digest alone, so the same image in ten repositories is read once, and new advisories are
matched with stored lists without reading a layer.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from sqlalchemy import Connection, delete, select, update

from seawall.features.scan import catalog, report
from seawall.features.scan.analyze import Delta
from seawall.features.scan.attached import AttachedSboms
from seawall.features.scan.inventory import LAYER_TYPES, LayerSource, ScanError, build
from seawall.features.scan.model import Inventory, Limits, Log, Step
from seawall.features.scan.tables import scan_inventories, scan_layers
from seawall.features.scan.targets import Target
from seawall.infra.db import Database
from seawall.infra.db.dialect import upsert
from seawall.kernel.errors import RegistryError
from seawall.registry.local import LocalRegistry
from seawall.registry.views import manifests

_UNUSED_SECONDS = 90 * 86400


class PackageLists:
    """Makes and keeps the package lists of images."""

    def __init__(
        self,
        db: Database,
        content: LocalRegistry,
        attached: AttachedSboms,
        limits: Limits,
        attached_sboms: str = "never",
    ) -> None:
        """`attached_sboms`: whether SBOMs that others attached are package lists.

        "never", "fallback" where the layers cannot be read, or "prefer".
        """
        self._db = db
        self._content = content
        self._attached = attached
        self._limits = limits
        self._attached_sboms = attached_sboms

    async def inventory(self, target: Target, *, log: Log, step: Step) -> Inventory:
        """The image's package list, from the database or else read from its layers. Raises ScanError.

        Or from an SBOM that somebody attached, where the settings say so. Such a list belongs to this
        repository only and is not kept.
        """

        async def layers() -> list[LayerSource]:
            return await self._layers(target)

        if self._attached_sboms == "prefer":
            found = await self._attached.packages(target, log)
            if found is not None:
                return found
        try:
            return await self.inventory_of(target.digest, layers, log=log, step=step)
        except ScanError as error:
            found = await self._attached.packages(target, log) if self._attached_sboms == "fallback" else None
            if found is None:
                raise
            await log(f"the layers cannot be read: {error}")
            return found

    async def inventory_of(
        self, digest: str, find_layers: Callable[[], Awaitable[list[LayerSource]]], *, log: Log, step: Step
    ) -> Inventory:
        """The package list of the image `digest`, whose layers `find_layers` gives. Raises ScanError."""
        stored = await self._db.read(lambda c: stored_inventory(c, digest))
        if stored is not None:
            await log("package list known")
            return stored
        layers = await find_layers()
        await log(f"reading {len(layers)} layers")
        inventory = await build(layers, self._limits, load=self._load_layer, save=self._save_layer, step=step)
        data = report.pack(inventory.as_dict())
        now = time.time()

        def save_inventory(connection: Connection) -> None:
            values = {
                "digest": digest,
                "revision": catalog.REVISION,
                "packages": len(inventory.packages),
                "data": data,
                "created_at": now,
            }
            _upsert(connection, scan_inventories, values, "digest")

        await self._db.write(save_inventory)
        return inventory

    async def _layers(self, target: Target) -> list[LayerSource]:
        try:
            stored = await self._content.manifest(target.repository, target.digest)
            document = json.loads(stored.payload)
        except (RegistryError, ValueError) as error:
            raise ScanError(f"the manifest cannot be read: {error}") from None
        layers = []
        for descriptor in document.get("layers") or []:
            kind = str(descriptor.get("mediaType", ""))
            if not kind.startswith(LAYER_TYPES):
                continue
            digest = descriptor["digest"]
            try:
                blob = await self._content.blobs.get(target.repository, digest)
            except RegistryError:
                # The registry need not hold foreign layers; what is in them it cannot say then either.
                raise ScanError(f"layer {digest} is not in the registry") from None
            layers.append(self._source(digest, blob.key, blob.size))
        return layers

    def _source(self, digest: str, key: str, size: int) -> LayerSource:
        storage = self._content.storage
        path = storage.locate(key).path
        if path is not None:
            return LayerSource(digest, path)

        def stream() -> AsyncIterator[bytes]:
            return storage.stream(key, 0, size)

        return LayerSource(digest, stream=stream)

    async def _load_layer(self, chain: str) -> Delta | None:
        now = time.time()
        row = await self._db.point(
            lambda c: c.execute(
                select(scan_layers.c.data, scan_layers.c.used_at).where(scan_layers.c.chain == chain)
            ).first()
        )
        if row is None:
            return None
        if now - row[1] > 86400:
            await self._db.write(
                lambda c: c.execute(
                    update(scan_layers).where(scan_layers.c.chain == chain).values(used_at=now)
                ),
                durable=False,
            )
        return Delta.from_dict(report.unpack(bytes(row[0])))

    async def _save_layer(self, chain: str, digest: str, delta: Delta) -> None:
        values = {
            "chain": chain,
            "digest": digest,
            "data": report.pack(delta.as_dict()),
            "used_at": time.time(),
        }
        await self._db.write(lambda c: _upsert(c, scan_layers, values, "chain"), durable=False)

    async def forget_unused(self) -> int:
        """Drop layer results that no scan has used for long, and inventories of images that are gone."""
        before = time.time() - _UNUSED_SECONDS

        def delete_unused(connection: Connection) -> int:
            done = connection.execute(delete(scan_layers).where(scan_layers.c.used_at < before)).rowcount
            alive = select(manifests.c.id).where(manifests.c.digest == scan_inventories.c.digest).exists()
            done += connection.execute(
                delete(scan_inventories).where(scan_inventories.c.created_at < time.time() - 86400, ~alive)
            ).rowcount
            return int(done)

        return await self._db.write(delete_unused)


def stored_inventory(connection: Connection, digest: str) -> Inventory | None:
    """The package list of an image, if one made by these catalogers is stored."""
    row = connection.execute(
        select(scan_inventories.c.data).where(
            scan_inventories.c.digest == digest, scan_inventories.c.revision == catalog.REVISION
        )
    ).first()
    return Inventory.from_dict(report.unpack(bytes(row[0]))) if row else None


def _upsert(connection: Connection, table: Any, values: dict[str, Any], key: str) -> None:
    connection.execute(upsert(connection, table, values, key, values))
