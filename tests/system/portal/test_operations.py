"""Policies, webhooks, replication, quotas and jobs, as an administrator uses them."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from tests.support.portal.pages import project_id
from tests.support.portal.site import Site, Visitor
from tests.support.processes import PASSWORD

Visit = Callable[..., Visitor]


def test_retention_dry_run_tells_what_would_go(visit: Visit, site: Site) -> None:
    site.post("/projects", {"project_name": "nightly"})
    for number in range(4):
        site.push.image("nightly/build", f"n{number}", text=str(number))
    admin = visit("admin")
    page = admin.page
    admin.go(f"/harbor/projects/{project_id(site, 'nightly')}/tag-strategy")
    page.get_by_role("button", name="Add rule").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Number").fill("1")
    dialog.get_by_role("button", name="Save").click()
    rules = page.get_by_role("table", name="Retention rules")
    expect(rules).to_contain_text("the 1 most recently pushed artifacts")
    page.get_by_role("button", name="Dry run").click()
    runs = page.get_by_role("table", name="Retention runs")
    expect(runs.get_by_role("row").filter(has_text="Success")).to_have_count(1, timeout=60_000)
    runs.get_by_role("button", name="Details").click()
    expect(page.get_by_role("table", name="Repositories of the run")).to_contain_text("1 / 4")
    assert len(site.api.get("/projects/nightly/repositories/build/artifacts").json()) == 4


def test_immutable_tags_cannot_be_deleted(visit: Visit, site: Site) -> None:
    site.post("/projects", {"project_name": "releases"})
    site.push.image("releases/app", "v1")
    admin = visit("admin")
    page = admin.page
    admin.go(f"/harbor/projects/{project_id(site, 'releases')}/tag-strategy")
    page.get_by_role("button", name="Add rule").last.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Tag pattern").fill("v*")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_role("table", name="Immutability rules")).to_contain_text("v*")
    page.get_by_role("tab", name="Repositories").click()
    page.get_by_role("link", name="releases/app").click()
    admin.row("v1").get_by_role("link").first.click()
    expect(page.get_by_role("table", name="Tags")).to_contain_text("Immutable")
    expect(page.get_by_role("button", name="Delete tag v1")).to_be_disabled()


def test_webhook_is_made_and_switched_off(visit: Visit, site: Site) -> None:
    admin = visit("admin")
    page = admin.page
    admin.go(f"/harbor/projects/{project_id(site)}/webhook")
    page.get_by_role("button", name="New webhook").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("chat")
    dialog.get_by_role("combobox", name="Events").or_(dialog.get_by_label("Events")).first.click()
    page.locator("div[role=option]").first.click()
    dialog.get_by_label("Address").fill("https://chat.example.com/hook")
    dialog.get_by_role("button", name="Save").click()
    expect(admin.row("chat.example.com")).to_contain_text("Enabled")
    admin.act("chat.example.com", "Disable")
    expect(admin.row("chat.example.com")).to_contain_text("Disabled")
    [policy] = site.api.get("/projects/web/webhook/policies").json()
    assert policy["enabled"] is False
    assert len(policy["event_types"]) == 1


def test_replication_shows_its_progress(visit: Visit, site: Site) -> None:
    site.post("/projects", {"project_name": "mirror"})
    admin = visit("admin")
    page = admin.page
    admin.go("/harbor/registries")
    page.get_by_role("button", name="New registry").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("second")
    dialog.get_by_label("Address").fill(site.cluster.instances[2].url)
    dialog.get_by_label("Access ID").fill("admin")
    dialog.locator("input[name=access_secret]").fill(PASSWORD)
    # Tokens come from the balancer, whose certificate only this CA tells good.
    dialog.get_by_label("CA certificate").fill(site.api.get("/systeminfo/getcert").text)
    dialog.get_by_role("button", name="Test connection").click()
    admin.said("The registry answers.")
    dialog.get_by_role("button", name="Save").click()
    expect(admin.row("second")).to_be_visible()

    admin.go("/harbor/replications")
    page.get_by_role("button", name="New rule").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name", exact=False).first.fill("copy-base")
    dialog.locator("select[name=registry]").select_option(index=1)
    dialog.get_by_label("Name filter").fill("web/base")
    dialog.get_by_label("Destination namespace").fill("mirror")
    dialog.get_by_role("button", name="Save").click()
    admin.act("copy-base", "Replicate now")
    admin.said("Replication started")
    runs = page.get_by_role("table", name="Runs")
    expect(runs.get_by_role("row").filter(has_text="Succeed")).to_have_count(1, timeout=60_000)
    runs.get_by_role("button", name="Details").first.click()
    page.get_by_role("table", name="Tasks").get_by_role("button", name="Log").first.click()
    expect(page.get_by_role("log")).to_contain_text("base")
    admin.shot("replication")
    assert site.api.get("/projects/mirror/repositories/base/artifacts/12").status_code == 200


def test_quota_is_set_and_drawn(visit: Visit, site: Site) -> None:
    admin = visit("admin")
    admin.go("/harbor/project-quotas")
    admin.act("charts", "Edit")
    dialog = admin.page.get_by_role("dialog")
    dialog.get_by_label("Storage quota").fill("2")
    dialog.get_by_role("button", name="Save").click()
    table = admin.page.get_by_role("table", name="Project quotas")
    expect(table.get_by_role("row").filter(has_text="charts")).to_contain_text("of 2.00 GiB")
    expect(table.get_by_role("progressbar", name="Storage of charts")).to_have_count(1)
    assert site.api.get("/projects/charts/summary").json()["quota"]["hard"]["storage"] == 2 * 1024**3


def test_garbage_collection_runs_and_its_log_is_shown(visit: Visit) -> None:
    admin = visit("admin")
    page = admin.page
    admin.go("/harbor/clearing-job/gc")
    page.get_by_role("button", name="Collect now").click()
    page.get_by_role("dialog").get_by_role("button", name="Collect now").click()
    admin.said("Started")
    history = page.get_by_role("table", name="History")
    expect(history.get_by_role("row").filter(has_text="Success").first).to_be_visible(timeout=60_000)
    history.get_by_role("button", name="Log").first.click()
    expect(page.get_by_role("log")).not_to_be_empty()
    admin.go("/harbor/job-service-dashboard/workers")
    expect(page.get_by_role("table", name="Pools").get_by_role("row")).not_to_have_count(1)
