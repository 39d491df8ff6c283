"""`seawall jobservice`, and looking at jobs from the command line."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from seawall.infra.db import migrate, open_database
from seawall.infra.jobs.base import FINISHED, STATUSES, JobInfo
from seawall.infra.jobs.service import JobService
from seawall.infra.settings import Settings
from seawall.kernel.errors import ConflictError, InvalidError, NotFoundError, SeawallError
from seawall.kernel.spelling import did_you_mean
from seawall.process.commands.common import ConfigOption, DataOption, registry_of, settings_of
from seawall.process.commands.output import JsonOption, Output, OutputOption, in_json, listed, result

# How long a job service waits for the server that makes its embedded registry, in seconds.
PATIENCE = 60.0
JobArgument = Annotated[str, typer.Argument(help="the id that `jobs list` and `jobs start` print")]
jobs_app = typer.Typer(no_args_is_help=True, help="List, start and stop background jobs.")
service_app = typer.Typer()


@service_app.command()
def jobservice(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run background jobs in a process of its own, until SIGTERM or SIGINT.

    `seawall serve` starts one by itself unless `jobs.embedded` is false.

    Example: seawall jobservice --config /etc/seawall/seawall.yml
    """
    from seawall.process import worker as process
    from seawall.process.server import configure_logging

    if parent is not None:
        process.run_as_child(parent)
        return
    settings = settings_of(config, data_dir)
    if settings.database.url:
        # Instances and job services may start in any order; the first one makes the schema.
        migrate.upgrade(settings.database_url)
    else:
        # A server that was started next to it is making the registry; a wrong directory stays empty.
        end = time.monotonic() + PATIENCE
        while not migrate.upgrade_existing(settings.database_url) and time.monotonic() < end:
            time.sleep(0.5)
        settings = registry_of(config, data_dir)
    asyncio.run(_prepare(settings))
    configure_logging(settings)
    process.run(settings, health=settings.jobs.health_port)


async def _prepare(settings: Settings) -> None:
    from seawall.availability.sites.service import prepare
    from seawall.process.storage import open_storage

    db = open_database(settings.database_url, pool_size=2)
    try:
        await prepare(db, open_storage(settings), settings)
    finally:
        await db.close()


def _ask(config: Path | None, data_dir: Path | None, work: Any) -> Any:
    import asyncio

    from seawall.process.wiring import open_process

    settings = registry_of(config, data_dir)

    async def run() -> Any:
        # All services: every domain's job kinds are known then.
        process = open_process(settings)
        try:
            return await work(process.jobs)
        finally:
            await process.close()

    return asyncio.run(run())


async def _job(jobs: JobService, job_id: str) -> JobInfo:
    job = await jobs.get(job_id)
    if job is None:
        raise NotFoundError(f"no job {job_id}; `seawall jobs list` shows what there is")
    return job


def _when(at: float | None) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S") if at else "-"


def _same(at: float | None) -> float | None:
    return at


