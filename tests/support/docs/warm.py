"""`seawall` commands without the second that each start costs: forked from a process that has imported all.

`python warm.py serve SOCKET` runs it; `python -IS warm.py SOCKET ARGUMENT...` has it run one command with the
caller's files, environment and working directory, and ends with that command's exit code.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable


def client(path: str, arguments: list[str]) -> int:
    """Run one command; returns its exit code."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        message = json.dumps([arguments, os.getcwd(), dict(os.environ)]).encode()
        socket.send_fds(connection, [len(message).to_bytes(4, "big")], [0, 1, 2])
        connection.sendall(message)
        answer = connection.recv(1)
        return answer[0] if answer else 70


def serve(path: str) -> None:
    """Fork for each connection, until killed."""
    from seawall.process import wiring  # noqa: F401  (what commands import when they run)
    from seawall.process.commands import boundary, main  # noqa: F401

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
            _run(connection, boundary.main)
        connection.close()
        os.wait()


def _run(connection: socket.socket, command: Callable[[], None]) -> None:
    head, descriptors, _, _ = socket.recv_fds(connection, 4, 3)
    left = int.from_bytes(head, "big")
    message = b""
    while len(message) < left:
        message += connection.recv(left - len(message))
    arguments, folder, environment = json.loads(message)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["seawall", *arguments]
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
    sys.exit(client(sys.argv[1], sys.argv[2:]))
