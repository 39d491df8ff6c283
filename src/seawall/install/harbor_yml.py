"""Reads harbor.yml, the configuration of Harbor's installer, and checks it as a whole.

Every key that any Harbor since 1.8 has had is known (`data/harbor_keys.tsv`), so a Harbor's file can be
brought along as it is. A key without a meaning here is noted; one whose loss would lose data or security is
refused.
"""

from __future__ import annotations

import re
from pathlib import Path

from seawall.install.harbor_shape import SHAPE
from seawall.install.marked import (
    Checked,
    Finding,
    check,
)
from seawall.kernel.errors import ConfigError


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
        if isinstance(found.values.get("http"), dict):
            _two_ports(found)
    _external_database(found)
    _external_redis(found)
    _storage(found)
    _trace(found)
    if found.get("log.external_endpoint"):
        _needs(found, "log.external_endpoint", ("protocol", "host", "port"))


def _two_ports(found: Checked) -> None:
    if found.get("http.port", 80) == found.get("https.port", 443):
        found.fault("http.port", "is https.port too; http needs one of its own, from which it redirects")


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
    if found.get("external_redis.sentinel_master_set") and found.get("external_redis.port"):
        found.note("external_redis.port", "is the port of each sentinel that has none of its own")
    for item in host.split(","):
        if host and not re.fullmatch(r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?", item.strip()):
            found.fault("external_redis.host", f"{item.strip()!r} is not host:port")
    if found.get("external_redis.username") and not found.get("external_redis.password"):
        found.fault("external_redis.username", "needs password too")


def _storage(found: Checked) -> None:
    section = found.values.get("storage_service")
    if not isinstance(section, dict):
        return
    kinds = [kind for kind in ("filesystem", "s3", "gcs", "azure", "oss") if section.get(kind)]
    if len(kinds) > 1:
        found.fault(f"storage_service.{kinds[1]}", f"{kinds[0]} is given too; give one")
    if "s3" in kinds:
        _needs(found, "storage_service.s3", ("region", "bucket"))
        if bool(found.get("storage_service.s3.accesskey")) != bool(found.get("storage_service.s3.secretkey")):
            found.fault("storage_service.s3", "accesskey and secretkey must be given together")
    if "oss" in kinds:
        _needs(found, "storage_service.oss", ("region", "bucket", "accesskeyid", "accesskeysecret"))
    if "gcs" in kinds:
        _needs(found, "storage_service.gcs", ("bucket",))
    if "azure" in kinds:
        _needs(found, "storage_service.azure", ("accountname", "accountkey", "container"))


def otlp_of_jaeger(found: Checked) -> str | None:
    """The address in trace.jaeger if that is one of OTLP, which Jaeger takes since 1.35."""
    url = str(found.get("trace.jaeger.endpoint", ""))
    return url if re.fullmatch(r"https?://[^/\s@]+(:4318/?|(/[^\s?]*)?/v1/traces)", url) else None


def _trace(found: Checked) -> None:
    if not found.get("trace.enabled"):
        return
    if found.get("trace.otel.endpoint"):
        if not re.fullmatch(r"(https?://)?[^/\s@]+(/\S*)?", str(found.get("trace.otel.endpoint"))):
            found.fault("trace.otel.endpoint", "must be host:port of a collector")
    elif found.get("trace.jaeger.endpoint"):
        if otlp_of_jaeger(found) is None:
            found.note(
                "trace.jaeger.endpoint",
                "there will be no traces: Jaeger takes OTLP, which Seawall sends, at http://HOST:4318",
            )
    else:
        found.fault("trace.enabled", "otel.endpoint is missing: host:port of a collector that takes OTLP")


def _needs(found: Checked, section: str, keys: tuple[str, ...]) -> None:
    for key in keys:
        name = f"{section}.{key}"
        if found.get(name) is None and name not in _faulty(found):
            found.fault(name if name in found.lines else section, f"{key} is missing")


def _faulty(found: Checked) -> set[str]:
    return {finding.key for finding in found.faults}
