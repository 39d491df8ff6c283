"""Executions of policies: what replication, preheating and retention have in common.

A policy is run by an execution. A job plans it: it finds what there is to do and adds a task, with a job of
its own, for each part (`claim`, `add_task`). An execution ends with the last of its tasks. A job may end
without a word (its process was killed, somebody stopped it), so an execution is settled with the outcome of
its jobs whenever it is looked at.

An execution without tasks that have jobs (retention's one job does it all) is its job's.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, func, insert, null, select, update

from seawall.infra.db.together import Also, nothing
from seawall.infra.jobs.service import JobService
from seawall.infra.jobs.views import jobs as job_rows
from seawall.infra.jobs.views import outcome
from seawall.infra.live.events import Event, Shows

PENDING = "Pending"
_OVER = ("success", "error", "stopped")


@dataclass(frozen=True, slots=True)
class Words:
    """What a feature's API calls the states of executions and tasks, in addition to Pending and Stopped."""

    running: str
    success: str
    error: str
    stopped: str = "Stopped"

    @property
    def open(self) -> tuple[str, str]:
        """The states of what is not over."""
        return PENDING, self.running

    def of(self, job_status: str) -> str:
        """What the end of a job means."""
        return {"success": self.success, "stopped": self.stopped}.get(job_status, self.error)


class Executions:
    """The executions and tasks of one feature, in its own tables.

    `executions` has id, policy_id, status, trigger, job_id, started_at and ended_at; where tasks have jobs,
    `planned` too. `tasks` has id, execution_id, status, ended_at, and may have job_id and updated_at.
    """

    def __init__(
        self,
        jobs: JobService,
        executions: Table,
        tasks: Table,
        words: Words,
        *,
        text: str | None = None,
        nothing: str = "",
    ) -> None:
        """`text`: the column that says why an execution failed; `nothing`: what it says without any task."""
        self.words = words
        self._db = jobs.db
        self._jobs = jobs
        self._executions = executions
        self._tasks = tasks
        self._text = text
        self._nothing = nothing
        self._task_jobs = "job_id" in tasks.c

    # -- in the caller's transaction -------------------------------------------------------------------

    def begin(
        self, connection: Connection, kind: str, args: dict[str, Any], *, job_trigger: str, **values: Any
    ) -> int:
        """Add an execution with its job of `kind`, whose args get `execution`; returns its id."""
        row = {"status": self.words.running, "started_at": time.time(), **values}
        if self._task_jobs:
            row["planned"] = False
        execution_id = _made(connection, self._executions, row)
        args = {**args, "execution": execution_id}
        job_id = self._jobs.enqueue_in(connection, kind, args, trigger=job_trigger)
        mine = self._executions.c.id == execution_id
        connection.execute(update(self._executions).where(mine).values(job_id=job_id))
        return execution_id

    def claim(self, connection: Connection, execution_id: int) -> bool:
        """Say that all tasks are made in this transaction; False when they were, or it is over."""
        table = self._executions
        mine = table.c.id == execution_id, table.c.planned.is_(False), table.c.status == self.words.running
        return bool(connection.execute(update(table).where(*mine).values(planned=True)).rowcount)

    def add_task(self, connection: Connection, execution_id: int, job_kind: str, /, **values: Any) -> int:
        """Add a task with its job of `job_kind`, whose args are `task`; returns its id."""
        task_id = _made(connection, self._tasks, {"execution_id": execution_id, "status": PENDING, **values})
        job_id = self._jobs.enqueue_in(connection, job_kind, {"task": task_id})
        connection.execute(update(self._tasks).where(self._tasks.c.id == task_id).values(job_id=job_id))
        return task_id

    def busy(self, connection: Connection, policy_id: int) -> int | None:
        """The id of an execution of the policy that is under way."""
        table = self._executions.c
        query = select(table.id).where(table.policy_id == policy_id, table.status == self.words.running)
        return connection.execute(query.limit(1)).scalar()

    def counts(self, connection: Connection, execution_ids: Iterable[int]) -> dict[int, dict[str, int]]:
        """See `count_tasks`."""
        return count_tasks(connection, self._tasks, execution_ids)

    def finish(self, connection: Connection, execution_id: int, status: str, text: str = "") -> None:
        """End an execution that is under way, and what is open of its tasks, with this status."""
        now = time.time()
        table, task = self._executions, self._tasks
        values: dict[str, Any] = {"status": status, "ended_at": now}
        if self._text is not None:
            values[self._text] = text[:4000]
        mine = table.c.id == execution_id, table.c.status == self.words.running
        if connection.execute(update(table).where(*mine).values(values)).rowcount:
            left = task.c.execution_id == execution_id, task.c.status.in_(self.words.open)
            connection.execute(update(task).where(*left).values(status=status, ended_at=now))

    def settle_in(self, connection: Connection, execution_id: int, why: str = "") -> None:
        """The work of `settle`; `why` a task has just failed, which its job does not say yet."""
        table = self._executions
        lock = select(table.c.id).where(table.c.id == execution_id).with_for_update()
        connection.execute(lock)
        now = time.time()
        for task_id, job_status in self._ended(connection, execution_id):
            values: dict[str, Any] = {"status": self.words.of(job_status), "ended_at": now}
            if "updated_at" in self._tasks.c:
                values["updated_at"] = now
            connection.execute(update(self._tasks).where(self._tasks.c.id == task_id).values(values))
        verdict = self._verdict(connection, execution_id)
        if verdict is not None:
            status, text = verdict
            self.finish(connection, execution_id, status, text or why)

    def _ended(self, connection: Connection, execution_id: int) -> list[tuple[int, str]]:
        """Tasks that look open although their job is over, as (id, the job's status)."""
        if not self._task_jobs:
            return []
        task = self._tasks.c
        query = (
            select(task.id, job_rows.c.status)
            .join(job_rows, job_rows.c.id == task.job_id)
            .where(
                task.execution_id == execution_id,
                task.status.in_(self.words.open),
                job_rows.c.status.in_(_OVER),
            )
        )
        return [(row[0], row[1]) for row in connection.execute(query)]

    def _verdict(self, connection: Connection, execution_id: int) -> tuple[str, str] | None:
        """(status, why) with which the execution is over; None while it is under way, or once known."""
        table = self._executions.c
        query = select(table.status, table.job_id).where(table.id == execution_id)
        row = connection.execute(query).first()
        if row is None or row.status != self.words.running:
            return None
        planned = select(table.planned).where(table.id == execution_id) if self._task_jobs else None
        if planned is None or not connection.execute(planned).scalar():
            job = outcome(connection, row.job_id)
            if job is None:
                return self.words.error, "its job is gone"
            return (self.words.of(job[0]), job[1] or "") if job[0] in _OVER else None
        found = self.counts(connection, [execution_id]).get(execution_id, {})
        if any(found.get(name) for name in self.words.open):
            return None
        if found.get(self.words.error):
            return self.words.error, self._why(connection, execution_id)
        return (self.words.stopped if found.get(self.words.stopped) else self.words.success), (
            "" if found else self._nothing
        )

    def _why(self, connection: Connection, execution_id: int) -> str:
        """The error of the first task that failed, as its job has it."""
        task = self._tasks.c
        query = (
            select(job_rows.c.error)
            .join(self._tasks, task.job_id == job_rows.c.id)
            .where(task.execution_id == execution_id, task.status == self.words.error)
            .order_by(task.id)
        )
        return connection.execute(query.limit(1)).scalar() or ""

    # -- on their own ----------------------------------------------------------------------------------

    async def settle(self, execution_id: int) -> None:
        """Bring an execution up to date with its jobs."""

        def stale(connection: Connection) -> bool:
            ended = self._ended(connection, execution_id)
            return bool(ended) or self._verdict(connection, execution_id) is not None

        if await self._db.read(stale):
            await self._db.write(lambda c: self.settle_in(c, execution_id))

    async def settle_all(self, policy_id: int | None = None) -> None:
        """`settle` every execution (of a policy) that is under way."""
        table = self._executions.c
        query = select(table.id).where(table.status == self.words.running)
        if policy_id is not None:
            query = query.where(table.policy_id == policy_id)
        for execution_id in await self._db.read(lambda c: list(c.execute(query).scalars())):
            await self.settle(execution_id)

    async def stop(self, execution_id: int, *, also: Also = nothing) -> None:
        """Ask the jobs of an execution to stop. One that is running says itself when it has."""
        jobs = [select(self._executions.c.job_id).where(self._executions.c.id == execution_id)]
        if self._task_jobs:
            mine = self._tasks.c.execution_id == execution_id, self._tasks.c.status.in_(self.words.open)
            jobs.append(select(self._tasks.c.job_id).where(*mine))
        for query in jobs:
            for job_id in await self._db.read(lambda c, q=query: list(c.execute(q).scalars())):  # type: ignore[misc]
                if job_id:
                    await self._jobs.stop(job_id, also=also)
        await self.settle(execution_id)


