"""What the source must not do, wherever it does it: run stored data, and compare secrets letter by letter."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.support.processes import ROOT

# Modules whose loaders run what they are given, and calls that do.
LOADERS = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "jsonpickle"}
CALLS = {"eval", "exec", "compile", "__import__"}
# Both sides are from whoever asks: a form's two passwords, and keys while their files are read at a move.
OWN = {
    "body.old_password == body.new_password",
    "found.keys[CSRF][0] != csrf",
    # In SQL: whether the row is still the one that was read.
    "second_factors.c.secret == row.secret",
}
SECRET = re.compile(r"(?:^|_)(?:mac|hmac|signature|secret|password|passwd|adapter_token|api_key|csrf)$")


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((ROOT / "src" / "seawall").rglob("*.py")):
        yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def test_stored_data_is_never_run() -> None:
    """CVE-2026-32590 (Quay): the state of an upload was unpickled from the database."""
    found = []
    for path, tree in trees():
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Import):
                names = [item.name for item in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            found += [f"{path}: import {name}" for name in names if name.partition(".")[0] in LOADERS]
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
                found.append(f"{path}:{node.lineno}: {node.func.id}()")
    assert found == []


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def test_secrets_are_compared_in_constant_time() -> None:
    """CVE-2023-20902: the time that a comparison took told how much of a secret was right."""
    found = []
    for path, tree in trees():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq | ast.NotEq):
                continue
            sides = [node.left, node.comparators[0]]
            # With a constant ("", None, stars in place of a secret) nothing is told.
            if any(isinstance(side, ast.Constant) or _name(side).isupper() for side in sides):
                continue
            if ast.unparse(node) not in OWN and any(SECRET.search(_name(side)) for side in sides):
                found.append(f"{path}:{node.lineno}: {ast.unparse(node)}")
    assert found == []
