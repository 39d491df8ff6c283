"""What every command has: a place in the help, one way to print data, a bar where it may take long."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from typing import Any, get_args

import pytest
import typer

from seawall.process.commands import completion, main
from seawall.process.commands.output import JsonOption, OutputOption, listed, result
from tests.support.processes import ROOT


def _leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from _leaves(inner, (*path, name))
    elif not command.hidden:
        yield " ".join(path), command


TREE: Any = typer.main.get_command(main.app)
COMMANDS = dict(_leaves(TREE))

# Commands without `--output json|table`, and why.
ONE_LINE = "does one thing and says so in a line"
DOCUMENT = "prints a file in another program's format"
SERVES = "runs until it is stopped"
FILE = "its --output is the file that it writes"
WITHOUT_DATA = {
    "serve, jobservice, dr witness": SERVES,
    "user create, user passwd, user remove-second-factor, user delete, user link, user unlink": ONE_LINE,
    "source add, source change, source remove, source test, robot trust, robot distrust": ONE_LINE,
    "project create, project virtual, project member, quota set, login, logout": ONE_LINE,
    "migrate, jobs wait, jobs stop, keys rotate, keys rotate-master, keys import, keys export": ONE_LINE,
    "mirror-config, kubelet provider, kubelet config, ha lb-config, keys certificate, jobs log": DOCUMENT,
    "support-bundle, prepare, bundle": FILE,
}
REASONS = {name: reason for names, reason in WITHOUT_DATA.items() for name in names.split(", ")}

# Commands that may take minutes: their work shows a bar.
LONG = {
    "gc", "fsck", "backup", "restore", "migrate", "adopt-harbor", "migrate-from-harbor",
    "migrate-from-registry", "scan db import",
}  # fmt: skip


def _option(command: Any, name: str) -> Any:
    return next((item for item in command.params if name in item.opts), None)


@pytest.mark.parametrize("path", COMMANDS)
def test_data_is_printed_in_one_way(path: str) -> None:
    command = COMMANDS[path]
    found = _option(command, "--output"), _option(command, "--json")
    if path in REASONS:
        assert found[1] is None
        assert found[0] is None or REASONS[path] == FILE
        return
    output, in_json = found
    assert output is not None, f"{path}: no --output, and no reason why in WITHOUT_DATA"
    assert in_json is not None
    assert output.opts == ["--output", "-o"]
    # The same two options everywhere, and not ones that look like them.
    assert output.help == get_args(OutputOption)[1].help
    assert in_json.help == get_args(JsonOption)[1].help


def test_reasons_are_of_commands_that_exist() -> None:
    assert REASONS.keys() <= COMMANDS.keys()
    assert COMMANDS.keys() >= LONG


def _source(path: str) -> ast.AST:
    module = inspect.getmodule(inspect.unwrap(COMMANDS[path].callback))
    assert module is not None
    function = inspect.unwrap(COMMANDS[path].callback).__name__
    tree = ast.parse(inspect.getsource(module))
    return next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == function)


@pytest.mark.parametrize("path", sorted(LONG))
def test_a_long_command_has_bars(path: str) -> None:
    calls = [node.func for node in ast.walk(_source(path)) if isinstance(node, ast.Call)]
    assert "bars" in {node.id for node in calls if isinstance(node, ast.Name)}
    page = (ROOT / "docs" / "doctor.md").read_text().partition("## Progress")[2]
    assert f"`{path}`" in page


def test_help_shows_the_groups_in_order() -> None:
    """From the first minute to what few need; each command is in one group, with its own words first."""
    titles = list(dict.fromkeys(TREE.commands[name].rich_help_panel for name in TREE.commands))
    assert titles == [
        "Start",
        "Inspect",
        "People and projects",
        "Content",
        "Maintain",
        "High availability",
        "Install and migrate",
    ]
    assert titles == list(main._GROUPS)
    names = [name for group in main._GROUPS.values() for name in group]
    assert len(names) == len(set(names))
    assert list(TREE.commands) == names


def test_completion_is_documented_for_each_shell() -> None:
    page = (ROOT / "docs" / "shell.md").read_text()
    assert "seawall --install-completion" in page
    for shell in completion._SHELLS:
        assert shell in page


def test_version_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--json"], ["--output", "json"], ["-o", "json"]):
        TREE.main(args=["version", *words], prog_name="seawall", standalone_mode=False)
        assert list(json.loads(capsys.readouterr().out)) == ["version"]


def test_a_table_shows_values_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    listed(("id", "error"), [(1, "[red]disk[/] is full"), (2, None)], False)
    result({"last_error": "[bold]no", "count": None}, False)
    said = capsys.readouterr().out
    assert "[red]disk[/] is full" in said
    assert "last error" in said
    assert "[bold]no" in said
    listed(("id", "created at"), [(1, 2.5)], True)
    result({"a": None}, True)
    assert capsys.readouterr().out == '[{"id": 1, "created_at": 2.5}]\n{"a": null}\n'
