"""Keys by hand: a Harbor's key files brought in, and a way out of every refusal, tried as it is told."""

from __future__ import annotations

import asyncio
import base64
import io
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import httpx
import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from seawall.availability.cluster.instances import InstanceRegistry
from seawall.infra.db import open_database
from seawall.infra.loading import load
from seawall.infra.secrets.carry import read_folder
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.secrets.material import make_certificate
from seawall.install.key_files import key_paths
from seawall.install.prepare import prepare
from seawall.kernel.errors import ConfigError
from seawall.process.commands.boundary import main
from tests.support.databases import with_schema
from tests.support.folders import open_folder
from tests.support.processes import PASSWORD, clean_environment, free_port
from tests.support.registry import Registry


def harbor_keys(folder: Path) -> Path:
    """The key files of a Harbor, where a Harbor has them: below data and below common/config."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    files = {
        # PKCS#1, as Harbor's `prepare` writes it.
        "data/secret/core/private_key.pem": key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        ),
        "data/secret/registry/root.crt": make_certificate(key).encode(),
        "data/secret/keys/secretkey": secrets.token_hex(8).encode(),
        "common/config/core/env": f"CORE_URL=http://core:8080\nCSRF_KEY={secrets.token_hex(16)}\n".encode(),
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


class Host:
    """A host that `seawall prepare` has prepared, with an embedded database; commands run in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.port = free_port()
        content = {
            "hostname": "127.0.0.1",
            "http": {"port": self.port},
            "harbor_admin_password": PASSWORD,
            "data_volume": str(folder / "data"),
            "log": {"local": {"location": str(folder / "log")}},
            "seawall": {"http": {"workers": 1}, "keys": {"poll_seconds": 0.2, "publish_seconds": 1}},
        }
        self.file = folder / "harbor.yml"
        self.file.write_text(yaml.safe_dump(content))
        self.keys = key_paths(folder / "data")
        self.prepare()
        self.config = folder / "common/config/seawall.yml"

    def prepare(self) -> None:
        prepare(self.file, self.folder)

    def run(self, *words: str) -> tuple[int, str]:
        """Run a command: its exit code, and what it printed on both outputs."""
        said = io.StringIO()
        code = 0
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(said):
            patch.setattr("sys.argv", ["seawall", *words, "--config", str(self.config)])
            try:
                main()
            except SystemExit as ended:
                code = int(ended.code or 0)
        return code, said.getvalue()

    def must(self, *words: str) -> str:
        code, said = self.run(*words)
        assert code == 0, said
        return said

    def start(self) -> dict[str, str]:
        """What a starting server does with keys; returns their fingerprints. Raises ConfigError."""
        settings = load(self.config)
        with_schema(settings.database_url)
        db = open_database(settings.database_url, pool_size=2)
        try:
            return KeyRing.open(db, settings).fingerprints()
        finally:
            asyncio.run(db.close())

    def refused(self) -> str:
        """What the server says when it does not start."""
        with pytest.raises(ConfigError) as caught:
            self.start()
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def certificate(self) -> str:
        return self.must("keys", "certificate")


@pytest.fixture
def host() -> Iterator[Host]:
    with open_folder() as folder:
        yield Host(folder / "a")


def test_before_the_first_start(host: Host) -> None:
    harbor = harbor_keys(host.folder / "harbor")
    said = host.must("keys", "import", str(harbor))
    for name in ("token-signing", "csrf", "secret"):
        assert f"{name}: version 1 from {harbor}" in said
    wanted = (harbor / "data/secret/registry/root.crt").read_text()
    host.start()
    assert host.certificate() == wanted
    # The files that `prepare` had made are the cluster's now, so nothing is refused later.
    assert host.keys["root_crt"].read_text() == wanted
    again = host.must("keys", "import", str(harbor))
    assert again.count("is the cluster's key already") == 3


def test_while_it_runs_nobody_is_logged_out(host: Host) -> None:
    server = Registry(host.folder / "server")
    server.environment = clean_environment(SEAWALL_CONFIG=str(host.config))
    server.port, server.url = host.port, f"http://127.0.0.1:{host.port}"
    server.start()
    harbor = harbor_keys(host.folder / "harbor")
    wanted = (harbor / "data/secret/registry/root.crt").read_text()
    try:
        with httpx.Client(base_url=server.url, timeout=60) as client:

            def pull_token() -> str:
                scope = {"service": "seawall", "scope": "repository:library/a:pull"}
                answer = client.get("/service/token", params=scope, auth=("admin", PASSWORD))
                return str(answer.raise_for_status().json()["token"])

            old = pull_token()
            said = host.must("keys", "import", str(harbor))
            assert re.search(r"token-signing: version 2 from .* is in use in \d s", said)
            deadline = time.monotonic() + 60
            while host.certificate() != wanted:
                assert time.monotonic() < deadline
            # 404 and not 401: the token is taken, the repository is not there.
            for token in (old, pull_token()):
                answer = client.get("/v2/library/a/tags/list", headers={"Authorization": f"Bearer {token}"})
                assert answer.status_code == 404
    finally:
        server.kill()
    assert host.start()


