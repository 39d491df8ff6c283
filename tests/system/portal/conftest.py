"""The built portal, three instances behind HAProxy, and headless Chromium."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect, sync_playwright

from seawall.availability.cluster.balancer import KINDS, Balancer
from tests.support.cluster import Cluster
from tests.support.processes import PASSWORD, ROOT, free_port
from tests.support.servers.balancers import BalancerServer
from tests.support.servers.postgres import Postgres
from tests.system.portal.images import Pusher

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# CI's machine has two cores, and the instances share them with the browser.
expect.set_options(timeout=20_000)


# Playwright's event loop is in this thread while it is open: other tests must have their turn after it.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One browser for these tests; each test opens its own contexts."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@dataclass
class Site:
    """Three instances behind HAProxy, with TLS, and the API as the administrator."""

    url: str
    cluster: Cluster
    api: httpx.Client
    push: Pusher

    def post(self, path: str, body: dict[str, Any]) -> str:
        """Make something; returns the last part of its Location."""
        answer = self.api.post(path, json=body)
        assert answer.status_code in (200, 201), answer.text
        return str(answer.headers.get("location", "")).rpartition("/")[2]


def _certificate(root: Path) -> tuple[Path, Path]:
    key, crt, both = root / "k.pem", root / "c.pem", root / "both.pem"
    subprocess.run(
        "openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=lb -addext subjectAltName=IP:127.0.0.1 "
        f"-keyout {key} -out {crt}".split(),
        check=True,
        capture_output=True,
    )
    both.write_text(crt.read_text() + key.read_text())
    return both, crt


@pytest.fixture(scope="package")
def site(portal_dist: Path, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The cluster with two projects, a developer, a guest, images, a chart and referrers."""
    root = tmp_path_factory.mktemp("portal")
    both, crt = _certificate(root)
    port = free_port()
    url = f"https://127.0.0.1:{port}"
    cluster = Cluster(
        root,
        postgres.database(),
        settings={
            "SEAWALL_EXTERNAL_URL": url,
            "SEAWALL_HTTP__TRUSTED_PROXIES": "127.0.0.1",
            "SEAWALL_CA_DOWNLOAD": str(crt),
            "SEAWALL_JOBS__EMBEDDED": "true",
            "SEAWALL_WEBHOOKS__ALLOW_NETWORKS": '["127.0.0.0/8"]',
        },
    )
    server = BalancerServer("haproxy", port)
    try:
        cluster.start()
        instances = [instance.url for instance in cluster.instances]
        server.start(KINDS["haproxy"](Balancer(url, instances, certificate=str(both))))
        api = httpx.Client(base_url=f"{url}/api/v2.0", auth=cluster.admin, verify=False, timeout=60)
        found = Site(url, cluster, api, Pusher(cluster.instances[0].url, cluster.admin))
        _seed(found)
        yield found
    finally:
        server.close()
        cluster.close()


def _seed(site: Site) -> None:
    site.post("/projects", {"project_name": "web", "metadata": {"public": "false"}})
    site.post("/projects", {"project_name": "charts", "metadata": {"public": "true"}})
    for name, role in (("dev", 2), ("guest", 3)):
        site.post(
            "/users",
            {
                "username": name,
                "email": f"{name}@example.com",
                "realname": f"{name.title()} Example",
                "password": PASSWORD,
            },
        )
        site.post("/projects/web/members", {"role_id": role, "member_user": {"username": name}})
    push = site.push
    signed = push.image("web/app/frontend", "v1.0")
    push.image("web/app/frontend", "v1.1", text="hello again")
    push.image("web/backend", "latest", text="backend")
    push.index("web/base", "12")
    signature = push.referrer(
        "web/app/frontend", signed, "application/vnd.dev.cosign.artifact.sig.v1+json", '{"signed": true}'
    )
    push.referrer("web/app/frontend", signature, "application/vnd.example.note", "a note on the signature")
    push.chart("charts/greeting", "0.1.0")


