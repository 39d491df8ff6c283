"""From a harbor.yml to a running host: settings, keys, systemd units, compose file.

Files belong to the user who runs Seawall (`owner.owner_of`), and the compose file names that user too.
Everything is written again on each run from harbor.yml alone, except keys: those below
`data_volume/secret` are made once and then kept, whatever happens. Instances that share services share that
folder's content too; copy it to the second host before its first run.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import os
import re
import secrets
import string
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from seawall import __version__
from seawall.infra.loading import load
from seawall.infra.settings import Settings
from seawall.install import certificates, harbor_yml
from seawall.install.marked import Checked, Finding
from seawall.install.owner import Owner, can_read, can_write, owner_of
from seawall.kernel.errors import ConfigError

DEFAULT_PREFIX = Path("/opt/seawall")
GCS_KEY = "gcs.json"
# What became of the parts that Harbor's installer adds with `--with-...`.
PARTS = {
    "trivy": "not needed: Seawall's own scanner is always there (`seawall scan db` brings its data)",
    "clair": "not needed: Seawall's own scanner is always there (`seawall scan db` brings its data)",
    "notary": "not needed: Notary's API and cosign signatures are always there",
    "chartmuseum": "not needed: charts are OCI artifacts, which `helm push` brings",
}


@dataclass(slots=True)
class PrepareReport:
    """What `prepare` did: paths by outcome, and what is worth knowing about harbor.yml."""

    written: list[Path] = field(default_factory=list)
    unchanged: list[Path] = field(default_factory=list)
    made_keys: list[Path] = field(default_factory=list)
    kept_keys: list[Path] = field(default_factory=list)
    owner: Owner | None = None
    notes: list[Finding] = field(default_factory=list)


def prepare(
    file: Path, output: Path, *, prefix: Path = DEFAULT_PREFIX, user: str = "seawall"
) -> PrepareReport:
    """Write everything that `file` asks for: configuration to `output`, keys to its data volume.

    `prefix` is where the program is installed, `user` who runs it. Raises ConfigError with every fault of the
    file, one a line.
    """
    found = harbor_yml.read(file)
    harbor_yml.refuse(found, file)
    files_there(found)
    harbor_yml.refuse(found, file)
    config = output / "common" / "config"
    trial_settings(found, file, output)
    report = PrepareReport(notes=found.notes)
    data = Path(found.get("data_volume"))
    owner = owner_of(user)
    report.owner = owner
    folders = _Folders(owner)
    _make_keys(data, folders, report)
    config.mkdir(parents=True, exist_ok=True)
    write = _Writer(report, owner)
    _take_certificate(found, data, owner, folders, write)
    settings = settings_of(found, config)
    if settings["storage"]["driver"] == "filesystem":
        folders.make(Path(settings["storage"]["root"]))
        reason = can_write(owner, settings["storage"]["root"])
        if reason:
            raise ConfigError(f"{settings['storage']['root']} cannot be written by {owner}: {reason}")
    write.file(config / "seawall.yml", _header(file) + yaml.safe_dump(settings), 0o600)
    for path in (config / "seawall.yml", *key_paths(data).values()):
        _must_read(owner, path)
    if found.get("storage_service.gcs.credentials"):
        key = json.dumps(found.get("storage_service.gcs.credentials"), indent=2)
        write.file(config / GCS_KEY, f"{key}\n", 0o600)
    write.file(config / "seawall.env", _environment(found), 0o640)
    logs = log_folder(found)
    folders.make(logs)
    if not found.get("log.external_endpoint"):
        write.file(config / "logrotate.conf", _logrotate(found, logs), 0o644)
    else:
        write.file(config / "rsyslog.conf", _rsyslog(found), 0o644)
    units = output / "systemd"
    units.mkdir(exist_ok=True)
    for name, command in (("seawall", "serve"), ("seawall-jobservice", "jobservice")):
        unit = _unit(name, command, found, config, prefix, user, logs)
        write.file(units / f"{name}.service", unit, 0o644)
    write.file(output / "docker-compose.yml", _compose(found, config, settings, owner), 0o644)
    return report


def _must_read(owner: Owner, path: Path) -> None:
    reason = can_read(owner, str(path))
    if reason:
        raise ConfigError(
            f"{path} cannot be read by {owner}: {reason}; a folder around it keeps others out: take one "
            "in /opt or /srv, say (--output, or data_volume in harbor.yml)"
        )


_FILES = (
    "storage_service.ca_bundle",
    "storage_service.gcs.keyfile",
    "external_redis.tlsOptions.rootCA",
    "external_database.harbor.ssl_root_cert",
)


def files_there(found: Checked) -> None:
    """Faults for files that harbor.yml names and that are not there, or are not what they should be."""
    for key in _FILES:
        if found.get(key):
            try:
                Path(found.get(key)).open("rb").close()
            except OSError as error:
                found.fault(key, f"{found.get(key)}: {error.strerror}")
    if isinstance(found.values.get("https"), dict):
        given = Path(found.get("https.certificate")), Path(found.get("https.private_key"))
        try:
            certificates.check_pair(*given)
        except certificates.CertificateError as error:
            found.fault(f"https.{error.part}", str(error))


def _take_certificate(found: Checked, data: Path, owner: Owner, folders: _Folders, write: _Writer) -> None:
    """Copy certificate and key to the data volume, as Harbor does, where `owner` cannot read them."""
    section = found.values.get("https")
    if not isinstance(section, dict):
        return
    if not any(can_read(owner, section[part]) for part in ("certificate", "private_key")):
        return
    folder = data / "secret" / "cert"
    folders.make(folder)
    for part, name in (("certificate", "server.crt"), ("private_key", "server.key")):
        write.file(folder / name, Path(section[part]).read_text(), 0o600)
    found.note(
        "https.certificate",
        f"{owner} cannot read certificate and key, so they were copied to {folder}; run prepare again when "
        "they are renewed",
    )
    section["certificate"], section["private_key"] = str(folder / "server.crt"), str(folder / "server.key")


def trial_settings(found: Checked, file: Path, output: Path) -> Settings:
    """The settings that `prepare` would write. Raises ConfigError when section `seawall` makes no sense."""
    settings = settings_of(found, output / "common" / "config")
    with tempfile.TemporaryDirectory(prefix="seawall-prepare-") as folder:
        trial = Path(folder) / "seawall.yml"
        trial.write_text(yaml.safe_dump(settings))
        try:
            return load(trial)
        except ConfigError as error:
            # The mapping makes valid settings of a valid file, so this is about section `seawall`.
            reason = re.sub(rf"^{re.escape(str(trial))}( line \d+)?: ", "", str(error))
            raise ConfigError(f"{file} line {found.line('seawall')}: seawall.{reason}") from None


def log_folder(found: Checked) -> Path:
    """Where the units log to."""
    return Path(_log(found, "location", "/var/log/seawall"))


def _header(file: Path) -> str:
    return f"# Made from {file.name} by `seawall prepare` {__version__}; the next run writes it anew.\n"


# -- settings ------------------------------------------------------------------------------------------


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
    return _merged(settings, found.get("seawall", {}))


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


# -- keys ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Folders:
    owner: Owner

    def make(self, path: Path, mode: int = 0o750) -> None:
        """Make the folder, and those around it; it becomes the owner's if the owner cannot write there."""
        path.mkdir(parents=True, mode=mode, exist_ok=True)
        if can_write(self.owner, str(path)):
            # A network file system may not let root give its folders away; whether it matters is tried later.
            with contextlib.suppress(PermissionError):
                _give(path, self.owner)


