"""What people expect of a console: lists, labels, scans, comparisons, undo, exports, preferences."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.p2p import Network
from tests.support.portal.desk import Desk, open_desk
from tests.support.portal.images import INDEX
from tests.support.portal.site import Visitor
from tests.support.processes import PASSWORD
from tests.support.scan import spec
from tests.support.waiting import until

Window = Callable[..., Visitor]
NOTES = "application/vnd.example.notes"
CYCLONEDX = "application/vnd.cyclonedx+json"
# The adapter's answer that the report comes later (seconds): a scan without an end.
AGAIN = 1


def report(*findings: tuple[str, str]) -> dict[str, Any]:
    """A scanner's report of CVEs and their severities."""
    return {
        "generated_at": "2026-01-02T03:04:05.678Z",
        "artifact": {"repository": "web/app", "digest": "sha256:0"},
        "scanner": spec.TRIVY["scanner"],
        "severity": "High",
        "vulnerabilities": [
            {
                "id": name,
                "package": "openssl",
                "version": "3.0.11",
                "fix_version": "3.0.12",
                "severity": severity,
                "links": None,
            }
            for name, severity in findings
        ],
    }


def scanned(desk: Desk, count: int) -> bool:
    return bool(desk.get("/security/summary")["scanned_cnt"] == count)


@pytest.fixture(scope="module")
def desk(portal_dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    reports: list[Any] = [
        report(("CVE-2024-0001", "High"), ("CVE-2024-0002", "Low")),
        report(("CVE-2024-0002", "Low"), ("CVE-2024-0003", "Critical")),
        *[AGAIN] * 600,
    ]
    with (
        open_desk(tmp_path_factory.mktemp("console")) as found,
        spec.Adapter(spec.TRIVY, reports).serve() as adapter,
    ):
        found.furnish()
        found.make(
            "/users",
            {"username": "lead", "email": "l@example.com", "realname": "L", "password": PASSWORD},
        )
        found.make("/projects/web/members", {"role_id": 1, "member_user": {"username": "lead"}})
        scanner = found.make("/scanners", {"name": "adapter", "url": adapter.url, "use_internal_addr": True})
        assert found.api.patch(f"/scanners/{scanner}", json={"is_default": True}).status_code == 200
        for count, tag in enumerate(("v1", "v2"), 1):
            one = f"/projects/web/repositories/app/artifacts/{tag}"
            assert found.api.post(f"{one}/scan", json={"scan_type": "vulnerability"}).status_code == 202
            until(partial(scanned, found, count))
        yield found


@pytest.fixture
def admin(window: Window, desk: Desk) -> Visitor:
    return window(desk.url, "admin")


def repository(desk: Desk, name: str, tail: str = "artifacts-tab") -> str:
    return f"/harbor/projects/{desk.project()}/repositories/{name}/{tail}"


def card(page: Page, title: str) -> Any:
    return page.locator("section").filter(has=page.get_by_role("heading", name=title, exact=True))


def test_index_opens_in_the_list_with_its_attestations_folded(admin: Visitor, desk: Desk) -> None:
    push = desk.push
    images = [
        {
            **push.image("web/multi", None, text=name, architecture=name),
            "platform": {"os": "linux", "architecture": name},
        }
        for name in ("amd64", "arm64")
    ]
    attestation = {
        **push.image("web/multi", None, text="attestation", architecture="unknown"),
        "platform": {"os": "unknown", "architecture": "unknown"},
        "annotations": {
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": images[0]["digest"],
        },
    }
    push.manifest(
        "web/multi",
        {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*images, attestation]},
        "v1",
    )
    admin.go(repository(desk, "multi"))
    page = admin.page
    row = admin.row("v1")
    expect(row.locator(".chip")).to_have_text(["linux/amd64", "linux/arm64"])
    row.get_by_role("button", name="Details").click()
    parts = page.get_by_role("table", name="Platforms")
    expect(parts.get_by_role("row")).to_have_count(3)
    first = parts.get_by_role("row").filter(has_text="linux/amd64")
    expect(first).to_contain_text(attestation["digest"][7:19])
    expect(parts.get_by_role("row").filter(has_text="linux/arm64")).not_to_contain_text(
        attestation["digest"][7:19]
    )
    row.get_by_role("button", name="Details").click()
    expect(parts).to_have_count(0)


