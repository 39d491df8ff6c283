"""harbor.yml: every bad key named by line; keys kept on a second run; valid settings and units."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seawall.infra.loading import load
from seawall.install import harbor_yml
from seawall.install.harbor_shape import SHAPE
from seawall.install.key_files import key_paths
from seawall.install.marked import check
from seawall.install.prepare import prepare
from seawall.install.translation import external_url
from seawall.kernel.errors import ConfigError
from tests.support.servers.balancers import BalancerServer

GOOD = """\
hostname: reg.example.com
http:
  port: 8080
harbor_admin_password: Harbor12345
data_volume: {data}
external_database:
  harbor:
    host: pg-a, pg-b:5433
    port: 5432
    db_name: registry
    username: sea/wall
    password: p@ss:w/rd%
    ssl_mode: require
external_redis:
  host: s1:26379,s2
  sentinel_master_set: mymaster
  password: "0123"
  tlsOptions:
    enable: true
    rootCA: {here}/redis.crt
  registry_db_index: 1
storage_service:
  ca_bundle: {here}/s3.crt
  filesystem:
    rootdirectory: {data}/shared
jobservice:
  max_job_workers: 7
  job_loggers: [FILE]
  logger_sweeper_duration: 14
log:
  level: warn
  local:
    rotate_count: 3
    rotate_size: 10M
    location: {data}/log
proxy:
  http_proxy: http://proxy:3128
  https_proxy:
  no_proxy: localhost
  components: [core, jobservice, trivy]
upload_purging:
  enabled: true
  age: 36h
_version: 2.15.0
trivy:
  ignore_unfixed: false
"""


def write(tmp_path: Path, text: str, **values: str) -> Path:
    for name in ("redis.crt", "s3.crt", "ca.crt", "key.json"):
        (tmp_path / name).write_text("x")
    file = tmp_path / "harbor.yml"
    file.write_text(text.format(data=tmp_path / "data", here=tmp_path, **values))
    return file


def faults(tmp_path: Path, text: str) -> list[str]:
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        prepare(file, tmp_path / "out")
    # Nothing of a refused file is acted on.
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "data").exists()
    return [line.removeprefix(f"{file} ") for line in str(caught.value).splitlines()]


def test_every_fault_is_named_by_line(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        """\
hostnam: reg.example.com
http:
  port: 99999
  prot: 80
https:
  port: 443
  certificate: relative/path.crt
harbor_admin_password: weak
data_volume: {data}
external_database:
  harbor:
    host: pg
    port: 5432
    db_name: registry
    username: seawall
    ssl_mode: maybe
external_redis:
  host: a:1,b:2
  password: [1]
storage_service:
  s3:
    bucket: b
    skipverify: perhaps
    accesskey: x
  swift:
    authurl: x
log:
  level: loud
  local: 5
proxy:
  components:
    - core
    - portal
upload_purging:
  enabled: maybe
  age: a week
upload_purging:
  age: 1h
