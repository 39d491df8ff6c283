"""axe (WCAG 2.2 A and AA, best practices) on every page and dialog: light, dark, in Chinese, on a phone.

Every state is judged by all rules in the light scheme, in Chinese and on a phone; in the dark scheme by the
rules of colours, since nothing but colours differs from the light one (`test_schemes_differ_in_colours_only`
holds that; what every page has, and the pages before the sign-in, are judged by all rules there too). The
light walk does both: the page that it has judged turns dark, and is judged again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.support.portal.desk import Desk, open_desk
from tests.support.portal.pages import axe_findings, go_to, quiet, wait_in
from tests.support.portal.site import Visitor
from tests.support.processes import ROOT

Window = Callable[..., Visitor]
SOURCES = ROOT / "portal/src"

ADMINISTRATION = [
    "/harbor/projects",
    "/harbor/search?q=web",
    "/harbor/search?q=sha256:" + "0" * 64,
    "/harbor/search?q=web/app:v1",
    "/devcenter-api-2.0",
    "/devcenter-api-2.0?operation=POST%20/projects",
    "/harbor/logs",
    "/harbor/dashboard",
    "/harbor/profile",
    "/device",
    "/oauth/authorize",
    "/harbor/users",
    "/harbor/groups",
    "/harbor/robot-accounts",
    "/harbor/registries",
    "/harbor/replications",
    "/harbor/labels",
    "/harbor/distribution/instances",
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
    "/harbor/configs/sources",
    "/harbor/configs/setting",
    "/harbor/configs/security",
    "/harbor/cluster/instances",
    "/harbor/cluster/dr",
    "/harbor/cluster/peers",
    "/harbor/none",
]
PROJECT = "/harbor/projects/{p}"
IN_PROJECT = [
    "summary",
    "repositories",
    "members",
    "labels",
    "scanner",
    "tag-strategy",
    "robot-account",
    "webhook",
    "p2p-provider",
    "logs",
    "configs",
]
REPOSITORY = PROJECT + "/repositories/app"
IN_REPOSITORY = [
    REPOSITORY,
    f"{REPOSITORY}/artifacts-tab",
    f"{REPOSITORY}/info-tab",
    f"{REPOSITORY}/compare?from=v1&to=v2",
    *(
        f"{REPOSITORY}/artifacts-tab/artifacts/v1?tab={tab}"
        for tab in ("layers", "vulnerabilities", "sbom", "accessories", "built-on", "annotations")
    ),
    PROJECT + "/repositories/multi/artifacts-tab/artifacts/1?tab=platforms",
    PROJECT + "/repositories/greeting/artifacts-tab/artifacts/0.1.0",
]
PAGES = [*ADMINISTRATION, *(f"{PROJECT}/{tab}" for tab in IN_PROJECT), *IN_REPOSITORY]
# Pages without a frame, visited by those who have not signed in.
OUTSIDE = ["/account/sign-in", "/oidc-onboard"]

# Path, the row (or nothing), and what opens a dialog there.
DIALOGS: list[tuple[str, str | None, str]] = [
    ("/harbor/projects", None, "New project"),
    ("/harbor/projects", "other", "Delete"),
    ("/harbor/profile", None, "New token"),
    ("/harbor/users", None, "New user"),
    ("/harbor/users", "guest", "Set password"),
    ("/harbor/users", "guest", "Identities"),
    ("/harbor/configs/sources", None, "New source"),
    ("/harbor/users", "guest", "Make administrator"),
    ("/harbor/groups", None, "New group"),
    ("/harbor/groups", "makers", "Edit"),
    ("/harbor/robot-accounts", None, "New robot account"),
    ("/harbor/robot-accounts", "nightly", "Edit"),
    ("/harbor/robot-accounts", "nightly", "New secret"),
    ("/harbor/registries", None, "New registry"),
    ("/harbor/registries", "upstream", "Edit"),
    ("/harbor/replications", None, "New rule"),
    ("/harbor/replications", "mirror", "Edit"),
    ("/harbor/labels", None, "New label"),
    ("/harbor/labels", "stable", "Edit"),
    ("/harbor/distribution/instances", None, "New instance"),
    ("/harbor/distribution/instances", "swarm", "Edit"),
    ("/harbor/project-quotas", "web", "Edit"),
    ("/harbor/interrogation-services/scanners", None, "New scanner"),
    ("/harbor/interrogation-services/security-hub", None, "New export"),
    (f"{PROJECT}/members", None, "Add member"),
    (f"{PROJECT}/members", "guest", "Remove"),
    (f"{PROJECT}/labels", None, "New label"),
    (f"{PROJECT}/tag-strategy", "kept-*", "Edit"),
    (f"{PROJECT}/robot-account", "builder", "Edit"),
    (f"{PROJECT}/webhook", None, "New webhook"),
    (f"{PROJECT}/webhook", "hook", "Edit"),
    (f"{PROJECT}/p2p-provider", None, "New policy"),
    (f"{PROJECT}/p2p-provider", "warm", "Edit"),
    (f"{PROJECT}/repositories", "app", "Delete"),
    (f"{PROJECT}/repositories", None, "Push command"),
    (f"{REPOSITORY}/artifacts-tab", "v17", "Copy to another repository"),
    (f"{REPOSITORY}/artifacts-tab", "v17", "Delete"),
    (f"{REPOSITORY}/artifacts-tab", None, "Columns"),
    ("/harbor/projects", None, "Language"),
]
# The page has a scheme, and no colour is on its way from the other one.
SHOWN = """document.documentElement.dataset.mantineColorScheme === wanted
  && !document.getAnimations().some(one => one instanceof CSSTransition)"""
# In the first, each state is seen in both schemes.
MODES = ["light-and-dark", "chinese", "phone"]


@pytest.fixture(scope="module")
def desk(portal_dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with open_desk(tmp_path_factory.mktemp("axe")) as found:
        found.furnish()
        found.push.index("web/multi", "1")
        found.push.chart("web/greeting", "0.1.0")
        yield found


class Walk:
    """A visitor in one mode, and the words of that mode's language."""

    def __init__(self, visitor: Visitor, mode: str) -> None:
        self.visitor, self.page, self.mode = visitor, visitor.page, mode
        self.found: list[str] = []
        self._words: dict[str, str] = {}
        if mode == "phone":
            self.page.set_viewport_size({"width": 390, "height": 844})
        if mode == "chinese":
            self.page.evaluate("localStorage.setItem('seawall-language', 'zh')")
            self.page.reload()
            lines = (SOURCES / "i18n/zh.ts").read_text()
            pairs = re.findall(r'^  (?:"(.+?)"|(\w+)):\s+"(.+)",$', lines, re.MULTILINE)
            self._words = {quoted or plain: text for quoted, plain, text in pairs}

    def word(self, text: str) -> str:
        """The text in the language of the page."""
        return self._words[text] if self.mode == "chinese" else text

    def settle(self, path: str) -> None:
        """Go to a path as a link would, without a load of the application, and wait until all is there."""
        go_to(self.page, path)
        quiet(self.page)

    def look(self, name: str, *, whole: bool = False) -> None:
        """Run axe on the page as it stands, in each scheme of the mode; `whole`: by all rules in the dark."""
        self._judge("light" if self.mode == "light-and-dark" else self.mode, name)
        if self.mode == "light-and-dark":
            self.page.emulate_media(color_scheme="dark")
            wait_in(self.page, SHOWN, "dark")
            self._judge("dark", name, colours=not whole)
            self.page.emulate_media(color_scheme="light")
            wait_in(self.page, SHOWN, "light")

    def _judge(self, mode: str, name: str, *, colours: bool = False) -> None:
        findings = axe_findings(self.page, colours=colours)
        self.found += [f"{mode}, {name}: {finding}" for finding in findings]

    def opener(self, row: str | None, name: str) -> Locator:
        """The button or the menu's entry that opens a dialog."""
        if row is None:
            return self.page.get_by_role("button", name=self.word(name), exact=True).first
        line = self.page.get_by_role("row").filter(has_text=row).first
        line.get_by_role("button", name=self.word("Actions"), exact=True).click()
        return self.page.get_by_role("menuitem", name=self.word(name), exact=True)


