"""Commands that install: `seawall prepare`, `seawall bundle`, `seawall migrate-from-harbor`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from seawall import __version__
from seawall.install import prepare as prepare_
from seawall.install.unit_files import DEFAULT_PREFIX
from seawall.process.commands.bars import bars
from seawall.process.commands.common import number_of, password_of, registry_url, writing
from seawall.process.commands.output import JsonOption, Output, OutputOption, in_json, result

app = typer.Typer()


class Action(StrEnum):
    """What Harbor's `prepare` can be asked for, other than preparing."""

    prepare = "prepare"
    gencert = "gencert"
    migrate = "migrate"


_ACTIONS = {
    Action.gencert: "gencert: nothing to make: Harbor's certificates are for traffic between its "
    "components, and Seawall's are one process; `https` in harbor.yml names the certificate that clients see",
    Action.migrate: "migrate: nothing to change: `seawall prepare` reads the harbor.yml of every Harbor "
    "since 1.8 as it is",
}


@app.command("prepare")
def prepare(
    action: Annotated[
        Action, typer.Argument(help="prepare; Harbor's gencert and migrate are accepted and do nothing")
    ] = Action.prepare,
    file: Annotated[Path, typer.Option("--harbor-yml", "--conf", "-f", help="the harbor.yml to read")] = Path(
        "harbor.yml"
    ),
    output: Annotated[Path | None, typer.Option(help="where to write; default: next to harbor.yml")] = None,
    prefix: Annotated[Path, typer.Option(help="where Seawall is installed")] = DEFAULT_PREFIX,
    user: Annotated[str, typer.Option(help="the user that runs Seawall")] = "seawall",
    check: Annotated[
        bool, typer.Option("--check", help="write nothing; try everything that a start needs")
    ] = False,
    with_trivy: Annotated[
        bool, typer.Option("--with-trivy", help="accepted as Harbor's prepare has it; does nothing")
    ] = False,
    with_clair: Annotated[
        bool, typer.Option("--with-clair", help="accepted as Harbor's prepare has it; does nothing")
    ] = False,
    with_notary: Annotated[
        bool, typer.Option("--with-notary", help="accepted as Harbor's prepare has it; does nothing")
    ] = False,
    with_chartmuseum: Annotated[
        bool, typer.Option("--with-chartmuseum", help="accepted as Harbor's prepare has it; does nothing")
    ] = False,
    path: Annotated[str | None, typer.Option("--path", "-p", hidden=True)] = None,
    migrated: Annotated[str | None, typer.Option("--input", "-i", hidden=True)] = None,
    target: Annotated[str | None, typer.Option("--target", "-t", hidden=True)] = None,
) -> None:
    """Write settings, keys, systemd units and a compose file from a harbor.yml; existing keys stay.

    Example: seawall prepare --conf harbor.yml --check
    """
    del path, migrated, target
    given = {
        "trivy": with_trivy,
        "clair": with_clair,
        "notary": with_notary,
        "chartmuseum": with_chartmuseum,
    }
    for part in (part for part, wanted in given.items() if wanted):
        print(f"note: --with-{part}: {prepare_.PARTS[part]}")
    if action in _ACTIONS:
        print(_ACTIONS[action])
        return
    where = (output or file.absolute().parent).absolute()
    if check:
        _check(file, where, user)
        return
    report = prepare_.prepare(file, where, prefix=prefix, user=user)
    for note in report.notes:
        print(f"note: {note.text(str(file))}")
    for key in report.made_keys:
        print(f"key made: {key}")
    for key in report.kept_keys:
        print(f"key kept: {key}")
    for made in report.written:
        print(f"written: {made}")
    for made in report.unchanged:
        print(f"unchanged: {made}")


def _check(file: Path, output: Path, user: str) -> None:
    from seawall.install import harbor_yml, readiness
    from seawall.process import tables as tables  # declares every table

    found = harbor_yml.read(file)
    prepare_.files_there(found)
    harbor_yml.refuse(found, file)
    result = readiness.check(found, file, output, user)
    for item in result.items:
        print(item)
    faults = sum(bool(item.cure) for item in result.items)
    print(number_of(faults, "fault") if faults else "everything is ready to start")
    if faults:
        raise typer.Exit(1)


@app.command("bundle")
def bundle(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="the archive to write")] = None,
    source: Annotated[Path | None, typer.Option(help="Seawall's source tree")] = None,
    wheels: Annotated[
        Path | None, typer.Option(help="folder of wheels to use before the package index is asked")
    ] = None,
    python: Annotated[
        list[str] | None,
        typer.Option(help="another Python version to include wheels for, such as 3.12; may be repeated"),
    ] = None,
    machine: Annotated[
        str | None,
        typer.Option(help="the hosts' processor where it is not this one's, as uname -m says it: aarch64"),
    ] = None,
) -> None:
    """Make one archive that installs Seawall on hosts without a network.

    Example: seawall bundle --output seawall-offline.tar.gz --python 3.12
    """
    from seawall.install import bundle as bundle_

    path = output or Path(f"seawall-offline-{__version__}.tar.gz")
    with writing(path):
        about = bundle_.build(path, source=source, wheels=wheels, pythons=python or [], machine=machine)
    print(
        f"{path}: Seawall {about['version']}, {about['wheels']} wheels for Python "
        f"{', '.join(about['pythons'])} on "
        f"{about['platform']}, {path.stat().st_size} bytes"
    )
    if not about["portal"]:
        print("note: without the portal, which npm builds (`make portal`)")


@app.command("migrate-from-harbor")
def migrate_from_harbor(
    source: Annotated[str, typer.Option(help="the Harbor's address, https://host")],
    target: Annotated[str, typer.Option(help="the Seawall's address, https://host")],
    source_user: Annotated[str, typer.Option(help="administrator of the Harbor")] = "admin",
    target_user: Annotated[str, typer.Option(help="administrator of the Seawall")] = "admin",
    project: Annotated[list[str] | None, typer.Option(help="only these projects")] = None,
    artifacts: Annotated[bool, typer.Option(help="bring artifacts too")] = True,
    secrets_file: Annotated[
        Path, typer.Option(help="file to which new passwords of users and secrets of robots are added")
    ] = Path("migrated-secrets.txt"),
    insecure: Annotated[bool, typer.Option(help="accept any TLS certificate")] = False,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Bring projects, users, robots, policies and artifacts from a Harbor; can be run again.

    Passwords come from SEAWALL_SOURCE_PASSWORD and SEAWALL_TARGET_PASSWORD, or are asked for.

    Example: seawall migrate-from-harbor --source https://harbor.example.com --target https://registry.example.com
    """
    import asyncio

    from seawall.install import migrate
    from seawall.install.harbor_api import Side

    sides = []
    for url, user, name in ((source, source_user, "SOURCE"), (target, target_user, "TARGET")):
        address = registry_url(url)
        password = password_of(user, address, f"SEAWALL_{name}_PASSWORD")
        sides.append(Side(address, user, password, insecure))
    wants_json = in_json(as_json, output)

    def say(line: str) -> None:
        if not wants_json:
            print(line)

    with writing(secrets_file), bars():
        outcome = asyncio.run(
            migrate.migrate(
                sides[0],
                sides[1],
                projects=project or None,
                artifacts=artifacts,
                secrets_file=secrets_file,
                say=say,
            )
        )
    result(outcome.as_dict(), wants_json, outcome.describe())
    if outcome.failed:
        raise typer.Exit(1)
