"""`seawall config`."""

from __future__ import annotations

import json

import typer

from seawall.access.accounts import check_admin_password
from seawall.infra.configuration import fixed_items
from seawall.infra.settings import redacted
from seawall.process import tables as tables  # declares every table
from seawall.process.commands.common import ConfigOption, DataOption, settings_of

config_app = typer.Typer(no_args_is_help=True, help="Look at settings.")


@config_app.command("check")
def config_check(config: ConfigOption = None, data_dir: DataOption = None) -> None:
    """Check the settings and print them, defaults filled in and secrets left out.

    Example: seawall config check --config /etc/seawall/seawall.yml
    """
    settings = settings_of(config, data_dir)
    if settings.admin_password is not None:
        check_admin_password(settings.admin_password)
    fixed_items(settings)
    print(json.dumps(redacted(settings), indent=2))
