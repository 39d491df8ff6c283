"""Runs a Python program again and again in children of one process that has imported it.

Started with the program's own interpreter. Each line on stdin is a JSON list of arguments; each is answered
by a line of JSON: exit status, stdout, stderr. The program's import takes some seconds, its commands do not.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import IO, NoReturn


def main(entry: str) -> None:
    """Serve commands of `module:function` until stdin ends."""
    module, _, function = entry.partition(":")
    run = getattr(importlib.import_module(module), function)
    for line in sys.stdin:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = os.fork()
            if child == 0:
                _run(run, json.loads(line), out.fileno(), err.fileno())
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            told = {"status": status, "stdout": _text(out), "stderr": _text(err)}
        print(json.dumps(told), flush=True)


def _run(run: Callable[[], int | None], words: list[str], out: int, err: int) -> NoReturn:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    sys.argv = ["harbor", *words]
    status: int = 1
    try:
        status = run() or 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


if __name__ == "__main__":
    main(sys.argv[1])