def test_filters_by_type_tag_and_label(admin: Visitor, desk: Desk) -> None:
    push, page = desk.push, admin.page
    for tag in ("1.0", "1.1", "2.0"):
        push.image("web/mixed", tag, text=tag)
    push.image("web/mixed", None, text="no tag")
    push.chart("web/mixed", "0.1.0")
    [stable] = [label for label in desk.get("/labels?scope=g") if label["name"] == "stable"]
    labels = "/projects/web/repositories/mixed/artifacts/2.0/labels"
    assert desk.api.post(labels, json={"id": stable["id"]}).status_code == 200
    admin.go(repository(desk, "mixed"))
    foot = page.locator(".table-foot")
    expect(foot).to_contain_text("5 in all")
    for label, choice, count in (
        ("Type", "CHART", 1),
        ("Type", "IMAGE", 4),
        ("Type", "", 5),
        ("Tagged", "no", 1),
        ("Tagged", "yes", 4),
        ("Tagged", "", 5),
        ("Label", str(stable["id"]), 1),
    ):
        page.get_by_label(label, exact=True).select_option(choice)
        expect(foot).to_contain_text(f"{count} in all")
    expect(admin.row("2.0")).to_contain_text("stable")
    page.get_by_label("Label", exact=True).select_option("")
    page.get_by_label("Filter by tag").fill("1.")
    # The chart's tag has it too.
    expect(foot).to_contain_text("3 in all")


def test_columns_are_chosen_and_kept(window: Window, desk: Desk) -> None:
    admin = window(desk.url, "admin")
    page = admin.page
    subject = desk.push.image("web/columns", "v1")
    desk.push.referrer("web/columns", subject, CYCLONEDX, json.dumps({"bomFormat": "CycloneDX"}))
    admin.go(repository(desk, "columns"))
    expect(page.get_by_role("columnheader", name="SBOM")).to_be_visible()
    expect(admin.row("v1").locator("[data-label=SBOM]")).to_have_text("SBOM")
    page.get_by_role("button", name="Columns").click()
    for name in ("Size", "SBOM"):
        page.get_by_role("menuitemcheckbox", name=name).click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("columnheader", name="SBOM")).to_have_count(0)
    page.reload()
    expect(page.get_by_role("columnheader", name="Pushed")).to_be_visible()
    for name in ("Size", "SBOM"):
        expect(page.get_by_role("columnheader", name=name)).to_have_count(0)


def test_labels_for_several_artifacts_at_once(admin: Visitor, desk: Desk) -> None:
    page = admin.page
    for number in range(3):
        desk.push.image("web/bulk", f"b{number}", text=f"bulk {number}")
    admin.go(repository(desk, "bulk"))
    for number in range(3):
        admin.row(f"b{number}").get_by_label("Select row").check()
    selection = page.get_by_role("region", name="Selection")
    expect(selection).to_contain_text("3 selected")
    selection.get_by_role("button", name="Labels").click()
    page.get_by_role("menuitemcheckbox", name="stable").click()
    for number in range(3):
        expect(admin.row(f"b{number}")).to_contain_text("stable")
    rows = desk.get("/projects/web/repositories/bulk/artifacts?with_label=true")
    assert [[label["name"] for label in row["labels"]] for row in rows] == [["stable"]] * 3
    # One more time takes it off all.
    expect(page.get_by_role("menuitemcheckbox", name="stable")).to_be_checked()
    page.get_by_role("menuitemcheckbox", name="stable").click()
    expect(admin.row("b0")).not_to_contain_text("stable")
    # And on the artifact's own page.
    page.keyboard.press("Escape")
    admin.row("b1").get_by_role("link").first.click()
    admin.heading("web/bulk:b1")
    page.get_by_role("button", name="Labels").click()
    page.get_by_role("menuitemcheckbox", name="local").click()
    until(lambda: desk.get("/projects/web/repositories/bulk/artifacts/b1?with_label=true").get("labels"))


def test_a_deleted_tag_is_put_back(admin: Visitor, desk: Desk) -> None:
    page = admin.page
    digest = desk.push.image("web/undo", "first")["digest"]
    path = "/projects/web/repositories/undo/artifacts"
    assert desk.api.post(f"{path}/first/tags", json={"name": "second"}).status_code == 201
    admin.go(repository(desk, "undo", "artifacts-tab/artifacts/first"))
    page.get_by_role("button", name="Delete tag second").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    admin.said("The tag second is deleted.")
    assert desk.api.get(f"{path}/second").status_code == 404
    page.get_by_role("button", name="Undo").click()
    admin.said("Tag added")
    assert desk.get(f"{path}/second")["digest"] == digest


