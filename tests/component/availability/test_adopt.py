"""`seawall adopt-harbor`: a Harbor's database and a Distribution's folder, taken over where they are."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.digests import digest_of
from tests.support.harbor.database import SECRET_KEY, Harbor, blob_file, hashed, sealed
from tests.support.harbor.move import Move, pulls
from tests.support.oci.remote import MANIFEST, Remote, push_signed
from tests.support.processes import SEAWALL
from tests.support.registry import Registry
from tests.support.servers.docker_registry import DockerRegistry
from tests.support.servers.postgres import Postgres
from tests.support.terminal import at_terminal

HERE = ("Harbor12345", "Password1", "Robot-secret-1")


@pytest.fixture
def move(tmp_path: Path, postgres: Postgres) -> Iterator[Move]:
    """See `_moving`; the Seawall is on SQLite."""
    yield from _moving(tmp_path, postgres, {})


@pytest.fixture
def move_on_each(tmp_path: Path, postgres: Postgres, database_settings: dict[str, str]) -> Iterator[Move]:
    """See `_moving`; the Seawall is on either database."""
    yield from _moving(tmp_path, postgres, database_settings)


def _moving(tmp_path: Path, postgres: Postgres, database_settings: dict[str, str]) -> Iterator[Move]:
    """Three projects, one private, with people, robots and rules; the Seawall is fresh, and runs."""
    old = DockerRegistry(tmp_path)
    old.start()
    harbor = Harbor(postgres.database())
    new = Registry(
        tmp_path / "seawall", {**database_settings, "SEAWALL_STORAGE__ROOT": str(tmp_path / "data")}
    )
    try:
        remote = Remote(old.url)
        base = os.urandom(100_000)
        remote.push_image("library/app", "1.0", [base, b"one"])
        remote.push_image("library/app", "1.1", [base, b"two"])
        remote.push_image("team/tool", "2.0", [base])
        signed = push_signed(remote, "team/signed", "v1")
        alice = harbor.user("alice", "Password1", "pbkdf2_sha256")
        harbor.user("bob", "Password2", "sha1", sysadmin_flag=True)
        harbor.user("gone#9", "Password3", deleted=True)
        team = harbor.project("team", owner=alice)
        library = 1
        harbor.add("project_member", project_id=team, entity_id=3, entity_type="u", role=3)
        harbor.robot(
            "team+ci", "Robot-secret-1", [(f"/project/{team}", "repository", "pull")], project_id=team
        )
        harbor.robot("all", "Robot-secret-2", [("/project/*", "repository", "pull")])
        for name, project in (("library/app", library), ("team/tool", team), ("team/signed", team)):
            harbor.repository(project, name, tmp_path / "data")
        new.start()
        yield Move(harbor, old, signed, new, {"library": library, "team": team})
    finally:
        new.close()
        harbor.close()
        old.stop()


def test_everything_comes_and_nothing_moves(move_on_each: Move) -> None:
    move = move_on_each
    before = move.snapshot()
    dry = move.run()
    assert dry["counts"]["artifact"]["new"] == dry["counts"]["artifact"]["found"] > 5
    assert (dry["left"], dry["kept"]) == ([], [])
    done = move.run("--apply")
    assert done["counts"]["user"] == {"found": 3, "new": 2, "changed": 1, "removed": 0}
    assert done["left"] == []
    here = Remote(move.new.url, ("admin", "Harbor12345"))
    there = Remote(move.old.url)
    for repository in ("library/app", "team/tool", "team/signed"):
        assert here.tags(repository) == there.tags(repository)
        for tag in there.tags(repository):
            assert here.digest(repository, tag) == there.digest(repository, tag)
            here.check(repository, tag)
    # People and programs go on with what they have.
    assert pulls(move.new.url, "team/tool", "2.0", "alice", "Password1") == 0
    assert pulls(move.new.url, "team/tool", "2.0", "alice", "Password2") != 0
    assert pulls(move.new.url, "team/tool", "2.0", "robot$team+ci", "Robot-secret-1") == 0
    assert pulls(move.new.url, "library/app", "1.0", "robot$all", "Robot-secret-2") == 0
    # Again, now that the hashes are ours.
    assert pulls(move.new.url, "team/tool", "2.0", "alice", "Password1") == 0
    assert pulls(move.new.url, "team/tool", "2.0", "robot$team+ci", "Robot-secret-2") != 0
    with httpx.Client(base_url=f"{move.new.url}/api/v2.0", auth=("bob", "Password2")) as api:
        assert api.get("/users/current").json()["sysadmin_flag"] is True
        artifacts = api.get("/projects/team/repositories/signed/artifacts?with_accessory=true").json()
        assert move.signed.cosign_tag in there.tags("team/signed")
        assert len(artifacts) == 1
        assert artifacts[0]["accessories"]
        assert artifacts[0]["push_time"].startswith("2024-01-02T03:04:05")
        [quota] = [item for item in api.get("/quotas").json() if item["ref"]["name"] == "team"]
        assert quota["used"]["storage"] > 100_000
        assert api.get("/projects/team").json()["project_id"] == move.projects["team"]
    # New content goes beside the old, which nobody has touched.
    here.push_image("team/tool", "3.0", [b"new here"])
    here.check("team/tool", "3.0")
    assert move.snapshot() == before
    move.old.stop()
    move.old.start()
    for tag in there.tags("library/app"):
        there.check("library/app", tag)


def test_runs_again_until_the_switch(move: Move) -> None:
    move.run("--apply")
    there = Remote(move.old.url)
    # Nothing new: nothing is written.
    again = move.run("--apply")
    assert not any(item[what] for item in again["counts"].values() for what in ("new", "changed", "removed"))
    here = Remote(move.new.url, ("admin", "Harbor12345"))
    there.push_image("library/app", "1.2", [b"later"])
    there.push_image("library/app", "1.1", [b"moved"])
    move.harbor.repository(1, "library/app", move.tree)
    move.harbor.user("carol", "Password4")
    move.harbor.run(
        "UPDATE harbor_user SET email = 'new@example.com', password = %s WHERE username = 'alice'",
        hashed("Password9", "salt-of-alice", "pbkdf2_sha256"),
    )
    move.harbor.run("DELETE FROM robot WHERE name = 'all'")
    move.harbor.run("DELETE FROM repository WHERE name = 'team/signed'")
    # Here: a tag of our own, and a profile that somebody has changed.
    here.push_image("team/tool", "mine", [b"mine"])
    later = move.run("--apply")
    assert later["counts"]["user"] == {"found": 4, "new": 1, "changed": 1, "removed": 0}
    assert later["counts"]["robot"]["removed"] == 1
    assert later["counts"]["repository"]["removed"] == 1
    assert here.tags("library/app") == there.tags("library/app")
    assert here.digest("library/app", "1.1") == there.digest("library/app", "1.1")
    assert here.tags("team/signed") == []
    assert "mine" in here.tags("team/tool")
    assert pulls(move.new.url, "team/tool", "2.0", "alice", "Password9") == 0
    assert pulls(move.new.url, "team/tool", "2.0", "robot$all", "Robot-secret-2") != 0


def test_what_was_changed_here_stays(move: Move) -> None:
    move.run("--apply")
    here = Remote(move.new.url, ("admin", "Harbor12345"))
    here.push_image("library/app", "1.0", [b"ours"])
    ours = here.digest("library/app", "1.0")
    with httpx.Client(base_url=f"{move.new.url}/api/v2.0", auth=("admin", "Harbor12345")) as api:
        user = next(item for item in api.get("/users").json() if item["username"] == "alice")
        body = {"email": "here@example.com", "realname": "Alice", "comment": ""}
        assert api.put(f"/users/{user['user_id']}", json=body).status_code == 200
    move.harbor.run("UPDATE harbor_user SET email = 'there@example.com' WHERE username = 'alice'")
    Remote(move.old.url).push_image("library/app", "1.0", [b"theirs"])
    move.harbor.repository(1, "library/app", move.tree)
    kept = "\n".join(move.run("--apply")["kept"])
    assert "user alice: was changed here and in Harbor" in kept
    assert "tag library/app:1.0: was moved here" in kept
    assert here.digest("library/app", "1.0") == ours


def test_scan_reports(move: Move) -> None:
    """What Harbor's scanner found is known here at once, so that the gate on pulls goes on."""
    harbor = move.harbor
    trivy: dict[str, Any] = {
        "uuid": "trivy-1",
        "name": "Trivy",
        "url": "http://trivy-adapter:8080",
        "immutable": True,
    }
    harbor.add("scanner_registration", disabled=False, skip_cert_verify=False, **trivy)
    digest = Remote(move.old.url).digest("library/app", "1.0")
    finding = {
        "registration_uuid": "trivy-1",
        "cve_id": "CVE-2024-1",
        "package": "openssl",
        "package_version": "3.0.1",
        "severity": "Critical",
        "fixed_version": "3.0.2",
        "urls": "https://example.test/a|https://example.test/b",
        "cvss_score_v3": 9.8,
        "cwe_ids": "CWE-79",
        "vendor_attributes": '{"CVSS": {}}',
    }

    def scanned(uuid: str, *findings: dict[str, Any]) -> None:
        summary = {
            "generated_at": "2024-05-06T07:08:09.123456789Z",
            "scanner": {"name": "Trivy", "vendor": "Aqua Security", "version": "v0.50.0"},
            "severity": "Critical",
        }
        harbor.run("DELETE FROM scan_report WHERE uuid <> 'report-0'")
        values = {"uuid": uuid, "digest": digest, "registration_uuid": "trivy-1", "mime_type": "x"}
        harbor.add("scan_report", report=json.dumps(summary), **values)
        for item in findings:
            number = harbor.add("vulnerability_record", "id", **item)
            harbor.add("report_vulnerability_record", report_uuid=uuid, vuln_record_id=number)

    # A scan that is not over, and one that is.
    harbor.add("scan_report", uuid="report-0", digest=digest, registration_uuid="trivy-1", mime_type="y")
    scanned("report-1", finding)
    assert move.run()["counts"]["scan report"]["new"] == 1
    done = move.run("--apply")
    assert done["counts"]["scan report"] == {"found": 1, "new": 1, "changed": 0, "removed": 0}
    with httpx.Client(base_url=f"{move.new.url}/api/v2.0", auth=("bob", "Password2")) as api:
        path = "/projects/library/repositories/app/artifacts/1.0"

        def overview() -> dict[str, Any]:
            answer = api.get(path, params={"with_scan_overview": True}).json()
            assert "scan_overview" in answer, answer
            [found] = answer["scan_overview"].values()
            return dict(found)

        seen = overview()
        assert (seen["scan_status"], seen["severity"]) == ("Success", "Critical")
        assert (seen["summary"]["fixable"], seen["scanner"]["name"]) == (1, "Trivy")
        assert seen["end_time"].startswith("2024-05-06T07:08:09")
        [report] = api.get(f"{path}/additions/vulnerabilities").json().values()
        [item] = report["vulnerabilities"]
        assert (item["id"], item["version"], item["fix_version"]) == ("CVE-2024-1", "3.0.1", "3.0.2")
        assert item["links"] == ["https://example.test/a", "https://example.test/b"]
        assert item["preferred_cvss"]["score_v3"] == 9.8
        assert [row["cve_id"] for row in api.get("/security/vul").json()] == ["CVE-2024-1"]
        gate = {"metadata": {"prevent_vul": "true", "severity": "high"}}
        assert api.put("/projects/library", json=gate).status_code == 200
        assert pulls(move.new.url, "library/app", "1.0", "alice", "Password1") != 0
        # Nothing new; then a new scan in Harbor.
        assert move.run("--apply")["counts"]["scan report"]["new"] == 0
        scanned("report-2")
        assert move.run("--apply")["counts"]["scan report"]["new"] == 1
        assert overview()["summary"]["total"] == 0
        assert pulls(move.new.url, "library/app", "1.0", "alice", "Password1") == 0


