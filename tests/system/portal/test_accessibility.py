"""axe (axe-core, WCAG 2.2 A and AA) on every page, light and dark, and the first page's size."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import expect

from tests.support.portal.pages import serious
from tests.support.portal.site import Site, Visitor

Visit = Callable[..., Visitor]
BUDGET = 250 * 1024

PAGES = [
    "/harbor/projects",
    "/harbor/logs",
    "/harbor/users",
    "/harbor/groups",
    "/harbor/robot-accounts",
    "/harbor/registries",
    "/harbor/replications",
    "/harbor/labels",
    "/harbor/project-quotas",
    "/harbor/interrogation-services/scanners",
    "/harbor/interrogation-services/vulnerability",
    "/harbor/interrogation-services/security-hub",
    "/harbor/clearing-job/gc",
    "/harbor/clearing-job/audit-log-purge",
    "/harbor/job-service-dashboard/pending-jobs",
    "/harbor/job-service-dashboard/schedules",
    "/harbor/job-service-dashboard/workers",
    "/harbor/configs/auth",
    "/harbor/configs/setting",
    "/harbor/cluster",
    "/harbor/cluster/dr",
    "/harbor/cluster/peers",
    "/harbor/profile",
    "/harbor/search?q=web",
    "/harbor/none",
]
DARK = [
    "/harbor/projects",
    "/harbor/logs",
    "/harbor/robot-accounts",
    "/harbor/project-quotas",
    "/harbor/interrogation-services/security-hub",
    "/harbor/clearing-job/gc",
    "/harbor/configs/setting",
    "/harbor/cluster",
    "/harbor/cluster/dr",
]
TABS = [
    "summary",
    "repositories",
    "members",
    "labels",
    "scanner",
    "tag-strategy",
    "robot-account",
    "webhook",
    "logs",
    "configs",
]


def settle(person: Visitor, path: str) -> None:
    """Go to a path as a link would, without loading the application again, and wait until nothing loads."""
    person.page.evaluate(
        "path => { history.pushState({}, '', path); dispatchEvent(new PopStateEvent('popstate')) }", path
    )
    expect(person.page.locator("main")).to_have_attribute("data-path", path.partition("?")[0])
    quiet(person)


def quiet(person: Visitor) -> None:
    """Wait until no part of the page loads."""
    expect(person.page.get_by_role("status")).to_have_count(0)
    expect(person.page.locator("[aria-busy=true]")).to_have_count(0)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_finding(visit: Visit, site: Site, scheme: str) -> None:
    project = site.api.get("/projects/web").json()["project_id"]
    admin = visit("admin", color_scheme=scheme, reduced_motion="reduce")
    # Dark differs in colours only, so the pages that have all of them are enough.
    pages, tabs = (PAGES, TABS) if scheme == "light" else (DARK, TABS[:3])
    paths = [*pages, *(f"/harbor/projects/{project}/{tab}" for tab in tabs)]
    repository = f"/harbor/projects/{project}/repositories/app%2Ffrontend"
    digest = site.api.get("/projects/web/repositories/app%252Ffrontend/artifacts/v1.0").json()["digest"]
    paths += [
        f"{repository}/artifacts-tab",
        f"{repository}/info-tab",
        f"{repository}/artifacts-tab/artifacts/{digest}",
    ]
    findings: list[str] = []
    for path in paths:
        settle(admin, path)
        findings += serious(admin.page)
    for tab in ("Vulnerabilities", "SBOM", "Signatures and referrers", "Annotations and configuration"):
        admin.page.get_by_role("tab", name=tab).click()
        quiet(admin)
        findings += serious(admin.page)
    assert not findings, "\n".join(findings)


@pytest.mark.timeout(600)
def test_no_serious_finding_in_dialogs_and_login(visit: Visit, site: Site) -> None:
    admin = visit("admin", reduced_motion="reduce")
    findings: list[str] = []
    for path, button in (
        ("/harbor/projects", "New project"),
        ("/harbor/users", "New user"),
        ("/harbor/robot-accounts", "New robot account"),
        ("/harbor/registries", "New registry"),
        ("/harbor/replications", "New rule"),
        ("/harbor/labels", "New label"),
    ):
        settle(admin, path)
        admin.page.get_by_role("button", name=button).click()
        expect(admin.page.get_by_role("dialog")).to_be_visible()
        findings += serious(admin.page)
        admin.page.keyboard.press("Escape")
        expect(admin.page.get_by_role("dialog")).to_have_count(0)
    anyone = visit()
    anyone.go("/account/sign-in")
    expect(anyone.page.get_by_label("User name")).to_be_visible()
    findings += serious(anyone.page)
    assert not findings, "\n".join(findings)


@pytest.mark.parametrize("path", ["/account/sign-in", "/harbor/projects"])
def test_first_page_is_small(visit: Visit, path: str) -> None:
    anyone = visit()
    loaded: list[str] = []
    anyone.page.on("response", lambda response: loaded.append(response.url))
    anyone.go(path)
    anyone.page.wait_for_load_state("networkidle")
    own = {url for url in loaded if "/portal/" in url or url.endswith(path)}
    assert any(url.endswith(".js") for url in own)
    assert any(url.endswith(".css") for url in own)
    total = 0
    with httpx.Client(verify=False) as client:
        for url in own:
            with client.stream("GET", url, headers={"Accept-Encoding": "gzip"}) as answer:
                assert answer.status_code == 200
                total += len(b"".join(answer.iter_raw()))
    assert total < BUDGET, f"{total} bytes"