""",
    )
    assert found == [
        "line 1: hostnam: unknown key; did you mean hostname?",
        "line 1: hostname: is missing",
        "line 3: http.port: must be from 1 to 65535",
        "line 4: http.prot: unknown key; did you mean port?",
        "line 5: https: private_key is missing",
        "line 7: https.certificate: must be an absolute path",
        "line 8: harbor_admin_password: must have 8 to 128 characters with upper case, lower case and a "
        "digit",
        "line 11: external_database.harbor: password is missing",
        "line 16: external_database.harbor.ssl_mode: must be one of disable, allow, prefer, require, "
        "verify-ca, verify-full",
        "line 18: external_redis.host: names several hosts, so sentinel_master_set is needed",
        "line 19: external_redis.password: must be a text",
        "line 21: storage_service.s3: region is missing",
        "line 21: storage_service.s3: accesskey and secretkey must be given together",
        "line 23: storage_service.s3.skipverify: must be true or false",
        "line 25: storage_service.swift: is not supported, and blobs must not go elsewhere unnoticed: "
        "Seawall reaches Swift by its S3 API; give s3 with the proxy's URL as regionendpoint and credentials "
        "of `openstack ec2 credentials create`",
        "line 28: log.level: must be one of debug, info, warning, warn, error, fatal",
        "line 29: log.local: must be a section with keys",
        "line 33: proxy.components: must be one of core, jobservice, registry, trivy, clair, notary, "
        "notary_server, notary_signer, chartmuseum, registryctl, exporter",
        "line 35: upload_purging.enabled: must be true or false",
        "line 36: upload_purging.age: must be a duration such as 168h, 5m or 30s",
        "line 37: upload_purging: given before, on line 34",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hostname: [", "line 1: not valid YAML"),
        ("- a", "the top level must be a mapping"),
        ("hostname: http://x\nhttp: {port: 80}\ndata_volume: /d", "line 1: hostname: must be a host name"),
        ("hostname: reg.mydomain.com\nhttp: {port: 80}\ndata_volume: /d", "line 1: hostname: is still the"),
        ("hostname: x\ndata_volume: /d", "line 1: http: is missing"),
        ("hostname: x\nhttp: {port: 80}\ndata_volume: d", "line 3: data_volume: must be an absolute path"),
        (
            "hostname: x\nhttp: {port: 80}\ndata_volume: /d\nseawall: {http: {worker: 3}}",
            "line 4: seawall.http.worker",
        ),
        (
            "hostname: x\nexternal_url: https://y/path\nhttp: {port: 80}\ndata_volume: /d",
            "line 2: external_url: must be http",
        ),
    ],
)
def test_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "harbor.yml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        prepare(file, tmp_path / "out")
    assert said in str(caught.value)


def test_settings(tmp_path: Path) -> None:
    file = write(tmp_path, GOOD)
    report = prepare(file, tmp_path / "out")
    found = load(tmp_path / "out" / "common" / "config" / "seawall.yml")
    assert found.external_url == "http://reg.example.com:8080"
    assert found.http.port == 8080
    assert found.database.url == (
        "postgresql://sea%2Fwall:p%40ss%3Aw%2Frd%25@pg-a:5432,pg-b:5433/registry?sslmode=require"
    )
    assert found.redis.sentinel == "s1:26379,s2:26379"
    assert found.redis.sentinel_master == "mymaster"
    assert found.redis.password == "0123"
    assert found.redis.tls_ca_file == tmp_path / "redis.crt"
    assert found.storage_root == tmp_path / "data" / "shared"
    assert found.jobs.slots == 7
    assert found.jobs.keep_days == 14
    assert not found.jobs.embedded
    assert found.log.level == "warning"
    assert found.gc.upload_hours == 36
    assert found.admin_password == "Harbor12345"
    config = tmp_path / "out" / "common" / "config"
    assert (config / "seawall.yml").stat().st_mode & 0o777 == 0o600
    environment = (config / "seawall.env").read_text().splitlines()
    assert "HTTP_PROXY=http://proxy:3128" in environment
    assert found.ca_bundle == tmp_path / "s3.crt"
    assert not [line for line in environment if line.startswith("HTTPS_PROXY")]
    assert {note.key for note in report.notes} == {
        "external_redis.registry_db_index",
        "jobservice.job_loggers",
        "trivy",
    }


@pytest.mark.parametrize(
    ("section", "wanted"),
    [
        (
            "s3: {region: r, bucket: b, regionendpoint: 's3.local:9000', secure: false, accesskey: a, "
            "secretkey: s, rootdirectory: /p}\n  ca_bundle: {here}/ca.crt",
            {"driver": "s3", "redirect": True, "s3.bucket": "b", "s3.regionendpoint": "http://s3.local:9000"},
        ),
        (
            "gcs: {bucket: b, keyfile: {here}/key.json}\n  redirect: {disable: true}",
            {"driver": "gcs", "redirect": False, "gcs.bucket": "b"},
        ),
        (
            "azure: {accountname: n, accountkey: k, container: c}\n  redirect: {disabled: false}",
            {"driver": "azure", "redirect": True, "azure.accountkey": "k"},
        ),
    ],
)
def test_storage(tmp_path: Path, section: str, wanted: dict[str, Any]) -> None:
    section = section.replace("{here}", str(tmp_path))
    text = f"hostname: reg\nhttp: {{port: 80}}\ndata_volume: {tmp_path}/data\nstorage_service:\n  {section}\n"
    file = write(tmp_path, text.replace("{", "{{").replace("}", "}}"))
    prepare(file, tmp_path / "out")
    storage = load(tmp_path / "out" / "common" / "config" / "seawall.yml").storage
    for key, value in wanted.items():
        found: Any = storage
        for part in key.split("."):
            found = getattr(found, part)
        assert found == value, key
    if storage.driver == "s3":
        assert storage.s3.cacert == tmp_path / "ca.crt"


def test_keys_are_made_once(tmp_path: Path) -> None:
    file = write(tmp_path, GOOD)
    first = prepare(file, tmp_path / "out")
    paths = key_paths(tmp_path / "data")
    assert sorted(first.made_keys) == sorted(paths.values())
    before = {path: path.read_bytes() for path in paths.values()}
    assert len(base64.b64decode(before[paths["master"]])) == 32
    assert len(before[paths["secret"]]) == 16
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in paths.values())
    assert (tmp_path / "data" / "ca_download").is_dir()

    second = prepare(file, tmp_path / "out")
    assert not second.made_keys
    assert not second.written
    assert sorted(second.unchanged) == sorted(first.written)

    file.write_text(file.read_text().replace("max_job_workers: 7", "max_job_workers: 8"))
    paths["csrf"].unlink()
    third = prepare(file, tmp_path / "out")
    assert [path.name for path in third.written] == ["seawall.yml"]
    assert third.made_keys == [paths["csrf"]]
    del before[paths["csrf"]]
    assert all(path.read_bytes() == content for path, content in before.items())


def test_half_a_key_pair_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, GOOD)
    prepare(file, tmp_path / "out")
    key_paths(tmp_path / "data")["root_crt"].unlink()
    with pytest.raises(ConfigError, match=r"root\.crt is not: they belong together"):
        prepare(file, tmp_path / "out")


def test_ca_download(tmp_path: Path) -> None:
    file = write(tmp_path, GOOD)
    prepare(file, tmp_path / "out")
    found = load(tmp_path / "out" / "common" / "config" / "seawall.yml").ca_download
    assert found == tmp_path / "data" / "ca_download"


def test_units_are_good(tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    (prefix / "venv" / "bin").mkdir(parents=True)
    program = prefix / "venv" / "bin" / "seawall"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    file = write(tmp_path, GOOD)
    prepare(file, tmp_path / "out", prefix=prefix, user="root")
    units = [str(path) for path in (tmp_path / "out" / "systemd").iterdir()]
    assert len(units) == 2
    result = subprocess.run(
        ["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert not [line for line in result.stderr.splitlines() if str(tmp_path) in line], result.stderr


ACCELERATED = "seawall:\n  http: {{accelerate: nginx, trusted_proxies: [10.0.0.9]}}\n"


def test_nginx_sends_the_blobs(tmp_path: Path) -> None:
    """It takes core's port in core's network, and Debian's nginx takes the configuration."""
    prepare(write(tmp_path, GOOD + ACCELERATED), tmp_path / "out", user="root")
    config = tmp_path / "out" / "common" / "config"
    http = load(config / "seawall.yml", {}).http
    assert http.accelerate == "nginx"
    assert http.trusted_proxies == ["10.0.0.9", "127.0.0.1"]
    services = yaml.safe_load((tmp_path / "out" / "docker-compose.yml").read_text())["services"]
    assert services["core"]["ports"] == ["8080:8099"]
    assert services["nginx"]["network_mode"] == "service:core"
    assert services["nginx"]["user"] == services["core"]["user"]
    shared = tmp_path / "data" / "shared"
    assert f"{shared}:{shared}:ro" in services["nginx"]["volumes"]
    assert f"{config}/nginx.conf:/etc/nginx/conf.d/default.conf:ro" in services["nginx"]["volumes"]
    text = (config / "nginx.conf").read_text()
    assert "server 127.0.0.1:8080 " in text
    assert f"alias {shared}/$seawall_file;" in text
    BalancerServer("nginx", 8099).check(text)