def key_paths(data: Path) -> dict[str, Path]:
    """Where keys are below the data volume: Harbor's places, where Harbor has them."""
    secret = data / "secret"
    return {
        "master": secret / "keys" / "master.key",
        "secret": secret / "keys" / "secretkey",
        "csrf": secret / "core" / "csrf_key",
        "private_key": secret / "core" / "private_key.pem",
        "root_crt": secret / "registry" / "root.crt",
    }


def _make_keys(data: Path, folders: _Folders, report: PrepareReport) -> None:
    """Make the data volume's folders, and the keys that are missing."""
    folders.make(data, 0o755)
    folders.make(data / "seawall")
    folders.make(data / "registry")
    # The certificate of the authority that signed the balancer's certificate goes here, for clients.
    folders.make(data / "ca_download", 0o755)
    for name in ("", "keys", "core", "registry"):
        folders.make(data / "secret" / name)
    paths = key_paths(data)
    if paths["private_key"].exists() != paths["root_crt"].exists():
        there, missing = (
            ("private_key", "root_crt") if paths["private_key"].exists() else ("root_crt", "private_key")
        )
        raise ConfigError(f"{paths[there]} is there, but {paths[missing]} is not: they belong together")
    made: dict[str, bytes] = {}
    if not paths["private_key"].exists():
        made["private_key"], made["root_crt"] = _signing_pair()
    letters = string.ascii_letters + string.digits
    makers: dict[str, Callable[[], bytes]] = {
        "master": lambda: base64.b64encode(secrets.token_bytes(32)) + b"\n",
        "secret": lambda: "".join(secrets.choice(letters) for _ in range(16)).encode(),
        "csrf": lambda: "".join(secrets.choice(letters) for _ in range(32)).encode(),
    }
    for name, maker in makers.items():
        if not paths[name].exists():
            made[name] = maker()
    for name, path in paths.items():
        if name in made:
            _create(path, made[name], folders.owner)
            report.made_keys.append(path)
        else:
            # Copied from another host as root, perhaps: the content stays, the owner is set right.
            if can_read(folders.owner, str(path)) or path.stat().st_mode & 0o077:
                path.chmod(0o600)
                _give(path, folders.owner)
            report.kept_keys.append(path)