def test_what_differs_between_two_tags(admin: Visitor, desk: Desk) -> None:
    page = admin.page
    path = "/projects/web/repositories/app/artifacts"
    for tag, version in (("v1", "3.0.11"), ("v2", "3.0.12")):
        found = desk.get(f"{path}/{tag}")
        packages = [
            {"type": "library", "name": "openssl", "version": version},
            {"type": "library", "name": "zlib", "version": "1.2.13"},
        ]
        subject = {
            "mediaType": found["manifest_media_type"],
            "digest": found["digest"],
            "size": len(desk.api.get(f"{path}/{tag}/additions/manifest").content),
        }
        document = {"bomFormat": "CycloneDX", "specVersion": "1.5", "components": packages}
        desk.push.referrer("web/app", subject, CYCLONEDX, json.dumps(document))
    admin.go(repository(desk, "app", "artifacts-tab?page_size=25"))
    for tag in ("v1", "v2"):
        page.get_by_role("row").filter(has=page.get_by_role("link", name=tag, exact=True)).get_by_label(
            "Select row"
        ).check()
    page.get_by_role("link", name="Compare").click()
    admin.heading("v1 and v2")
    vulnerabilities = card(page, "Vulnerabilities")
    expect(vulnerabilities).to_contain_text("2 differ, 1 are the same")
    rows = vulnerabilities.get_by_role("row")
    expect(rows.filter(has_text="CVE-2024-0001")).to_contain_text("Removed")
    expect(rows.filter(has_text="CVE-2024-0003")).to_contain_text("Added")
    packages_card = card(page, "Packages")
    expect(packages_card).to_contain_text("1 differ, 1 are the same")
    expect(packages_card.get_by_role("row").filter(has_text="openssl")).to_contain_text("3.0.12")
    expect(card(page, "Layers")).to_contain_text("2 differ, 1 are the same")
    expect(card(page, "Configuration")).to_contain_text("Nothing differs")


def test_a_scan_is_stopped(admin: Visitor, desk: Desk) -> None:
    page = admin.page
    desk.push.image("web/slow", "v1", text="slow")
    admin.go(repository(desk, "slow"))
    admin.act("v1", "Scan")
    admin.said("Started")
    expect(admin.row("v1").locator("[data-status=Running]")).to_be_visible(timeout=60_000)
    admin.act("v1", "Stop scan")
    admin.said("Stopped")
    expect(admin.row("v1").locator("[data-status=Stopped]")).to_be_visible(timeout=60_000)
    # A scan that has ended can begin again, and there is nothing to stop.
    admin.row("v1").get_by_role("button", name="Actions").click()
    expect(page.get_by_role("menuitem", name="Scan", exact=True)).to_be_visible()
    expect(page.get_by_role("menuitem", name="Stop scan")).to_have_count(0)


def test_chart_with_dependencies_and_a_readme(admin: Visitor, desk: Desk) -> None:
    page = admin.page
    lines = (
        "dependencies:\n"
        "  - {name: postgresql, version: 12.1.0, repository: 'https://charts.example.com'}\n"
        "  - {name: redis, version: ~17, repository: 'oci://127.0.0.1/charts'}\n"
    )
    desk.push.chart("web/shop", "1.0.0", dependencies=lines)
    admin.go(repository(desk, "shop", "artifacts-tab/artifacts/1.0.0"))
    # Markdown is shown as such, YAML with its keys apart.
    expect(page.locator(".prose").get_by_role("heading", name="Greeting")).to_be_visible()
    page.get_by_role("tab", name="values.yaml").click()
    expect(page.locator(".yaml-key")).to_have_text("replicas")
    page.get_by_role("tab", name="dependencies").click()
    table = page.get_by_role("table", name="Dependencies")
    expect(table.get_by_role("row")).to_have_count(3)
    expect(table.get_by_role("row").filter(has_text="postgresql")).to_contain_text("12.1.0")
    expect(table.get_by_role("row").filter(has_text="redis")).to_contain_text("oci://127.0.0.1/charts")


def test_project_administrator_exports_findings(window: Window, desk: Desk) -> None:
    lead = window(desk.url, "lead")
    page = lead.page
    lead.go(f"/harbor/projects/{desk.project()}/scanner")
    page.get_by_role("button", name="New export").click()
    dialog = page.get_by_role("dialog")
    # The project is this one.
    expect(dialog.get_by_label("Project")).to_have_count(0)
    dialog.get_by_label("Repositories").fill("app")
    dialog.get_by_role("button", name="Start").click()
    exports = page.get_by_role("table", name="CSV exports")
    expect(exports).to_contain_text("Success", timeout=60_000)
    with page.expect_download() as started:
        exports.get_by_role("link", name="Download").click()
    text = started.value.path().read_text()
    assert {"CVE-2024-0001", "CVE-2024-0003"} <= set(re.findall(r"CVE-\d+-\d+", text))
    # Who may not export is not offered it.
    guest = window(desk.url, "guest")
    guest.go(f"/harbor/projects/{desk.project()}/scanner")
    expect(guest.page.get_by_text("Scanner of this project")).to_be_visible()
    expect(guest.page.get_by_role("button", name="New export")).to_have_count(0)


