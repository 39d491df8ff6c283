"""What all commands share: the options that name an installation, and the settings that follow from them."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import errno
import os
import re
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import structlog
import typer

from seawall.infra.loading import find, load
from seawall.infra.roots import trust_authorities
from seawall.infra.settings import Settings
from seawall.kernel.errors import ConfigError
from seawall.process.stderr import StandardError

if TYPE_CHECKING:
    from seawall.infra.db import Database
    from seawall.infra.secrets.keyring import KeyRing

T = TypeVar("T")

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="SEAWALL_CONFIG",
        help="seawall.yml to read; otherwise ./seawall.yml, then /etc/seawall/seawall.yml",
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data-dir", help="folder in which Seawall keeps its data; otherwise SEAWALL_DATA_DIR"),
]


_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


@contextlib.contextmanager
def writing(place: Path) -> Iterator[None]:
    """Name `place` in a disk's error that names no file: a write to an open file does not know its name."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in _DISK:
            error.filename = str(place)
        raise


def registry_url(text: str) -> str:
    """The address of a registry as it is given on the command line. Raises ConfigError."""
    if not text.startswith(("http://", "https://")):
        raise ConfigError(f"{text}: must start with http:// or https://")
    address = text.rstrip("/")
    if re.search(r"/(v1|v2|api(/.*)?)$", address):
        raise ConfigError(f"{text}: must be the registry's address only, without what follows the host")
    return address


def password_of(user: str, url: str, variable: str, file: Path | None = None) -> str:
    """A password from a file, an environment variable or a terminal. Raises ConfigError for none.

    Never an argument: the process list shows those to everyone on the host.
    """
    if file is not None:
        return file.read_text().rstrip("\n")
    given = os.environ.get(variable)
    if given:
        return given
    if not sys.stdin.isatty():
        raise ConfigError(f"no password of {user} at {url}: set {variable}")
    return str(typer.prompt(f"Password of {user} at {url}", hide_input=True))


def settings_of(config: Path | None, data_dir: Path | None, **flags: Any) -> Settings:
    """The settings that a command works with; a terminal shows the file that was found."""
    if not structlog.is_configured():
        # Standard output has the result, which may be JSON.
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(StandardError()))  # type: ignore[arg-type]
    values = {key: value for key, value in flags.items() if value is not None}
    if data_dir is not None:
        values["data_dir"] = data_dir
    if config is None:
        config = find(data_dir)
        if config is not None:
            tell(f"settings from {config}")
    settings = load(config, values)
    trust_authorities(settings)
    return settings


def registry_of(config: Path | None, data_dir: Path | None) -> Settings:
    """The settings of an installation that exists, its schema brought up to date.

    Raises ConfigError where there is none: only `serve` and `restore` may make one.
    """
    # Not sooner: not every command has a database, and to import all that one needs takes a second.
    from seawall.infra.db import migrate
    from seawall.process import tables as tables

    settings = settings_of(config, data_dir)
    if not migrate.upgrade_existing(settings.database_url):
        raise ConfigError(f"there is no registry {where(settings)}; name it with --data-dir or --config")
    if data_dir is None and config is None and not settings.database.url:
        tell(f"registry in {settings.data_dir.absolute()}")
    return settings


def with_db(settings: Settings, work: Callable[[Database], Awaitable[T]]) -> T:
    """Run `work(db)` with an open database."""
    from seawall.infra.db import open_database

    async def opened() -> T:
        db = open_database(settings.database_url, pool_size=4)
        try:
            return await work(db)
        finally:
            await db.close()

    return asyncio.run(opened())


def tell(what: str) -> None:
    """A note on standard error, for people at a terminal."""
    # For people: a script reads standard error for errors, and named what it uses.
    if sys.stderr.isatty():
        print(f"seawall: {what}", file=sys.stderr)


def where(settings: Settings) -> str:
    """Where the registry of these settings is, for people."""
    if not settings.database.url:
        directory = settings.data_dir.absolute()
        named = "SEAWALL_DATA_DIR" in os.environ
        return f"in {directory}" + (" (SEAWALL_DATA_DIR)" if named else "")
    from sqlalchemy.engine import make_url

    url = make_url(settings.database_url)
    return f"in database {url.database} at {url.host or 'this host'}"


def with_keys(
    settings: Settings,
    work: Callable[[Database, KeyRing], Awaitable[T]],
    *,
    generate: bool = True,
    master: bytes | None = None,
) -> T:
    """Run `work`. Without `generate` keys that the cluster lacks stay missing; `master` may open keys too."""

    from seawall.infra.db import open_database
    from seawall.infra.secrets.keyring import KeyRing

    async def run() -> T:
        db = open_database(settings.database_url, pool_size=2)
        try:
            ring = KeyRing.open(db, settings, files=False, generate_missing=generate, master=master)
            return await work(db, ring)
        finally:
            await db.close()

    return asyncio.run(run())


def number_of(count: int, what: str) -> str:
    """`no faults`, `1 fault` or `2 faults` of a regular noun."""
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"


def when(seconds: float) -> str:
    """A time (Unix seconds) for people."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
