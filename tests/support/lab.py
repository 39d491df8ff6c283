"""A registry without a network: services over a fresh database, SQLite and PostgreSQL in turn."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, func, insert, select

from seawall.access.tables import projects
from seawall.infra.settings import Settings
from seawall.process.wiring import Process, open_process
from seawall.registry.ledger import USED
from seawall.registry.manifest import OCI_INDEX, OCI_MANIFEST
from seawall.registry.model import Chunk
from seawall.registry.tables import project_blobs, quotas, repositories
from tests.support.databases import with_schema
from tests.support.digests import digest_of

CONFIG = "application/vnd.oci.image.config.v1+json"


def descriptor(data: bytes, media_type: str) -> dict[str, Any]:
    """A descriptor of bytes."""
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


async def stream(data: bytes) -> AsyncIterator[bytes]:
    """A request's body that comes in one piece; one without bytes has none."""
    if data:
        yield data


class Lab:
    """Services and short ways to push and look."""

    def __init__(self, services: Process) -> None:
        self.services = services
        self.content = services.content
        self.db = services.db

    async def project(self, name: str = "p", *, public: bool = True) -> int:
        """Make a project; returns its id."""

        def run(connection: Connection) -> int:
            row = {"name": name, "public": public, "created_at": 1.0, "updated_at": 1.0}
            return int(
                connection.execute(insert(projects).values(**row).returning(projects.c.id)).scalar_one()
            )

        return await self.db.write(run)

    async def blob(self, name: str, data: bytes) -> str:
        """Upload a blob."""
        await self.content.repositories.ensure(name)
        writer = await self.services.storage.open_upload(secrets.token_hex(8), 0, {})
        await writer.write(data)
        return (await self.content.uploads.finish(None, writer, name, digest_of(data))).digest

    async def session(self, name: str, begun: bytes = b"") -> str:
        """Start an upload session and leave bytes in it; returns its id."""
        session = await self.services.registry.start_upload(name)
        if begun:
            await self.services.registry.append_upload(name, session, Chunk(stream(begun)))
        return session

    async def image(
        self,
        name: str,
        reference: str | None = None,
        *,
        layers: list[bytes] | None = None,
        config: bytes | None = None,
        config_type: str = CONFIG,
        layer_type: str = "application/vnd.oci.image.layer.v1.tar+gzip",
        **extra: Any,
    ) -> str:
        """Push an image manifest and its blobs under a tag, or by digest only; returns its digest."""
        data = [secrets.token_bytes(32)] if layers is None else layers
        config = json.dumps({"architecture": "amd64", "os": "linux"}).encode() if config is None else config
        for item in [*data, config]:
            await self.blob(name, item)
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(config, config_type),
            "layers": [descriptor(item, layer_type) for item in data],
            **extra,
        }
        payload = json.dumps(document).encode()
        digest, _ = await self.content.put_manifest(
            name, reference or digest_of(payload), payload, OCI_MANIFEST
        )
        return digest

    async def index(self, name: str, reference: str, digests: list[str]) -> str:
        """Push an index of these manifests."""
        children = []
        for item in digests:
            stored = await self.content.manifest(name, item)
            children.append(
                {"mediaType": stored.media_type, "digest": item, "size": len(stored.payload)}
                | {"platform": {"os": "linux", "architecture": "amd64"}}
            )
        payload = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children}).encode()
        digest, _ = await self.content.put_manifest(name, reference, payload, OCI_INDEX)
        return digest

    async def count(self, name: str) -> int:
        """The repository's stored number of artifacts."""
        return await self.db.read(
            lambda c: int(
                c.execute(
                    select(repositories.c.artifact_count).where(repositories.c.name == name)
                ).scalar_one()
            )
        )

    async def used(self, project_id: int) -> int:
        """The project's stored usage, checked against what it is charged for."""

        def run(connection: Connection) -> tuple[int, int]:
            stored = connection.execute(select(USED).where(quotas.c.project_id == project_id)).scalar_one()
            held = connection.execute(
                select(func.coalesce(func.sum(project_blobs.c.size), 0)).where(
                    project_blobs.c.project_id == project_id
                )
            ).scalar_one()
            return int(stored), int(held)

        stored, held = await self.db.read(run)
        assert stored == held
        return stored


Run = Callable[[Callable[[Lab], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def lab_settings(
    database_settings: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> Settings:
    """Settings of a registry of this test's own, its database migrated."""
    data: dict[str, Any] = {"data_dir": tmp_path / "data"}
    if database_settings:
        url = request.getfixturevalue("postgres").migrated()
        data["database"] = {"url": url, "pool_size": 8}
    else:
        with_schema(f"sqlite:///{tmp_path}/data/seawall.db")
    return Settings(**data)


@pytest.fixture
def run(lab_settings: Settings) -> Run:
    """Run a coroutine function with a Lab, on a loop of its own."""

    def runner(body: Callable[[Lab], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            services = open_process(lab_settings)
            try:
                await body(Lab(services))
            finally:
                await services.close()

        asyncio.run(main())

    return runner
