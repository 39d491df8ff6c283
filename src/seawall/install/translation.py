"""What a harbor.yml says, in Seawall's settings."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from seawall.install.harbor_yml import otlp_of_jaeger
from seawall.install.key_files import key_paths
from seawall.install.marked import Checked

GCS_KEY = "gcs.json"


def settings_of(found: Checked, config: Path) -> dict[str, Any]:
    """The content of seawall.yml, which is in the folder `config`."""
    data = Path(found.get("data_volume"))
    keys = key_paths(data)
    secure = isinstance(found.values.get("https"), dict)
    port = found.get("https.port", 443) if secure else found.get("http.port", 80)
    ipv6 = bool(found.get("ip_family.ipv6.enabled"))
    http: dict[str, Any] = {"host": "::" if ipv6 else "0.0.0.0", "port": port}  # noqa: S104 - it serves
    if secure:
        http["tls_certificate"] = found.get("https.certificate")
        http["tls_key"] = found.get("https.private_key")
        if isinstance(found.values.get("http"), dict):
            # As in Harbor: the other port sends clients to this one.
            http["redirect_port"] = found.get("http.port", 80)
    settings: dict[str, Any] = {
        "data_dir": str(data / "seawall"),
        "external_url": external_url(found),
        "admin_password": found.get("harbor_admin_password"),
        "master_key_file": str(keys["master"]),
        "keys": {
            "private_key_file": str(keys["private_key"]),
            "root_crt_file": str(keys["root_crt"]),
            "csrf_key_file": str(keys["csrf"]),
            "secret_key_file": str(keys["secret"]),
        },
        "http": http,
        "database": _database(found),
        "storage": _storage(found, config),
        "log": {
            "level": {"warn": "warning", "fatal": "error"}.get(
                found.get("log.level"), found.get("log.level", "info")
            )
        },
        "jobs": {"embedded": False, "slots": min(found.get("jobservice.max_job_workers", 10), 200)},
    }
    settings["ca_download"] = str(data / "ca_download")
    if found.get("storage_service.ca_bundle"):
        settings["ca_bundle"] = found.get("storage_service.ca_bundle")
    if settings["admin_password"] is None:
        del settings["admin_password"]
    if found.get("jobservice.logger_sweeper_duration"):
        settings["jobs"]["keep_days"] = found.get("jobservice.logger_sweeper_duration")
    if found.get("notification.webhook_job_http_client_timeout"):
        settings["webhooks"] = {"timeout_seconds": found.get("notification.webhook_job_http_client_timeout")}
    if found.get("external_redis.host"):
        settings["redis"] = _redis(found)
    if found.get("upload_purging.enabled", True) and found.get("upload_purging.age"):
        settings["gc"] = {"upload_hours": max(1, int(_seconds(found.get("upload_purging.age")) // 3600))}
    if found.get("trace.enabled"):
        settings["trace"] = _trace(found)
    merged = _merged(settings, found.get("seawall", {}))
    if merged["http"].get("accelerate"):
        # nginx runs on this host, and is believed there alone.
        given = merged["http"].get("trusted_proxies", [])
        addresses = [item.strip() for item in given.split(",")] if isinstance(given, str) else given
        merged["http"]["trusted_proxies"] = list(dict.fromkeys([*filter(None, addresses), "127.0.0.1"]))
    return merged


def _trace(found: Checked) -> dict[str, Any]:
    """Section trace; nothing where Jaeger is named at an address that takes no OTLP."""
    result: dict[str, Any] = {"enabled": True, "sample_rate": found.get("trace.sample_rate", 1.0)}
    if found.get("trace.otel.endpoint"):
        place = _schemed(found.get("trace.otel.endpoint"), not found.get("trace.otel.insecure"))
        result["endpoint"] = place.rstrip("/")
        if urlsplit(place).path in ("", "/"):
            result["endpoint"] += "/" + found.get("trace.otel.url_path", "/v1/traces").lstrip("/")
        result["compression"] = bool(found.get("trace.otel.compression"))
        if found.get("trace.otel.timeout"):
            result["timeout_seconds"] = min(max(_seconds(found.get("trace.otel.timeout")), 0.1), 300)
    else:
        taken = otlp_of_jaeger(found)
        if taken is None:
            return {}
        result["endpoint"] = taken
        if found.get("trace.jaeger.username"):
            login = f"{found.get('trace.jaeger.username')}:{found.get('trace.jaeger.password', '')}"
            result["headers"] = {"Authorization": f"Basic {b64encode(login.encode()).decode()}"}
    if found.get("trace.namespace"):
        result["namespace"] = found.get("trace.namespace")
    if found.get("trace.attributes"):
        result["attributes"] = {str(k): str(v) for k, v in found.get("trace.attributes").items()}
    return result


def external_url(found: Checked) -> str:
    """The registry's one address: external_url, or what hostname and port say."""
    if found.get("external_url"):
        return str(found.get("external_url"))
    host = found.get("hostname")
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    if isinstance(found.values.get("https"), dict):
        port = found.get("https.port", 443)
        return f"https://{host}" + ("" if port == 443 else f":{port}")
    port = found.get("http.port", 80)
    return f"http://{host}" + ("" if port == 80 else f":{port}")


