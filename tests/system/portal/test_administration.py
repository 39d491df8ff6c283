"""What administrators of the system and of projects set, each through the pages that are there for it."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.sync_api import expect

from tests.support.portal.pages import project_id
from tests.support.portal.site import Site, Visitor
from tests.support.processes import PASSWORD
from tests.support.receiver import Receiver

Visit = Callable[..., Visitor]


def test_webhook_deliveries_with_attempts_payload_and_log(visit: Visit, site: Site) -> None:
    site.post("/projects", {"project_name": "hooked"})
    receiver = Receiver()
    # Refused once: it is tried again five seconds later.
    receiver.answer = lambda number: (503, {}) if number == 0 else (200, {})
    try:
        admin = visit("admin")
        page = admin.page
        admin.go(f"/harbor/projects/{project_id(site, 'hooked')}/webhook")
        page.get_by_role("button", name="New webhook").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Name").fill("ci")
        dialog.get_by_label("Payload format").select_option("CloudEvents")
        dialog.get_by_role("combobox", name="Events").or_(dialog.get_by_label("Events")).first.click()
        page.locator("div[role=option]").filter(has_text="Artifact pushed").click()
        page.keyboard.press("Escape")
        dialog.get_by_label("Address").fill(receiver.url)
        dialog.get_by_label("Authorization header").fill("Bearer hook-secret")
        dialog.get_by_role("button", name="Save").click()
        expect(admin.row("ci")).to_contain_text("Enabled")
        site.push.image("hooked/app", "v1")
        admin.row("ci").get_by_role("button", name="Details").click()
        deliveries = page.get_by_role("table", name="Deliveries")
        deliveries.get_by_role("button", name="Details").click()
        attempts = page.get_by_role("table", name="Attempts")
        expect(attempts).to_contain_text("2 times", timeout=60_000)
        attempts.get_by_role("button", name="Details").click()
        expect(attempts).to_contain_text("hooked/app")
        attempts.get_by_role("button", name="Log").click()
        expect(page.get_by_role("log")).to_contain_text("HTTP 503")
        expect(page.get_by_role("log")).to_contain_text("attempt 2: delivered")
        page.keyboard.press("Escape")
        expect(deliveries).to_contain_text("Success")
        admin.shot("webhook")
    finally:
        receiver.close()
    assert [request.headers["authorization"] for request in receiver.received] == ["Bearer hook-secret"] * 2


def test_registry_is_edited_and_proxied(visit: Visit, site: Site) -> None:
    ca = site.api.get("/systeminfo/getcert").text
    upstream = {
        "name": "upstream",
        "type": "harbor",
        "url": site.cluster.instances[2].url,
        "credential": {"type": "basic", "access_key": "admin", "access_secret": PASSWORD},
        "ca_certificate": ca,
    }
    number = site.post("/registries", upstream)
    admin = visit("admin")
    page = admin.page
    admin.go("/harbor/registries")
    admin.act("upstream", "Edit")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Description").fill("the other room")
    # The stored secret is tested, which never comes back to the browser.
    expect(dialog.locator("input[name=access_secret]")).to_have_value("")
    dialog.get_by_role("button", name="Test connection").click()
    admin.said("The registry answers.")
    # Where its credentials go is told, and where it may send us on to is said here.
    told = site.api.get(f"/registries/{number}").json().get("token_server")
    expect(dialog.locator("input[name=token_server]")).to_have_count(1 if told else 0)
    dialog.get_by_label("Networks inside").fill("10.20.0.0/16")
    page.keyboard.press("Enter")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)
    saved = site.api.get(f"/registries/{number}").json()
    assert saved["description"] == "the other room"
    assert saved["internal_networks"] == ["10.20.0.0/16"]
    assert saved.get("token_server") == told

    admin.go("/harbor/projects")
    page.get_by_role("button", name="New project").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Project name").fill("cache")
    dialog.get_by_label("Proxy cache of").select_option("upstream")
    dialog.get_by_role("button", name="Create").click()
    admin.heading("cache")
    page.get_by_role("tab", name="Configuration").click()
    page.get_by_label("Bandwidth (Kbps)").fill("51200")
    page.get_by_label("Serve what is here when it is gone upstream").check()
    page.get_by_role("button", name="Save", exact=True).click()
    admin.said("Saved")
    metadata = site.api.get("/projects/cache").json()["metadata"]
    assert metadata["proxy_speed_kb"] == "51200"
    assert metadata["proxy_cache_local_on_not_found"] == "true"

    url = f"{site.cluster.instances[0].url}/v2/cache/web/backend/manifests/latest"
    assert httpx.get(url, auth=site.cluster.admin, timeout=60).status_code == 200
    page.get_by_role("tab", name="Summary").click()
    expect(page.get_by_text(f"upstream ({upstream['url']})")).to_be_visible()


def test_an_export_of_findings_says_that_there_are_none(visit: Visit, site: Site) -> None:
    admin = visit("admin")
    page = admin.page
    admin.go("/harbor/interrogation-services/security-hub")
    page.get_by_role("button", name="New export").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Start").click()
    expect(dialog).to_contain_text("This is needed")
    dialog.get_by_label("Project").select_option("web")
    dialog.get_by_role("button", name="Start").click()
    exports = page.get_by_role("table", name="CSV exports")
    expect(exports).to_contain_text("Success", timeout=60_000)
    # Nothing here has findings, so there is no file, and the status says so.
    expect(exports.locator("[title='No vulnerabilities found or matched']").first).to_be_visible()


def test_groups_and_labels(visit: Visit, site: Site) -> None:
    admin = visit("admin")
    page = admin.page
    admin.go("/harbor/groups")
    page.get_by_role("button", name="New group").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Kind").select_option("OIDC")
    dialog.get_by_label("Name").fill("developers")
    dialog.get_by_role("button", name="Save").click()
    expect(admin.row("developers")).to_contain_text("OIDC")
    admin.act("developers", "Edit")
    page.get_by_role("dialog").get_by_label("Name").fill("makers")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(admin.row("makers")).to_be_visible()
    admin.act("makers", "Delete")
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    admin.said("Deleted")
    assert site.api.get("/usergroups").json() == []

    admin.go(f"/harbor/projects/{project_id(site)}/labels")
    page.get_by_role("button", name="New label").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("stable")
    dialog.get_by_role("button", name="Save").click()
    admin.act("stable", "Edit")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Description").fill("runs in production")
    dialog.get_by_label("Colour").fill("#aa3300")
    dialog.get_by_role("button", name="Save").click()
    expect(admin.row("stable")).to_contain_text("runs in production")
    query = {"scope": "p", "project_id": str(project_id(site))}
    [label] = site.api.get("/labels", params=query).json()
    assert label["color"] == "#aa3300"
    admin.act("stable", "Delete")
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    admin.said("Deleted")
    assert site.api.get("/labels", params=query).json() == []


def test_whom_a_project_trusts(visit: Visit, site: Site) -> None:
    admin = visit("admin")
    page = admin.page
    path = f"/projects/{project_id(site)}/trustedkeys"
    admin.go(f"/harbor/projects/{project_id(site)}/configs")
    card = page.get_by_role("table", name="Trusted keys and certificates")
    for name, usage in (("release", "Signatures"), ("rekor", "Times of signatures: a transparency log")):
        key = ec.generate_private_key(ec.SECP256R1()).public_key()
        pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        page.get_by_role("button", name="Add", exact=True).last.click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Name").first.fill(name)
        dialog.get_by_label("Trusted for").select_option(usage)
        dialog.get_by_label("Public key or certificate (PEM)").fill(pem.decode())
        dialog.get_by_role("button", name="Add").click()
        expect(card).to_contain_text(name)
    keys = site.api.get(path).json()
    assert {item["name"]: item["kind"] for item in keys} == {"release": "key", "rekor": "log"}
    for item in keys:
        assert site.api.delete(f"{path}/{item['id']}").status_code == 200


def test_robot_may_what_its_matrix_says(visit: Visit, site: Site) -> None:
    admin = visit("admin")
    page = admin.page
    admin.go(f"/harbor/projects/{project_id(site)}/robot-account")
    page.get_by_role("button", name="New robot account").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("reader")
    dialog.get_by_role("button", name="None").click()
    dialog.get_by_role("button", name="Create").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Choose at least one permission")
    dialog.get_by_role("checkbox", name="repository pull").check()
    dialog.get_by_role("button", name="Create").click()
    shown = page.get_by_role("dialog").filter(has_text="shown this once only")
    secret = shown.locator(".command").inner_text()
    shown.get_by_role("button", name="Done").click()
    name = admin.row("reader").locator("b").inner_text()

    def may(password: str, method: str, path: str) -> int:
        url = f"{site.cluster.instances[0].url}/v2/{path}"
        return httpx.request(method, url, auth=(name, password)).status_code

    assert may(secret, "GET", "web/backend/manifests/latest") == 200
    assert may(secret, "POST", "web/backend/blobs/uploads/") in (401, 403)
    admin.act("reader", "Edit")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("checkbox", name="repository pull")).to_be_checked()
    dialog.get_by_role("checkbox", name="repository push").check()
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)
    assert may(secret, "POST", "web/backend/blobs/uploads/") == 202
    admin.row("reader").get_by_role("button", name="Details").click()
    expect(page.get_by_role("table", name="Robot accounts")).to_contain_text("repository (pull, push)")
    admin.act("reader", "New secret")
    page.get_by_role("dialog").get_by_role("button", name="New secret").click()
    shown = page.get_by_role("dialog").filter(has_text="shown this once only")
    fresh = shown.locator(".command").inner_text()
    assert fresh != secret
    shown.get_by_role("button", name="Done").click()
    assert may(secret, "GET", "web/backend/manifests/latest") == 401
    assert may(fresh, "GET", "web/backend/manifests/latest") == 200
    admin.act("reader", "Disable")
    expect(admin.row("reader")).to_contain_text("Disabled")
    assert may(fresh, "GET", "web/backend/manifests/latest") == 401


def test_rules_are_edited_and_scheduled(visit: Visit, site: Site) -> None:
    site.post("/projects", {"project_name": "ruled"})
    site.push.image("ruled/app", "v1")
    admin = visit("admin")
    page = admin.page
    admin.go(f"/harbor/projects/{project_id(site, 'ruled')}/tag-strategy")
    page.get_by_role("button", name="Add rule").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    admin.act("the 10 most recently pushed", "Edit")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Keep").select_option("nDaysSinceLastPull")
    dialog.get_by_label("Number").fill("30")
    dialog.get_by_label("Tag pattern").fill("v*")
    dialog.get_by_role("button", name="Save").click()
    rules = page.get_by_role("table", name="Retention rules")
    expect(rules).to_contain_text("artifacts pulled within the last 30 days")
    page.get_by_label("Schedule").select_option("Daily")
    page.get_by_role("button", name="Save schedule").click()
    expect(page.get_by_text("Next run")).to_be_visible()
    number = site.api.get("/projects/ruled").json()["metadata"]["retention_id"]
    policy = site.api.get(f"/retentions/{number}").json()
    assert policy["rules"][0]["template"] == "nDaysSinceLastPull"
    assert policy["trigger"]["settings"]["cron"] == "0 0 0 * * *"

    page.get_by_role("button", name="Add rule").last.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Tag pattern").fill("v*")
    dialog.get_by_role("button", name="Save").click()
    immutable = page.get_by_role("table", name="Immutability rules")
    expect(immutable).to_contain_text("Enabled")
    tag = "/projects/ruled/repositories/app/artifacts/v1/tags/v1"
    assert site.api.delete(tag).status_code == 412
    immutable.get_by_role("button", name="Actions").click()
    page.get_by_role("menuitem", name="Disable", exact=True).click()
    expect(immutable).to_contain_text("Disabled")
    assert site.api.delete(tag).status_code == 200


def test_queues_schedules_and_the_default_quota(visit: Visit, site: Site) -> None:
    admin = visit("admin")
    page = admin.page
    admin.go("/harbor/clearing-job/gc")
    page.get_by_label("Schedule").select_option("Custom")
    page.get_by_label("Cron").fill("0 30 2 * * *")
    page.get_by_role("button", name="Save schedule").click()
    admin.said("Saved")
    admin.go("/harbor/job-service-dashboard/schedules")
    expect(page.get_by_role("table", name="Schedules")).to_contain_text("0 30 2 * * *")
    page.get_by_role("tab", name="Queues").click()
    queue = page.get_by_role("table", name="Queues").get_by_role("row").nth(1)
    queue.get_by_role("button", name="Actions").click()
    page.get_by_role("menuitem", name="Pause").click()
    expect(queue).to_contain_text("Paused")
    queue.get_by_role("button", name="Actions").click()
    page.get_by_role("menuitem", name="Resume").click()
    expect(queue).to_contain_text("Open")
    admin.go("/harbor/clearing-job/gc")
    page.get_by_label("Schedule").select_option("None")
    page.get_by_role("button", name="Save schedule").click()
    admin.said("Saved")

    admin.go("/harbor/project-quotas")
    page.get_by_role("button", name="Default:").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Storage quota").fill("3")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_role("button", name="Default: 3.00 GiB")).to_be_visible()
    assert site.api.get("/configurations").json()["storage_per_project"]["value"] == 3 * 1024**3
    site.api.put("/configurations", json={"storage_per_project": -1})


def test_a_project_stands_for_others(visit: Visit, site: Site) -> None:
    for name in ("ours", "older", "every"):
        site.post("/projects", {"project_name": name})
    admin = visit("admin")
    page = admin.page
    admin.go(f"/harbor/projects/{project_id(site, 'every')}/configs")
    members = page.get_by_role("combobox", name="Pulled from these projects, in this order")
    for name in ("ours", "older"):
        members.fill(name)
        page.keyboard.press("Enter")
    page.get_by_label("Where several hosted projects have an image").select_option("newest")
    page.get_by_role("button", name="Save").click()
    admin.said("Saved")
    metadata = site.api.get("/projects/every").json()["metadata"]
    assert (metadata["virtual_members"], metadata["virtual_order"]) == ("ours,older", "newest")
    # A project that has something, or belongs to a list, is not offered it.
    site.push.image("ours/app", "v1")
    admin.go(f"/harbor/projects/{project_id(site, 'ours')}/configs")
    expect(page.get_by_role("button", name="Save")).to_be_visible()
    expect(members).to_have_count(0)