def count_tasks(
    connection: Connection, tasks: Table, execution_ids: Iterable[int]
) -> dict[int, dict[str, int]]:
    """How many tasks of each status the executions have; those without any are left out."""
    task = tasks.c
    query = (
        select(task.execution_id, task.status, func.count())
        .where(task.execution_id.in_(list(execution_ids)))
        .group_by(task.execution_id, task.status)
    )
    result: dict[int, dict[str, int]] = {}
    for execution_id, status, number in connection.execute(query):
        result.setdefault(execution_id, {})[status] = number
    return result


def _made(connection: Connection, table: Table, values: dict[str, Any]) -> int:
    key = connection.execute(insert(table).values(values)).inserted_primary_key
    assert key is not None
    return int(key[0])


def shown(kind: str, executions: Table, tasks: Table | None, policies: Table | None) -> Shows:
    """The events of jobs of executions, or (`tasks`) of their tasks.

    `policies`: has the projects; None for policies of the whole system.
    """

    def find(connection: Connection, jobs: Mapping[str, Mapping[str, Any]]) -> dict[str, Event]:
        name = "execution" if tasks is None else "task"
        wanted = {args.get(name): job_id for job_id, args in jobs.items()}
        key = executions.c.id if tasks is None else tasks.c.id
        source: Any = executions
        if tasks is not None:
            source = source.join(tasks, tasks.c.execution_id == executions.c.id)
        project: Any = null()
        if policies is not None:
            source = source.join(policies, policies.c.id == executions.c.policy_id)
            project = policies.c.project_id
        query = select(key, executions.c.id, project).select_from(source)
        rows = connection.execute(query.where(key.in_([item for item in wanted if item is not None])))
        return {wanted[row[0]]: Event(kind, row[2], execution=row[1]) for row in rows}

    return find
