"""A command line that is wrong: one line on standard error that helps, and exit code 2."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.exceptions import TyperException

from seawall.kernel.errors import ConfigError
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
    commands = "create, delete, identities, link, list, passwd, remove-second-factor, unlink"
    assert f"there are {commands}; see seawall user --help" in say("user", "42")
    assert "no option --prot; did you mean --port?" in say("serve", "--prot", "1")
    assert "invalid value for '--port': must be a whole number; see" in say("serve", "--port", "http")
    assert "did you mean haproxy?" in say("ha", "lb-config", "haprox")


MISTAKES = [
    ("demo library/App", "library/App: must be project/repository, in lower case"),
    ("demo library/app:1", "library/app:1: give the tag with --tag"),
    ("demo library/app --url http://a/v2/", "http://a/v2/: must be the registry's address only"),
    ("demo library/app --url a:80", "a:80: must start with http:// or https://"),
    ("ha lb-config nginx --instance http://a --external-url a", "a: must start with http:// or https://"),
    ("ha lb-config nginx --instance http://a --external-url http://a --bind 99999", "--bind 99999: must be"),
    (
        "migrate-from-harbor --source http://a/api/v2.0 --target http://b",
        "must be the registry's address only",
    ),
    ("migrate-from-harbor --source http://a --target http://b", "at http://a: set SEAWALL_SOURCE_PASSWORD"),
    ("migrate-from-registry --source http://a --target http://b", "at http://b: set SEAWALL_TARGET_PASSWORD"),
    ("dr witness", "there is no master key here"),
]


@pytest.mark.parametrize(
    ("words", "said"), MISTAKES, ids=[item[0].split()[0] + str(n) for n, item in enumerate(MISTAKES)]
)
def test_what_is_wrong_in_a_value_is_named(
    words: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(ConfigError) as refused:
        ROOT.main(args=words.split(), prog_name="seawall", standalone_mode=False)
    assert said in str(refused.value)


def test_a_password_that_no_start_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEAWALL_ADMIN_PASSWORD", "weak")
    monkeypatch.chdir(tmp_path)
    assert ROOT.main(args=["config", "check"], prog_name="seawall", standalone_mode=False) == 1
    assert capsys.readouterr().err.startswith("seawall: admin_password: passwords have 8 to 128 characters")


@pytest.mark.parametrize(
    "path", [path for path, item in LEAVES.items() if any(p.required for p in item.params)], ids=" ".join
)
def test_what_is_missing_is_described(path: tuple[str, ...]) -> None:
    said = line_of(*path)
    first = next(parameter for parameter in LEAVES[path].params if parameter.required)
    assert f" is not given ({first.help}); see seawall {' '.join(path)} --help" in said
