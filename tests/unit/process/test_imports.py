"""What the `seawall` command imports before it knows what kind of process it is."""

from __future__ import annotations

import subprocess
import sys


def test_prometheus_is_not_imported_before_serve_says_where_processes_count_together() -> None:
    code = "import seawall.process.commands.serve, sys; print('prometheus_client' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"


def test_the_command_line_reads_no_command_before_it_is_used() -> None:
    """So that a short command starts fast: `seawall version` in a third of a second of processor time."""
    code = (
        "import sys, typer, seawall.process.commands.main as main;"
        "root = typer.main.get_command(main.app); list(root.commands);"
        "print(sorted({'sqlalchemy', 'pydantic', 'fastapi', 'seawall.infra'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
