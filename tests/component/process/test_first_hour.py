"""What a newcomer types works, or one line says why not: never a traceback, never a new empty registry."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from seawall.process.commands import boundary

COMMANDS = [
    ["fsck"],
    ["gc"],
    ["user", "list"],
    ["user", "delete", "x"],
    ["project", "list"],
    ["project", "create", "x"],
    ["quota", "list"],
    ["quota", "set", "library", "-1"],
    ["jobs", "list"],
    ["jobs", "log", "x"],
    ["keys", "list"],
    ["ha", "status"],
    ["backup", "backup"],
    ["scan", "db", "status"],
]


@dataclass
class Done:
    """What a command left."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Runs one command in this process, through the boundary, in an empty working directory."""
    for name in os.environ:
        if name.startswith("SEAWALL_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, **environment: str) -> Done:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["seawall", *arguments])
        capsys.readouterr()
        code: int | str | None = 0
        try:
            boundary.main()
        except SystemExit as ended:
            code = ended.code
        said = capsys.readouterr()
        assert isinstance(code, int) or code is None
        return Done(code or 0, said.out, said.err)

    return call


def one_line(done: Done) -> str:
    assert done.returncode in (1, 2), (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("seawall: "), done.stderr
    return last


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_only_serve_and_restore_make_a_registry(
    run: Callable[..., Done], tmp_path: Path, command: list[str]
) -> None:
    missing = tmp_path / "typo"
    done = run(*command, "--data-dir", str(missing))
    assert one_line(done).startswith(f"seawall: there is no registry in {missing}")
    assert not missing.exists()


@pytest.mark.parametrize(
    ("flags", "environment", "message"),
    [
        (["--host", "192.0.2.1"], {}, "http.host: 192.0.2.1 is not an address of this host"),
        (["--host", "no such name"], {}, "http.host: 'no such name' must be an address or a name"),
        (
            [],
            {"SEAWALL_HTTP__TLS_CERTIFICATE": "/none.crt"},
            "tls_certificate and tls_key must be given together",
        ),
        (
            [],
            {"SEAWALL_HTTP__TLS_CERTIFICATE": "/none.crt", "SEAWALL_HTTP__TLS_KEY": "/none.key"},
            "http.tls_certificate: /none.crt: No such file",
        ),
        (
            [],
            {"SEAWALL_HTTP__TLS_CERTIFICATE": "/etc/hostname", "SEAWALL_HTTP__TLS_KEY": "/etc/hostname"},
            "http.tls_certificate: /etc/hostname: is not a PEM certificate",
        ),
        ([], {"SEAWALL_DATABASE_URL": "x"}, "SEAWALL_DATABASE_URL: unknown setting; did you mean"),
        (
            [],
            {"SEAWALL_CONFIGURATION__AUTH_MOD": "db_auth"},
            "configuration.auth_mod: unknown item; did you mean auth_mode?",
        ),
        ([], {"SEAWALL_ADMIN_PASSWORD": "weak"}, "admin_password: passwords have 8 to 128 characters"),
    ],
)
def test_serve_says_why_not(
    run: Callable[..., Done], flags: list[str], environment: dict[str, str], message: str
) -> None:
    port = str(free_port())
    done = run("serve", "--data-dir", "d", "--port", port, *flags, **environment)
    assert message in one_line(done)


def test_data_directory_that_is_a_file(run: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "d").write_text("")
    line = one_line(run("serve", "--data-dir", "d", "--port", str(free_port())))
    assert re.search(r"/d: (File exists|Not a directory)$", line)


def test_port_in_use_and_password_kept_for_the_start_that_serves(
    run: Callable[..., Done], tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("serve", "--data-dir", "d", "--port", str(port))
        assert f"http.port: {port} at 127.0.0.1 is in use" in one_line(done)
        assert "password" not in done.stdout
    password = _first_password(tmp_path)
    assert password is not None


def _first_password(cwd: Path) -> str | None:
    """Serve at any port until the administrator's password is shown; prove that it signs in; stop.

    Where, the server says: port 0 is none that a client can use.
    """
    log = cwd / "log"
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SEAWALL_")}
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "seawall", "serve", "--data-dir", "d", "--port", "0"],
            cwd=cwd,
            env={**clean, "SEAWALL_HTTP__WORKERS": "1"},
            stdout=out,
            stderr=out,
        )
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            found = re.search(r"User: admin  password: (\S+)", log.read_text())
            if found:
                place = re.search(r"Seawall \S+ at (http://127\.0\.0\.1:[1-9]\d*)$", log.read_text(), re.M)
                assert place is not None, log.read_text()
                answer = httpx.get(f"{place[1]}/api/v2.0/users/current", auth=("admin", found[1]), timeout=30)
                assert answer.status_code == 200
                assert answer.json()["sysadmin_flag"] is True
                return found[1]
            time.sleep(0.2)
        return None
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def test_interrupted_in_the_first_second(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys, threading\n"
        "from seawall.__main__ import main\n"
        "sys.argv = ['seawall', 'user', 'list']\n"
        "threading.Timer(float(sys.stdin.read()), os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "main()\n"
    )
    for wait in ("0.05", "0.3", "1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            input=wait,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.stderr, done.returncode) in (
            ("seawall: interrupted\n", 130),
            # A very fast machine has answered by then.
            (f"seawall: there is no registry in {tmp_path}/data; name it with --data-dir or --config\n", 1),
        )


def test_an_interruption_in_code_that_was_made_from_a_text(tmp_path: Path) -> None:
    """As that of a dataclass, of which a start makes hundreds: `python -m` remembers it."""
    (tmp_path / "interrupted.py").write_text(
        "import sys\n"
        "import seawall.__main__ as program\n"
        "import seawall.process.commands.main as commands\n"
        "def app(**_):\n"
        "    exec('import os, signal\\nos.kill(os.getpid(), signal.SIGINT)\\nwhile True: pass')\n"
        "commands.app = app\n"
        "sys.argv = ['seawall', 'x']\n"
        "program.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "interrupted"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.stderr, done.returncode) == ("seawall: interrupted\n", 130)


@pytest.mark.parametrize("seconds", [1, 2, 4])
def test_a_start_is_interrupted(tmp_path: Path, seconds: float) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "seawall", "serve", "--data-dir", "data", "--port", str(free_port())],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=120)[1]
    assert "Traceback" not in said
    # It may serve already, and then ends as by SIGTERM.
    assert process.returncode in (0, 130), said
    if process.returncode:
        # Its parts log what they did until then.
        assert [line for line in said.splitlines() if not line.startswith("{")] in (
            [],
            ["seawall: interrupted"],
        )


