"""`seawall status`: the cluster on one screen."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table

from seawall.availability.cluster.figures import Figures
from seawall.availability.cluster.instances import InstanceRegistry
from seawall.availability.cluster.report import shown
from seawall.infra.db import Database
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.settings import Settings
from seawall.kernel.errors import SeawallError
from seawall.process import tables as tables  # declares every table
from seawall.process.commands.common import ConfigOption, DataOption, registry_of, with_keys
from seawall.process.commands.output import JsonOption, Output, OutputOption, console, in_json
from seawall.registry.accounting import human

app = typer.Typer()
# Columns of the screen in a pipe.
_PIPED = 120

# Figures of the cluster that are shown as they are: name in JSON, metric.
_TOTALS = {
    "storage_bytes": "harbor_statistics_total_storage_consumption",
    "users": "seawall_users",
    "job_runners": "seawall_job_runners",
    "upload_sessions": "seawall_upload_sessions",
    "leases": "seawall_leases",
    "schedule_late_seconds": "seawall_job_schedule_late_seconds",
}
# Those with a sample for each value of a label, which are added up.
_SUMS = {
    "projects": "harbor_project_total",
    "jobs_waiting": "harbor_task_queue_size",
    "jobs_running": "harbor_task_concurrency",
    "events_waiting": "seawall_outbox_events",
    "events_failing": "seawall_outbox_failing_events",
    "replication_tasks_open": "seawall_replication_tasks_open",
}


@app.command("status")
def status(
    once: Annotated[
        bool, typer.Option("--once", help="print once and end, as into a pipe or with JSON")
    ] = False,
    every: Annotated[float, typer.Option(min=0.5, help="seconds between two updates")] = 2,
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Show the cluster on one screen, until Ctrl-C: instances, jobs, events, storage and replication.

    Example: seawall status --once --output json
    """
    settings = registry_of(config, data_dir)
    wants_json = in_json(as_json, output)

    async def work(db: Database, ring: KeyRing) -> None:
        if wants_json:
            print(json.dumps(await look(db, ring, settings)))
        elif once or not sys.stdout.isatty():
            # Panels fill the width that there is, and a pipe has no width.
            width = None if sys.stdout.isatty() else _PIPED
            console().print(drawn(await look(db, ring, settings)), width=width)
        else:
            await _live(db, ring, settings, every)

    with_keys(settings, work, generate=False)


async def _live(db: Database, ring: KeyRing, settings: Settings, every: float) -> None:
    with Live(drawn(await look(db, ring, settings)), console=console(), screen=True) as live:
        while True:
            await asyncio.sleep(every)
            try:
                live.update(drawn(await look(db, ring, settings)))
            except SeawallError as error:
                # A database that is away for a moment comes back.
                live.update(Panel(f"{error}; trying again", title="Seawall", border_style="red"))


async def look(db: Database, ring: KeyRing, settings: Settings) -> dict[str, Any]:
    """The state of the cluster, JSON-able. `at` is Unix seconds."""
    instances = [shown(item) for item in await InstanceRegistry(db, settings, ring).list()]
    figures = Figures(
        db,
        every_seconds=settings.metrics.cluster_seconds,
        projects=0,
        dead_seconds=settings.ha.dead_seconds,
        kinds=lambda: (),
        subscribers=lambda: (),
        harbors=lambda kind: kind,
    )
    families = {item.name: item.samples for item in await db.read(figures.compute)}

    def total(names: dict[str, str]) -> Iterable[tuple[str, float]]:
        for key, name in names.items():
            yield key, sum(value for _, value in families.get(name, ()))

    failing = [
        labels[0] for labels, value in families.get("seawall_job_last_failed", ()) if value
    ]  # kinds of scheduled jobs
    down = [labels[0] for labels, value in families.get("seawall_registry_endpoint_up", ()) if not value]
    return {
        "at": time.time(),
        "instances": instances,
        **{key: int(value) for key, value in (*total(_TOTALS), *total(_SUMS))},
        "jobs_failing": sorted(failing),
        "registries_down": sorted(down),
    }


def drawn(state: dict[str, Any]) -> RenderableType:
    """The screen of a state."""
    instances = Table("instance", "host", "version", "state", "seen", "health", expand=True)
    for item in state["instances"]:
        health = str(item.get("health", {}).get("status", ""))
        alive = "[green]alive[/]" if item["alive"] else "[red]dead[/]"
        colour = "green" if health == "ok" else "yellow"
        instances.add_row(
            item["address"],
            item["hostname"],
            item["version"],
            alive,
            f"{item['seen_seconds_ago']:.0f} s ago",
            f"[{colour}]{health}[/]",
        )
    numbers = Table.grid(padding=(0, 3))
    numbers.add_row("projects", str(state["projects"]), "users", str(state["users"]))
    numbers.add_row("stored", human(state["storage_bytes"]), "open uploads", str(state["upload_sessions"]))
    numbers.add_row("jobs waiting", str(state["jobs_waiting"]), "running", str(state["jobs_running"]))
    runners = state["job_runners"]
    numbers.add_row("job runners", _bad(runners, runners == 0), "leases", str(state["leases"]))
    numbers.add_row(
        "events waiting",
        str(state["events_waiting"]),
        "failing",
        _bad(state["events_failing"], state["events_failing"] > 0),
    )
    numbers.add_row("replication tasks", str(state["replication_tasks_open"]), "", "")
    troubles = [f"[red]scheduled job fails: {kind}[/]" for kind in state["jobs_failing"]]
    troubles += [f"[red]registry does not answer: {name}[/]" for name in state["registries_down"]]
    if state["schedule_late_seconds"] > 120:
        troubles.append(f"[yellow]a schedule is {state['schedule_late_seconds']} s late[/]")
    parts = [Panel(instances, title="Instances"), Panel(numbers, title="Work")]
    if troubles:
        parts.append(Panel("\n".join(troubles), title="Needs attention", border_style="red"))
    return Group(*parts)


def _bad(number: int, bad: bool) -> str:
    return f"[red]{number}[/]" if bad else str(number)
