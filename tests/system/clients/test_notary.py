"""Notary v1 with Debian's real `notary` client: init, publish, list, rotate, delegate, tamper, delete."""

from __future__ import annotations

import json
import re
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support import signing
from tests.support.notary import Notary
from tests.support.oci.client import unique
from tests.support.processes import PASSWORD
from tests.support.registry import Registry


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


def test_a_delegate_publishes(
    registry: Registry, notary: Notary, reader: Notary, gun: str, tmp_path: Path
) -> None:
    """Somebody who has the delegation's key alone signs targets, until that key is taken away."""
    notary.run("init", "-p", gun)
    notary.run("key", "rotate", gun, "snapshot", "-r")
    delegate = Notary(registry, tmp_path / "delegate", registry.admin)
    private = ec.generate_private_key(ec.SECP256R1())
    key_form = serialization.PrivateFormat.TraditionalOpenSSL
    (tmp_path / "key.pem").write_bytes(
        private.private_bytes(serialization.Encoding.PEM, key_form, serialization.NoEncryption())
    )
    certificate = signing.issue("delegate", private, private, "delegate")
    (tmp_path / "certificate.pem").write_text(signing.certificate_pem(certificate))
    public = str(tmp_path / "certificate.pem")
    notary.run("delegation", "add", "-p", gun, "targets/releases", public, "--all-paths")
    delegate.run("key", "import", str(tmp_path / "key.pem"), "-r", "targets/releases", "-g", gun)
    file = target(tmp_path, "released")
    delegate.run("add", "-p", gun, "v1", file, "-r", "targets/releases")
    listed = reader.run("list", gun)
    assert "targets/releases" in listed
    reader.run("verify", gun, "v1", "-i", file)
    # The delegate has no other role's key.
    delegate.run("add", "-p", gun, "v2", file, check=False)
    assert "v2" not in reader.run("list", gun)
    shown = reader.run("delegation", "list", gun)
    (key,) = set(re.findall(r"\b[0-9a-f]{64}\b", shown))
    notary.run("delegation", "remove", "-p", gun, "targets/releases", key)
    assert "v1" not in reader.run("list", gun)
    delegate.run("add", "-p", gun, "v3", file, "-r", "targets/releases", check=False)
    assert "v3" not in reader.run("list", gun)


def test_addhash_lookup_status_reset_and_witness(
    registry: Registry, notary: Notary, reader: Notary, gun: str, tmp_path: Path
) -> None:
    notary.run("init", "-p", gun)
    digest = "0" * 63 + "1"
    notary.run("addhash", "-p", gun, "v1", "123", "--sha256", digest)
    looked = reader.run("lookup", gun, "v1")
    assert digest in looked
    assert "123" in looked
    assert "No valid trust data" in reader.run("lookup", gun, "absent", check=False)
    # What was not published is nobody else's business, and can be taken back.
    notary.run("addhash", gun, "v2", "5", "--sha256", digest)
    assert "v2" in notary.run("status", gun)
    assert "v2" not in reader.run("list", gun)
    notary.run("reset", gun, "--all")
    notary.run("publish", gun)
    assert "v2" not in reader.run("list", gun)

    def version() -> int:
        answer = httpx.get(f"{registry.url}/v2/{gun}/_trust/tuf/targets.json")
        return int(answer.json()["signed"]["version"])

    before = version()
    notary.run("witness", "-p", gun, "targets")
    assert version() == before + 1
    assert "v1" in reader.run("list", gun)


def test_an_expired_timestamp_is_refused_and_signed_again(fresh_registry: Registry, tmp_path: Path) -> None:
    """A server whose clock was twenty days late: the client refuses what it signed, and takes the new one."""
    registry = fresh_registry
    late = {
        "LD_PRELOAD": "/usr/$LIB/faketime/libfaketime.so.1",
        "FAKETIME": "-20d",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    registry.environment.update(late)
    registry.start()
    registry.create_project("trust", public=True)
    gun = f"{registry.host}/trust/app"
    notary = Notary(registry, tmp_path / "publisher", registry.admin)
    notary.run("init", "-p", gun)
    reader = Notary(registry, tmp_path / "reader", None)
    said = reader.run("list", gun, check=False)
    assert "expired" in said.lower(), said
    registry.stop()
    for name in late:
        del registry.environment[name]
    registry.start()
    assert "No targets" in reader.run("list", gun)
    notary.run("add", "-p", gun, "v1", target(tmp_path, "one"))
    assert "v1" in reader.run("list", gun)


@pytest.mark.parametrize("role", ["root", "snapshot", "timestamp"])
def test_forged_metadata_is_refused_by_the_client(
    registry: Registry, notary: Notary, gun: str, tmp_path: Path, role: str
) -> None:
    """Between the real server and the real client somebody changes a role's metadata."""
    notary.run("init", "-p", gun)
    notary.run("add", "-p", gun, "v1", target(tmp_path, "one"))
    changed = []

    class Forger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = httpx.get(registry.url + self.path, headers={"Accept": "*/*"})
            data = answer.content
            if answer.status_code == 200 and f"/tuf/{role}" in self.path:
                document = json.loads(data)
                document["signed"]["expires"] = "2099-01-01T00:00:00Z"
                data = json.dumps(document, separators=(",", ":")).encode()
                changed.append(self.path)
            self.send_response(answer.status_code)
            self.send_header("content-length", str(len(data)))
            self.send_header("content-type", answer.headers.get("content-type", "text/plain"))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Forger)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        reader = Notary(registry, tmp_path / "reader", None)
        between = f"http://127.0.0.1:{server.server_address[1]}"
        said = reader.run("-s", between, "list", gun, check=False)
        assert changed
        assert "v1" not in said
        assert "valid signatures" in said or "checksum" in said or "trust" in said.lower(), said
    finally:
        server.shutdown()
        server.server_close()


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
