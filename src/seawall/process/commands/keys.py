"""`seawall keys`: the cluster's keys."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from seawall.availability.cluster.instances import InstanceRegistry
from seawall.infra.db import Database, migrate, open_database
from seawall.infra.secrets.carry import Found, read_folder, replace_file, write_files
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.secrets.master import read_master_key
from seawall.infra.secrets.material import CSRF, NAMES, SECRET, TOKEN
from seawall.infra.settings import Settings
from seawall.kernel.errors import ConfigError, ConflictError
from seawall.process import tables as tables  # declares every table
from seawall.process.commands.common import (
    ConfigOption,
    DataOption,
    registry_of,
    settings_of,
    when,
    with_keys,
)
from seawall.process.commands.output import JsonOption, Output, OutputOption, in_json, listed

T = TypeVar("T")
keys_app = typer.Typer(no_args_is_help=True, help="Show, replace, import and export the cluster's keys.")


class Which(StrEnum):
    """Keys that can be rotated."""

    token = "token"  # noqa: S105
    csrf = "csrf"
    secret = "secret"  # noqa: S105
    all = "all"


_NAMES = {Which.token: [TOKEN], Which.csrf: [CSRF], Which.secret: [SECRET], Which.all: list(NAMES)}


def _with_ring(settings: Settings, work: Callable[[KeyRing], T]) -> T:

    async def run() -> T:
        db = open_database(settings.database_url, pool_size=2)
        try:
            # Key files are for servers: a command must work on any host that reaches the database.
            return work(KeyRing.open(db, settings, files=False))
        finally:
            await db.close()

    return asyncio.run(run())


@keys_app.command("list")
def keys_list(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """List keys and their versions; no secret is shown.

    Example: seawall keys list
    """

    def work(ring: KeyRing) -> None:
        rows: list[tuple[object, ...]] = []
        now = time.time()
        for name in NAMES:
            current = ring.current(name).version
            for key in ring.versions(name):
                state = "current" if key.version == current else key.state(now)
                until = when(key.retire_at) if key.retire_at is not None else None
                rows.append((name, key.version, state, when(key.created_at), until, key.fingerprint[:16]))
        head = ("key", "version", "state", "made", "until", "fingerprint")
        listed(head, rows, in_json(as_json, output))

    _with_ring(registry_of(config, data_dir), work)


@keys_app.command("rotate")
def keys_rotate(
    which: Annotated[Which, typer.Argument(help="token, csrf, secret or all")] = Which.all,
    now: Annotated[
        bool, typer.Option("--now", help="refuse the old key at once (it leaked); logins made with it end")
    ] = False,
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Make new keys; the old ones stay valid until everything made with them has expired.

    A rotation of the secret key waits until the new one is in use, then encrypts every stored credential
    with it.

    Example: seawall keys rotate token
    """
    settings = registry_of(config, data_dir)
    overlap = _overlaps(settings)

    def work(ring: KeyRing) -> None:
        wait = 0.0
        for name in _NAMES[which]:
            key = ring.rotation.rotate(name, overlap_seconds=overlap[name], at_once=now)
            left = max(0.0, key.active_at - time.time())
            print(f"{name}: version {key.version} is published and in use in {left:.0f} s")
            if name == SECRET:
                wait = left + (0 if now else 2 * settings.keys.poll_seconds)
        if SECRET in _NAMES[which]:
            time.sleep(wait)
            count = ring.rotation.finish_secret_rotation()
            print(f"{SECRET}: {count} stored credentials sealed with the new key")

    _with_ring(settings, work)


