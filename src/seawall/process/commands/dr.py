"""`seawall dr`: the two sites."""

from __future__ import annotations

import asyncio
import datetime
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import structlog
import typer
from rich.table import Table

from seawall.infra.db import open_database
from seawall.infra.secrets.master import load_master_key, other_master_keys
from seawall.kernel.errors import ConfigError
from seawall.process.commands.common import ConfigOption, DataOption, registry_of, settings_of
from seawall.process.commands.output import JsonOption, Output, OutputOption, console, in_json

if TYPE_CHECKING:
    from seawall.availability.sites.service import DrService

T = TypeVar("T")
dr_app = typer.Typer(no_args_is_help=True, help="Two data centers, one active and one standby.")


def _when(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _with(config: Path | None, data_dir: Path | None, work: Callable[[DrService], Awaitable[T]]) -> T:
    # Imported here, so that other commands start without it.
    from seawall.availability.sites.service import DrService
    from seawall.process.stderr import StandardError
    from seawall.process.storage import open_storage

    # What is logged on the way must not be among what is printed.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(StandardError()))  # type: ignore[arg-type]
    settings = registry_of(config, data_dir)

    async def run() -> T:
        db = open_database(settings.database_url, pool_size=4)
        service = DrService(db, open_storage(settings), settings)
        try:
            return await work(service)
        finally:
            await service.close()
            await db.close()

    return asyncio.run(run())


def _show(shown_state: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps({**shown_state, "last_applied_at": _when(shown_state["last_applied_at"])}))
        return
    table = Table(show_header=False)
    if shown_state["site"]:
        table.add_row("site", f"{shown_state['site']}: {shown_state['role']}, epoch {shown_state['epoch']}")
    else:
        table.add_row("site", "the only one (dr.site is not set)")
    table.add_row("takes writes", "yes" if shown_state["writable"] else "no")
    if shown_state["peer"] is not None:
        peer = shown_state["peer"]
        state = f"{peer['site']}: {peer['role']}, epoch {peer['epoch']}" if peer["site"] else "not seen yet"
        table.add_row("peer", f"{state}; {'reachable' if peer['reachable'] else 'away'} ({peer['url']})")
    if shown_state["witness"] is not None:
        witness = shown_state["witness"]
        held = f"lease of {witness['held_by']}" if witness["held_by"] else "no lease"
        table.add_row("witness", f"{held if witness['reachable'] else 'away'} ({witness['url']})")
    if shown_state["syncing"]:
        table.add_row("sync", shown_state["syncing"])
    if shown_state["lag_seconds"] is not None:
        table.add_row(
            "lag", f"{shown_state['lag_seconds']:.1f} s, {shown_state['behind_changes'] or 0} changes"
        )
    if shown_state["divergences"]:
        table.add_row("divergences", str(shown_state["divergences"]))
    if shown_state["error"]:
        table.add_row("error", shown_state["error"])
    console().print(table)


@dr_app.command("status")
def dr_status(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Show this site's role and how far the standby is behind.

    Example: seawall dr status --output json
    """
    _show(_with(config, data_dir, lambda dr: dr.status()), in_json(as_json, output))


@dr_app.command("promote")
def dr_promote(
    force: Annotated[
        bool,
        typer.Option("--force", help="do not ask the other site, because you are sure that it is stopped"),
    ] = False,
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Make this site the active one, once the other site or the witness says that the other has stopped.

    Example: seawall dr promote
    """
    _show(_with(config, data_dir, lambda dr: dr.promote(force=force)), in_json(as_json, output))


@dr_app.command("demote")
def dr_demote(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Take no more writes at this site; no site takes writes until one is promoted.

    Example: seawall dr demote
    """
    _show(_with(config, data_dir, lambda dr: dr.demote()), in_json(as_json, output))


@dr_app.command("failback")
def dr_failback(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Switch the roles of the two sites without losing anything; both must answer.

    Example: seawall dr failback
    """
    _show(_with(config, data_dir, lambda dr: dr.failback()), in_json(as_json, output))


@dr_app.command("divergences")
def dr_divergences(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """List what an old active had acknowledged and the new one never received, and what became of it.

    Example: seawall dr divergences
    """
    found = _with(config, data_dir, lambda dr: dr.divergences())
    if in_json(as_json, output):
        print(json.dumps([{**item, "at": _when(item["at"])} for item in found]))
        return
    table = Table("at", "kind", "name", "outcome", "detail")
    for item in found:
        reason = str(item["detail"].get("reason") or "")
        table.add_row(_when(item["at"]), item["kind"], item["name"], item["outcome"], reason)
    console().print(table)


@dr_app.command("witness")
def dr_witness(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="port to listen on; 0: any free one")] = 8090,
    state: Annotated[
        Path | None, typer.Option(help="file in which it keeps its state; otherwise DATA_DIR/witness.json")
    ] = None,
    certificate: Annotated[Path | None, typer.Option(help="TLS certificate (PEM)")] = None,
    key: Annotated[Path | None, typer.Option(help="its key (PEM)")] = None,
) -> None:
    """Run a witness, at a third place; it needs the sites' master key and nothing else of theirs.

    Example: seawall dr witness --host 0.0.0.0 --port 8090 --certificate witness.crt --key witness.key
    """
    from granian.constants import Interfaces
    from granian.server.embed import Server

    from seawall.availability.sites.wire import Signer
    from seawall.availability.sites.witness import open_witness, witness_app
    from seawall.infra.ports import free_port
    from seawall.install.certificates import CertificateError, check_pair
    from seawall.process.start import check_address

    settings = settings_of(config, data_dir)
    if (certificate is None) != (key is None):
        raise ConfigError("--certificate and --key must be given together")
    try:
        if certificate is not None and key is not None:
            check_pair(certificate, key)
    except CertificateError as error:
        raise ConfigError(f"--{error.part.removeprefix('private_')}: {error}") from None
    check_address(host, port, "--")
    signer = Signer(load_master_key(settings, create=False), *other_master_keys(settings))
    app = witness_app(open_witness(state or settings.data_dir / "witness.json"), signer)
    port = port or free_port(host)
    named = f"[{host}]" if ":" in host else host
    print(f"witness at http{'s' if certificate else ''}://{named}:{port}", flush=True)
    server = Server(
        app,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        log_access=False,
        # Granian warns at each start that this way of serving is new; what fails is an error.
        log_level="error",  # type: ignore[arg-type]
        ssl_cert=certificate,
        ssl_key=key,
    )
    asyncio.run(server.serve())
