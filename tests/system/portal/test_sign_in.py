"""Sign-in through a real directory (slapd) and a real OpenID provider (Canaille), as people do it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.support.portal.pages import axe_findings
from tests.support.portal.site import Visitor
from tests.support.processes import PASSWORD, free_port
from tests.support.registry import Registry
from tests.support.servers.canaille import CLIENT_ID, CLIENT_SECRET, Canaille, password_of
from tests.support.servers.provider import Provider, open_provider
from tests.support.servers.slapd import ADMIN_DN, ADMIN_PASSWORD, GROUPS, PEOPLE, Slapd

Window = Callable[..., Visitor]
USERS: dict[str, list[str]] = {"alice": ["developers"], "carol": [], "dave": [], "erin": []}


class Door:
    """A registry (SQLite, one worker: configuration is seen at once) whose users come from elsewhere."""

    def __init__(self, registry: Registry, directory: Slapd, provider: Canaille) -> None:
        self.registry, self.directory, self.provider = registry, directory, provider
        self.url = registry.url

    def configure(self, **values: object) -> None:
        self.registry.api("PUT", "/configurations", json=values)

    def mode(self, mode: str, **values: object) -> None:
        """Another way to sign in, which only a registry without users can change to."""
        for user in self.registry.api("GET", "/users").json():
            if user["user_id"] != 1:
                self.registry.api("DELETE", f"/users/{user['user_id']}")
        self.configure(auth_mode=mode, **values)

    def whoami(self, name: str, password: str) -> httpx.Response:
        """The API's answer to name and password, as a command line gives them."""
        return httpx.get(f"{self.url}/api/v2.0/users/current", auth=(name, password))


