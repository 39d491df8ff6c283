"""`seawall config`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import typer

from seawall.access.accounts import check_admin_password
from seawall.infra.configuration import fixed_items
from seawall.infra.settings import Settings, redacted
from seawall.kernel.errors import SeawallError
from seawall.process import tables as tables  # declares every table
from seawall.process.commands.common import ConfigOption, DataOption, settings_of, tell, where
from seawall.process.commands.output import JsonOption, Output, OutputOption, in_json, listed
from seawall.process.paths import keeps_in_data_dir, path_faults

config_app = typer.Typer(no_args_is_help=True, help="Check the settings.")


@config_app.command("check")
def config_check(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.json,
) -> None:
    """Check the settings and print them, defaults filled in and secrets left out.

    It tries each file and folder that a setting names as the current user, so run it as the user who runs
    Seawall. Each fault is a line on standard error, and the exit code is then 1.

    Example: seawall config check --config /etc/seawall/seawall.yml
    """
    settings = settings_of(config, data_dir)
    faults = [*_value_faults(settings), *path_faults(settings)]
    if data_dir is not None and not settings.data_dir.exists() and not faults:
        faults.append(f"there is no registry {where(settings)}; `seawall serve` makes one there")
    shown = redacted(settings)
    if in_json(as_json, output):
        # Indented: people look for a setting in it.
        print(json.dumps(shown, indent=2))
    else:
        listed(("setting", "value"), _leaves(shown), False, _plain)
    for fault in faults:
        print(f"seawall: {fault}", file=sys.stderr)
    if faults:
        raise typer.Exit(1)
    if keeps_in_data_dir(settings) and not settings.data_dir.exists():
        tell(f"{settings.data_dir.absolute()} does not exist yet; `seawall serve` makes it")


def _leaves(values: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{before}{name}.")
        else:
            yield before + name, value


def _plain(value: Any) -> str:
    # As seawall.yml has it: true, not True.
    return value if isinstance(value, str) else json.dumps(value)


def _value_faults(settings: Settings) -> Iterator[str]:
    try:
        if settings.admin_password is not None:
            check_admin_password(settings.admin_password)
        fixed_items(settings)
    except SeawallError as error:
        yield str(error)