@dataclass
class Visitor:
    """A browser window of one person, and what went wrong in it."""

    page: Page
    url: str
    problems: list[str] = field(default_factory=list)

    def go(self, path: str) -> None:
        """Open a path."""
        self.page.goto(self.url + path)

    def sign_in(self, name: str, password: str = PASSWORD) -> None:
        """Sign in by the form."""
        self.go("/account/sign-in")
        self.page.get_by_label("User name").fill(name)
        self.page.get_by_label("Password", exact=True).fill(password)
        self.page.get_by_role("button", name="Sign in", exact=True).click()
        expect(self.page.get_by_role("heading", name="Projects", level=1)).to_be_visible()

    def heading(self, name: str | re.Pattern[str]) -> None:
        """Wait for the page with this heading."""
        expect(self.page.get_by_role("heading", name=name, level=1)).to_be_visible()

    def row(self, text: str) -> Any:
        """The first row of a table that holds `text`."""
        return self.page.get_by_role("row").filter(has_text=text).first

    def act(self, row: str, action: str) -> None:
        """Choose an action from the menu of a row."""
        self.row(row).get_by_role("button", name="Actions").click()
        self.page.get_by_role("menuitem", name=action, exact=True).click()

    def said(self, text: str) -> None:
        """Wait for a notice."""
        expect(self.page.get_by_role("alert").filter(has_text=text).first).to_be_visible()

    def shot(self, name: str) -> None:
        """Keep a picture for the documentation, when asked to (`make screenshots`)."""
        if os.environ.get("SEAWALL_SCREENSHOTS"):
            expect(self.page.get_by_role("status")).to_have_count(0)
            expect(self.page.locator("[aria-busy=true]")).to_have_count(0)
            self.page.wait_for_timeout(500)
            self.page.screenshot(path=ROOT / "docs" / "images" / f"portal-{name}.png")


@dataclass
class Known:
    """Who has signed in where: the form is filled in once for each, and the files are fetched once."""

    cookies: dict[tuple[str, str], Any] = field(default_factory=dict)
    profiles: dict[tuple[str, str], BrowserContext] = field(default_factory=dict)


@pytest.fixture(scope="package")
def known() -> Known:
    """What the tests of this directory share of browsers."""
    return Known()


@pytest.fixture
def window(browser: Browser, known: Known) -> Iterator[Callable[..., Visitor]]:
    """Open windows; at the end none may have met a policy violation or an error of the portal's own."""
    opened: list[tuple[BrowserContext | None, Visitor]] = []

    def profile(url: str, name: str, context: dict[str, Any]) -> BrowserContext:
        made = browser.new_context(
            storage_state=known.cookies.get((url, name)),
            ignore_https_errors=True,
            locale=context.pop("locale", "en-GB"),
            viewport={"width": 1280, "height": 800},
            **context,
        )
        made.set_default_timeout(20_000)
        return made

    def make(url: str, name: str = "", **context: Any) -> Visitor:
        # A profile with wishes of its own, or nobody's, is for this test alone.
        own = bool(context) or not name
        shared = None if own else known.profiles.get((url, name))
        browsing = shared or profile(url, name, context)
        if not own:
            known.profiles[url, name] = browsing
        visitor = Visitor(browsing.new_page(), url)

        def failed(error: Error) -> None:
            # A provider's own pages have scripts of their own.
            stack = error.stack or ""
            if url in stack or "://" not in stack:
                visitor.problems.append(f"error: {error}\n{stack}")

        visitor.page.on("pageerror", failed)
        visitor.page.on(
            "console",
            lambda message: (
                visitor.problems.append(message.text)
                if message.location["url"].startswith(url)
                and ("Content Security Policy" in message.text or "Warning:" in message.text)
                else None
            ),
        )
        opened.append((browsing if own else None, visitor))
        if name and (url, name) not in known.cookies:
            visitor.sign_in(name)
            known.cookies[url, name] = {"cookies": browsing.cookies(), "origins": []}
        elif name:
            visitor.go("/harbor/projects")
            expect(visitor.page.get_by_role("button", name=f"Account of {name}")).to_be_visible()
        return visitor

    yield make
    problems = [problem for _, visitor in opened for problem in visitor.problems]
    for own, visitor in opened:
        visitor.page.close()
        if own is not None:
            own.close()
    assert not problems, problems


@pytest.fixture
def visit(site: Site, window: Callable[..., Visitor]) -> Callable[..., Visitor]:
    """Open windows at the cluster."""
    return partial(window, site.url)