def test_a_copied_file_that_differs(host: Host) -> None:
    """Both ways out that the message names."""
    host.start()
    harbor = harbor_keys(host.folder / "harbor")
    for name, source in (
        ("private_key", "data/secret/core/private_key.pem"),
        ("root_crt", "data/secret/registry/root.crt"),
    ):
        shutil.copy(harbor / source, host.keys[name])
    said = host.refused()
    assert f"{host.keys['private_key']} differs from the cluster's token-signing key" in said
    # One: the cluster's key again.
    before = host.certificate()
    command = re.search(r"`seawall (keys export)`", said)
    assert command
    host.must(*command[1].split())
    assert host.keys["root_crt"].read_text() == before
    host.start()
    # Two: the file's key becomes the cluster's. The command names the folder that has both files.
    shutil.copy(harbor / "data/secret/core/private_key.pem", host.keys["private_key"])
    shutil.copy(harbor / "data/secret/registry/root.crt", host.keys["root_crt"])
    command = re.search(r"`seawall (keys import [^`]+)`", host.refused())
    assert command
    host.must(*command[1].split())
    host.start()
    # Three: heal.
    host.keys["csrf"].write_text("x" * 32)
    assert "keys.on_mismatch: heal" in host.refused()
    content = yaml.safe_load(host.file.read_text())
    content["seawall"]["keys"]["on_mismatch"] = "heal"
    host.file.write_text(yaml.safe_dump(content))
    host.prepare()
    host.start()


def test_removed_and_prepared_again_is_no_circle(host: Host) -> None:
    host.start()
    for name in ("private_key", "root_crt", "csrf", "secret"):
        host.keys[name].unlink()
    # Missing is no fault: the cluster has its keys.
    host.start()
    host.prepare()
    said = host.refused()
    assert "`seawall keys export`" in said
    host.must("keys", "export")
    host.start()


def test_another_master_key(host: Host) -> None:
    host.start()
    right = host.keys["master"].read_bytes()
    host.keys["master"].write_bytes(base64.b64encode(secrets.token_bytes(32)))
    said = host.refused()
    assert "copy the file that master_key_file names from an instance that runs over the one here" in said
    host.keys["master"].unlink()
    assert "copy it from an instance that runs" in host.refused()
    host.keys["master"].write_bytes(right)
    host.start()


def test_two_that_were_started_apart_get_equal_keys(host: Host) -> None:
    """As peers need it: the other's whole secret folder is imported, master key and all."""
    first = host.start()
    other = Host(host.folder.parent / "b")
    assert other.start()["master"] != first["master"]
    settings = load(other.config)
    db = open_database(settings.database_url, pool_size=2)
    try:
        ring = KeyRing.open(db, settings)
        stored = ring.encrypt("test", b"kept")
        # An instance that runs without that master key would lose the others' keys.
        instances = InstanceRegistry(db, settings, ring)
        asyncio.run(instances._write({"status": "ok"}))
        code, said = other.run("keys", "import", str(host.folder / "data/secret"))
        assert code == 1
        assert "stop it and import again" in said
        asyncio.run(instances.leave())
        said = other.must("keys", "import", str(host.folder / "data/secret"))
        assert f"master: {other.keys['master']} is " in said
        assert other.keys["master"].read_bytes() == host.keys["master"].read_bytes()
        time.sleep(1.2)
        assert other.start() == first
        ring = KeyRing.open(db, settings)
        assert ring.decrypt("test", stored) == b"kept"
    finally:
        asyncio.run(db.close())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: None, "holds none of private_key.pem"),
        (lambda folder: (folder / "root.crt").write_text("x"), "they belong together"),
        (lambda folder: (folder / "private_key.pem").write_text("x"), "not a PEM private key"),
        (lambda folder: (folder / "secretkey").write_text("short"), "must hold 16 bytes or more, has 5"),
        (
            lambda folder: [
                ((folder / name).mkdir(), (folder / name / "secretkey").write_text(name * 16))
                for name in "ab"
            ],
            "are both there and differ",
        ),
        (lambda folder: (folder / "env").write_text("CSRF_KEY=short\n"), "must hold 16 bytes or more"),
    ],
)
def test_folders_that_are_refused(make: object, said: str, tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    make(folder)  # type: ignore[operator]
    with pytest.raises(ConfigError) as caught:
        read_folder(folder)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
