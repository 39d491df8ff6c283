"""A process that has imported everything `seawall` may need, from which commands are forked."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from typing import NoReturn


def preload() -> str:
    """Import it; returns the folder where commands that are not servers put their metrics."""
    gc.disable()
    folder = tempfile.mkdtemp(prefix="seawall-test-metrics-")
    # prometheus_client decides at import how processes count.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    import granian.server  # noqa: F401
    import typer

    import seawall.process.server
    import seawall.process.worker  # noqa: F401
    from seawall.process.commands import main

    # Commands are imported when they are asked for.
    root = typer.main.get_command(main.app)
    assert len(dict(getattr(root, "commands"))) > 20  # noqa: B009
    gc.enable()
    gc.freeze()
    assert threading.active_count() == 1, "a thread does not survive a fork"
    return folder


def take_over(environment: dict[str, str], arguments: list[str], metrics: str) -> None:
    """Have a forked process see this environment. `metrics`: what `preload` returned."""
    os.environ.clear()
    os.environ.update(environment)
    if arguments[:1] != ["serve"]:
        # A server chooses its own; metrics have to be somewhere.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics


def end_with(command: Callable[[], None]) -> NoReturn:
    """Run the command and end this process as the interpreter would, but take no module apart.

    That would touch, and so copy, all of the memory that forked processes share.
    """
    code: object = 0
    try:
        command()
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    # Waits for threads, as the interpreter does.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            traceback.print_exc()
        # As the interpreter.
        code = 120
    os._exit((code or 0) & 0xFF)
