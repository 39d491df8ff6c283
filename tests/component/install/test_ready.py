"""What `prepare` writes can be started, and `prepare --check` says what is in the way."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import yaml

from seawall.infra.loading import load
from seawall.install import readiness
from seawall.install.key_files import key_paths
from seawall.install.prepare import prepare
from seawall.kernel.errors import ConfigError
from tests.support import forked
from tests.support.processes import SEAWALL, clean_environment, free_port
from tests.support.servers.certificates import Authority
from tests.support.servers.postgres import Postgres
from tests.support.servers.redis import RedisNode


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def write(folder: Path, **sections: Any) -> Path:
    """A harbor.yml that is good on this host, with `sections` over it."""
    content = {
        "hostname": "localhost",
        "http": {"port": free_port()},
        "harbor_admin_password": "Harbor12345",
        "data_volume": str(folder / "data"),
        "log": {"local": {"location": str(folder / "log")}},
        "seawall": {"http": {"workers": 1}},
        **sections,
    }
    file = folder / "harbor.yml"
    file.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
    return file


def seawall(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return forked.run(*arguments, environment=clean_environment(**environment), timeout=120)


def faults(file: Path) -> dict[str, str]:
    """The faults that `prepare --check` finds, by kind."""
    done = seawall("prepare", "--check", "--conf", str(file))
    assert "Traceback" not in done.stderr
    found = {}
    lines = done.stdout.splitlines()
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("FAULT "):
            kind, _, message = line.removeprefix("FAULT ").partition(": ")
            assert after.startswith("  cure: "), line
            found[kind] = message
    assert done.returncode == (1 if found else 0), done.stdout + done.stderr
    return found


# -- starting what was prepared ------------------------------------------------------------------------


@contextlib.contextmanager
def started(command: list[str], port: int, scheme: str) -> Iterator[None]:
    process = subprocess.Popen(
        command, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(httpx.HTTPError):
                url = f"{scheme}://127.0.0.1:{port}/readyz"
                if httpx.get(url, verify=False).status_code == 200:
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(process.stdout.read() if process.stdout else "")
            time.sleep(0.2)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_http_redirects_to_https(authority: Authority, tmp_path: Path) -> None:
    """As Harbor's proxy does; certificate and key that the user cannot read are copied for the user."""
    certificate, key = authority.issue("localhost")
    plain, secure = free_port(), free_port()
    file = write(
        tmp_path,
        http={"port": plain},
        https={"port": secure, "certificate": str(certificate), "private_key": str(key)},
    )
    prepare(file, tmp_path)
    config = tmp_path / "common/config/seawall.yml"
    compose = yaml.safe_load((tmp_path / "docker-compose.yml").read_text())["services"]["core"]
    assert compose["ports"] == [f"{secure}:{secure}", f"{plain}:{plain}"]
    with started([*SEAWALL, "serve", "--config", str(config)], secure, "https"):
        url = f"http://127.0.0.1:{plain}"
        for method, path in (("GET", "/v2/"), ("GET", "/harbor?x=1&y=%0a"), ("POST", "/service/token")):
            answer = httpx.request(method, url + path)
            assert answer.status_code == 308
            assert answer.headers["location"] == f"https://localhost:{secure}{path}"
        for wrong in (b"GET / HTTP/9\r\n\r\n", b"\r\n\r\n", b"GET /a b HTTP/1.1\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", plain)) as connection:
                connection.sendall(wrong)
                assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")
        assert faults(file) == {}
        # A second one on the same host: said in a line, and by the check.
        other = seawall("serve", "--config", str(config))
        assert other.returncode == 1
        said = f"{secure} at 0.0.0.0 is in use; end its program or choose another (--port)"
        assert other.stderr == f"seawall: http.port: {said}\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_files_belong_to_whom_the_container_runs_as(authority: Authority, tmp_path: Path) -> None:
    """Without a user `seawall` on the host (containers only), files are the image's user's."""
    certificate, key = authority.issue("localhost")
    key.chmod(0o600)
    shared = tmp_path / "shared" / "registry"
    file = write(
        tmp_path,
        http=None,
        https={"port": 8443, "certificate": str(certificate), "private_key": str(key)},
        storage_service={"filesystem": {"rootdirectory": str(shared)}},
    )
    report = prepare(file, tmp_path, user="no-such-user")
    compose = yaml.safe_load((tmp_path / "docker-compose.yml").read_text())
    mounted = [tmp_path / "common/config/seawall.yml", *key_paths(tmp_path / "data").values()]
    settings = yaml.safe_load(mounted[0].read_text())
    mounted += [Path(settings["http"]["tls_certificate"]), Path(settings["http"]["tls_key"])]
    assert any(note.key == "https.certificate" for note in report.notes)
    for service in compose["services"].values():
        assert service["user"] == "10001:10001"
        outside = [volume.split(":")[0] for volume in service["volumes"]]
        for path in mounted:
            assert any(path.is_relative_to(folder) for folder in outside), path
    user = ["setpriv", "--reuid=10001", "--regid=10001", "--clear-groups"]
    for path in mounted:
        subprocess.run([*user, "cat", str(path)], check=True, capture_output=True)
    for folder in (tmp_path / "data/seawall", shared, tmp_path / "log"):
        subprocess.run([*user, "touch", str(folder / "x")], check=True)
    # The original was left as it is, and a second run changes nothing.
    assert key.stat().st_uid == 0
    assert not prepare(file, tmp_path, user="no-such-user").written


