"""Which of Harbor's operations the API has: `python -m tests.api.coverage` writes docs/api-coverage.md.

It also writes `access_table.txt`, whom each operation lets in, so that a change of it is seen in review.

`harbor_operations.txt` lists Harbor's operations as facts, METHOD and path, read off its public description
of the API; `not_offered.txt` says of each that Seawall does not have why not.
"""

from __future__ import annotations

import functools
import re
import warnings
from pathlib import Path

from seawall.api.app import make_app

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "api-coverage.md"
TABLE = HERE / "access_table.txt"
PREFIX = "/api/v2.0"
METHODS = {"get", "head", "post", "put", "patch", "delete"}
Operation = tuple[str, str]


def harbor() -> list[Operation]:
    """(method, path) of Harbor's operations."""
    pairs = [line.split(" ", 1) for line in (HERE / "harbor_operations.txt").read_text().splitlines()]
    return [(method, path) for method, path in pairs]


def not_offered() -> dict[Operation, str]:
    """Operations that are left out, and why."""
    result = {}
    for line in (HERE / "not_offered.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            method, path, reason = line.split(" ", 2)
            result[method, path] = reason
    return result


@functools.cache
def ours() -> frozenset[Operation]:
    """(method, path) of our operations; names of path parameters do not count."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        document = make_app(None).openapi()
    return frozenset(
        (method.upper(), path.removeprefix(PREFIX))
        for path, item in document["paths"].items()
        for method in item
        if method in METHODS
    )


def shape(operation: Operation) -> Operation:
    """The operation without the names of its path parameters."""
    return operation[0], re.sub(r"\{[^}]*\}", "{}", operation[1])


def page() -> str:
    """The page as it must be."""
    have = {shape(item) for item in ours()}
    wanted, left_out = harbor(), not_offered()
    inside = [item for item in wanted if shape(item) in have]
    own = sorted(item for item in ours() if shape(item) not in {shape(other) for other in wanted})
    lines = [
        "# Coverage of Harbor's API",
        "",
        "Written by `python -m tests.api.coverage`; a test compares it with the OpenAPI document that the",
        "server gives at `/api/v2.0/openapi.json`, and with the list of operations of Harbor 2.x.",
        "",
        f"{len(inside)} of Harbor's {len(wanted)} operations are in.",
        "",
        "| Operation | |",
        "|---|---|",
    ]
    for item in wanted:
        state = "yes" if shape(item) in have else f"no: {left_out.get(item, 'MISSING')}"
        lines.append(f"| `{item[0]} {item[1]}` | {state} |")
    lines += ["", "Seawall's own, beside Harbor's:", "", "| Operation |", "|---|"]
    lines += [f"| `{method} {path}` |" for method, path in own]
    return "\n".join(lines) + "\n"


def access_table() -> str:
    """Whom each operation lets in: METHOD PATH scope [resource action]; one line each."""
    document = make_app(None).openapi()
    lines = []
    for path, item in document["paths"].items():
        for method in METHODS & item.keys():
            need = item[method]["x-seawall-access"]
            by = "by-handler " if "checked" in need else ""
            what = f"{by}{need['scope']} {need['resource']} {need['action']}".strip()
            lines.append(f"{path.removeprefix(PREFIX)} {method.upper()} {what}")
    return "\n".join(sorted(lines)) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
    TABLE.write_text(access_table())
    missing = [item for item in harbor() if shape(item) not in {shape(o) for o in ours()}]
    for entry in missing:
        if entry not in not_offered():
            print("missing, and not in not_offered.txt:", *entry)
