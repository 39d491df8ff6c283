"""The `seawall` command."""

from __future__ import annotations

import asyncio
import contextlib
import gc as garbage
import json
import os
import resource
import secrets
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from seawall import __version__
from seawall.access.accounts import LocalAccounts, ensure_admin
from seawall.availability.cluster.drain import announce_drain
from seawall.availability.cluster.health import DRAIN_VARIABLE
from seawall.availability.cluster.instances import ID_VARIABLE
from seawall.infra.db import Database, migrate, open_database
from seawall.infra.private import private_folder
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.settings import Settings, redacted
from seawall.kernel.interrupt import leave_at_once
from seawall.process.commands import backup as backup_cli
from seawall.process.commands import demo as demo_cli
from seawall.process.commands import install as install_cli
from seawall.process.commands import move as move_cli
from seawall.process.commands.common import (
    ConfigOption,
    DataOption,
    console,
    registry_of,
    settings_of,
    with_db,
)
from seawall.process.commands.dr import dr_app
from seawall.process.commands.ha import ha_app, keys_app
from seawall.process.commands.jobs import jobs_app, jobservice
from seawall.process.commands.peers import app as peers_app
from seawall.process.commands.quota import quota_app
from seawall.process.commands.scan import app as scan_app
from seawall.process.start import FirstAdmin, preflight
from seawall.process.storage import open_storage
from seawall.registry import fsck as fsck_
from seawall.registry import gc as gc_

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="Seawall, an OCI registry.")
user_app = typer.Typer(no_args_is_help=True, help="Manage users.")
project_app = typer.Typer(no_args_is_help=True, help="Manage projects.")
config_app = typer.Typer(no_args_is_help=True, help="Look at settings.")
app.add_typer(user_app, name="user")
app.add_typer(project_app, name="project")
app.add_typer(config_app, name="config")
app.add_typer(keys_app, name="keys")
app.add_typer(quota_app, name="quota")
app.add_typer(jobs_app, name="jobs")
app.add_typer(scan_app, name="scan")
app.command()(jobservice)
install_cli.register(app)
backup_cli.register(app)
demo_cli.register(app)
move_cli.register(app)
app.add_typer(ha_app, name="ha")
app.add_typer(peers_app, name="peers")
app.add_typer(dr_app, name="dr")
UserArgument = Annotated[str, typer.Argument(help="the name that the user signs in with")]
_BACKLOG = 4096
_MOST_CONNECTIONS = 50_000


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="after an error print the trace too")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Seawall, a highly available OCI artifact registry."""


@app.command()
def version() -> None:
    """Print the version.

    Example: seawall version
    """
    print(__version__)


@app.command("migrate")
def migrate_schema(config: ConfigOption = None, data_dir: DataOption = None) -> None:
    """Bring the database's schema up to this version; instances of the last one go on with it.

    `seawall serve` does so by itself. By itself it is a step that an upgrade can wait for.

    Example: seawall migrate --config /etc/seawall/seawall.yml
    """
    settings = settings_of(config, data_dir)
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
    port: Annotated[int | None, typer.Option(help="port to listen on")] = None,
    workers: Annotated[int | None, typer.Option(help="server processes")] = None,
) -> None:
    """Run the registry until SIGTERM or SIGINT; requests in flight are finished first.

    Example: seawall serve --data-dir /var/lib/seawall --port 8080
    """
    # Until the server listens a start may be cut off anywhere, as by kill -9; asyncio would say it at length.
    signal.signal(signal.SIGINT, leave_at_once)
    settings = settings_of(config, data_dir)
    http = {k: v for k, v in {"host": host, "port": port, "workers": workers}.items() if v is not None}
    if http:
        settings = settings_of(config, data_dir, http={**settings.http.model_dump(), **http})
    preflight(settings)
    if not settings.database.url or settings.data_dir.exists():
        private_folder(settings.data_dir)
    migrate.upgrade(settings.database_url)
    scheme = "https" if settings.http.tls_certificate else "http"
    writable = _prepare(settings)
    print(f"Seawall {__version__} at {settings.external_url or _address(settings, scheme)}", flush=True)
    os.environ[ID_VARIABLE] = secrets.token_hex(8)
    os.environ["SEAWALL_RESOLVED_SETTINGS"] = settings.model_dump_json()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    metrics = tempfile.mkdtemp(prefix="seawall-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics
    os.environ[DRAIN_VARIABLE] = str(Path(metrics) / "draining")
    server = _server(settings)
    announce_drain(server, settings.http)
    # Not sooner either (see `_server`).
    from seawall.process.worker import EmbeddedRunner

    if writable and settings.auth.mode == "local" and settings.admin_password is None:
        server.on_startup(FirstAdmin(settings, _show_password).begin)
    jobs = EmbeddedRunner(lambda: bool(server.interrupt_signal), settings.jobs.drain_seconds)
    try:
        with jobs if settings.jobs.embedded else contextlib.nullcontext():
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
                ensure_admin(db, settings.admin_password)
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


@app.command()
def gc(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    dry_run: Annotated[bool, typer.Option(help="count only")] = False,
    delete_untagged: Annotated[bool, typer.Option(help="also delete untagged manifests")] = False,
    grace_minutes: Annotated[int | None, typer.Option(min=0, help="spare what is younger")] = None,
    reader_minutes: Annotated[int, typer.Option(min=0, help="keep trashed bytes this long for readers")] = 15,
) -> None:
    """Collect garbage while the registry runs; prints what was done as JSON.

    Example: seawall gc --dry-run --delete-untagged
    """
    settings = registry_of(config, data_dir)
    grace = settings.gc.grace_minutes if grace_minutes is None else grace_minutes

    async def work(db: Database) -> gc_.GcReport:
        return await gc_.collect(
            db,
            open_storage(settings),
            grace_seconds=grace * 60,
            upload_seconds=settings.gc.upload_hours * 3600,
            reader_seconds=reader_minutes * 60,
            delete_untagged=delete_untagged or settings.gc.delete_untagged,
            dry_run=dry_run,
        )

    print(json.dumps(with_db(settings, work).as_dict()))


@app.command()
def fsck(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    fast: Annotated[bool, typer.Option(help="compare sizes only, do not read every byte")] = False,
    repair: Annotated[
        bool, typer.Option(help="bring back lost bytes from elsewhere in storage, peers and upstreams")
    ] = False,
) -> None:
    """Check that every blob and manifest is there and intact; exit code 1 when not.

    Example: seawall fsck --fast
    """
    settings = registry_of(config, data_dir)
    report = fsck_.FsckReport()
    findings: list[fsck_.Finding] = []

    async def work(db: Database) -> None:
        async for finding in fsck_.check(db, open_storage(settings), report, fast=fast):
            where = ", ".join(finding.repositories) or "no repository"
            print(f"{finding.kind}: {finding.digest} {finding.message} ({where})")
            findings.append(finding)

    with_db(settings, work)
    print(
        f"{report.blobs} blobs and {report.manifests} manifests checked, "
        f"{report.bytes} bytes read, {report.faults} faults"
    )
    left = report.faults - (_repair(settings, findings) if repair else 0)
    if left:
        raise typer.Exit(1)


def _repair(settings: Settings, findings: list[fsck_.Finding]) -> int:
    """Bring back what can be; returns how many of the faults are gone."""
    from seawall.process.wiring import open_process
    from seawall.registry.repair import repair

    async def work() -> int:
        process = open_process(settings)
        back = 0
        try:
            async for item in repair(process.db, process.storage, process.registry, findings):
                print(f"{item.how}: {item.digest}")
                for artifact in item.artifacts:
                    print(f"  breaks {artifact}")
                back += item.how != "lost"
        finally:
            await process.close()
        return back

    return asyncio.run(work())


@config_app.command("check")
def config_check(config: ConfigOption = None, data_dir: DataOption = None) -> None:
    """Check the settings and print them, defaults filled in and secrets left out.

    Example: seawall config check --config /etc/seawall/seawall.yml
    """
    print(json.dumps(redacted(settings_of(config, data_dir)), indent=2))


def _read_password() -> str:
    # Never an argument: the process list shows those to everyone on the host.
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\n")


@user_app.command("create")
def user_create(
    username: UserArgument,
    admin: Annotated[bool, typer.Option("--admin", help="system administrator")] = False,
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Add a user; the password is asked for, or read as a line from standard input.

    Example: seawall user create alice --admin < password.txt
    """
    password = _read_password()
    settings = registry_of(config, data_dir)
    with_db(settings, lambda db: LocalAccounts(db).create_user(username, password, sysadmin=admin))
    print(f"user {username} created")


