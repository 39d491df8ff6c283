"""Background work of a process goes on after a failure, and says what it was."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from seawall.kernel.errors import UnavailableError
from seawall.process import wiring


@pytest.mark.parametrize(
    ("error", "traced"), [(UnavailableError("database does not answer"), False), (ValueError("odd"), True)]
)
def test_work_is_started_again_and_only_a_fault_of_ours_has_a_stack_trace(
    error: Exception, traced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    async def work() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise error

    async def no_wait(_: float) -> None:
        return None

    monkeypatch.setattr(asyncio, "sleep", no_wait)
    with structlog.testing.capture_logs() as entries:
        asyncio.run(wiring._forever(work))
    assert calls == 2
    (entry,) = entries
    assert (entry["error"], entry["exc_info"]) == (str(error), traced)
    assert entry["work"].endswith("work")
