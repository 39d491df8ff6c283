"""Where an administrator begins: the overview, and where a CVE is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.portal.desk import Desk, open_desk
from tests.support.portal.site import Visitor
from tests.support.scan import spec
from tests.support.waiting import until

Window = Callable[..., Visitor]
FOUND: dict[str, Any] = {
    "generated_at": "2026-01-02T03:04:05.678Z",
    "artifact": {"repository": "web/app", "digest": "sha256:0"},
    "scanner": spec.TRIVY["scanner"],
    "severity": "High",
    "vulnerabilities": [
        {
            "id": "CVE-2024-4242",
            "package": "openssl",
            "version": "3.0.11",
            "fix_version": "3.0.12",
            "severity": "High",
            "links": None,
        }
    ],
}


@pytest.fixture(scope="module")
def desk(portal_dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with (
        open_desk(tmp_path_factory.mktemp("overview")) as found,
        spec.Adapter(spec.TRIVY, [FOUND]).serve() as adapter,
    ):
        scanner = found.make("/scanners", {"name": "adapter", "url": adapter.url, "use_internal_addr": True})
        assert found.api.patch(f"/scanners/{scanner}", json={"is_default": True}).status_code == 200
        one = "/projects/web/repositories/app/artifacts/v3"
        assert found.api.post(f"{one}/scan", json={"scan_type": "vulnerability"}).status_code == 202
        until(lambda: found.get("/security/summary")["high_cnt"])
        yield found


def test_overview_has_charts_with_their_numbers(window: Window, desk: Desk) -> None:
    admin = window(desk.url, "admin")
    page = admin.page
    page.get_by_role("link", name="Overview").click()
    admin.heading("Overview")
    severities = page.locator("section").filter(has=page.get_by_role("heading", name="By severity"))
    expect(severities.get_by_role("img")).to_have_attribute("aria-label", "High: 1")
    expect(severities).to_contain_text("High 1")
    pushes = page.locator("section").filter(has=page.get_by_role("heading", name="Recent pushes"))
    expect(pushes.get_by_role("listitem")).to_have_count(8)
    expect(pushes).to_contain_text("web/app")
    storage = page.locator("section").filter(has=page.get_by_role("heading", name="Where the storage goes"))
    expect(storage.get_by_role("listitem").filter(has_text="web")).to_contain_text("KiB")
    instances = page.locator("section").filter(has=page.get_by_role("heading", name="Instances"))
    expect(instances.get_by_role("listitem").first).to_be_visible()
    admin.shot("overview")


def test_where_a_cve_is(window: Window, desk: Desk) -> None:
    page = window(desk.url, "admin").page
    page.keyboard.press("Control+K")
    page.get_by_role("combobox", name="Go to a page, a project or a repository").fill("cve-2024-4242")
    page.get_by_role("option", name="Where is cve-2024-4242?").click()
    table = page.get_by_role("table", name="Artifacts with CVE-2024-4242")
    expect(table).to_contain_text("openssl 3.0.11")
    expect(table).to_contain_text("v3")
    table.get_by_role("link").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("web/app:v3")
    page.goto(f"{desk.url}/harbor/search?q=CVE-1999-0001")
    expect(page.get_by_text("No scanned artifact has it")).to_be_visible()