def test_banner_has_a_kind_and_days(admin: Visitor, desk: Desk) -> None:
    page = admin.page
    today = datetime.date.today()
    banner = page.get_by_role("alert").filter(has_text="Maintenance")

    def day(label: str, offset: int) -> None:
        page.get_by_label(label).fill(str(today + datetime.timedelta(days=offset)))

    def save() -> None:
        page.get_by_role("button", name="Save").click()
        admin.said("Saved")
        page.reload()
        expect(page.get_by_label("Banner message")).to_have_value("Maintenance")

    admin.go("/harbor/configs/setting")
    page.get_by_label("Banner message").fill("Maintenance")
    page.get_by_label("Banner type").select_option("danger")
    page.get_by_label("People may close the banner").check()
    day("Show the banner from", -1)
    day("Show the banner until", 1)
    save()
    stored = json.loads(desk.get("/configurations")["banner_message"]["value"])
    assert (stored["type"], stored["closable"]) == ("danger", True)
    expect(banner).to_be_visible()
    banner.get_by_role("button").click()
    expect(banner).to_have_count(0)
    for first, last in ((1, 2), (-3, -2)):
        day("Show the banner from", first)
        day("Show the banner until", last)
        save()
        expect(banner).to_have_count(0)
    # The last day counts whole.
    day("Show the banner until", 0)
    save()
    expect(banner).to_be_visible()
    assert desk.api.put("/configurations", json={"banner_message": ""}).status_code == 200


def test_preferences_are_kept_and_about_names_the_registry(window: Window, desk: Desk) -> None:
    admin = window(desk.url, "admin")
    page = admin.page

    def choose(entry: str) -> Any:
        page.get_by_role("button", name="Account of admin").click()
        page.get_by_role("menuitem", name=entry).click()
        return page.get_by_role("dialog")

    dialog = choose("Preferences")
    dialog.get_by_label("Dates").select_option("iso")
    dialog.get_by_label("Client of pull commands").select_option("crane")
    page.keyboard.press("Escape")
    admin.go(repository(desk, "app"))
    page.reload()
    expect(admin.row("v9").locator("time").first).to_have_text(
        re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
    )
    admin.row("v9").get_by_role("button", name="Pull command").click()
    expect(page.locator(".command").first).to_contain_text("crane pull")
    page.keyboard.press("Escape")
    dialog = choose("About Seawall")
    expect(dialog).to_contain_text(desk.get("/systeminfo")["harbor_version"])
    expect(dialog.get_by_role("link", name="OpenAPI document")).to_be_visible()


def test_members_are_found_as_one_types(admin: Visitor, desk: Desk) -> None:
    page = admin.page
    admin.go(f"/harbor/projects/{desk.project('other')}/members")
    page.get_by_role("button", name="Add member").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("User name").press_sequentially("gue")
    page.get_by_role("option", name="guest", exact=True).click()
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(admin.row("guest")).to_be_visible()
    page.get_by_role("searchbox", name="Filter by name").fill("nobody-like-this")
    expect(page.get_by_text("No member matches")).to_be_visible()
    # Projects too.
    admin.go("/harbor/projects")
    page.get_by_role("searchbox", name="Filter by name").fill("oth")
    expect(page.get_by_role("link", name="other", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="web", exact=True)).to_have_count(0)


def test_preheating_is_started_and_its_execution_followed(admin: Visitor, desk: Desk) -> None:
    page = admin.page
    network = Network()
    try:
        desk.make(
            "/p2p/preheat/instances",
            {"name": "peers", "vendor": "dragonfly", "endpoint": network.url, "enabled": True},
        )
        admin.go("/harbor/distribution/instances")
        expect(admin.row("peers")).to_contain_text("Enabled")
        admin.go(f"/harbor/projects/{desk.project()}/p2p-provider")
        page.get_by_role("button", name="New policy").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Name").fill("nightly")
        number = str(desk.get("/p2p/preheat/instances/peers")["id"])
        dialog.get_by_label("Instance").select_option(number)
        dialog.get_by_label("Repositories").fill("app")
        dialog.get_by_label("Tags").fill("v1")
        dialog.get_by_role("button", name="Save").click()
        admin.act("nightly", "Preheat now")
        admin.said("Started")
        admin.row("nightly").get_by_role("button", name="Details").click()
        history = page.get_by_role("table", name="Execution history")
        expect(history.locator("[data-status=Success]").first).to_be_visible(timeout=120_000)
        history.get_by_role("button", name="Details").first.click()
        page.get_by_role("table", name="Tasks").get_by_role("button", name="Log").first.click()
        expect(page.get_by_role("log")).not_to_be_empty()
        assert network.jobs
    finally:
        network.close()