@pytest.mark.skipif(os.geteuid() != 0, reason="root reads everything else")
def test_a_folder_that_keeps_the_user_out_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(ConfigError, match=r"closed/common/config/seawall.yml cannot be read by user"):
        prepare(write(tmp_path), closed, user="daemon")
    file = write(tmp_path, storage_service={"filesystem": {"rootdirectory": f"{closed}/registry"}})
    with pytest.raises(ConfigError, match=r"closed/registry cannot be written by user daemon"):
        prepare(file, tmp_path, user="daemon")


# -- certificates --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("placeholder", "https.certificate: is still the template's"),
        ("missing", "https.certificate: {certificate}: No such file or directory"),
        ("key missing", "https.private_key: {key}: No such file or directory"),
        ("not pem", "https.certificate: {certificate}: is not a PEM certificate"),
        ("key not pem", "https.private_key: {key}: is not a PEM private key"),
        ("other key", "https.private_key: is not the key of {certificate}"),
        (
            "chain upside down",
            "https.private_key: is not the key of {certificate} (it comes first in the file",
        ),
        ("same port", "http.port: is https.port too"),
    ],
)
def test_a_certificate_that_cannot_be_served_with(
    change: str, said: str, authority: Authority, tmp_path: Path
) -> None:
    certificate, key = (Path(shutil.copy(path, tmp_path)) for path in authority.issue("localhost"))
    ports = {"http": {"port": 80}, "https": {"port": 443}}
    if change == "placeholder":
        certificate = Path("/your/certificate/path")
    elif change == "missing":
        certificate.unlink()
    elif change == "key missing":
        key.unlink()
    elif change == "not pem":
        certificate.write_text("hello")
    elif change == "key not pem":
        key.write_text("hello")
    elif change == "other key":
        shutil.copy(authority.issue("other")[1], key)
    elif change == "chain upside down":
        certificate.write_text(authority.certificate.read_text() + certificate.read_text())
    elif change == "same port":
        ports["http"]["port"] = 443
    ports["https"] |= {"certificate": str(certificate), "private_key": str(key)}  # type: ignore[dict-item]
    file = write(tmp_path, **ports)
    with pytest.raises(ConfigError) as caught:
        prepare(file, tmp_path / "out")
    assert said.format(certificate=certificate, key=key) in str(caught.value)
    assert not (tmp_path / "data").exists()
    if "port" not in change:
        environment = {
            "SEAWALL_DATA_DIR": str(tmp_path / "d"),
            "SEAWALL_HTTP__TLS_CERTIFICATE": str(certificate),
            "SEAWALL_HTTP__TLS_KEY": str(key),
        }
        done = seawall("serve", "--port", str(free_port()), **environment)
        assert done.returncode == 1
        assert done.stderr.startswith("seawall: http.tls_")
        assert done.stderr.count("\n") == 1


# -- the check -----------------------------------------------------------------------------------------


def test_nothing_is_in_the_way_and_nothing_is_written(tmp_path: Path) -> None:
    file = write(tmp_path)
    assert faults(file) == {}
    assert [path.name for path in tmp_path.iterdir()] == ["harbor.yml"]
    prepare(file, tmp_path)
    assert faults(file) == {}


def test_services_are_asked(tmp_path: Path, postgres: Postgres) -> None:
    redis = RedisNode()
    redis.start()
    try:
        file = write(tmp_path, **services(postgres.database(), redis.port))
        done = seawall("prepare", "--check", "-f", str(file))
        assert done.returncode == 0, done.stdout
        for kind in ("database: PostgreSQL", "redis: answers", "clock: ", "name: localhost", "port: "):
            assert f"ok    {kind}" in done.stdout
    finally:
        redis.close()


