"""Keys: one set for the whole cluster, rotated without a failed request."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from joserfc import jwt
from joserfc.jwk import KeySet
from sqlalchemy import select, text, update

from seawall.access.tables import users
from seawall.access.tokens import Scope, TokenService
from seawall.infra.db import Database, open_database
from seawall.infra.db.metadata import metadata
from seawall.infra.loading import load
from seawall.infra.secrets import sealing
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.secrets.master import read_master_key
from seawall.infra.secrets.material import CSRF, NAMES, SECRET, TOKEN
from seawall.infra.secrets.tables import cluster_keys
from seawall.kernel.errors import ConfigError, ConflictError
from tests.support.databases import with_schema
from tests.support.registry import Registry
from tests.support.waiting import eventually

MASTER = base64.b64encode(b"m" * 32).decode()
FAST = {"poll_seconds": 0.1, "publish_seconds": 0.4}


@pytest.fixture
def db(
    database_settings: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Database]:
    """A migrated database of the test's own."""
    url = f"sqlite:///{tmp_path / 'k.db'}"
    if database_settings:
        url = str(request.getfixturevalue("postgres").database())
    with_schema(url)
    found = open_database(url, pool_size=4)
    yield found
    asyncio.run(found.close())


def ring(db: Database, master: str = MASTER, **keys: Any) -> KeyRing:
    return KeyRing.open(db, load(None, {"keys": {**FAST, **keys}, "master_key": master}))


def tokens(of: KeyRing) -> TokenService:
    return TokenService(of, service="seawall", minutes=5)


SCOPES = [Scope("repository", "p/r", frozenset({"pull"}))]


def test_every_instance_takes_what_another_gave(db: Database) -> None:
    one, two = ring(db), ring(db)
    grant = tokens(two).verify(tokens(one).issue("alice", SCOPES)[0])
    assert grant is not None
    assert grant.subject == "alice"
    assert two.decrypt("registry", one.encrypt("registry", b"pw")) == b"pw"
    assert two.csrf_valid("session", one.csrf_token("session"))
    assert not two.csrf_valid("other", one.csrf_token("session"))
    assert not two.csrf_valid("session", "1.x.ä")
    assert one.csrf_key == two.csrf_key
    assert one.fingerprints() == two.fingerprints()
    certificate = x509.load_pem_x509_certificate(one.certificate.encode())
    assert [key["kid"] for key in two.jwks()["keys"]] == [one.current(TOKEN).fingerprint]
    assert "d" not in two.jwks()["keys"][0]
    certificate.verify_directly_issued_by(certificate)


def test_nothing_readable_is_stored(db: Database) -> None:
    one = ring(db)
    for name in NAMES:
        stored = db.sync_read(
            lambda c, name=name: c.execute(  # type: ignore[misc]
                select(cluster_keys.c.material).where(cluster_keys.c.name == name)
            ).scalar_one()
        )
        assert one.current(name).material not in bytes(stored)


def test_another_master_key_is_refused(db: Database, tmp_path: Path) -> None:
    ring(db)
    with pytest.raises(ConfigError, match="another master key"):
        ring(db, base64.b64encode(b"x" * 32).decode())
    with pytest.raises(ConfigError, match="there is no master key here"):
        KeyRing.open(db, load(None, {"data_dir": tmp_path / "empty"}))
    assert not (tmp_path / "empty").exists()
    with pytest.raises(ConfigError, match="must be 32 bytes"):
        ring(db, base64.b64encode(b"short").decode())
    file = tmp_path / "master"
    file.write_bytes(b"m" * 32)
    assert KeyRing.open(db, load(None, {"master_key_file": file})).fingerprints() == ring(db).fingerprints()


