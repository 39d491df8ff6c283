"""The servers that are measured side by side: Seawall, Debian's docker-registry, Distribution 3 and nginx.

Each runs as it comes, access log to a file included; `quiet` turns all access logs off. Authentication is
off but for the target that is there to show what it costs.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.foreign import PROGRAMS, build

from bench import client
from bench.host import Process, free_port, program, random_password
from seawall.availability.cluster.balancer import Balancer, nginx

SEAWALL = "Seawall"
REGISTRY = "docker-registry"
DISTRIBUTION = "Distribution 3"
NGINX = "nginx"
SEAWALL_AUTH = "Seawall, auth on"
ACCELERATED = "Seawall by nginx"

REPOSITORY = "bench/app"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


@dataclass
class Target:
    """A started server. `token` gives the headers that authorize actions on a repository."""

    name: str
    port: int
    process: Process
    writes: bool = True
    token: Callable[[str], dict[str, str]] = field(default=lambda _repository: {})


def start_seawall(root: Path, *, auth: bool, quiet: bool) -> Target:
    """Seawall embedded (SQLite, local disk), with its default settings."""
    root.mkdir()
    port = free_port()
    password = random_password()
    environment = {
        "SEAWALL_DATA_DIR": str(root / "data"),
        "SEAWALL_AUTH__MODE": "local" if auth else "none",
        "SEAWALL_ADMIN_PASSWORD": password,
        "SEAWALL_LOG__ACCESS": "false" if quiet else "true",
        # For `start_accelerated`; clients that come here themselves notice nothing.
        "SEAWALL_HTTP__ACCELERATE": "nginx",
        "SEAWALL_HTTP__TRUSTED_PROXIES": "127.0.0.1",
    }
    seawall = [sys.executable, "-m", "seawall"]
    process = Process([*seawall, "serve", "--port", str(port)], port, root / "log", environment)
    if not auth:
        return Target(SEAWALL, port, process)
    project = REPOSITORY.partition("/")[0]
    try:
        subprocess.run(
            [*seawall, "project", "create", project],
            env={**os.environ, **environment},
            cwd=root,
            check=True,
            capture_output=True,
        )
    except BaseException:
        process.stop()
        raise
    basic = base64.b64encode(f"admin:{password}".encode()).decode()

    def token(repository: str) -> dict[str, str]:
        path = f"/service/token?service=seawall&scope=repository:{repository}:pull,push"
        answer = client.fetch(port, path, {"Authorization": f"Basic {basic}"})
        return {"Authorization": f"Bearer {json.loads(answer.body)['token']}"}

    return Target(SEAWALL_AUTH, port, process, token=token)


def start_registry(root: Path, *, quiet: bool, settle_seconds: float = 1, name: str = REGISTRY) -> Target:
    """docker-registry with the settings its Debian package brings, without the password file.

    `name`: or its successor, `DISTRIBUTION`, with the same settings. Raises BuildError.
    """
    if name == DISTRIBUTION:
        build(PROGRAMS["distribution"])
        registry = str(PROGRAMS["distribution"].path)
    else:
        registry = program("docker-registry")
    root.mkdir()
    port = free_port()
    log = "  accesslog:\n    disabled: true\n  level: error\n" if quiet else ""
    (root / "config.yml").write_text(
        "version: 0.1\n"
        f"log:\n  fields:\n    service: registry\n{log}"
        "storage:\n"
        "  cache:\n    blobdescriptor: inmemory\n"
        f"  filesystem:\n    rootdirectory: {root / 'data'}\n"
        "  delete:\n    enabled: true\n"
        f"http:\n  addr: 127.0.0.1:{port}\n  headers:\n    X-Content-Type-Options: [nosniff]\n"
        "health:\n  storagedriver:\n    enabled: true\n    interval: 10s\n    threshold: 3\n"
    )
    argv = [registry, "serve", str(root / "config.yml")]
    # Version 3 would look for a collector of traces.
    environment = {"OTEL_TRACES_EXPORTER": "none"}
    return Target(name, port, Process(argv, port, root / "log", environment, settle_seconds))


def start_nginx(root: Path, files: Path, *, quiet: bool) -> Target:
    """nginx serving the directory `files` with sendfile, one worker a processor."""
    port = free_port()
    server = f"default_type application/octet-stream; server {{ listen 127.0.0.1:{port}; root {files}; }}"
    return _nginx(NGINX, root, port, server, quiet=quiet)


def start_accelerated(root: Path, seawall: Target, data: Path, *, quiet: bool) -> Target:
    """nginx before a started Seawall with the data directory `data`, sending its blobs (http.accelerate)."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    instances = [f"http://127.0.0.1:{seawall.port}"]
    balancer = Balancer(url, instances, bind=f"127.0.0.1:{port}", files=str(data / "blobs"))
    return _nginx(ACCELERATED, root, port, nginx(balancer), quiet=quiet)


def _nginx(name: str, root: Path, port: int, server: str, *, quiet: bool) -> Target:
    root.mkdir()
    # As root, nginx would drop to a user who may not enter the benchmark's private directory.
    user = "user root;" if os.getuid() == 0 else ""
    temporary = "".join(
        f"{name}_temp_path {root};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    log = "off" if quiet else str(root / "access.log")
    (root / "nginx.conf").write_text(
        f"{user} daemon off; worker_processes auto; pid {root}/pid; error_log {root}/error.log;\n"
        "events { worker_connections 1024; }\n"
        f"http {{ sendfile on; tcp_nopush on; keepalive_requests 1000000000; access_log {log}; {temporary}\n"
        f"{server} }}\n"
    )
    argv = [program("nginx"), "-e", str(root / "error.log"), "-c", str(root / "nginx.conf")]
    return Target(name, port, Process(argv, port, root / "log", {}), writes=False)
