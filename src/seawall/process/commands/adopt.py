"""`seawall adopt-harbor`: a Harbor's database and storage taken over where they are."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Annotated

import typer

from seawall.availability.adopt.adoption import Adoption, Options
from seawall.availability.adopt.cipher import HarborCipher
from seawall.availability.adopt.harbor import open_harbor
from seawall.availability.adopt.report import Report, lines
from seawall.infra.settings import Settings
from seawall.kernel.errors import ConfigError
from seawall.process.commands.bars import bars
from seawall.process.commands.common import ConfigOption, DataOption, registry_of
from seawall.process.commands.output import JsonOption, Output, OutputOption

app = typer.Typer()
_KEY = "SEAWALL_HARBOR_SECRET_KEY"


@app.command("adopt-harbor")
def adopt_harbor(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    database: Annotated[
        str | None,
        typer.Option(
            envvar="SEAWALL_HARBOR_DATABASE",
            help="Harbor's PostgreSQL: postgresql://user@host/registry; put the password in PGPASSWORD",
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(help="Harbor's directory or bucket, to check that the settings name the same one"),
    ] = None,
    secret_key: Annotated[
        Path | None, typer.Option(help=f"file of Harbor's secret key (secretkey); or {_KEY}")
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="write; otherwise only print what would happen")
    ] = False,
    switch: Annotated[
        bool,
        typer.Option("--switch", help="the last run, which also turns on policies and schedules; writes"),
    ] = False,
    rollback: Annotated[
        bool,
        typer.Option(
            "--rollback", help="list what was pushed here since; with --apply remove what was adopted"
        ),
    ] = False,
    release_storage: Annotated[
        bool,
        typer.Option(
            "--release-storage",
            help="confirm that Harbor is gone, so that garbage collection may delete its blobs",
        ),
    ] = False,
    audit_days: Annotated[float, typer.Option(min=0, help="bring this many days of the audit log")] = 90,
    output: OutputOption = Output.text,
    as_json: JsonOption = False,
) -> None:
    """Take over a Harbor 2.8 to 2.16: its users, rules and content, with its blobs where they are.

    You can run it many times while Harbor serves. It only reads Harbor's database and storage.

    Example: seawall adopt-harbor --database postgresql://registry@db/registry --secret-key secretkey
    """
    if sum((switch, rollback, release_storage)) > 1:
        raise ConfigError("give only one of --switch, --rollback and --release-storage")
    if not rollback and not release_storage and not database:
        raise ConfigError("name Harbor's database with --database or SEAWALL_HARBOR_DATABASE")
    cipher = HarborCipher(_secret_key(secret_key))
    settings = registry_of(config, data_dir)
    _check_storage(settings, storage)
    text = output is not Output.json and not as_json

    def say(line: str) -> None:
        if text:
            print(line, flush=True)

    writes = apply or switch

    async def work() -> Report | None:
        from seawall.process.wiring import open_process

        process = open_process(settings)
        try:
            options = Options(writes, switch, audit_days, process.configuration.fixed)
            adoption = Adoption(process.db, process.storage, process.keys, process.jobs, options, say)
            if release_storage:
                await adoption.release()
                return None
            if rollback:
                return await adoption.rollback()
            with open_harbor(database or "") as harbor:
                return await adoption.run(harbor, cipher)
        finally:
            await process.close()

    with bars():
        report = asyncio.run(work())
    if report is None:
        say("garbage collection may delete blobs of Harbor's storage that nothing refers to")
        return
    if text:
        for line in lines(report, applied=writes):
            print(line)
    else:
        print(json.dumps(report.as_dict()))
    if report.left:
        raise typer.Exit(1)


def _secret_key(file: Path | None) -> str | None:
    if file is not None:
        return file.read_text().strip()
    return os.environ.get(_KEY) or None


def _check_storage(settings: Settings, storage: str | None) -> None:
    """Raise ConfigError unless Seawall's storage is Harbor's: new content goes next to the old."""
    section = settings.storage
    if section.driver == "filesystem":
        here = str(settings.storage_root)
        same = storage is None or Path(storage).resolve() == settings.storage_root.resolve()
        wanted = f"storage.root: {storage}"
        if same and not (settings.storage_root / "docker/registry/v2/blobs").is_dir():
            raise ConfigError(
                f"{here} has no docker/registry/v2/blobs: set storage.root to the folder of Harbor's registry"
            )
    else:
        bucket = {
            "s3": section.s3.bucket,
            "gcs": section.gcs.bucket,
            "azure": section.azure.container,
        }[section.driver]
        prefix = {"s3": section.s3, "gcs": section.gcs, "azure": section.azure}[section.driver].rootdirectory
        here = "/".join(part for part in (str(bucket), prefix.strip("/")) if part)
        given = (storage or "").partition("://")[2] or (storage or "")
        same = storage is None or given.strip("/") == here
        wanted = f"the bucket in storage.{section.driver}"
    if not same:
        raise ConfigError(
            f"Seawall's storage is {here}, not {storage}: set {wanted} first, nothing is copied"
        )
