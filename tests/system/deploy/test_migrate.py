"""`seawall migrate-from-harbor` between two servers that speak Harbor's API; both are Seawall here."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support import forked, signing
from tests.support.api import Api
from tests.support.processes import PASSWORD, clean_environment
from tests.support.registry import Registry
from tests.support.signing import Pusher, b64


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Registry, Registry]]:
    folder = tmp_path_factory.mktemp("migrate")
    servers = (Registry(folder / "harbor" / "data"), Registry(folder / "seawall" / "data"))
    try:
        for server in servers:
            server.data_dir.parent.mkdir()
            server.start()
        yield servers
    finally:
        for server in servers:
            server.close()


def run(pair: tuple[Registry, Registry], folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    source, target = pair
    secrets = clean_environment(SEAWALL_SOURCE_PASSWORD=PASSWORD, SEAWALL_TARGET_PASSWORD=PASSWORD)
    command = ["migrate-from-harbor", "--source", source.url, "--target", target.url, *options]
    return forked.run(*command, environment=secrets, cwd=folder, timeout=200)


def fill(source: Registry) -> str:
    """Something of everything; returns the digest of a signed image."""
    api = Api(source, source.admin)
    api.made("/labels", {"name": "gold", "color": "#FFD700", "scope": "g"})
    for name in ("ada", "bob"):
        api.made(
            "/users", {"username": name, "password": PASSWORD, "email": f"{name}@x.org", "realname": name}
        )
    body = {
        "project_name": "team",
        "metadata": {"public": "false", "auto_scan": "false", "severity": "high"},
    }
    project = api.made("/projects", {**body, "storage_limit": 10**9})
    api.member("team", "ada", 2)
    api.member("team", "bob", 3)
    grants = [
        {"kind": "project", "namespace": "team", "access": [{"resource": "repository", "action": "pull"}]}
    ]
    robot = {"name": "ci", "level": "project", "duration": -1, "permissions": grants}
    assert api.post("/robots", json=robot).status_code == 201
    local = api.made("/labels", {"name": "stable", "scope": "p", "project_id": project})
    pusher = Pusher(source.url, "team/path/app", source.admin)
    digest = pusher.image("v1")
    untagged = pusher.image("gone", b"untagged")
    pusher.image("gone", b"tagged")
    payload = signing.simple_payload(digest)
    signature = {
        "dev.cosignproject.cosign/signature": b64(
            signing.sign(ec.generate_private_key(ec.SECP256R1()), payload)
        )
    }
    layer = ("application/vnd.dev.cosign.simplesigning.v1+json", payload)
    pusher.accessory(None, None, layer, signature, digest.replace(":", "-") + ".sig")
    path = f"/projects/team/repositories/path%252Fapp/artifacts/{digest}/labels"
    assert api.post(path, json={"id": local}).status_code == 200
    selector = {"kind": "doublestar", "decoration": "matches", "pattern": "v*"}
    scope = {"repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]}
    rule = {
        "action": "immutable",
        "template": "immutable_template",
        "tag_selectors": [selector],
        "scope_selectors": scope,
    }
    api.made(f"/projects/{project}/immutabletagrules", rule)
    retention = {
        "algorithm": "or",
        "rules": [{
            "action": "retain", "template": "latestPushedK", "params": {"latestPushedK": 10},
            "tag_selectors": [{**selector, "pattern": "**"}], "scope_selectors": scope,
        }],
        "trigger": {"kind": "Schedule", "settings": {"cron": "0 0 0 * * *"}},
        "scope": {"level": "project", "ref": project},
    }  # fmt: skip
    answer = api.post("/retentions", json=retention)
    assert answer.status_code == 201, answer.text
    hook = {
        "name": "notify", "event_types": ["PUSH_ARTIFACT"], "enabled": True,
        "targets": [{"type": "http", "address": "http://127.0.0.1:9/hook", "skip_cert_verify": False}],
    }  # fmt: skip
    answer = api.post(f"/projects/{project}/webhook/policies", json=hook)
    assert answer.status_code == 201, answer.text
    del untagged
    return digest


def test_everything_is_brought(pair: tuple[Registry, Registry], tmp_path: Path) -> None:
    source, target = pair
    digest = fill(source)
    done = run(pair, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    api = Api(target, target.admin)
    assert {user["username"] for user in api.get("/users").json()} == {"admin", "ada", "bob"}
    project = api.get("/projects/team").json()
    assert project["metadata"]["severity"] == "high"
    assert project["metadata"]["public"] == "false"
    assert project["metadata"]["retention_id"]
    members = {item["entity_name"]: item["role_id"] for item in api.get("/projects/team/members").json()}
    assert members["ada"] == 2
    assert members["bob"] == 3
    [quota] = api.get(
        "/quotas", params={"reference": "project", "reference_id": project["project_id"]}
    ).json()
    assert quota["hard"]["storage"] == 10**9
    here = "/projects/team/repositories/path%252Fapp/artifacts"
    artifact = api.get(f"{here}/v1", params={"with_label": "true", "with_accessory": "true"}).json()
    assert artifact["digest"] == digest
    assert [label["name"] for label in artifact["labels"]] == ["stable"]
    assert [item["type"] for item in artifact["accessories"]] == ["signature.cosign"]
    before, after = ({item["digest"] for item in Api(s, s.admin).get(here).json()} for s in (source, target))
    assert before == after
    assert len(after) == 3
    assert len(api.get(f"/projects/{project['project_id']}/immutabletagrules").json()) == 1
    [hook] = api.get(f"/projects/{project['project_id']}/webhook/policies").json()
    assert hook["name"] == "notify"
    # New secrets are in a file that only the operator can read, and they work.
    file = tmp_path / "migrated-secrets.txt"
    assert file.stat().st_mode & 0o777 == 0o600
    made = {tuple(line.split(" ")[:2]): line.split(" ")[2] for line in file.read_text().splitlines()}
    assert set(made) == {("user", "ada"), ("user", "bob"), ("robot", "robot$team+ci")}
    name, secret = "robot$team+ci", made["robot", "robot$team+ci"]
    assert Pusher(target.url, "team/path/app", (name, secret)).pull("gone").status_code == 200
    ada = Api(target, ("ada", made["user", "ada"]))
    assert ada.get("/users/current").json()["username"] == "ada"


def test_a_second_run_brings_what_is_new_only(pair: tuple[Registry, Registry], tmp_path: Path) -> None:
    source, target = pair
    if Api(target, target.admin).get("/projects/team").status_code != 200:
        fill(source)
        assert run(pair, tmp_path).returncode == 0
    Pusher(source.url, "team/path/app", source.admin).image("v2", b"new")
    done = run(pair, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    brought = {line.partition(":")[0]: line for line in done.stdout.splitlines() if " brought, " in line}
    assert "artifact: 1 brought" in brought["artifact"]
    assert all(": 0 brought" in line for kind, line in brought.items() if kind != "artifact"), brought
    assert Pusher(target.url, "team/path/app", target.admin).pull("v2").status_code == 200


def test_only_some_projects(pair: tuple[Registry, Registry], tmp_path: Path) -> None:
    source, target = pair
    for name in ("one", "two"):
        Api(source, source.admin).made("/projects", {"project_name": name})
    done = run(pair, tmp_path, "--project", "one", "--no-artifacts")
    assert done.returncode == 0, done.stdout + done.stderr
    api = Api(target, target.admin)
    assert api.get("/projects/one").status_code == 200
    assert api.get("/projects/two").status_code != 200


def test_faults_are_one_line(pair: tuple[Registry, Registry], tmp_path: Path) -> None:
    source, target = pair
    command = ["migrate-from-harbor", "--source", "http://127.0.0.1:9", "--target", target.url]
    secrets = clean_environment(SEAWALL_SOURCE_PASSWORD="x", SEAWALL_TARGET_PASSWORD="wrong")
    done = forked.run(*command, environment=secrets, cwd=tmp_path, timeout=60)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("seawall: http://127.0.0.1:9")
    assert "Traceback" not in done.stderr
    command[command.index("http://127.0.0.1:9")] = source.url
    done = forked.run(*command, environment=secrets, cwd=tmp_path, timeout=60)
    assert "401" in done.stderr
    assert httpx.get(f"{target.url}/healthz").status_code == 200
