"""Words that the prose does without, in pages, the sources and the portal: `python .ci/words.py [FILE...]`.

A word is listed when it is old, has a plainer one, or makes readers stop. The changelog is left out, which is
history, and the reference pages, whose texts are those of the sources. `<!-- words: why -->` on the line
before lets a word pass.
"""

from __future__ import annotations

import io
import re
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[1]
BANNED = {
    r"anew": "again",
    r"mend(s|ed|ing)?": "repair, correct",
    r"hear[sd]? of": "learns of, is sent",
    r"whoever": "anyone who, a user who",
    r"in the place of": "in place of",
    r"thereof|wherefore|whilst|albeit|heretofore": "a word of today",
}
# In pages, and in what sources say: comments, docstrings and texts. Some are names in the code (`told`).
PAGES = {
    r"told": "say what was sent, shown or reported",
    r"beside": "next to, in addition to, compared with",
    r"besides": "also, in addition, other than",
    r"seldom": "rarely",
    r"heed(?:s|ed)?": "follow, use",
    r"be had": "be found, be reached, be gathered",
    r"whom": "who, or a sentence with the user as its subject",
    r"but for": "except for",
    r"(?<!all )(?<!each )of which": "a sentence of its own",
    r"that is none": "that is not one, that is not allowed",
    r"(?<!there )(?:is|are|was|were) no (?!longer|more|less|other|further)(?=\w)": "is not a",
}
_ALL = {**BANNED, **PAGES}


def _pattern(words: dict[str, str]) -> re.Pattern[str]:
    parts = (rf"(?P<w{n}>\b(?:{word}))" for n, word in enumerate(words))
    return re.compile("|".join(parts), re.IGNORECASE)


# A word ends where it ends; the last of PAGES is a phrase with the beginning of the next word.
_PATTERN = _pattern({(word if "(?=" in word else rf"(?:{word})\b"): "" for word in _ALL})
_SOURCES = _pattern({rf"(?:{word})\b": "" for word in BANNED})
_FIELD = re.compile(r"\{[^{}]*\}")
_MARKUP = re.compile(r"`[^`]*`|\]\([^)]*\)")
_LEFT_OUT = ("CHANGELOG.md",)
_TEXTS = (".py", ".ts", ".tsx", ".css")


def found(text: str, *, source: bool = False) -> list[tuple[int, str, str]]:
    """(line, word, what to write instead) of each banned word outside of fenced blocks, code and links.

    `source`: it is a module or a style sheet, to which the words of PAGES do not apply.
    """
    pattern = _SOURCES if source else _PATTERN
    result, fenced, before = [], False, ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and not before.strip().startswith("<!-- words:"):
            # Headings keep their words: others link to their anchors.
            prose = "" if line.startswith("#") and not source else _MARKUP.sub("", line)
            for match in pattern.finditer(prose):
                better = list(_ALL.values())[int((match.lastgroup or "w0")[1:])]
                result.append((number, match[0], better))
        before = line
    return result


def said(text: str) -> str:
    """What a Python module says, line by line: its comments, its docstrings, and its texts with a space."""
    lines = [""] * (text.count("\n") + 1)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        whole = token.type == tokenize.COMMENT or (token.type in _STRINGS and " " in token.string)
        if whole:
            for number, line in enumerate(token.string.split("\n"), token.start[0] - 1):
                # Not as a heading of a page, and without the fields of a text.
                lines[number] += f" {_FIELD.sub('', line.lstrip('#'))}"
    return "\n".join(lines)


# Texts with fields are tokens of their own from Python 3.12 on.
_STRINGS = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


def files() -> list[Path]:
    """What is read: pages of the project and of docs, and the sources of server, commands and portal."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "changelog.d").glob("*.md")]
    sources = [p for room in ("src/seawall", "portal/src") for p in (ROOT / room).rglob("*")]
    built = ("portal_dist", "__pycache__")
    return sorted([*pages, *(p for p in sources if p.suffix in _TEXTS and not {*p.parts} & {*built})])


def _read(path: Path) -> bool:
    name = str(path.relative_to(ROOT))
    return not name.startswith((*_LEFT_OUT, "docs/reference/"))


def main(names: list[str]) -> int:
    """Print each; 1 where there is one."""
    known = set(files())
    chosen = [path for name in names if (path := Path(name).resolve()) in known] if names else files()
    faults = 0
    for path in filter(_read, chosen):
        name = str(path.relative_to(ROOT))
        text = path.read_text()
        lines = found(said(text)) if name.endswith(".py") else found(text, source=not name.endswith(".md"))
        for number, word, better in lines:
            print(f"{path.relative_to(ROOT)}:{number}: {word!r}; better: {better}")
            faults += 1
    return min(faults, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
