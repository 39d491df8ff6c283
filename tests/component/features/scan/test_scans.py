"""Scans through the running server: on request, on push, all; reports, gate, hub, export, SBOM."""

# ruff: noqa: E501 - a table
from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from seawall.infra.db import open_database
from seawall.infra.jobs import tables
from tests.support.registry import Registry
from tests.support.scan.advisories import ev, record
from tests.support.scan.client import GENERIC, INDEX, MANIFEST, Client, artifact
from tests.support.scan.content import CRITICAL, DEBIAN, advisories, npm, project
from tests.support.waiting import until

MEDIUM = [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:L/I:N/A:N"}]


@pytest.fixture(scope="module")
def client(
    database_settings: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Client]:
    """A registry with advisories, on SQLite and on PostgreSQL."""
    root = tmp_path_factory.mktemp("scans")
    settings = dict(database_settings)
    if settings:
        # The session's database belongs to another server, whose master key this one does not have.
        settings["SEAWALL_DATABASE__URL"] = request.getfixturevalue("postgres").migrated()
    server = Registry(root / "data", settings)
    server.start()
    try:
        advisories(
            server,
            root / "osv",
            record("GHSA-1", "left", "npm", ev(("introduced", "0"), ("fixed", "1.2.0")), severity=CRITICAL, aliases=["CVE-2024-1111"]),
            record("GHSA-2", "right", "npm", ev(("introduced", "0")), severity=MEDIUM, aliases=["CVE-2024-2222"]),
            record("CVE-2024-3333", "foo", "Debian:12", ev(("introduced", "0"), ("fixed", "1:1.0-2"))),
        )  # fmt: skip
        yield Client(server)
    finally:
        server.close()


def user(client: Client, name: str, project_name: str = "", role: int = 0) -> Client:
    """A user, member of a project with a role (2 developer, 3 guest, 4 maintainer)."""
    secret = "Password-12345"
    body = {"username": name, "password": secret, "email": f"{name}@example.com", "realname": name}
    client.api("POST", "/users", 201, json=body)
    if role:
        member = {"role_id": role, "member_user": {"username": name}}
        client.api("POST", f"/projects/{project_name}/members", 201, json=member)
    return Client(client.registry, (name, secret))


def job_logs(client: Client) -> str:
    """What every scan job has logged."""
    variables = client.registry.environment
    url = variables.get("SEAWALL_DATABASE__URL") or f"sqlite:///{client.registry.data_dir / 'seawall.db'}"
    db = open_database(url, pool_size=1)
    try:
        return "".join(db.sync_read(lambda c: list(c.execute(select(tables.job_logs.c.text)).scalars())))
    finally:
        asyncio.run(db.close())


def test_scan_on_request(client: Client) -> None:
    project(client, "request")
    digest = client.push(
        "request/a/b", "v1", DEBIAN, npm(("left", "1.0.0"), ("right", "9.0.0"), ("up", "1.0.0"))
    )
    assert client.report("request/a/b", "v1") is None
    client.scan("request/a/b", "v1")
    report = client.wait_report("request/a/b", "v1")
    assert report["artifact"]["digest"] == digest
    assert report["severity"] == "Critical"
    assert report["scanner"]["name"] == "Seawall"
    rows = [(v["id"], v["package"], v["version"], v["fix_version"], v["severity"], v["status"]) for v in report["vulnerabilities"]]  # fmt: skip
    assert rows == [
        ("CVE-2024-1111", "left", "1.0.0", "1.2.0", "Critical", "fixed"),
        ("CVE-2024-2222", "right", "9.0.0", "", "Medium", "affected"),
        ("CVE-2024-3333", "libfoo1", "1:1.0-1", "1:1.0-2", "Unknown", "fixed"),
    ]
    assert report["vulnerabilities"][0]["preferred_cvss"]["score_v3"] == 9.8
    assert report["vulnerabilities"][0]["artifact_digests"] == [digest]
    native = "application/vnd.scanner.adapter.vuln.report.harbor+json; version=1.0"
    path = f"{artifact('request/a/b', digest)}/additions/vulnerabilities"
    shown = client.api("GET", path, headers={"X-Accept-Vulnerabilities": native}).json()
    assert list(shown) == [native]
    # None that is known: Harbor's own.
    shown = client.api("GET", path, headers={"X-Accept-Vulnerabilities": "text/plain"}).json()
    assert list(shown) == [native]
    overview = client.get(artifact("request/a/b", "v1"), with_scan_overview="true")["scan_overview"][GENERIC]
    assert (overview["scan_status"], overview["severity"], overview["complete_percent"]) == (
        "Success",
        "Critical",
        100,
    )
    assert overview["summary"] == {
        "total": 3,
        "fixable": 2,
        "summary": {"Critical": 1, "Medium": 1, "Unknown": 1},
    }
    assert overview["scanner"]["name"] == "Seawall"
    log = client.api("GET", f"{artifact('request/a/b', 'v1')}/scan/{overview['report_id']}/log").text
    assert "reading 2 layers" in log
    client.api("GET", f"{artifact('request/a/b', 'v1')}/scan/nothing/log", 404)
    # Scanned again, the same list of packages is used.
    client.scan("request/a/b", digest)
    assert until(lambda: "package list known" in job_logs(client))


def test_what_cannot_be_scanned(client: Client) -> None:
    project(client, "refused")
    client.scan("refused/none", "v1", expect=404)
    config = {"mediaType": "application/vnd.cncf.helm.config.v1+json", **client.blob("refused/chart", b"{}")}
    chart = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []}
    client.manifest("refused/chart", "v1", chart)
    client.scan("refused/chart", "v1", expect=400)
    client.scan("refused/chart", "v1", "nonsense", expect=422)
    client.api("GET", f"{artifact('refused/chart', 'v1')}/additions/vulnerabilities", 404)
    broken = client.push("refused/broken", "v1", b"this is no tar archive" * 50)
    client.scan("refused/broken", broken)
    assert until(lambda: "not a tar archive" in job_logs(client))
    assert client.report("refused/broken", broken) is None