@keys_app.command("rotate-master")
def keys_rotate_master(
    new: Annotated[Path, typer.Argument(help="file with the new master key")],
    force: Annotated[
        bool, typer.Option("--force", help="go on even when a running instance does not have it")
    ] = False,
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Encrypt the cluster's keys with a new master key, which every running instance must have already.

    Before that, name it as other_master_key_file at all instances; afterwards, make it their master_key_file.

    Example: seawall keys rotate-master /data/secret/keys/new-master.key
    """
    settings = registry_of(config, data_dir)
    key = read_master_key(new)

    async def work(db: Database, ring: KeyRing) -> int:
        wanted = KeyRing(db, key, settings.keys).masters.fingerprint
        for item in await InstanceRegistry(db, settings, ring).list():
            if item.alive and wanted not in item.fingerprints.get("held", "").split(",") and not force:
                raise ConflictError(
                    f"instance {item.address} does not have the new master key: set its "
                    "other_master_key_file and restart it"
                )
        return await asyncio.to_thread(ring.rotation.rotate_master, key)

    print(f"{with_keys(settings, work)} keys sealed under the new master key; make it master_key_file")


@keys_app.command("import")
def keys_import(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="folder of private_key.pem, root.crt, secretkey, ...")
    ],
    now: Annotated[
        bool, typer.Option("--now", help="refuse the old keys at once; logins made with them end")
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="import a master key even when a running instance does not have it"),
    ] = False,
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Import the keys in a folder, of a Harbor or of another Seawall, as the cluster's keys.

    Works before the first start, and later while instances run; old keys stay valid as after a rotation.
    A `master.key` in the folder becomes the master key, and replaces the file that the settings name.

    Example: seawall keys import /net/a.example.com/data/secret
    """
    settings = settings_of(config, data_dir)
    found = read_folder(folder)
    # Before the first start too: then this makes the database.
    migrate.upgrade(settings.database_url)
    overlap = _overlaps(settings)

    async def work(db: Database, ring: KeyRing) -> None:
        if found.master is not None:
            await _take_master(settings, db, ring, found, force)
        wait = 0.0
        for name, key in found.keys.items():
            new = await asyncio.to_thread(
                ring.rotation.bring, name, key, overlap_seconds=overlap[name], at_once=now
            )
            if new is None:
                print(f"{name}: {found.files[name]} is the cluster's key already")
                continue
            left = max(0.0, new.active_at - time.time())
            print(f"{name}: version {new.version} from {found.files[name]} is in use in {left:.0f} s")
            if name == SECRET and new.version > 1:
                wait = left + (0 if now else 2 * settings.keys.poll_seconds)
        for path in write_files(ring, settings.keys, None):
            print(f"written: {path}")
        if wait:
            await asyncio.sleep(wait)
            sealed = await asyncio.to_thread(ring.rotation.finish_secret_rotation)
            print(f"{SECRET}: {sealed} stored credentials sealed with the new key")

    with_keys(settings, work, generate=False, master=found.master)


async def _take_master(settings: Settings, db: Database, ring: KeyRing, found: Found, force: bool) -> None:
    """Seal the keys under the folder's master key, and put it where the settings have it."""
    assert found.master is not None
    wanted = KeyRing(db, found.master, settings.keys).masters.fingerprint
    if ring.masters.fingerprint != wanted:
        for item in await InstanceRegistry(db, settings, ring).list():
            if item.alive and wanted not in item.fingerprints.get("held", "").split(",") and not force:
                raise ConflictError(
                    f"instance {item.address} runs without the master key {found.master_file}: stop it "
                    "and import again, or restart it with that file as other_master_key_file first"
                )
        await asyncio.to_thread(ring.rotation.rotate_master, found.master)
    if settings.master_key is not None:
        print(f"master: set SEAWALL_MASTER_KEY to the content of {found.master_file} before the next start")
        return
    place = settings.master_key_file or settings.data_dir / "master.key"
    content = base64.b64encode(found.master) + b"\n"
    if not (place.exists() and read_master_key(place) == found.master):
        replace_file(place, content)
        print(f"master: {place} is {found.master_file} now")


@keys_app.command("export")
def keys_export(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="folder to write to, instead of the files that the settings name"),
    ] = None,
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Write the cluster's keys to the key files of the settings (keys.private_key_file, ...).

    Example: seawall keys export /root/keys
    """
    settings = registry_of(config, data_dir)
    written = _with_ring(settings, lambda ring: write_files(ring, settings.keys, folder))
    for path in written:
        print(f"written: {path}")
    if not written:
        named = folder or settings.keys.private_key_file or settings.keys.csrf_key_file
        if not named and not settings.keys.secret_key_file:
            raise ConfigError("the settings name no key files (keys.private_key_file, ...); name a folder")
        print("the files hold the cluster's keys already")


def _overlaps(settings: Settings) -> dict[str, float]:
    return {
        TOKEN: settings.auth.token_minutes * 60 + 60,
        CSRF: settings.auth.session_hours * 3600,
        SECRET: 0,
    }


@keys_app.command("certificate")
def keys_certificate(config: ConfigOption = None, data_dir: DataOption = None) -> None:
    """Print the token signing key's certificate (root.crt) in PEM.

    Example: seawall keys certificate > root.crt
    """
    print(_with_ring(registry_of(config, data_dir), lambda ring: ring.certificate), end="")
