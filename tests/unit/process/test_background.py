"""Background work of a process goes on after a failure, and says what it was."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

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


def test_a_failure_that_goes_on_is_said_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is away fails each work once a second; who reads the log needs other lines too."""
    times = [0.0]

    async def work() -> None:
        if times[0] < 150:
            raise UnavailableError("database does not answer")

    async def pass_a_second(seconds: float) -> None:
        times[0] += seconds

    monkeypatch.setattr(asyncio, "sleep", pass_a_second)
    monkeypatch.setattr("seawall.process.wiring.time", SimpleNamespace(monotonic=lambda: times[0]))
    with structlog.testing.capture_logs() as entries:
        asyncio.run(wiring._forever(work))
    assert len(entries) == 3