def services(url: str, redis_port: int) -> dict[str, Any]:
    ((host, port),) = readiness.database_hosts(url)
    return {
        "external_database": {
            "harbor": {
                "host": host,
                "port": port,
                "db_name": url.rpartition("/")[2],
                "username": "seawall",
                "password": "x",
            }
        },
        "external_redis": {"host": f"127.0.0.1:{redis_port}"},
    }  # fmt: skip


def test_every_fault_is_found(tmp_path: Path, postgres: Postgres, authority: Authority) -> None:
    url = postgres.database()
    with psycopg.connect(url) as connection:
        # The tables by which a Harbor's database is known.
        connection.execute("create table harbor_user (user_id int)")
        connection.execute("create table project (project_id int)")
        connection.execute("create table alembic_version (version_num varchar(32))")
        connection.execute("insert into alembic_version values ('1.6.0')")
    certificate, key = (Path(shutil.copy(path, tmp_path)) for path in authority.issue("localhost"))
    with socket.create_server(("0.0.0.0", 0)) as taken:
        https = {"port": taken.getsockname()[1], "certificate": str(certificate), "private_key": str(key)}
        file = write(
            tmp_path,
            https=https,
            external_url="https://no-such-host.invalid",
            **services(url, free_port()),
        )
        prepare(file, tmp_path)
        key_paths(tmp_path / "data")["csrf"].unlink()
        found = faults(file)
    assert set(found) == {"port", "name", "database", "redis", "prepared"}
    assert found["port"] == f"{https['port']}: Address already in use"
    assert found["name"].startswith("no-such-host.invalid cannot be resolved")
    assert found["database"].startswith("this is a Harbor's database")
    assert found["prepared"].endswith("csrf_key: not there")


def test_serve_leaves_a_harbors_database_alone(tmp_path: Path, postgres: Postgres) -> None:
    url = postgres.database()
    with psycopg.connect(url) as connection:
        connection.execute("create table harbor_user (user_id int)")
        connection.execute("create table project (project_id int)")
        connection.execute("create table alembic_version (version_num varchar(32))")
        connection.execute("insert into alembic_version values ('1.6.0')")
    done = seawall(
        "serve", "--port", str(free_port()), SEAWALL_DATABASE__URL=url, SEAWALL_DATA_DIR=str(tmp_path / "d")
    )
    assert done.returncode == 1
    assert "this is a Harbor's database" in done.stderr
    assert "migrate-from-harbor" in done.stderr
    assert done.stderr.count("\n") == 1
    with psycopg.connect(url) as connection:
        tables = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
    assert sorted(name for (name,) in tables) == ["alembic_version", "harbor_user", "project"]


@pytest.mark.skipif(os.geteuid() != 0, reason="root writes everywhere else")
def test_storage_that_the_user_cannot_write(tmp_path: Path) -> None:
    file = write(tmp_path)
    prepare(file, tmp_path, user="daemon")
    storage = tmp_path / "data" / "registry"
    os.chown(storage, 0, 0)
    (tmp_path / "common/config/seawall.yml").chmod(0o600)
    os.chown(tmp_path / "common/config/seawall.yml", 0, 0)
    done = seawall("prepare", "--check", "-f", str(file), "--user", "daemon")
    assert f"FAULT storage: {storage} cannot be written by user daemon" in done.stdout
    assert "seawall.yml cannot be read by user daemon" in done.stdout
    # The cure, as it is told.
    assert seawall("prepare", "-f", str(file), "--user", "daemon").returncode == 0
    assert seawall("prepare", "--check", "-f", str(file), "--user", "daemon").returncode == 0


def test_a_clock_that_is_wrong(tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 42)
    result = readiness.Readiness()
    monkeypatch.setenv("SEAWALL_DATABASE__URL", postgres.database())
    readiness._database(result, load(None))
    assert [item.kind for item in result.items if item.cure] == ["clock"]
    assert "42.0 s ahead of the database's" in str(result.items[-1])


# -- Harbor's flags ------------------------------------------------------------------------------------


def test_harbors_flags_are_taken(tmp_path: Path) -> None:
    file = write(tmp_path)
    flags = ["--with-trivy", "--with-notary", "--with-clair", "--with-chartmuseum"]
    done = seawall("prepare", "--conf", str(file), *flags)
    assert done.returncode == 0, done.stderr
    for flag in flags:
        assert f"note: {flag}: not needed" in done.stdout
    for words in (["gencert", "-p", "/path"], ["migrate", "-i", "harbor.yml", "-t", "2.14.0"]):
        done = seawall("prepare", *words)
        assert done.returncode == 0, done.stderr
        assert "nothing to" in done.stdout
