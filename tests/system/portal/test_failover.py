"""An instance is killed under a signed-in user, who notices nothing but a moment's wait."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from tests.support.portal.site import Site, Visitor

Visit = Callable[..., Visitor]


def test_session_outlives_the_instance_that_made_it(visit: Visit, site: Site) -> None:
    dev, admin = visit("dev"), visit("admin")
    admin.go("/harbor/cluster")
    table = admin.page.get_by_role("table", name="Instances")
    expect(table.get_by_role("row")).to_have_count(4)
    victim = site.cluster.instances[1]
    victim.kill()
    try:
        # Reads and a change, at once: some of them meet the dead instance first.
        dev.page.get_by_role("link", name="web", exact=True).click()
        expect(dev.row("web/backend")).to_be_visible()
        dev.go("/harbor/profile")
        dev.page.get_by_label("Comment").fill("still here")
        dev.page.get_by_role("button", name="Save").click()
        dev.said("Saved")
        expect(dev.page.get_by_role("button", name="Account of dev")).to_be_visible()
        for _ in range(4):
            dev.page.reload()
            dev.heading("Profile")
        expect(dev.page.get_by_label("Comment")).to_have_value("still here")
        # The cluster page finds out by itself, and the check goes on with those that live.
        expect(table.get_by_role("row").filter(has_text="dead")).to_have_count(1, timeout=60_000)
        admin.page.get_by_role("button", name="Check now").click()
        expect(admin.page.get_by_text("2 pairs of instances were tested")).to_be_visible(timeout=60_000)
        admin.shot("cluster-one-dead")
    finally:
        victim.start()
    expect(table.get_by_role("row").filter(has_text="ok")).to_have_count(3, timeout=60_000)
