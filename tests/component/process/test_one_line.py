"""Errors of the operator's are one line on standard error and exit code 1, in every command."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer
import yaml

from seawall.process.commands import boundary
from seawall.process.commands import main as main_module
from tests.support.processes import SEAWALL, clean_environment


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from leaves(inner, (*path, name))
    else:
        yield path, command


COMMANDS = {
    path: command
    for path, command in leaves(typer.main.get_command(main_module.app))
    if any("--config" in parameter.opts for parameter in command.params)
}


# Words for arguments that not any word will do for.
WORDS = {"ha lb-config": ["haproxy"], "quota set": ["library", "1"], "project member": ["p", "u", "guest"]}


def filled(path: tuple[str, ...]) -> list[str]:
    """Something for each argument that the command must have."""
    needed = [parameter for parameter in COMMANDS[path].params if parameter.required]
    return WORDS.get(" ".join(path), ["x"] * len(needed))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_bad_settings_are_one_line(
    path: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is wrong with the file, every command says it in a line and ends with 1."""
    bad = tmp_path / "bad.yml"
    bad.write_text("http: [")
    latin = tmp_path / "latin.yml"
    latin.write_bytes(b"external_url: \xe9")
    blocked = tmp_path / "file"
    blocked.write_text("")
    nowhere = tmp_path / "nowhere.yml"
    nowhere.write_text(f"data_dir: {blocked}/data\n")
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115 - closed with the process
    files = [tmp_path / "missing.yml", tmp_path, bad, latin]
    if path != ("config", "check"):  # which looks at settings and nothing else
        files.append(nowhere)
    for file in files:
        monkeypatch.setattr("sys.argv", ["seawall", *path, "--config", str(file), *filled(path)])
        with pytest.raises(SystemExit) as ended:
            boundary.main()
        said = capsys.readouterr()
        assert ended.value.code == 1, (file.name, said)
        assert said.err.startswith("seawall: "), (file.name, said)
        assert said.err.count("\n") == 1, (file.name, said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["prepare", "-f", "{here}/missing.yml"], "missing.yml: No such file or directory"),
        (["prepare", "-f", "{here}"], ": Is a directory"),
        (["prepare", "-f", "{here}/good.yml", "--output", "{here}/file/out"], "Not a directory"),
        (["prepare", "--check", "-f", "{here}/missing.yml"], "missing.yml: No such file or directory"),
        (["bundle", "--source", "{here}/nowhere", "-o", "{here}/b.tar.gz"], "No such file or directory"),
    ],
)
def test_bad_files_are_one_line(arguments: list[str], said: str, tmp_path: Path) -> None:
    content = {"hostname": "localhost", "http": {"port": 80}, "data_volume": str(tmp_path / "data")}
    (tmp_path / "good.yml").write_text(yaml.safe_dump(content))
    (tmp_path / "file").write_text("")
    command = [*SEAWALL, *(word.format(here=tmp_path) for word in arguments)]
    environment = clean_environment()
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("seawall: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
