"""Seawall's commands from a process that has everything imported: they start in a tenth of the time.

A server takes five seconds of processor time to import what it needs, and the tests start some hundreds of
them. A helper of each test worker imports it once; a command is forked from it, with the arguments,
environment, folder and output that it would have had, and does the same from `main` on. What is decided
before that (the interpreter's variables, preloaded libraries) needs a new interpreter: see
`like_this_process`. `tests/support/docs/warm.py` does the same for a shell.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from tests.support.preloaded import end_with, preload, take_over

ROOT = Path(__file__).resolve().parents[2]
_PR_SET_PDEATHSIG = 1
_CLONE_NEWNET = 0x40000000
_lock = threading.Lock()
_helper: socket.socket | None = None


def like_this_process(environment: dict[str, str]) -> bool:
    """Whether a command with this environment may be forked: it differs in Seawall's settings only.

    POD_IP is what a chart's settings are made with.
    """
    names = {name for name in {*environment, *os.environ} if environment.get(name) != os.environ.get(name)}
    return all(name.startswith(("SEAWALL_", "PROMETHEUS_", "PYTEST_", "POD_IP")) for name in names)


class Forked:
    """A running command; as much of `subprocess.Popen` as tests use."""

    def __init__(
        self,
        arguments: list[str],
        environment: dict[str, str],
        cwd: Path,
        *,
        output: tuple[int, int],
        stdin: int,
        session: bool = False,
        module: str = "",
        network: str = "",
    ) -> None:
        """`output`: descriptors of standard output and standard error. `session`: in a group of its own.

        `module`: run that one, as `python -m` does, instead of `seawall`. `network`: in the network namespace
        of this name (ip-netns(8)).
        """
        self.args = ["seawall", *arguments]
        self.returncode: int | None = None
        self._ended, ended = os.pipe()
        order = {
            "arguments": arguments,
            "environment": environment,
            "cwd": str(cwd),
            "session": session,
            "module": module,
            "network": network,
            "files": resource.getrlimit(resource.RLIMIT_NOFILE),
        }
        try:
            with _lock:
                helper = _started()
                data = json.dumps(order).encode()
                helper.sendall(len(data).to_bytes(8, "big"))
                socket.send_fds(helper, [b"f"], [stdin, *output, ended])
                helper.sendall(data)
                self.pid = int.from_bytes(helper.recv(8, socket.MSG_WAITALL), "big")
        finally:
            os.close(ended)

    def poll(self) -> int | None:
        """See subprocess.Popen.poll."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """See subprocess.Popen.wait."""
        if self.returncode is None:
            if not select.select([self._ended], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(os.read(self._ended, 20) or b"-9")
            os.close(self._ended)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """See subprocess.Popen.send_signal."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """See subprocess.Popen.terminate."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """See subprocess.Popen.kill."""
        self.send_signal(signal.SIGKILL)


def started(
    arguments: list[str],
    environment: dict[str, str],
    cwd: Path,
    output: int,
    module: str = "",
    network: str = "",
) -> Forked | subprocess.Popen[bytes]:
    """A command in a process group of its own, which writes to `output`; `module`, `network`: see Forked."""
    with open(os.devnull, "rb") as nothing:
        if like_this_process(environment):
            files = (output, output)
            return Forked(
                arguments,
                environment,
                cwd,
                output=files,
                stdin=nothing.fileno(),
                session=True,
                module=module,
                network=network,
            )
        return subprocess.Popen(
            # A test run that is killed takes its servers along.
            [
                *(["ip", "netns", "exec", network] if network else []),
                *("setpriv", "--pdeathsig", "TERM", sys.executable, "-m", module or "seawall"),
                *arguments,
            ],
            env=environment,
            stdin=nothing,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=cwd,
        )


def run(
    *arguments: str,
    environment: dict[str, str],
    cwd: Path | None = None,
    stdin: str = "",
    timeout: float = 240,
) -> subprocess.CompletedProcess[str]:
    """A command to its end, forked where it may be; raises subprocess.TimeoutExpired."""
    if not like_this_process(environment):
        return subprocess.run(
            [sys.executable, "-m", "seawall", *arguments],
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=cwd,
            check=False,
        )
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin.encode())
        given.seek(0)
        output = (out.fileno(), err.fileno())
        here = cwd or Path.cwd()
        process = Forked(list(arguments), environment, here, output=output, stdin=given.fileno())
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    return subprocess.CompletedProcess(process.args, code, *texts)


def _started() -> socket.socket:
    global _helper
    if _helper is None:
        ours, theirs = socket.socketpair()
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.forked", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
            start_new_session=True,
        )
        theirs.close()
        _helper = ours
    return _helper


# -- the helper -----------------------------------------------------------------------------------------


def _serve(wanted: socket.socket) -> dict[str, Any]:
    """Fork a process for each order; returns the order in each. EOFError: the worker has ended."""
    ends: dict[int, int] = {}
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([wanted.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 1000)
            for pid in list(ends):
                found, status = os.waitpid(pid, os.WNOHANG)
                if found:
                    with contextlib.suppress(BrokenPipeError):
                        os.write(ends[pid], str(os.waitstatus_to_exitcode(status)).encode())
                    os.close(ends.pop(pid))
        if wanted.fileno() not in ready:
            continue
        size = wanted.recv(8, socket.MSG_WAITALL)
        if not size:
            raise EOFError
        _, files, _, _ = socket.recv_fds(wanted, 1, 4)
        order = json.loads(wanted.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL))
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for item in (wanted.fileno(), woken, wake, files[3], *ends.values()):
                os.close(item)
            wanted.detach()
            _become(order, files[:3])
            return dict(order)
        ends[pid] = files[3]
        for item in files[:3]:
            os.close(item)
        wanted.sendall(pid.to_bytes(8, "big"))


def _become(order: dict[str, Any], files: list[int]) -> None:
    if order["session"]:
        os.setsid()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if order["network"]:
        with open(f"/run/netns/{order['network']}") as namespace:
            if libc.setns(namespace.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"setns {order['network']}")
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    resource.setrlimit(resource.RLIMIT_NOFILE, tuple(order["files"]))
    os.chdir(order["cwd"])
    take_over(order["environment"], order["arguments"], os.environ["PROMETHEUS_MULTIPROC_DIR"])


def _help() -> None:
    from tests.support import rsa_keys

    rsa_keys.hand_out(at_once=True)
    folder = preload()
    try:
        order = _serve(socket.socket(fileno=int(sys.argv[1])))
    except EOFError:
        shutil.rmtree(folder, ignore_errors=True)
        return
    sys.argv = ["seawall", *order["arguments"]]

    def command() -> None:
        if order["module"]:
            runpy.run_module(order["module"], run_name="__main__", alter_sys=True)
            return
        from seawall.process.commands.boundary import main

        main()

    end_with(command)


if __name__ == "__main__":
    _help()