def test_sboms(move: Move) -> None:
    """What Harbor's scanner listed: the report names the accessory, which comes as an artifact."""
    harbor, there = move.harbor, Remote(move.old.url)
    harbor.add(
        "scanner_registration",
        uuid="trivy-1",
        name="Trivy",
        url="http://trivy-adapter:8080",
        immutable=True,
        disabled=False,
        skip_cert_verify=False,
    )
    document = json.dumps({"spdxVersion": "SPDX-2.3", "name": "app"}).encode()
    kind = "application/vnd.goharbor.harbor.sbom.v1"
    image = there.digest("library/app", "1.0")
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": kind,
        "config": {"mediaType": kind, **there.push_blob("library/app", b"{}")},
        "layers": [{"mediaType": "application/spdx+json", **there.push_blob("library/app", document)}],
        "subject": {"mediaType": MANIFEST, "digest": image, "size": 1},
    }
    sbom = there.push_manifest("library/app", None, manifest)
    harbor.repository(1, "library/app", move.tree)
    ids = dict(harbor.run("SELECT digest, id FROM artifact WHERE repository_name = 'library/app'"))

    def listed(uuid: str, artifact: int, digest: str | None) -> None:
        report = {"sbom_digest": digest, "start_time": "2024-05-06T07:08:09Z"} if digest else {}
        row: dict[str, Any] = {"uuid": uuid, "artifact_id": artifact, "registration_uuid": "trivy-1"}
        harbor.add("sbom_report", mime_type="x", media_type=kind, report=json.dumps(report), **row)

    listed("sbom-0", ids[image], sbom)
    # One that is being made, one of an artifact that is gone, and one whose accessory is.
    listed("sbom-1", ids[image], None)
    listed("sbom-2", 10**6, sbom)
    listed("sbom-3", ids[there.digest("library/app", "1.1")], f"sha256:{'0' * 64}")
    assert move.run()["counts"]["scan report"] == {"found": 2, "new": 2, "changed": 0, "removed": 0}
    done = move.run("--apply")
    assert (done["counts"]["scan report"]["new"], done["left"]) == (1, [])
    with httpx.Client(base_url=f"{move.new.url}/api/v2.0", auth=("bob", "Password2")) as api:
        base = "/projects/library/repositories/app/artifacts"

        def overview(tag: str) -> dict[str, Any] | None:
            answer: dict[str, Any] = api.get(f"{base}/{tag}", params={"with_sbom_overview": True}).json()
            shown: dict[str, Any] | None = answer.get("sbom_overview")
            return shown

        seen = overview("1.0")
        assert seen is not None
        assert (seen["sbom_digest"], seen["scan_status"]) == (sbom, "Success")
        assert seen["end_time"].startswith("2024-05-06T07:08:09")
        assert overview("1.1") is None
        [accessory] = api.get(f"{base}/1.0/accessories").json()
        assert (accessory["digest"], accessory["type"]) == (sbom, "sbom.harbor")
        assert api.get(f"{base}/1.0/additions/sbom").json() == json.loads(document)
        # Nothing new; and gone with the way back.
        assert move.run("--apply")["counts"]["scan report"]["new"] == 0
    assert move.command("--rollback", "--apply").returncode == 0
    found = httpx.get(f"{move.new.url}/api/v2.0{base}/1.0", auth=("admin", "Harbor12345"))
    assert found.status_code in (401, 404)


