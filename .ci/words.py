"""Words that the prose does without, in pages and in what commands print: `python .ci/words.py [FILE...]`.

A word is listed when it is old, has a plainer one, or makes readers stop. Left out are pages that a run
writes (results of measurements) and decisions, which are history. `<!-- words: why -->` on the line before
lets a word pass.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BANNED = {
    r"anew": "again",
    r"mend(s|ed|ing)?": "repair, correct",
    r"told": "say what was sent, shown or reported",
    r"hears? of": "learns of, is sent",
    r"whoever": "anyone who, a user who",
    r"thereof|wherefore|whilst|albeit|heretofore": "a word of today",
}
_PATTERN = re.compile("|".join(rf"(?P<w{n}>\b(?:{word})\b)" for n, word in enumerate(BANNED)), re.IGNORECASE)
_LEFT_OUT = (
    "docs/decisions/",
    "docs/ha-results.md",
    "docs/dr-results.md",
    "docs/log-events.md",
    "CHANGELOG.md",
)
_PRINTED = "src/seawall/process/commands/"


def found(text: str) -> list[tuple[int, str, str]]:
    """(line, word, what to write instead) of each banned word outside of fenced blocks and code."""
    result, fenced, before = [], False, ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and not before.strip().startswith("<!-- words:"):
            for match in _PATTERN.finditer(re.sub(r"`[^`]*`", "", line)):
                better = list(BANNED.values())[int((match.lastgroup or "w0")[1:])]
                result.append((number, match[0], better))
        before = line
    return result


def files() -> list[Path]:
    """What is read: pages of the project and of docs, and the modules of the commands."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "changelog.d").glob("*.md")]
    return sorted([*pages, *(ROOT / _PRINTED).glob("*.py")])


def _read(path: Path) -> bool:
    name = str(path.relative_to(ROOT))
    prose = name.endswith(".md") or name.startswith(_PRINTED)
    return prose and not name.startswith(_LEFT_OUT)


def main(names: list[str]) -> int:
    """Print each; 1 where there is one."""
    known = set(files())
    chosen = [path for name in names if (path := Path(name).resolve()) in known] if names else files()
    faults = 0
    for path in filter(_read, chosen):
        for number, word, better in found(path.read_text()):
            print(f"{path.relative_to(ROOT)}:{number}: {word!r}; better: {better}")
            faults += 1
    return min(faults, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
