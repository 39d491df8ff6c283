"""Forms that outlive the session, in each of the portal's forms; and objects that two windows edit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.support.portal.desk import Desk, open_desk
from tests.support.portal.pages import go_to
from tests.support.portal.site import Visitor
from tests.support.processes import PASSWORD
from tests.support.waiting import until

Window = Callable[..., Visitor]
PROJECT = "/harbor/projects/{p}"
# Path, the row (or nothing), and what opens the form; an empty name: the form is on the page itself.
FORMS: list[tuple[str, str | None, str]] = [
    ("/harbor/projects", None, "New project"),
    ("/harbor/profile", None, ""),
    ("/harbor/profile", None, "New token"),
    ("/harbor/users", None, "New user"),
    ("/harbor/users", "guest", "Set password"),
    ("/harbor/groups", None, "New group"),
    ("/harbor/robot-accounts", None, "New robot account"),
    ("/harbor/robot-accounts", "nightly", "Edit"),
    ("/harbor/registries", None, "New registry"),
    ("/harbor/registries", "upstream", "Edit"),
    ("/harbor/replications", None, "New rule"),
    ("/harbor/replications", "mirror", "Edit"),
    ("/harbor/labels", "stable", "Edit"),
    ("/harbor/distribution/instances", None, "New instance"),
    ("/harbor/project-quotas", "web", "Edit"),
    ("/harbor/interrogation-services/scanners", None, "New scanner"),
    ("/harbor/interrogation-services/security-hub", None, "New export"),
    ("/harbor/configs/setting", None, ""),
    ("/harbor/configs/sources", None, "New source"),
    (f"{PROJECT}/members", None, "Add member"),
    (f"{PROJECT}/robot-account", "builder", "Edit"),
    (f"{PROJECT}/tag-strategy", "kept-*", "Edit"),
    (f"{PROJECT}/webhook", None, "New webhook"),
    (f"{PROJECT}/webhook", "hook", "Edit"),
    (f"{PROJECT}/p2p-provider", None, "New policy"),
    (f"{PROJECT}/scanner", None, "New export"),
    (f"{PROJECT}/repositories/app/info-tab", None, "Edit"),
    (f"{PROJECT}/repositories/app/artifacts-tab", "v17", "Copy to another repository"),
    ("/devcenter-api-2.0?operation=POST%20/labels", None, ""),
]
TYPED = "1234567"


@pytest.fixture(scope="module")
def desk(portal_dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with open_desk(tmp_path_factory.mktemp("forms")) as found:
        found.furnish()
        found.make(
            "/system/identity-sources",
            {
                "name": "corp",
                "kind": "ldap",
                "title": "Corporation",
                "enabled": False,
                "configuration": {"url": "ldaps://127.0.0.1:1", "base_dn": "dc=example"},
            },
        )
        yield found


def open_form(person: Visitor, path: str, row: str | None, name: str) -> Locator:
    """The place where the form is."""
    page = person.page
    go_to(page, path)
    if not name:
        return page.locator("main")
    if row is None:
        page.get_by_role("button", name=name, exact=True).first.click()
    else:
        person.act(row, name)
    dialog = page.get_by_role("dialog")
    return dialog if "info-tab" not in path else page.locator("main")


def first_field(form: Locator) -> Locator:
    """A field of the form that takes text."""
    fields = form.locator("input, textarea")
    others = ("checkbox", "radio", "color", "date", "hidden", "search")

    def found() -> Locator | None:
        free = [
            field
            for field in fields.all()
            if field.get_attribute("type") not in others and field.is_visible() and field.is_editable()
        ]
        # A list of choices comes last: it may take no text of its own.
        free.sort(key=lambda field: field.get_attribute("role") == "combobox")
        return free[0] if free else None

    return until(found)


@pytest.mark.timeout(900)
def test_every_form_is_kept_when_the_session_ends(window: Window, desk: Desk) -> None:
    person = window(desk.url)
    person.sign_in("admin")
    page = person.page
    notice = page.get_by_role("dialog", name="Sign in", exact=True)
    lost = []
    for path, row, name in FORMS:
        form = open_form(person, path.format(p=desk.project()), row, name)
        field = first_field(form)
        field.fill(TYPED)
        address = page.url
        # The session ends elsewhere; the page learns of it when it is looked at.
        page.context.clear_cookies()
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(notice).to_be_visible()
        notice.get_by_label("Password", exact=True).fill(PASSWORD)
        notice.get_by_role("button", name="Sign in", exact=True).click()
        expect(notice).to_have_count(0)
        kept = field.input_value() if field.count() else "the form is gone"
        # A field may write the number in its own way.
        if kept.replace(",", "") != TYPED or page.url != address:
            lost.append((path, name, kept, page.url))
        page.keyboard.press("Escape")
        go_to(page, "/harbor/none")
    assert not lost


def test_two_windows_edit_the_newer_objects(window: Window, desk: Desk) -> None:
    first, second = (window(desk.url, "admin") for _ in range(2))

    def both(path: str, row: str, change: Callable[[Locator, str], Any]) -> None:
        dialogs = []
        for person in (first, second):
            person.go(path)
            person.act(row, "Edit")
            dialogs.append(person.page.get_by_role("dialog"))
        for dialog, which in zip(dialogs, ("one", "two"), strict=True):
            change(dialog, which)
        for dialog in dialogs:
            dialog.get_by_role("button", name="Save", exact=True).click()
            expect(dialog).to_have_count(0)

    def source(dialog: Locator, which: str) -> None:
        if which == "one":
            dialog.get_by_label("Title on the sign-in page").fill("First window")
        else:
            dialog.get_by_label("Group of administrators").fill("cn=second,dc=example")

    both("/harbor/configs/sources", "corp", source)
    stored = desk.get("/system/identity-sources/corp")
    assert (stored["title"], stored["admin_group"]) == ("First window", "cn=second,dc=example")
    assert stored["configuration"]["url"] == "ldaps://127.0.0.1:1"

    def webhook(dialog: Locator, which: str) -> None:
        if which == "one":
            dialog.get_by_label("Description").fill("First window")
        else:
            dialog.get_by_label("Address").fill("https://127.0.0.1/second")

    both(f"/harbor/projects/{desk.project()}/webhook", "hook", webhook)
    [stored] = desk.get("/projects/web/webhook/policies")
    assert (stored["description"], stored["targets"][0]["address"]) == (
        "First window",
        "https://127.0.0.1/second",
    )

    # A page of settings: each window saves what it touched.
    project = f"/harbor/projects/{desk.project()}/configs"
    for person, label in ((first, "Scan every push"), (second, "Make an SBOM of every push")):
        person.go(project)
        person.page.get_by_label(label).check(force=True)
    for person in (first, second):
        person.page.get_by_role("button", name="Save").last.click()
        person.said("Saved")
    metadata = desk.get("/projects/web")["metadata"]
    assert (metadata["auto_scan"], metadata["auto_sbom_generation"]) == ("true", "true")