@jobs_app.command("list")
def list_jobs(
    kind: Annotated[str | None, typer.Option(help="only this kind")] = None,
    status: Annotated[str | None, typer.Option(help="only this status")] = None,
    limit: Annotated[int, typer.Option(min=1, help="most jobs to list")] = 20,
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """List jobs, newest first.

    Example: seawall jobs list --status error --output json
    """

    async def found(jobs: JobService) -> list[JobInfo]:
        if status is not None and status not in STATUSES:
            hint = did_you_mean(status, STATUSES) or f"; there are {', '.join(sorted(STATUSES))}"
            raise NotFoundError(f"no status {status!r} of a job{hint}")
        there = await jobs.list(kind=kind, status=status, limit=limit)
        # Jobs of an older version's kinds may still be there.
        if kind is not None and not there and kind not in jobs.kinds:
            raise jobs.unknown(kind)
        return there

    items = _ask(config, data_dir, found)
    wants_json = in_json(as_json, output)
    moment = _same if wants_json else _when
    listed(
        ("id", "kind", "status", "created at", "error"),
        [(item.id, item.kind, item.status, moment(item.created_at), item.error or None) for item in items],
        wants_json,
    )


@jobs_app.command("log")
def show_log(job_id: JobArgument, config: ConfigOption = None, data_dir: DataOption = None) -> None:
    """Print a job's stored log.

    Example: seawall jobs log 0b4f5c1e-8a55-4d0e-9e5e-0f2b8f0c7d11
    """

    async def log_of(jobs: JobService) -> str:
        await _job(jobs, job_id)
        return await jobs.log(job_id)

    print(_ask(config, data_dir, log_of), end="")


# What each kind that people start takes. A slip must not make of a dry run a real one, or of no age all ages.
_ARGUMENTS: dict[str, dict[str, tuple[type, ...]]] = {
    "gc": {"delete_untagged": (bool,), "dry_run": (bool,), "workers": (int,)},
    "fsck": {"fast": (bool,)},
    "scrub": {"minutes": (int, float), "megabytes_per_second": (int, float)},
    "purge-audit": {"audit_retention_hour": (int,), "dry_run": (bool,), "include_event_types": (str,)},
}
_NEEDED = {"purge-audit": "audit_retention_hour"}
_TYPES = {bool: "true or false", int: "a number", float: "a number", str: "a text"}


def check_arguments(kind: str, arguments: dict[str, Any]) -> None:
    """Raise InvalidError for an argument that a kind does not have, has otherwise, or cannot do without."""
    known = _ARGUMENTS.get(kind)
    if known is None:
        return
    for name, value in arguments.items():
        types = known.get(name)
        if types is None:
            hint = did_you_mean(name, known) or f"; there are {', '.join(known)}"
            raise InvalidError(f"job {kind} has no argument {name!r}{hint}")
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise InvalidError(f"job {kind}: {name} must be {_TYPES[types[0]]}")
    needed = _NEEDED.get(kind)
    if needed is not None and needed not in arguments:
        raise InvalidError(
            f"job {kind} needs {needed} and deletes what is older, as in '{{\"{needed}\": 2160}}'"
        )


@jobs_app.command("start")
def start(
    kind: Annotated[str, typer.Argument(help="kind of job: gc, purge-jobs, scan-all, ...")],
    args: Annotated[str, typer.Argument(help="arguments as a JSON object")] = "{}",
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Start a job; prints its id.

    Example: seawall jobs start gc
    """
    try:
        parsed = json.loads(args)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise typer.BadParameter("arguments must be a JSON object")
    check_arguments(kind, parsed)
    started = _ask(config, data_dir, lambda jobs: jobs.enqueue(kind, parsed))
    result({"id": started}, in_json(as_json, output), started)


@jobs_app.command("wait")
def wait(
    job_id: Annotated[
        str | None, typer.Argument(help="one job; otherwise all that are due or running")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0, help="give up after this many seconds")] = 3600,
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Wait until a job has ended, or until no job is due or running; exit code 1 when the job failed.

    Example: seawall jobs wait --timeout 600
    """

    async def until_over(jobs: JobService) -> str:
        try:
            async with asyncio.timeout(timeout):
                while True:
                    if not await _unfinished(jobs, job_id):
                        break
                    await asyncio.sleep(0.3)
        except TimeoutError:
            left = await _unfinished(jobs, job_id)
            if left:
                raise SeawallError(f"still under way after {timeout:g} s: {', '.join(left)}") from None
        if job_id is None:
            return ""
        job = await jobs.get(job_id)
        return "" if job is None or job.status == "success" else f"{job.status}: {job.error or job.kind}"

    fault = _ask(config, data_dir, until_over)
    if fault:
        raise SeawallError(f"job {job_id} {fault}")


async def _unfinished(jobs: JobService, job_id: str | None) -> list[str]:
    """Jobs that wait for their turn or run, as `kind id`; those whose time is still to come do not count."""
    if job_id is not None:
        job = await _job(jobs, job_id)
        return [] if job.status in FINISHED else [f"{job.kind} {job.id}"]
    soon = time.time() + 1
    found = [
        *await jobs.list(status="running", limit=100),
        *(job for job in await jobs.list(status="pending", limit=100) if job.run_at <= soon),
    ]
    return [f"{job.kind} {job.id}" for job in found]


@jobs_app.command("stop")
def stop(job_id: JobArgument, config: ConfigOption = None, data_dir: DataOption = None) -> None:
    """Ask a job to stop.

    Example: seawall jobs stop 0b4f5c1e-8a55-4d0e-9e5e-0f2b8f0c7d11
    """

    async def stopped(jobs: JobService) -> None:
        job = await _job(jobs, job_id)
        if not await jobs.stop(job_id):
            raise ConflictError(f"job {job_id} has already ended: {job.status}")

    _ask(config, data_dir, stopped)
    print(f"job {job_id} is asked to stop")


@jobs_app.command("schedules")
def schedules(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """List cron schedules (UTC) with the time of their next run.

    Example: seawall jobs schedules
    """
    found = _ask(config, data_dir, lambda jobs: jobs.schedules())
    wants_json = in_json(as_json, output)
    moment = _same if wants_json else _when
    listed(
        ("name", "cron", "kind", "next at"),
        [(item.name, item.cron, item.kind, moment(item.next_at)) for item in found],
        wants_json,
    )
