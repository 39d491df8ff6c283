"""Settings from file, environment and flags: what is taken, and the one line for what is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from seawall.infra.loading import _paths, find, load
from seawall.infra.settings import Settings
from seawall.kernel.errors import ConfigError


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:

    for name in os.environ:
        if name.startswith("SEAWALL_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "SEAWALL_DATABASE_URL",
            "x",
            "SEAWALL_DATABASE_URL: unknown setting; did you mean SEAWALL_DATABASE__URL?",
        ),
        ("SEAWALL_HTTP__PROT", "1", "SEAWALL_HTTP__PROT: unknown setting; did you mean SEAWALL_HTTP__PORT?"),
        ("SEAWALL_HTTP_PORT", "80", "SEAWALL_HTTP_PORT: unknown setting; did you mean SEAWALL_HTTP__PORT?"),
        ("SEAWALL_DATA_DIR", "", "SEAWALL_DATA_DIR: is empty; name a folder"),
        ("SEAWALL_NONSENSE", "1", "SEAWALL_NONSENSE: unknown setting"),
        ("SEAWALL_HTTP__PORT", "x", "SEAWALL_HTTP__PORT: must be a whole number"),
        ("SEAWALL_PEERS__URLS", "[1", "SEAWALL_PEERS__URLS: not valid JSON"),
        ("SEAWALL_GC__SCHEDULE", "15 3 * *", "SEAWALL_GC__SCHEDULE: cron '15 3"),
        ("SEAWALL_GC__SCHEDULE", "0 0 30 2 *", "SEAWALL_GC__SCHEDULE: cron"),
        ("SEAWALL_EXTERNAL_URL", "http://", "SEAWALL_EXTERNAL_URL: must be a URL with a host"),
        ("SEAWALL_EXTERNAL_URL", "https://a:70000", "SEAWALL_EXTERNAL_URL: must be a URL with a host"),
        ("SEAWALL_EXTERNAL_URL", "https://u:off@h", "SEAWALL_EXTERNAL_URL: has a user in it"),
        ("SEAWALL_HA__ADDRESS", "http://:80", "SEAWALL_HA__ADDRESS: must be a URL with a host"),
        ("SEAWALL_PEERS__URLS", "https://a b", "SEAWALL_PEERS__URLS: must be a URL with a host"),
        ("SEAWALL_STORAGE__REDIRECT_ENDPOINT", "http://", "SEAWALL_STORAGE: redirect_endpoint must be a URL"),
        ("SEAWALL_REDIS__SENTINEL", "a:x", "SEAWALL_REDIS__SENTINEL: must be host:port, or several"),
        ("SEAWALL_REDIS__CLUSTER", "a:1,http://b", "SEAWALL_REDIS__CLUSTER: must be host:port, or several"),
        ("SEAWALL_AUTH__SESSION_HOURS", "inf", "SEAWALL_AUTH__SESSION_HOURS: must be a number"),
        (
            "SEAWALL_DATABASE__STATEMENT_SECONDS",
            "9999999",
            "SEAWALL_DATABASE__STATEMENT_SECONDS: must be 2000000",
        ),
        ("SEAWALL_JOBS__KEEP_DAYS", "99999999999", "SEAWALL_JOBS__KEEP_DAYS: must be 36500 or less"),
        ("SEAWALL_EXTERNAL_URL", "https://<registry>", "SEAWALL_EXTERNAL_URL: must be a URL with a host"),
        ("SEAWALL_EXTERNAL_URL", "http://$REGISTRY", "SEAWALL_EXTERNAL_URL: must be a URL with a host"),
        ("SEAWALL_REDIS__URL", "redis://h:port", "SEAWALL_REDIS__URL: must be a URL with a host"),
        ("SEAWALL_REDIS__URL", "redis://", "SEAWALL_REDIS__URL: must be a URL with a host"),
        ("SEAWALL_HTTP__HOST", "0.0.0.0:80", "SEAWALL_HTTP__HOST: '0.0.0.0:80' must be an address or a name"),
        ("SEAWALL_HTTP__HOST", "http://0.0.0.0", "SEAWALL_HTTP__HOST: 'http://0.0.0.0' must be an address"),
        ("SEAWALL_HTTP__HOST", "", "SEAWALL_HTTP__HOST: '' must be an address"),
        ("SEAWALL_DATA_DIR", "~/data", "SEAWALL_DATA_DIR: ~/data: only a shell knows what ~ stands for"),
        ("SEAWALL_STORAGE__ROOT", "~/b", "SEAWALL_STORAGE__ROOT: ~/b: only a shell knows"),
        ("SEAWALL_STORAGE__S3__BUCKET", "b", "SEAWALL_STORAGE: s3.bucket is given, and driver is filesystem"),
        (
            "SEAWALL_LOG__LEVEL",
            "INFO",
            "SEAWALL_LOG__LEVEL: must be 'debug', 'info', 'warning' or 'error'; did you mean info?",
        ),
        ("SEAWALL_METRICS__TOKEN", "x", "SEAWALL_METRICS__TOKEN: must have 8 characters or more"),
        ("SEAWALL_RATE__PER_ADDRESS", "-5", "SEAWALL_RATE__PER_ADDRESS: must be 0 or more"),
        ("SEAWALL_STORAGE__CACHE__BYTES", "1", "SEAWALL_STORAGE__CACHE__BYTES: must be 67108864 or more"),
        (
            "SEAWALL_DATABASE__URL",
            "postgresql://u:50%off@h/d",
            "SEAWALL_DATABASE__URL: a % in it, in a password for example, must be written as %25",
        ),
    ],
)
def test_environment_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as error:
        load()
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
    assert "off@h" not in str(error.value)


_STRANGE = [
    "",
    " ",
    "x",
    "-1",
    "1e400",
    "9" * 20,
    "nan",
    "[",
    "{",
    "null",
    "http://",
    "http://h:99999",
    "@daily",
]


@pytest.mark.parametrize("value", _STRANGE)
def test_every_setting_takes_a_value_or_says_why_not(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    for path in _paths(Settings):
        name = f"SEAWALL_{'__'.join(path)}".upper()
        monkeypatch.setenv(name, value)
        try:
            settings = load()
        except ConfigError as error:
            # A rule for several settings names their section.
            assert str(error).startswith((f"{name}: ", f"SEAWALL_{path[0].upper()}"))
            assert "\n" not in str(error)
        else:
            found: object = settings
            for part in path:
                found = getattr(found, part)
            assert not isinstance(found, (int, float)) or found <= 10**15
        monkeypatch.delenv(name)


@pytest.mark.parametrize("value", ["10.0.0.0/8, 192.0.2.1", '["10.0.0.0/8", "192.0.2.1"]'])
@pytest.mark.parametrize(
    "path",
    ["http.trusted_proxies", "rate.exempt", "webhooks.allow_networks"],
)
def test_lists_take_commas_and_json(monkeypatch: pytest.MonkeyPatch, path: str, value: str) -> None:
    section, key = path.split(".")
    monkeypatch.setenv(f"SEAWALL_{section}__{key}".upper(), value)
    assert getattr(getattr(load(), section), key) == ["10.0.0.0/8", "192.0.2.1"]


@pytest.mark.parametrize(
    "name",
    ["SEAWALL_SERVICE_HOST", "SEAWALL_PORT", "SEAWALL_PORT_80_TCP_ADDR", "SEAWALL_REDIS_SERVICE_PORT_TCP"],
)
def test_kubernetes_service_variables_are_no_settings(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "tcp://10.0.0.1:80")
    load()


def test_precedence_and_merging(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "seawall.yml"
    file.write_text("http: {port: 1000, host: 10.0.0.1}\ngc: {schedule: '15 3 * * *'}\n")
    monkeypatch.setenv("SEAWALL_HTTP__PORT", "2000")
    settings = load(file, {"data_dir": tmp_path})
    assert (settings.http.port, settings.http.host) == (2000, "10.0.0.1")
    assert settings.gc.schedule == "0 15 3 * * *"
    assert load(file, {"http": {"port": 3000}}).http.port == 3000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("http:\n  prot: 1\n", "line 2: http.prot: unknown key; did you mean port?"),
        ("http:\n  port: 1\nhttp:\n  port: 2\n", "line 3: http: given before, on line 1; remove one"),
        (
            "http:\n  port: 1\n  port: 2\n",
            "line 3: http.port: given before, on line 2; remove one",
        ),
        ("http:\n  port: high\n", "line 2: http.port: must be a whole number"),
        ("http: [\n", "line 2: not valid YAML"),
        ("- 1\n", ": the top level must be a mapping"),
        ("gc:\n  schedule: 'x'\n", "line 2: gc.schedule: cron 'x': must have five fields"),
        ("http:\n  port: -1\n", "line 2: http.port: must be 0 or more"),
        ("http:\n  port: 99999\n", "line 2: http.port: must be 65535 or less"),
        ("data_dir: ''\n", "line 1: data_dir: is empty; name a folder"),
        ("data_dir: 5\n", "line 1: data_dir: must be a path"),
        ("external_url: http://a/b\n", "line 1: external_url: must end with the host"),
        ("peers:\n  urls: http://a\n", "line 2: peers.urls: must be a list"),
        ("auth:\n  mode: ldap\n", "line 2: auth.mode: ldap is chosen in the portal or"),
        ("keys:\n  on_mismatch: heel\n", "line 2: keys.on_mismatch: must be 'refuse' or 'heal'; did you"),
        ("http: 80\n", "line 1: http: must be a section with keys"),
        ("1: 2\n", ": 1: unknown key; names of settings must be text"),
        ("http:\n  1: 2\n", "line 2: http.1: unknown key"),
        ("log: {level: [1]}\n", "line 1: log.level: must be"),
    ],
)
def test_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "seawall.yml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        load(file)
    assert message in str(error.value)
    assert str(error.value).startswith(str(file))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("http: {port: yes}", "http.port: must be a number, and not true or false (yes and no in YAML)"),
        ("a: &x [*x]", "not valid YAML: a part of it refers to itself"),
        ("\x01", "not valid YAML: special characters are not allowed"),
        ("a: 1\n---\nb: 1\n", "not valid YAML: expected a single document in the stream, but found"),
        ("hostname: registry.example.com", "is a harbor.yml; `seawall prepare -f"),
        ("http.port: 80", "http.port: unknown key; write `http:`, and below it `port:`"),
        ("HTTP: {}", "HTTP: unknown key; did you mean http?"),
        ("admin_password: 12345678", "admin_password: must be a text; put it in quotes"),
        ("peers: {urls: https://b}", "peers.urls: must be a list, such as [a, b]"),
        ("storage: {driver: s3, s3: {bucket: 's3://b'}}", "s3.bucket is a name, and not a URL"),
    ],
)
def test_slips_in_the_file(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "seawall.yml"
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load(file)
    assert str(refused.value).startswith(f"{file}")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_working_directory_of_somebody_else(tmp_path: Path) -> None:
    """`sudo -u seawall seawall user list` typed in root's home, which the user may not enter."""
    tmp_path.chmod(0o700)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.chdir(tmp_path)
            os.setuid(65534)
            code = 0 if find(Path("data")) is None else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
