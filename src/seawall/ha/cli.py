"""`seawall keys`: the cluster's keys."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from seawall.auth.keys import CSRF, NAMES, SECRET, TOKEN, KeyRing
from seawall.config import Settings, load
from seawall.db import migrate, open_database

T = TypeVar("T")
keys_app = typer.Typer(no_args_is_help=True, help="The cluster's keys.")
console = Console()

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", envvar="SEAWALL_CONFIG", help="seawall.yml to read")
]
DataOption = Annotated[
    Path | None, typer.Option("--data-dir", help="where an embedded Seawall keeps its data")
]


class Which(StrEnum):
    """Keys that can be rotated."""

    token = "token"  # noqa: S105
    csrf = "csrf"
    secret = "secret"  # noqa: S105
    all = "all"


_NAMES = {Which.token: [TOKEN], Which.csrf: [CSRF], Which.secret: [SECRET], Which.all: list(NAMES)}


def settings_of(config: Path | None, data_dir: Path | None) -> Settings:
    """The settings that a command works with."""
    if config is None and Path("seawall.yml").exists():
        config = Path("seawall.yml")
    return load(config, {"data_dir": data_dir} if data_dir is not None else {})


def _with_ring(settings: Settings, work: Callable[[KeyRing], T]) -> T:
    migrate.upgrade(settings.database_url)

    async def run() -> T:
        db = open_database(settings.database_url, pool_size=2)
        try:
            # Key files are for servers: a command must work on any host that reaches the database.
            return work(KeyRing.open(db, settings, files=False))
        finally:
            await db.close()

    return asyncio.run(run())


def _when(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M:%SZ")


@keys_app.command("list")
def keys_list(config: ConfigOption = None, data_dir: DataOption = None) -> None:
    """List keys and their versions; no secret is shown."""

    def work(ring: KeyRing) -> None:
        table = Table("key", "version", "state", "made", "until", "fingerprint")
        now = time.time()
        for name in NAMES:
            current = ring.current(name).version
            for key in ring.versions(name):
                state = "current" if key.version == current else key.state(now)
                until = _when(key.retire_at) if key.retire_at is not None else ""
                table.add_row(
                    name, str(key.version), state, _when(key.created_at), until, key.fingerprint[:16]
                )
        console.print(table)

    _with_ring(settings_of(config, data_dir), work)


@keys_app.command("rotate")
def keys_rotate(
    which: Annotated[Which, typer.Argument(help="token, csrf, secret or all")] = Which.all,
    now: Annotated[
        bool, typer.Option("--now", help="refuse the old key at once (it leaked); logins made with it end")
    ] = False,
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Make new keys; the old ones are accepted until what was made with them has ended.

    Rotating the secret key waits until the new one is in use and seals every stored credential with it.
    """
    settings = settings_of(config, data_dir)
    overlap = {
        TOKEN: settings.auth.token_minutes * 60 + 60,
        CSRF: settings.auth.session_hours * 3600,
        SECRET: 0,
    }

    def work(ring: KeyRing) -> None:
        wait = 0.0
        for name in _NAMES[which]:
            key = ring.rotate(name, overlap_seconds=overlap[name], at_once=now)
            left = max(0.0, key.active_at - time.time())
            print(f"{name}: version {key.version} is published and in use in {left:.0f} s")
            if name == SECRET:
                wait = left + (0 if now else 2 * settings.keys.poll_seconds)
        if SECRET in _NAMES[which]:
            time.sleep(wait)
            print(f"{SECRET}: {ring.finish_secret_rotation()} stored credentials sealed with the new key")

    _with_ring(settings, work)


@keys_app.command("certificate")
def keys_certificate(config: ConfigOption = None, data_dir: DataOption = None) -> None:
    """Print the token signing key's certificate (root.crt) in PEM."""
    print(_with_ring(settings_of(config, data_dir), lambda ring: ring.certificate), end="")
