"""`seawall doctor`."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict

import typer

from seawall.process import tables as tables  # declares every table
from seawall.process.commands.common import ConfigOption, DataOption, number_of, settings_of
from seawall.process.commands.output import JsonOption, Output, OutputOption, in_json
from seawall.process.doctor import examine

app = typer.Typer()


@app.command("doctor")
def doctor(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Check this installation end to end, and say what to do; exit code 1 when something is wrong.

    Looks at settings, disk, database, clock, Redis, storage (one object is written, read and deleted),
    certificates, external_url, keys and instances.

    Example: seawall doctor --config /etc/seawall/seawall.yml
    """
    result = asyncio.run(examine(settings_of(config, data_dir)))
    faults = sum(bool(item.cure) for item in result.items)
    if in_json(as_json, output):
        print(json.dumps({"ok": result.ok, "items": [asdict(item) for item in result.items]}))
    else:
        for item in result.items:
            print(item)
        print(number_of(faults, "fault"))
    if not result.ok:
        raise typer.Exit(1)
