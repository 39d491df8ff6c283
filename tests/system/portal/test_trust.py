"""That people can trust the portal: sessions that end, forms, outages, copies, deletions, addresses."""

from __future__ import annotations

import base64
import copy
import json
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from tests.support.portal.desk import Desk, open_desk
from tests.support.portal.site import Visitor
from tests.support.processes import PASSWORD
from tests.support.registry import Registry
from tests.support.scan import spec

Window = Callable[..., Visitor]


@pytest.fixture(scope="module")
def desk(portal_dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with open_desk(tmp_path_factory.mktemp("desk")) as found:
        yield found


@pytest.fixture
def admin(window: Window, desk: Desk) -> Visitor:
    return window(desk.url, "admin")


def same_but(before: Any, after: Any, *changed: str) -> None:
    """Two objects of the API are equal but for what was changed, and for when."""
    times = ("update_time", "updated_at", "next_scheduled_time")
    old, new = copy.deepcopy(before), copy.deepcopy(after)
    for item in (old, new):
        for name in (*changed, *times):
            item.pop(name, None)
    assert new == old


# -- an ended session ----------------------------------------------------------------------------------


def test_ended_session_asks_to_sign_in_and_keeps_the_form(window: Window, desk: Desk) -> None:
    person = window(desk.url)
    person.sign_in("admin")
    page = person.page
    person.go("/harbor/labels?name=nothing")
    person.heading("Labels")
    page.get_by_role("button", name="New label").click()
    form = page.get_by_role("dialog", name="New label")
    form.get_by_label("Name").fill("half typed")
    page.context.clear_cookies()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/users/current" in request.url else None)
    form.get_by_role("button", name="Save").click()
    notice = page.get_by_role("dialog", name="Sign in", exact=True)
    expect(notice).to_contain_text("Your session has ended")
    page.wait_for_timeout(3000)
    assert len(asked) < 10, f"{len(asked)} requests in three seconds"
    notice.get_by_label("Password", exact=True).fill(PASSWORD)
    notice.get_by_role("button", name="Sign in", exact=True).click()
    expect(notice).to_have_count(0)
    expect(page).to_have_url(re.compile(r"/harbor/labels\?name=nothing$"))
    expect(form.get_by_label("Name")).to_have_value("half typed")
    form.get_by_role("button", name="Save").click()
    expect(form).to_have_count(0)
    assert "half typed" in {item["name"] for item in desk.get("/labels?scope=g")}


def test_refresh_of_a_public_list_notices_the_end(window: Window, desk: Desk) -> None:
    person = window(desk.url)
    person.sign_in("admin")
    person.page.context.clear_cookies()
    person.page.get_by_role("button", name="Refresh").click()
    expect(person.page.get_by_text("Your session has ended")).to_be_visible()


# -- a peer that hangs -----------------------------------------------------------------------------------


@pytest.fixture
def hung(tmp_path: Path) -> Iterator[Registry]:
    """A registry whose peer takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        registry = Registry(
            tmp_path / "data",
            {
                "SEAWALL_MASTER_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
                "SEAWALL_HTTP__WORKERS": "1",
                "SEAWALL_JOBS__EMBEDDED": "false",
                "SEAWALL_PEERS__NAME": "a",
                "SEAWALL_PEERS__URLS": f'["http://127.0.0.1:{silent.getsockname()[1]}"]',
            },
        )
        registry.launch()
        try:
            registry.wait_ready()
            yield registry
        finally:
            registry.kill()


def test_a_peer_that_hangs_does_not_hold_the_page(portal_dist: Path, window: Window, hung: Registry) -> None:
    asked = time.monotonic()
    answer = httpx.get(f"{hung.url}/api/v2.0/peers", auth=("admin", PASSWORD), timeout=30)
    # A peer may take ten seconds; on a loaded machine the sign-in alone takes some.
    assert time.monotonic() - asked < 8
    [peer] = answer.json()
    assert peer["reachable"] is False
    assert "no answer within" in peer["error"]
    admin = window(hung.url)
    admin.sign_in("admin")
    admin.go("/harbor/cluster/peers")
    expect(admin.page.get_by_text("no answer within")).to_be_visible()


# -- forms change what was touched, and nothing else ---------------------------------------------------


def save(page: Page) -> None:
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Save", exact=True).click()
    expect(dialog).to_have_count(0)


def test_system_robot_keeps_the_rights_of_each_project(admin: Visitor, desk: Desk) -> None:
    pull = [{"resource": "repository", "action": "pull"}]
    push = [*pull, {"resource": "repository", "action": "push"}]
    body = {
        "name": "two",
        "level": "system",
        "duration": 40,
        "permissions": [
            {"kind": "project", "namespace": "web", "access": push},
            {"kind": "project", "namespace": "other", "access": pull},
            {"kind": "system", "namespace": "/", "access": [{"resource": "registry", "action": "list"}]},
        ],
        "trusted_issuers": [
            {
                "issuer": "https://ci.example.com",
                "audience": "seawall",
                "claims": {"sub": ["repo:acme/app:*", "repo:acme/lib:ref=x"], "ref_protected": ["true"]},
                "any_address": True,
            }
        ],
    }
    number = desk.api.post("/robots", json=body).json()["id"]
    before = desk.get(f"/robots/{number}")
    admin.go("/harbor/robot-accounts")
    admin.act("two", "Edit")
    admin.page.get_by_role("dialog").get_by_label("Description").fill("changed")
    save(admin.page)
    after = desk.get(f"/robots/{number}")
    assert after["description"] == "changed"
    same_but(before, after, "description")
    # And rights of one project can be changed alone.
    admin.act("two", "Edit")
    admin.page.get_by_role("dialog").get_by_role("checkbox", name="other repository push").check()
    save(admin.page)
    by = {item["namespace"]: item["access"] for item in desk.get(f"/robots/{number}")["permissions"]}
    assert len(by["other"]) == 2
    assert len(by["web"]) == 2
    assert len(by["/"]) == 1
    # An issuer is added, and what it lacks is said.
    admin.act("two", "Edit")
    dialog = admin.page.get_by_role("dialog")
    dialog.get_by_role("button", name="Add an issuer").click()
    dialog.get_by_role("textbox", name="Issuer (iss)").last.fill("https://other.example.com")
    dialog.get_by_role("textbox", name="Audience (aud)").last.fill("other")
    dialog.get_by_role("button", name="Save", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("a condition on a claim is required")
    dialog.get_by_role("combobox", name="Claims that the token must have").last.fill("sub=job:*")
    admin.page.keyboard.press("Enter")
    save(admin.page)
    first, second = desk.get(f"/robots/{number}")["trusted_issuers"]
    assert first == before["trusted_issuers"][0]
    assert second == {
        "issuer": "https://other.example.com",
        "audience": "other",
        "claims": {"sub": ["job:*"]},
        "any_address": False,
    }


def test_replication_rule_keeps_its_filters(admin: Visitor, desk: Desk) -> None:
    registry = desk.make("/registries", {"name": "away", "type": "docker-registry", "url": desk.url})
    number = desk.make(
        "/replication/policies",
        {
            "name": "careful",
            "dest_registry": {"id": int(registry)},
            "dest_namespace": "mirror",
            "dest_namespace_replace_count": 2,
            "trigger": {"type": "scheduled", "trigger_settings": {"cron": "0 15 3 * * *"}},
            "filters": [
                {"type": "name", "value": "web/**"},
                {"type": "tag", "value": "dev-*", "decoration": "excludes"},
                {"type": "label", "value": ["a", "b"], "decoration": "excludes"},
            ],
            "speed": 77,
            "override": False,
            "enabled": False,
        },
    )
    before = desk.get(f"/replication/policies/{number}")
    admin.go("/harbor/replications")
    admin.act("careful", "Edit")
    dialog = admin.page.get_by_role("dialog")
    expect(dialog.locator("select[name=tag_decoration]")).to_have_value("excludes")
    dialog.get_by_label("Description").fill("changed")
    save(admin.page)
    after = desk.get(f"/replication/policies/{number}")
    assert after["description"] == "changed"
    same_but(before, after, "description")


ROUND_TRIPS: list[tuple[str, str, dict[str, Any], str, str, str]] = [
    # page, collection, what is stored, row, label of the field, name of the field
    (
        "/harbor/labels",
        "/labels",
        {"name": "roundtrip", "color": "#123456", "description": "d", "scope": "g"},
        "roundtrip",
        "Description",
        "description",
    ),
    (
        "/harbor/interrogation-services/scanners",
        "/scanners",
        {
            "name": "roundscan",
            "url": "",  # of the adapter that the test starts
            "auth": "Bearer",
            "access_credential": "secret",
            "skip_certVerify": True,
            "use_internal_addr": True,
            "disabled": True,
        },
        "roundscan",
        "Description",
        "description",
    ),
    (
        "/harbor/projects/{project}/webhook",
        "/projects/web/webhook/policies",
        {
            "name": "roundhook",
            "enabled": False,
            "event_types": ["PUSH_ARTIFACT", "DELETE_ARTIFACT"],
            "targets": [
                {
                    "type": "http",
                    "address": "https://127.0.0.1/hook",
                    "auth_header": "Bearer x",
                    "skip_cert_verify": True,
                    "payload_format": "CloudEvents",
                }
            ],
        },
        "roundhook",
        "Description",
        "description",
    ),
]


@pytest.mark.parametrize("case", ROUND_TRIPS, ids=lambda case: case[3])
def test_round_trip(admin: Visitor, desk: Desk, case: Any) -> None:
    path, collection, body, row, label, field = case
    if collection == "/scanners":
        # A scanner is asked before it is registered.
        with spec.Adapter(spec.TRIVY, []).serve() as adapter:
            number = desk.make(collection, {**body, "url": adapter.url})
    else:
        number = desk.make(collection, body)
    one = f"{collection}/{number}"
    before = desk.get(one)
    admin.go(path.format(project=desk.project()))
    admin.act(row, "Edit")
    admin.page.get_by_role("dialog").get_by_label(label).fill("changed")
    save(admin.page)
    after = desk.get(one)
    assert after[field] == "changed"
    same_but(before, after, field)


def test_retention_and_immutability_rules_keep_what_is_not_shown(admin: Visitor, desk: Desk) -> None:
    def pick(decoration: str, pattern: str, **more: Any) -> dict[str, Any]:
        return {"kind": "doublestar", "decoration": decoration, "pattern": pattern, **more}

    rule = {
        "action": "retain",
        "template": "latestPushedK",
        "params": {"latestPushedK": 7},
        "priority": 3,
        "disabled": True,
        "tag_selectors": [pick("excludes", "dev", extras='{"untagged":false}')],
        "scope_selectors": {"repository": [pick("repoExcludes", "x/**")]},
    }
    project = desk.project()
    desk.make(
        "/retentions",
        {
            "algorithm": "or",
            "rules": [rule],
            "trigger": {"kind": "Schedule", "settings": {"cron": "0 5 4 * * *"}},
            "scope": {"level": "project", "ref": project},
        },
    )
    number = desk.get("/projects/web")["metadata"]["retention_id"]
    before = desk.get(f"/retentions/{number}")
    admin.go(f"/harbor/projects/{project}/tag-strategy")
    admin.act("the 7 most recently pushed", "Edit")
    admin.page.get_by_role("dialog").get_by_label("Number").fill("8")
    save(admin.page)
    after = desk.get(f"/retentions/{number}")
    assert after["rules"][0]["params"] == {"latestPushedK": 8}
    same_but(before["rules"][0], after["rules"][0], "params")
    assert after["trigger"]["settings"]["cron"] == "0 5 4 * * *"
    # A rule is not gone at one click.
    admin.act("the 8 most recently pushed", "Delete")
    admin.page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    assert len(desk.get(f"/retentions/{number}")["rules"]) == 1


def test_what_others_change_meanwhile_stays(admin: Visitor, desk: Desk) -> None:
    page = admin.page
    dialog = page.get_by_role("dialog")
    # A label, edited here while another tab gives it another colour.
    label = desk.make("/labels", {"name": "shared", "color": "#123456", "scope": "g"})
    admin.go("/harbor/labels")
    admin.act("shared", "Edit")
    dialog.get_by_label("Description").fill("mine")
    stored = desk.get(f"/labels/{label}")
    assert desk.api.put(f"/labels/{label}", json={**stored, "color": "#654321"}).status_code == 200
    save(page)
    after = desk.get(f"/labels/{label}")
    assert (after["description"], after["color"]) == ("mine", "#654321")
    # A robot account, switched off meanwhile.
    access = [{"resource": "repository", "action": "pull"}]
    rights = [{"kind": "project", "namespace": "web", "access": access}]
    desk.make("/robots", {"name": "shared-robot", "level": "system", "duration": 40, "permissions": rights})
    [robot] = [item for item in desk.get("/robots") if item["name"].endswith("shared-robot")]
    admin.go("/harbor/robot-accounts")
    admin.act("shared-robot", "Edit")
    dialog.get_by_label("Description").fill("mine")
    robot = desk.get(f"/robots/{robot['id']}")
    assert desk.api.put(f"/robots/{robot['id']}", json={**robot, "disable": True}).status_code == 200
    save(page)
    after = desk.get(f"/robots/{robot['id']}")
    assert (after["description"], after["disable"]) == ("mine", True)


def test_retention_keeps_the_rules_that_others_add(admin: Visitor, desk: Desk) -> None:
    def rule(number: int) -> dict[str, Any]:
        every = {"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}
        return {
            "action": "retain",
            "template": "latestPushedK",
            "params": {"latestPushedK": number},
            "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "**"}],
            "scope_selectors": {"repository": [every]},
        }

    project = desk.project("other")
    desk.make(
        "/retentions",
        {
            "algorithm": "or",
            "rules": [rule(1), rule(2)],
            "trigger": {"kind": "Schedule", "settings": {"cron": ""}},
            "scope": {"level": "project", "ref": project},
        },
    )
    number = desk.get("/projects/other")["metadata"]["retention_id"]
    admin.go(f"/harbor/projects/{project}/tag-strategy")
    expect(admin.row("the 2 most recently pushed")).to_be_visible()
    stored = desk.get(f"/retentions/{number}")
    stored["rules"] = [stored["rules"][1], rule(3)]
    assert desk.api.put(f"/retentions/{number}", json=stored).status_code == 200
    # The page still shows the rules 1 and 2.
    admin.act("the 2 most recently pushed", "Delete")
    admin.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    admin.said("Deleted")
    rules = desk.get(f"/retentions/{number}")["rules"]
    assert [item["params"]["latestPushedK"] for item in rules] == [3]


def test_log_rotation_shows_and_keeps_what_is_stored(admin: Visitor, desk: Desk) -> None:
    schedule = {
        "parameters": {"audit_retention_hour": 8760, "include_event_types": "create,login"},
        "schedule": {"type": "Custom", "cron": "0 30 2 * * *"},
    }
    assert desk.api.post("/system/purgeaudit/schedule", json=schedule).status_code == 201
    before = desk.get("/system/purgeaudit/schedule")
    admin.go("/harbor/clearing-job/audit-log-purge")
    expect(admin.page.get_by_label("Keep entries of the last")).to_have_value("365")
    admin.page.get_by_label("Cron").fill("0 45 2 * * *")
    admin.page.get_by_role("button", name="Save schedule").click()
    admin.said("Saved")
    after = desk.get("/system/purgeaudit/schedule")
    assert after["schedule"]["cron"] == "0 45 2 * * *"
    assert after["parameters"] == before["parameters"]


def test_configuration_sends_what_was_touched(admin: Visitor, desk: Desk) -> None:
    banner = json.dumps({"message": "Hello", "type": "danger", "closable": False, "toDate": "12/31/2090"})
    desk.api.put("/configurations", json={"banner_message": banner})
    project = desk.project()
    allow = {"items": [{"cve_id": "CVE-2024-1"}], "expires_at": 4_000_000_001}
    desk.api.put(f"/projects/{project}", json={"metadata": {"auto_scan": "true"}, "cve_allowlist": allow})
    before = desk.get("/configurations"), desk.get(f"/projects/{project}")
    sent: list[Any] = []
    admin.page.on(
        "request", lambda request: sent.append(request.post_data_json) if request.method == "PUT" else None
    )
    admin.go("/harbor/configs/setting")
    admin.page.get_by_label("Banner message").fill("Hello again")
    admin.page.get_by_role("button", name="Save").click()
    admin.said("Saved")
    after = desk.get("/configurations")
    shown = json.loads(after["banner_message"]["value"])
    assert shown == {**json.loads(banner), "message": "Hello again"}
    same_but(before[0], after, "banner_message")
    admin.go(f"/harbor/projects/{project}/configs")
    admin.page.get_by_label("Make an SBOM of every push").check()
    admin.page.get_by_role("button", name="Save", exact=True).click()
    admin.said("Saved")
    assert sent[-1] == {"metadata": {"auto_sbom_generation": "true"}}
    assert desk.get(f"/projects/{project}")["cve_allowlist"]["expires_at"] == 4_000_000_001
    desk.api.put("/configurations", json={"banner_message": ""})


# -- outages -------------------------------------------------------------------------------------------


def test_page_that_does_not_come_can_be_tried_again(admin: Visitor, desk: Desk) -> None:
    page = admin.page
    page.route("**/portal/assets/**", lambda route: route.abort())
    page.route("**/harbor/**", lambda route: route.abort())
    page.get_by_role("link", name="Groups", exact=True).click()
    expect(page.get_by_text("This page could not be loaded")).to_be_visible(timeout=30_000)
    page.unroute("**/portal/assets/**")
    page.get_by_role("button", name="Try again").click()
    admin.heading("Groups")


def test_lost_connection_is_said_and_lists_are_marked(admin: Visitor, desk: Desk) -> None:
    page = admin.page
    desk.make("/labels", {"name": "seen before", "color": "#123456", "scope": "g"})
    admin.go("/harbor/labels")
    expect(admin.row("seen before")).to_be_visible()

    def cut(route: Route) -> None:
        route.abort()

    page.route("**/api/**", cut)
    page.get_by_role("button", name="Refresh").click()
    expect(page.get_by_text("Connection lost, reconnecting…")).to_be_visible(timeout=30_000)
    expect(page.locator(".table-card[data-stale]")).to_have_count(1, timeout=30_000)
    page.unroute("**/api/**", cut)
    expect(page.get_by_text("Connection lost, reconnecting…")).to_have_count(0, timeout=30_000)
    expect(page.locator(".table-card[data-stale]")).to_have_count(0)


def test_copy_without_the_clipboard_of_secure_pages(window: Window, desk: Desk) -> None:
    person = window(desk.url)
    # As on http://registry.example.com: the browser has no navigator.clipboard there.
    person.page.add_init_script("Object.defineProperty(window, 'isSecureContext', { value: false })")
    person.sign_in("admin")
    page = person.page
    person.go("/harbor/robot-accounts")
    page.get_by_role("button", name="New robot account").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("copied")
    dialog.get_by_role("button", name="Create").click()
    shown = page.get_by_role("dialog").filter(has_text="shown this once only")
    secret = shown.locator(".command").inner_text()
    shown.get_by_role("button", name="Copy").click()
    expect(page.get_by_text("Copied").first).to_be_visible()
    shown.get_by_role("button", name="Done").click()
    field = page.get_by_label("Filter by name")
    field.focus()
    page.keyboard.press("Control+V")
    expect(field).to_have_value(secret)


# -- lists ---------------------------------------------------------------------------------------------


def test_schedules_are_paused(admin: Visitor, desk: Desk) -> None:
    admin.go("/harbor/job-service-dashboard/schedules")
    admin.page.get_by_role("button", name="Pause all schedules").click()
    expect(admin.page.get_by_role("button", name="Resume all schedules")).to_be_visible()
    assert desk.get("/schedules/all/paused") == {"paused": True}
    admin.page.get_by_role("button", name="Resume all schedules").click()
    expect(admin.page.get_by_role("button", name="Pause all schedules")).to_be_visible()


def test_bulk_deletion_goes_on_after_a_refusal(admin: Visitor, desk: Desk) -> None:
    desk.make("/projects", {"project_name": "bulk"})
    project = desk.project("bulk")
    for tag in ("v1", "keep", "v3"):
        desk.push.image("bulk/app", tag, text=tag)
    desk.make(
        f"/projects/{project}/immutabletagrules",
        {
            "action": "immutable",
            "template": "immutable_template",
            "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "keep"}],
            "scope_selectors": {
                "repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]
            },
        },
    )
    page = admin.page
    admin.go(f"/harbor/projects/{project}/repositories/app/artifacts-tab")
    expect(page.get_by_label("Select row")).to_have_count(3)
    page.get_by_label("Select all").check()
    page.get_by_role("button", name="Delete 3").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    admin.said("Could not delete keep")
    expect(page.get_by_label("Select row")).to_have_count(1)
    expect(admin.row("keep")).to_be_visible()
    assert len(desk.get("/projects/bulk/repositories/app/artifacts")) == 1


def test_selection_goes_over_pages_and_the_last_page_is_never_empty(admin: Visitor, desk: Desk) -> None:
    page = admin.page
    address = f"/harbor/projects/{desk.project()}/repositories/app/artifacts-tab"
    admin.go(address)
    page.get_by_label("Select row").first.check()
    page.get_by_role("button", name="Next page").click()
    expect(page).to_have_url(re.compile(r"page=2"))
    expect(page.get_by_role("region", name="Selection")).to_contain_text("1 selected · 1 on other pages")
    page.get_by_role("button", name="Clear selection").click()
    expect(page.get_by_role("region", name="Selection")).to_have_count(0)
    admin.go(f"{address}?page=9")
    expect(page.get_by_label("Select row")).to_have_count(3)
    expect(page).to_have_url(re.compile(r"page=2"))


def test_filter_page_and_order_are_in_the_address(admin: Visitor, desk: Desk) -> None:
    page = admin.page
    admin.go(f"/harbor/projects/{desk.project()}/repositories/app/artifacts-tab")
    page.get_by_label("Filter by tag").fill("v1")
    expect(page).to_have_url(re.compile(r"tag=v1"))
    page.get_by_role("button", name="Size").click()
    expect(page).to_have_url(re.compile(r"sort=size"))
    rows = page.get_by_label("Select row")
    expect(rows).to_have_count(9)
    page.reload()
    expect(rows).to_have_count(9)
    expect(page.get_by_label("Filter by tag")).to_have_value("v1")
    page.get_by_role("link", name="v17", exact=True).click()
    admin.heading("web/app:v17")
    page.get_by_role("tab", name="SBOM").click()
    page.reload()
    expect(page.get_by_role("tab", name="SBOM")).to_have_attribute("aria-selected", "true")
    page.go_back()
    page.go_back()
    expect(page.get_by_label("Filter by tag")).to_have_value("v1")
    expect(rows).to_have_count(9)


BOOKMARKS = [
    ("/harbor/projects/{p}/tag-strategy/tag-retention", "Tag retention"),
    ("/harbor/projects/{p}/tag-strategy/immutable-tag", "Tag immutability"),
    ("/harbor/projects/{p}/repositories/app/artifacts-tab/depth/{d}", "Filter by tag"),
    ("/harbor/projects/{p}/repositories/app/artifacts-tab/depth/{d}/artifacts/{d}", "Layers and history"),
    ("/harbor/projects/{p}/p2p-provider/policies", "New policy"),
    ("/harbor/projects/{p}/logs/audit-log", "Filter by resource"),
    ("/harbor/logs/audit-log", "Filter by resource"),
    ("/harbor/logs/audit-legacy-log", "Filter by resource"),
    ("/harbor/distribution/instances", "New instance"),
    ("/harbor/configs/security", "CVE allowlist of the system"),
    ("/harbor/configs/email", "System settings"),
]


def test_bookmarks_of_harbor(admin: Visitor, desk: Desk) -> None:
    digest = desk.get("/projects/web/repositories/app/artifacts/v1")["digest"]
    for path, text in BOOKMARKS:
        admin.go(path.format(p=desk.project(), d=digest))
        shown = admin.page.get_by_text(text).or_(admin.page.get_by_label(text)).first
        expect(shown).to_be_visible()


def test_nothing_overflows(window: Window, desk: Desk) -> None:
    desk.make("/projects", {"project_name": "wide"})
    long = "t" * 128
    desk.push.image("wide/app", long)
    for number in range(120):
        answer = desk.api.post(
            f"/projects/wide/repositories/app/artifacts/{long}/tags", json={"name": f"n{number}"}
        )
        assert answer.status_code == 201
    project = desk.project("wide")
    digest = desk.get(f"/projects/wide/repositories/app/artifacts/{long}")["digest"]
    person = window(desk.url)
    person.sign_in("admin")
    page = person.page
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 800})
        person.go(f"/harbor/projects/{project}/repositories/app/artifacts-tab")
        expect(page.get_by_label("Select row")).to_have_count(1)
        if width == 1280:
            for title in ("Pushed", "Pulled"):
                box = page.get_by_role("columnheader", name=title).bounding_box()
                assert box is not None
                assert box["x"] + box["width"] <= width
        for path in (f"/artifacts-tab/artifacts/{digest}", "/artifacts-tab", "/info-tab"):
            person.go(f"/harbor/projects/{project}/repositories/app{path}")
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            page.wait_for_timeout(500)
            main = page.locator("main")
            sideways = main.evaluate(
                "node => [node.scrollWidth, node.clientWidth, document.body.scrollWidth]"
            )
            assert sideways[0] <= sideways[1], (width, path)
            assert sideways[2] <= width, (width, path)
            assert main.evaluate("node => node.scrollHeight") < 4000, (width, path)


def test_log_has_seconds_and_a_range(admin: Visitor, desk: Desk) -> None:
    page = admin.page
    admin.go("/harbor/logs")
    table = page.get_by_role("table", name="Logs")
    expect(table).to_contain_text(re.compile(r"\d\d:\d\d:\d\d"))
    page.get_by_label("From", exact=True).fill("2099-01-01T00:00:00")
    expect(page.get_by_text("Nothing was logged that matches")).to_be_visible()
    desk.make(
        "/users",
        {"username": "nobody", "email": "n@example.com", "realname": "N", "password": PASSWORD},
    )


def test_who_may_see_no_log_has_no_entry_for_it(window: Window, desk: Desk) -> None:
    person = window(desk.url)
    person.sign_in("nobody")
    expect(person.page.get_by_role("link", name="Projects", exact=True)).to_be_visible()
    expect(person.page.get_by_role("link", name="Logs", exact=True)).to_have_count(0)
