"""`configuration` in the settings decides items, as Harbor's CONFIG_OVERWRITE_JSON does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from seawall.infra.db import migrate
from seawall.infra.loading import load
from seawall.infra.settings import HaSettings
from seawall.kernel.errors import ConfigError, ForbiddenError
from seawall.process.wiring import open_process


def test_fixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "SEAWALL_CONFIGURATION", '{"oidc_name": "Dex", "token_expiration": "45", "read_only": false}'
    )
    settings = load(None, {"data_dir": tmp_path})
    migrate.upgrade(settings.database_url)

    async def run() -> None:
        process = open_process(settings)
        try:
            configuration = process.configuration
            assert configuration.fixed == {"oidc_name", "token_expiration", "read_only"}
            assert configuration.current["oidc_name"] == "Dex"
            found = await configuration.all()
            assert (found["oidc_name"], found["token_expiration"], found["read_only"]) == ("Dex", 45, False)
            with pytest.raises(ForbiddenError, match="oidc_name is set by `configuration`"):
                await configuration.set({"banner_message": "x", "oidc_name": "Keycloak"})
            assert (await configuration.reread())["banner_message"] == ""
            # What a form sends back unchanged is no change.
            await configuration.set({"banner_message": "x", "oidc_name": "Dex"})
            assert (await configuration.reread())["banner_message"] == "x"
        finally:
            await process.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"oidc_nam": "x"}, "configuration.oidc_nam: unknown item; did you mean oidc_name?"),
        ({"auth_mode": "uaa_auth"}, "configuration: auth_mode must be one of"),
    ],
)
def test_refused(tmp_path: Path, given: dict[str, str], said: str) -> None:
    settings = load(None, {"data_dir": tmp_path, "configuration": given})
    migrate.upgrade(settings.database_url)

    async def run() -> None:
        await open_process(settings).close()

    with pytest.raises(ConfigError, match=said):
        asyncio.run(run())


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("http://fd00::1:8080", "http://[fd00::1]:8080"),
        ("http://[fd00::1]:8080", "http://[fd00::1]:8080"),
        ("https://10.0.0.1:8080", "https://10.0.0.1:8080"),
        ("https://host", "https://host"),
    ],
)
def test_addresses_as_kubernetes_gives_them(given: str, taken: str) -> None:
    assert HaSettings(address=given).address == taken
