"""How commands print data: `--output table` for people, `--output json` (short: `--json`) for programs.

Every command that prints data takes both options and prints through `listed` or `result`. Nothing heavy is
imported before something is printed, since `seawall version` uses this too.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console


class Output(StrEnum):
    """How a command prints."""

    text = "text"
    table = "table"
    json = "json"


JsonOption = Annotated[bool, typer.Option("--json", help="the same as --output json")]
OutputOption = Annotated[
    Output, typer.Option("--output", "-o", help="table, text (the same as table) or json")
]


def in_json(as_json: bool, output: Output) -> bool:
    """Whether the two options ask for JSON."""
    return as_json or output is Output.json


@functools.cache
def console() -> Console:
    """Where tables are printed: as wide as the terminal, or wide enough that nothing is cut."""
    from rich.console import Console

    # What is piped is read by programs, and must not be cut at 80 columns.
    return Console(width=None if sys.stdout.isatty() else 1000)


def listed(
    head: tuple[str, ...],
    rows: Iterable[tuple[Any, ...]],
    as_json: bool,
    shown: Callable[[Any], str] = str,
) -> None:
    """Print `rows` as a table, or as a JSON list of objects with the words of `head` as keys.

    `shown` is how a table shows a value; JSON has the value itself.
    """
    if as_json:
        keys = [word.replace(" ", "_") for word in head]
        print(json.dumps([dict(zip(keys, row, strict=True)) for row in rows]))
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table(*head)
    for row in rows:
        # What others wrote, such as an error, may have what looks like rich's markup.
        table.add_row(*("" if value is None else escape(shown(value)) for value in row))
    console().print(table)


def result(values: Mapping[str, Any], as_json: bool, text: str | None = None) -> None:
    """Print what a command found or did: a JSON object, or `text`, or else a table of names and values."""
    if as_json:
        print(json.dumps(values))
    elif text is not None:
        print(text)
    else:
        from rich.markup import escape
        from rich.table import Table

        table = Table(show_header=False)
        for name, value in values.items():
            table.add_row(name.replace("_", " "), "" if value is None else escape(str(value)))
        console().print(table)
