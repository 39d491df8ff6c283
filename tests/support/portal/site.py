"""A registry with a portal, and somebody who visits it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Any

import httpx
from playwright.sync_api import Page, expect

from tests.support.cluster import Cluster
from tests.support.portal.images import Pusher
from tests.support.processes import PASSWORD, ROOT


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
        # Not by `expect`, which describes the whole page each time that it has to ask again.
        self.page.get_by_role("heading", name=name, level=1).wait_for()

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
