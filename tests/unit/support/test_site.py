"""The documentation as a site: a whole navigation, links and anchors that lead somewhere, generated pages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.support import log_events, reference
from tests.support.pages import pages
from tests.support.processes import ROOT


class _Loader(yaml.SafeLoader):
    """Reads mkdocs.yml without MkDocs: its tags name functions of packages that need not be there."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)
CONFIG: dict[str, Any] = yaml.load((ROOT / "mkdocs.yml").read_text(), _Loader)
HOOK = (ROOT / ".ci" / "site.py").read_text()
# Pages of the site that are files outside docs/.
OUTSIDE = dict(re.findall(r'"([\w/]+\.md)": "([\w-]+\.md)",', HOOK))
DECISIONS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs/decisions").glob("*.md"))
# Where a link may start: each page that a reader can open.
SOURCES = [*pages(), *DECISIONS, *(name for name in OUTSIDE if name not in pages())]


def _leaves(item: Any) -> Iterator[str]:
    if isinstance(item, str):
        yield item
    else:
        for inner in item.values() if isinstance(item, dict) else item:
            yield from _leaves(inner)


def _slug(title: str) -> str:
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", title).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def _prose(name: str) -> str:
    return re.sub(r"^ *```.*?^ *```$", "", (ROOT / name).read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(name: str) -> set[str]:
    """The anchors that a forge and the site give the titles of a page."""
    seen: Counter[str] = Counter()
    found = set()
    for title in re.findall(r"^#+ (.+)$", _prose(name), re.MULTILINE):
        slug = _slug(title)
        found.add(slug if not seen[slug] else f"{slug}-{seen[slug]}")
        seen[slug] += 1
    return found


def test_every_page_is_in_the_navigation_once() -> None:
    shown = list(_leaves(CONFIG["nav"]))
    assert [name for name, times in Counter(shown).items() if times > 1] == []
    inside = {name.removeprefix("docs/") for name in [*pages(), *DECISIONS] if name.startswith("docs/")}
    assert set(shown) == (inside - {"README.md"}) | set(OUTSIDE.values())
    assert [next(iter(group)) for group in CONFIG["nav"]] == [
        "Start",
        "Guides",
        "Reference",
        "Explain",
        "Develop",
    ]


def test_the_build_is_strict() -> None:
    assert CONFIG["strict"] is True
    assert set(CONFIG["validation"]["links"].values()) == {"warn"}
    assert "make site" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("name", SOURCES)
def test_links_and_anchors_lead_somewhere(name: str) -> None:
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", _prose(name)):
        path, _, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        file = (ROOT / name).parent / path if path else ROOT / name
        if not file.exists():
            wrong.append(f"{target}: there is no such file")
        elif anchor and anchor not in anchors(str(file.resolve().relative_to(ROOT))):
            wrong.append(f"{target}: no title there gives this anchor")
    assert wrong == []


@pytest.mark.parametrize("name", reference.PAGES)
def test_pages_made_from_the_code_are_true(name: str) -> None:
    assert (reference.FOLDER / name).read_text() == reference.PAGES[name](), (
        "run: python -m tests.support.reference"
    )


def test_log_events_are_those_of_the_source() -> None:
    assert log_events.PAGE.read_text() == log_events.page(), "run: python -m tests.support.log_events"


def test_every_setting_is_described() -> None:
    assert [name for name, field in reference.fields() if not field.description] == []


def test_the_metrics_page_is_complete() -> None:
    """What docs/metrics.md explains exists, and what exists is on the reference page."""
    made = reference.metrics()
    explained = set(
        re.findall(r"`((?:seawall|harbor|registry)_[a-z_]+)`", (ROOT / "docs/metrics.md").read_text())
    )
    # Named there because Seawall does not have it.
    explained -= {"registry_http_in_flight_requests"}
    assert {name for name in explained if f"| `{name}` |" not in made} == set()


def _figure(page: str, row: str, column: int) -> float:
    text = (ROOT / "docs" / page).read_text()
    line = next(line for line in text.splitlines() if line.startswith(f"| {row}"))
    return float(line.strip("| ").split(" | ")[column].removesuffix(" s"))


def test_the_bounds_of_the_choice_are_those_that_were_measured() -> None:
    """docs/choose-ha.md promises no more than the last measurements gave."""
    choice = (ROOT / "docs" / "choose-ha.md").read_text()
    promoted = "kill -9 the PostgreSQL primary"
    assert "reads out for at most 2 s, writes 2 s" in choice
    assert max(_figure("ha-results.md", promoted, 3), _figure("ha-results.md", promoted, 4)) <= 2
    assert "lost: 0" in (ROOT / "docs" / "ha-results.md").read_text()
    planned, cut, killed = "planned switch", "the active is cut off", "the active is killed"
    assert "0 s planned; at most 1 s of a killed site; at most 5 s of one that is cut off" in choice
    assert _figure("dr-results.md", planned, 1) == 0
    assert _figure("dr-results.md", killed, 1) <= 1
    assert _figure("dr-results.md", cut, 1) <= 5
    assert "at most 3 s planned; at most 6 s with a lease of 4 s" in choice
    assert _figure("dr-results.md", planned, 4) <= 3
    assert max(_figure("dr-results.md", cut, 4), _figure("dr-results.md", killed, 4)) <= 6