def test_index(client: Client) -> None:
    project(client, "index")
    first = client.push("index/x", "", npm(("left", "1.0.0")), note="1")
    second = client.push("index/x", "", npm(("left", "1.0.0"), ("right", "1.0.0")), note="2")
    children = [{"mediaType": MANIFEST, "digest": d, "size": 1} for d in (first, second)]
    index = client.manifest("index/x", "all", {"schemaVersion": 2, "mediaType": INDEX, "manifests": children})
    # Until each image has a report there is none of the index, as in Harbor: a part would look like the whole.
    client.scan("index/x", first)
    until(lambda: client.report("index/x", first))
    assert client.report("index/x", "all") is None
    assert "scan_overview" not in client.get(artifact("index/x", index), with_scan_overview="true")
    client.scan("index/x", "all")
    until(lambda: client.report("index/x", first) and client.report("index/x", second))
    report = client.report("index/x", index)
    assert report is not None
    overview = client.get(artifact("index/x", index), with_scan_overview="true")["scan_overview"][GENERIC]
    assert (overview["severity"], overview["summary"]["total"]) == ("Critical", 3)
    by_id = {item["id"]: item for item in report["vulnerabilities"]}
    assert sorted(by_id) == ["CVE-2024-1111", "CVE-2024-2222"]
    assert sorted(by_id["CVE-2024-1111"]["artifact_digests"]) == sorted([first, second])
    # The gate holds back images, not the index by which clients choose one: some of them may be fine.
    third = client.push("index/x", "", npm(("right", "1.0.0")), note="3")
    children.append({"mediaType": MANIFEST, "digest": third, "size": 1})
    client.manifest("index/x", "all", {"schemaVersion": 2, "mediaType": INDEX, "manifests": children})
    client.scan("index/x", third)
    until(lambda: client.report("index/x", third))
    client.api("PUT", "/projects/index", json={"metadata": {"prevent_vul": "true", "severity": "high"}})
    statuses = [
        client.http.get(f"/v2/index/x/manifests/{name}").status_code for name in ("all", first, second, third)
    ]
    assert statuses == [200, 412, 412, 200]


