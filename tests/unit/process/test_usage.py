"""A command line that is wrong: one line on standard error that helps, and exit code 2."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer
from typer.exceptions import TyperException

from seawall.process.commands import boundary
from seawall.process.commands.main import app
from seawall.process.commands.usage import usage_line

Say = Callable[..., str]


def _groups(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    if hasattr(command, "commands"):
        yield path, [name for name, inner in command.commands.items() if not inner.hidden]
        for name, inner in command.commands.items():
            yield from _groups(inner, (*path, name))


def _leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from _leaves(inner, (*path, name))
    else:
        yield path, command


# One tree for all tests: to make it takes longer than to use it.
ROOT: Any = typer.main.get_command(app)
GROUPS = dict(_groups(ROOT))
LEAVES = dict(_leaves(ROOT))


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """What a wrong command line is answered with: one line, and exit code 2."""

    def call(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["seawall", *words])
        with pytest.raises(SystemExit) as ended:
            boundary.main()
        said = capsys.readouterr()
        assert ended.value.code == 2, (words, said)
        assert said.out == ""
        assert said.err.startswith("seawall: "), (words, said)
        assert said.err.count("\n") == 1, (words, said)
        return said.err.rstrip("\n")

    return call


def line_of(*words: str) -> str:
    """The same without the boundary, on a tree that is made already."""
    with pytest.raises(TyperException) as refused:
        ROOT.main(args=list(words), prog_name="seawall", standalone_mode=False)
    line = usage_line(refused.value)
    assert "\n" not in line
    return line


def _mistyped(name: str) -> list[str]:
    swapped = name[:-2] + name[-1] + name[-2]
    return [word for word in (name[:-1] + "x", name + name[-1], name[1:], swapped) if word != name]


@pytest.mark.parametrize("path", GROUPS, ids=lambda path: " ".join(path) or "seawall")
def test_every_mistyped_command_is_recognised(path: tuple[str, ...]) -> None:
    names = GROUPS[path]
    for name in names:
        for word in _mistyped(name):
            if word in names or (len(name) < 3 and word == name[1:]):
                continue
            said = line_of(*path, word)
            where = " ".join(("seawall", *path))
            assert said.startswith(f"no command {where} {word}; did you mean "), said
            assert said.endswith(f"?; see {where} --help"), said


def test_what_is_meant_is_named(say: Say) -> None:
    assert "did you mean gc?" in say("gx")
    assert "did you mean list?" in say("user", "lst")
    assert "did you mean create?" in say("project", "add")
    assert "did you mean serve?" in say("start")
    assert "did you mean --help?" in say("help")
    assert "there are create, delete, list, passwd; see seawall user --help" in say("user", "42")
    assert "no option --prot; did you mean --port?" in say("serve", "--prot", "1")
    assert "invalid value for '--port': Input should be" in say("serve", "--port", "http")
    assert "did you mean haproxy?" in say("ha", "lb-config", "haprox")


@pytest.mark.parametrize(
    "path", [path for path, item in LEAVES.items() if any(p.required for p in item.params)], ids=" ".join
)
def test_what_is_missing_is_described(path: tuple[str, ...]) -> None:
    said = line_of(*path)
    first = next(parameter for parameter in LEAVES[path].params if parameter.required)
    assert f" is missing ({first.help}); see seawall {' '.join(path)} --help" in said
