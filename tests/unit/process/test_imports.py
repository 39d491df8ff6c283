"""What the `seawall` command imports before it knows what kind of process it is."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import seawall

SOURCES = Path(seawall.__file__).parents[1]
# What handles all tables, and refuses to where `seawall.process.tables` was not imported.
HANDLERS = {"seawall.infra.db.dump", "seawall.infra.db.migrate", "seawall.infra.secrets.sealing"}


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


def test_version_imports_little() -> None:
    """What is imported decides how long it takes: 0.4 s on an idle machine (bench/start.py measures it)."""
    code = (
        "import sys; sys.argv = ['seawall', 'version']\n"
        "from seawall.process.commands import boundary\n"
        "try:\n    boundary.main()\n"
        "except SystemExit:\n    pass\n"
        "print(*sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    version, modules = done.stdout.splitlines()
    assert version == seawall.__version__
    ours = {name for name in modules.split() if name.startswith("seawall.")}
    assert ours == {
        "seawall.process",
        "seawall.process.commands",
        "seawall.process.commands.boundary",
        "seawall.process.commands.main",
        "seawall.process.commands.output",
    }
    heavy = {"rich", "sqlalchemy", "fastapi", "starlette", "httpx", "aiohttp", "cryptography", "structlog"}
    assert heavy & set(modules.split()) == set()


def file_of(module: str) -> Path | None:
    path = SOURCES.joinpath(*module.split("."))
    return next((item for item in (path.with_suffix(".py"), path / "__init__.py") if item.exists()), None)


def statements(body: list[ast.stmt], *, inside: bool) -> Iterator[ast.stmt]:
    """The statements that run at import; those of functions too with `inside`."""
    for node in body:
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if inside or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for name in ("body", "orelse", "finalbody"):
                yield from statements(getattr(node, name, []), inside=inside)


@functools.cache
def imports(module: str, *, inside: bool = False) -> frozenset[str]:
    """Seawall's modules that importing this one imports itself."""
    path = file_of(module)
    found = {module.rpartition(".")[0]} - {""}
    for node in statements(ast.parse(path.read_text()).body if path else [], inside=inside):
        if isinstance(node, ast.Import):
            found |= {item.name for item in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{item.name}" for item in node.names)}
    return frozenset(name for name in found if name.startswith("seawall") and file_of(name))


def test_a_command_that_handles_all_tables_declares_them() -> None:
    """Each command runs alone: it must not rely on what another one has imported."""
    commands = sorted((SOURCES / "seawall/process/commands").glob("[a-z]*.py"))
    assert len(commands) > 15
    wrong = []
    for path in commands:
        left, seen = list(imports(f"seawall.process.commands.{path.stem}", inside=True)), set[str]()
        while left:
            name = left.pop()
            if name not in seen:
                seen.add(name)
                left += imports(name)
        if seen & HANDLERS and "seawall.process.tables" not in seen:
            wrong.append(path.stem)
    assert wrong == []
