"""A process that has imported everything `seawall` may need, from which commands are forked."""

from __future__ import annotations

import gc
import os
import tempfile
import threading


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