@user_app.command("passwd")
def user_passwd(username: UserArgument, config: ConfigOption = None, data_dir: DataOption = None) -> None:
    """Give a user a new password.

    Example: seawall user passwd admin
    """
    password = _read_password()
    with_db(registry_of(config, data_dir), lambda db: LocalAccounts(db).set_password(username, password))
    print(f"password of {username} changed")


@user_app.command("delete")
def user_delete(username: UserArgument, config: ConfigOption = None, data_dir: DataOption = None) -> None:
    """Remove a user.

    Example: seawall user delete alice
    """
    with_db(registry_of(config, data_dir), lambda db: LocalAccounts(db).delete_user(username))
    print(f"user {username} deleted")


@user_app.command("list")
def user_list(config: ConfigOption = None, data_dir: DataOption = None) -> None:
    """List users.

    Example: seawall user list
    """
    table = Table("user", "administrator")
    for item in with_db(registry_of(config, data_dir), lambda db: LocalAccounts(db).list_users()):
        table.add_row(item.name, "yes" if item.sysadmin else "")
    console.print(table)


@project_app.command("create")
def project_create(
    name: Annotated[str, typer.Argument(help="its name: lower case, digits, and . _ - between them")],
    public: Annotated[bool, typer.Option("--public", help="anyone may pull")] = False,
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Add a project.

    Example: seawall project create web --public
    """
    with_db(registry_of(config, data_dir), lambda db: LocalAccounts(db).create_project(name, public=public))
    print(f"project {name} created")


@project_app.command("list")
def project_list(config: ConfigOption = None, data_dir: DataOption = None) -> None:
    """List projects.

    Example: seawall project list
    """
    table = Table("project", "access")
    for name, public in with_db(registry_of(config, data_dir), lambda db: LocalAccounts(db).list_projects()):
        table.add_row(name, "public" if public else "private")
    console.print(table)


@project_app.command("member")
def project_member(
    project: Annotated[str, typer.Argument(help="a project's name")],
    username: UserArgument,
    role: Annotated[str, typer.Argument(help="projectAdmin, maintainer, developer, guest or limitedGuest")],
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Give a user a role: projectAdmin, maintainer, developer, guest or limitedGuest.

    Example: seawall project member web alice developer
    """
    with_db(registry_of(config, data_dir), lambda db: LocalAccounts(db).set_member(project, username, role))
    print(f"{username} is {role} in {project}")
