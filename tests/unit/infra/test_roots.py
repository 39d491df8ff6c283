"""`ca_bundle` adds authorities to the public ones, for everything that connects."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import certifi
import httpx
import pytest

from seawall.infra.roots import _libpq_finds_one, trust_authorities
from seawall.infra.settings import Settings
from seawall.kernel.errors import ConfigError
from tests.support.servers.certificates import Authority

FULL = "postgresql://u@h/d?sslmode=verify-full"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SSL_CERT_FILE", "PGSSLROOTCERT", "PGSSLMODE"):
        # Set and deleted, so that what the code sets is taken back.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Authority(tmp_path_factory.mktemp("authority")).certificate


def names(context: ssl.SSLContext) -> set[str]:
    return {str(item["subject"]) for item in context.get_ca_certs()}


def public() -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certifi.where())
    return len(names(context))


@pytest.mark.parametrize("folder", [False, True])
def test_added(ours: Path, folder: bool) -> None:
    trust_authorities(Settings(ca_bundle=ours.parent if folder else ours))
    for context in (ssl.create_default_context(), httpx.create_ssl_context()):
        found = names(context)
        assert len(found) > public()
        assert any("Test CA" in name for name in found)


def test_the_operators_own_file_is_kept(ours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = Authority(tmp_path).certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(hosts))
    trust_authorities(Settings(ca_bundle=ours))
    found = Path(os.environ["SSL_CERT_FILE"]).read_bytes()
    assert found.split() == (hosts.read_bytes() + ours.read_bytes()).split()


def test_without_a_bundle_nothing_changes() -> None:
    trust_authorities(Settings())
    assert "SSL_CERT_FILE" not in os.environ
    assert "PGSSLROOTCERT" not in os.environ


def test_databases(ours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """libpq gets a file where it needs one: verify-full public authorities too, verify-ca ours alone."""

    def told(bundle: Path | None, **database: str) -> str | None:
        os.environ.pop("PGSSLROOTCERT", None)
        os.environ.pop("SSL_CERT_FILE", None)
        trust_authorities(Settings(ca_bundle=bundle, database=database))  # type: ignore[arg-type]
        return os.environ.get("PGSSLROOTCERT")

    assert Path(told(None, url=FULL) or "").exists()
    assert Path(told(ours, url=FULL) or "").read_bytes().endswith(ours.read_bytes())
    assert len(Path(told(ours, url=FULL) or "").read_bytes()) > 10 * len(ours.read_bytes())
    assert (
        Path(told(ours, url="postgresql://h/d", sslmode="verify-ca") or "").read_bytes() == ours.read_bytes()
    )
    assert told(None, url="postgresql://h/d?sslmode=verify-ca") is None
    assert told(ours, url="postgresql://h/d?sslmode=require") is None
    assert told(ours, url="postgresql://h/d") is None
    assert told(ours, url=f"{FULL}&sslrootcert=/x.pem") is None
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    assert told(ours, url="postgresql://h/d")
    (tmp_path / ".postgresql").mkdir()
    (tmp_path / ".postgresql" / "root.crt").touch()
    assert told(ours, url=FULL) is None


def test_what_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        trust_authorities(Settings(ca_bundle=tmp_path / "none.crt"))
    with pytest.raises(ConfigError, match="there is no certificate"):
        trust_authorities(Settings(ca_bundle=tmp_path))
    (tmp_path / "a.crt").write_text("no certificate")
    with pytest.raises(ConfigError, match="there is no certificate"):
        trust_authorities(Settings(ca_bundle=tmp_path / "a.crt"))


def test_a_home_that_may_not_be_read_has_no_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's arbitrary user has root's HOME."""

    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", refuse)
    assert not _libpq_finds_one()
