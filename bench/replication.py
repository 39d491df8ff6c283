"""Replication of 1,000 small artifacts from one registry to another, beside `skopeo sync` of the same.

`python -m bench.replication` starts a Seawall that holds the artifacts, and for each turn an empty
destination, another Seawall or docker-registry; a policy of ours and skopeo copy to it in turns (ours,
skopeo, ours ...). Both log in with the same account over HTTP on loopback, and afterwards every tag's
manifest at the destination is compared. The time of ours is from the request that starts the execution until
the API says it has succeeded, that of skopeo from its start to its end. Prints Markdown.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.client import Body, Connection
from bench.host import Process, free_port, missing_packages, program, random_password
from bench.targets import MANIFEST_TYPE, REGISTRY, SEAWALL, start_registry

_PROJECT = "bench"
_LIMIT_SECONDS = 600.0


@dataclass
class _Registry:
    """A started registry; `password` of its admin, "" without authentication."""

    kind: str
    port: int
    process: Process
    password: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def api(self, timeout: float = 60) -> httpx.Client:
        return httpx.Client(
            base_url=f"{self.url}/api/v2.0", auth=("admin", self.password), timeout=timeout, trust_env=False
        )

    def push_headers(self, repository: str) -> dict[str, str]:
        if not self.password:
            return {}
        answer = httpx.get(
            f"{self.url}/service/token?service=seawall&scope=repository:{repository}:pull,push",
            auth=("admin", self.password),
            trust_env=False,
        )
        return {"Authorization": f"Bearer {answer.raise_for_status().json()['token']}"}

    def create_project(self) -> None:
        if self.kind == SEAWALL:
            with self.api() as api:
                body = {"project_name": _PROJECT, "metadata": {"public": "false"}}
                api.post("/projects", json=body).raise_for_status()


def _seawall(root: Path) -> _Registry:
    root.mkdir()
    port, password = free_port(), random_password()
    environment = {
        "SEAWALL_DATA_DIR": str(root / "data"),
        "SEAWALL_ADMIN_PASSWORD": password,
        "SEAWALL_LOG__ACCESS": "false",
    }
    argv = [sys.executable, "-m", "seawall", "serve", "--port", str(port)]
    server = _Registry(SEAWALL, port, Process(argv, port, root / "log", environment), password)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if httpx.get(f"{server.url}/readyz", trust_env=False).status_code == 200:
            return server
        time.sleep(0.1)
    server.process.stop()
    raise RuntimeError("seawall did not become ready")


def _docker_registry(root: Path) -> _Registry:
    target = start_registry(root, quiet=True)
    return _Registry(REGISTRY, target.port, target.process)


_START: dict[str, Callable[[Path], _Registry]] = {SEAWALL: _seawall, REGISTRY: _docker_registry}


def _fill(source: _Registry, repositories: int, tags: int) -> dict[str, dict[str, str]]:
    """Push images, each of a config, a layer of its own and one its repository shares; digests by tag."""

    def fill(repository: str) -> dict[str, str]:
        digests = {}
        with Connection(source.port, source.push_headers(repository)) as connection:
            shared = _layer(64 * 1024)
            connection.push_blob(repository, shared)
            for tag in range(tags):
                layer = _layer(4 * 1024)
                text = {"architecture": "amd64", "os": "linux", "author": f"{repository}:{tag}"}
                config = Body.of(json.dumps(text).encode())
                connection.push_blob(repository, layer)
                connection.push_blob(repository, config)
                payload = _manifest(config, [shared, layer])
                connection.push_manifest(repository, f"v{tag}", MANIFEST_TYPE, Body.of(payload))
                digests[f"v{tag}"] = f"sha256:{hashlib.sha256(payload).hexdigest()}"
        return digests

    names = [f"{_PROJECT}/app{number}" for number in range(repositories)]
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(names, pool.map(fill, names), strict=True))


def _layer(size: int) -> Body:
    # skopeo compresses what is not compressed, and its copy would then be another artifact.
    return Body.of(gzip.compress(os.urandom(size), 0))


def _manifest(config: Body, layers: list[Body]) -> bytes:
    def descriptor(kind: str, body: Body) -> dict[str, object]:
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": body.digest, "size": body.size}

    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": descriptor("config.v1+json", config),
        "layers": [descriptor("layer.v1.tar+gzip", layer) for layer in layers],
    }
    return json.dumps(document).encode()


def _check(destination: _Registry, wanted: dict[str, dict[str, str]]) -> None:
    """Raise RuntimeError unless every tag stands for the same manifest at the destination."""
    for repository, digests in wanted.items():
        with Connection(destination.port, destination.push_headers(repository)) as connection:
            for tag, digest in digests.items():
                target = f"/v2/{repository}/manifests/{tag}"
                answer = connection.request("GET", target, expect=200, headers={"Accept": MANIFEST_TYPE})
                if f"sha256:{hashlib.sha256(answer.body).hexdigest()}" != digest:
                    raise RuntimeError(f"{repository}:{tag} arrived as something else")


def _ours(source: _Registry, destination: _Registry, root: Path) -> float:
    del root
    with source.api() as api:
        name = f"turn-{secrets.token_hex(4)}"
        credential = {"type": "basic", "access_key": "admin", "access_secret": destination.password}
        body: dict[str, Any] = {
            "name": name,
            "type": "seawall" if destination.kind == SEAWALL else "docker-registry",
            "url": destination.url,
            "insecure": True,
            "credential": credential if destination.password else None,
        }
        made = api.post("/registries", json=body).raise_for_status()
        registry = int(made.headers["location"].rpartition("/")[2])
        policy: dict[str, Any] = {
            "name": name,
            "dest_registry": {"id": registry},
            "filters": [{"type": "name", "value": f"{_PROJECT}/**"}],
            "trigger": {"type": "manual"},
            "override": True,
            "enabled": True,
        }
        made = api.post("/replication/policies", json=policy).raise_for_status()
        started = time.perf_counter()
        body = {"policy_id": int(made.headers["location"].rpartition("/")[2])}
        made = api.post("/replication/executions", json=body).raise_for_status()
        path = "/replication/executions/" + made.headers["location"].rpartition("/")[2]
        while time.perf_counter() - started < _LIMIT_SECONDS:
            status = api.get(path).raise_for_status().json()["status"]
            if status == "Succeed":
                return time.perf_counter() - started
            if status != "InProgress":
                raise RuntimeError(f"the execution ended as {status}")
            time.sleep(0.1)
    raise RuntimeError("the execution did not end")


def _skopeo(source: _Registry, destination: _Registry, root: Path) -> float:
    home = root / f"skopeo-{secrets.token_hex(4)}"
    home.mkdir()
    host = f"127.0.0.1:{source.port}"
    images: dict[str, list[str]] = {f"{_PROJECT}/app{n}": [] for n in range(_repositories(source))}
    document: dict[str, Any] = {
        host: {
            "images": images,
            "tls-verify": False,
            "credentials": {"username": "admin", "password": source.password},
        }
    }
    # YAML holds JSON.
    (home / "sync.yaml").write_text(json.dumps(document))
    argv = [program("skopeo"), "--insecure-policy", "sync", "--src", "yaml", "--dest", "docker"]
    argv += ["--dest-tls-verify=false"]
    if destination.password:
        argv += [f"--dest-creds=admin:{destination.password}"]
    argv += [str(home / "sync.yaml"), f"127.0.0.1:{destination.port}/{_PROJECT}"]
    # What an earlier turn has learnt of blobs belongs to another destination.
    environment = {**os.environ, "HOME": str(home), "XDG_DATA_HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
    started = time.perf_counter()
    done = subprocess.run(
        argv, env=environment, cwd=home, capture_output=True, text=True, timeout=_LIMIT_SECONDS, check=False
    )
    elapsed = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"skopeo: {done.stderr[-500:]}")
    return elapsed


def _repositories(source: _Registry) -> int:
    with source.api() as api:
        found = api.get(f"/projects/{_PROJECT}/repositories?page_size=1").raise_for_status()
        return int(found.headers["x-total-count"])


_Copier = Callable[[_Registry, _Registry, Path], float]
_COPIERS: dict[str, _Copier] = {"seawall": _ours, "skopeo sync": _skopeo}


def main() -> int:
    """Run the comparison and print it as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m bench.replication", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--artifacts", type=int, default=1000)
    parser.add_argument("--repositories", type=int, default=10)
    parser.add_argument("--to", choices=[*_START], action="append", help="destinations; both by default")
    parser.add_argument("--only", choices=[*_COPIERS], help="measure one alone (for profiling)")
    parser.add_argument("--directory", help="where the temporary directory is made")
    options = parser.parse_args()
    missing = missing_packages()
    if missing or shutil.which("skopeo") is None:
        print(
            f"bench: install these Debian packages first: {' '.join([*missing, 'skopeo'])}", file=sys.stderr
        )
        return 1
    root = Path(tempfile.mkdtemp(prefix="seawall-replication-", dir=options.directory))
    load = os.getloadavg()[0]
    copiers = {name: run for name, run in _COPIERS.items() if options.only in (None, name)}
    try:
        source = _seawall(root / "source")
        try:
            source.create_project()
            wanted = _fill(source, options.repositories, options.artifacts // options.repositories)
            results = {
                kind: _turns(source, kind, copiers, wanted, options.rounds, root)
                for kind in options.to or _START
            }
        finally:
            source.process.stop()
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(
        f"| {options.artifacts:,} artifacts to | "
        + " | ".join(f"{name}, s" for name in copiers)
        + " | ratio | goal |"
    )
    print("|---|" + "--:|" * (len(copiers) + 1) + "---|")
    for kind, samples in results.items():
        medians = [statistics.median(samples[name]) for name in copiers]
        cells = [
            f"{median:.1f} ({', '.join(f'{v:.1f}' for v in samples[name])})"
            for median, name in zip(medians, copiers, strict=True)
        ]
        ratio = medians[-1] / medians[0]
        goal = f"2.0, {'met' if ratio >= 2 else 'missed'}" if len(medians) > 1 else ""
        print(f"| {kind} | " + " | ".join(cells) + f" | {ratio:.1f} | {goal} |")
    print(f"\n{os.cpu_count()} processors, rounds: {options.rounds}, load average at the start {load:.2f}")
    return 0


def _turns(
    source: _Registry,
    kind: str,
    copiers: dict[str, _Copier],
    wanted: dict[str, dict[str, str]],
    rounds: int,
    root: Path,
) -> dict[str, list[float]]:
    samples: dict[str, list[float]] = {name: [] for name in copiers}
    for number in range(rounds):
        for name, run in copiers.items():
            place = root / f"{kind}-{number}-{name.replace(' ', '-')}"
            destination = _START[kind](place)
            try:
                destination.create_project()
                used = source.process.cpu_seconds(), destination.process.cpu_seconds()
                seconds = run(source, destination, root)
                samples[name].append(seconds)
                _check(destination, wanted)
                print(
                    f"round {number + 1}: {name} to {kind}: {seconds:.1f} s; processor time of the source"
                    f" {source.process.cpu_seconds() - used[0]:.1f} s",
                    file=sys.stderr,
                )
            finally:
                destination.process.stop()
                shutil.rmtree(place, ignore_errors=True)
    return samples


if __name__ == "__main__":
    sys.exit(main())
