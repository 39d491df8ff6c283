"""What two tests need is in `tests.support`: no test imports another, nor a conftest."""

from __future__ import annotations

import ast

from tests.support.processes import ROOT

# Runs the same tests with the bytes in another storage.
SAME_TESTS = {"tests/component/web/oci/test_conformance_s3.py"}


def test_nobody_imports_a_test() -> None:
    found = []
    for path in (ROOT / "tests").rglob("*.py"):
        name = path.relative_to(ROOT).as_posix()
        if name in SAME_TESTS:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [item.name for item in node.names] if isinstance(node, ast.Import) else []
            found += [
                f"{name}: {module}"
                for module in modules
                if module.startswith(("tests.unit", "tests.component", "tests.system"))
            ]
    assert found == []