def test_scan_on_push_and_gate(client: Client) -> None:
    project(client, "gate", auto_scan="true", prevent_vul="true", severity="high")
    digest = client.push("gate/x", "v1", npm(("left", "1.0.0"), ("right", "1.0.0")))
    fine = client.push("gate/x", "v2", npm(("right", "1.0.0")))
    assert client.ids("gate/x", digest) == ["CVE-2024-1111", "CVE-2024-2222"]
    refused = client.http.get("/v2/gate/x/manifests/v1")
    assert refused.status_code == 412
    error = refused.json()["errors"][0]
    assert error["code"] == "DENIED"
    assert 'severity "High" or higher' in error["message"]
    # HEAD gives nothing away that runs, as in Harbor.
    assert client.http.head("/v2/gate/x/manifests/v1").status_code == 200
    assert client.ids("gate/x", fine) == ["CVE-2024-2222"]
    assert client.http.get("/v2/gate/x/manifests/v2").status_code == 200
    # The project's own allowlist, then the system's.
    allow = {"items": [{"cve_id": "CVE-2024-1111"}]}
    own = {"metadata": {"reuse_sys_cve_allowlist": "false"}, "cve_allowlist": allow}
    client.api("PUT", "/projects/gate", json=own)
    assert client.http.get("/v2/gate/x/manifests/v1").status_code == 200
    client.api("PUT", "/projects/gate", json={"metadata": {"reuse_sys_cve_allowlist": "true"}})
    assert client.http.get("/v2/gate/x/manifests/v1").status_code == 412
    client.api("PUT", "/system/CVEAllowlist", json=allow)
    assert client.http.get("/v2/gate/x/manifests/v1").status_code == 200
    expired = {**allow, "expires_at": 1_600_000_000}
    client.api("PUT", "/system/CVEAllowlist", json=expired)
    assert client.http.get("/v2/gate/x/manifests/v1").status_code == 412
    client.api("PUT", "/system/CVEAllowlist", json={"items": []})
    # What has not been scanned is held back too.
    client.api("PUT", "/projects/gate", json={"metadata": {"auto_scan": "false"}})
    client.push("gate/x", "v3", npm(("new", "1.0.0")))
    assert client.http.get("/v2/gate/x/manifests/v3").status_code == 412
    client.scan("gate/x", "v3")
    until(lambda: client.http.get("/v2/gate/x/manifests/v3").status_code == 200)


def test_new_advisories_are_matched_without_reading_layers(client: Client, tmp_path: Path) -> None:
    project(client, "fresh")
    digest = client.push("fresh/x", "v1", npm(("later", "1.0.0")))
    client.scan("fresh/x", "v1")
    assert client.ids("fresh/x", "v1") == []
    item = record("GHSA-77", "later", "npm", ev(("introduced", "0")), severity=CRITICAL)
    advisories(client.registry, tmp_path / "more", item)
    until(lambda: client.ids("fresh/x", digest) == ["GHSA-77"])
    advisories(client.registry, tmp_path / "more", {**item, "withdrawn": "2024-05-01T00:00:00Z"})
    until(lambda: client.ids("fresh/x", digest) == [])


