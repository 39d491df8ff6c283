"""Questions of tests to a page: faults of accessibility, and the project it shows."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

from tests.support.portal.site import Site
from tests.support.processes import ROOT

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def axe_findings(page: Page) -> list[str]:
    """What axe finds on the page as it stands, however small."""
    # Evaluated over the debugger, so the page's own policy does not forbid it.
    if not page.evaluate("typeof axe !== 'undefined'"):
        page.evaluate((ROOT / "portal/node_modules/axe-core/axe.min.js").read_text())
    found: dict[str, Any] = page.evaluate(
        """rules => axe.run(document, {
          runOnly: { type: "tag", values: rules }, resultTypes: ["violations"], preload: false,
        })""",
        RULES,
    )
    assert len(found["passes"]) > 10
    return [
        f"{page.url}: {violation['id']} ({violation['impact']}): {node['target']} {node['failureSummary']}"
        for violation in found["violations"]
        for node in violation["nodes"][:3]
    ]


def project_id(site: Site, name: str = "web") -> int:
    return int(site.api.get(f"/projects/{name}").json()["project_id"])
