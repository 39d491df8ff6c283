"""What the house forbids and import-linter cannot see: SQL in `web`, dialects outside of `infra/db`."""

from __future__ import annotations

import ast
import functools
import tomllib
from collections.abc import Iterator
from pathlib import Path

import seawall

ROOT = Path(seawall.__file__).parent
# Types and errors; what makes a statement is not among them.
PLAIN = {"Connection", "Row", "DataError", "IntegrityError", "StatementError"}


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """A file of the source, parsed; tests only read it."""
    return ast.parse(path.read_text())


def imports(folder: Path) -> Iterator[tuple[Path, str, str]]:
    """(file, module, name) of every `from module import name` below `folder`."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    yield path.relative_to(ROOT), node.module, alias.name


def test_no_sql_in_web() -> None:
    found = [
        (str(path), module, name)
        for path, module, name in imports(ROOT / "web")
        if (module.partition(".")[0] == "sqlalchemy" and name not in PLAIN) or module.endswith(".tables")
    ]
    assert found == []


def test_dialects_only_in_the_database_layer() -> None:
    layer = ROOT / "infra" / "db"
    found = [
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        if layer not in path.parents
        and ("dialect.name" in (text := path.read_text()) or "sqlalchemy.dialects" in text)
    ]
    assert found == []


def test_every_table_module_is_loaded() -> None:
    loaded = {f"{module}.{name}" for _, module, name in imports(ROOT / "process")}
    tree = ast.parse((ROOT / "process" / "tables.py").read_text())
    loaded |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules = {
        "seawall." + ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in ROOT.rglob("tables.py")
        if "process" not in path.parts
    }
    assert modules - loaded == set()


def modules_named(name: str) -> set[str]:
    return {
        "seawall." + ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in ROOT.rglob(name)
        if "process" not in path.parts
    }


def test_every_table_module_is_protected() -> None:
    project = tomllib.loads((ROOT.parents[1] / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    protected = {
        module for item in contracts if item["type"] == "protected" for module in item["protected_modules"]
    }
    assert modules_named("tables.py") == protected
    assert not any(item.get("ignore_imports") for item in contracts)


def test_views_are_given_out_to_be_read_only() -> None:
    """`FromClause` is the type that mypy lets nobody insert into, change or delete from."""
    found = modules_named("views.py")
    assert "seawall.registry.views" in found
    for module in found:
        tree = ast.parse((ROOT.parent / (module.replace(".", "/") + ".py")).read_text())
        assert not [node for node in tree.body if isinstance(node, ast.Assign)], module
        given = [node for node in tree.body if isinstance(node, ast.AnnAssign)]
        assert given, module
        assert {ast.unparse(node.annotation) for node in given} == {"FromClause"}, module


def calls(tree: ast.AST) -> Iterator[tuple[str, str, set[str]]]:
    """(receiver, method, keywords) of every awaited call."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Await)
            and isinstance(node.value, ast.Call)
            and isinstance(node.value.func, ast.Attribute)
        ):
            call, func = node.value, node.value.func
            yield ast.unparse(func.value), func.attr, {item.arg or "" for item in call.keywords}


def methods_that_carry() -> set[str]:
    """Names of methods below `web` that take an `also`."""
    return {
        node.name
        for path in ROOT.rglob("*.py")
        if "web" not in path.relative_to(ROOT).parts and "db" not in path.parts
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.AsyncFunctionDef) and "also" in {item.arg for item in node.args.kwonlyargs}
    }


def test_routes_let_every_write_carry_the_trace_of_the_request() -> None:
    """A write that a route forgets to give its `also` could commit without an entry in the audit log."""
    carrying = methods_that_carry()
    assert {"add_key", "set_schedule", "start", "delete_repository"} <= carrying
    # Writes nothing.
    others = {"service.begin"}
    forgotten = []
    for path in (ROOT / "web" / "harbor").rglob("*.py"):
        for receiver, method, keywords in calls(tree_of(path)):
            if receiver.endswith("db") and method == "write" and path.name not in ("deps.py", "routing.py"):
                forgotten.append(f"{path.name}: {receiver}.write instead of access.write")
            if method in carrying and "also" not in keywords and f"{receiver}.{method}" not in others:
                forgotten.append(f"{path.name}: {receiver}.{method} without also")
    assert forgotten == []


def test_what_a_route_calls_and_writes_takes_what_it_carries() -> None:
    """The services of `web/harbor/needs.py`: a method that writes, and that a route calls, has an `also`."""
    called = {
        method for path in (ROOT / "web" / "harbor").rglob("*.py") for _, method, _ in calls(tree_of(path))
    }
    carrying = methods_that_carry()
    deaf = set()
    for _, module, name in imports(ROOT / "web" / "harbor"):
        path = ROOT.parent / (module.replace(".", "/") + ".py")
        if not path.exists() or path.name in ("deps.py", "engine.py", "routing.py"):
            continue
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef) and node.name == name:
                for item in node.body:
                    if (
                        isinstance(item, ast.AsyncFunctionDef)
                        and item.name in called - carrying
                        and any(
                            method == "write" and receiver.endswith("db") and "durable" not in keywords
                            for receiver, method, keywords in calls(item)
                        )
                    ):
                        deaf.add(f"{name}.{item.name}")
    assert deaf == set()


def test_no_service_is_optional() -> None:
    """What the composition root makes is there, so nobody takes it or `None`."""
    wiring = ast.parse((ROOT / "process" / "wiring.py").read_text())
    made = {
        node.func.id
        for node in ast.walk(wiring)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id[0].isupper()
    } - {"Path"}
    assert {"AuthService", "RedisClient", "Configuration"} <= made
    optional = []
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                for item in [*node.args.args, *node.args.kwonlyargs]:
                    text = ast.unparse(item.annotation) if item.annotation else ""
                    if any(text in (f"{name} | None", f"None | {name}") for name in made | {"Database"}):
                        optional.append(f"{path.relative_to(ROOT)}: {item.arg}: {text}")
    assert optional == []
