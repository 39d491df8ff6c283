"""`seawall config`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import typer

from seawall.access.accounts import check_admin_password
from seawall.infra.configuration import fixed_items
from seawall.infra.settings import Settings, redacted
from seawall.kernel.errors import SeawallError
from seawall.process import tables as tables  # declares every table
from seawall.process.commands.common import ConfigOption, DataOption, settings_of, tell, where
from seawall.process.paths import keeps_in_data_dir, path_faults

config_app = typer.Typer(no_args_is_help=True, help="Check the settings.")


@config_app.command("check")
def config_check(config: ConfigOption = None, data_dir: DataOption = None) -> None:
    """Check the settings and print them, defaults filled in and secrets left out.

    It tries each file and folder that a setting names as the current user, so run it as the user who runs
    Seawall. Each fault is a line on standard error, and the exit code is then 1.

    Example: seawall config check --config /etc/seawall/seawall.yml
    """
    settings = settings_of(config, data_dir)
    faults = [*_value_faults(settings), *path_faults(settings)]
    if data_dir is not None and not settings.data_dir.exists() and not faults:
        faults.append(f"there is no registry {where(settings)}; `seawall serve` makes one there")
    print(json.dumps(redacted(settings), indent=2))
    for fault in faults:
        print(f"seawall: {fault}", file=sys.stderr)
    if faults:
        raise typer.Exit(1)
    if keeps_in_data_dir(settings) and not settings.data_dir.exists():
        tell(f"{settings.data_dir.absolute()} does not exist yet; `seawall serve` makes it")


def _value_faults(settings: Settings) -> Iterator[str]:
    try:
        if settings.admin_password is not None:
            check_admin_password(settings.admin_password)
        fixed_items(settings)
    except SeawallError as error:
        yield str(error)
