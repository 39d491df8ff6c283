"""Every command's --help: what it does, an example that can be typed, and a word on each argument."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from seawall.process.commands.common import number_of
from seawall.process.commands.main import app


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    if hasattr(command, "commands"):
        for name, inner in sorted(command.commands.items()):
            yield from _commands(inner, (*path, name))
    elif not command.hidden:
        yield " ".join(path), command


COMMANDS = dict(_commands(typer.main.get_command(app), ()))


@pytest.mark.parametrize("path", COMMANDS)
def test_help(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = COMMANDS[path]
    text = command.help or ""
    assert re.match(r"[A-Z].*[.:;]", text), text
    for parameter in command.params:
        if not getattr(parameter, "hidden", False):
            assert getattr(parameter, "help", None), f"{path}: {parameter.name} is not described"
    examples = re.findall(r"^Example: seawall (.*)$", text, re.MULTILINE)
    assert examples, f"{path}: no example"
    for example in examples:
        words = shlex.split(re.split(r" [<>|] ", example)[0])
        own = path.split()
        assert words[: len(own)] == own, example
        # Options and the number of arguments; files that an example names need not be there.
        monkeypatch.setattr("click.Path.convert", lambda _self, value, *_: value, raising=False)
        command.make_context(path, words[len(own) :])


def test_groups_are_described() -> None:
    root: Any = typer.main.get_command(app)
    groups = [root, *(item for item in root.commands.values() if hasattr(item, "commands"))]
    assert len(groups) > 8
    for group in groups:
        assert group.help, group.name


def test_a_number_agrees_with_its_noun() -> None:
    assert [number_of(count, "fault") for count in (0, 1, 2)] == ["no faults", "1 fault", "2 faults"]
