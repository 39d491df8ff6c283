"""The harbor.yml of every Harbor since 1.8 is taken, each key used, noted, or refused with its reason."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from seawall.infra.loading import load
from seawall.install.harbor_keys import RELEASES, effect, is_section, keys
from seawall.install.owner import Owner
from seawall.install.prepare import prepare
from seawall.install.report import PrepareReport
from seawall.kernel.errors import ConfigError
from tests.support.harbor import harbor_files
from tests.support.processes import ROOT, clean_environment
from tests.support.servers.certificates import Authority

# Keys with one right value, or whose value does not matter.
INDIFFERENT = {"_version", "storage_service.azure.credentials.type"}
LEAVES = [key for key in keys() if not is_section(key.name)]


@pytest.fixture(autouse=True)
def ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are ours: to look at them as somebody else takes a process each (`test_prepare` does)."""
    me = Owner("", os.geteuid(), os.getegid())
    monkeypatch.setattr("seawall.install.prepare.owner_of", lambda user: me)


def write(folder: Path, content: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    certificate, key = Authority(folder).issue("registry.example.com")
    certificate.rename(folder / "certificate")
    key.rename(folder / "private_key")
    for name in ("ca_bundle", "rootCA", "keyfile"):
        (folder / name).write_bytes((folder / "certificate").read_bytes())
    file = folder / "harbor.yml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


def outputs(folder: Path) -> dict[str, str]:
    """What `prepare` wrote, without the folder's own name."""
    return {
        path.name: path.read_text().replace(str(folder), "FOLDER")
        for path in sorted((folder / "out").rglob("*"))
        if path.is_file()
    }


def noted(report: PrepareReport, name: str) -> bool:
    """Whether the report names the key or a section around it."""
    found = {note.key for note in report.notes}
    return any(name == key or name.startswith(f"{key}.") for key in found)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("kind", ["template", "everything"])
def test_whole_file(release: str, kind: str, tmp_path: Path) -> None:
    content = getattr(harbor_files, kind)(release, tmp_path)
    assert len(content) > 8
    report = prepare(write(tmp_path, content), tmp_path / "out")
    settings = load(tmp_path / "out" / "common" / "config" / "seawall.yml")
    expected = "https" if "https" in content else "http"
    assert settings.external_url is not None
    assert settings.external_url.startswith(f"{expected}://registry.example.com")
    for key in LEAVES:
        if effect(key.name).startswith("noted") and (
            key.shown(release) if kind == "template" else (key.origin == "template" and key.known(release))
        ):
            assert noted(report, key.name), key.name
    if kind == "everything":
        assert settings.database.url is not None
        assert settings.database.url.startswith("postgresql://x:x@x:7001/x")
        # Up to 2.0 the port has a key of its own.
        port = 7001 if release in ("1.8", "1.9", "1.10", "2.0") else 6379
        given = settings.redis.url or settings.redis.sentinel or ""
        if "sentinel_master_set" in content["external_redis"]:
            assert given == f"redis.example.com:{7001 if port == 7001 else 26379}"
        else:
            assert f"redis.example.com:{port}/" in given


def test_a_key_that_no_harbor_has_is_refused(tmp_path: Path) -> None:
    content = harbor_files.template("2.14", tmp_path) | {"chartt": {"absolute_url": "disabled"}}
    with pytest.raises(ConfigError, match="chartt: unknown key; did you mean chart"):
        prepare(write(tmp_path, content), tmp_path / "out")


BASE = ["hostname", "http.port", "data_volume"]
# What a key needs beside it to mean something.
NEEDS = {
    "https": ["https.port", "https.certificate", "https.private_key"],
    "external_database.harbor": [f"external_database.harbor.{k}" for k in
                                 ("host", "port", "db_name", "username", "password")],
    "external_redis": ["external_redis.host"],
    "external_redis.username": ["external_redis.password"],
    "external_redis.tlsOptions.rootCA": ["external_redis.tlsOptions.enable"],
    "log.external_endpoint": [f"log.external_endpoint.{k}" for k in ("protocol", "host", "port")],
    "storage_service.s3": [f"storage_service.s3.{k}" for k in ("region", "bucket")],
    "storage_service.redirect": [f"storage_service.s3.{k}" for k in ("region", "bucket")],
    "storage_service.s3.accesskey": ["storage_service.s3.secretkey"],
    "storage_service.s3.secretkey": ["storage_service.s3.accesskey"],
    "storage_service.s3.secure": ["storage_service.s3.regionendpoint"],
    "storage_service.gcs": ["storage_service.gcs.bucket"],
    "storage_service.azure": [f"storage_service.azure.{k}" for k in
                              ("accountname", "accountkey", "container")],
    "storage_service.oss": [f"storage_service.oss.{k}" for k in
                            ("region", "bucket", "accesskeyid", "accesskeysecret")],
    "proxy.components": ["proxy.http_proxy"],
    "upload_purging.enabled": ["upload_purging.age"],
    **{f"trace.{name}": ["trace.enabled", "trace.otel.endpoint"] for name in
       ("enabled", "sample_rate", "namespace", "attributes", "otel")},
    "trace.jaeger": ["trace.enabled", "trace.jaeger.endpoint"],
    "trace.jaeger.password": ["trace.jaeger.username"],
}  # fmt: skip
# A value with which the key's effect shows.
SHOWS: dict[str, Any] = {
    "proxy.components": ["trivy"],
    "upload_purging.enabled": False,
    "external_database.harbor.max_open_conns": 45,
    "external_database.harbor.ssl_mode": "verify-full",
}


@pytest.mark.parametrize("name", [
    key.name for key in LEAVES
    if not effect(key.name).startswith(("noted", "**refused")) and key.name not in INDIFFERENT
])  # fmt: skip
def test_a_used_key_has_an_effect(name: str, tmp_path: Path) -> None:
    """The files that `prepare` writes differ with the key and without it, or it cannot be left out."""
    beside = [other for prefix, others in NEEDS.items() if name.startswith(prefix) for other in others]
    names = list(dict.fromkeys([*BASE, *beside, name]))
    found = []
    for number, chosen in enumerate((names, [other for other in names if other != name])):
        folder = tmp_path / str(number)
        content = harbor_files.tree(chosen, folder)
        if name in chosen and name in SHOWS:
            *parents, last = name.split(".")
            here = content
            for part in parents:
                here = here[part]
            here[last] = SHOWS[name]
        file = write(folder, content)
        try:
            prepare(file, folder / "out")
        except ConfigError as error:
            assert number == 1, error
            assert "missing" in str(error) or "together" in str(error) or "needed" in str(error), error
            return
        found.append(outputs(folder))
    assert found[0] != found[1]


@pytest.mark.parametrize("name", ["s3", "gcs", "azure", "oss", "filesystem"])
def test_storage_drivers(name: str, tmp_path: Path) -> None:
    """Every parameter of a driver at once."""
    content = harbor_files.tree(BASE, tmp_path) | harbor_files.driver(name, tmp_path)
    report = prepare(write(tmp_path, content), tmp_path / "out")
    storage = load(tmp_path / "out" / "common" / "config" / "seawall.yml").storage
    assert storage.driver == {"oss": "s3"}.get(name, name)
    for key in harbor_files.drivers(name):
        if key.origin == "driver" and effect(key.name).startswith("noted"):
            assert noted(report, key.name), key.name
    if name == "oss":
        assert storage.s3.regionendpoint == "http://x"
        assert not storage.s3.forcepathstyle
    if name == "azure":
        assert storage.azure.endpoint == "https://x.blob.x"


@pytest.mark.parametrize(
    ("trace", "endpoint"),
    [
        ({"otel": {"endpoint": "c:4318", "url_path": "v1/traces"}}, "https://c:4318/v1/traces"),
        ({"otel": {"endpoint": "c:4318", "insecure": True}}, "http://c:4318/v1/traces"),
        ({"otel": {"endpoint": "http://c/otlp/v1/traces"}}, "http://c/otlp/v1/traces"),
        ({"jaeger": {"endpoint": "http://j:4318"}}, "http://j:4318"),
        ({"jaeger": {"endpoint": "http://j:14268/api/traces"}}, None),
    ],
)
def test_traces(trace: dict[str, Any], endpoint: str | None, tmp_path: Path) -> None:
    content = harbor_files.tree(BASE, tmp_path) | {"trace": {"enabled": True, **trace}}
    report = prepare(write(tmp_path, content), tmp_path / "out")
    found = load(tmp_path / "out" / "common" / "config" / "seawall.yml").trace
    assert (found.enabled, found.endpoint) == (endpoint is not None, endpoint)
    assert noted(report, "trace.jaeger.endpoint") == (endpoint is None)


@pytest.mark.parametrize(
    ("trace", "said"),
    [
        ({}, "trace.enabled: otel.endpoint is missing"),
        ({"otel": {"endpoint": "c d"}}, "trace.otel.endpoint: must be host:port"),
        ({"otel": {"endpoint": "c:4318"}, "sample_rate": 2}, "trace.sample_rate: must be from 0 to 1"),
    ],
)
def test_traces_that_cannot_be(trace: dict[str, Any], said: str, tmp_path: Path) -> None:
    content = harbor_files.tree(BASE, tmp_path) | {"trace": {"enabled": True, **trace}}
    with pytest.raises(ConfigError, match=said):
        prepare(write(tmp_path, content), tmp_path / "out")


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("swift: {authurl: https://keystone, container: c}", "storage_service.swift: is not supported, and"),
        (
            "azure: {accountname: a, accountkey: k, container: c, credentials: {type: client_secret}}",
            "storage_service.azure.credentials.type: is not supported, and",
        ),
        ("azure: {connectionstring: x}", "storage_service.azure.connectionstring: is not supported, and"),
    ],
)
def test_what_would_lose_data_is_refused(section: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "harbor.yml"
    file.write_text(
        f"hostname: r\nhttp: {{port: 80}}\ndata_volume: {tmp_path}/d\nstorage_service: {{{section}}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        prepare(file, tmp_path / "out")
    assert said in str(caught.value)


def test_a_section_that_nobody_filled_in_is_nothing(tmp_path: Path) -> None:
    file = tmp_path / "harbor.yml"
    file.write_text(
        f"hostname: r\nhttp: {{port: 80}}\ndata_volume: {tmp_path}/d\n"
        "storage_service: {swift: {authurl: , container: }, s3: }\nredis: {}\nchart:\n"
    )
    assert prepare(file, tmp_path / "out").notes == []


def test_the_page_is_up_to_date() -> None:
    command = [sys.executable, "-m", "seawall.install.harbor_keys"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=clean_environment())
    assert done.stdout == (ROOT / "docs" / "install" / "harbor-yml.md").read_text()