def test_nginx_has_the_certificate(tmp_path: Path) -> None:
    key, certificate = tmp_path / "tls.key", tmp_path / "tls.crt"
    made = f"openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=r -keyout {key} -out {certificate}"
    subprocess.run(made.split(), check=True, capture_output=True)
    text = f"https: {{{{port: 8443, certificate: {certificate}, private_key: {key}}}}}\n{GOOD}{ACCELERATED}"
    prepare(write(tmp_path, text), tmp_path / "out", user="root")
    services = yaml.safe_load((tmp_path / "out" / "docker-compose.yml").read_text())["services"]
    assert services["core"]["ports"] == ["8443:8099", "8080:8080"]
    assert f"{key}:{key}:ro" in services["nginx"]["volumes"]
    conf = (tmp_path / "out" / "common" / "config" / "nginx.conf").read_text()
    assert "proxy_pass https://seawall;" in conf
    BalancerServer("nginx", 8099).check(conf)


def test_without_files_there_is_no_nginx(tmp_path: Path) -> None:
    prepare(write(tmp_path, GOOD), tmp_path / "out", user="root")
    services = yaml.safe_load((tmp_path / "out" / "docker-compose.yml").read_text())["services"]
    assert set(services) == {"core", "jobservice"}
    assert services["core"]["ports"] == ["8080:8080"]
    assert not (tmp_path / "out" / "common" / "config" / "nginx.conf").exists()


