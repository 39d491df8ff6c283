"""`seawall scan`: the vulnerability database."""

from __future__ import annotations

import datetime
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from seawall.infra.db import Database
from seawall.infra.jobs.service import insert_job
from seawall.kernel.errors import InvalidError
from seawall.process.commands.bars import bars
from seawall.process.commands.common import ConfigOption, DataOption, registry_of, with_db
from seawall.process.commands.output import JsonOption, Output, OutputOption, console, in_json, result

if TYPE_CHECKING:
    from seawall.features.scan.imported import Result

app = typer.Typer(no_args_is_help=True, help="Manage the scanner's advisories.")
db_app = typer.Typer(no_args_is_help=True, help="Import, show and remove advisories.")
app.add_typer(db_app, name="db")


def _run(config: Path | None, data_dir: Path | None, work: Any) -> Any:
    return with_db(registry_of(config, data_dir), work)


@db_app.command("import")
def db_import(
    paths: Annotated[list[Path], typer.Argument(help="files or directories of advisories")],
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Import advisories: OSV, OVAL, CSAF and VEX, the Debian tracker, Alpine's secdb; files or directories.

    It skips what has not changed since the last import. Afterwards Seawall matches images again, without
    reading their layers.

    Example: seawall scan db import /mnt/advisories/osv /mnt/advisories/oval.xml
    """
    from seawall.features.scan import importer

    results: list[Result] = []
    wants_json = in_json(as_json, output)

    async def work(db: Database) -> None:
        try:
            for path in paths:
                for item in importer.import_path(db, path):
                    results.append(item)
                    if not wants_json:
                        _say(item)
        finally:
            # Also when a later path is refused: what came in before it counts.
            if any(item.added or item.changed or item.removed for item in results):
                # Whichever process runs jobs matches the stored package lists again.
                await db.write(lambda c: insert_job(c, "scan-rematch", {}))

    try:
        with bars():
            _run(config, data_dir, work)
    finally:
        if wants_json:
            print(json.dumps([asdict(item) for item in results]))
    rejected = sum(len(item.rejected) for item in results)
    if rejected:
        raise InvalidError(f"{rejected} records could not be read")


def _say(item: Result) -> None:
    print(
        f"{item.source}: {item.total} advisories read, {item.added} new, {item.changed} changed, "
        f"{item.removed} removed"
    )
    for line in item.rejected:
        print(f"left out: {line}")


@db_app.command("remove")
def db_remove(
    source: Annotated[str, typer.Argument(help="name of the source, as `seawall scan db status` shows it")],
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Remove the advisories of a source, for example of a file that has another name now.

    Example: seawall scan db remove debian-tracker
    """

    from seawall.features.scan import imported

    async def work(db: Database) -> int:
        removed = imported.remove(db, source)
        await db.write(lambda c: insert_job(c, "scan-rematch", {}))
        return removed

    count = _run(config, data_dir, work)
    values = {"source": source, "removed": count}
    result(values, in_json(as_json, output), f"{source}: {count} advisories removed")


@db_app.command("status")
def db_status(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Show the imported sources and how old they are.

    Example: seawall scan db status
    """

    from seawall.features.scan import imported

    async def work(db: Database) -> list[dict[str, Any]]:
        return await db.read(imported.status)

    rows = _run(config, data_dir, work)
    if in_json(as_json, output):
        print(json.dumps(rows))
        return
    if not rows:
        print("no advisories imported; see `seawall scan db import --help`")
        return
    table = Table("source", "advisories", "imported", "age of the import", "newest advisory")
    for row in rows:
        table.add_row(
            row["name"],
            str(row["advisories"]),
            _moment(row["imported_at"]),
            age(time.time() - row["imported_at"]),
            _moment(row["modified_at"]) if row["modified_at"] else "",
        )
    console().print(table)


def _moment(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M")


def age(seconds: float) -> str:
    """A duration in words: the largest unit that fits."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(int(seconds), 0)} seconds"