def test_rollback(move: Move) -> None:
    before = move.snapshot()
    move.run("--apply")
    here = Remote(move.new.url, ("admin", "Harbor12345"))
    pushed = here.push_image("team/tool", "mine", [b"mine"])
    listed = move.run("--rollback")
    assert listed["pushed"] == [f"team/tool:mine {pushed['digest']}"]
    assert here.tags("team/tool") == ["2.0", "mine"]
    back = move.run("--rollback", "--apply")
    assert back["counts"]["user"]["removed"] == 2
    # Nobody loses what was pushed here; everything else is gone again.
    assert here.tags("team/tool") == ["mine"]
    assert here.tags("library/app") == []
    assert move.snapshot() == before
    assert move.run("--apply")["counts"]["artifact"]["new"] > 5
    assert here.tags("team/tool") == ["2.0", "mine"]
    # Another Harbor's database would look as if everything had been deleted.
    move.harbor.run("UPDATE harbor_user SET creation_time = '2020-01-01' WHERE user_id = 1")
    assert "another Harbor was adopted here" in move.command("--apply").stderr


def test_the_collector_leaves_the_tree_until_it_is_released(move: Move) -> None:
    move.run("--apply")
    here = Remote(move.new.url, ("admin", "Harbor12345"))
    digest = here.digest("library/app", "1.1")
    manifest = json.loads((move.tree / blob_file(str(digest))).read_text())
    layer = move.tree / blob_file(manifest["layers"][1]["digest"])
    for tag in ("1.1",):
        answer = here.http.delete(
            f"/v2/library/app/manifests/{here.digest('library/app', tag)}",
            headers=here._headers("library/app"),
        )
        assert answer.status_code == 202
    collect = ("gc", "--grace-minutes", "0", "--reader-minutes", "0")
    assert move.new.cli(*collect).returncode == 0
    assert layer.exists()
    assert move.new.cli("adopt-harbor", "--release-storage").returncode == 0
    assert move.new.cli(*collect).returncode == 0
    assert not layer.exists()
    # What is referred to stays, and there is no way back now.
    here.check("library/app", "1.0")
    assert "was released" in move.command("--rollback").stderr


