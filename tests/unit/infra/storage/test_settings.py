"""Settings of storage and database: what is refused, what is shown, what reaches libpq."""

from __future__ import annotations

from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from seawall.infra.db.connections import connection_info
from seawall.infra.loading import load
from seawall.infra.settings import Settings, redacted
from seawall.kernel.errors import ConfigError
from seawall.process.storage import open_storage


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ({"driver": "s3"}, "driver s3 needs s3.bucket"),
        ({"cache": {"root": "/c"}}, "cache is for object stores"),
        ({"driver": "gcs"}, "driver gcs needs gcs.bucket"),
        ({"driver": "azure", "azure": {"container": "c"}}, "azure.accountname"),
        ({"driver": "s3", "s3": {"bucket": "b", "accesskey": "a"}}, "must be given together"),
        ({"driver": "s3", "s3": {"bucket": "b", "regionendpoint": "s3.example.com"}}, "must start with http"),
        ({"driver": "s3", "s3": {"bucket": "b", "chunksize": 1}}, "chunksize"),
        ({"driver": "swift"}, "storage.driver"),
    ],
)
def test_refused(storage: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(None, {"storage": storage})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"http": {"accelerate": "nginx"}}, "accelerate needs trusted_proxies"),
        (
            {
                "http": {"accelerate": "nginx", "trusted_proxies": "10.0.0.1"},
                "storage": {"driver": "s3", "s3": {"bucket": "b"}},
            },
            "accelerate needs storage.driver filesystem",
        ),
        ({"http": {"accelerate": "apache"}}, "http.accelerate"),
    ],
)
def test_acceleration_needs_files_and_a_proxy(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(None, settings)


def test_missing_files_are_one_line(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    for storage in (
        {"driver": "gcs", "gcs": {"bucket": "b", "keyfile": missing}},
        {"driver": "s3", "s3": {"bucket": "b", "cacert": missing}},
    ):
        with pytest.raises(ConfigError, match="missing: No such file"):
            open_storage(load(None, {"storage": storage}))


def test_secrets_are_not_shown() -> None:
    settings = load(
        None,
        {
            "admin_password": "hidden-1",
            "database": {"url": "postgresql://u:hidden-2@db/x"},
            "storage": {
                "driver": "s3",
                "s3": {"bucket": "b", "accesskey": "hidden-3", "secretkey": "hidden-4"},
                "azure": {"accountkey": "hidden-5"},
            },
        },
    )
    shown = redacted(settings)
    assert "hidden" not in str(shown)
    assert "hidden" not in repr(settings)
    assert shown["storage"]["s3"]["secretkey"] == "(set)"
    assert shown["storage"]["s3"]["bucket"] == "b"
    # The server's processes get everything, though.
    assert Settings.model_validate_json(settings.model_dump_json()).storage.s3.secretkey == "hidden-4"


def test_database_url() -> None:
    settings = load(
        None,
        {
            "database": {
                "url": "postgresql://u@a:1,b:2/x?sslmode=require&keepalives_idle=7",
                "sslmode": "verify-full",
                "sslrootcert": "/etc/my ca.crt",
            }
        },
    )
    given = conninfo_to_dict(connection_info(settings.database_url))
    assert (given["host"], given["port"]) == ("a,b", "1,2")
    assert given["target_session_attrs"] == "read-write"
    # The URL is the stronger.
    assert (given["sslmode"], given["keepalives_idle"]) == ("require", "7")
    assert given["sslrootcert"] == "/etc/my ca.crt"
    assert (given["connect_timeout"], given["tcp_user_timeout"]) == ("2", "3000")
