"""Cases about scans, SBOMs, exports and the security hub."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.harbor.caller import Caller, artifact
from tests.support.registry import Registry
from tests.support.scan.client import GENERIC
from tests.support.scan.content import npm
from tests.support.waiting import until

FAULTY = npm(("left-pad", "1.0.0"), ("mid-pad", "1.0.0"), ("right-pad", "1.0.0"), ("low-pad", "1.0.0"))
NEVER = "0001-01-01T00:00:00.000Z"


@pytest.fixture
def user(admin: Caller) -> Caller:
    return admin.user()[1]


def member_of_private(admin: Caller) -> tuple[Caller, str]:
    """A project administrator of a private project, and a repository in it."""
    user_id, user = admin.user()
    project, name = admin.project()
    admin.member(project, user_id)
    assert [item["project_id"] for item in user.call("GET", "/projects", public="false")] == [project]
    return user, f"{name}/app"


def test_an_image_is_scanned(admin: Caller) -> None:
    user, app = member_of_private(admin)
    user.push(app, "1.13", FAULTY)
    assert user.scanned(app, "1.13")["severity"] == "Critical"
    other = f"{app}-other"
    user.image(other)
    user.scanned(other, "latest")


def test_who_may_scan_in_a_public_project(admin: Caller, site: Registry) -> None:
    user_id, user = admin.user()
    project, name = admin.project(public=True)
    admin.member(project, user_id)
    app = f"{name}/app"
    user.image(app)
    nobody = Caller(site)
    nobody.http = httpx.Client(base_url=site.url)
    nobody.scan(app, "latest", expect=401)
    admin.user()[1].scan(app, "latest", expect=403)
    user.scanned(app, "latest")
    user.call("DELETE", f"/projects/{name}/repositories/app")


def test_a_scan_is_stopped(admin: Caller) -> None:
    user, app = member_of_private(admin)
    user.image(app)
    user.scan(app, "latest")
    user.api("POST", f"{artifact(app, 'latest')}/scan/stop", 202, json={"scan_type": "vulnerability"})


def test_an_sbom_is_made(admin: Caller) -> None:
    user, app = member_of_private(admin)
    user.push(app, "1.13", FAULTY)
    user.scan(app, "1.13", "sbom")

    def made() -> dict[str, Any] | None:
        shown = user.call("GET", artifact(app, "1.13"), with_sbom_overview=True).get("sbom_overview") or {}
        return shown if shown.get("scan_status") == "Success" else None

    overview: dict[str, Any] = until(made)
    assert overview["sbom_digest"].startswith("sha256:")


def test_an_sbom_is_stopped(admin: Caller) -> None:
    user, app = member_of_private(admin)
    user.image(app)
    user.scan(app, "latest", "sbom")
    user.api("POST", f"{artifact(app, 'latest')}/scan/stop", 202, json={"scan_type": "sbom"})


def test_pull_times_and_scans(admin: Caller, user: Caller) -> None:
    _, name = user.project()
    app = f"{name}/app"
    user.image(app)

    def pulled() -> str:
        return str(user.call("GET", artifact(app, "latest"))["pull_time"])

    admin.call("PUT", "/configurations", body={"scanner_skip_update_pulltime": True})
    user.scanned(app, "latest")
    assert pulled() == NEVER
    admin.call("PUT", "/configurations", body={"scanner_skip_update_pulltime": False})
    user.scan(app, "latest")
    until(lambda: pulled() != NEVER)


def test_everything_is_scanned(admin: Caller) -> None:
    apps = []
    for _ in range(2):
        _, user = admin.user()
        _, name = user.project()
        user.push(f"{name}/app", "latest", FAULTY)
        apps.append((user, f"{name}/app"))
    assert admin.api("POST", "/system/scanAll/schedule", 201, json={"schedule": {"type": "Manual"}})
    until(lambda: admin.call("GET", "/scans/all/metrics").get("ongoing") is False)
    for user, app in apps:
        assert user.overview(app, "latest")["scan_status"] == "Success"


def test_the_scan_of_everything_is_stopped(admin: Caller) -> None:
    _, user = admin.user()
    _, name = user.project()
    user.image(f"{name}/app")
    admin.api("POST", "/system/scanAll/schedule", 201, json={"schedule": {"type": "Manual"}})
    admin.api("POST", "/system/scanAll/stop", 202)
    until(lambda: admin.call("GET", "/scans/all/metrics").get("ongoing") is False)


def test_findings_are_exported(admin: Caller, user: Caller) -> None:
    project, name = user.project()
    user.push(f"{name}/app", "latest", FAULTY)
    user.scanned(f"{name}/app", "latest")
    wanted = {"projects": [project], "job_name": "one"}
    kind = {"X-Scan-Data-Type": GENERIC}
    path = "/export/cve"
    missing = user.api("POST", path, 422, json=wanted, headers={"X-Scan-Data-Type": ""})
    assert "X-Scan-Data-Type in header is required" in missing.text
    two = user.api("POST", path, 400, json={"projects": [1, project]}, headers=kind)
    assert "bad request: only support export single project" in two.text
    number = user.api("POST", path, json=wanted, headers=kind).json()["id"]
    assert number not in [item["id"] for item in admin.call("GET", "/export/cve/executions")["items"]]
    assert "FORBIDDEN" in admin.api("GET", f"/export/cve/execution/{number}", 403).text
    [listed] = user.call("GET", "/export/cve/executions")["items"]
    assert (listed["id"], listed["user_name"]) == (number, user.name)
    ended = until(
        lambda: (
            found
            if (found := user.call("GET", f"/export/cve/execution/{number}"))["status"] == "Success"
            else None
        )
    )
    assert (ended["user_name"], ended["file_present"]) == (user.name, True)
    admin.api("GET", f"/export/cve/download/{number}", 403)
    text = user.api("GET", f"/export/cve/download/{number}").text
    assert {"CVE-2024-1", "CVE-2024-4"} <= {line.split(",")[2] for line in text.splitlines()[1:]}
    user.api("GET", f"/export/cve/download/{number}", 404)
    assert user.call("GET", f"/export/cve/execution/{number}")["file_present"] is False
    none = user.api("POST", path, json={**wanted, "cveIds": "CVE-1999-1"}, headers=kind).json()["id"]
    empty = until(
        lambda: (
            found
            if (found := user.call("GET", f"/export/cve/execution/{none}"))["status"] == "Success"
            else None
        )
    )
    assert (empty["file_present"], empty["status_text"]) == (False, "No vulnerabilities found or matched")


def test_the_security_hub(admin: Caller, user: Caller) -> None:
    project, name = user.project()
    app = f"{name}/app"
    digest = user.push(app, "v2.2.0", FAULTY)
    user.scanned(app, "v2.2.0")
    summary = admin.call("GET", "/security/summary", with_dangerous_cve=True, with_dangerous_artifact=True)
    for grade in ("critical", "high", "medium", "low", "fixable", "scanned"):
        assert summary[f"{grade}_cnt"] > 0, grade
    assert summary["total_artifact"] > 0
    assert summary["total_vuls"] > 0
    worst = summary["dangerous_artifacts"]
    assert 0 < len(worst) <= 5
    ranks = [(item["critical_cnt"], item["high_cnt"], item["medium_cnt"]) for item in worst]
    assert ranks == sorted(ranks, reverse=True)
    scores = [float(item["cvss_score_v3"]) for item in summary["dangerous_cves"]]
    assert 0 < len(scores) <= 5
    assert scores == sorted(scores, reverse=True)

    def found(q: str) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = admin.call("GET", "/security/vul", q=q, page_size=100, with_tag=True)
        assert listed, q
        for item in listed:
            assert all(item.get(key) for key in ("cve_id", "severity", "package", "version", "desc"))
            assert item["links"] is not None
        return listed

    for grade in ("Critical", "High", "Medium", "Low"):
        assert {item["severity"] for item in found(f"severity={grade}")} == {grade}
    one = found(f"project_id={project}")[0]
    assert {item["project_id"] for item in found(f"project_id={project}")} == {project}
    assert {item["repository_name"] for item in found(f"repository_name={app}")} == {app}
    assert all("v2.2.0" in item["tags"] for item in found("tag=v2.2.0"))
    assert {item["digest"] for item in found(f"digest={digest}")} == {digest}
    assert {item["package"] for item in found(f"package={one['package']}")} == {one["package"]}
    assert {item["cve_id"] for item in found(f"cve_id={one['cve_id']}")} == {one["cve_id"]}
    score = one["cvss_v3_score"]
    assert {item["cvss_v3_score"] for item in found(f"cvss_score_v3=[{score}~{score}]")} == {score}
    everything = (
        f"severity={one['severity']},project_id={project},repository_name={app},tag=v2.2.0,digest={digest},"
        f"package={one['package']},cve_id={one['cve_id']},cvss_score_v3=[{score}~{score}]"
    )
    assert len(found(everything)) == 1
    for path in ("/security/summary", "/security/vul"):
        assert "FORBIDDEN" in str(user.call("GET", path, 403))
