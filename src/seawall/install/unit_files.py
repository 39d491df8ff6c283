"""The files that run an installation: systemd units, a compose file, log rotation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from seawall import __version__
from seawall.availability.cluster.balancer import Balancer, nginx
from seawall.infra.private import write_whole
from seawall.install.marked import Checked
from seawall.install.owner import Owner
from seawall.install.report import PrepareReport

DEFAULT_PREFIX = Path("/opt/seawall")
# Runs without root, so the port is one that every user may listen on.
NGINX_IMAGE = "nginxinc/nginx-unprivileged:1.28"
NGINX_PORT = 8099


def log_folder(found: Checked) -> Path:
    """Where the units log to."""
    return Path(_log(found, "location", "/var/log/seawall"))


def header(file: Path) -> str:
    """The first line of a file that is written again each time."""
    return f"# Made from {file.name} by `seawall prepare` {__version__}; the next run writes it again.\n"


class Writer:
    """Writes files whose content has changed, and nothing else."""

    def __init__(self, report: PrepareReport, owner: Owner) -> None:
        self._report = report
        self._owner = owner

    def file(self, path: Path, content: str, mode: int) -> None:
        """Write `content` in one step: readers see the old file or the new one."""
        if self._is(path, content, mode):
            self._report.unchanged.append(path)
            return
        write_whole(path, content.encode(), mode=mode, owner=(self._owner.uid, self._owner.gid))
        self._report.written.append(path)

    def _is(self, path: Path, content: str, mode: int) -> bool:
        if not path.exists() or path.read_bytes() != content.encode():
            return False
        found = path.stat()
        return found.st_mode & 0o777 == mode and (os.geteuid() != 0 or found.st_uid == self._owner.uid)


def environment(found: Checked) -> str:
    """The proxy settings of harbor.yml as an environment file."""
    lines = []
    proxied = found.get("proxy.components", ["core", "jobservice"])
    if {"core", "jobservice"} & set(proxied):
        for key in ("http_proxy", "https_proxy", "no_proxy"):
            value = found.get(f"proxy.{key}")
            if value:
                lines += [f"{key}={value}", f"{key.upper()}={value}"]
    return "".join(f"{line}\n" for line in lines)


def _log(found: Checked, key: str, default: Any) -> Any:
    # Harbor 1.8 has them without the section `local`.
    return found.get(f"log.local.{key}", found.get(f"log.{key}", default))


def logrotate(found: Checked, logs: Path) -> str:
    """Rotation of the log files as harbor.yml wants it."""
    count, size = _log(found, "rotate_count", 50), _log(found, "rotate_size", "200M")
    return (
        f"{logs}/*.log {{\n    size {size}\n    rotate {count}\n    missingok\n    notifempty\n"
        "    compress\n    delaycompress\n    copytruncate\n}\n"
    )


def rsyslog(found: Checked) -> str:
    """Forwarding of the logs to the endpoint of harbor.yml."""
    at = "@@" if found.get("log.external_endpoint.protocol") == "tcp" else "@"
    host, port = found.get("log.external_endpoint.host"), found.get("log.external_endpoint.port")
    return f"if $programname startswith 'seawall' then {at}{host}:{port}\n"


def systemd_unit(
    name: str, command: str, found: Checked, config: Path, prefix: Path, user: str, logs: Path
) -> str:
    """The systemd unit of a command."""
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


def accelerated(settings: Mapping[str, Any]) -> bool:
    """Whether nginx is to send the files of blobs (`http.accelerate`)."""
    return bool(settings["http"].get("accelerate") and settings["storage"]["driver"] == "filesystem")


def nginx_conf(settings: Mapping[str, Any]) -> str:
    """For nginx in the network of the container `core`, which it passes requests on to."""
    http = settings["http"]
    scheme = "https" if "tls_certificate" in http else "http"
    balancer = Balancer(
        settings["external_url"],
        [f"{scheme}://127.0.0.1:{http['port']}"],
        bind=str(NGINX_PORT),
        certificate=str(http.get("tls_certificate", "")),
        key=str(http.get("tls_key", "")),
        files=str(settings["storage"]["root"]),
    )
    return nginx(balancer)


def compose(found: Checked, config: Path, settings: Mapping[str, Any], owner: Owner) -> str:
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
        # The owner of the settings and the keys, whichever user the image has.
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
    services: dict[str, dict[str, Any]] = {
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
    if accelerated(settings):
        # In core's network, so that Seawall sees it at 127.0.0.1; it takes the port in core's place.
        services["core"]["ports"][0] = f"{port}:{NGINX_PORT}"
        certificate = [key for key in ("tls_certificate", "tls_key") if key in settings["http"]]
        services["nginx"] = {
            **{key: common[key] for key in common if key != "env_file"},
            "image": NGINX_IMAGE,
            "network_mode": "service:core",
            "volumes": [
                f"{settings['storage']['root']}:{settings['storage']['root']}:ro",
                f"{config}/nginx.conf:/etc/nginx/conf.d/default.conf:ro",
                *(f"{settings['http'][key]}:{settings['http'][key]}:ro" for key in certificate),
            ],
        }
    head = f"# Made by `seawall prepare` {__version__}.\n"
    return head + yaml.safe_dump({"name": "seawall", "services": services}, sort_keys=False)