def test_the_master_key_is_replaced_without_a_failed_request(db: Database, tmp_path: Path) -> None:
    """Instances go over one by one, and each serves what every other made, at every step."""
    new = base64.b64encode(secrets.token_bytes(32)).decode()
    files = {"old": tmp_path / "old", "new": tmp_path / "new"}
    files["old"].write_text(MASTER)
    files["new"].write_text(new)

    def instance(master: str, other: str | None) -> KeyRing:
        values: dict[str, Any] = {"keys": FAST, "master_key_file": files[master]}
        if other is not None:
            values["other_master_key_file"] = files[other]
        return KeyRing.open(db, load(None, values))

    def agree(*rings: KeyRing) -> None:
        for one in rings:
            for two in rings:
                assert tokens(two).verify(tokens(one).issue("alice", SCOPES)[0]) is not None
                assert two.csrf_valid("session", one.csrf_token("session"))
                assert two.decrypt("registry", one.encrypt("registry", b"pw")) == b"pw"
        assert len({json.dumps(one.fingerprints()) for one in rings}) == 1

    first = instance("old", None)
    sealed, csrf = first.encrypt("registry", b"kept"), first.csrf_token("session")
    token = tokens(first).issue("alice", SCOPES)[0]
    both = instance("old", "new")
    agree(first, both)
    assert both.rotation.rotate_master(read_master_key(files["new"])) == 3
    both.reload()
    # Made ready the other way round, with the new one first.
    turned = instance("new", "old")
    agree(both, turned)
    # New keys are sealed under the new master key, whichever instance makes them.
    both.rotation.rotate(TOKEN, overlap_seconds=60)
    last = instance("new", None)
    for item in (both, turned):
        item.reload()
    agree(both, turned, last)
    assert last.decrypt("registry", sealed) == b"kept"
    assert last.csrf_valid("session", csrf)
    assert tokens(last).verify(token) is not None
    assert last.rotation.rotate_master(read_master_key(files["new"])) == 0
    with pytest.raises(ConfigError, match="does not open"):
        instance("old", None)
    # What was made before and is still in memory goes on: `first` has lost nothing until it is restarted.
    assert tokens(last).verify(tokens(first).issue("bob", SCOPES)[0]) is not None


def test_rotation_is_published_before_it_is_used(db: Database) -> None:
    # Long enough for what follows to be asked before it ends, also on a loaded machine.
    one, two = ring(db, publish_seconds=3), ring(db, publish_seconds=3)
    old = one.current(TOKEN)
    new = one.rotation.rotate(TOKEN, overlap_seconds=60)
    early = tokens(one).issue("a", SCOPES)[0]
    assert one.current(TOKEN).version == old.version
    with pytest.raises(ConflictError, match="wait"):
        two.rotation.rotate(TOKEN, overlap_seconds=60)
    two.reload()
    time.sleep(max(0, new.active_at - time.time()) + 0.01)
    assert one.current(TOKEN).fingerprint == two.current(TOKEN).fingerprint == new.fingerprint
    late = tokens(two).issue("a", SCOPES)[0]
    for instance in (one, two, ring(db)):
        assert tokens(instance).verify(early) is not None
        assert tokens(instance).verify(late) is not None
    service = tokens(two)
    assert service.verify(late) is not None
    one.rotation.rotate(TOKEN, overlap_seconds=60, at_once=True)
    two.reload()
    assert service.verify(late) is None, "a leaked key is refused at once, also what was verified before"


def test_others_hear_of_a_change_at_once(postgres: Any) -> None:
    """With a poll so rare that only NOTIFY can explain it; also after the listener's connection was ended."""
    url = str(postgres.database())
    with_schema(url)
    db = open_database(url, pool_size=4)
    one, two = ring(db), ring(db, poll_seconds=30, publish_seconds=60)

    query = text("SELECT pid FROM pg_stat_activity WHERE query = 'LISTEN \"seawall_keys\"'")
    end = text("SELECT pg_terminate_backend(:pid)")

    async def run() -> None:
        watching = asyncio.create_task(two.watch())
        try:
            for version in (2, 3):
                listeners: list[int] = await eventually(
                    lambda: db.sync_read(lambda c: list(c.execute(query).scalars()))
                )
                await asyncio.to_thread(one.rotation.rotate, CSRF, overlap_seconds=60, at_once=True)
                # Sooner than by the next poll.
                await eventually(lambda v=version: two.versions(CSRF)[-1].version == v, seconds=20)  # type: ignore[misc]
                db.sync_read(lambda c, pid=listeners[0]: c.execute(end, {"pid": pid}).all())  # type: ignore[misc]
                await asyncio.sleep(0.2)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await db.close()

    asyncio.run(run())


