"""What strangers put in: long names, HTML, text from right to left, servers that fail."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, Route, expect

from tests.support.portal.desk import Desk, open_desk
from tests.support.portal.pages import go_to, quiet
from tests.support.portal.site import Visitor

Window = Callable[..., Visitor]
HOSTILE = """# Read me

<script>window.run = 1</script><img src=x onerror="window.run = 2"><p onclick='window.run = 3'>kept</p>

[link](javascript:window.run=4) **bold** <svg/onload=window.run=5> <iframe src="/harbor/projects"></iframe>
"""
ARABIC = "مرحبا بالعالم"
REPOSITORY = "r" * 100 + "/part"
TAG = "t" * 128


@pytest.fixture(scope="module")
def desk(portal_dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with open_desk(tmp_path_factory.mktemp("strangers")) as found:
        found.furnish()
        found.push.image(f"other/{REPOSITORY}", TAG)
        path = f"/projects/other/repositories/{quote(quote(REPOSITORY, safe=''))}"
        assert found.api.put(path, json={"description": HOSTILE + ARABIC}).status_code == 200
        found.make("/labels", {"name": ARABIC, "color": "#005500", "scope": "g", "description": HOSTILE})
        found.make(
            "/users",
            {
                "username": "u" * 64,
                "email": f"{'e' * 60}@example.com",
                "realname": f"<i>{ARABIC}</i>" + "n" * 60,
                "password": "Stranger12345",
            },
        )
        yield found


@pytest.fixture
def page(window: Window, desk: Desk) -> Page:
    # The fixture fails for an error of a script and for what the page's policy refused.
    return window(desk.url, "admin").page


def paths(desk: Desk) -> list[str]:
    """Pages that show a list or a long name."""
    web, other = desk.project(), desk.project("other")
    strange = f"/harbor/projects/{other}/repositories/{quote(REPOSITORY, safe='')}"
    return [
        *(
            f"/harbor/{name}"
            for name in (
                "projects",
                "logs",
                "users",
                "groups",
                "robot-accounts",
                "registries",
                "replications",
                "labels",
                "distribution/instances",
                "project-quotas",
                "interrogation-services/scanners",
                "clearing-job/gc",
                "job-service-dashboard/pending-jobs",
                "cluster/instances",
                "dashboard",
                "configs/sources",
                "search?q=r",
                f"search?q=other/{REPOSITORY}:{TAG}",
            )
        ),
        "/devcenter-api-2.0?operation=GET%20/projects",
        *(
            f"/harbor/projects/{web}/{name}"
            for name in ("repositories", "members", "labels", "tag-strategy", "robot-account", "webhook")
        ),
        f"/harbor/projects/{other}/repositories",
        f"{strange}/artifacts-tab",
        f"{strange}/info-tab",
        f"{strange}/artifacts-tab/artifacts/{TAG}",
        f"{strange}/artifacts-tab/artifacts/{TAG}?tab=built-on",
    ]


@pytest.mark.parametrize("width", [1280, 390])
def test_no_page_scrolls_sideways(page: Page, desk: Desk, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    wide = []
    for path in paths(desk):
        go_to(page, path)
        quiet(page)
        main, document = page.evaluate(
            """() => {
              const main = document.querySelector("main");
              const document_ = document.documentElement;
              return [main.scrollWidth - main.clientWidth, document_.scrollWidth - document_.clientWidth];
            }"""
        )
        if main > 0 or document > 0:
            wide.append((path, main, document))
    assert not wide


def test_html_of_a_description_does_nothing(page: Page, desk: Desk) -> None:
    other = desk.project("other")
    go_to(page, f"/harbor/projects/{other}/repositories/{quote(REPOSITORY, safe='')}/info-tab")
    prose = page.locator(".prose")
    expect(prose.get_by_role("heading", name="Read me")).to_be_visible()
    expect(prose).to_contain_text("kept")
    expect(prose).to_have_attribute("dir", "auto")
    for forbidden in ("script", "img", "svg", "iframe", "[onclick]", "a[href^=javascript]"):
        expect(prose.locator(forbidden)).to_have_count(0)
    page.wait_for_load_state("networkidle")
    assert page.evaluate("window.run") is None


def test_text_from_right_to_left_stands_apart(page: Page, desk: Desk) -> None:
    go_to(page, "/harbor/labels")
    page.get_by_role("row").filter(has_text=ARABIC).get_by_role("button", name="Actions").click()
    page.get_by_role("menuitem", name="Delete").click()
    dialog = page.get_by_role("dialog")
    # U+2068 and U+2069 hold the name together, else the question mark would stand before it.
    expect(dialog).to_contain_text(f"Delete \u2068{ARABIC}\u2069?")
    dialog.get_by_role("button", name="Cancel").click()


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_that_fails_is_said_on_every_page(page: Page, desk: Desk, status: int) -> None:
    kept = re.compile(r"/(users/current|systeminfo|ping|permissions)(\?|$)")

    def fail(route: Route) -> None:
        if kept.search(route.request.url):
            route.continue_()
        else:
            route.fulfill(status=status, body="<html>no</html>", headers={"content-type": "text/html"})

    # A balancer's 503 is asked for three times more before it is believed: a part of the pages is enough.
    chosen = paths(desk)[1:] if status == 500 else ["/harbor/users", "/harbor/labels"]
    page.route("**/api/v2.0/**", fail)
    for path in chosen:
        go_to(page, path)
        expect(page.locator("main [role=alert]").first).to_be_visible()
        expect(page.locator("main [role=status]")).to_have_count(0)
    page.unroute("**/api/v2.0/**")
    go_to(page, "/harbor/labels")
    page.locator("main").get_by_role("button", name="Try again").first.or_(
        page.get_by_role("button", name="Refresh")
    ).first.click()
    expect(page.get_by_role("row").filter(has_text="stable")).to_be_visible()
