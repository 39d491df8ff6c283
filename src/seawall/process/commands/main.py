"""The `seawall` command: what it can do, and where each command is.

A command's module is imported when the command is used, so that a short command starts fast.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from seawall import __version__
from seawall.process.commands.output import JsonOption, Output, OutputOption, in_json, result

# What `seawall --help` shows, in its order: groups of commands, and of each its module here and the name of
# its Typer there.
_GROUPS = {
    "Start": {
        "serve": "serve:app",
        "demo": "demo:app",
        "version": "",
    },
    "Inspect": {
        "status": "status:app",
        "doctor": "doctor:app",
        "support-bundle": "support:app",
        "config": "config:config_app",
    },
    "People and projects": {
        "user": "sources:user_app",
        "source": "sources:source_app",
        "project": "people:project_app",
        "robot": "robots:robot_app",
        "quota": "quota:quota_app",
        "login": "login:app",
        "logout": "login:app",
    },
    "Content": {
        "scan": "scan:app",
        "gc": "content:app",
        "fsck": "content:app",
        "mirror-config": "mirror:app",
        "kubelet": "kubelet:kubelet_app",
    },
    "Maintain": {
        "backup": "backup:app",
        "restore": "backup:app",
        "keys": "keys:keys_app",
        "migrate": "serve:app",
        "jobs": "jobs:jobs_app",
        "jobservice": "jobs:service_app",
    },
    "High availability": {
        "ha": "ha:ha_app",
        "peers": "peers:app",
        "dr": "dr:dr_app",
    },
    "Install and migrate": {
        "prepare": "install:app",
        "bundle": "install:app",
        "adopt-harbor": "adopt:app",
        "migrate-from-harbor": "install:app",
        "migrate-from-registry": "move:app",
    },
}
_PLACES = {name: place for group in _GROUPS.values() for name, place in group.items()}
_PANELS = {name: title for title, group in _GROUPS.items() for name in group}


class _Commands(MutableMapping[str, Any]):
    """Commands by name, each read when it is asked for."""

    def __init__(self, read: dict[str, Any]) -> None:
        self._read = read

    def __getitem__(self, name: str) -> Any:
        if name not in self._read:
            module, _, attribute = _PLACES[name].partition(":")
            found = import_module(f"seawall.process.commands.{module}")
            group = typer.main.get_group(getattr(found, attribute))
            command: Any = group.commands.get(name, group)
            self._read[name] = command
            command.name = name
            command.rich_help_panel = _PANELS[name]
        return self._read[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._read[name] = command

    def __delitem__(self, name: str) -> None:
        del self._read[name]

    def __iter__(self) -> Iterator[str]:
        yield from _PLACES
        yield from (name for name in self._read if name not in _PLACES)

    def __len__(self) -> int:
        return len({*_PLACES, *self._read})


class _Root(TyperGroup):
    """`seawall` itself."""

    def __init__(self, *, commands: dict[str, Any], **attributes: Any) -> None:
        super().__init__(commands=commands, **attributes)
        self.commands = _Commands(commands)


app = typer.Typer(
    cls=_Root, no_args_is_help=True, pretty_exceptions_enable=False, help="Seawall, an OCI registry."
)


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


@app.command(rich_help_panel=_PANELS["version"])
def version(as_json: JsonOption = False, output: OutputOption = Output.text) -> None:
    """Print the version.

    Example: seawall version
    """
    result({"version": __version__}, in_json(as_json, output), __version__)
