"""The overview, where a CVE or a layer is, and lists by what scans and signatures say."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.portal.desk import Desk, open_desk
from tests.support.portal.images import CONFIG, INDEX, LAYER, MANIFEST, layer
from tests.support.portal.pages import axe_findings
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
def root(portal_dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("overview")


@pytest.fixture(scope="module")
def desk(root: Path) -> Iterator[Desk]:
    with (
        open_desk(root) as found,
        spec.Adapter(spec.TRIVY, [FOUND]).serve() as adapter,
    ):
        scanner = found.make("/scanners", {"name": "adapter", "url": adapter.url, "use_internal_addr": True})
        assert found.api.patch(f"/scanners/{scanner}", json={"is_default": True}).status_code == 200
        one = "/projects/web/repositories/app/artifacts/v3"
        assert found.api.post(f"{one}/scan", json={"scan_type": "vulnerability"}).status_code == 202
        until(lambda: found.get("/security/summary")["high_cnt"])
        signed = found.push.image("web/app", "signed", text="signed")
        found.push.referrer(
            "web/app", signed, "application/vnd.dev.cosign.artifact.sig.v1+json", '{"signed": true}'
        )
        build(found)
        yield found


def build(desk: Desk) -> None:
    """A base of one layer, and an index of two images that are built on it, in another project."""
    bottom = layer({"base": "shared"})

    def image(repository: str, tag: str | None, *layers: bytes) -> dict[str, Any]:
        config = {"architecture": "amd64", "os": "linux"}
        body = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": desk.push.blob(repository, json.dumps(config).encode(), CONFIG),
            "layers": [desk.push.blob(repository, data, LAYER) for data in layers],
        }
        return desk.push.manifest(repository, body, tag)

    image("web/base", "12", bottom)
    images = [
        {
            **image("other/deep/tool", None, bottom, layer({"arch": name})),
            "platform": {"os": "linux", "architecture": name},
        }
        for name in ("amd64", "arm64")
    ]
    desk.push.manifest("other/deep/tool", {"schemaVersion": 2, "mediaType": INDEX, "manifests": images}, "v1")
    image("other/plain", "v2", bottom, layer({"arch": "none"}))


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


def test_storage_over_time(window: Window, desk: Desk, root: Path) -> None:
    """A line for all projects and for each, and for a project its own; a table has the same figures."""
    web, today = desk.project(), datetime.now(UTC).date()
    with sqlite3.connect(root / "data" / "seawall.db", timeout=60) as database:
        for back, used in ((60, 1024), (30, 3 * 1024), (1, 2 * 1024 * 1024)):
            row = (web, (today - date(1970, 1, 1)).days - back, used)
            database.execute("INSERT INTO storage_days (project_id, day, used) VALUES (?, ?, ?)", row)

    def said(back: int) -> str:
        """A day as the page writes it."""
        moment = today - timedelta(days=back)
        return f"{moment.day} {moment:%b} {moment.year}".replace(" Sep ", " Sept ")

    admin = window(desk.url, "admin")
    page = admin.page
    page.get_by_role("link", name="Overview").click()
    card = page.locator("section").filter(has=page.get_by_role("heading", name="Storage over time"))
    lines = card.get_by_role("img")
    # All projects, and each of the three.
    expect(lines).to_have_count(4)
    expect(lines.first).to_have_attribute(
        "aria-label", re.compile(rf"^1\.00 KiB on {said(60)}, .* KiB on {said(0)}$")
    )
    expect(card.get_by_role("listitem").filter(has_text="web")).to_contain_text("KiB")
    # The line goes from the left to the right, and is highest where most was stored.
    line = lines.first.locator("polyline").get_attribute("points") or ""
    points = [tuple(float(part) for part in point.split(",")) for point in line.split()]
    assert [round(x) for x, _ in points] == [0, 50, 98, 100]
    assert min(points, key=lambda point: point[1]) == points[2]
    expect(card.get_by_role("table")).to_have_count(0)
    card.get_by_role("button", name="Show the figures").click()
    rows = card.get_by_role("table", name="Storage over time").get_by_role("row")
    expect(rows).to_have_count(5)
    expect(rows.first).to_contain_text("All projects")
    expect(rows.nth(2)).to_have_text(re.compile(rf"^{said(1)}2\.00 MiB2\.00 MiB––$"))
    assert axe_findings(page) == []
    card.get_by_role("button", name="Hide the figures").click()
    expect(card.get_by_role("table")).to_have_count(0)
    card.get_by_role("link", name="web").click()
    # The project's own.
    admin.go(f"/harbor/projects/{web}/summary")
    expect(lines).to_have_count(1)
    expect(lines).to_have_attribute("aria-label", re.compile(rf"^1\.00 KiB on {said(60)}, "))
    card.get_by_role("button", name="Show the figures").click()
    expect(rows).to_have_count(5)
    expect(rows.nth(3)).to_have_text(f"{said(30)}3.00 KiB")
    assert axe_findings(page) == []


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


def test_where_a_layer_is_and_what_is_built_on_an_image(window: Window, desk: Desk) -> None:
    admin = window(desk.url, "admin")
    page = admin.page
    web = desk.project()
    page.goto(f"{desk.url}/harbor/projects/{web}/repositories/base/artifacts-tab/artifacts/12?tab=built-on")
    table = page.get_by_role("table", name="Images built on web/base:12")
    expect(table.get_by_role("row")).to_have_count(3)
    index = table.get_by_role("row").filter(has_text="other/deep/tool")
    expect(index).to_contain_text("v1")
    # Platform images are in the row of their index.
    index.get_by_role("link", name="linux/arm64").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("other/deep/tool@sha256:")
    # From the layer of an artifact to every artifact that has it.
    page.get_by_role("table", name="Layers").get_by_role("link").first.click()
    holders = page.get_by_role("table", name="Artifacts with this layer")
    expect(holders.get_by_role("row")).to_have_count(4)
    for name in ("web/base", "other/deep/tool", "other/plain"):
        expect(holders).to_contain_text(name)
    admin.shot("layer")
    # The palette and the search know digests and images.
    digest = re.search(r"sha256(:|%3A)([0-9a-f]{64})", page.url)
    assert digest
    for words, option in (
        (f"sha256:{digest[2]}", f"Where is layer sha256:{digest[2][:12]}?"),
        ("web/base:12", "What is built on web/base:12?"),
    ):
        page.keyboard.press("Control+K")
        page.get_by_role("combobox", name="Go to a page, a project or a repository").fill(words)
        page.get_by_role("option", name=option).click()
        expect(page.get_by_text(f"Results for “{words}”")).to_be_visible()
    built = page.get_by_role("table", name="Images built on web/base:12")
    expect(built).to_contain_text("other/plain")
    page.goto(f"{desk.url}/harbor/search?q=sha256:{'0' * 64}")
    expect(page.get_by_text("No artifact that you may see has it")).to_be_visible()
    page.goto(f"{desk.url}/harbor/search?q=other/plain:v2")
    expect(page.get_by_text("No image that you may see is built on it")).to_be_visible()
    page.goto(f"{desk.url}/harbor/search?q=web/base:13")
    expect(page.get_by_role("alert")).to_contain_text("Not found")


def test_artifacts_by_signature_and_severity(window: Window, desk: Desk) -> None:
    page = window(desk.url, "admin").page
    web = desk.project()
    start = f"{desk.url}/harbor/projects/{web}/repositories/app/artifacts-tab"
    page.goto(start)
    table = page.get_by_role("table", name="Artifacts")
    foot = page.locator(".table-foot")
    expect(foot).to_contain_text("19 in all")
    for label, choice, address, count in (
        ("Signed", "Signed", "signed=yes", 1),
        ("Signed", "Unsigned", "signed=no", 18),
        ("Signed", "Signed and unsigned", "", 19),
        ("Severity", "High or worse", "severity=High", 1),
        ("Severity", "Critical", "severity=Critical", 0),
        ("Severity", "Not scanned", "severity=unscanned", 18),
    ):
        page.get_by_label(label, exact=True).select_option(label=choice)
        if count:
            expect(foot).to_contain_text(f"{count} in all")
        else:
            expect(page.get_by_text("No artifact matches")).to_be_visible()
        assert page.url.partition("?")[2] == address
    # Both filters, another page, and Back and reload show what the address says.
    page.get_by_label("Signed", exact=True).select_option(label="Unsigned")
    expect(foot).to_contain_text("17 in all")
    page.get_by_role("button", name="Next page").click()
    expect(table.get_by_role("row")).to_have_count(3)
    page.reload()
    expect(table.get_by_role("row")).to_have_count(3)
    expect(page.get_by_label("Severity", exact=True)).to_have_value("unscanned")
    page.get_by_label("Severity", exact=True).select_option(label="Low or worse")
    expect(foot).to_contain_text("1 in all")
    expect(table).to_contain_text("v3")
    page.go_back()
    expect(foot).to_contain_text("17 in all")
    expect(table.get_by_role("row")).to_have_count(3)