def _signing_pair() -> tuple[bytes, bytes]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "seawall token signing")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem, certificate.public_bytes(serialization.Encoding.PEM)


def _create(path: Path, content: bytes, owner: Owner) -> None:
    # O_EXCL: a key that is there is never replaced, also not when two run at once.
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    _give(path, owner)


def _give(path: Path, owner: Owner) -> None:
    if os.geteuid() == 0:
        os.chown(path, owner.uid, owner.gid)


# -- files ---------------------------------------------------------------------------------------------


class _Writer:
    """Writes files whose content has changed, and nothing else."""

    def __init__(self, report: PrepareReport, owner: Owner) -> None:
        self._report = report
        self._owner = owner

    def file(self, path: Path, content: str, mode: int) -> None:
        """Write `content` in one step: readers see the old file or the new one."""
        if self._is(path, content, mode):
            self._report.unchanged.append(path)
            return
        temporary = path.with_name(f".{path.name}.new")
        temporary.unlink(missing_ok=True)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(fd, "w") as handle:
            handle.write(content)
        temporary.chmod(mode)
        _give(temporary, self._owner)
        temporary.replace(path)
        self._report.written.append(path)

    def _is(self, path: Path, content: str, mode: int) -> bool:
        if not path.exists() or path.read_bytes() != content.encode():
            return False
        found = path.stat()
        return found.st_mode & 0o777 == mode and (os.geteuid() != 0 or found.st_uid == self._owner.uid)


def _environment(found: Checked) -> str:
    lines = []
    proxied = found.get("proxy.components", ["core", "jobservice"])
    if {"core", "jobservice"} & set(proxied):
        for key in ("http_proxy", "https_proxy", "no_proxy"):
            value = found.get(f"proxy.{key}")
            if value:
                lines += [f"{key}={value}", f"{key.upper()}={value}"]
    if found.get("storage_service.ca_bundle"):
        lines.append(f"SSL_CERT_FILE={found.get('storage_service.ca_bundle')}")
    return "".join(f"{line}\n" for line in lines)


def _log(found: Checked, key: str, default: Any) -> Any:
    # Harbor 1.8 has them without the section `local`.
    return found.get(f"log.local.{key}", found.get(f"log.{key}", default))


def _logrotate(found: Checked, logs: Path) -> str:
    count, size = _log(found, "rotate_count", 50), _log(found, "rotate_size", "200M")
    return (
        f"{logs}/*.log {{\n    size {size}\n    rotate {count}\n    missingok\n    notifempty\n"
        "    compress\n    delaycompress\n    copytruncate\n}\n"
    )


def _rsyslog(found: Checked) -> str:
    at = "@@" if found.get("log.external_endpoint.protocol") == "tcp" else "@"
    host, port = found.get("log.external_endpoint.host"), found.get("log.external_endpoint.port")
    return f"if $programname startswith 'seawall' then {at}{host}:{port}\n"


