"""What projects stored by day: written once a day, kept for 400 days, shown to those who may see it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from seawall.access.tables import projects
from seawall.infra.jobs.runner import Runner
from seawall.registry import history
from seawall.registry.history import History
from seawall.registry.tables import storage_days
from tests.support.api import Api, code
from tests.support.api_pusher import Pusher
from tests.support.lab import Lab, Run
from tests.support.registry import Registry
from tests.support.waiting import eventually


def rows(connection: Connection) -> list[tuple[int, int, int]]:
    found = connection.execute(select(storage_days).order_by(storage_days.c.project_id, storage_days.c.day))
    return [(row.project_id, row.day, row.used) for row in found]


def test_a_day_has_one_row_a_project(run: Run) -> None:
    async def body(lab: Lab) -> None:
        one, two = [await lab.project(name) for name in ("p", "q")]
        await lab.image("p/a", "0")
        await lab.image("q/a", "0")
        day = await lab.db.read(history.today)
        await lab.db.write(history.record)
        before = await lab.used(one)
        assert before > 0
        assert await lab.db.read(rows) == [(one, day, before), (two, day, await lab.used(two))]
        # Again on the same day: what is stored now takes the place of what was, also from two at once.
        await lab.blob("p/a", b"one more")
        await asyncio.gather(lab.db.write(history.record), lab.db.write(history.record))
        assert await lab.used(one) == before + len(b"one more")
        assert await lab.db.read(rows) == [(one, day, await lab.used(one)), (two, day, await lab.used(two))]
        # A project that is gone takes its rows along.
        await lab.db.write(lambda c: c.execute(delete(projects).where(projects.c.id == two)))
        assert [row[0] for row in await lab.db.read(rows)] == [one]

    run(body)


def test_old_days_go(run: Run) -> None:
    async def body(lab: Lab) -> None:
        project = await lab.project()
        await lab.image("p/a", "0")
        day = await lab.db.read(history.today)
        old = [{"project_id": project, "day": day - back, "used": back} for back in (1, 399, 400, 1000)]
        await lab.db.write(lambda c: c.execute(insert(storage_days), old))
        await lab.db.write(history.record)
        assert [row[1] - day for row in await lab.db.read(rows)] == [-399, -1, 0]
        used = await lab.used(project)

        async def shown(days: int) -> list[int]:
            found = await lab.db.read(lambda c: history.of_project(c, project, days))
            return [item[1] for item in found]

        for days, backs in ((400, [399, 1]), (399, [1]), (2, [1]), (1, [])):
            assert await shown(days) == [*backs, used]

    run(body)


def test_the_ten_that_store_most_and_all_together(run: Run) -> None:
    async def body(lab: Lab) -> None:
        ids = [await lab.project(f"p{number}") for number in range(12)]
        for number in range(12):
            await lab.blob(f"p{number}/a", bytes([number]) * (1000 + number))
        day = await lab.db.read(history.today)
        yesterday = [{"project_id": key, "day": day - 1, "used": 5} for key in ids]
        await lab.db.write(lambda c: c.execute(insert(storage_days), yesterday))
        total, largest = await lab.db.read(lambda c: history.of_all(c, 90))
        dates = [date(1970, 1, 1) + timedelta(days=day - back) for back in (1, 0)]
        assert total == list(zip(dates, [60, sum(range(1000, 1012))], strict=True))
        assert [item.name for item in largest] == [f"p{number}" for number in range(11, 1, -1)]
        assert largest[0].days == list(zip(dates, [5, 1011], strict=True))

    run(body)


def test_a_start_writes_only_where_the_day_has_nothing(run: Run) -> None:
    async def body(lab: Lab) -> None:
        project = await lab.project()
        await lab.blob("p/a", b"first")
        await History(lab.db).begin()
        assert [row[2] for row in await lab.db.read(rows)] == [5]
        await lab.blob("p/a", b"second")
        await History(lab.db).begin()
        assert [row[2] for row in await lab.db.read(rows)] == [5]
        assert await lab.used(project) == 11

    run(body)


def test_the_job_writes_figures(run: Run) -> None:
    async def body(lab: Lab) -> None:
        await lab.project()
        await lab.blob("p/a", b"some bytes")
        jobs = lab.services.jobs
        runner = Runner(jobs, slots=1)
        task = asyncio.create_task(runner.run())
        try:
            for _ in range(2):
                job = await jobs.enqueue(history.KIND, {})

                async def over(job: str = job) -> Any:
                    found = await jobs.get(job)
                    return found if found is not None and found.status in ("success", "error") else None

                done = await eventually(over)
                assert done.status == "success", done.error
        finally:
            await runner.drain(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        [(_, day, used)] = await lab.db.read(rows)
        assert used == len(b"some bytes")
        assert done.result == {"day": (date(1970, 1, 1) + timedelta(days=day)).isoformat()}

    run(body)


def test_it_is_scheduled_and_today_is_what_is_stored_now(server: Registry) -> None:
    with Api(server, server.admin) as admin:
        name = admin.project()
        pusher = Pusher(server)
        assert pusher.blob(f"{name}/a", b"some bytes").status_code == 201
        pusher.client.close()
        schedules = admin.get("/schedules").json()
        assert [item["cron"] for item in schedules if item["vendor_type"] == "STORAGE_HISTORY"] == [
            "0 50 23 * * *"
        ]
        # So a project has a figure before the first run.
        [today] = admin.get(f"/projects/{name}/storage").json()
        assert today["used"] == len(b"some bytes")
        assert admin.get("/statistics/storage").json()["projects"][0]["name"] == name


def test_who_may_see_it(admin: Api, anonymous: Api, as_user: Callable[..., Api]) -> None:
    public, private = admin.project(public="true"), admin.project()
    _, name = admin.user()
    user = as_user(name)
    for project, client, status in (
        (public, admin, 200),
        (private, admin, 200),
        (private, user, 403),
        (private, anonymous, 401),
        # What a public project stores is not for everybody, as in its summary.
        (public, anonymous, 401),
    ):
        assert client.get(f"/projects/{project}/storage").status_code == status, (project, client.auth)
    # Limited guest.
    admin.member(private, name, 5)
    assert [item["used"] for item in user.get(f"/projects/{private}/storage").json()] == [0]
    assert user.get("/statistics/storage").status_code == 403
    assert anonymous.get("/statistics/storage").status_code == 401
    assert admin.get("/projects/nowhere-to-be-found/storage").status_code in (403, 404)
    for wrong in ("0", "401", "-1", "many"):
        for path in ("/statistics/storage", f"/projects/{private}/storage"):
            refused = admin.get(path, params={"days": wrong})
            assert (refused.status_code, len(refused.json()["errors"])) == (422, 1), refused.text
    assert code(user.get("/statistics/storage")) == "FORBIDDEN"
