"""`seawall support-bundle`."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
import time
from pathlib import Path
from typing import Annotated

import typer

from seawall.kernel.errors import ConfigError
from seawall.process import tables as tables  # declares every table
from seawall.process.commands.common import ConfigOption, DataOption, settings_of, where, writing
from seawall.process.support import Support

app = typer.Typer()


@app.command("support-bundle")
def support_bundle(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="file to write (.tar.gz); otherwise one in the current folder"),
    ] = None,
    log: Annotated[
        list[Path] | None, typer.Option(help="log file of Seawall, from which to take warnings and errors")
    ] = None,
    names: Annotated[bool, typer.Option("--names", help="keep the names of projects in the metrics")] = False,
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Gather versions, settings, checks, errors, slow statements and metrics in one archive, without secrets.

    manifest.json names what could not be gathered. Read the archive before you give it away.

    Example: seawall support-bundle --log /var/log/seawall.log --output bundle.tar.gz
    """
    settings = settings_of(config, data_dir)
    logs = list(log or [])
    for path in logs:
        if not path.is_file():
            raise ConfigError(f"--log {path}: there is no such file")
    if not settings.database.url and not settings.data_dir.exists():
        raise ConfigError(f"there is no registry {where(settings)}; name it with --data-dir or --config")
    target = output or Path(time.strftime("seawall-support-%Y%m%d-%H%M%S.tar.gz", time.gmtime()))
    if target.exists():
        raise ConfigError(f"{target} exists; name another file with --output")
    if not target.parent.is_dir():
        raise ConfigError(f"{target}: there is no folder {target.parent}; make it first")
    support = Support(settings, names=names)
    parts = asyncio.run(support.gather(logs))
    with writing(target):
        _write(target, parts)
    print(f"{target}: {len(parts)} files; read them before you give them away")
    for name, reason in support.failed.items():
        print(f"  without {name}: {reason}")


def _write(target: Path, parts: dict[str, str]) -> None:
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    folder = target.name.removesuffix(".gz").removesuffix(".tar").removesuffix(".tgz")
    try:
        with (
            os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
            tarfile.open(fileobj=file, mode="w:gz") as archive,
        ):
            for name, text in sorted(parts.items()):
                data = text.encode()
                entry = tarfile.TarInfo(f"{folder}/{name}")
                entry.size, entry.mtime, entry.mode = len(data), int(time.time()), 0o600
                archive.addfile(entry, io.BytesIO(data))
        unfinished.rename(target)
    finally:
        unfinished.unlink(missing_ok=True)
