"""What the commands share: their options, the settings, a database."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from seawall.infra.db import migrate, open_database
from seawall.infra.settings import Settings, load

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", envvar="SEAWALL_CONFIG", help="seawall.yml to read")
]
DataOption = Annotated[
    Path | None, typer.Option("--data-dir", help="where an embedded Seawall keeps its data")
]


def load_settings(config: Path | None, data_dir: Path | None, **flags: Any) -> Settings:
    """The settings of a command; `flags` that are None do not count."""
    values = {key: value for key, value in flags.items() if value is not None}
    if data_dir is not None:
        values["data_dir"] = data_dir
    if config is None and Path("seawall.yml").exists():
        config = Path("seawall.yml")
    return load(config, values)


def with_db(settings: Settings, work: Any) -> Any:
    """Run `work(db)` with an open, migrated database."""
    migrate.upgrade(settings.database_url)

    async def run_work() -> Any:
        db = open_database(settings.database_url, pool_size=4)
        try:
            return await work(db)
        finally:
            await db.close()

    return asyncio.run(run_work())
