"""The events that Seawall logs, found in its source: `python -m tests.support.log_events` writes the page."""

from __future__ import annotations

import ast
from collections import defaultdict

from tests.support.processes import ROOT

PAGE = ROOT / "docs" / "log-events.md"
_LEVELS = {"info": "info", "warning": "warning", "error": "error", "exception": "error"}
_HEAD = """\
# Events in the log

Each line of the log has an `event`. These are all that Seawall logs, with their levels. An alert on the
log may rely on them; a change of one is in the changelog. [Operations](operations.md#the-log) describes
the lines.

`python -m tests.support.log_events` makes this page from the source.

| Event | Level | Where |
|---|---|---|
"""


def events() -> dict[tuple[str, str], set[str]]:
    """Modules by (event, level)."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    source = ROOT / "src"
    for path in sorted((source / "seawall").rglob("*.py")):
        module = ".".join(path.relative_to(source).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            of = node.func.value
            if not (isinstance(of, ast.Name) and of.id in ("log", "_log") and node.func.attr in _LEVELS):
                continue
            first = node.args[0] if node.args else None
            assert isinstance(first, ast.Constant), f"{path}:{node.lineno}: an event must be a fixed text"
            found[str(first.value), _LEVELS[node.func.attr]].add(module)
    return found


def page() -> str:
    """docs/log-events.md."""
    rows = [
        f"| `{event}` | {level} | {', '.join(f'`{name}`' for name in sorted(modules))} |\n"
        for (event, level), modules in sorted(events().items())
    ]
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page())
