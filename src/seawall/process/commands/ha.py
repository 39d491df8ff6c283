"""`seawall ha`: the instances of the cluster."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, TypeVar

import typer
from rich.table import Table

from seawall.availability.cluster.balancer import KINDS, Balancer
from seawall.availability.cluster.check import check
from seawall.availability.cluster.check_services import check_receipts
from seawall.availability.cluster.instances import InstanceRegistry
from seawall.availability.cluster.report import CheckReport, shown
from seawall.infra.db import Database
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.settings import Settings
from seawall.kernel.errors import ConfigError
from seawall.process.commands.common import (
    ConfigOption,
    DataOption,
    registry_of,
    registry_url,
    settings_of,
    when,
    with_keys,
)
from seawall.process.commands.output import JsonOption, Output, OutputOption, console, in_json
from seawall.process.storage import open_storage

T = TypeVar("T")
ha_app = typer.Typer(no_args_is_help=True, help="Show and check the instances of the cluster.")


@ha_app.command("status")
def ha_status(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """List the instances and whether they are alive.

    Example: seawall ha status --output json
    """
    settings = registry_of(config, data_dir)

    async def work(db: Database, ring: KeyRing) -> None:
        found = await InstanceRegistry(db, settings, ring).list()
        if in_json(as_json, output):
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
                when(item.started_at),
                f"{item.clock_skew:+.1f} s",
                str(item.health.get("status", "")),
            )
        console().print(table)

    with_keys(settings, work)


@ha_app.command("check")
def ha_check(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Test every pair of instances, and name each fault and its remedy; exit code 1 when there is one.

    Example: seawall ha check
    """
    settings = registry_of(config, data_dir)

    async def work(db: Database, ring: KeyRing) -> CheckReport:
        report = await check(db, settings, ring)
        await check_receipts(report, db, open_storage(settings))
        if settings.peers.urls:
            await _check_peers(settings, report)
        if settings.dr.site:
            await _check_sites(db, settings, report)
        return report

    report = with_keys(settings, work)
    if in_json(as_json, output):
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
        typer.Option(
            help="URL of an instance, may be repeated; otherwise those that are alive, and peers.urls"
        ),
    ] = None,
    external_url: Annotated[
        str | None, typer.Option(help="address that clients use; otherwise the setting")
    ] = None,
    bind: Annotated[str, typer.Option(help="address:port to listen on")] = "",
    certificate: Annotated[
        str, typer.Option(help="certificate of the balancer (PEM; for HAProxy with its key)")
    ] = "",
    key: Annotated[str, typer.Option(help="key of the certificate (PEM; nginx only)")] = "",
    ca: Annotated[str, typer.Option(help="CA of the instances, if they have TLS (PEM)")] = "",
    sticky: Annotated[
        bool,
        typer.Option("--sticky", help="send each client to one instance, for instances that share nothing"),
    ] = False,
    peers: Annotated[
        bool | None,
        typer.Option(help="send each repository to one instance, for peers; the default with peers.urls"),
    ] = None,
    files: Annotated[
        str | None,
        typer.Option(
            help="storage.root as nginx sees it, to send blobs from; default with http.accelerate ('': not)"
        ),
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

    found = instance or [*with_keys(settings, alive), *settings.peers.urls]
    balancer = Balancer(
        url,
        found,
        bind=bind,
        ca=ca,
        sticky=sticky,
        peers=bool(settings.peers.urls) if peers is None else peers,
        files=files if files is not None else str(settings.storage_root) if settings.http.accelerate else "",
        **{k: v for k, v in (("certificate", certificate), ("key", key)) if v},
    )
    if not ca and any(item.startswith("https://") for item in found):
        warning = (
            "without --ca the balancer does not verify the instances' certificates, so anyone between "
            "them can read everything; name the PEM of their authority with --ca"
        )
        print(f"warning: {warning}", file=sys.stderr)
        print(f"# WARNING: {warning}")
    print(KINDS[kind.value](balancer), end="")
