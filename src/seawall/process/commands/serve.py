"""`seawall serve` and `migrate`."""

from __future__ import annotations

import asyncio
import contextlib
import gc as garbage
import os
import resource
import secrets
import shutil
import signal
from typing import Annotated, Any

import typer

from seawall import __version__
from seawall.access.accounts import ensure_admin
from seawall.availability.cluster.drain import announce_drain
from seawall.availability.cluster.health import DRAIN_VARIABLE
from seawall.availability.cluster.instances import ID_VARIABLE
from seawall.infra import telemetry
from seawall.infra.db import Database, migrate, open_database
from seawall.infra.ports import free_port
from seawall.infra.private import private_folder
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.settings import Settings
from seawall.infra.temporary import METRICS_VARIABLE, temporary_folder
from seawall.kernel.extras import need
from seawall.kernel.interrupt import hold_in_children, leave_at_once
from seawall.process import tables as tables  # declares every table
from seawall.process.commands.bars import bars
from seawall.process.commands.common import ConfigOption, DataOption, registry_of, settings_of
from seawall.process.start import FirstAdmin, preflight
from seawall.process.storage import open_storage
from seawall.registry.projects import make_library

app = typer.Typer()
_BACKLOG = 4096
_MOST_CONNECTIONS = 50_000


@app.command("migrate")
def migrate_schema(config: ConfigOption = None, data_dir: DataOption = None) -> None:
    """Migrate the database to this version; instances of the version before go on with it.

    `seawall serve` does this when it starts. This command is for an upgrade that must wait for the migration.

    Example: seawall migrate --config /etc/seawall/seawall.yml
    """
    settings = settings_of(config, data_dir)
    with bars():
        if settings.database.url:
            migrate.upgrade(settings.database_url)
        else:
            registry_of(config, data_dir)
    print("the schema is up to date")


@app.command()
def serve(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    host: Annotated[str | None, typer.Option(help="address to listen on")] = None,
    port: Annotated[int | None, typer.Option(help="port to listen on; 0: any free one")] = None,
    workers: Annotated[int | None, typer.Option(help="server processes")] = None,
) -> None:
    """Run the registry until SIGTERM or SIGINT; it finishes running requests first.

    Example: seawall serve --data-dir /var/lib/seawall --port 8080
    """
    # Until the server listens a start may be cut off anywhere, as by kill -9; asyncio would say it at length.
    signal.signal(signal.SIGINT, leave_at_once)
    settings = settings_of(config, data_dir)
    http = {k: v for k, v in {"host": host, "port": port, "workers": workers}.items() if v is not None}
    if http:
        settings = settings_of(config, data_dir, http={**settings.http.model_dump(), **http})
    preflight(settings)
    if settings.redis.configured:
        # Each server process opens Redis for itself: without its package they would end one after the other.
        need("redis", "redis.url")
    if settings.http.port == 0:
        # Chosen here, and not by the server: what is announced and what other instances are given must be it.
        listen = settings.http.model_copy(update={"port": free_port(settings.http.host)})
        settings = settings.model_copy(update={"http": listen})
    if not settings.database.url or settings.data_dir.exists():
        private_folder(settings.data_dir)
    migrate.upgrade(settings.database_url)
    scheme = "https" if settings.http.tls_certificate else "http"
    writable = _prepare(settings)
    print(f"Seawall {__version__} at {settings.external_url or _address(settings, scheme)}", flush=True)
    os.environ[ID_VARIABLE] = secrets.token_hex(8)
    os.environ["SEAWALL_RESOLVED_SETTINGS"] = settings.model_dump_json()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    metrics = temporary_folder("seawall-metrics-")
    try:
        os.environ[METRICS_VARIABLE] = str(metrics)
        telemetry.share()
        os.environ[DRAIN_VARIABLE] = str(metrics / "draining")
        server = _server(settings)
        announce_drain(server, settings.http)
        # Not sooner either (see `_server`).
        from seawall.process.worker import EmbeddedRunner

        if writable and settings.auth.mode == "local" and settings.admin_password is None:
            server.on_startup(FirstAdmin(settings, _show_password).begin)
        jobs = EmbeddedRunner(lambda: bool(server.interrupt_signal), settings.jobs.drain_seconds)
        with jobs if settings.jobs.embedded else contextlib.nullcontext():
            server.on_startup(hold_in_children)
            server.serve()
    finally:
        shutil.rmtree(metrics, ignore_errors=True)


def _address(settings: Settings, scheme: str) -> str:
    host = f"[{settings.http.host}]" if ":" in settings.http.host else settings.http.host
    return f"{scheme}://{host}:{settings.http.port}"


def _prepare(settings: Settings) -> bool:
    """Site, keys and an administrator with a given password; whether this site takes writes."""
    from seawall.availability.sites.service import prepare as prepare_site

    async def prepared() -> bool:
        db: Database = open_database(settings.database_url, pool_size=2)
        try:
            writable = await prepare_site(db, open_storage(settings), settings)
            KeyRing.open(db, settings)
            if writable and settings.auth.mode == "local" and settings.admin_password is not None:
                ensure_admin(db, settings.admin_password, make_library)
            return writable
        finally:
            await db.close()

    return asyncio.run(prepared())


def _show_password(password: str) -> None:
    print(f"First start. User: admin  password: {password}  (shown once; change it)", flush=True)


def open_connections() -> int:
    """How many connections a server process may have; raises the limit of open files as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    if soft == resource.RLIM_INFINITY or soft > _MOST_CONNECTIONS * 2:
        return _MOST_CONNECTIONS
    # Blobs, storage and databases need files too.
    return max(256, soft * 3 // 4)


def _server(settings: Settings) -> Any:
    # Server processes and the job runner are forked: what is imported here, each of them has without
    # importing it again, and in the same memory. Not sooner: prometheus_client decides at import how
    # processes count.
    from granian.constants import HTTPModes, Interfaces, Loops
    from granian.server import Server

    garbage.disable()
    import seawall.process.server  # noqa: F401

    garbage.enable()
    garbage.freeze()
    return Server(
        "seawall.process.server:create",
        factory=True,
        address=settings.http.host,
        port=settings.http.port,
        interface=Interfaces.ASGI,
        workers=settings.http.workers,
        http=HTTPModes.auto if settings.http.tls_certificate else HTTPModes.http1,
        loop=Loops.uvloop,
        log_access=False,
        log_level="warning",  # type: ignore[arg-type]
        ssl_cert=settings.http.tls_certificate,
        ssl_key=settings.http.tls_key,
        workers_kill_timeout=settings.http.drain_seconds or None,
        respawn_failed_workers=True,
        # A connection costs memory only. Granian's own bound (1024 in all) is one that idle clients reach.
        backlog=_BACKLOG,
        backpressure=open_connections(),
    )
