"""The shape of harbor.yml (Harbor 2.x's installer configuration) and what each key means for Seawall.

Keys of parts that Seawall does not have are known and noted, so a Harbor's file can be brought along as it
is. Keys that would change how data is kept and cannot be honoured are refused.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from seawall.install.marked import (
    Anything,
    Checked,
    Finding,
    Items,
    Noted,
    Refused,
    Shape,
    check,
    choice,
    duration,
    flag,
    hostname,
    number,
    path,
    port,
    text,
    url,
    words,
)
from seawall.kernel.errors import ConfigError

_POOL = "has no effect: Seawall keeps max_open_conns connections, and no others, in each process"
_TRIVY = (
    "has no effect: the scanner is Seawall's own and works offline; import its data with `seawall scan db`"
)
_INDEX = "has no effect: Seawall keeps everything in one Redis database, harbor_db_index"
_STORE = "is not supported; use filesystem, s3, gcs or azure"


def _size(value: Any) -> str:
    if not re.fullmatch(r"\d+[kMG]?", str(value)):
        raise ValueError("must be a size such as 200M")
    return str(value)


def _password(value: Any) -> str:
    found = text(value)
    if not 8 <= len(found) <= 128 or not all(re.search(p, found) for p in ("[a-z]", "[A-Z]", "[0-9]")):
        raise ValueError("must have 8 to 128 characters with upper case, lower case and a digit")
    return found


_EXTERNAL_DATABASE: Shape = {
    "host": words,
    "port": port,
    "db_name": words,
    "username": words,
    "password": text,
    "ssl_mode": choice("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "ssl_root_cert": path,
    "max_idle_conns": Noted(_POOL),
    "max_open_conns": number(0, 100000),
    "conn_max_lifetime": Noted(_POOL),
    "conn_max_idle_time": Noted(_POOL),
}

SHAPE: Shape = {
    "_version": text,
    "hostname": hostname,
    "external_url": url,
    "http": {"port": port},
    "https": {
        "port": port,
        "certificate": path,
        "private_key": path,
        "strong_ssl_ciphers": Noted("has no effect: only TLS 1.2 and 1.3 with strong ciphers are offered"),
    },
    "ip_family": {"ipv4": {"enabled": flag}, "ipv6": {"enabled": flag}},
    "internal_tls": Noted("has no effect: the components are one process"),
    "harbor_admin_password": _password,
    "database": {
        "password": Noted("has no effect: without external_database Seawall's own embedded database is used"),
        "max_idle_conns": Noted(_POOL),
        "max_open_conns": number(0, 100000),
        "conn_max_lifetime": Noted(_POOL),
        "conn_max_idle_time": Noted(_POOL),
    },
    "data_volume": path,
    "storage_service": {
        "ca_bundle": path,
        "redirect": {"disable": flag, "disabled": flag},
        "filesystem": {"rootdirectory": path, "maxthreads": Noted("has no effect")},
        "s3": {
            "accesskey": text,
            "secretkey": text,
            "region": words,
            "regionendpoint": words,
            "bucket": words,
            "rootdirectory": text,
            "secure": flag,
            "forcepathstyle": flag,
            "skipverify": flag,
            "v4auth": Noted("has no effect: requests are always signed with version 4"),
            "encrypt": flag,
            "keyid": text,
            "chunksize": Noted("has no effect: parts are sized by Seawall"),
            "storageclass": Noted("has no effect: the bucket's default class is used"),
            "multipartcopychunksize": Noted("has no effect"),
            "multipartcopymaxconcurrency": Noted("has no effect"),
            "multipartcopythresholdsize": Noted("has no effect"),
        },
        "gcs": {
            "bucket": words,
            "keyfile": path,
            "rootdirectory": text,
            "chunksize": Noted("has no effect: parts are sized by Seawall"),
        },
        "azure": {
            "accountname": words,
            "accountkey": words,
            "container": words,
            "rootdirectory": text,
            "realm": Noted("has no effect"),
        },
        "swift": Refused(_STORE),
        "oss": Refused(_STORE + " (an OSS bucket can be had by s3)"),
    },
    "external_database": {"harbor": _EXTERNAL_DATABASE},
    "redis": Noted("has no effect: without external_redis the database does its work"),
    "external_redis": {
        "host": words,
        "password": text,
        "username": text,
        "sentinel_master_set": words,
        "tlsOptions": {"enable": flag, "rootCA": path},
        "harbor_db_index": number(0, 1000),
        "registry_db_index": Noted(_INDEX),
        "jobservice_db_index": Noted(_INDEX),
        "trivy_db_index": Noted(_INDEX),
        "cache_layer_db_index": Noted(_INDEX),
        "chartmuseum_db_index": Noted(_INDEX),
        "idle_timeout_seconds": Noted("has no effect"),
    },
    "trivy": Noted(_TRIVY),
    "clair": Noted(_TRIVY),
    "chartmuseum": Noted("has no effect: charts are OCI artifacts"),
    "jobservice": {
        "max_job_workers": number(1, 1000),
        "max_job_duration_hours": Noted("has no effect: jobs stop when they are told to"),
        "job_loggers": Noted("has no effect: logs of jobs are kept in the database"),
        "logger_sweeper_duration": number(1, 3650),
    },
    "notification": {
        "webhook_job_max_retry": Noted("has no effect: webhooks are tried again for as long as is of use"),
        "webhook_job_http_client_timeout": number(1, 120),
    },
    "log": {
        "level": choice("debug", "info", "warning", "warn", "error", "fatal"),
        "local": {
            "rotate_count": number(0, 100000),
            "rotate_size": _size,
            "location": path,
        },
        "external_endpoint": {
            "protocol": choice("tcp", "udp"),
            "host": words,
            "port": port,
        },
    },
    "uaa": Noted("has no effect: use OIDC or LDAP"),
    "proxy": {
        "http_proxy": text,
        "https_proxy": text,
        "no_proxy": text,
        "components": Items(choice("core", "jobservice", "registry", "trivy", "clair", "notary")),
    },
    "metric": {"enabled": flag, "port": port, "path": text},
    "trace": Noted("has no effect: there are no traces; each request has an id in the log"),
    "upload_purging": {
        "enabled": flag,
        "age": duration,
        "interval": Noted("has no effect: garbage collection purges uploads, by gc.schedule"),
        "dryrun": Noted("has no effect: see `seawall gc --dry-run`"),
    },
    "cache": {
        "enabled": flag,
        "expire_hours": Noted("has no effect: caches are always right, so nothing has to expire"),
    },
    "core": {"quota_update_provider": Noted("has no effect: quotas are exact, kept in the database")},
    # Seawall's own: settings of seawall.yml, merged over what the rest of the file makes.
    "seawall": Anything(),
}


def read(file: Path) -> Checked:
    """Read and check a harbor.yml. Raises ConfigError when the file is not there or not YAML."""
    try:
        content = file.read_text()
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: not UTF-8 text") from None
    found = check(content, SHAPE, file=str(file))
    _whole(found)
    found.faults.sort(key=lambda finding: (finding.line, finding.key))
    found.notes.sort(key=lambda finding: (finding.line, finding.key))
    return found


def refuse(found: Checked, file: Path) -> None:
    """Raise ConfigError with every fault, one a line; nothing when there is none."""
    if found.faults:
        raise ConfigError("\n".join(finding.text(str(file)) for finding in found.faults))


def _whole(found: Checked) -> None:
    """Checks that need more than one key."""
    if not found.get("hostname") and not found.get("external_url") and "hostname" not in _faulty(found):
        found.faults.append(Finding(1, "hostname", "is missing"))
    if not found.get("data_volume") and "data_volume" not in _faulty(found):
        found.faults.append(Finding(1, "data_volume", "is missing"))
    if "http" not in found.values and "https" not in found.values:
        found.faults.append(Finding(1, "http", "is missing, and so is https: one of them is needed"))
    if isinstance(found.values.get("https"), dict):
        _needs(found, "https", ("certificate", "private_key"))
    _external_database(found)
    _external_redis(found)
    _storage(found)
    if found.get("log.external_endpoint"):
        _needs(found, "log.external_endpoint", ("protocol", "host", "port"))
    if found.get("metric.enabled") and (found.get("metric.port") or found.get("metric.path")):
        found.note("metric", "metrics are at /metrics of the server's own port")


def _external_database(found: Checked) -> None:
    section = found.values.get("external_database")
    if not isinstance(section, dict):
        return
    if not isinstance(section.get("harbor"), dict):
        if "external_database.harbor" not in _faulty(found):
            found.fault("external_database", "section harbor is missing")
        return
    _needs(found, "external_database.harbor", ("host", "port", "db_name", "username", "password"))


def _external_redis(found: Checked) -> None:
    if not isinstance(found.values.get("external_redis"), dict):
        return
    _needs(found, "external_redis", ("host",))
    host = str(found.get("external_redis.host", ""))
    if "," in host and not found.get("external_redis.sentinel_master_set"):
        found.fault("external_redis.host", "names several hosts, so sentinel_master_set is needed")
    for item in host.split(","):
        if host and not re.fullmatch(r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?", item.strip()):
            found.fault("external_redis.host", f"{item.strip()!r} is not host:port")
    if found.get("external_redis.username") and not found.get("external_redis.password"):
        found.fault("external_redis.username", "needs password too")


def _storage(found: Checked) -> None:
    section = found.values.get("storage_service")
    if not isinstance(section, dict):
        return
    kinds = [kind for kind in ("filesystem", "s3", "gcs", "azure") if kind in section]
    if len(kinds) > 1:
        found.fault(f"storage_service.{kinds[1]}", f"{kinds[0]} is given too; give one")
    if "s3" in kinds:
        _needs(found, "storage_service.s3", ("region", "bucket"))
        if bool(found.get("storage_service.s3.accesskey")) != bool(found.get("storage_service.s3.secretkey")):
            found.fault("storage_service.s3", "accesskey and secretkey must be given together")
    if "gcs" in kinds:
        _needs(found, "storage_service.gcs", ("bucket",))
    if "azure" in kinds:
        _needs(found, "storage_service.azure", ("accountname", "accountkey", "container"))


def _needs(found: Checked, section: str, keys: tuple[str, ...]) -> None:
    for key in keys:
        name = f"{section}.{key}"
        if found.get(name) is None and name not in _faulty(found):
            found.fault(name if name in found.lines else section, f"{key} is missing")


def _faulty(found: Checked) -> set[str]:
    return {finding.key for finding in found.faults}
