"""`seawall quota`: storage quotas from the command line."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection

from seawall.access.projects import all_names, id_of
from seawall.infra.db import Database, open_database
from seawall.kernel.errors import InvalidError
from seawall.process.commands.common import ConfigOption, DataOption, registry_of
from seawall.process.commands.output import JsonOption, Output, OutputOption, in_json, listed
from seawall.registry import accounting, index, quota_lists
from seawall.registry.lookups import repository_ids

quota_app = typer.Typer(no_args_is_help=True, help="Show and set the storage quotas of projects.")

_SIZE = re.compile(r"(\d{1,12})\s*(b|kib|mib|gib|tib)?", re.IGNORECASE)
_UNITS = {"b": 1, "kib": 1024, "mib": 1024**2, "gib": 1024**3, "tib": 1024**4}


def parse_size(text: str) -> int:
    """Bytes of `10GiB`, `500MiB`, `1000`; `none` is -1. Raises InvalidError."""
    if text.lower() in ("none", "-1"):
        return accounting.UNLIMITED
    match = _SIZE.fullmatch(text.strip())
    if match is None or int(match[1]) == 0:
        raise InvalidError(f"size {text!r}: give bytes, a number with KiB, MiB, GiB or TiB, or none")
    return int(match[1]) * _UNITS[(match[2] or "b").lower()]


def _open(config: Path | None, data_dir: Path | None) -> Database:
    return open_database(registry_of(config, data_dir).database_url, pool_size=2)


@quota_app.command("list")
def list_(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Show what each project uses and may use.

    Example: seawall quota list
    """
    db = _open(config, data_dir)
    found = list(db.sync_read(quota_lists.usage))
    asyncio.run(db.close())
    wants_json = in_json(as_json, output)
    rows: list[tuple[object, ...]] = list(found)
    if not wants_json:
        rows = [
            (name, accounting.human(used), "none" if hard < 0 else accounting.human(hard))
            for name, used, hard in found
        ]
    listed(("project", "used", "quota"), rows, wants_json)


@quota_app.command("set", context_settings={"ignore_unknown_options": True})
def set_(
    project: Annotated[str, typer.Argument(help="a project's name")],
    size: Annotated[str, typer.Argument(help="10GiB, 500MiB or a number of bytes; none or -1: no limit")],
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Set a project's quota; what it holds already stays.

    Example: seawall quota set web 10GiB
    """
    hard = parse_size(size)
    db = _open(config, data_dir)
    try:
        db.sync_write(lambda c: accounting.set_quota(c, id_of(c, project), hard))
    finally:
        asyncio.run(db.close())
    print(f"quota of {project}: {'none' if hard < 0 else accounting.human(hard)}")


@quota_app.command("refresh")
def refresh(
    project: Annotated[str | None, typer.Argument(help="one project only")] = None,
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Count usage and numbers of artifacts again from what is stored.

    Needed only after instances of a version without quotas have written to the same database.

    Example: seawall quota refresh web
    """
    wants_json = in_json(as_json, output)
    rows: list[tuple[object, ...]] = []
    db = _open(config, data_dir)

    def chosen(connection: Connection) -> dict[int, str]:
        return all_names(connection) if project is None else {id_of(connection, project): project}

    try:
        for project_id, name in db.sync_read(chosen).items():
            before, after = db.sync_write(lambda c, p=project_id: accounting.refresh(c, p))  # type: ignore[misc]
            for repository_id in db.sync_read(lambda c, p=project_id: repository_ids(c, p)):  # type: ignore[misc]
                db.sync_write(lambda c, r=repository_id: index.recount(c, r))  # type: ignore[misc]
            rows.append((name, before, after))
            if not wants_json:
                note = "" if before == after else f" (was {accounting.human(before)})"
                print(f"{name}: {accounting.human(after)}{note}")
    finally:
        asyncio.run(db.close())
    if wants_json:
        listed(("project", "before", "after"), rows, True)
