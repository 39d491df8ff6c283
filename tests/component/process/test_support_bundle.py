"""`seawall support-bundle`: what helps is in it, and no secret is."""

from __future__ import annotations

import base64
import json
import os
import stat
import tarfile
from pathlib import Path

import pytest

from seawall.infra.secrets.redaction import Redactor
from tests.support import forked
from tests.support.api import Api
from tests.support.processes import PASSWORD, clean_environment
from tests.support.registry import Registry

# Each is planted at another place; none may be in a bundle, as it is or in base64.
PLANTED = {
    "metrics": "plant-metrics-token-1",
    "adapter": "plant-adapter-token-2",
    "redis": "plant-redis-3",
    "log": "plant-log-password-4",
    "bearer": "plantbearer5.abcdefgh",
    "url": "plant-url-6",
    "endpoint": "plant-endpoint-secret-7",
    "ldap": "plant-ldap-password-8",
    "project": "plant-project-10",
}


def bundle(registry: Registry, *arguments: str) -> tuple[Path, dict[str, str]]:
    """The archive and its files."""
    target = registry.data_dir.parent / f"bundle{len(arguments)}.tar.gz"
    command = ["support-bundle", "--output", str(target), *arguments]
    done = forked.run(*command, environment=registry.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    with tarfile.open(target) as archive:
        found = {}
        for member in archive.getmembers():
            file = archive.extractfile(member)
            assert file is not None
            found[member.name.partition("/")[2]] = file.read().decode()
    return target, found


def test_bundle(server: Registry) -> None:
    server.stop()
    server.environment |= {
        "SEAWALL_METRICS__TOKEN": PLANTED["metrics"],
        "SEAWALL_SCAN__ADAPTER_TOKEN": PLANTED["adapter"],
        "SEAWALL_REDIS__URL": f"redis://user:{PLANTED['redis']}@127.0.0.1:1/0",
    }
    server.start()
    with Api(server, server.admin) as api:
        assert api.post("/projects", json={"project_name": PLANTED["project"]}).status_code == 201
        endpoint = {
            "name": "hub",
            "type": "docker-registry",
            "url": "http://127.0.0.1:1",
            "credential": {"type": "basic", "access_key": "me", "access_secret": PLANTED["endpoint"]},
        }
        api.post("/registries", json=endpoint)
        settings = {"ldap_search_password": PLANTED["ldap"], "ldap_url": "ldap://127.0.0.1:1"}
        assert api.put("/configurations", json=settings).status_code == 200
    log = server.data_dir.parent / "some.log"
    log.write_text(
        json.dumps({"level": "info", "event": "request", "path": "/of no interest"})
        + "\n"
        + json.dumps({"level": "error", "event": f"login failed: password={PLANTED['log']}"})
        + "\n"
        + json.dumps({"level": "warning", "event": f"Authorization: Bearer {PLANTED['bearer']}"})
        + "\n"
        + json.dumps({"level": "warning", "event": f"cannot reach https://user:{PLANTED['url']}@host/path"})
        + "\n"
    )
    target, parts = bundle(server, "--log", str(log))
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    manifest = json.loads(parts["manifest.json"])
    assert manifest["failed"] == {}
    assert set(manifest["files"]) | {"manifest.json"} == set(parts)
    assert json.loads(parts["versions.json"])["packages"]
    assert json.loads(parts["settings.json"])["metrics"]["token"] == "(set)"
    assert json.loads(parts["instances.json"])[0]["alive"] is True
    # Redis is away, and the check says so.
    assert json.loads(parts["ha-check.json"])["ok"] is False
    assert json.loads(parts["configuration.json"])["ldap_url"] == "ldap://127.0.0.1:1"
    assert "sqlite" in parts["database.json"] or "slow_statements" in parts["database.json"]
    metrics = next(text for name, text in parts.items() if name.startswith("metrics-"))
    assert "harbor_project_total" in metrics
    assert "login failed" in parts["log-1.txt"]
    assert "of no interest" not in parts["log-1.txt"]

    secrets = {**PLANTED, "admin": PASSWORD}
    key = server.data_dir / "master.key"
    if key.exists():
        secrets["master key"] = key.read_text().strip()
    whole = "\n".join(parts.values())
    for name, secret in secrets.items():
        assert secret not in whole, name
        assert base64.b64encode(secret.encode()).decode().rstrip("=") not in whole, name
    # Names of projects are left in when they are asked for.
    _, named = bundle(server, "--names")
    assert any(PLANTED["project"] in text for name, text in named.items() if name.startswith("metrics-"))


def test_without_a_database(tmp_path: Path) -> None:
    """When the database is away the rest is there, and the manifest says what is not."""
    environment = clean_environment(
        SEAWALL_DATABASE__URL="postgresql://seawall:plant-database-1@127.0.0.1:1/seawall?connect_timeout=1",
        SEAWALL_DATABASE__RETRY_SECONDS="1",
        SEAWALL_DATA_DIR=str(tmp_path / "data"),
    )
    command = ["support-bundle", "-o", "b.tar.gz"]
    done = forked.run(*command, environment=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "without database.json" in done.stdout
    with tarfile.open(tmp_path / "b.tar.gz") as archive:
        names = {Path(name).name for name in archive.getnames()}
        assert {"versions.json", "settings.json", "manifest.json"} <= names
        for member in archive.getmembers():
            file = archive.extractfile(member)
            assert file is not None
            assert b"plant-database-1" not in file.read()
    assert "plant-database-1" not in done.stdout + done.stderr
    again = forked.run(*command, environment=environment, cwd=tmp_path)
    assert (again.returncode, "b.tar.gz exists" in again.stderr) == (1, True)
    nothing = clean_environment(SEAWALL_DATA_DIR=str(tmp_path / "none"))
    refused = forked.run("support-bundle", environment=nothing, cwd=tmp_path)
    assert refused.returncode == 1
    assert "there is no registry" in refused.stderr
    assert not (tmp_path / "none").exists()
    assert sorted(os.listdir(tmp_path)) == ["b.tar.gz"]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("postgresql://u:p%40ss@h/d", "postgresql://***@h/d"),
        ('{"access_secret": "abcd-efgh"}', '{"access_secret": "***"}'),
        ("password=hunter22 user=x", "password=*** user=x"),
        ("Authorization: Basic YWRtaW46YWJj", "Authorization: *** ***"),
        ("key is abcd1234 here", "key is *** here"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\nx", "***\nx"),
        ('"token": "(set)"', '"token": "(set)"'),
        ('"password_minutes": 30', '"password_minutes": 30'),
        ("seawall_tokens_total{result=\"issued\"} 3.0", "seawall_tokens_total{result=\"issued\"} 3.0"),
    ],
)  # fmt: skip
def test_redaction(text: str, clean: str) -> None:
    assert Redactor(["abcd1234", ""]).clean(text) == clean
