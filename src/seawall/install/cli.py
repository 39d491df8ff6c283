"""Commands that install: `seawall prepare`, `seawall bundle`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seawall import __version__
from seawall.install import prepare as prepare_


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    app.command("prepare")(prepare)
    app.command("bundle")(bundle)


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
) -> None:
    """Make one archive that installs Seawall on hosts without a network."""
    from seawall.install import bundle as bundle_

    path = output or Path(f"seawall-offline-{__version__}.tar.gz")
    about = bundle_.build(path, source=source, wheels=wheels)
    print(
        f"{path}: Seawall {about['version']}, {about['wheels']} wheels for Python {about['python']} on "
        f"{about['platform']}, {path.stat().st_size} bytes"
    )
