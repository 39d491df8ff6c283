"""A change over the API and its trace in the audit log commit together, whenever the server dies."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, func, select

from seawall.access.tables import projects
from seawall.features.audit.tables import audit_intents, audit_log
from seawall.features.audit.trail import recover
from seawall.infra.configuration import Configuration
from seawall.infra.settings import Settings
from seawall.process.server import open_api
from seawall.process.wiring import Process, open_process
from seawall.registry.tables import labels
from seawall.web.harbor import routing
from seawall.web.harbor.errors import ApiError
from tests.support.databases import with_schema
from tests.support.registry import Registry
from tests.support.waiting import until


@pytest.fixture
def settings_(database_settings: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    values: dict[str, Any] = {"data_dir": tmp_path / "data", "auth": {"mode": "none"}}
    if database_settings:
        values["database"] = {"url": request.getfixturevalue("postgres").database()}
    settings = Settings(**values)
    with_schema(settings.database_url)
    return settings


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[tuple[Process, httpx.AsyncClient]]:
    services = open_process(settings)
    transport = httpx.ASGITransport(open_api(services), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://x/api/v2.0") as client:
        yield services, client
    await services.close()


def run(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(body())


def entries(connection: Connection) -> list[tuple[str, str, int | None, bool]]:
    table = audit_log.c
    query = select(table.operation, table.resource, table.project_id, table.success).order_by(table.id)
    return [tuple(row) for row in connection.execute(query)]


def intents(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(audit_intents)).scalar_one()


def test_a_change_is_told_of_though_its_entry_was_not_written(
    settings_: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def died(*_arguments: object, **_keywords: object) -> None:
        raise RuntimeError("as if the process ended here")

    async def body() -> None:
        async with opened(settings_) as (services, client):
            assert (await client.post("/projects", json={"project_name": "one"})).status_code == 201
            assert await services.db.read(intents) == 0
            with monkeypatch.context() as patched:
                patched.setattr(routing, "_write_audit", died)
                assert (await client.post("/projects", json={"project_name": "two"})).status_code == 500
                label = {"name": "l", "scope": "p", "project_id": 2}
                assert (await client.post("/labels", json=label)).status_code == 500
                assert (await client.put("/projects/2", json={"metadata": {"public": "true"}})).is_error
            found = await services.db.read(lambda c: c.execute(select(projects.c.name)).scalars().all())
            assert set(found) == {"one", "two"}
            assert len(await services.db.read(entries)) == 1
            assert await services.db.read(intents) == 3
            # A request that is still under way is left alone.
            assert await services.db.write(lambda c: recover(c, services.audit, 100)) == 0
            assert await services.db.write(lambda c: recover(c, services.audit, 0)) == 3
            assert await services.db.write(lambda c: recover(c, services.audit, 0)) == 0
            assert sorted(await services.db.read(entries), key=str)[:3] == [
                ("create", "/labels", None, True),
                ("create", "/projects", None, True),
                ("create", "one", 1, True),
            ]
            assert ("update", "/projects/2", 2, True) in await services.db.read(entries)

    run(body)


def test_what_fails_leaves_no_trace_unless_a_part_was_done(
    settings_: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> None:
        async with opened(settings_) as (services, client):
            assert (await client.post("/projects", json={"project_name": "one"})).status_code == 201
            before = await services.db.read(entries)
            assert (await client.post("/projects", json={"project_name": "one"})).status_code == 409
            assert (await client.post("/projects", json={"project_name": 3})).status_code == 422
            assert (await client.delete("/labels/99")).status_code == 404
            assert await services.db.read(entries) == before
            # Writes, then fails.
            write = Configuration.set

            async def then_fail(self: Configuration, *arguments: Any, **keywords: Any) -> Any:
                await write(self, *arguments, **keywords)
                raise ApiError(400, "after the write")

            with monkeypatch.context() as patched:
                patched.setattr(Configuration, "set", then_fail)
                answer = await client.put("/configurations", json={"robot_name_prefix": "bot+"})
                assert answer.status_code == 400, answer.text
            added = (await services.db.read(entries))[len(before) :]
            assert added == [("update", "/configurations", None, False)]
            assert await services.db.read(intents) == 0

    run(body)


@pytest.mark.timeout(120)
def test_killed_while_changes_are_made(tmp_path: Path) -> None:
    """SIGKILL at random points: every label that is there has an entry, and every entry a label."""
    registry = Registry(
        tmp_path / "data", {"SEAWALL_JOBS__EMBEDDED": "false", "SEAWALL_LOG__ACCESS": "false"}
    )
    chance = random.Random(11)
    acknowledged: set[str] = set()
    for turn in range(2):
        registry.start()
        stop = threading.Event()

        def make(worker: int, turn: int = turn, stop: threading.Event = stop) -> None:
            with httpx.Client(base_url=f"{registry.url}/api/v2.0", auth=registry.admin, timeout=20) as client:
                for number in range(10_000):
                    if stop.is_set():
                        return
                    name = f"l{turn}-{worker}-{number}"
                    try:
                        if client.post("/labels", json={"name": name, "scope": "g"}).status_code == 201:
                            acknowledged.add(name)
                    except httpx.HTTPError:
                        return

        threads = [threading.Thread(target=make, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        wanted = len(acknowledged) + 15
        until(lambda wanted=wanted: len(acknowledged) >= wanted)  # type: ignore[misc]
        time.sleep(chance.random() / 2)
        registry.kill()
        stop.set()
        for thread in threads:
            thread.join(30)
    settings = Settings(data_dir=tmp_path / "data")

    async def body() -> None:
        services = open_process(settings)

        def read(connection: Connection) -> tuple[set[str], int, int]:
            names = set(connection.execute(select(labels.c.name)).scalars())
            query = select(audit_log.c.resource).where(audit_log.c.resource_type.in_(["label", "labels"]))
            told = list(connection.execute(query).scalars())
            exact = {name for name in told if name != "/labels"}
            assert exact <= names
            return names, len(exact), len(told) - len(exact)

        names, exact, general = await services.db.read(read)
        assert general == 0
        missing = len(names) - exact
        assert await services.db.read(intents) == missing
        await services.db.write(lambda c: recover(c, services.audit, -1))
        names, exact, general = await services.db.read(read)
        assert exact + general == len(names)
        assert acknowledged <= names
        assert len(acknowledged) > 20
        await services.close()

    asyncio.run(body())