@pytest.fixture(params=MODES)
def walk(request: pytest.FixtureRequest, window: Window, desk: Desk) -> Walk:
    # A profile of its own where the language is chosen, which the profile remembers.
    wishes = {"color_scheme": "light"} if request.param == "chinese" else {}
    return Walk(window(desk.url, "admin", **wishes), request.param)


def test_the_list_of_pages_is_whole() -> None:
    source = (SOURCES / "app.tsx").read_text()
    routes = set(re.findall(r'<Route\s+path="(/[^"]+)"', source)) - {"/", "/harbor", "/*"}
    shown = [path.partition("?")[0].format(p="1") for path in [*PAGES, *OUTSIDE]]
    missing = []
    for route in routes:
        # A part that may be left out is there or is not.
        pattern = re.sub(r"/:\w+\\\?|/:\w+\?", "(/[^/]+)?", route)
        pattern = re.sub(r":\w+", "[^/]+", pattern)
        if not any(re.fullmatch(pattern, path) for path in shown):
            missing.append(route)
    assert not missing
    tabs = re.findall(r'^    id: "([\w-]+)",$', (SOURCES / "features/projects/page.tsx").read_text(), re.M)
    assert set(tabs) == set(IN_PROJECT)
    for page in SOURCES.glob("features/*/page.tsx"):
        for tab in re.findall(r'<Tabs\.Tab value="([\w-]+)"', page.read_text()):
            assert any(tab in path for path in PAGES), f"no test looks at the tab {tab}"