@pytest.fixture(scope="module")
def door(portal_dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    registry = Registry(
        tmp_path_factory.mktemp("door") / "data",
        {"SEAWALL_HTTP__WORKERS": "1", "SEAWALL_JOBS__EMBEDDED": "false"},
    )
    directory = Slapd(tmp_path_factory.mktemp("slapd"), free_port())
    callback = f"{registry.url}/c/oidc/callback"
    provider = Canaille(tmp_path_factory.mktemp("canaille"), free_port(), callback, USERS)
    try:
        registry.launch()
        directory.start()
        provider.start()
        registry.wait_ready()
        yield Door(registry, directory, provider)
    finally:
        provider.stop()
        directory.stop()
        registry.close()


def submit(person: Visitor, name: str, password: str) -> None:
    """Fill in the portal's own form."""
    person.page.get_by_label("User name").fill(name)
    person.page.get_by_label("Password", exact=True).fill(password)
    person.page.get_by_role("button", name="Sign in", exact=True).click()


def test_directory_from_its_configuration_to_its_outage(window: Window, door: Door) -> None:
    people = {name: door.directory.add_user(name, f"{name}-Password-1") for name in ("ann", "ben", "bob")}
    door.directory.add_group("Admins", people["ben"])
    door.mode("db_auth")

    admin = window(door.url, "admin")
    page = admin.page
    admin.go("/harbor/configs/auth")
    page.get_by_label("How people sign in").select_option("LDAP")
    for label, value in (
        ("LDAP address", f"ldap://127.0.0.1:{free_port()}"),
        ("Search DN", ADMIN_DN),
        ("Base DN", PEOPLE),
        ("User attribute", "uid"),
        ("Group base DN", GROUPS),
        ("Group filter", "objectClass=groupOfNames"),
        ("Group name attribute", "cn"),
        ("Group of administrators (DN)", f"cn=Admins,{GROUPS}"),
    ):
        page.get_by_label(label, exact=True).or_(page.get_by_label(f"{label} *", exact=True)).fill(value)
    page.locator("input[name=ldap_search_password]").fill(ADMIN_PASSWORD)
    page.get_by_role("button", name="Test connection").click()
    admin.said("The connection failed")
    page.get_by_label("LDAP address").fill(door.directory.url)
    page.get_by_role("button", name="Test connection").click()
    admin.said("The connection works.")
    page.get_by_role("button", name="Save").click()
    admin.said("Saved")

    person = window(door.url)
    person.go("/account/sign-in?redirect_url=/harbor/profile")
    submit(person, "ann", "wrong")
    expect(person.page.get_by_role("alert")).to_contain_text("Wrong user name or password")
    submit(person, "ann", "ann-Password-1")
    person.heading("Profile")
    # The directory keeps the account, so nothing of it can be changed here.
    expect(person.page.get_by_label("Email")).to_have_value("ann@seawall.test")
    expect(person.page.get_by_label("Email")).to_be_disabled()
    expect(person.page.get_by_text("kept by the identity provider")).to_be_visible()
    expect(person.page.get_by_role("button", name="Change password")).to_have_count(0)
    expect(person.page.get_by_text("Administration")).to_have_count(0)

    chief = window(door.url)
    chief.sign_in("ben", "ben-Password-1")
    expect(chief.page.get_by_text("Administration")).to_be_visible()
    chief.go("/harbor/users")
    expect(chief.row("ann@seawall.test")).to_be_visible()
    expect(chief.page.get_by_role("button", name="New user")).to_have_count(0)
    chief.page.get_by_role("button", name="Account of ben").click()
    chief.page.get_by_role("menuitem", name="Sign out").click()
    expect(chief.page.get_by_label("User name")).to_be_visible()

    door.directory.stop()
    submit(chief, "bob", "bob-Password-1")
    expect(chief.page.get_by_role("alert")).to_contain_text("the directory (LDAP) cannot be asked now")
    chief.sign_in("admin")


def visitor(window: Window, door: Door) -> Visitor:
    """Somebody for whom the provider's pages are plain forms: its scripts would race with the test."""
    person = window(door.url)
    person.page.route(f"{door.provider.url}/static/**", lambda route: route.abort())
    return person


def at_provider(page: Page, user: str, password: str | None = None) -> None:
    """Name and password into the provider's own pages."""
    page.locator("input[name=login]").fill(user)
    page.locator("input[name=login]").press("Enter")
    page.locator("input[name=password]").fill(password or password_of(user))
    page.locator("input[name=password]").press("Enter")


def by_provider(door: Door, **values: object) -> None:
    """A fresh registry whose users come from the provider."""
    door.mode(
        "oidc_auth",
        oidc_name="Canaille",
        oidc_endpoint=door.provider.url,
        oidc_client_id=CLIENT_ID,
        oidc_client_secret=CLIENT_SECRET,
        oidc_scope="openid,profile,email,groups",
        oidc_groups_claim="groups",
        oidc_user_claim="sub",
        **{"oidc_auto_onboard": False, "oidc_logout": True, "primary_auth_mode": False, **values},
    )


def test_provider_from_the_first_sign_in_to_the_sign_out(window: Window, door: Door) -> None:
    by_provider(door)
    person = visitor(window, door)
    page = person.page
    person.go("/harbor/profile")
    expect(page.get_by_role("link", name="Sign in with Canaille")).to_be_visible()
    findings = axe_findings(page)
    page.get_by_role("link", name="Sign in with Canaille").click()
    at_provider(page, "carol", "wrong")
    expect(page).to_have_url(re.compile(re.escape(door.provider.url)))
    page.locator("input[name=password]").fill(password_of("carol"))
    page.locator("input[name=password]").press("Enter")

    # Nobody of that identity is here yet: the person chooses a name, and not one that is taken.
    person.heading("Choose your user name")
    findings += axe_findings(page)
    expect(page.get_by_label("User name")).to_have_value("carol")
    person.shot("onboarding")
    page.get_by_label("User name").fill("admin")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("The name is taken")
    page.get_by_label("User name").fill("carol2")
    page.keyboard.press("Enter")
    person.heading("Profile")
    assert not findings, findings
    expect(page.get_by_label("Email")).to_have_value("carol@provider.test")
    expect(page.get_by_label("Email")).to_be_disabled()

    # The CLI secret is the password of command lines; a new one ends the old one.
    shown = page.get_by_test_id("cli-secret")
    expect(shown).to_have_text("•" * 16)
    page.get_by_role("button", name="Show secret").click()
    first = shown.inner_text()
    assert door.whoami("carol2", first).json()["username"] == "carol2"
    page.get_by_role("button", name="New secret").click()
    page.get_by_role("dialog").get_by_role("button", name="New secret").click()
    expect(shown).not_to_have_text(first)
    assert door.whoami("carol2", first).status_code == 401
    assert door.whoami("carol2", shown.inner_text()).status_code == 200

    # Out here, and at the provider too, which asks and sends the person back.
    page.get_by_role("button", name="Account of carol2").click()
    page.get_by_role("menuitem", name="Sign out").click()
    page.get_by_role("button", name="Logout").click()
    expect(page.get_by_role("link", name="Sign in with Canaille")).to_be_visible()
    person.go("/harbor/profile")
    page.get_by_role("link", name="Sign in with Canaille").click()
    expect(page.locator("input[name=login]")).to_be_visible()
    at_provider(page, "carol")
    # The same person again is the same user, and is where the link led.
    person.heading("Profile")
    expect(page.get_by_role("button", name="Account of carol2")).to_be_visible()


def test_provider_at_once_and_its_outage(window: Window, door: Door) -> None:
    by_provider(door, primary_auth_mode=True, oidc_auto_onboard=True, oidc_logout=False)
    person = visitor(window, door)
    page = person.page
    # No page of ours comes before the provider's.
    person.go("/harbor/logs")
    at_provider(page, "alice")
    person.heading("Logs")
    page.get_by_role("button", name="Account of alice").click()
    page.get_by_role("menuitem", name="Sign out").click()
    # Still known to the provider, and yet out here: nothing signs the person in again.
    expect(page.get_by_role("link", name="Sign in with Canaille")).to_be_visible()
    page.get_by_role("link", name="Sign in with Canaille").click()
    person.heading("Projects")

    # The provider goes away between its page and ours.
    other = visitor(window, door)

    # Over the debugger, because Playwright's routes do not see redirects.
    debugger = other.page.context.new_cdp_session(other.page)

    def stop(paused: dict[str, Any]) -> None:
        door.provider.stop()
        debugger.send("Fetch.continueRequest", {"requestId": paused["requestId"]})

    debugger.on("Fetch.requestPaused", stop)
    debugger.send("Fetch.enable", {"patterns": [{"urlPattern": f"{door.url}/c/oidc/callback*"}]})
    other.go("/harbor/profile")
    at_provider(other.page, "dave")
    expect(other.page.get_by_role("alert")).to_contain_text("The identity provider cannot be reached")
    # And before ours: the way there ends on our page, not on an error of the browser's.
    door.configure(oidc_endpoint=f"http://127.0.0.1:{free_port()}")
    other.page.get_by_role("link", name="Sign in with Canaille").click()
    expect(other.page).to_have_url(
        re.compile(r"/account/sign-in\?oidc=provider&redirect_url=%2Fharbor%2Fprofile")
    )
    expect(other.page.get_by_role("alert")).to_contain_text("The identity provider cannot be reached")
    # The local administrator comes in all the same, and who is in stays in.
    submit(other, "admin", PASSWORD)
    other.heading("Profile")
    page.reload()
    expect(page.get_by_role("button", name="Account of alice")).to_be_visible()


def test_a_button_for_each_provider(window: Window, door: Door) -> None:
    by_provider(door)
    configuration = {"endpoint": door.provider.url, "client_id": CLIENT_ID}
    source = {"name": "partner", "kind": "oidc", "title": "Partner", "configuration": configuration}
    door.registry.api("POST", "/system/identity-sources", json=source)
    try:
        person = visitor(window, door)
        person.go("/account/sign-in?redirect_url=/harbor/profile")
        expect(person.page.get_by_role("link", name="Sign in with Canaille")).to_be_visible()
        partner = person.page.get_by_role("link", name="Sign in with Partner")
        expect(partner).to_have_attribute(
            "href", "/c/oidc/login?redirect_url=%2Fharbor%2Fprofile&source=partner"
        )
        assert not axe_findings(person.page)
    finally:
        door.registry.api("DELETE", "/system/identity-sources/partner")


@pytest.fixture
def partner() -> Iterator[Provider]:
    """A provider that lets erin in at once."""
    with open_provider() as provider:
        provider.person = {"sub": "erin", "preferred_username": "erin", "email": "erin@partner.test"}
        yield provider


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Slapd]:
    """A directory that no other test stops."""
    directory = Slapd(tmp_path / "slapd", free_port())
    directory.root.mkdir()
    directory.start()
    yield directory
    directory.stop()