def _database(found: Checked) -> dict[str, Any]:
    section = found.get("external_database.harbor")
    if not section:
        return {}
    hosts = []
    for host in str(section["host"]).split(","):
        name = host.strip()
        if ":" in name and not name.startswith("[") and name.count(":") > 1:
            name = f"[{name}]"
        bare = name.startswith("[") and name.endswith("]")
        hosts.append(name if ":" in name and not bare else f"{name}:{section['port']}")
    login = f"{quote(section['username'], safe='')}:{quote(section['password'], safe='')}"
    options = f"?sslmode={section.get('ssl_mode') or 'disable'}"
    if section.get("ssl_root_cert"):
        options += f"&sslrootcert={quote(section['ssl_root_cert'], safe='/')}"
    # Harbor's limit is for the whole host, and its template's 900 would be far more than is of use.
    most = section.get("max_open_conns") or 20
    return {
        "url": f"postgresql://{login}@{','.join(hosts)}/{quote(section['db_name'], safe='')}{options}",
        "pool_size": max(5, min(most // 3, 20)),
    }


def _redis(found: Checked) -> dict[str, Any]:
    hosts = [item.strip() for item in str(found.get("external_redis.host")).split(",")]
    secure = bool(found.get("external_redis.tlsOptions.enable"))
    index = found.get("external_redis.harbor_db_index", 0)
    result: dict[str, Any] = {"tls": secure}
    port = found.get("external_redis.port")
    if found.get("external_redis.sentinel_master_set"):
        sentinels = [_with_port(host, port or 26379) for host in hosts]
        result |= {
            "sentinel": ",".join(sentinels),
            "sentinel_master": found.get("external_redis.sentinel_master_set"),
            "db": index,
        }
    else:
        address = _with_port(hosts[0], port or 6379)
        result["url"] = f"{'rediss' if secure else 'redis'}://{address}/{index}"
    if found.get("external_redis.password"):
        result["password"] = found.get("external_redis.password")
    if found.get("external_redis.username"):
        result["username"] = found.get("external_redis.username")
    if secure and found.get("external_redis.tlsOptions.rootCA"):
        result["tls_ca_file"] = found.get("external_redis.tlsOptions.rootCA")
    return result


def _with_port(host: str, port: int) -> str:
    """`host` with `port` where it has none; an IPv6 address is in brackets."""
    return host if ":" in host.rpartition("]")[2] else f"{host}:{port}"


def _storage(found: Checked, config: Path) -> dict[str, Any]:
    data = Path(found.get("data_volume"))
    kinds = ("s3", "oss", "gcs", "azure")
    kind = next((k for k in kinds if found.get(f"storage_service.{k}")), "filesystem")
    if kind == "filesystem":
        root = found.get("storage_service.filesystem.rootdirectory", str(data / "registry"))
        return {"driver": kind, "root": root}
    given = found.get(f"storage_service.{kind}")
    section = {key: value for key, value in given.items() if value is not None}
    result: dict[str, Any] = {}
    if kind in ("s3", "oss"):
        section = _s3(section) if kind == "s3" else _oss(section)
        redirected = section.pop("redirectendpoint", None)
        if redirected:
            result["redirect_endpoint"] = _schemed(redirected, True)
        if found.get("storage_service.ca_bundle"):
            section["cacert"] = found.get("storage_service.ca_bundle")
        kind = "s3"
    elif kind == "gcs":
        if section.pop("credentials", None):
            section["keyfile"] = str(config / GCS_KEY)
    else:
        section.pop("credentials", None)
        realm, service = section.pop("realm", None), section.pop("serviceurl", None)
        if service or (realm and realm != "core.windows.net"):
            section["endpoint"] = service or f"https://{section['accountname']}.blob.{realm}"
    if "chunksize" in section:
        section["chunksize"] = min(max(section["chunksize"], 5 << 20), 512 << 20)
    redirect = found.get("storage_service.redirect", {})
    result |= {
        "driver": kind,
        "redirect": not (redirect.get("disable") or redirect.get("disabled")),
        kind: section,
    }
    return result


def _s3(section: dict[str, Any]) -> dict[str, Any]:
    """The distribution's S3 parameters as Seawall's."""
    secure = section.pop("secure", True)
    named = {key: section.pop(key, False) for key in ("usefipsendpoint", "usedualstack", "accelerate")}
    endpoint = section.get("regionendpoint")
    if endpoint:
        section["regionendpoint"] = _schemed(endpoint, secure)
    elif named["accelerate"]:
        section |= {"regionendpoint": "https://s3-accelerate.amazonaws.com", "forcepathstyle": False}
    elif named["usefipsendpoint"] or named["usedualstack"]:
        fips, dual = "-fips" * named["usefipsendpoint"], ".dualstack" * named["usedualstack"]
        section["regionendpoint"] = f"https://s3{fips}{dual}.{section['region']}.amazonaws.com"
    return section


def _oss(section: dict[str, Any]) -> dict[str, Any]:
    """Parameters of Alibaba's store as those of its S3 API, which wants the bucket in the host name."""
    secure, internal = section.pop("secure", True), section.pop("internal", False)
    names = {"accesskeyid": "accesskey", "accesskeysecret": "secretkey", "encryptionkeyid": "keyid"}
    result = {names.get(key, key): value for key, value in section.items()}
    suffix = "-internal" if internal else ""
    endpoint = result.pop("endpoint", f"s3.{result['region']}{suffix}.aliyuncs.com")
    result["regionendpoint"] = _schemed(endpoint.removeprefix(f"{result['bucket']}."), secure)
    return result | {"forcepathstyle": False}


def _schemed(endpoint: str, secure: bool) -> str:
    return endpoint if "://" in endpoint else f"{'https' if secure else 'http'}://{endpoint}"


def _merged(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def _seconds(duration: str) -> float:
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
    total, digits, unit = 0.0, "", ""
    for character in duration + " ":
        if character.isdigit() or character == ".":
            if unit:
                total += float(digits) * units[unit]
                digits, unit = "", ""
            digits += character
        elif character == " ":
            total += float(digits) * units[unit or "s"]
        else:
            unit += character
    return total