def test_schemes_differ_in_colours_only(portal_dist: Path) -> None:
    asking = {
        path.relative_to(SOURCES).as_posix()
        for path in SOURCES.rglob("*.tsx")
        if re.search(r"(Computed|Mantine)ColorScheme\b|(light|dark)Hidden|prefers-color", path.read_text())
    }
    # The button in every page's header, and the dialog of preferences.
    assert asking == {"components/looks.tsx", "features/account/preferences.tsx"}
    found = 0
    for sheet in portal_dist.glob("assets/*.css"):
        text = sheet.read_text()
        assert "prefers-color-scheme" not in text
        for selector, body in re.findall(r"([^{}]*data-mantine-color-scheme[^{}]*)\{([^{}]*)\}", text):
            if re.search(r"mantine-(light|dark)-hidden", selector):
                continue
            for line in filter(None, body.split(";")):
                name, _, value = line.partition(":")
                colour = name.endswith(("color", "background", "box-shadow", "color-scheme"))
                colour = colour or (name == "border" and value.strip().startswith("1px solid "))
                # A variable of another kind would have a length, or a number alone.
                variable = name.startswith("--") and not re.search(r"^[\d.]+$|\d(px|r?em)\b", value)
                assert colour or variable, f"{selector}: {line}"
                found += 1
    assert found > 50


# In parts: a busy machine takes seconds for each page.
PARTS = {"administration": ADMINISTRATION, "project": PAGES[len(ADMINISTRATION) :]}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", PARTS)
def test_no_finding_on_any_page(walk: Walk, desk: Desk, part: str) -> None:
    for path in PARTS[part]:
        walk.settle(path.format(p=desk.project()))
        walk.look(path)
    assert not walk.found, "\n".join(walk.found)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", [0, 1])
def test_no_finding_in_any_dialog(walk: Walk, desk: Desk, part: int) -> None:
    page = walk.page
    shown = page.locator("[role=dialog], [role=menu]")
    for path, row, name in DIALOGS[part::2]:
        walk.settle(path.format(p=desk.project()))
        walk.opener(row, name).click()
        expect(shown.first).to_be_visible()
        walk.look(f"{path}, {name}")
        page.keyboard.press("Escape")
        expect(shown).to_have_count(0)
    assert not walk.found, "\n".join(walk.found)


# As the portal keeps it: something that runs, something that failed, something that is done.
OPERATIONS = """
const started = Date.now();
const one = (label, state, more) => (
  { id: label, label, target: "web/app:v1", state, errors: [], started, ...more });
sessionStorage.setItem("seawall-operations", JSON.stringify({ owner: 1, all: [
  one("Scan", "running", {
    follow: { template: "/retentions/{id}/executions", options: { path: { id: 0 } }, id: 0 },
    done: 1,
    total: 3,
  }),
  one("Delete", "failed", { errors: ["Could not delete v1: the tag is immutable"], done: 2, total: 2 }),
  one("Copy", "done", {}),
] }));
"""


def test_no_finding_in_the_event_log(walk: Walk) -> None:
    page = walk.page
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.evaluate(OPERATIONS)
    page.reload()
    page.locator(".event-log-button").click()
    panel = page.get_by_role("dialog")
    expect(panel.get_by_role("listitem")).to_have_count(3)
    walk.look("event log")
    page.keyboard.press("Escape")
    expect(panel).to_have_count(0)
    assert not walk.found, "\n".join(walk.found)


def test_no_finding_in_what_every_page_has(walk: Walk) -> None:
    page = walk.page
    shown = page.locator("[role=dialog], [role=menu]")
    # The keys are heard once the page is there.
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.keyboard.press("Control+K")
    expect(page.get_by_role("listbox")).to_be_visible()
    walk.look("command palette", whole=True)
    page.keyboard.press("Escape")
    for entry in ("Preferences", "About Seawall"):
        page.locator(".user-button").click()
        page.get_by_role("menuitem", name=walk.word(entry)).click()
        expect(page.get_by_role("dialog")).to_be_visible()
        walk.look(entry, whole=True)
        page.keyboard.press("Escape")
        expect(shown).to_have_count(0)
    assert not walk.found, "\n".join(walk.found)


@pytest.mark.parametrize("mode", ["light-and-dark", "phone"])
def test_no_finding_before_the_sign_in(window: Window, desk: Desk, mode: str) -> None:
    walk = Walk(window(desk.url), mode)
    for path in OUTSIDE:
        walk.visitor.go(path)
        expect(walk.page.get_by_role("heading", level=1)).to_be_visible()
        expect(walk.page.get_by_role("status")).to_have_count(0)
        walk.look(path, whole=True)
    assert not walk.found, "\n".join(walk.found)
