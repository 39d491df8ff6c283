"""What the `seawall` command imports before it knows what kind of process it is."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import seawall.process.commands

# What a command's module imports, also inside its functions, and then whether every table is declared where
# something that handles all tables was imported.
_DECLARED = """
import ast, importlib, importlib.util, sys
found = importlib.import_module(sys.argv[1])
for node in ast.walk(ast.parse(open(found.__file__).read())):
    if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("seawall"):
        module = importlib.import_module(node.module)
        for item in node.names:
            if hasattr(module, "__path__") and importlib.util.find_spec(f"{node.module}.{item.name}"):
                importlib.import_module(f"{node.module}.{item.name}")
handlers = {"seawall.infra.db.dump", "seawall.infra.db.migrate", "seawall.infra.secrets.sealing"}
sys.exit(bool(handlers & set(sys.modules)) and "seawall.process.tables" not in sys.modules)
"""


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


def test_a_command_that_handles_all_tables_declares_them() -> None:
    """Each command runs alone: it must not rely on what another one has imported."""
    folder = Path(seawall.process.commands.__file__).parent
    running = {
        path.stem: subprocess.Popen(
            [sys.executable, "-c", _DECLARED, f"seawall.process.commands.{path.stem}"]
        )
        for path in folder.glob("[a-z]*.py")
        if any(isinstance(node, ast.ImportFrom) for node in ast.walk(ast.parse(path.read_text())))
    }
    assert [name for name, process in running.items() if process.wait()] == []
