"""`seawall peers`: how this instance stands to its peers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer
from rich.table import Table

from seawall.kernel.errors import ConfigError
from seawall.process.commands.common import ConfigOption, DataOption, registry_of, when
from seawall.process.commands.output import JsonOption, Output, OutputOption, console, in_json, listed

if TYPE_CHECKING:
    from seawall.availability.peers.service import PeerService

T = TypeVar("T")
app = typer.Typer(
    no_args_is_help=True, help="Show and synchronise peers, the instances with storage of their own."
)


def _with_peers(config: Path | None, data_dir: Path | None, work: Callable[[PeerService], Awaitable[T]]) -> T:
    # What needs every feature is imported by the command that runs it: the others start sooner.
    from seawall.process.wiring import open_process

    settings = registry_of(config, data_dir)
    if not settings.peers.urls:
        raise ConfigError("peers.urls is not set: this instance has no peers")

    async def run() -> T:
        process = open_process(settings)
        try:
            return await work(process.peers)
        finally:
            await process.close()

    return asyncio.run(run())


@app.command("status")
def status(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Ask every peer; exit code 1 when one is away or differs.

    Example: seawall peers status --output json
    """
    found = _with_peers(config, data_dir, lambda peers: peers.statuses.all())
    if in_json(as_json, output):
        print(json.dumps([asdict(item) for item in found]))
    else:
        table = Table("peer", "url", "reachable", "lag", "behind", "differences", "conflicts", "error")
        for item in found:
            lag = "" if item.lag_seconds is None else f"{item.lag_seconds:.0f} s"
            table.add_row(
                item.name,
                item.url,
                "yes" if item.reachable else "no",
                lag,
                str(item.behind),
                str(len(item.differences)),
                str(item.conflicts),
                item.error or "",
            )
        console().print(table)
        for item in found:
            for entry in item.differences:
                print(
                    f"{entry['kind']} {entry['key']}: {entry['here']} here, {entry['there']} at {item.name}"
                )
    if any(not item.reachable or item.behind or item.differences for item in found):
        raise typer.Exit(1)


@app.command("sync")
def sync(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Compare everything with the peers now, and take what is new.

    Example: seawall peers sync
    """
    _with_peers(config, data_dir, lambda peers: peers.rounds.once())
    status(config, data_dir, as_json, output)


@app.command("conflicts")
def conflicts(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """List what the conflict rule discarded, newest first.

    Example: seawall peers conflicts
    """
    found = _with_peers(config, data_dir, lambda peers: peers.statuses.conflicts())
    if in_json(as_json, output):
        print(json.dumps(found))
        return
    rows = [
        (item["id"], when(item["at"]), item["kind"], item["key"], item["by"], item["note"]) for item in found
    ]
    listed(("id", "at", "kind", "key", "kept that of", "note"), rows, False)
