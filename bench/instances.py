"""Throughput of 1, 2 and 3 instances behind HAProxy, beside docker-registry on the same storage.

`python -m bench.instances` starts a PostgreSQL, instances with one server process each on one directory,
HAProxy with the configuration of `seawall ha lb-config`, and docker-registry behind the same, and measures
them in turns. All of it shares one host, so what grows with instances is limited by its processors; the table
says how many there are. Prints Markdown.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.support.servers.postgres import Postgres

from bench import client, load
from bench.client import Connection, Source
from bench.host import Process, free_port, missing_packages, program, random_password
from bench.report import Row
from bench.targets import MANIFEST_TYPE, REGISTRY, REPOSITORY, Target, start_registry
from seawall.availability.cluster.balancer import Balancer, haproxy

KIB = 1024


def _balanced(root: Path, name: str, ports: list[int], readiness: str) -> Target:
    port = free_port()
    text = haproxy(
        Balancer(
            f"http://127.0.0.1:{port}",
            [f"http://127.0.0.1:{other}" for other in ports],
            bind=f"127.0.0.1:{port}",
        )
    )
    # A log line for each request on both sides would measure logging.
    text = text.replace("    log global\n", "").replace("GET /readyz?unready=404", f"GET {readiness}")
    file = root / f"haproxy-{port}.cfg"
    file.write_text(text)
    log = root / f"haproxy-{port}.log"
    return Target(name, port, Process([program("haproxy"), "-db", "-f", str(file)], port, log, {}))


class Servers:
    """Everything that was started."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.processes: list[Process] = []
        self.targets: list[Target] = []
        # Those of Seawall, without balancers.
        self.served: list[Process] = []

    def instances(
        self, url: str, most: int, *, python: str = sys.executable, auth: bool = False, workers: int = 1
    ) -> None:
        """Start `most` instances and a balancer over the first 1, 2, ... of them; `python` runs them.

        `workers`: server processes of each. `auth`: whether clients must sign in, which the targets' `token`
        does.
        """
        password = random_password()
        environment = {
            "SEAWALL_DATABASE__URL": url,
            "SEAWALL_MASTER_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
            "SEAWALL_STORAGE__ROOT": str(self.root / "blobs"),
            "SEAWALL_AUTH__MODE": "local" if auth else "none",
            "SEAWALL_ADMIN_PASSWORD": password,
            "SEAWALL_HTTP__WORKERS": str(workers),
            "SEAWALL_JOBS__EMBEDDED": "false",
            "SEAWALL_LOG__ACCESS": "false",
        }
        ports = []
        for number in range(most):
            port = free_port()
            ports.append(port)
            argv = [python, "-m", "seawall", "serve", "--port", str(port)]
            own = {**environment, "SEAWALL_DATA_DIR": str(self.root / f"i{number}")}
            self.processes.append(Process(argv, port, self.root / f"i{number}.log", own))
            self.served.append(self.processes[-1])
        if auth:
            argv = [python, "-m", "seawall", "project", "create", REPOSITORY.partition("/")[0]]
            made = {**os.environ, **environment, "SEAWALL_DATA_DIR": str(self.root / "i0")}
            subprocess.run(argv, env=made, cwd=self.root, check=True, capture_output=True)
        for count in range(1, most + 1):
            name = f"{count} instance{'s' if count > 1 else ''}"
            target = _balanced(self.root, name, ports[:count], "/readyz")
            if auth:
                target.token = _signing_in(target.port, password)
            self._add(target)

    def registry(self) -> None:
        """Start docker-registry behind a balancer of its own."""
        inner = start_registry(self.root / "registry", quiet=True)
        self.processes.append(inner.process)
        self._add(_balanced(self.root, REGISTRY, [inner.port], "/v2/"))

    def _add(self, target: Target) -> None:
        self.processes.append(target.process)
        self.targets.append(target)

    def stop(self) -> None:
        """Stop everything, last started first."""
        for process in reversed(self.processes):
            process.stop()


def _signing_in(port: int, password: str) -> Callable[[str], dict[str, str]]:
    basic = base64.b64encode(f"admin:{password}".encode()).decode()

    def token(repository: str) -> dict[str, str]:
        path = f"/service/token?service=seawall&scope=repository:{repository}:pull,push"
        answer = client.fetch(port, path, {"Authorization": f"Basic {basic}"})
        return {"Authorization": f"Bearer {json.loads(answer.body)['token']}"}

    return token


def _measure(servers: Servers, rounds: int, seconds: float) -> list[Row]:
    source = Source(servers.root / "source", 4 * KIB)
    rows = {
        "tag": Row("manifest GET by tag", "manifest GET by tag", "requests/s"),
        "blob": Row("blob GET 4 KiB", "blob GET 4 KiB", "requests/s"),
        "put": Row("blob PUT 4 KiB, 8 clients", "blob PUT 4 KiB, 8 clients", "pushes/s"),
        "image": Row("images pushed, 8 clients", "images pushed, 8 clients", "images/s"),
    }
    paths = {}
    for target in servers.targets:
        with Connection(target.port, {}) as connection:
            body = source.variant()
            connection.push_blob(REPOSITORY, body)
            manifest = load._push_image(connection, REPOSITORY, target.name.replace(" ", "-"))
            paths[target.name] = (body, manifest)
    for _ in range(rounds):
        for target in servers.targets:
            body, manifest = paths[target.name]
            tag = f"/v2/{REPOSITORY}/manifests/{target.name.replace(' ', '-')}"
            accept = {"Accept": MANIFEST_TYPE}
            rows["tag"].add(target.name, load.request_rate(target.port, tag, accept, manifest.size, seconds))
            blob = f"/v2/{REPOSITORY}/blobs/{body.digest}"
            rows["blob"].add(target.name, load.request_rate(target.port, blob, {}, body.size, seconds))
            rows["put"].add(target.name, load.put_rate(target, source, 8, seconds))
            rows["image"].add(target.name, load.image_rate(target, 8, seconds))
    return list(rows.values())


def main() -> int:
    """Run and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.instances", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--instances", type=int, default=3)
    options = parser.parse_args()
    missing = missing_packages()
    if missing:
        print(f"bench: install these Debian packages first: {' '.join(missing)}", file=sys.stderr)
        return 1
    root = Path(tempfile.mkdtemp(prefix="seawall-instances-"))
    root.chmod(0o755)
    (root / "pg").mkdir()
    before = os.getloadavg()[0]
    postgres = Postgres(root / "pg")
    postgres.start()
    servers = Servers(root)
    try:
        servers.instances(postgres.database(), options.instances)
        servers.registry()
        rows = _measure(servers, options.rounds, options.seconds)
    finally:
        servers.stop()
        postgres.stop()
        shutil.rmtree(root, ignore_errors=True)
    names = [target.name for target in servers.targets]
    print("| | unit | " + " | ".join(names) + " |")
    print("|---|---|" + "--:|" * len(names))
    for row in rows:
        cells = [f"{row.median(name) or 0:,.0f}" for name in names]
        print(f"| {row.title} | {row.unit} | " + " | ".join(cells) + " |")
    print(
        f"\n{os.cpu_count()} processors for clients, balancer, database and instances together; medians of "
        f"{options.rounds} rounds; load average at the start {before:.1f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
