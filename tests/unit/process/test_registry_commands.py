"""Commands about quotas and jobs, on a registry that no server serves."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from seawall.access import accounts
from seawall.process.commands import boundary
from seawall.process.commands.main import app
from tests.support.databases import with_schema

Run = Callable[..., tuple[int, str, str]]


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command of the tree that has no sub-commands, by its words."""
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from leaves(inner, (*path, name))
    else:
        yield path, command


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command on a registry with projects `app` and `web`: (exit code, output, errors)."""
    data = tmp_path / "data"
    data.mkdir()
    monkeypatch.setenv("SEAWALL_DATA_DIR", str(data))
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{data / 'seawall.db'}"
    with_schema(url)

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["seawall", *words])
        code: object = 0
        try:
            boundary.main()
        except SystemExit as ended:
            code = ended.code or 0
        said = capsys.readouterr()
        assert isinstance(code, int)
        return code, said.out, said.err

    for name in ("app", "web"):
        assert call("project", "create", name)[0] == 0
    return call


def test_quotas(run: Run) -> None:
    _, shown, _ = run("quota", "list")
    for name in ("app", "web"):
        assert name in shown
    assert run("quota", "set", "web", "10GiB") == (0, "quota of web: 10.0 GiB\n", "")
    assert "10.0 GiB" in run("quota", "list")[1]
    for unbound in ("-1", "none"):
        assert run("quota", "set", "web", unbound) == (0, "quota of web: none\n", "")
        assert "GiB" not in run("quota", "list")[1]
    for size in ("0", "10 parsecs", "-2"):
        code, _, said = run("quota", "set", "web", size)
        assert code == 1
        assert said.startswith(f"seawall: size '{size}'"), said
    assert run("quota", "set", "nosuch", "1GiB")[2] == "seawall: project nosuch not found\n"


def test_a_new_project_has_the_quota_of_new_projects(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEAWALL_CONFIGURATION", '{"storage_per_project": 5368709120}')
    assert run("project", "create", "limited")[0] == 0
    shown = json.loads(run("quota", "list", "--json")[1])
    assert {row["project"]: row["quota"] for row in shown} == {"app": -1, "web": -1, "limited": 5368709120}
    assert run("project", "create", "limited")[2] == "seawall: project limited exists\n"


def test_a_name_is_looked_at_before_the_password(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("Correct-horse-1\n"))
    assert run("user", "create", "alice")[0] == 0
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert run("user", "create", "Alice")[2] == "seawall: user alice exists\n"
    assert run("user", "create", "a b")[2].startswith("seawall: user 'a b': names have")
    assert run("user", "passwd", "bob")[2] == "seawall: user bob not found\n"
    assert run("user", "passwd", "alice")[2].startswith("seawall: no password: standard input is empty")


def test_two_who_add_one_user(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    # The other one has done it after the look.
    monkeypatch.setattr(accounts, "check_free", lambda _connection, _name: None)
    for code in (0, 1):
        monkeypatch.setattr("sys.stdin", io.StringIO("Correct-horse-1\n"))
        assert run("user", "create", "alice") == (
            code,
            "" if code else "user alice created\n",
            "seawall: it conflicts with what another request did meanwhile; try again\n" if code else "",
        )


def test_jobs(run: Run) -> None:
    code, _, said = run("jobs", "log", "NOSUCH")
    assert (code, said) == (1, "seawall: no job NOSUCH; `seawall jobs list` shows what there is\n")
    code, _, said = run("jobs", "start", "nosuch")
    assert code == 1
    assert said.startswith("seawall: no job kind 'nosuch'")
    job = run("jobs", "start", "gc")[1].strip()
    assert run("jobs", "log", job) == (0, "", "")
    assert job in run("jobs", "list")[1]
    assert job in run("jobs", "list", "--kind", "gc", "--status", "pending")[1]
    assert run("jobs", "stop", job) == (0, f"job {job} is asked to stop\n", "")
    assert run("jobs", "stop", job)[2] == f"seawall: job {job} has already ended: stopped\n"


# Each command that takes the name of something that must be there. Values for the other arguments.
NAMED = [
    ["user", "passwd", "NAME"],
    ["user", "delete", "NAME"],
    ["project", "member", "NAME", "admin", "guest"],
    ["project", "member", "web", "NAME", "guest"],
    ["project", "member", "web", "admin", "NAME"],
    ["project", "virtual", "NAME", "web"],
    ["project", "virtual", "web", "NAME"],
    ["quota", "set", "NAME", "1GiB"],
    ["quota", "refresh", "NAME"],
    ["jobs", "log", "NAME"],
    ["jobs", "start", "NAME"],
    ["jobs", "wait", "NAME"],
    ["jobs", "stop", "NAME"],
    ["jobs", "list", "--kind", "NAME"],
    ["jobs", "list", "--status", "NAME"],
    ["scan", "db", "remove", "NAME"],
    ["scan", "db", "import", "NAME"],
    ["keys", "import", "NAME"],
    ["keys", "rotate", "NAME"],
    ["keys", "rotate-master", "NAME"],
    ["ha", "lb-config", "NAME"],
    ["mirror-config", "NAME"],
    ["login", "NAME"],
    ["logout", "NAME"],
    ["user", "remove-second-factor", "NAME"],
    ["user", "link", "NAME", "corp", "--subject", "1"],
    ["user", "unlink", "NAME", "corp"],
    ["user", "identities", "NAME"],
    ["source", "change", "NAME", "--disable"],
    ["source", "remove", "NAME"],
    ["source", "test", "NAME"],
    ["robot", "trust", "NAME", "--issuer", "https://x", "--audience", "x", "--claim", "sub=x"],
    ["robot", "distrust", "NAME", "--issuer", "https://x"],
    ["robot", "trusted", "NAME"],
    ["restore", "NAME"],
    ["backup", "--verify", "NAME"],
    ["fsck", "--config", "NAME"],
    ["fsck", "--data-dir", "NAME"],
    ["prepare", "--conf", "NAME"],
    ["bundle", "--source", "NAME"],
]
# Commands whose words name what is to be made, or a registry elsewhere.
NEW = {"user create", "source add", "project create", "backup", "keys export", "demo", "prepare"}


@pytest.mark.parametrize("name", ["no such", "ünï$--"])
def test_an_unknown_name_is_named(run: Run, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for command in NAMED:
        monkeypatch.setattr("sys.stdin", io.StringIO("Correct-horse-1\n"))
        code, shown, said = run(*(name if word == "NAME" else word for word in command))
        assert code in (1, 2), command
        assert shown == "", command
        assert said.startswith("seawall: "), said
        assert said.count("\n") == 1, said
        assert name in said, (command, said)
        assert "internal error" not in said, said


def test_every_command_that_takes_a_name_is_tried() -> None:
    tried = {" ".join(word for word in command if word.islower() and word[0] != "-") for command in NAMED}
    for path, command in leaves(typer.main.get_command(app)):
        words = [item for item in command.params if item.param_type_name == "argument"]
        if words and " ".join(path) not in NEW:
            assert any(item.startswith(" ".join(path)) for item in tried), path


def test_the_first_administrator_stays(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("Correct-horse-1\n"))
    assert run("user", "create", "root", "--admin")[0] == 0
    assert run("user", "delete", "root") == (
        1,
        "",
        "seawall: user root is the first administrator, and cannot be removed\n",
    )


@pytest.mark.parametrize("command", ["create", "passwd"])
def test_no_password(run: Run, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if command == "passwd":
        monkeypatch.setattr("sys.stdin", io.StringIO("Correct-horse-1\n"))
        assert run("user", "create", "alice")[0] == 0
    monkeypatch.setattr("sys.stdin", io.StringIO())
    said = "seawall: no password: standard input is empty, and no terminal to ask at\n"
    assert run("user", command, "alice") == (1, "", said)


@pytest.mark.parametrize("words", [["backup", ""], ["serve", "--data-dir", ""], ["fsck", "--data-dir="]])
def test_an_empty_word_is_no_path(run: Run, words: list[str]) -> None:
    code, _, said = run(*words)
    assert code == 2
    assert said.endswith("; is a variable not set?\n")
    assert said.count("\n") == 1


def test_a_refused_restore_makes_nothing(run: Run, tmp_path: Path) -> None:
    full = tmp_path / "full"
    assert run("backup", str(full))[0] == 0
    before = sorted(tmp_path.rglob("*"))
    (tmp_path / "half").mkdir()
    for source, said in (("nosuch", "is not a complete backup"), ("half", "is not a complete backup")):
        assert said in run("restore", source, "--data-dir", "new")[2]
        assert not (tmp_path / "new").exists()
    assert "the database is not empty" in run("restore", str(full))[2]
    (tmp_path / "half").rmdir()
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["backup", "data/backup"], "data/backup is in data, and would be lost with it; name another place"),
        (["backup", "data/blobs"], "data/blobs is in data, and would be lost with it; name another place"),
        (["keys", "export"], "the settings name no key files (keys.private_key_file, ...); name a folder"),
        (["support-bundle", "-o", "no/x.tar.gz"], "no/x.tar.gz: there is no folder no; make it first"),
        (["keys", "export", "--debug"], "the settings name no key files"),
    ],
)
def test_what_would_do_nothing_or_harm(
    run: Run, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.setenv("SEAWALL_DATA_DIR", "data")
    code, shown, told = run(*words)
    assert (code, shown) == (1, "")
    assert told.strip().splitlines()[-1].startswith(f"seawall: {said}"), told
    # --debug may stand anywhere.
    assert ("Traceback" in told) == ("--debug" in words)


def test_a_registry_without_a_second_site_says_so(run: Run) -> None:
    code, shown, _ = run("dr", "status")
    assert code == 0
    assert "the only one (dr.site is not set)" in shown