@pytest.mark.parametrize("wait", [0, 0.02, 0.1])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_start_is_ended_while_its_processes_begin(tmp_path: Path, wait: float, number: int) -> None:
    """A process that was just forked has no handlers of its own yet, and is ended all the same."""
    process = subprocess.Popen(
        [sys.executable, "-m", "seawall", "serve", "--data-dir", "data", "--port", str(free_port())],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("Seawall ")
    deadline = time.monotonic() + 120
    # The job runner, and the first server process.
    while len(children.read_text().split()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    time.sleep(wait)
    begun = time.monotonic()
    os.killpg(process.pid, number)
    said = process.communicate(timeout=120)[1]
    # http.drain_seconds is 30: so long the server waits for a process that does not end.
    assert time.monotonic() - begun < 20, said
    assert (process.returncode, "Traceback" in said, "refused" in said) == (0, False, False), said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--show-completion", "nosuch"], "no completion for nosuch; there are bash, zsh, fish"),
        (["--install-completion", "zhs"], "no completion for zhs; did you mean zsh?"),
        (["--show-completion=bash", "zsh"], "takes one shell, and bash zsh was given"),
    ],
)
def test_completion_for_an_unknown_shell(
    run: Callable[..., Done], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], message: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    done = run(*words)
    assert done.returncode == 2
    assert message in one_line(done)
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_none(run: Callable[..., Done]) -> None:
    assert "'--port': must be 65535 or less" in one_line(run("dr", "witness", "--port", "99999"))


def test_a_home_folder_after_an_equals_sign(run: Callable[..., Done], tmp_path: Path) -> None:
    done = run("serve", "--data-dir=~/data")
    assert (
        one_line(done)
        == "seawall: --data-dir=~/data: a shell does not replace ~ after =; write --data-dir ~/data"
    )
    assert list(tmp_path.iterdir()) == []


def test_completion_of_the_shell_that_is_named(run: Callable[..., Done]) -> None:
    assert "#compdef seawall" in run("--show-completion", "zsh").stdout
    assert "complete -o default" in run("--show-completion=bash").stdout


def test_config_check_looks_at_files(run: Callable[..., Done], tmp_path: Path) -> None:
    """Each fault is a line of its own, after the settings; nothing is made."""
    (tmp_path / "file").write_text("")
    done = run(
        "config",
        "check",
        SEAWALL_MASTER_KEY_FILE="/none/key",
        SEAWALL_STORAGE__ROOT=str(tmp_path / "file/blobs"),
        SEAWALL_ADMIN_PASSWORD="weak",
    )
    assert done.returncode == 1
    assert '"data_dir": "data"' in done.stdout
    weak, key, root = done.stderr.splitlines()
    assert weak.startswith("seawall: admin_password: ")
    assert key.startswith("seawall: master_key_file: master key /none/key: No such file or directory")
    assert root == f"seawall: storage.root: {tmp_path}/file/blobs: {tmp_path}/file is a file; name a folder"


def test_config_check_of_a_folder_that_is_not_there(run: Callable[..., Done], tmp_path: Path) -> None:
    """One that was named is a slip; the one that the first start makes is none."""
    done = run("config", "check", "--data-dir", "nonexistent")
    assert done.returncode == 1
    assert one_line(done).startswith(f"seawall: there is no registry in {tmp_path}/nonexistent; ")
    assert run("config", "check").returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_debug_adds_the_trace(run: Callable[..., Done]) -> None:
    done = run("--debug", "fsck", "--data-dir", "none")
    assert "Traceback" in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("seawall: there is no registry")


def test_version(run: Callable[..., Done]) -> None:
    shown = run("--version").stdout
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", shown)
    assert run("version").stdout == shown
