"""The documentation as a reader types it: the fenced blocks of a page, in order, each run or marked.

A comment on the line above a block says what a test does with it:

    <!-- not run: needs Kubernetes -->             nobody runs it here, for that reason
    <!-- run by: tests/system/deploy/test_x.py --> that test does
    <!-- ends with: 1 -->                          it is run, and ends with that exit code

Everything else in `sh` is run. A block in another language whose first line is a comment with a file's name
(`# /etc/haproxy/haproxy.cfg`) is written to that file before the next block is run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import ROOT

SHELL = "sh"
_MARK = re.compile(r"<!-- (not run|run by|ends with): (.+?) -->")
_FILE = re.compile(r"(?:#|//) (~?[\w./-]*\w\.?[\w]+)")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block of a page."""

    page: str
    line: int
    language: str
    text: str
    mark: str = ""
    value: str = ""

    @property
    def where(self) -> str:
        """`docs/page.md:12`."""
        return f"{self.page}:{self.line}"

    @property
    def runs(self) -> bool:
        """Whether the block is a shell block that is run as it is."""
        return self.language == SHELL and self.mark in ("", "ends with")

    @property
    def file(self) -> str:
        """The file that the block is the content of; nothing where it is none."""
        if self.language in (SHELL, "", "text"):
            return ""
        found = _FILE.fullmatch(self.text.partition("\n")[0].strip())
        return found[1] if found else ""


def pages() -> list[str]:
    """README and all pages below docs; decisions are history and have no commands."""
    found = sorted(
        str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md") if "decisions" not in path.parts
    )
    return ["README.md", *found]


def blocks(page: str) -> list[Block]:
    """The fenced blocks of `page`, in order."""
    lines = (ROOT / page).read_text().splitlines()
    found = []
    number = 0
    while number < len(lines):
        opened = re.fullmatch(r"( *)```(\w*)", lines[number])
        if opened is None:
            number += 1
            continue
        indent, language = opened.groups()
        end = lines.index(f"{indent}```", number + 1)
        text = "\n".join(line.removeprefix(indent) for line in lines[number + 1 : end]) + "\n"
        above = lines[number - 1].strip() if number else ""
        mark = _MARK.fullmatch(above)
        found.append(Block(page, number + 1, language, text, *(mark.groups() if mark else ())))
        number = end + 1
    return found


def links(page: str) -> set[str]:
    """The pages that `page` links to, from the checkout's root."""
    text = (ROOT / page).read_text()
    folder = (ROOT / page).parent
    found = set()
    for target in re.findall(r"\]\(([^)#\s]+\.md|[^)#\s]+/)(?:#[^)]*)?\)", text):
        if "://" not in target:
            path = (folder / target).resolve()
            if path.is_relative_to(ROOT):
                found.add(str(path.relative_to(ROOT)))
    return found


def exists(path: str) -> bool:
    """Whether `path` is there, from the checkout's root."""
    return Path(ROOT / path).exists()
