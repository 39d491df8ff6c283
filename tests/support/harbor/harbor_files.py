"""Whole harbor.yml files of each Harbor release, written from the names of its keys with values of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seawall.install.harbor_keys import HarborKey, is_section, keys

# Values by name; a key that is not here has the value by its last part, or "x".
_VALUES: dict[str, Any] = {
    "_version": "2.0.0",
    "hostname": "registry.example.com",
    "external_url": "https://registry.example.com",
    "harbor_admin_password": "Harbor12345",
    "log.level": "warning",
    "https.port": 7443,
    "log.external_endpoint.protocol": "tcp",
    "proxy.components": ["core", "jobservice"],
    "jobservice.job_loggers": ["FILE"],
    "storage_service.s3.rootdirectory": "/prefix",
    "storage_service.s3.regionendpoint": "s3.example.com:9000",
    "storage_service.s3.keyid": "kms-1",
    "storage_service.gcs.rootdirectory": "/prefix",
    "storage_service.gcs.credentials": {"type": "service_account"},
    "storage_service.azure.credentials.type": "shared_key",
    "storage_service.azure.serviceurl": "https://blobs.example.com",
    "storage_service.azure.rootdirectory": "/prefix",
    "storage_service.oss.rootdirectory": "/prefix",
    "external_redis.host": "redis.example.com",
    "trace.sample_rate": 0.5,
    "trace.attributes": {"application": "x"},
    "trace.jaeger.endpoint": "http://jaeger.example.com:4318",
    "trace.otel.endpoint": "otel.example.com:4318",
    "trace.otel.url_path": "/spans",
    "trace.otel.compression": True,
    "trace.otel.insecure": True,
    "trace.otel.timeout": "11s",
    "upload_purging.age": "72h",
    "upload_purging.interval": "24h",
}
_BY_PART: dict[str, Any] = {
    "port": 7001,
    "enabled": True,
    "enable": True,
    "disable": True,
    "disabled": True,
    "ssl_mode": "require",
    "secure": False,
    "skipverify": True,
    "encrypt": True,
    "internal": True,
    "forcepathstyle": False,
    "usedualstack": True,
    "accelerate": True,
    "usefipsendpoint": True,
    "chunksize": 33554432,
    "max_open_conns": 36,
    "rotate_count": 7,
    "rotate_size": "11M",
    "max_job_workers": 3,
    "logger_sweeper_duration": 5,
    "webhook_job_http_client_timeout": 6,
    "harbor_db_index": 4,
    "http_proxy": "http://proxy.example.com:3128",
    "https_proxy": "http://proxy.example.com:3129",
    "no_proxy": "internal.example.com",
}
_FILES = ("certificate", "private_key", "ca_bundle", "rootCA", "keyfile", "location", "rootdirectory")


def value(name: str, folder: Path) -> Any:
    """A value for the key `name`; paths are below `folder`."""
    last = name.rpartition(".")[2]
    if name in _VALUES:
        return _VALUES[name]
    if name == "data_volume":
        return str(folder / "data")
    if last in _FILES:
        return str(folder / last)
    return _BY_PART.get(last, "x")


def tree(names: list[str], folder: Path) -> dict[str, Any]:
    """A nested mapping with a value at each dotted name."""
    result: dict[str, Any] = {}
    sections = {name.rpartition(".")[0] for name in names}
    for name in names:
        *parents, last = name.split(".")
        here = result
        for part in parents:
            here = here.setdefault(part, {})
        if name in sections or is_section(name):
            here.setdefault(last, {})
        else:
            here[last] = value(name, folder)
    return result


def template(release: str, folder: Path) -> dict[str, Any]:
    """What is not commented out in the template of `release`."""
    return tree([key.name for key in keys() if key.shown(release)], folder)


def everything(release: str, folder: Path) -> dict[str, Any]:
    """Every key of the template of `release`, commented or not."""
    return tree([key.name for key in keys() if key.origin == "template" and key.known(release)], folder)


def driver(name: str, folder: Path) -> dict[str, Any]:
    """A storage driver's section with every parameter of the distribution that Harbor ships."""
    return tree([key.name for key in drivers(name) if key.origin == "driver"], folder)


def drivers(name: str) -> list[HarborKey]:
    """The keys of a storage driver."""
    return [key for key in keys() if key.name.startswith(f"storage_service.{name}.")]