def test_csrf_tokens_outlive_a_rotation(db: Database) -> None:
    one, two = ring(db), ring(db)
    token = one.csrf_token("s")
    new = one.rotation.rotate(CSRF, overlap_seconds=0.3)
    two.reload()
    assert two.csrf_valid("s", token)
    time.sleep(max(0, new.active_at - time.time()) + 0.35)
    assert not two.csrf_valid("s", token), "but not for ever"
    assert two.csrf_valid("s", one.csrf_token("s"))


def test_secret_rotation_seals_stored_credentials_again(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = ring(db), ring(db)
    sealed = one.encrypt("registry", b"password")
    now = time.time()
    db.sync_write(
        lambda c: c.execute(
            users.insert().values(
                username="u", comment=sealed, sysadmin=False, created_at=now, updated_at=now
            )
        )
    )
    monkeypatch.setattr(sealing, "sealed_columns", lambda: [(users, "comment")])
    new = one.rotation.rotate(SECRET, overlap_seconds=0)

    async def follow() -> None:
        task = asyncio.create_task(two.watch())
        await eventually(lambda: two.versions(SECRET)[0].retire_at is not None)
        task.cancel()

    asyncio.run(follow())
    stored = db.sync_read(lambda c: c.execute(select(users.c.comment)).scalar_one())
    assert stored.startswith(f"sealed:v{new.version}:registry:"), "any instance finishes the rotation"
    assert ring(db).decrypt("registry", stored) == b"password"
    assert two.decrypt("registry", sealed) == b"password", "a restored backup stays readable"
    # A credential that nobody can read any more does not keep the rotation from its end.
    broken = stored[:-8] + ("AAAAAAA=" if stored.endswith("=") else "AAAAAAAA")
    db.sync_write(lambda c: c.execute(update(users).values(comment=broken)))
    one.rotation.rotate(SECRET, overlap_seconds=0, at_once=True)
    assert one.rotation.finish_secret_rotation() == 0
    db.sync_write(lambda c: c.execute(update(users).values(comment=stored)))
    assert one.rotation.finish_secret_rotation() == 1
    assert one.rotation.finish_secret_rotation() == 0
    with pytest.raises(ConfigError, match="not sealed"):
        two.decrypt("webhook", stored)
    with pytest.raises(ConfigError, match="damaged"):
        two.decrypt("webhook", stored.replace("registry", "webhook"))


def test_key_files_are_imported_and_held_against_the_cluster(db: Database, tmp_path: Path) -> None:
    def make(name: str) -> tuple[Path, Path]:
        key, crt = tmp_path / f"{name}.pem", tmp_path / f"{name}.crt"
        subprocess.run(
            f"openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=t -keyout {key} -out {crt}".split(),
            check=True,
            capture_output=True,
        )
        return key, crt

    key, crt = make("private_key")
    other_key, other_crt = make("other")
    csrf = tmp_path / "csrf_key"
    csrf.write_text("x" * 32 + "\n")
    secret = tmp_path / "secretkey"
    secret.write_text("not-a-secure-key")
    files: dict[str, Any] = {
        "private_key_file": key,
        "root_crt_file": crt,
        "csrf_key_file": csrf,
        "secret_key_file": secret,
    }
    one = ring(db, **files)
    assert one.certificate == crt.read_text()
    assert ring(db, **files).fingerprints() == ring(db).fingerprints() == one.fingerprints()

    with pytest.raises(ConfigError, match=r"other\.pem differs from the cluster's token-signing key"):
        ring(db, private_key_file=other_key)
    with pytest.raises(ConfigError, match=r"other\.crt: is not the certificate"):
        ring(db, private_key_file=key, root_crt_file=other_crt)
    csrf.write_text("y" * 32)
    with pytest.raises(ConfigError, match="csrf_key differs"):
        ring(db, **files)
    assert ring(db, **files, on_mismatch="heal").fingerprints() == one.fingerprints()
    csrf.write_text("short")
    with pytest.raises(ConfigError, match="16 bytes or more"):
        ring(db, **files)
    # After a rotation the file holds an older version: that is no fault.
    one.rotation.rotate(TOKEN, overlap_seconds=60, at_once=True)
    assert ring(db, private_key_file=key).current(TOKEN).version == 2


def test_keys_from_before_versions_go_on(db: Database) -> None:
    one = ring(db)
    db.sync_write(lambda c: c.execute(update(cluster_keys).values(public=None, fingerprint="")))
    two = ring(db)
    assert two.current(TOKEN).fingerprint == one.current(TOKEN).fingerprint
    assert two.certificate.startswith("-----BEGIN CERTIFICATE")


def test_sealed_columns_hold_text() -> None:
    for table, column in sealing.sealed_columns():
        assert column in metadata.tables[table.name].c


def test_commands(fresh_registry: Registry) -> None:
    registry = fresh_registry
    registry.environment |= {"SEAWALL_KEYS__POLL_SECONDS": "0.1", "SEAWALL_KEYS__PUBLISH_SECONDS": "0.5"}
    registry.start()
    question = f"{registry.url}/service/token?service=seawall"

    def token() -> str:
        return str(httpx.get(question, auth=registry.admin).raise_for_status().json()["token"])

    def kid(of: str) -> str:
        part = of.split(".")[0]
        return str(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["kid"])

    def outside(of: str) -> str:
        """The subject of a token, by what is served to everybody."""
        served = httpx.get(f"{registry.url}/service/jwks").raise_for_status()
        assert served.json() == httpx.get(f"{registry.url}/.well-known/jwks.json").json()
        assert "max-age" in served.headers["cache-control"]
        return str(jwt.decode(of, KeySet.import_key_set(served.json()), algorithms=["RS256"]).claims["sub"])

    before = token()
    assert outside(before) == "admin"
    done = registry.cli("keys", "rotate")
    assert done.returncode == 0, done.stderr
    assert "token-signing: version 2" in done.stdout
    deadline = time.monotonic() + 20
    while kid(after := token()) == kid(before):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for value in (before, after):
        answer = httpx.get(f"{registry.url}/v2/", headers={"Authorization": f"Bearer {value}"})
        assert answer.status_code == 200
        assert outside(value) == "admin"
    listed = registry.cli("keys", "list").stdout
    assert "current" in listed
    assert "accepted" in listed
    assert registry.cli("keys", "certificate").stdout.startswith("-----BEGIN CERTIFICATE")
    # The master key: refused while the running instance lacks the new one, then done under its feet.
    other = registry.data_dir / "new.key"
    other.write_text(base64.b64encode(secrets.token_bytes(32)).decode())
    assert "does not have the new master key" in registry.cli("keys", "rotate-master", str(other)).stderr
    registry.stop()
    registry.environment["SEAWALL_OTHER_MASTER_KEY_FILE"] = str(other)
    registry.start()
    before = token()
    done = registry.cli("keys", "rotate-master", str(other))
    assert done.returncode == 0, done.stderr
    assert "keys sealed" in done.stdout
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        answer = httpx.get(f"{registry.url}/v2/", headers={"Authorization": f"Bearer {token()}"})
        assert answer.status_code == 200
    registry.stop()
    (registry.data_dir / "master.key").write_text(other.read_text())
    del registry.environment["SEAWALL_OTHER_MASTER_KEY_FILE"]
    registry.start()
    answer = httpx.get(f"{registry.url}/v2/", headers={"Authorization": f"Bearer {before}"})
    assert answer.status_code == 200
    registry.stop()
    (registry.data_dir / "master.key").write_text(base64.b64encode(secrets.token_bytes(32)).decode())
    refused = registry.cli("serve", "--port", str(registry.port))
    assert refused.returncode == 1
    assert refused.stderr.startswith("seawall: the master key does not open")
    assert refused.stderr.count("\n") == 1
