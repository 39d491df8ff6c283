"""Progress: nobody pays for it unless somebody looks, and bars are for terminals only."""

from __future__ import annotations

import asyncio
import io

import pytest
from rich.console import Console

from seawall.kernel import progress
from seawall.process.commands.bars import bars


def test_steps_reach_the_listener_through_tasks() -> None:
    seen: list[tuple[str, int, int | None]] = []

    async def work() -> None:
        await asyncio.create_task(asyncio.to_thread(progress.step, "blobs", 1, 2))

    progress.step("blobs", 0, 2)
    assert not progress.wanted()
    with progress.listening(lambda *step: seen.append(step)):
        assert progress.wanted()
        asyncio.run(work())
    progress.step("blobs", 2, 2)
    assert seen == [("blobs", 1, 2)]


@pytest.mark.parametrize("terminal", [True, False])
def test_bars_are_for_terminals(terminal: bool) -> None:
    out = io.StringIO()
    with bars(Console(file=out, force_terminal=terminal, width=100)):
        assert progress.wanted() is terminal
        progress.step("blobs checked", 3, 12)
    assert ("3/12" in out.getvalue()) is terminal
