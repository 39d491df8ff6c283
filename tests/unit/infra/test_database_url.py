"""The URL of the database: its ports are looked at before anything connects."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from seawall.infra.settings import DatabaseSettings


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@db/seawall",
        "postgresql://u:p@db:5432/seawall",
        "postgresql://u:p%40x@one:5432,two:5433/seawall?sslmode=require",
        "postgresql://u@one,two/seawall",
        "postgresql://u@db:5432/seawall?application_name=me@home:99999",
        "postgresql://[::1]:5432/seawall",
        "postgresql://[::1]/seawall",
        "postgresql://::1/seawall",
        "postgresql:///seawall?host=/run/postgresql",
        "postgres://db:/seawall",
        "sqlite:////srv/a:99999/seawall.db",
    ],
)
def test_ports_that_libpq_takes(url: str) -> None:
    assert DatabaseSettings(url=url).url == url


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:secret@db:99999/seawall",
        "postgresql://u:secret@one:5432,two:0/seawall",
        "postgresql://u:secret@db:abc/seawall",
        "postgresql://u:secret@[::1]:70000/seawall",
    ],
)
def test_ports_that_no_host_has_are_refused_without_the_password(url: str) -> None:
    with pytest.raises(ValidationError, match="a port is a number from 1 to 65535") as raised:
        DatabaseSettings(url=url)
    assert "secret" not in str([error["msg"] for error in raised.value.errors()])
