"""The scan service in one process: stored results, re-runs, storage without local files."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from seawall.features.scan import catalog, hub, importer, scanners
from seawall.features.scan.inventory import LayerSource, ScanError, build
from seawall.features.scan.model import Limits
from seawall.features.scan.reports import find_report
from seawall.features.scan.tables import scan_inventories, scan_layers, scan_reports
from seawall.infra.jobs.base import JobStoppedError
from seawall.infra.jobs.tables import jobs
from seawall.infra.settings import Settings
from seawall.infra.storage.base import Location
from seawall.process.wiring import Process, open_process
from tests.support.databases import with_schema
from tests.support.scan.advisories import ev, record, write
from tests.support.scan.content import npm
from tests.support.scan.service import Log, never, push, scan


def run(tmp_path: Path, work: Callable[[Process], Awaitable[None]]) -> None:
    """Do `work` with open services (SQLite, local files)."""
    settings = Settings(data_dir=tmp_path / "data", auth={"mode": "none"})  # type: ignore[arg-type]
    with_schema(settings.database_url)

    async def inside() -> None:
        services = open_process(settings)
        try:
            await work(services)
        finally:
            await services.close()

    asyncio.run(inside())


def count(services: Process, table: Any) -> int:
    return int(
        services.db.sync_read(lambda c: c.execute(select(func.count()).select_from(table)).scalar_one())
    )


def test_layers_of_a_base_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(services: Process) -> None:
        base, top = npm(("base", "1.0.0")), npm(("top", "1.0.0"))
        await push(services, "p/a", "1", base)
        await push(services, "p/a", "2", base, top)
        await push(services, "q/b", "2", base, top)
        log = Log()
        await scan(services, "p/a", "1", log)
        assert count(services, scan_layers) == 1
        assert "reading 1 layers" in log.text
        await scan(services, "p/a", "2")
        assert count(services, scan_layers) == 2
        # The same image elsewhere: nothing to read, also when no process could be started.
        monkeypatch.setattr("seawall.features.scan.inventory.Worker.__aenter__", None)
        log = Log()
        await scan(services, "q/b", "2", log)
        assert "package list known" in log.text
        assert count(services, scan_inventories) == 2

    run(tmp_path, work)


def test_storage_that_only_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(services: Process) -> None:
        await push(services, "p/a", "1", npm(("left", "1.0.0")))
        monkeypatch.setattr(services.storage, "locate", lambda _key: Location())
        log = Log()
        await scan(services, "p/a", "1", log)
        assert "1 packages" in log.text

    run(tmp_path, work)


def test_a_job_that_runs_again(tmp_path: Path) -> None:
    """At least once: after a crash the job starts over; after its end it finds nothing to do."""

    async def work(services: Process) -> None:
        await push(services, "p/a", "1", npm(("left", "1.0.0")))
        (identifier,) = await services.scan.requests.request("p/a", "1")

        async def crash() -> None:
            raise RuntimeError("the power went")

        with pytest.raises(RuntimeError):
            await services.scan.runner.run(identifier, log=Log(), step=crash)
        row = await services.db.read(lambda c: find_report(c, identifier))
        assert row is not None
        assert row.status == "Running"
        assert (await services.scan.runner.run(identifier, log=Log(), step=never))["status"] == "success"
        assert (await services.scan.runner.run(identifier, log=Log(), step=never))["status"] == "gone"

    run(tmp_path, work)


def test_rematch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(services: Process) -> None:
        await push(services, "p/a", "1", npm(("left", "1.0.0")))
        assert (await scan(services, "p/a", "1"))["vulnerabilities"] == []
        assert await services.scan.rematcher.run(log=Log(), step=never) == {"reports": 0, "changed": 0}

        def bring(name: str) -> None:
            importer.import_path(
                services.db, write(tmp_path / "osv", record(name, "left", "npm", ev(("introduced", "0"))))
            )

        await asyncio.to_thread(bring, "GHSA-1")
        assert await services.scan.rematcher.run(log=Log(), step=never) == {"reports": 1, "changed": 1}
        # Nothing new: nothing to do.
        assert await services.scan.rematcher.run(log=Log(), step=never) == {"reports": 0, "changed": 0}
        # A package list made by older catalogers is made anew.
        await asyncio.to_thread(bring, "GHSA-2")
        monkeypatch.setattr(catalog, "REVISION", catalog.REVISION + 1)
        before = count(services, jobs)
        assert await services.scan.rematcher.run(log=Log(), step=never) == {"reports": 1, "changed": 0}
        assert count(services, jobs) == before + 1

    run(tmp_path, work)


def test_an_artifact_with_low_findings_can_be_the_most_dangerous(tmp_path: Path) -> None:
    async def work(services: Process) -> None:
        low = [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:P/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N"}]
        advisory = record("GHSA-1", "left", "npm", ev(("introduced", "0")), severity=low)
        await asyncio.to_thread(importer.import_path, services.db, write(tmp_path / "osv", advisory))
        await services.db.write(scanners.ensure_embedded)
        digest = await push(services, "p/a", "1", npm(("left", "1.0.0")))
        await scan(services, "p/a", "1")
        found = services.db.sync_read(lambda c: hub.summary(c, cves=False, artifacts=True))
        assert (found["low_cnt"], found["total_vuls"]) == (1, 1)
        assert [item["digest"] for item in found["dangerous_artifacts"]] == [digest]

    run(tmp_path, work)


def test_reports_go_with_the_artifact(tmp_path: Path) -> None:
    async def work(services: Process) -> None:
        digest = await push(services, "p/a", "1", npm(("left", "1.0.0")))
        await scan(services, "p/a", "1")
        await services.content.delete_manifest("p/a", digest)
        assert count(services, scan_reports) == 0
        # Unused results go in time.
        await services.db.write(lambda c: c.execute(update(scan_layers).values(used_at=0)))
        await services.db.write(lambda c: c.execute(update(scan_inventories).values(created_at=0)))
        assert await services.scan.packages.forget_unused() == 2

    run(tmp_path, work)


def test_a_layer_that_does_not_end_can_be_stopped() -> None:
    async def endless() -> Any:
        while True:
            yield b"\0" * 16
            await asyncio.sleep(0.2)

    steps = 0

    async def step() -> None:
        nonlocal steps
        steps += 1
        if steps > 1:
            raise JobStoppedError

    layer = LayerSource("sha256:x", stream=endless)
    with pytest.raises(JobStoppedError):
        asyncio.run(build([layer], Limits(), step=step))


def test_a_missing_layer_is_an_error(tmp_path: Path) -> None:
    async def work(services: Process) -> None:
        await push(services, "p/a", "1", npm(("left", "1.0.0")))
        for file in (tmp_path / "data" / "blobs").rglob("*"):
            if file.is_file() and file.stat().st_size > 100:
                file.unlink()
        (identifier,) = await services.scan.requests.request("p/a", "1")
        with pytest.raises(ScanError, match="No such file"):
            await services.scan.runner.run(identifier, log=Log(), step=never)

    run(tmp_path, work)
