"""What the portal may cost: bytes of the first load, shifts of its layout, time of an interaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.portal.desk import Desk, open_desk
from tests.support.portal.site import Visitor

Window = Callable[..., Visitor]
KIB = 1024
MANY = 100_000
LOCALES = ["en-GB", "de-DE", "es-ES", "fr-FR", "ja-JP", "ko-KR", "pt-BR", "tr-TR", "zh-CN", "zh-TW"]

OBSERVE = """
window.shifts = 0; window.waits = [];
new PerformanceObserver(list => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifts += entry.value;
}).observe({ type: 'layout-shift', buffered: true });
// From the input to the end of its handlers, in milliseconds.
new PerformanceObserver(list => {
  for (const entry of list.getEntries())
    if (entry.interactionId) window.waits.push(entry.processingEnd - entry.startTime);
}).observe({ type: 'event', durationThreshold: 16 });
"""


@pytest.fixture(scope="module")
def root(portal_dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("budget")


@pytest.fixture(scope="module")
def desk(root: Path) -> Iterator[Desk]:
    with open_desk(root) as found:
        found.push.image("web/many", "latest")
        # Its attributes are read from the configuration when it is first listed, and copied from then on.
        found.get("/projects/web/repositories/many/artifacts")
        multiply(root / "data" / "seawall.db", "web/many")
        yield found


def multiply(path: Path, repository: str) -> None:
    """Make the repository's one artifact a hundred thousand, each with a tag."""
    with sqlite3.connect(path, timeout=60) as database:
        [(one, manifest)] = database.execute(
            "SELECT r.id, m.id FROM repositories r JOIN manifests m ON m.repository_id = r.id"
            " WHERE r.name = ?",
            (repository,),
        ).fetchall()
        columns = [row[1] for row in database.execute("PRAGMA table_info(manifests)") if row[1] != "id"]
        own = {"digest": "'sha256:' || printf('%064x', n.n)", "pushed_at": "m.pushed_at - n.n"}
        values = ", ".join(own.get(column, f"m.{column}") for column in columns)
        database.execute(
            f"WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {MANY - 1})"
            f" INSERT INTO manifests ({', '.join(columns)})"
            f" SELECT {values} FROM manifests m, n WHERE m.id = ?",
            (manifest,),
        )
        database.execute(
            "INSERT INTO tags (repository_id, name, manifest_id, pushed_at)"
            " SELECT repository_id, 'v' || id, id, pushed_at FROM manifests"
            " WHERE repository_id = ? AND id != ?",
            (one, manifest),
        )
        database.execute("UPDATE repositories SET artifact_count = ? WHERE id = ?", (MANY, one))


def transferred(page: Page, url: str) -> int:
    """Bytes that the browser receives from opening a page until it rests, headers included."""
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.setCacheDisabled", {"cacheDisabled": True})
    sizes: dict[str, float] = {}

    def finished(event: dict[str, Any]) -> None:
        sizes[event["requestId"]] = event["encodedDataLength"]

    session.on("Network.loadingFinished", finished)
    page.goto(url)
    page.wait_for_load_state("networkidle")
    session.detach()
    return round(sum(sizes.values()))


@pytest.mark.parametrize("locale", LOCALES)
def test_first_load_is_small(window: Window, desk: Desk, locale: str) -> None:
    page = window(desk.url, locale=locale, reduced_motion="no-preference").page
    page.add_init_script(OBSERVE)
    total = transferred(page, desk.url + "/account/sign-in")
    expect(page.locator("input[name=username]")).to_be_visible()
    assert 50 * KIB < total < 200 * KIB, f"{total / KIB:.0f} KiB"
    assert page.evaluate("window.shifts") < 0.05


def test_first_page_after_the_sign_in_is_small(window: Window, desk: Desk) -> None:
    window(desk.url, "admin")
    page = window(desk.url, "admin", reduced_motion="reduce").page
    total = transferred(page, desk.url + "/harbor/projects")
    assert 50 * KIB < total < 200 * KIB, f"{total / KIB:.0f} KiB"


def test_long_list_answers_at_once(window: Window, desk: Desk) -> None:
    window(desk.url, "admin")
    visitor = window(desk.url, "admin", reduced_motion="reduce")
    page = visitor.page
    page.add_init_script(OBSERVE)
    visitor.go(f"/harbor/projects/{desk.project()}/repositories/many/artifacts-tab")
    rows = page.get_by_label("Select row")
    expect(rows).to_have_count(15)
    expect(page.get_by_text("100000 in all")).to_be_visible()
    table = page.get_by_role("table", name="Artifacts")
    selected = page.get_by_role("region", name="Selection")
    tag = page.get_by_label("Filter by tag")
    steps: list[tuple[str, Callable[[], None], Locator]] = [
        ("select", lambda: page.get_by_label("Select all").check(), selected),
        ("clear", lambda: page.get_by_role("button", name="Clear selection").click(), rows.first),
        ("page", lambda: page.get_by_role("button", name="Next page").click(), rows.first),
        ("sort", lambda: page.get_by_role("button", name="Size").click(), rows.first),
        ("type", lambda: tag.press("v"), rows.first),
        ("erase", lambda: tag.press("Backspace"), rows.first),
        ("menu", lambda: page.get_by_role("button", name="Columns").click(), page.get_by_role("menu")),
    ]
    # The best of some rounds: what a busy machine adds is no fault of the page. On one that is busy for long
    # there are more.
    best: dict[str, float] = {}
    for number in range(30):
        if number >= 6 and max(best.values()) < 200:
            break
        for name, act, shown in steps:
            page.evaluate("window.waits.length = 0")
            act()
            expect(shown).to_be_visible()
            expect(table).to_have_attribute("aria-busy", "false")
            longest = max(page.evaluate("window.waits"), default=0.0)
            best[name] = min(best.get(name, longest), longest)
        page.keyboard.press("Escape")
        expect(page.get_by_role("menu")).to_have_count(0)
    assert max(best.values()) > 0
    assert max(best.values()) < 200, best
    assert page.evaluate("window.shifts") < 0.05
