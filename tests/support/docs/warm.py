"""`seawall` commands without the second that each start costs: forked from a process that has imported all.

`python -m tests.support.docs.warm serve SOCKET` runs it; `python -IS warm.py SOCKET ARGUMENT...` has it run
one command with the files, environment and working directory of its caller, and ends with its exit code.
`--session FILE` before SOCKET: the command is a server that leads a session, whose id is then in FILE.
"""

from __future__ import annotations

import functools
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path


def client(path: str, arguments: list[str], session: str = "") -> int:
    """Run one command; returns its exit code. `session`: see above."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        message = json.dumps([arguments, os.getcwd(), dict(os.environ), session]).encode()
        socket.send_fds(connection, [len(message).to_bytes(4, "big")], [0, 1, 2])
        connection.sendall(message)
        answer = connection.recv(1)
        return answer[0] if answer else 70


@functools.cache
def started() -> Path:
    """The socket of one that ends with this process, started at the first call."""
    # Here, since the client is to start fast.
    import atexit
    import shutil
    import subprocess
    import tempfile
    import time

    folder = Path(tempfile.mkdtemp(prefix="seawall-warm-"))
    path = folder / "socket"
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    process = subprocess.Popen(
        [
            "setpriv",
            "--pdeathsig",
            "TERM",
            sys.executable,
            "-m",
            "tests.support.docs.warm",
            "serve",
            str(path),
        ],
        cwd=Path(__file__).resolve().parents[3],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    atexit.register(process.terminate)
    while not path.exists():
        assert process.poll() is None
        time.sleep(0.05)
    return path


def serve(path: str) -> None:
    """Fork for each connection, until killed."""
    from seawall.process.commands import boundary
    from tests.support.preloaded import preload

    metrics = preload()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(16)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            if os.fork():
                # The command's process belongs to init from now on.
                os._exit(0)
            listener.close()
            _run(connection, boundary.main, metrics)
        connection.close()
        os.wait()


def _run(connection: socket.socket, command: Callable[[], None], metrics: str) -> None:
    from tests.support.preloaded import end_with, take_over

    head, descriptors, _, _ = socket.recv_fds(connection, 4, 3)
    left = int.from_bytes(head, "big")
    message = b""
    while len(message) < left:
        message += connection.recv(left - len(message))
    arguments, folder, environment, session = json.loads(message)
    if session:
        os.setsid()
        Path(session).write_text(f"{os.getpid()}\n")
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    os.chdir(folder)
    take_over(environment, arguments, metrics)
    sys.argv = ["seawall", *arguments]
    if session:
        end_with(command)
    code = 0
    try:
        command()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        connection.send(bytes([code]))
        os._exit(0)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    if sys.argv[1] == "--session":
        sys.exit(client(sys.argv[3], sys.argv[4:], sys.argv[2]))
    sys.exit(client(sys.argv[1], sys.argv[2:]))
