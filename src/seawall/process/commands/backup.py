"""`seawall backup` and `seawall restore`."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from seawall.availability import backup as backup_
from seawall.kernel.errors import ConfigError
from seawall.process import tables as tables  # declares every table
from seawall.process.commands.bars import bars
from seawall.process.commands.common import (
    ConfigOption,
    DataOption,
    number_of,
    registry_of,
    settings_of,
    writing,
)
from seawall.process.commands.output import JsonOption, Output, OutputOption, in_json, result
from seawall.process.storage import open_storage

app = typer.Typer()


@app.command("backup")
def backup(
    directory: Annotated[Path, typer.Argument(help="folder of the backup")],
    config: ConfigOption = None,
    data_dir: DataOption = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="check the backup in this folder, and make none")
    ] = False,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Back up metadata and blobs while the registry runs; the master key is not part of it.

    Example: seawall backup /srv/backups/registry
    """
    wants_json = in_json(as_json, output)
    if verify:
        with bars():
            asyncio.run(_verify(directory, wants_json))
        return
    settings = registry_of(config, data_dir)
    embedded = [] if settings.database.url else [settings.data_dir]
    files = [settings.storage_root] if settings.storage.driver == "filesystem" else []
    for place in embedded + files:
        if directory.resolve().is_relative_to(place.resolve()):
            raise ConfigError(f"{directory} is in {place}, and would be lost with it; name another place")
    with writing(directory), bars():
        report = asyncio.run(backup_.backup(settings.database_url, open_storage(settings), directory))
    text = (
        f"{directory}: {report.rows} rows; {report.copied} blobs copied ({report.bytes} bytes), "
        f"{report.kept} were there already"
    )
    result({"folder": str(directory), **asdict(report)}, wants_json, text)


async def _verify(directory: Path, wants_json: bool) -> None:
    faults = []
    async for line in backup_.verify(directory):
        faults.append(line)
        if not wants_json:
            print(line)
    if wants_json:
        result({"folder": str(directory), "ok": not faults, "faults": faults}, True)
    if faults:
        raise ConfigError(f"backup {directory}: {number_of(len(faults), 'fault')}")
    if not wants_json:
        print(f"{directory}: complete and undamaged")


@app.command("restore")
def restore(
    directory: Annotated[Path, typer.Argument(help="a backup")],
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Restore a backup into an empty database and storage.

    Example: seawall restore /srv/backups/registry --data-dir /var/lib/seawall
    """
    settings = settings_of(config, data_dir)
    with writing(settings.storage_root), bars():
        count = asyncio.run(backup_.restore(settings.database_url, lambda: open_storage(settings), directory))
    text = f"{directory}: restored, {count} blobs; start it with the master key of the backed-up registry"
    result({"folder": str(directory), "blobs": count}, in_json(as_json, output), text)