def test_sbom_is_a_referrer(client: Client) -> None:
    project(client, "sbom")
    digest = client.push("sbom/x", "v1", DEBIAN, npm(("left", "1.0.0")))
    client.scan("sbom/x", "v1", "sbom")

    def referrers() -> list[dict[str, Any]]:
        kind = "application/vnd.goharbor.harbor.sbom.v1"
        found = client.http.get(f"/v2/sbom/x/referrers/{digest}", params={"artifactType": kind})
        return list(found.json()["manifests"])

    (entry,) = until(referrers)
    manifest = client.http.get(f"/v2/sbom/x/manifests/{entry['digest']}").json()
    assert manifest["subject"]["digest"] == digest
    layers = {layer["mediaType"]: layer for layer in manifest["layers"]}
    spdx = client.http.get(f"/v2/sbom/x/blobs/{layers['application/spdx+json']['digest']}").json()
    assert spdx["spdxVersion"] == "SPDX-2.3"
    purls = {ref["referenceLocator"] for p in spdx["packages"] for ref in p.get("externalRefs", [])}
    assert purls == {
        "pkg:npm/left@1.0.0",
        "pkg:deb/debian/libfoo1@1:1.0-1?arch=amd64&distro=debian-12&upstream=foo",
    }
    bom = client.http.get(f"/v2/sbom/x/blobs/{layers['application/vnd.cyclonedx+json']['digest']}").json()
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")
    assert {c["purl"] for c in bom["components"] if "purl" in c} == purls
    overview = client.get(artifact("sbom/x", "v1"), with_sbom_overview="true")["sbom_overview"]
    assert (overview["scan_status"], overview["sbom_digest"]) == ("Success", entry["digest"])
    for shown in ("v1", entry["digest"]):
        assert client.get(f"{artifact('sbom/x', shown)}/additions/sbom") == spdx
    accessories = client.get(f"{artifact('sbom/x', 'v1')}/accessories")
    assert [a["type"] for a in accessories] == ["sbom.harbor"]
    # Made again, it takes the place of the first.
    client.scan("sbom/x", "v1", "sbom")
    until(lambda: [e["digest"] for e in referrers()] not in ([entry["digest"]], []) and len(referrers()) == 1)


def test_scan_all(client: Client) -> None:
    project(client, "all")
    digests = [client.push("all/x", f"v{n}", npm(("left", "1.0.0"), ("n", f"{n}.0.0"))) for n in range(5)]
    client.api("POST", "/system/scanAll/schedule", 201, json={"schedule": {"type": "Manual"}})
    for digest in digests:
        assert client.ids("all/x", digest) == ["CVE-2024-1111"]

    def over() -> Any:
        stats = client.get("/scans/all/metrics")
        return not stats["ongoing"] and stats["total"] and stats

    stats = until(over)
    assert stats["total"] >= 5
    assert stats["completed"] == stats["total"]
    assert stats["metrics"]["Success"] >= 5
    assert stats["metrics"].keys() == {"Pending", "Running", "Success", "Error", "Stopped"}
    assert stats["trigger"] == "Manual"
    schedule = {"schedule": {"type": "Custom", "cron": "0 0 1 * * *"}}
    client.api("POST", "/system/scanAll/schedule", 201, json=schedule)
    assert client.get("/system/scanAll/schedule")["schedule"]["cron"] == "0 0 1 * * *"
    client.api("POST", "/system/scanAll/schedule", 201, json=schedule)
    # A run by hand is started with POST only, as in Harbor.
    client.api("PUT", "/system/scanAll/schedule", 400, json={"schedule": {"type": "Manual"}})
    assert client.get("/system/scanAll/schedule")["schedule"]["cron"] == "0 0 1 * * *"
    client.api("PUT", "/system/scanAll/schedule", json={"schedule": {"type": "None"}})
    assert client.api("GET", "/system/scanAll/schedule").text == ""
    client.api("POST", "/system/scanAll/stop", 202)