def test_faults_of_the_source_are_one_line_each(move: Move) -> None:
    harbor = move.harbor
    harbor.add(
        "oidc_user",
        user_id=2,
        subiss="42https://idp.example.com",
        secret=sealed("cli-secret-cli-secret"),
        token=sealed('{"refresh_token": "again"}'),
    )
    assert "the secret key does not open it" in move.command("--apply", key="another-key-1234").stderr
    assert "Harbor's has 16" in move.command(key="short").stderr
    harbor.run("UPDATE schema_migrations SET version = 100")
    assert "upgrade the Harbor first" in move.command().stderr
    harbor.run("UPDATE schema_migrations SET version = 999")
    assert "take a newer Seawall" in move.command().stderr
    harbor.run("UPDATE schema_migrations SET version = 150, dirty = true")
    assert "halfway" in move.command().stderr
    harbor.run("UPDATE schema_migrations SET dirty = false")
    assert "nothing is copied" in move.command("--storage", "/elsewhere").stderr
    # Nothing has been written so far.
    assert move.run()["counts"]["user"]["new"] == 2


def test_hostile_names_and_missing_blobs(move: Move) -> None:
    harbor = move.harbor
    harbor.user("line\nbreak", "Password1")
    harbor.user("robot$all", "Password1")
    harbor.project("Upper/../case")
    harbor.robot("odd name", "Robot-secret-3", [])
    number = harbor.run("SELECT repository_id FROM repository WHERE name = 'library/app'")[0][0]
    harbor.add("repository", name="team/../../etc", project_id=1, description="")
    harbor.add("repository", name="team/stolen", project_id=1, description="")
    artifact = harbor.run("SELECT id FROM artifact WHERE repository_id = %s LIMIT 1", number)[0][0]
    harbor.add("tag", repository_id=number, artifact_id=artifact, name="-no tag-")
    harbor.add(
        "artifact",
        repository_id=number,
        project_id=1,
        repository_name="library/app",
        digest="sha256:../x",
        manifest_media_type="application/json",
        type="IMAGE",
        media_type="x",
        size=1,
        artifact_type="x",
    )
    digest = digest_of(b"two")
    (move.tree / blob_file(digest)).unlink()
    damaged = str(Remote(move.old.url).digest("team/tool", "2.0"))
    path = move.tree / blob_file(damaged)
    text = path.read_bytes()
    path.write_bytes(text[:-1] + b" ")
    left = "\n".join(move.run("--apply", code=1)["left"])
    for said in (
        "user 'line\\nbreak'",
        "user 'robot$all'",
        "project 'Upper/../case'",
        "robot odd name",
        "repository team/../../etc",
        "repository team/stolen",
        "tag library/app:'-no tag-'",
        "artifact library/app@sha256:../x",
        f"blob {digest} is missing",
        f"artifact team/tool@{damaged}",
    ):
        assert said in left, (said, left)
    # Once that is repaired, the rest comes.
    (move.tree / blob_file(digest)).write_bytes(b"two")
    path.write_bytes(text)
    assert move.run("--apply", code=1)["counts"]["artifact"]["new"] == 2


