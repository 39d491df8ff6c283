"""Repositories and artifacts as the portal shows them, to each role."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import expect

from tests.support.portal.pages import axe_findings
from tests.support.portal.site import Site, Visitor

Visit = Callable[..., Visitor]


def open_artifact(person: Visitor, repository: str, tag: str, project: str = "web") -> None:
    """By the way that people go: project, repository, artifact."""
    page = person.page
    page.get_by_role("link", name=project, exact=True).click()
    person.heading(project)
    page.get_by_role("link", name=f"{project}/{repository}", exact=True).click()
    person.heading(f"{project}/{repository}")
    person.row(tag).get_by_role("link").first.click()
    person.heading(f"{project}/{repository}:{tag}")


def test_developer_tags_labels_and_copies_the_pull_command(visit: Visit, site: Site) -> None:
    site.post("/labels", {"name": "reviewed", "color": "#0b6f85", "scope": "g"})
    dev = visit("dev", permissions=["clipboard-read", "clipboard-write"])
    page = dev.page
    open_artifact(dev, "backend", "latest")
    page.get_by_label("New tag").fill("stable")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("table", name="Tags")).to_contain_text("stable")

    page.get_by_role("button", name="Pull command").click()
    command = page.locator(".command").filter(has_text="podman pull").first
    expect(command).to_contain_text("/web/backend:")
    command.locator("xpath=..").get_by_role("button", name="Copy").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert re.fullmatch(
        rf"podman pull {site.url.removeprefix('https://')}/web/backend:(latest|stable)", copied
    )
    page.keyboard.press("Escape")

    page.get_by_role("link", name="backend", exact=True).click()
    dev.row("stable").get_by_label("Select row").check()
    page.get_by_role("button", name="Labels").click()
    page.get_by_role("menuitemcheckbox", name="reviewed").click()
    expect(dev.row("stable")).to_contain_text("reviewed")
    found = site.api.get("/projects/web/repositories/backend/artifacts/stable", params={"with_label": "true"})
    assert [label["name"] for label in found.json()["labels"]] == ["reviewed"]


def test_layers_history_and_configuration(visit: Visit, site: Site) -> None:
    dev = visit("dev")
    open_artifact(dev, "app/frontend", "v1.0")
    table = dev.page.get_by_role("table", name="Layers and history")
    expect(table.get_by_role("row")).to_have_count(4)
    expect(table).to_contain_text("ADD rootfs.tar /")
    expect(table.get_by_text("sha256:")).to_have_count(2)
    dev.shot("artifact")
    dev.page.get_by_role("tab", name="Annotations and configuration").click()
    expect(dev.page.get_by_text("https://git.example.com/web/app")).to_be_visible()
    expect(dev.page.get_by_text("/app/greeting")).to_be_visible()


def test_tree_of_referrers(visit: Visit) -> None:
    dev = visit("dev")
    open_artifact(dev, "app/frontend", "v1.0")
    dev.page.get_by_role("tab", name="Signatures and referrers").click()
    branch = dev.page.locator(".tree > li > ul > li")
    expect(branch.first).to_contain_text("signature.cosign")
    # The note hangs on the signature, not on the image.
    expect(branch.first.locator("ul > li")).to_have_count(1)
    dev.shot("referrers")


def test_platforms_of_an_index_lead_to_their_images(visit: Visit) -> None:
    guest = visit("guest")
    open_artifact(guest, "base", "12")
    table = guest.page.get_by_role("table", name="Platforms")
    expect(table).to_contain_text("linux/arm64")
    guest.row("linux/arm64").get_by_role("link").click()
    expect(guest.page.get_by_role("definition").filter(has_text="linux/arm64")).to_be_visible()
    expect(guest.page.get_by_role("tab", name="Layers and history")).to_be_visible()


def test_chart_shows_readme_and_values_to_anyone(visit: Visit) -> None:
    anyone = visit()
    anyone.go("/harbor/projects")
    open_artifact(anyone, "greeting", "0.1.0", "charts")
    expect(anyone.page.get_by_text("Says hello.")).to_be_visible()
    anyone.page.get_by_role("tab", name="values.yaml").click()
    expect(anyone.page.get_by_text("replicas: 3")).to_be_visible()


def test_guest_reads_and_cannot_change(visit: Visit) -> None:
    guest = visit("guest")
    page = guest.page
    open_artifact(guest, "app/frontend", "v1.1")
    for name in ("Delete", "Scan", "Make SBOM", "Add"):
        expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)
    page.get_by_role("link", name="app/frontend", exact=True).click()
    expect(guest.row("v1.1")).to_be_visible()
    expect(page.get_by_label("Select row")).to_have_count(0)


def test_scan_and_sbom(visit: Visit, site: Site) -> None:
    admin = visit("admin")
    page = admin.page
    open_artifact(admin, "app/frontend", "v1.1")
    page.get_by_role("button", name="Scan", exact=True).click()
    admin.said("Started")
    page.get_by_role("tab", name="Vulnerabilities").click()
    # No vulnerability data are imported, so a finished scan finds nothing.
    expect(page.get_by_text("No vulnerabilities").first).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="Make SBOM").click()
    page.get_by_role("tab", name="SBOM").click()
    expect(page.get_by_role("table", name="SBOM")).to_contain_text("openssl", timeout=60_000)
    admin.shot("sbom")
    page.get_by_label("Filter by package or licence").fill("zlib")
    expect(page.get_by_role("table", name="SBOM")).not_to_contain_text("openssl")
    with page.expect_download() as started:
        page.get_by_role("link", name="Download SBOM").click()
    assert "zlib1g" in started.value.path().read_text()


def test_admin_deletes_a_repository_after_being_asked(visit: Visit, site: Site) -> None:
    site.push.image("web/short-lived", "1")
    admin = visit("admin")
    page = admin.page
    page.get_by_role("link", name="web", exact=True).click()
    admin.row("web/short-lived").get_by_role("button", name="Actions").click()
    expect(page.get_by_role("menuitem").first).to_be_visible()
    assert axe_findings(page) == []
    page.get_by_role("menuitem", name="Delete").click()
    expect(page.get_by_role("menu")).to_have_count(0)
    expect(page.get_by_role("dialog")).to_be_visible()
    assert axe_findings(page) == []
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(admin.row("web/short-lived")).to_be_visible()
    admin.act("web/short-lived", "Delete")
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    admin.said("Deleted")
    expect(page.get_by_role("row").filter(has_text="web/short-lived")).to_have_count(0)
    assert site.api.get("/projects/web/repositories/short-lived").status_code == 404