def test_security_hub(client: Client) -> None:
    number = project(client, "hub")
    digest = client.push("hub/x", "one", npm(("left", "1.1.0"), ("right", "2.0.0")))
    client.scan("hub/x", "one")
    client.wait_report("hub/x", "one")
    summary = client.get("/security/summary", with_dangerous_cve="true", with_dangerous_artifact="true")
    assert summary["critical_cnt"] >= 1
    assert summary["total_vuls"] == sum(
        summary[f"{name}_cnt"] for name in ("critical", "high", "medium", "low", "none", "unknown")
    )
    assert summary["scanned_cnt"] <= summary["total_artifact"]
    assert summary["dangerous_cves"][0]["cvss_score_v3"] == 9.8
    assert summary["dangerous_artifacts"][0]["critical_cnt"] >= 1
    assert "dangerous_cves" not in client.get("/security/summary")

    def search(q: str, **more: Any) -> list[dict[str, Any]]:
        return list(client.get("/security/vul", q=q, **more))

    (item,) = search(f"digest={digest},cve_id=CVE-2024-1111", with_tag="true")
    assert (item["package"], item["version"], item["fixed_version"]) == ("left", "1.1.0", "1.2.0")
    assert (item["project_id"], item["repository_name"], item["tags"]) == (number, "hub/x", ["one"])
    assert len(search(f"project_id={number}")) == 2
    assert [v["cve_id"] for v in search(f"project_id={number},severity=Medium")] == ["CVE-2024-2222"]
    assert [v["cve_id"] for v in search(f"project_id={number},cvss_score_v3=[7~10]")] == ["CVE-2024-1111"]
    assert [v["cve_id"] for v in search("repository_name=hub/x,package=right")] == ["CVE-2024-2222"]
    assert len(search(f"project_id={number},tag=one")) == 2
    assert search(f"project_id={number},tag=two") == []
    assert [v["cve_id"] for v in search(f"project_id={number},status=fixed")] == ["CVE-2024-1111"]
    page = client.api("GET", "/security/vul", params={"q": f"project_id={number}", "page_size": 1})
    assert page.headers["x-total-count"] == "2"
    assert 'rel="next"' in page.headers["link"]
    client.api("GET", "/security/vul", 400, params={"q": "nonsense=1"})
    nobody = user(client, "hubless")
    nobody.api("GET", "/security/summary", 403)
    nobody.api("GET", "/security/vul", 403)


def test_export(client: Client) -> None:
    number = project(client, "export")
    client.push("export/a", "v1", npm(("left", "1.0.0"), ("right", "1.0.0")))
    client.push("export/b", "v2", npm(("left", "1.0.0")))
    for name, tag in (("export/a", "v1"), ("export/b", "v2")):
        client.scan(name, tag)
        client.wait_report(name, tag)

    kind = {"X-Scan-Data-Type": GENERIC}

    def rows(**criteria: Any) -> list[dict[str, str]]:
        body = {"projects": [number], **criteria}
        made = client.api("POST", "/export/cve", json=body, headers=kind).json()["id"]
        until(lambda: client.get(f"/export/cve/execution/{made}")["file_present"])
        file = client.api("GET", f"/export/cve/download/{made}")
        assert file.headers["content-type"].startswith("text/csv")
        name = f'attachment; filename="scandata_export_{made}.csv"'
        assert file.headers["content-disposition"] == name
        return list(csv.DictReader(io.StringIO(file.text)))

    everything = rows()
    assert [(r["Repository"], r["CVE"]) for r in everything] == [
        ("export/a", "CVE-2024-1111"),
        ("export/a", "CVE-2024-2222"),
        ("export/b", "CVE-2024-1111"),
    ]
    assert everything[0]["Fixed Version"] == "1.2.0"
    assert [r["Repository"] for r in rows(cveIds="{CVE-2024-2222}")] == ["export/a"]
    assert {r["Repository"] for r in rows(repositories="{b}")} == {"export/b"}
    assert {r["Repository"] for r in rows(tags="{v2}")} == {"export/b"}
    listed = client.get("/export/cve/executions")["items"]
    assert len(listed) == 4
    client.api("POST", "/export/cve", 400, json={"projects": []}, headers=kind)
    other = user(client, "exportless")
    other.api("POST", "/export/cve", 403, json={"projects": [number]}, headers=kind)
    other.api("GET", f"/export/cve/download/{listed[0]['id']}", 403)


