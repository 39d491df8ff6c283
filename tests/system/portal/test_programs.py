"""What a person does about programs: a token, letting a device in, and a second factor."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from seawall.access.second_factor import code_at
from tests.support.portal.pages import axe_findings
from tests.support.portal.site import Visitor
from tests.support.processes import PASSWORD
from tests.support.registry import Registry

Window = Callable[..., Visitor]
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture
def registry_with_portal(portal_dist: Path, tmp_path: Path) -> Iterator[Registry]:
    settings = {"SEAWALL_HTTP__WORKERS": "1", "SEAWALL_JOBS__EMBEDDED": "false"}
    registry = Registry(tmp_path / "data", settings)
    registry.start()
    try:
        registry.api("POST", "/users", json={"username": "ann", "password": PASSWORD})
        yield registry
    finally:
        registry.close()


def test_tokens_devices_and_second_factor(window: Window, registry_with_portal: Registry) -> None:
    url = registry_with_portal.url

    def ask(path: str, **fields: str) -> httpx.Response:
        return httpx.post(url + path, data={"client_id": "seawall-cli", **fields}, timeout=60)

    def works(secret: str) -> bool:
        return httpx.get(f"{url}/v2/", auth=("ann", secret), timeout=60).status_code == 200

    person = window(url, "ann")
    page = person.page
    person.go("/harbor/profile")
    page.get_by_role("button", name="New token").click()
    page.get_by_role("dialog").get_by_label("Name").fill("laptop")
    page.get_by_role("button", name="Create", exact=True).click()
    token = page.get_by_role("dialog").locator(".command").inner_text().strip()
    assert works(token)
    assert not axe_findings(page)
    page.get_by_role("button", name="Close").click()
    expect(person.row("laptop")).to_contain_text("All projects")

    # A device: what asks is shown before anything is decided.
    begun = ask("/oauth/device_authorization", client_name="a pipeline", scope="pull").json()
    page.goto(begun["verification_uri"])
    page.get_by_label("Code that the program shows").fill("BBBB-BBBB")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("alert").filter(has_text="no program waits")).to_be_visible()
    page.get_by_label("Code that the program shows").fill(begun["user_code"])
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_text("a pipeline")).to_be_visible()
    assert not axe_findings(page)
    page.get_by_role("button", name="Let it in").click()
    expect(page.get_by_text("The program is signed in.")).to_be_visible()
    given = ask("/oauth/token", grant_type=DEVICE, device_code=begun["device_code"])
    assert works(given.json()["access_token"])

    # The page sends nobody to an address that is not this computer's.
    query = "response_type=code&code_challenge_method=S256&state=12345678&code_challenge=" + "a" * 43
    person.go(f"/oauth/authorize?{query}&redirect_uri=https%3A%2F%2Fevil.example.com%2F")
    page.get_by_role("button", name="Let it in").click()
    expect(page.get_by_role("alert").filter(has_text="redirect_uri must be")).to_be_visible()

    # The second factor: on by a first code, and asked for at the sign-in that follows.
    person.go("/harbor/profile")
    page.get_by_role("button", name="Set up").click()
    secret = page.locator(".command").first.inner_text().strip()
    key, step = base64.b32decode(secret), int(time.time()) // 30
    page.get_by_label("Code", exact=True).fill(code_at(key, step))
    page.get_by_role("button", name="Switch on").click()
    expect(page.get_by_text("Keep these codes.")).to_be_visible()
    page.get_by_role("button", name="Sign in again").click()
    page.get_by_label("User name").fill("ann")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_label("Code of the second factor").fill(code_at(key, step + 1))
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("button", name="Account of ann")).to_be_visible()
    assert works(token)
    assert not works(PASSWORD)