def test_rules_wait_for_the_switch(move: Move) -> None:
    harbor, team = move.harbor, move.projects["team"]
    other = harbor.add(
        "registry",
        "id",
        name="hub",
        url="https://hub.example.com",
        type="docker-registry",
        access_key="me",
        access_secret=sealed("pass-word"),
        credential_type="basic",
        description="",
        health="healthy",
    )
    harbor.add("registry", name="charts", url="https://charts.example.com", type="helm-hub", description="")
    harbor.project("cache", registry_id=other)
    harbor.add(
        "replication_policy",
        name="out",
        dest_registry_id=other,
        enabled=True,
        description="",
        trigger='{"type": "scheduled", "trigger_settings": {"cron": "0 0 1 * * *"}}',
        filters='[{"type": "name", "value": "team/**"}]',
        override=True,
        dest_namespace="backup",
        dest_namespace_replace_count=1,
        speed_kb=-1,
    )
    selector = {"kind": "doublestar", "decoration": "matches", "pattern": "**"}
    scope = {"repository": [{**selector, "decoration": "repoMatches"}]}
    rule = {
        "action": "retain",
        "template": "latestPushedK",
        "params": {"latestPushedK": 5},
        "tag_selectors": [selector],
        "scope_selectors": scope,
    }
    harbor.add(
        "retention_policy",
        scope_level="project",
        scope_reference=team,
        trigger_kind="Schedule",
        data=json.dumps(
            {
                "algorithm": "or",
                "rules": [rule],
                "trigger": {"kind": "Schedule", "settings": {"cron": "0 0 2 * * *"}},
            }
        ),
    )
    harbor.add(
        "immutable_tag_rule",
        project_id=team,
        tag_filter=json.dumps(
            {
                "action": "immutable",
                "template": "immutable_template",
                "tag_selectors": [{**selector, "pattern": "v*"}],
                "scope_selectors": scope,
            }
        ),
    )
    harbor.add(
        "notification_policy",
        name="hook",
        project_id=team,
        enabled=True,
        description="",
        creator="alice",
        targets=json.dumps(
            [
                {"type": "http", "address": "https://hook.example.com", "auth_header": "Bearer x"},
                {"type": "slack", "address": "https://slack.example.com"},
            ]
        ),
        event_types='["PUSH_ARTIFACT", "UPLOAD_CHART"]',
    )
    harbor.add(
        "schedule",
        vendor_type="GARBAGE_COLLECTION",
        vendor_id=-1,
        cron="0 0 3 * * *",
        callback_func_param='{"delete_untagged": true}',
    )
    harbor.add("cve_allowlist", project_id=team, items='[{"cve_id": "CVE-2024-1"}]')
    label = harbor.add(
        "harbor_label", "id", name="good", color="#fff", description="", level="u", scope="g", project_id=0
    )
    artifact = harbor.run("SELECT artifact_id FROM tag WHERE name = '2.0'")[0][0]
    harbor.add("label_reference", label_id=label, artifact_id=artifact)
    for name, value in (
        ("robot_name_prefix", "bot-"),
        ("banner_message", "hello"),
        ("read_only", "true"),
        ("ldap_search_password", sealed("directory")),
    ):
        harbor.add("properties", k=name, v=value)
    harbor.add(
        "audit_log",
        project_id=team,
        operation="create",
        resource_type="artifact",
        resource="team/tool:2.0",
        username="alice",
    )
    done = move.run("--apply", code=1)
    left = "\n".join(done["left"])
    assert "registry charts: there is no adapter" in left
    assert "there is no event UPLOAD_CHART here" in left
    with httpx.Client(base_url=f"{move.new.url}/api/v2.0", auth=("admin", "Harbor12345")) as api:
        assert api.get("/replication/policies").json()[0]["enabled"] is False
        assert api.get("/registries").json()[0]["credential"]["access_key"] == "me"
        assert api.get("/projects/cache").json()["registry_id"] == other
        [hook] = api.get(f"/projects/{team}/webhook/policies").json()
        assert hook["enabled"] is False
        assert [item["type"] for item in hook["targets"]] == ["http", "slack"]
        assert api.get(f"/projects/{team}/immutabletagrules").json()[0]["tag_selectors"][0]["pattern"] == "v*"
        assert api.get(f"/projects/{team}").json()["cve_allowlist"]["items"] == [{"cve_id": "CVE-2024-1"}]
        shown = api.get("/projects/team/repositories/tool/artifacts?with_label=true").json()
        assert [item["name"] for item in shown[0]["labels"]] == ["good"]
        settings = api.get("/configurations").json()
        assert settings["robot_name_prefix"]["value"] == "bot-"
        assert settings["read_only"]["value"] is False
        assert "team/tool:2.0" in api.get("/audit-logs?q=username%3Dalice").text
        assert pulls(move.new.url, "team/tool", "2.0", "bot-team+ci", "Robot-secret-1") == 0
        move.run("--switch", code=1)
        assert api.get("/replication/policies").json()[0]["enabled"] is True
        assert api.get(f"/projects/{team}/webhook/policies").json()[0]["enabled"] is True
        # A later run without the switch does not turn anything off.
        move.run("--apply", code=1)
        assert api.get("/replication/policies").json()[0]["enabled"] is True
        schedule = api.get("/system/gc/schedule").json()
        assert schedule["schedule"]["cron"] == "0 0 3 * * *"
        names = json.dumps(api.get("/schedules?page_size=100").json())
        assert "RETENTION" in names.upper()


def test_a_killed_run_is_run_again(move: Move) -> None:
    environment = {
        **move.new.environment,
        "SEAWALL_HARBOR_SECRET_KEY": SECRET_KEY,
        "SEAWALL_HARBOR_DATABASE": move.harbor.url,
    }
    process = subprocess.Popen(
        [*SEAWALL, "adopt-harbor", "--apply"], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert "blobs in the storage" in process.stdout.readline()
    process.kill()
    process.wait()
    move.new.environment |= environment
    done, shown = at_terminal(move.new, "adopt-harbor", "--apply", "--json")
    assert done.returncode == 0, shown
    assert json.loads(done.stdout)["counts"]
    # The bars of its long parts.
    assert "blobs in the storage" in shown
    assert "repositories" in shown
    here = Remote(move.new.url, ("admin", "Harbor12345"))
    for repository, tag in (("library/app", "1.0"), ("team/tool", "2.0"), ("team/signed", "v1")):
        here.check(repository, tag)
    with httpx.Client(base_url=f"{move.new.url}/api/v2.0", auth=("admin", "Harbor12345")) as api:
        [quota] = [item for item in api.get("/quotas").json() if item["ref"]["name"] == "team"]
        assert quota["used"]["storage"] > 100_000
