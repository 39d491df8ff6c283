"""The job runner next to a server is started again, also when that cannot be done just now."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from seawall.process.worker import EmbeddedRunner
from tests.support.waiting import until


def test_a_runner_that_cannot_be_started_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Python is away for a moment, as while it is upgraded; then it writes a file and waits for its end."""
    program, begun = tmp_path / "python", tmp_path / "begun"
    monkeypatch.setattr(sys, "executable", str(program))
    runner = EmbeddedRunner(lambda: False, 30)
    runner._thread.start()
    try:
        until(lambda: "could not be started" in capfd.readouterr().err)
        program.write_text(f"#!/bin/sh\necho > {begun}\nexec sleep 600\n")
        program.chmod(0o755)
        until(begun.exists)
    finally:
        runner._end()
    assert runner._child is not None
    assert runner._child.returncode == -signal.SIGTERM
