"""The commands and files of docs/install, as readers find them, so that tests run just those."""

from __future__ import annotations

import re

from tests.support.processes import ROOT

FOLDER = ROOT / "docs" / "install"


class Page:
    """One page: its fenced blocks by language."""

    def __init__(self, name: str) -> None:
        text = (FOLDER / name).read_text()
        self.blocks = re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)

    def all(self, language: str) -> list[str]:
        """Every block in `language`."""
        return [content for found, content in self.blocks if found == language]

    def one(self, language: str, part: str) -> str:
        """The only block in `language` that contains `part`."""
        (found,) = [content for content in self.all(language) if part in content]
        return found