def test_roles(client: Client) -> None:
    project(client, "roles")
    client.push("roles/x", "v1", npm(("left", "1.0.0")))
    guest = user(client, "scanguest", "roles", 3)
    maintainer = user(client, "scanmaint", "roles", 4)
    outsider = user(client, "scanout")
    guest.scan("roles/x", "v1", expect=403)
    outsider.scan("roles/x", "v1", expect=403)
    maintainer.scan("roles/x", "v1")
    assert guest.ids("roles/x", "v1") == ["CVE-2024-1111"]
    outsider.api("GET", f"{artifact('roles/x', 'v1')}/additions/vulnerabilities", 403)
    for who in (guest, maintainer):
        who.api("GET", "/scanners", 403)
        who.api("POST", "/system/scanAll/schedule", 403, json={"schedule": {"type": "Manual"}})
    # As older versions of Harbor are asked, and their clients still do.
    for query, count in (({"name": "eawal"}, 1), ({"ex_name": "Seawall"}, 1), ({"ex_name": "eawal"}, 0)):
        assert len(client.get("/scanners", **query)) == count
    assert client.get("/scanners", ex_url="http://nowhere.example") == []
    assert guest.get("/projects/roles/scanner")["name"] == "Seawall"


def test_a_robot_for_sboms_alone(client: Client) -> None:
    """A right to make SBOMs, or to stop them, is enough for that, and is none to scan."""
    project(client, "sbomrobot")
    client.push("sbomrobot/x", "v1", npm(("left", "1.0.0")))
    where = f"{artifact('sbomrobot/x', 'v1')}/scan"
    for mine, other in (("sbom", "vulnerability"), ("vulnerability", "sbom")):
        resource = "sbom" if mine == "sbom" else "scan"
        access = [{"resource": resource, "action": action} for action in ("create", "stop")]
        permission = {"kind": "project", "namespace": "sbomrobot", "access": access}
        body = {"name": mine, "level": "project", "duration": 1, "permissions": [permission]}
        made = client.api("POST", "/robots", 201, json=body).json()
        robot = Client(client.registry, (made["name"], made["secret"]))
        robot.api("POST", where, 403, json={"scan_type": other})
        robot.api("POST", f"{where}/stop", 403, json={"scan_type": other})
        robot.api("POST", where, 202, json={"scan_type": mine})
        robot.api("POST", f"{where}/stop", 202, json={"scan_type": mine})


def test_sboms_of_others_show_as_accessories_and_additions(client: Client) -> None:
    digest = client.push("library/attached", "v1", npm(("left", "1.0.0")), note="attached")
    client.api("GET", f"{artifact('library/attached', digest)}/additions/sbom", 404)
    empty = {"mediaType": "application/vnd.oci.empty.v1+json", **client.blob("library/attached", b"{}")}
    held = {}
    for kind, name in (("application/vnd.cyclonedx+json", "sbom.cyclonedx"), ("text/spdx+json", "sbom.spdx")):
        data = json.dumps({"made by": name}).encode()
        layer = {"mediaType": kind, **client.blob("library/attached", data)}
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind, "config": empty}
        subject = {"mediaType": MANIFEST, "digest": digest, "size": 1}
        held[name] = client.manifest(
            "library/attached", "", {**manifest, "layers": [layer], "subject": subject}
        )
        shown = client.api("GET", f"{artifact('library/attached', digest)}/additions/sbom")
        assert shown.content == data  # the newest
    found = client.get(f"{artifact('library/attached', digest)}/accessories")
    assert {item["type"]: item["digest"] for item in found} == held
    addition = client.api("GET", f"{artifact('library/attached', held['sbom.cyclonedx'])}/additions/sbom")
    assert addition.json() == {"made by": "sbom.cyclonedx"}
