"""`seawall keys`: the cluster's keys; `seawall ha`: its instances."""

from __future__ import annotations

import asyncio
import base64
import datetime
import json
import re
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.table import Table

from seawall.availability.cluster.balancer import KINDS, Balancer
from seawall.availability.cluster.check import check
from seawall.availability.cluster.instances import InstanceRegistry
from seawall.availability.cluster.report import CheckReport, shown
from seawall.infra.db import Database, migrate, open_database
from seawall.infra.secrets.carry import Found, read_folder, replace_file, write_files
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.secrets.master import read_master_key
from seawall.infra.secrets.material import CSRF, NAMES, SECRET, TOKEN
from seawall.infra.settings import Settings
from seawall.kernel.errors import ConfigError, ConflictError
from seawall.process.commands.common import (
    ConfigOption,
    DataOption,
    JsonOption,
    Output,
    OutputOption,
    console,
    registry_of,
    registry_url,
    settings_of,
)

T = TypeVar("T")
ha_app = typer.Typer(no_args_is_help=True, help="Instances of the cluster.")
keys_app = typer.Typer(no_args_is_help=True, help="The cluster's keys.")


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


def _when(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M:%SZ")


@keys_app.command("list")
def keys_list(config: ConfigOption = None, data_dir: DataOption = None) -> None:
    """List keys and their versions; no secret is shown.

    Example: seawall keys list
    """

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
    """Make new keys; the old ones are accepted until what was made with them has ended.

    Rotating the secret key waits until the new one is in use and seals every stored credential with it.

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
        bool, typer.Option("--force", help="also when a running instance does not have it")
    ] = False,
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Seal the cluster's keys under a new master key, which every running instance must have already.

    First give it to all (other_master_key_file); afterwards make it their master_key_file.

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

    print(f"{_with_services(settings, work)} keys sealed under the new master key; make it master_key_file")


@keys_app.command("import")
def keys_import(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="private_key.pem, root.crt, secretkey, ...")],
    now: Annotated[
        bool, typer.Option("--now", help="refuse the old keys at once; logins made with them end")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="take a master key that a running instance does not have")
    ] = False,
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Make the keys in a folder the cluster's: a Harbor's secret folder, or another Seawall's.

    Works before the first start, and later while instances run: old keys are accepted as after a rotation.
    A `master.key` becomes the master key too, and the file that the settings name is replaced.

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

    _with_services(settings, work, generate=False, master=found.master)


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
        Path | None, typer.Argument(metavar="DIR", help="instead of the files that the settings name")
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
        print(
            "the files hold the cluster's keys already"
            if named or settings.keys.secret_key_file
            else "the settings name no key files (keys.private_key_file, ...); name a folder"
        )


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


def _with_services(
    settings: Settings,
    work: Callable[[Database, KeyRing], Awaitable[T]],
    *,
    generate: bool = True,
    master: bytes | None = None,
) -> T:
    """Run `work`. Without `generate` keys that the cluster lacks stay missing; `master` may open keys too."""

    async def run() -> T:
        db = open_database(settings.database_url, pool_size=2)
        try:
            ring = KeyRing.open(db, settings, files=False, generate_missing=generate, master=master)
            return await work(db, ring)
        finally:
            await db.close()

    return asyncio.run(run())


@ha_app.command("status")
def ha_status(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """List instances and whether they live.

    Example: seawall ha status --output json
    """
    settings = registry_of(config, data_dir)

    async def work(db: Database, ring: KeyRing) -> None:
        found = await InstanceRegistry(db, settings, ring).list()
        if as_json or output is Output.json:
            print(json.dumps([shown(item) for item in found]))
            return
        table = Table("address", "host", "version", "state", "seen", "started", "clock", "health")
        for item in found:
            table.add_row(
                item.address,
                item.hostname,
                item.version,
                "alive" if item.alive else "dead",
                f"{item.age:.0f} s ago",
                _when(item.started_at),
                f"{item.clock_skew:+.1f} s",
                str(item.health.get("status", "")),
            )
        console.print(table)

    _with_services(settings, work)


@ha_app.command("check")
def ha_check(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Test every pair of instances; names each fault and its cure. Exit code 1 when there is one.

    Example: seawall ha check
    """
    settings = registry_of(config, data_dir)

    async def work(db: Database, ring: KeyRing) -> CheckReport:
        report = await check(db, settings, ring)
        if settings.peers.urls:
            await _check_peers(settings, report)
        if settings.dr.site:
            await _check_sites(db, settings, report)
        return report

    report = _with_services(settings, work)
    if as_json or output is Output.json:
        print(json.dumps({**asdict(report), "ok": report.ok}))
    else:
        living = sum(item["alive"] for item in report.instances)
        print(f"{living} instances alive, {report.pairs} pairs tested: {', '.join(report.tested)}")
        for fault in report.faults:
            print(f"FAULT {fault.kind}: {fault.message}\n  cure: {fault.cure}")
        if report.ok:
            print("no faults")
    if not report.ok:
        raise typer.Exit(1)


async def _check_sites(db: Database, settings: Settings, report: CheckReport) -> None:
    # Imported here, for the same reason.
    from seawall.availability.sites.check import check_sites
    from seawall.availability.sites.service import DrService
    from seawall.process.storage import open_storage

    dr = DrService(db, open_storage(settings), settings)
    try:
        check_sites(await dr.status(), report)
    finally:
        await dr.close()


async def _check_peers(settings: Settings, report: CheckReport) -> None:
    # Imported here: peers use the services, which use what is below `ha`.
    from seawall.availability.peers.check import check_peers
    from seawall.process.wiring import open_process

    process = open_process(settings)
    try:
        await check_peers(process.peers.statuses, report)
    finally:
        await process.close()


class BalancerKind(StrEnum):
    """Balancers that configurations are made for."""

    haproxy = "haproxy"
    nginx = "nginx"


@ha_app.command("lb-config")
def ha_lb_config(
    kind: Annotated[BalancerKind, typer.Argument(help="the balancer: haproxy or nginx")],
    instance: Annotated[
        list[str] | None,
        typer.Option(help="URL of an instance; without any, those alive and peers.urls"),
    ] = None,
    external_url: Annotated[str | None, typer.Option(help="instead of the setting")] = None,
    bind: Annotated[str, typer.Option(help="address:port to listen on")] = "",
    certificate: Annotated[str, typer.Option(help="PEM of the balancer (HAProxy: with its key)")] = "",
    key: Annotated[str, typer.Option(help="PEM of its key (nginx)")] = "",
    ca: Annotated[str, typer.Option(help="PEM of the CA of the instances, if they have TLS")] = "",
    sticky: Annotated[
        bool, typer.Option("--sticky", help="keep each client at one instance, where they share nothing")
    ] = False,
    peers: Annotated[
        bool | None,
        typer.Option(help="keep each repository at one instance: they are peers (by itself with peers.urls)"),
    ] = None,
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Print a load balancer's configuration for this cluster.

    Example: seawall ha lb-config haproxy --bind :443 --certificate /etc/haproxy/registry.pem
    """
    # A configuration for instances that are named needs no registry on this host.
    settings = settings_of(config, data_dir) if instance else registry_of(config, data_dir)
    url = external_url or settings.external_url
    if not url:
        raise ConfigError("external_url is not set; set it, or give --external-url")
    url = registry_url(url)
    if bind and not (re.fullmatch(r"(\S*:)?\d{1,5}", bind) and int(bind.rpartition(":")[2]) < 65536):
        raise ConfigError(f"--bind {bind}: must be address:port, such as :443")

    async def alive(db: Database, ring: KeyRing) -> list[str]:
        registry = InstanceRegistry(db, settings, ring)
        return sorted(item.address for item in await registry.list() if item.alive)

    found = instance or [*_with_services(settings, alive), *settings.peers.urls]
    balancer = Balancer(
        url,
        found,
        bind=bind,
        ca=ca,
        sticky=sticky,
        peers=bool(settings.peers.urls) if peers is None else peers,
        **{k: v for k, v in (("certificate", certificate), ("key", key)) if v},
    )
    if not ca and any(item.startswith("https://") for item in found):
        warning = (
            "without --ca the balancer does not verify the instances' certificates, so whoever gets between "
            "them can read everything; name the PEM of their authority with --ca"
        )
        print(f"warning: {warning}", file=sys.stderr)
        print(f"# WARNING: {warning}")
    print(KINDS[kind.value](balancer), end="")
