"""Notary v1 with Debian's real `notary` client: init, publish, list, rotate, delegate, tamper, delete."""

from __future__ import annotations

import base64
import json
import sqlite3
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.conformance.client import unique
from tests.conftest import PASSWORD, Registry

PASSPHRASES = {
    f"NOTARY_{role}_PASSPHRASE": "pass-phrase-1" for role in ("ROOT", "TARGETS", "SNAPSHOT", "DELEGATION")
}


class Notary:
    """The client, with a trust folder of its own."""

    def __init__(self, registry: Registry, folder: Path, user: tuple[str, str] | None) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        config = {"trust_dir": str(folder / "trust"), "remote_server": {"url": registry.url}}
        (folder / "config.json").write_text(json.dumps(config))
        self.environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), **PASSPHRASES}
        if user is not None:
            self.environment["NOTARY_AUTH"] = base64.b64encode(":".join(user).encode()).decode()

    def run(self, *arguments: str, check: bool = True) -> str:
        """Run the client; returns what it printed."""
        done = subprocess.run(
            ["notary", "-c", str(self.folder / "config.json"), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            env=self.environment,
            input="yes\n",  # "are you sure", which rotating a root key asks
            check=False,
        )
        output = done.stdout + done.stderr
        assert not check or done.returncode == 0, output
        assert check or done.returncode != 0, output
        return output


@pytest.fixture(scope="module")
def project(registry: Registry) -> str:
    name = unique("trust")
    registry.create_project(name, public=True)
    return name


@pytest.fixture
def gun(registry: Registry, project: str) -> str:
    # With the registry's host before it, as Docker Content Trust names collections.
    return f"{registry.host}/{project}/{unique('app')}"


@pytest.fixture
def notary(registry: Registry, tmp_path: Path) -> Notary:
    return Notary(registry, tmp_path / "publisher", registry.admin)


@pytest.fixture
def reader(registry: Registry, tmp_path: Path) -> Notary:
    return Notary(registry, tmp_path / "reader", None)


def target(tmp_path: Path, content: str) -> str:
    file = tmp_path / f"{content}.txt"
    file.write_text(content)
    return str(file)


def test_init_publish_list_verify(notary: Notary, reader: Notary, gun: str, tmp_path: Path) -> None:
    file = target(tmp_path, "one")
    notary.run("init", "-p", gun)
    notary.run("add", "-p", gun, "v1", file)
    assert "v1" in notary.run("list", gun)
    # Another client, which knows nothing but the address, sees and verifies the same.
    listed = reader.run("list", gun)
    assert "v1" in listed
    assert "targets" in listed
    notary.run("verify", gun, "v1", "-i", file)
    assert "not" in reader.run("verify", gun, "v1", "-i", target(tmp_path, "other"), check=False)
    notary.run("add", "-p", gun, "v2", target(tmp_path, "two"))
    notary.run("remove", "-p", gun, "v1")
    listed = reader.run("list", gun)
    assert "v2" in listed
    assert "v1" not in listed


@pytest.mark.parametrize("role", ["timestamp", "snapshot"])
def test_server_keys_rotate(notary: Notary, reader: Notary, gun: str, role: str, tmp_path: Path) -> None:
    notary.run("init", "-p", gun)
    notary.run("add", "-p", gun, "v1", target(tmp_path, "one"))
    reader.run("list", gun)
    before = _role_keys(notary, gun, role)
    notary.run("key", "rotate", gun, role, "-r")
    assert not before & _role_keys(notary, gun, role)
    # A reader that had the old keys follows the rotation.
    assert "v1" in reader.run("list", gun)
    notary.run("add", "-p", gun, "v2", target(tmp_path, "two"))
    assert "v2" in reader.run("list", gun)
    again = _role_keys(notary, gun, role)
    notary.run("key", "rotate", gun, role, "-r")
    assert not again & _role_keys(notary, gun, role)
    assert "v2" in reader.run("list", gun)


def _role_keys(notary: Notary, gun: str, role: str) -> set[str]:
    notary.run("list", gun)
    root = json.loads((notary.folder / "trust" / "tuf" / gun / "metadata" / "root.json").read_text())
    return set(root["signed"]["roles"][role]["keyids"])


def test_targets_and_root_keys_rotate(notary: Notary, reader: Notary, gun: str, tmp_path: Path) -> None:
    notary.run("init", "-p", gun)
    notary.run("add", "-p", gun, "v1", target(tmp_path, "one"))
    reader.run("list", gun)
    notary.run("key", "rotate", gun, "targets")
    assert "v1" in reader.run("list", gun)
    notary.run("key", "rotate", gun, "root")
    assert "v1" in reader.run("list", gun)
    notary.run("add", "-p", gun, "v2", target(tmp_path, "two"))
    assert "v2" in reader.run("list", gun)


def test_delegation(notary: Notary, reader: Notary, gun: str, tmp_path: Path) -> None:
    notary.run("init", "-p", gun)
    notary.run("key", "rotate", gun, "snapshot", "-r")
    generated = notary.run("key", "generate", "ecdsa", "-r", "targets/releases", "-o", str(tmp_path / "key"))
    del generated
    (public,) = tmp_path.glob("key*.pem") if not (tmp_path / "key.pem").exists() else [tmp_path / "key.pem"]
    notary.run("delegation", "add", "-p", gun, "targets/releases", str(public), "--all-paths")
    assert "targets/releases" in reader.run("delegation", "list", gun)


def test_strangers_are_refused(registry: Registry, notary: Notary, gun: str, tmp_path: Path) -> None:
    notary.run("init", "-p", gun)
    registry.create_user(name := unique("guest"), PASSWORD)
    stranger = Notary(registry, tmp_path / "stranger", (name, PASSWORD))
    said = stranger.run("init", "-p", f"{gun}-2", check=False)
    assert "denied" in said.lower() or "unauthorized" in said.lower() or "auth" in said.lower()
    anonymous = Notary(registry, tmp_path / "anonymous", None)
    anonymous.run("add", "-p", gun, "v1", target(tmp_path, "one"), check=False)
    anonymous.run("delete", "--remote", gun, check=False)
    assert httpx.get(f"{registry.url}/v2/{gun}/_trust/tuf/root.json").status_code == 200


def test_private_projects_are_private(registry: Registry, tmp_path: Path) -> None:
    project = unique("private")
    registry.create_project(project, public=False)
    gun = f"{registry.host}/{project}/app"
    Notary(registry, tmp_path / "a", registry.admin).run("init", "-p", gun)
    answer = httpx.get(f"{registry.url}/v2/{gun}/_trust/tuf/root.json")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer ")


def test_delete(registry: Registry, notary: Notary, reader: Notary, gun: str, tmp_path: Path) -> None:
    notary.run("init", "-p", gun)
    notary.run("delete", "--remote", gun)
    assert httpx.get(f"{registry.url}/v2/{gun}/_trust/tuf/root.json").status_code == 404
    said = reader.run("list", gun, check=False)
    assert "does not have trust data" in said
    feed = httpx.get(f"{registry.url}/v2/{gun}/_trust/changefeed").json()
    assert [record["Category"] for record in feed["records"]][-1] == "deletion"
    notary.run("init", "-p", gun)
    assert "No targets" in reader.run("list", gun)


def test_tampered_metadata_is_refused_by_the_client(fresh_registry: Registry, tmp_path: Path) -> None:
    """What the database holds is changed behind the server's back; the client does not believe it."""
    fresh_registry.start()
    fresh_registry.create_project("trust", public=True)
    gun = f"{fresh_registry.host}/trust/app"
    notary = Notary(fresh_registry, tmp_path / "publisher", fresh_registry.admin)
    notary.run("init", "-p", gun)
    notary.run("add", "-p", gun, "v1", target(tmp_path, "one"))
    with sqlite3.connect(fresh_registry.data_dir / "seawall.db") as database:
        rows = database.execute("select id, content from tuf_metadata where role = 'targets'").fetchall()
        for identifier, content in rows:
            database.execute(
                "update tuf_metadata set content = ? where id = ?",
                (bytes(content).replace(b'"v1"', b'"v9"'), identifier),
            )
    said = Notary(fresh_registry, tmp_path / "reader", None).run("list", gun, check=False)
    assert "checksum" in said or "could not" in said or "invalid" in said.lower(), said
