"""Commands that install: `seawall prepare`, `seawall bundle`, `seawall migrate-from-harbor`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from seawall import __version__
from seawall.install import prepare as prepare_
from seawall.kernel.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    app.command("prepare")(prepare)
    app.command("bundle")(bundle)
    app.command("migrate-from-harbor")(migrate_from_harbor)


def prepare(
    file: Annotated[Path, typer.Option("--harbor-yml", "-f", help="the harbor.yml to read")] = Path(
        "harbor.yml"
    ),
    output: Annotated[Path | None, typer.Option(help="where to write; default: beside harbor.yml")] = None,
    prefix: Annotated[Path, typer.Option(help="where Seawall is installed")] = prepare_.DEFAULT_PREFIX,
    user: Annotated[str, typer.Option(help="the user that runs Seawall")] = "seawall",
) -> None:
    """Write settings, keys, systemd units and a compose file from a harbor.yml; keys are kept."""
    report = prepare_.prepare(file, (output or file.absolute().parent).absolute(), prefix=prefix, user=user)
    for note in report.notes:
        print(f"note: {note.text(str(file))}")
    for key in report.made_keys:
        print(f"key made: {key}")
    for key in report.kept_keys:
        print(f"key kept: {key}")
    for path in report.written:
        print(f"written: {path}")
    for path in report.unchanged:
        print(f"unchanged: {path}")


def bundle(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="the archive to write")] = None,
    source: Annotated[Path | None, typer.Option(help="Seawall's source tree")] = None,
    wheels: Annotated[Path | None, typer.Option(help="wheels to use before the index is asked")] = None,
    python: Annotated[
        list[str] | None, typer.Option(help="further Python versions to carry wheels for, 3.12 say")
    ] = None,
) -> None:
    """Make one archive that installs Seawall on hosts without a network."""
    from seawall.install import bundle as bundle_

    path = output or Path(f"seawall-offline-{__version__}.tar.gz")
    about = bundle_.build(path, source=source, wheels=wheels, pythons=python or [])
    print(
        f"{path}: Seawall {about['version']}, {about['wheels']} wheels for Python "
        f"{', '.join(about['pythons'])} on "
        f"{about['platform']}, {path.stat().st_size} bytes"
    )
    if not about["portal"]:
        print("note: without the portal, which npm builds (`make portal`)")


def migrate_from_harbor(
    source: Annotated[str, typer.Option(help="the Harbor's address, https://host")],
    target: Annotated[str, typer.Option(help="the Seawall's address, https://host")],
    source_user: Annotated[str, typer.Option(help="administrator there")] = "admin",
    target_user: Annotated[str, typer.Option(help="administrator here")] = "admin",
    project: Annotated[list[str] | None, typer.Option(help="only these projects")] = None,
    artifacts: Annotated[bool, typer.Option(help="bring artifacts too")] = True,
    secrets_file: Annotated[
        Path, typer.Option(help="where new passwords of users and secrets of robots are added")
    ] = Path("migrated-secrets.txt"),
    insecure: Annotated[bool, typer.Option(help="take any TLS certificate")] = False,
) -> None:
    """Bring projects, users, robots, policies and artifacts from a Harbor; can be run again.

    Passwords come from SEAWALL_SOURCE_PASSWORD and SEAWALL_TARGET_PASSWORD, or are asked for.
    """
    import asyncio

    from seawall.install import migrate

    sides = []
    for url, user, name in ((source, source_user, "SOURCE"), (target, target_user, "TARGET")):
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"{url}: must start with http:// or https://")
        password = os.environ.get(f"SEAWALL_{name}_PASSWORD")
        if password is None:
            password = typer.prompt(f"Password of {user} at {url}", hide_input=True)
        sides.append(migrate.Side(url, user, password, insecure))
    outcome = asyncio.run(
        migrate.migrate(
            sides[0], sides[1], projects=project or None, artifacts=artifacts, secrets_file=secrets_file
        )
    )
    print(migrate.describe(outcome))
    if outcome.failed:
        raise typer.Exit(1)
