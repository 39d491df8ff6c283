"""The main tasks in a real browser, against three instances behind HAProxy."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx
from playwright.sync_api import expect

from tests.support.portal.site import Site, Visitor
from tests.support.processes import PASSWORD

Visit = Callable[..., Visitor]


def test_wrong_password_is_told_and_right_one_goes_where_the_link_led(visit: Visit) -> None:
    person = visit()
    person.go("/harbor/projects")
    person.go("/harbor/users")
    expect(person.page).to_have_url(re.compile(r"/account/sign-in\?redirect_url=%2Fharbor%2Fusers"))
    person.page.get_by_label("User name").fill("admin")
    person.page.get_by_label("Password", exact=True).fill("wrong")
    person.page.get_by_role("button", name="Sign in", exact=True).click()
    expect(person.page.get_by_role("alert")).to_contain_text("Wrong user name or password")
    person.page.get_by_label("Password", exact=True).fill(PASSWORD)
    person.page.get_by_role("button", name="Sign in", exact=True).click()
    person.heading("Users")


def test_admin_makes_a_project_and_a_user_and_a_member(visit: Visit, site: Site) -> None:
    admin = visit("admin")
    page = admin.page
    page.get_by_role("button", name="New project").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Project name").fill("Not A Name")
    dialog.get_by_role("button", name="Create").click()
    expect(dialog).to_contain_text("Not a project name")
    dialog.get_by_label("Project name").fill("shop")
    dialog.get_by_label("Storage quota").fill("5")
    dialog.get_by_role("button", name="Create").click()
    admin.heading("shop")
    expect(page.get_by_text("No repositories yet")).to_be_visible()

    admin.go("/harbor/users")
    page.get_by_role("button", name="New user").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("User name").fill("carol")
    dialog.get_by_label("Email").fill("carol@example.com")
    dialog.get_by_label("Full name").fill("Carol Example")
    dialog.locator("input[name=password]").fill(PASSWORD)
    dialog.get_by_label("Password again").fill(PASSWORD)
    dialog.get_by_role("button", name="Create").click()
    expect(admin.row("carol@example.com")).to_be_visible()

    project = site.api.get("/projects/shop").json()
    assert project["metadata"]["public"] == "false"
    admin.go(f"/harbor/projects/{project['project_id']}/members")
    page.get_by_role("button", name="Add member").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("User name").fill("carol")
    dialog.get_by_label("Role").select_option("Maintainer")
    dialog.get_by_role("button", name="Add").click()
    expect(admin.row("carol")).to_be_visible()
    members = {item["entity_name"]: item["role_id"] for item in site.api.get("/projects/shop/members").json()}
    assert members["carol"] == 4


def test_admin_makes_a_robot_whose_secret_works(visit: Visit, site: Site) -> None:
    admin = visit("admin")
    admin.go("/harbor/robot-accounts")
    admin.page.get_by_role("button", name="New robot account").click()
    dialog = admin.page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("pipeline")
    dialog.get_by_label("Description").fill("Pushes from CI")
    dialog.get_by_role("button", name="Create").click()
    secret = admin.page.get_by_role("dialog").filter(has_text="shown this once only")
    value = secret.locator(".command").inner_text()
    secret.get_by_role("button", name="Done").click()
    row = admin.row("pipeline")
    expect(row).to_contain_text("All projects")
    name = row.locator("b").inner_text()
    answer = httpx.get(f"{site.cluster.instances[1].url}/v2/", auth=(name, value))
    assert answer.status_code == 200


def test_audit_log_tells_of_it(visit: Visit) -> None:
    admin = visit("admin")
    admin.shot("projects")
    admin.go("/harbor/logs")
    admin.page.get_by_label("Filter by resource").fill("charts")
    rows = admin.page.get_by_role("row").filter(has_text="charts").filter(has_text="create")
    expect(rows.first).to_contain_text("admin")


def test_configuration_banner_is_shown_to_everyone(visit: Visit, site: Site) -> None:
    admin = visit("admin")
    admin.go("/harbor/configs/setting")
    admin.page.get_by_label("Banner message").fill("Maintenance on Sunday")
    admin.page.get_by_role("button", name="Save").click()
    admin.said("Saved")
    guest = visit("guest")
    # An instance may go on with the configuration it has read for some seconds.
    for _ in range(20):
        if guest.page.get_by_text("Maintenance on Sunday").count():
            break
        guest.page.reload()
        guest.heading("Projects")
    expect(guest.page.get_by_text("Maintenance on Sunday")).to_be_visible()
    site.api.put("/configurations", json={"banner_message": ""})


def test_cluster_page_knows_three_instances_and_checks_every_pair(visit: Visit) -> None:
    admin = visit("admin")
    admin.go("/harbor/cluster")
    table = admin.page.get_by_role("table", name="Instances")
    expect(table.get_by_role("row")).to_have_count(4)
    admin.page.get_by_role("button", name="Check now").click()
    expect(admin.page.get_by_text("6 pairs of instances were tested")).to_be_visible(timeout=60_000)
    expect(admin.page.get_by_text("Nothing is wrong")).to_be_visible()
    expect(admin.page.get_by_text("balancer", exact=True)).to_be_visible()
    admin.shot("cluster")


def test_guest_and_developer_see_what_their_roles_allow(visit: Visit, site: Site) -> None:
    project = site.api.get("/projects/web").json()["project_id"]
    for name, role in (("dev", "Developer"), ("guest", "Guest")):
        person = visit(name)
        page = person.page
        expect(page.get_by_text("Administration")).to_have_count(0)
        expect(person.row("web")).to_contain_text(role)
        person.go("/harbor/users")
        expect(page.get_by_text("This page does not exist")).to_be_visible()
        person.go(f"/harbor/projects/{project}/members")
        expect(page.get_by_role("row").filter(has_text="guest")).to_be_visible()
        expect(page.get_by_role("button", name="Add member")).to_have_count(0)
        expect(page.get_by_role("tab", name="Configuration")).to_have_count(1)


def test_public_projects_without_an_account(visit: Visit) -> None:
    anyone = visit()
    anyone.go("/account/sign-in")
    anyone.page.get_by_role("link", name="Browse public projects").click()
    anyone.heading("Projects")
    expect(anyone.row("charts")).to_be_visible()
    expect(anyone.page.get_by_role("row").filter(has_text="web")).to_have_count(0)
    anyone.page.get_by_role("link", name="Sign in").click()
    expect(anyone.page.get_by_label("User name")).to_be_visible()


def test_chinese_and_dark_are_kept(visit: Visit) -> None:
    person = visit("dev", color_scheme="light")
    page = person.page
    page.get_by_role("button", name="Language").click()
    page.get_by_role("menuitem", name="简体中文").click()
    person.heading("项目")
    page.get_by_role("button", name="深色模式").click()
    page.reload()
    person.heading("项目")
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    assert page.evaluate("document.documentElement.dataset.mantineColorScheme") == "dark"
    person.shot("dark-chinese")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(int(n) for n in re.findall(r"\d+", background)) < 60


def test_keyboard_alone(visit: Visit) -> None:
    person = visit("dev")
    page = person.page
    page.reload()
    person.heading("Projects")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    page.keyboard.press("/")
    page.keyboard.type("chart")
    page.keyboard.press("Enter")
    person.heading("Search")
    expect(person.row("charts")).to_be_visible()


def test_ca_certificate_is_offered(visit: Visit) -> None:
    admin = visit("admin")
    with admin.page.expect_download() as started:
        admin.page.get_by_role("link", name="CA certificate").click()
    assert "BEGIN CERTIFICATE" in started.value.path().read_text()


def test_signing_out_ends_the_session(visit: Visit) -> None:
    person = visit()
    person.sign_in("guest")
    person.page.get_by_role("button", name="Account of guest").click()
    person.page.get_by_role("menuitem", name="Sign out").click()
    expect(person.page.get_by_label("User name")).to_be_visible()
    person.go("/harbor/profile")
    expect(person.page.get_by_label("User name")).to_be_visible()
