"""MkDocs hook: pages from outside docs/, and links to them.

README.md and the project's files are pages of the site too. A link to a folder leads to its README; a link
to any other file outside docs/ keeps its text only, because the site does not have the file.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
# Where a file of the checkout is on the site.
OUTSIDE = {
    "README.md": "index.md",
    "docs/README.md": "pages.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security-policy.md",
    "CODE_OF_CONDUCT.md": "code-of-conduct.md",
    "CHANGELOG.md": "changelog.md",
}
_HOME = {page: file for file, page in OUTSIDE.items()}
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages from outside docs/; the product's README is the first page, so docs/README.md moves."""
    files.remove(files.get_file_from_path("README.md"))
    for file, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / file).read_text()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead each relative link to where its target is on the site."""
    source = _HOME.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    here = posixpath.dirname(page.file.src_uri)

    def lead(found: re.Match[str]) -> str:
        mark, text, target = found.groups()
        path, hash_, anchor = target.partition("#")
        if "://" in target or not path:
            return found[0]
        inside = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if path.endswith("/"):
            inside += "/README.md"
        if inside in OUTSIDE:
            inside = OUTSIDE[inside]
        elif inside.startswith("docs/"):
            inside = inside.removeprefix("docs/")
        elif (ROOT / inside).exists():
            return text
        return f"{mark}[{text}]({posixpath.relpath(inside, here or '.')}{hash_}{anchor})"

    parts = re.split(r"(^ *```.*?^ *```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if index % 2 else _LINK.sub(lead, part) for index, part in enumerate(parts))
