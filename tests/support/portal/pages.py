"""Questions of tests to a page: faults of accessibility, and the project it shows."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

from tests.support.portal.site import Site
from tests.support.processes import ROOT

RULES = {
    "type": "tag",
    "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
}
# Those of them that ask for colours: no other rule can answer otherwise when only colours change.
COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}


def axe_findings(page: Page, *, colours: bool = False) -> list[str]:
    """What axe finds on the page as it stands, however small; `colours`: by the rules of colours alone."""
    # Evaluated over the debugger, so the page's own policy does not forbid it.
    if not page.evaluate("typeof axe !== 'undefined'"):
        page.evaluate((ROOT / "portal/node_modules/axe-core/axe.min.js").read_text())
    # What passed is counted in the page: to bring it here costs as much as some of the rules.
    found: dict[str, Any] = page.evaluate(
        """async rules => {
          const found = await axe.run(document, {
            runOnly: rules, resultTypes: ["violations"], preload: false,
          });
          const ids = rules => rules.map(rule => rule.id);
          return {
            violations: found.violations,
            passes: ids(found.passes),
            answered: ids([...found.passes, ...found.incomplete, ...found.violations]),
          };
        }""",
        COLOURS if colours else RULES,
    )
    assert "color-contrast" in found["answered"]
    assert colours or len(found["passes"]) > 10
    return [
        f"{page.url}: {violation['id']} ({violation['impact']}): {node['target']} {node['failureSummary']}"
        for violation in found["violations"]
        for node in violation["nodes"][:3]
    ]


def go_to(page: Page, path: str) -> None:
    """Go to a path as a link would, without a load of the application."""
    page.evaluate(
        "path => { history.pushState({}, '', path); dispatchEvent(new PopStateEvent('popstate')) }", path
    )
    wait_in(page, "document.querySelector('main')?.dataset.path === wanted", path.partition("?")[0])


def quiet(page: Page) -> None:
    """Wait until no part of the page loads."""
    wait_in(
        page,
        "document.querySelector('main') && !document.querySelector('main [role=status], [aria-busy=true]')",
    )


def wait_in(page: Page, condition: str, wanted: str = "") -> None:
    """Wait in the page until a JavaScript expression, which may name `wanted`, is true.

    `expect` would ask over the debugger, and have the whole page described each time the answer is no. Fails
    after 30 seconds with playwright's Error.
    """
    page.evaluate(
        """wanted => new Promise((done, fail) => {
          const end = Date.now() + 30_000;
          const look = () => {
            if (CONDITION) done();
            else if (Date.now() > end) fail(new Error(`not within 30 s: ${wanted} at ${location.href}`));
            else setTimeout(look, 30);
          };
          look();
        })""".replace("CONDITION", condition),
        wanted,
    )


def project_id(site: Site, name: str = "web") -> int:
    return int(site.api.get(f"/projects/{name}").json()["project_id"])