def test_external_log(tmp_path: Path) -> None:
    text = GOOD.replace(
        "log:\n", "log:\n  external_endpoint: {{protocol: udp, host: logs.example.com, port: 514}}\n"
    )
    prepare(write(tmp_path, text), tmp_path / "out")
    config = tmp_path / "out" / "common" / "config"
    assert (config / "rsyslog.conf").read_text().endswith("@logs.example.com:514\n")
    compose = yaml.safe_load((tmp_path / "out" / "docker-compose.yml").read_text())
    options = compose["services"]["core"]["logging"]["options"]
    assert options["syslog-address"] == "udp://logs.example.com:514"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("hostname: reg\nhttp: {port: 80}", "http://reg"),
        ("hostname: reg\nhttp: {port: 8080}", "http://reg:8080"),
        ("hostname: reg\nhttps: {port: 443}\nhttp: {port: 80}", "https://reg"),
        ("hostname: reg\nhttps: {port: 8443}", "https://reg:8443"),
        ("hostname: '2001:db8::1'\nhttp: {port: 80}", "http://[2001:db8::1]"),
        ("hostname: reg\nexternal_url: https://lb:5000\nhttp: {port: 80}", "https://lb:5000"),
    ],
)
def test_external_url(text: str, url: str) -> None:
    assert external_url(check(text, SHAPE, file="harbor.yml")) == url


def test_the_template_needs_a_name_and_a_certificate(tmp_path: Path) -> None:
    template = Path(harbor_yml.__file__).parent / "data" / "harbor.yml.tmpl"
    file = tmp_path / "harbor.yml"
    file.write_text(template.read_text())
    found = harbor_yml.read(file)
    assert [finding.key for finding in found.faults] == ["hostname", "https.certificate", "https.private_key"]
    assert not found.notes


_values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["port", "harbor", "host", "s3", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(st.sampled_from([*SHAPE, "other"]), _values, max_size=8))
def test_any_mapping_is_accepted_or_faulted(tree: dict[str, Any]) -> None:
    found = check(yaml.safe_dump(tree), SHAPE, file="harbor.yml")
    harbor_yml._whole(found)
    assert all(finding.line >= 1 and finding.message for finding in [*found.faults, *found.notes])


@given(st.text(max_size=200))
def test_any_text_is_accepted_or_refused(text: str) -> None:
    try:
        check(text, SHAPE, file="harbor.yml")
    except ConfigError as error:
        assert "harbor.yml" in str(error)
