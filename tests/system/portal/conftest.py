"""The built portal, three instances behind HAProxy, and headless Chromium."""

from __future__ import annotations

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
from tests.support.portal.images import Pusher
from tests.support.portal.site import Site, Visitor
from tests.support.processes import PASSWORD, free_port
from tests.support.servers.balancers import BalancerServer
from tests.support.servers.postgres import Postgres

CHROMIUM = "/usr/bin/chromium-headless-shell"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Pages of one profile share a process, which has the portal's scripts compiled already.
    "--renderer-process-limit=1",
]
# How many profiles keep a process for the next page.
WARM = 3
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
        postgres.migrated(),
        settings={
            "SEAWALL_EXTERNAL_URL": url,
            "SEAWALL_HTTP__TRUSTED_PROXIES": "127.0.0.1",
            "SEAWALL_CA_DOWNLOAD": str(crt),
            "SEAWALL_JOBS__EMBEDDED": "true",
            # Nothing here waits for new keys, and nine processes would look for them.
            "SEAWALL_KEYS__POLL_SECONDS": "2",
            "SEAWALL_KEYS__PUBLISH_SECONDS": "4",
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
class Known:
    """Who has signed in where: the form is filled in once for each, and the files are fetched once."""

    cookies: dict[tuple[str, str], Any] = field(default_factory=dict)
    profiles: dict[tuple[str, str], BrowserContext] = field(default_factory=dict)
    warm: list[Page] = field(default_factory=list)

    def keep_warm(self, browsing: BrowserContext, url: str) -> None:
        """Leave a page open that does nothing, so that a profile's process does not end with each test."""
        page = browsing.new_page()
        page.goto(f"{url}/portal/logo.svg")
        self.warm.append(page)
        if len(self.warm) > WARM:
            self.warm.pop(0).close()


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
            reduced_motion=context.pop("reduced_motion", "reduce"),
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
            if shared is None:
                known.keep_warm(browsing, url)
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
            visitor.page.get_by_role("button", name=f"Account of {name}").wait_for()
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