def _unit(name: str, command: str, found: Checked, config: Path, prefix: Path, user: str, logs: Path) -> str:
    data = Path(found.get("data_volume"))
    writable = {str(data), str(logs), found.get("storage_service.filesystem.rootdirectory", str(data))}
    if found.get("log.external_endpoint"):
        output = f"StandardOutput=journal\nStandardError=journal\nSyslogIdentifier={name}\n"
    else:
        output = f"StandardOutput=append:{logs}/{name}.log\nStandardError=inherit\n"
    # systemd hides these folders from a unit with ProtectHome.
    homes = ("/root", "/home", "/run/user")
    at_home = any(
        Path(path).is_relative_to(home) for path in (*writable, str(config), str(prefix)) for home in homes
    )
    return f"""\
# Made by `seawall prepare` {__version__}.
[Unit]
Description=Seawall registry ({command})
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
User={user}
Group={user}
EnvironmentFile=-{config}/seawall.env
ExecStart={prefix}/venv/bin/seawall {command} --config {config}/seawall.yml
Restart=always
RestartSec=2
TimeoutStopSec=120
KillMode=mixed
LimitNOFILE=65536
UMask=0027
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
NoNewPrivileges=true
PrivateTmp=true
PrivateDevices=true
ProtectSystem=strict
ProtectHome={"false" if at_home else "true"}
ProtectKernelTunables=true
ProtectControlGroups=true
RestrictSUIDSGID=true
ReadWritePaths={" ".join(sorted(writable))}
{output}
[Install]
WantedBy=multi-user.target
"""


def _compose(found: Checked, config: Path, settings: Mapping[str, Any], owner: Owner) -> str:
    """Same paths and user inside as outside, so one seawall.yml serves systemd and containers alike."""
    data = found.get("data_volume")
    volumes = [f"{data}:{data}", f"{config}:{config}:ro"]
    root = found.get("storage_service.filesystem.rootdirectory")
    if root:
        volumes.append(f"{root}:{root}")
    files = [
        found.get("https.certificate"),
        found.get("https.private_key"),
        found.get("storage_service.ca_bundle"),
        found.get("storage_service.gcs.keyfile"),
        found.get("external_redis.tlsOptions.rootCA"),
        found.get("external_database.harbor.ssl_root_cert"),
    ]
    volumes += [f"{file}:{file}:ro" for file in files if file and not Path(file).is_relative_to(data)]
    port = settings["http"]["port"]
    ports = [port, *([settings["http"]["redirect_port"]] if "redirect_port" in settings["http"] else [])]
    logging: dict[str, Any] = {
        "driver": "json-file",
        "options": {"max-size": "200m", "max-file": "10"},
    }
    if found.get("log.external_endpoint"):
        end = found.get("log.external_endpoint")
        logging = {
            "driver": "syslog",
            "options": {
                "syslog-address": f"{end['protocol']}://{end['host']}:{end['port']}",
                "tag": "seawall",
            },
        }
    common: dict[str, Any] = {
        "image": f"seawall/seawall:{__version__}",
        # Whom the settings and the keys belong to, whichever user the image has.
        "user": f"{owner.uid}:{owner.gid}",
        "restart": "always",
        "read_only": True,
        "tmpfs": ["/tmp"],  # noqa: S108 - a path inside the container
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "env_file": [f"{config}/seawall.env"],
        "volumes": volumes,
        "stop_grace_period": "60s",
        "logging": logging,
    }
    scheme = "https" if "tls_certificate" in settings["http"] else "http"
    probe = (
        "import ssl,urllib.request as u;"
        f"u.urlopen('{scheme}://127.0.0.1:{port}/readyz',timeout=5,context=ssl._create_unverified_context())"
    )
    services = {
        "core": {
            **common,
            "command": ["serve", "--config", f"{config}/seawall.yml"],
            "ports": [f"{number}:{number}" for number in ports],
            # Not every engine lets a user listen below 1024 by itself.
            "sysctls": {"net.ipv4.ip_unprivileged_port_start": "0"},
            "healthcheck": {"test": ["CMD", "python", "-c", probe], "interval": "10s", "timeout": "10s"},
        },
        "jobservice": {
            **common,
            "command": ["jobservice", "--config", f"{config}/seawall.yml"],
        },
    }
    head = f"# Made by `seawall prepare` {__version__}.\n"
    return head + yaml.safe_dump({"name": "seawall", "services": services}, sort_keys=False)