def test_sources_and_links_from_the_first_to_the_last(
    window: Window, door: Door, company: Slapd, partner: Provider
) -> None:
    """Sources are added, ordered, tested, changed, switched off and removed; a user is linked to two."""
    door.mode("db_auth")
    company.add_user("nora", "Noras-Password-1")
    door.registry.api(
        "POST",
        "/users",
        json={"username": "local", "email": "l@x.test", "realname": "L", "password": PASSWORD},
    )
    admin = window(door.url, "admin")
    page = admin.page
    admin.go("/harbor/configs/sources")
    expect(page.get_by_text("No further sources")).to_be_visible()

    def fill(**values: str) -> None:
        for name, value in values.items():
            page.get_by_role("dialog").locator(f"input[name={name}]").fill(value)

    page.get_by_role("button", name="New source").click()
    dialog = page.get_by_role("dialog")
    fill(name="corp", title="The company", ldap_url=f"ldap://127.0.0.1:{free_port()}")
    fill(ldap_search_dn=ADMIN_DN, ldap_search_password=ADMIN_PASSWORD, ldap_base_dn=PEOPLE)
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)
    expect(admin.row("corp")).to_contain_text("corp-")
    admin.act("corp", "Test connection")
    admin.said("The connection failed")

    # Its secret does not come back, and goes to no other address than it was given for.
    admin.act("corp", "Edit")
    expect(dialog.locator("input[name=name]")).to_be_disabled()
    expect(dialog.locator("input[name=ldap_search_password]")).to_have_value("")
    expect(dialog.locator("input[name=ldap_uid]")).to_have_value("uid")
    fill(ldap_url=company.url)
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).to_contain_text("give search_password too")
    fill(ldap_search_password=ADMIN_PASSWORD)
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)
    admin.act("corp", "Test connection")
    admin.said("The connection works.")

    page.get_by_role("button", name="New source").click()
    dialog.get_by_label("Kind").select_option("OIDC")
    expect(dialog.locator("input[name=ldap_url]")).to_have_count(0)
    fill(name="partner", title="Partner", oidc_endpoint=partner.url, oidc_client_id=CLIENT_ID)
    fill(oidc_client_secret=CLIENT_SECRET, oidc_user_claim="sub")
    dialog.get_by_label("Create accounts at the first login").check()
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)
    sources = page.get_by_role("table", name="Identity sources")
    expect(sources.locator("tbody tr")).to_have_text([re.compile("^corp"), re.compile("^partner")])
    admin.act("partner", "Move up")
    expect(sources.locator("tbody tr")).to_have_text([re.compile("^partner"), re.compile("^corp")])
    findings = axe_findings(page)
    stored = door.registry.api("GET", "/system/identity-sources")
    assert [item["name"] for item in stored.json()] == ["partner", "corp"]
    assert ADMIN_PASSWORD not in stored.text
    assert CLIENT_SECRET not in stored.text

    # The sign-in page shows what there is.
    person = visitor(window, door)
    person.go("/account/sign-in")
    expect(person.page.get_by_role("link", name="Sign in with Partner")).to_be_visible()
    expect(person.page.get_by_text("With a password of The company, or of a local account.")).to_be_visible()
    findings += axe_findings(person.page)

    # One person of the directory is a user who is here already.
    admin.go("/harbor/users")
    admin.act("local", "Identities")
    expect(dialog).to_contain_text("No source knows this user")
    link = dialog.get_by_role("form", name="Link to a source")
    link.get_by_label("Link to a source").select_option("The company")
    link.get_by_label("User name in the directory").fill("nobody")
    link.get_by_role("button", name="Link").click()
    expect(link.get_by_role("alert")).to_contain_text("nobody")
    link.get_by_label("User name in the directory").fill("nora")
    link.get_by_role("button", name="Link").click()
    identities = dialog.get_by_role("table", name="Identities")
    expect(identities).to_contain_text("The company")
    link.get_by_label("Link to a source").select_option("Partner")
    link.get_by_label("Subject (sub) at the provider").fill("erin")
    link.get_by_role("button", name="Link").click()
    expect(identities.locator("tbody tr")).to_have_count(2)
    assert door.whoami("nora", "Noras-Password-1").json()["username"] == "local"
    person.page.get_by_role("link", name="Sign in with Partner").click()
    expect(person.page.get_by_role("button", name="Account of local")).to_be_visible()
    identities.get_by_role("row").filter(has_text="Partner").get_by_role("button", name="Actions").click()
    page.get_by_role("menuitem", name="Unlink").click()
    page.get_by_role("dialog", name="Unlink local from Partner?").get_by_role("button", name="Unlink").click()
    expect(identities.locator("tbody tr")).to_have_count(1)
    person.go("/harbor/profile")
    expect(person.page.get_by_label("User name")).to_be_visible()

    # Switched off, then gone: its user stays, and is let in by it no more.
    dialog.get_by_role("button", name="Close").click()
    admin.go("/harbor/configs/sources")
    admin.act("corp", "Disable")
    expect(admin.row("corp")).to_contain_text("Disabled")
    assert door.whoami("nora", "Noras-Password-1").status_code == 401
    for name in ("corp", "partner"):
        admin.act(name, "Delete")
        expect(dialog).to_contain_text("Its users stay")
        dialog.get_by_role("button", name="Delete").click()
        expect(dialog).to_have_count(0)
    expect(page.get_by_text("No further sources")).to_be_visible()
    assert door.whoami("local", PASSWORD).json()["username"] == "local"
    assert not findings, findings
