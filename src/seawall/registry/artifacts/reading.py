"""One artifact: its manifest, its config and what can be shown of them."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import Any

import msgspec
from sqlalchemy import (
    Connection,
    select,
    update,
)

from seawall.infra.db import Database
from seawall.kernel.errors import (
    InvalidError,
    NotFoundError,
    RegistryError,
    StandbyError,
)
from seawall.kernel.names import check_digest, is_tag
from seawall.registry import additions, model_files
from seawall.registry.artifacts.model import Artifact
from seawall.registry.artifacts.queries import find
from seawall.registry.local import LocalRegistry
from seawall.registry.model import Repository
from seawall.registry.tables import (
    manifest_payloads,
    manifests,
)

_CONFIG_LIMIT = 4 * 1024 * 1024


class ArtifactReader:
    """Finds artifacts, and reads what is in them."""

    def __init__(self, db: Database, content: LocalRegistry) -> None:
        self._db = db
        self._content = content

    async def repository(self, name: str) -> Repository:
        """The repository called `name`. Raises NotFoundError."""
        # A change knows of all that was acknowledged before: a manifest goes with a tag that a peer took.
        await self._content.writes.elsewhere.ready_repository(name)
        try:
            return await self._content.repositories.get(name)
        except RegistryError:
            raise NotFoundError(f"repository {name} not found") from None

    async def get(self, name: str, reference: str) -> Artifact:
        """The artifact a tag or digest names. Raises NotFoundError."""
        repository = await self.repository(name)
        found = None
        if _plausible(reference):
            found = await self._db.point(lambda c: find(c, repository.id, reference))
        if found is None:
            raise NotFoundError(f"artifact {name}{'@' if ':' in reference else ':'}{reference} not found")
        return found

    async def complete(self, found: list[Artifact]) -> list[Artifact]:
        """The same artifacts with the attributes of their configs, which are stored when first read."""
        missing = [item for item in found if item.attributes is None]
        if not missing:
            return found
        gate = asyncio.Semaphore(8)

        async def read(item: Artifact) -> tuple[Artifact, dict[str, Any] | None]:
            async with gate:
                return item, await self._attributes(item)

        values: dict[int, dict[str, Any]] = {}
        for item, attributes in await asyncio.gather(*(read(item) for item in missing)):
            if attributes is not None:
                values[item.id] = attributes

        def store(connection: Connection) -> None:
            for item_id, attributes in sorted(values.items()):
                connection.execute(
                    update(manifests).where(manifests.c.id == item_id).values(attributes=attributes)
                )

        if values:
            # A standby reads them again each time, until the active has stored them.
            with contextlib.suppress(StandbyError):
                await self._db.write(store, durable=False)
        return [
            replace(item, attributes=values.get(item.id)) if item.attributes is None else item
            for item in found
        ]

    async def _attributes(self, item: Artifact) -> dict[str, Any] | None:
        if item.kind not in ("IMAGE", "CHART", "CNAB", "WASM", "CNAI"):
            return {}
        try:
            if item.is_index:
                return await self._bundle(item) if item.kind == "CNAB" else {}
            config = await self.config(item)
        except (NotFoundError, OSError):
            # The bytes may be back later; nothing is stored.
            return None
        return additions.attributes(item.kind, config)

    async def _bundle(self, item: Artifact) -> dict[str, Any]:
        """Attributes of a bundle of CNAB: those of the one of its manifests that has the bundle's config."""
        for child in (await self.payload(item)).get("manifests") or []:
            if (child.get("annotations") or {}).get("io.cnab.manifest.type") == "config":
                config = await self.config(await self.get(item.repository, child["digest"]))
                return additions.attributes(item.kind, config)
        return {}

    async def payload(self, item: Artifact) -> dict[str, Any]:
        """The manifest's document."""
        payload = await self._db.point(
            lambda c: c.execute(
                select(manifest_payloads.c.payload).where(manifest_payloads.c.manifest_id == item.id)
            ).scalar()
        )
        if payload is None:
            raise NotFoundError(f"artifact {item.digest} not found")
        document: dict[str, Any] = msgspec.json.decode(bytes(payload))
        return document

    async def config(self, item: Artifact) -> dict[str, Any]:
        """The config blob as JSON; empty when it is none. Raises NotFoundError."""
        descriptor = (await self.payload(item)).get("config")
        if not descriptor or descriptor["size"] > _CONFIG_LIMIT:
            return {}
        return additions.json_object(await self.read(item.repository, descriptor["digest"], _CONFIG_LIMIT))

    async def read(self, name: str, digest: str, limit: int) -> bytes:
        """A whole blob of at most `limit` bytes. Raises NotFoundError, InvalidError when it is larger."""
        try:
            blob = await self._content.blobs.get(name, digest)
        except RegistryError as error:
            raise NotFoundError(error.message) from None
        if blob.size > limit:
            raise InvalidError(f"{digest} has {blob.size} bytes, more than the {limit} this can show")
        parts = [part async for part in self._content.storage.stream(blob.key, 0, blob.size)]
        return b"".join(parts)

    async def addition(self, item: Artifact, name: str) -> tuple[str, bytes]:
        """(media type, content) of an addition: build history, a file of a Helm chart or model, the manifest.

        Raises InvalidError (the kind has no such addition) and NotFoundError.
        """
        wanted = name.lower()
        if wanted == "manifest":
            # Of every kind; Seawall's own, for the portal's view of layers.
            return "application/json; charset=utf-8", msgspec.json.encode(await self.payload(item))
        if wanted not in additions.names(item.kind, item.is_index):
            raise InvalidError(f"addition {name[:50]!r} is not there for {item.kind} artifacts")
        if wanted == "build_history":
            history = (await self.config(item)).get("history") or []
            return "application/json; charset=utf-8", msgspec.json.encode(history)
        layers = (await self.payload(item)).get("layers") or []
        if item.kind == "CNAI":
            return await self._of_model(item, layers, wanted)
        chart = next((layer for layer in layers if additions.is_chart(layer.get("mediaType", ""))), None)
        if chart is None:
            raise NotFoundError("the artifact has no chart layer")
        data = await self.read(item.repository, chart["digest"], additions.CHART_LIMIT)
        return await asyncio.to_thread(additions.chart_file, data, wanted)

    async def _of_model(self, item: Artifact, layers: list[dict[str, Any]], wanted: str) -> tuple[str, bytes]:
        if wanted == "files":
            return "application/json; charset=utf-8", model_files.files(layers)
        layer = model_files.document(layers, wanted)
        data = await self.read(item.repository, layer["digest"], model_files.DOCUMENT_LIMIT)
        text = await asyncio.to_thread(model_files.content, layer["mediaType"], data)
        form = "markdown" if wanted == "readme.md" else "plain"
        return f"text/{form}; charset=utf-8", text


def _plausible(reference: str) -> bool:
    if ":" not in reference:
        return is_tag(reference)
    try:
        check_digest(reference)
    except RegistryError:
        return False
    return True
