"""Errors of the operator's are one line on standard error and exit code 1, in every command."""

from __future__ import annotations

import base64
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer
import yaml

from seawall.process.commands import boundary, jobs
from seawall.process.commands import main as main_module
from tests.support import forked
from tests.support.processes import clean_environment, free_port


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
_ISSUER = ["--issuer", "https://issuer.example.com", "--audience", "a"]
WORDS = {
    "adopt-harbor": ["--database", "postgresql://x@127.0.0.1:1/x"],
    "ha lb-config": ["haproxy"],
    "mirror-config": ["containerd"],
    "quota set": ["library", "1"],
    "project member": ["p", "u", "guest"],
    "source add": ["s", "--kind", "ldap"],
    "robot trust": ["r", *_ISSUER, "--claim", "sub=x"],
    "robot distrust": ["r", *_ISSUER[:2]],
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job service does not wait for a server that would make its registry."""
    monkeypatch.setattr(jobs, "PATIENCE", 0.0)


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
    # One looks at settings and nothing else, the other lists every fault with its cure.
    if path not in {("config", "check"), ("doctor",)}:
        files.append(nowhere)
    for file in files:
        monkeypatch.setattr("sys.argv", ["seawall", *path, "--config", str(file), *filled(path)])
        with pytest.raises(SystemExit) as ended:
            boundary.main()
        said = capsys.readouterr()
        assert ended.value.code == 1, (file.name, said)
        assert said.err.startswith("seawall: "), (file.name, said)
        assert said.err.count("\n") == 1, (file.name, said)


def clause(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> str:
    """What the command says when it runs with an option that names no file; it must be one line and rc 1."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        boundary.main()
    said = capsys.readouterr()
    assert ended.value.code == 1, (path, said)
    assert said.err.startswith("seawall: "), (path, said)
    assert said.err.count("\n") == 1, (path, said)
    assert "internal error" not in said.err, (path, said)
    return said.err


# The last lists what is wrong with the rest, each with its cure.
LOOKS_AT_SETTINGS_ONLY = {("config", "check"), ("dr", "witness"), ("demo",), ("doctor",)}


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_expected_faults_are_one_line(
    path: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A % in a password, an unknown setting, a data directory that is no registry, a file, or of others."""
    for name in os.environ:
        if name.startswith("SEAWALL_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    (tmp_path / "x/secretkey").write_text("0123456789abcdef")
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115 - closed with the process
    port = str(free_port())
    extra = ["--port", port] if path in (("serve",), ("dr", "witness")) else []

    def says(*options: str, **environment: str) -> str:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(f"SEAWALL_{name}", value)
            patch.setattr("sys.argv", ["seawall", *path, *extra, *options, *filled(path)])
            return clause(path, capsys)

    said = says(DATABASE__URL="postgresql://seawall:secret%zz@127.0.0.1/registry")
    assert "must be written as %25" in said
    assert "secret" not in said
    assert "did you mean SEAWALL_DATABASE__URL" in says(DATABASE_URL="x")
    if path in LOOKS_AT_SETTINGS_ONLY:
        return
    if path == ("restore",):
        # It looks at the backup first, and x is none.
        assert "x is not a complete backup" in says("--data-dir", str(tmp_path / "new"))
        assert sorted(item.name for item in tmp_path.iterdir()) == ["x"]
        return
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert str(blocked) in says("--data-dir", str(blocked))
    # Not even root makes a directory there.
    assert "/sys/seawall" in says("--data-dir", "/sys/seawall")
    if path == ("support-bundle",):
        # What is wrong with the installation is what it is for.
        return
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "seawall.db").write_bytes(b"no database at all" * 100)
    # Lists take commas, so that this fault is the first.
    peers = {"PEERS__NAME": "a", "PEERS__URLS": "https://b.example.com,https://c.example.com"}
    said = says("--data-dir", str(damaged), **peers)
    assert "damaged" in said
    assert sorted(item.name for item in tmp_path.iterdir()) == ["damaged", "file", "x"]


def test_witness_says_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEAWALL_MASTER_KEY", base64.b64encode(bytes(32)).decode())
    monkeypatch.chdir(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for options, fault in (
            (["--port", port], f"--port: {port} at 127.0.0.1 is in use"),
            (["--host", "192.0.2.7"], "--host: 192.0.2.7 is not an address of this host"),
            (["--certificate", "/none"], "--certificate and --key must be given together"),
            (["--certificate", "/none", "--key", "/none"], "--certificate: /none: No such file"),
        ):
            monkeypatch.setattr("sys.argv", ["seawall", "dr", "witness", *options])
            assert fault in clause(("dr", "witness"), capsys)


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
    command = [word.format(here=tmp_path) for word in arguments]
    done = forked.run(*command, environment=clean_environment(), timeout=120)
    assert done.returncode == 1
    assert done.stderr.startswith("seawall: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
