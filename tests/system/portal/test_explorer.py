"""The API explorer: every operation, tried in the session of the person who is signed in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, Request, expect

from tests.support.portal.desk import Desk, open_desk
from tests.support.portal.site import Visitor
from tests.support.waiting import until

Window = Callable[..., Visitor]


@pytest.fixture(scope="module")
def desk(portal_dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with open_desk(tmp_path_factory.mktemp("explorer")) as found:
        found.furnish()
        yield found


def choose(page: Page, operation: str) -> None:
    """Find an operation by its words, and open it."""
    page.get_by_label("Filter operations").fill(operation)
    method, path = operation.split(" ", 1)
    button = page.get_by_role("navigation", name="Operations").get_by_role(
        "button", name=f"{method} {path}", exact=True
    )
    button.click()
    expect(button).to_have_attribute("aria-current", "true")


def test_reads_makes_and_deletes_in_the_session(window: Window, desk: Desk) -> None:
    admin = window(desk.url, "admin")
    page = admin.page
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request))
    page.get_by_role("link", name="API explorer").click()
    admin.heading("API explorer")
    document = desk.get("/openapi.json")
    operations = sum(len(item) for item in document["paths"].values())
    listed = page.get_by_role("navigation", name="Operations").get_by_role("button")
    expect(listed).to_have_count(operations)

    choose(page, "GET /labels")
    expect(page.get_by_text("Labels of a scope")).to_be_visible()
    page.get_by_label("scope").fill("g")
    page.get_by_role("button", name="Send", exact=True).click()
    answer = page.locator("section").filter(has=page.get_by_role("heading", name="Answer"))
    expect(answer).to_contain_text("200")
    expect(answer).to_contain_text("x-total-count: 1")
    expect(answer).to_contain_text('"name": "stable"')
    expect(page.locator(".command").filter(has_text="curl")).to_contain_text(
        f"curl -u 'admin' -X GET '{desk.url}/api/v2.0/labels?scope=g'"
    )
    page.locator("main").evaluate("main => main.scrollTo(0, 0)")
    admin.shot("explorer")
    # The operation is in the address.
    page.reload()
    expect(page.get_by_label("scope")).to_be_visible()

    # A change needs the session's CSRF token, which the page sends and does not show.
    choose(page, "POST /labels")
    body = page.get_by_label("Body")
    # The body begins with the members of the schema.
    expect(body).to_have_value(
        '{\n  "id": null,\n  "name": null,\n  "description": null,\n  "color": null,'
        '\n  "scope": null,\n  "project_id": null,\n  "creation_time": null,\n  "update_time": null\n}'
    )
    body.fill(json.dumps({"name": "from-the-explorer", "scope": "g"}))
    page.get_by_role("button", name="Send", exact=True).click()
    expect(answer).to_contain_text("201")
    expect(answer).to_contain_text("location: /api/v2.0/labels/")
    expect(answer).not_to_contain_text("csrf")
    [made] = desk.get("/labels?scope=g&name=from-the-explorer")

    # A refusal is shown as it came.
    page.get_by_role("button", name="Send", exact=True).click()
    expect(answer).to_contain_text("409")
    expect(answer).to_contain_text("CONFLICT")

    choose(page, "DELETE /labels/{label_id}")
    page.get_by_label("label_id").fill(str(made["id"]))
    page.get_by_role("button", name="Send", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"DELETE /api/v2.0/labels/{made['id']}")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    assert desk.get("/labels?scope=g&name=from-the-explorer")
    page.get_by_role("button", name="Send", exact=True).click()
    dialog.get_by_role("button", name="Send").click()
    expect(answer).to_contain_text("200")
    assert not desk.get("/labels?scope=g&name=from-the-explorer")
    # Nothing came from elsewhere.
    assert {request.url.split("/")[2] for request in asked} == {desk.url.split("/")[2]}


def test_names_with_slashes_and_rights_of_the_person(window: Window, desk: Desk) -> None:
    guest = window(desk.url, "guest")
    page = guest.page
    page.goto(f"{desk.url}/devcenter-api-2.0?operation=GET%20/users")
    page.get_by_role("button", name="Send", exact=True).click()
    answer = page.locator("section").filter(has=page.get_by_role("heading", name="Answer"))
    expect(answer).to_contain_text("403")
    desk.push.image("web/deep/app", "v1")
    path = "/projects/{project_name}/repositories/{repository_name}/artifacts"
    choose(page, f"GET {path}")
    page.get_by_label("project_name").fill("web")
    page.get_by_label("repository_name").fill("deep/app")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(answer).to_contain_text('"repository_name": "web/deep/app"')


def test_an_event_stream_is_shown_and_left(window: Window, desk: Desk) -> None:
    """It does not end by itself: the page shows its beginning, and keeps no stream open."""
    admin = window(desk.url, "admin")
    page = admin.page
    page.goto(f"{desk.url}/devcenter-api-2.0?operation=GET%20/seawall/events")
    page.get_by_role("button", name="Send", exact=True).click()
    answer = page.locator("section").filter(has=page.get_by_role("heading", name="Answer"))
    expect(answer).to_contain_text("event: ready", timeout=15_000)
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_enabled()
    # The one that is left is what the page itself follows.
    until(lambda: _streams(desk) <= 1, lambda: f"{_streams(desk)} streams")


def _streams(desk: Desk) -> float:
    figures = httpx.get(f"{desk.url}/metrics").text
    return sum(float(x.split()[1]) for x in figures.splitlines() if x.startswith("seawall_event_streams "))


def test_it_is_for_those_who_are_signed_in(window: Window, desk: Desk) -> None:
    nobody = window(desk.url)
    nobody.go("/devcenter-api-2.0")
    expect(nobody.page.get_by_label("User name")).to_be_visible()
    nobody.go("/harbor/projects")
    expect(nobody.page.get_by_role("link", name="API explorer")).to_have_count(0)
