"""The portal's event stream, what it does without it, and the event log."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from tests.support.events import PATH, Listener, listening_to
from tests.support.portal.pages import project_id
from tests.support.portal.site import Site, Visitor

Visit = Callable[..., Visitor]


@contextmanager
def _streaming(page: Page) -> Iterator[None]:
    """What opens the page; then wait until it follows the stream."""
    with page.expect_response(lambda answer: answer.url.endswith(PATH) and answer.status == 200):
        yield


def test_a_push_appears_by_itself(visit: Visit, site: Site) -> None:
    site.post("/projects", {"project_name": "watched"})
    site.push.image("watched/app", "v1")
    admin = visit("admin")
    page = admin.page
    with _streaming(page):
        admin.go(f"/harbor/projects/{project_id(site, 'watched')}/repositories/app/artifacts-tab")
        expect(page.get_by_role("table", name="Artifacts")).to_contain_text("v1")
    site.push.image("watched/app", "v2", text="another")
    expect(page.get_by_role("table", name="Artifacts")).to_contain_text("v2")
    digest = site.api.get("/projects/watched/repositories/app/artifacts/v2").json()["digest"]
    site.api.delete(f"/projects/watched/repositories/app/artifacts/{digest}").raise_for_status()
    expect(page.get_by_role("table", name="Artifacts")).not_to_contain_text("v2")


def test_nothing_is_asked_again_and_again_while_the_stream_is_there(visit: Visit, site: Site) -> None:
    admin = visit("admin")
    page = admin.page
    with _streaming(page):
        admin.go("/harbor/job-service-dashboard/pending-jobs")
    page.wait_for_timeout(1000)
    asked: list[str] = []
    page.on(
        "request", lambda request: asked.append(request.url) if "/jobservice/queues" in request.url else None
    )
    page.wait_for_timeout(11_000)
    # Every five seconds without it; a job of the others that share the site may be told of.
    told = len(asked)
    body = {"schedule": {"type": "Manual"}, "parameters": {"dry_run": True}}
    with page.expect_request(lambda request: "/jobservice/queues" in request.url, timeout=15_000):
        site.post("/system/gc/schedule", body)
    assert told <= 8


def test_without_the_stream_the_portal_asks(visit: Visit, site: Site) -> None:
    refused: list[str] = []

    def refuse(route: Route) -> None:
        refused.append(route.request.url)
        error = {"errors": [{"code": "TOO_MANY_REQUESTS", "message": "too many event streams"}]}
        route.fulfill(status=429, json=error, headers={"Retry-After": "1"})

    visitor = visit("admin")
    page = visitor.page
    page.route(f"**{PATH}", refuse)
    visitor.go("/harbor/job-service-dashboard/pending-jobs")
    page.wait_for_timeout(4000)
    assert refused
    asked: list[str] = []
    page.on(
        "request", lambda request: asked.append(request.url) if "/jobservice/queues" in request.url else None
    )
    page.wait_for_timeout(12_000)
    assert len(asked) >= 2
    # What is refused is no fault that people need to know of.
    visitor.problems = [one for one in visitor.problems if "429" not in one]


def test_a_session_that_ends_elsewhere_shows_at_once(window: Callable[..., Visitor], site: Site) -> None:
    visitor = window(site.url, reduced_motion="reduce")
    page = visitor.page
    with _streaming(page):
        visitor.sign_in("dev")
    cookies = {item["name"]: item["value"] for item in page.context.cookies()}
    httpx.get(f"{site.url}/c/log_out", cookies=cookies, verify=False)
    expect(page.get_by_role("dialog")).to_be_visible()


def _told(stream: Listener) -> bool:
    return any(one["repository"] == "web/told" for one in stream.changes("artifact"))


def test_every_instance_says_what_another_one_did(site: Site) -> None:
    """Through the balancer, and at each of them."""
    auth = site.cluster.admin
    with listening_to(site.url, auth=auth, verify=False) as stream:
        site.push.image("web/told", "one", text="told")
        stream.wait(partial(_told, stream))
    for instance in site.cluster.instances:
        with listening_to(instance.url, auth=auth) as stream:
            site.push.image("web/told", instance.url.rpartition(":")[2], text=instance.url)
            stream.wait(partial(_told, stream))


def _log(page: Page) -> Any:
    page.locator(".event-log-button").click()
    return page.get_by_role("dialog").get_by_role("list", name="Event log")


def test_the_event_log_keeps_what_was_done_in_bulk(visit: Visit, site: Site) -> None:
    site.post("/projects", {"project_name": "bulk"})
    for number in (1, 2, 3):
        site.push.image("bulk/app", f"v{number}", text=f"bulk {number}")
    number = project_id(site, "bulk")
    rule = {
        "action": "immutable",
        "template": "immutable_template",
        "scope_selectors": {
            "repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]
        },
        "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "v2"}],
    }
    site.post(f"/projects/{number}/immutabletagrules", rule)
    admin = visit("admin")
    page = admin.page
    admin.go(f"/harbor/projects/{number}/repositories/app/artifacts-tab")
    page.get_by_label("Select all").check()
    page.get_by_role("region", name="Selection").get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("table", name="Artifacts").get_by_role("row")).to_have_count(2)
    rows = _log(page).get_by_role("listitem")
    expect(rows).to_have_count(1)
    for text in ("Delete", "Failed", "3 of 3", "Could not delete v2"):
        expect(rows.first).to_contain_text(text)
    page.reload()
    rows = _log(page).get_by_role("listitem")
    expect(rows.first).to_contain_text("Could not delete v2")
    panel = page.get_by_role("dialog")
    panel.get_by_role("radio", name="Running").locator("xpath=following-sibling::label").click()
    expect(rows).to_have_count(0)
    panel.get_by_role("button", name="Clear finished").click()
    expect(panel.get_by_text("What you start in this window is listed here")).to_be_visible()


def test_the_event_log_follows_a_job_to_its_end(visit: Visit, site: Site) -> None:
    admin = visit("admin")
    page = admin.page
    admin.go("/harbor/clearing-job/gc")
    page.get_by_role("button", name="Dry run").click()
    rows = _log(page).get_by_role("listitem")
    expect(rows.first).to_contain_text("Garbage collection Dry run")
    expect(rows.first).to_contain_text("Success", timeout=60_000)
    [kept] = [
        item
        for item in json.loads(page.evaluate("sessionStorage.getItem('seawall-operations')"))["all"]
        if item["label"] == "Garbage collection"
    ]
    assert kept["state"] == "done"


@pytest.mark.parametrize("name", ["dev"])
def test_what_the_page_did_itself_ends_with_the_page(visit: Visit, site: Site, name: str) -> None:
    visitor = visit(name)
    page = visitor.page
    visitor.go("/harbor/projects")
    expect(page.get_by_role("heading", name="Projects", level=1)).to_be_visible()
    owner = page.evaluate("fetch('/api/v2.0/users/current').then(r => r.json()).then(u => u.user_id)")
    started = {"id": "1", "label": "Delete", "target": "a", "state": "running", "errors": [], "started": 1}
    kept = json.dumps({"owner": owner, "all": [started]})
    page.evaluate("kept => sessionStorage.setItem('seawall-operations', kept)", kept)
    page.reload()
    rows = _log(page).get_by_role("listitem")
    expect(rows.first).to_contain_text("Interrupted: the page was left.")
    # Nobody else sees what somebody did before.
    page.evaluate(
        "kept => sessionStorage.setItem('seawall-operations', kept)", kept.replace(str(owner), "9999")
    )
    page.reload()
    expect(_log(page).get_by_role("listitem")).to_have_count(0)
