"""Progress bars of long commands: on standard error, and only where that is a terminal."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from seawall.kernel import progress

# Seconds between two updates of a bar.
_EVERY = 0.05


@contextlib.contextmanager
def bars(console: Console | None = None) -> Iterator[None]:
    """Show each kind of step of the work within as a bar; nothing where standard error is not a terminal."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # What the command prints meanwhile is led past the bars, unless it goes into a pipe.
    redirect = sys.stdout.isatty()
    with Progress(*columns, console=console, transient=True, redirect_stdout=redirect) as shown:
        tasks: dict[str, TaskID] = {}
        next_at: dict[str, float] = {}

        def show(what: str, done: int, total: int | None) -> None:
            now = time.monotonic()
            # Some steps take microseconds, and drawing one takes more.
            if now < next_at.get(what, 0.0) and done != total:
                return
            next_at[what] = now + _EVERY
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=total)
            shown.update(tasks[what], completed=done, total=total)

        with progress.listening(show):
            yield
