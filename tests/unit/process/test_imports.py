"""What the `seawall` command imports before it knows what kind of process it is."""

from __future__ import annotations

import subprocess
import sys


def test_prometheus_is_not_imported_before_serve_says_where_processes_count_together() -> None:
    code = "import seawall.process.commands.main, sys; print('prometheus_client' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"
