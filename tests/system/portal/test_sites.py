"""The switch between two sites (active and standby), as an administrator makes it in the portal of each."""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.support.cluster import FAST
from tests.support.portal.pages import axe_findings
from tests.support.portal.site import Visitor
from tests.support.sites import Site, Sites, wait

Window = Callable[..., Visitor]
READ_ONLY = "This site is on standby"


@pytest.fixture(scope="module")
def sites(portal_dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    """Two sites (SQLite), without a witness."""
    pair = Sites(tmp_path_factory.mktemp("sites"), (None, None))
    try:
        pair.start()
        yield pair
    finally:
        pair.close()


def recovery(window: Window, site: Site) -> Visitor:
    """The administrator before the page of disaster recovery."""
    admin = window(site.url, "admin")
    admin.go("/harbor/cluster/dr")
    expect(admin.page.get_by_role("heading", name="This site", exact=True)).to_be_visible()
    return admin


def role(admin: Visitor) -> Locator:
    """The badge of the site's role."""
    return admin.page.locator(".card").filter(has_text="This site").first.locator(".status").first


def confirm(admin: Visitor, button: str, name: str, *, sure: bool = False) -> None:
    """Go through the dialog: what it asks for, and only that, opens the way."""
    admin.page.get_by_role("button", name=button).click()
    dialog = admin.page.get_by_role("dialog")
    go = dialog.get_by_role("button", name=button)
    expect(go).to_be_disabled()
    dialog.get_by_label("Type the name of this site").fill("x")
    expect(go).to_be_disabled()
    dialog.get_by_label("Type the name of this site").fill(name)
    if sure:
        expect(go).to_be_disabled()
        dialog.get_by_role("checkbox").check()
    assert axe_findings(admin.page) == []
    go.click()
    expect(dialog).to_have_count(0, timeout=60_000)


def test_planned_switch_and_the_loss_of_a_site(window: Window, sites: Sites) -> None:
    sites.a.create_user("mara", "Seawall-12345")
    sites.a.push("library/app", "v1", b"x" * 100)
    sites.caught_up(sites.b, sites.a)

    # Whoever is at the standby reads, and is told why nothing can be changed and where it can.
    mara = window(sites.b.url, "mara")
    expect(mara.page.get_by_text(READ_ONLY)).to_be_visible()
    expect(mara.page.get_by_role("link", name=sites.a.url)).to_be_visible()
    mara.page.get_by_role("link", name="library", exact=True).click()
    expect(mara.row("library/app")).to_be_visible()
    expect(mara.page.get_by_text(READ_ONLY)).to_be_visible()
    mara.go("/harbor/projects")
    mara.page.get_by_role("button", name="New project").click()
    dialog = mara.page.get_by_role("dialog")
    dialog.get_by_label("Project name").fill("mine")
    dialog.get_by_role("button", name="Create").click()
    expect(dialog.get_by_role("alert")).to_contain_text(f"writes go to {sites.a.url}")

    admin = recovery(window, sites.b)
    page = admin.page
    expect(role(admin)).to_have_text("standby")
    expect(page.get_by_text("following")).to_be_visible()
    expect(page.get_by_text("The standby is behind by")).to_be_visible()
    expect(page.get_by_role("button", name="Demote this site")).to_have_count(0)
    assert axe_findings(page) == []
    admin.shot("disaster-recovery")
    confirm(admin, "Promote this site", "b")
    expect(role(admin)).to_have_text("active")
    expect(page.get_by_text(READ_ONLY)).to_have_count(0)
    mara.page.keyboard.press("Escape")
    mara.page.reload()
    expect(mara.page.get_by_text(READ_ONLY)).to_have_count(0)

    other = recovery(window, sites.a)
    expect(role(other)).to_have_text("standby", timeout=60_000)
    expect(other.page.get_by_text(READ_ONLY)).to_be_visible()
    wait(lambda: sites.status(sites.a)["syncing"] == "following")

    # The other site is lost. Without its word a promotion is refused; with a person's it is not.
    sites.b.kill()
    other.page.get_by_role("button", name="Promote this site").click()
    dialog = other.page.get_by_role("dialog")
    dialog.get_by_label("Type the name of this site").fill("a")
    dialog.get_by_role("button", name="Promote this site").click()
    expect(dialog.get_by_role("alert")).to_contain_text(re.compile("nothing is lost only if"), timeout=60_000)
    other.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    confirm(other, "Promote without the other site", "a", sure=True)
    expect(role(other)).to_have_text("active")
    expect(other.page.get_by_text("away").first).to_be_visible()
    expect(other.page.get_by_text(READ_ONLY)).to_have_count(0)
    other.go("/harbor/projects")
    other.page.get_by_role("button", name="New project").click()
    dialog = other.page.get_by_role("dialog")
    dialog.get_by_label("Project name").fill("after")
    dialog.get_by_role("button", name="Create").click()
    other.heading("after")


def test_one_site_says_that_it_is_alone(window: Window, sites: Sites) -> None:
    admin = window(sites.a.url, "admin")
    admin.go("/harbor/cluster/peers")
    expect(admin.page.get_by_text("No peer sites")).to_be_visible()


def test_peers_are_seen_and_synced(window: Window, portal_dist: Path, tmp_path: Path) -> None:
    master = base64.b64encode(secrets.token_bytes(32)).decode()
    a, b = pair = [Site(tmp_path / name) for name in "ab"]
    for name, site, other in (("a", a, b), ("b", b, a)):
        site.environment |= {
            **FAST,
            "SEAWALL_MASTER_KEY": master,
            "SEAWALL_EXTERNAL_URL": pair[0].url,
            "SEAWALL_PEERS__NAME": name,
            "SEAWALL_PEERS__URLS": json.dumps([other.url]),
            "SEAWALL_PEERS__INTERVAL_SECONDS": "0.5",
        }
    try:
        for site in pair:
            site.launch()
        for site in pair:
            site.wait_ready()
        admin = window(pair[0].url, "admin")
        page = admin.page
        admin.go("/harbor/cluster/peers")
        peers = page.get_by_role("table", name="Peer sites")
        expect(peers).to_contain_text("reachable", timeout=60_000)
        pair[0].push("library/app", "v1", b"y" * 100)
        page.get_by_role("button", name="Sync now").click()
        admin.said("Started")
        wait(lambda: pair[1].tag("library/app", "v1").status_code == 200, pair[0].log.read_text)
        peers.get_by_role("button", name="Details").click()
        expect(page.get_by_role("table", name="Differences to b")).to_be_visible()
        expect(page.get_by_text("Nothing differs")).to_be_visible(timeout=60_000)
        assert axe_findings(page) == []
        admin.shot("peers")
        pair[1].kill()
        expect(peers).to_contain_text("away", timeout=60_000)
    finally:
        for site in pair:
            site.close()
