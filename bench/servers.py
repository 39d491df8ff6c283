"""Which HTTP server? `python -m bench.servers` compares them under the smallest possible applications.

Granian with RSGI, Granian with ASGI (pathsend) and uvicorn serve the same files and take the same upload,
beside nginx and docker-registry, in turns, with the same clients as `python -m bench`. The result is the
table of docs/decisions/0001-http-server.md. Needs uvicorn (dependency group `bench`).
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bench import apps, load
from bench.client import Connection, Source, UnexpectedAnswerError
from bench.host import MemorySampler, Process, free_port, missing_packages
from bench.report import Row
from bench.targets import MANIFEST_TYPE, REPOSITORY, Target, start_nginx, start_registry

KIB, MIB, GIB = 1024, 1024**2, 1024**3
_SIZES = {"4k": 4 * KIB, "1m": MIB, "1g": GIB}


@dataclass
class Candidate:
    """A started server and the paths under which it serves manifest and files; `upload` None: PUT of /v2."""

    target: Target
    manifest: str
    files: dict[str, str]
    small: dict[str, str]
    upload: str | None
    manifest_size: int


def main() -> int:
    """Run the comparison and print it as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m bench.servers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--workers", type=int, default=2, help="server processes")
    parser.add_argument("--directory", help="where the temporary directory is made")
    options = parser.parse_args()
    missing = missing_packages()
    if missing:
        print(f"bench: install these Debian packages first: {' '.join(missing)}", file=sys.stderr)
        return 1
    if importlib.util.find_spec("uvicorn") is None or importlib.util.find_spec("httptools") is None:
        print("bench: install the dependency group 'bench' first: pip install --group bench", file=sys.stderr)
        return 1
    root = Path(tempfile.mkdtemp(prefix="seawall-servers-", dir=options.directory))
    load_average = os.getloadavg()[0]
    try:
        rows = _compare(root, options.rounds, options.seconds, options.workers)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    names = list(rows[0].samples)
    print("| | unit | " + " | ".join(names) + " |")
    print("|---|---|" + "--:|" * len(names))
    for row in rows:
        cells = [_cell(row.median(name)) for name in names]
        print(f"| {row.title} | {row.unit} | " + " | ".join(cells) + " |")
    print(
        f"\n{options.workers} workers, rounds: {options.rounds}, load average at the start {load_average:.2f}"
    )
    return 0


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2f}"


def _commands(workers: int) -> dict[str, Callable[[int], list[str]]]:
    def granian(interface: str) -> Callable[[int], list[str]]:
        application = f"bench.apps:{interface}"
        return lambda port: [
            *(sys.executable, "-m", "granian", "--interface", interface, "--http", "1", "--no-ws"),
            *("--host", "127.0.0.1", "--port", str(port), "--workers", str(workers), "--loop", "uvloop"),
            *("--log-level", "error", application),
        ]

    def uvicorn(port: int) -> list[str]:
        return [
            *(sys.executable, "-m", "uvicorn", "bench.apps:asgi", "--host", "127.0.0.1", "--port", str(port)),
            *("--workers", str(workers), "--loop", "uvloop", "--http", "httptools", "--no-access-log"),
            *("--log-level", "error"),
        ]

    return {
        "Granian RSGI": granian("rsgi"),
        "Granian ASGI": granian("asgi"),
        "uvicorn": uvicorn,
    }


def _compare(root: Path, rounds: int, seconds: float, workers: int) -> list[Row]:
    files = root / "files"
    files.mkdir()
    sources = {name: Source(files / name, size) for name, size in _SIZES.items()}
    (files / "manifest").write_bytes(apps.MANIFEST)
    candidates: list[Candidate] = []
    try:
        for name, command in _commands(workers).items():
            port = free_port()
            directory = Path(__file__).resolve().parent.parent
            environment = {"BENCH_FILES": str(files), "PYTHONPATH": str(directory)}
            process = Process(command(port), port, root / f"{port}.log", environment)
            paths = {key: f"/file/{key}" for key in _SIZES}
            small = {key: f"/bytes/{key}" for key in ("4k", "1m")}
            candidates.append(
                Candidate(
                    Target(name, port, process), "/manifest", paths, small, "/upload", len(apps.MANIFEST)
                )
            )
        nginx = start_nginx(root / "nginx", files, quiet=True)
        paths = {key: f"/{key}" for key in _SIZES}
        candidates.append(Candidate(nginx, "/manifest", paths, {}, "", len(apps.MANIFEST)))
        candidates.append(_registry(root, sources))
        return _measure(candidates, sources["1g"], rounds, seconds)
    finally:
        for candidate in candidates:
            candidate.target.process.stop()


def _registry(root: Path, sources: dict[str, Source]) -> Candidate:
    target = start_registry(root / "registry", quiet=True)
    bodies = {key: source.as_written() for key, source in sources.items()}
    try:
        with Connection(target.port) as connection:
            for body in bodies.values():
                connection.push_blob(REPOSITORY, body)
            manifest = load.manifest_of(bodies["4k"], [bodies["1m"]], "x" * 1500)
            connection.push_manifest(REPOSITORY, "latest", MANIFEST_TYPE, manifest)
    except BaseException:
        target.process.stop()
        raise
    paths = {key: f"/v2/{REPOSITORY}/blobs/{body.digest}" for key, body in bodies.items()}
    return Candidate(target, f"/v2/{REPOSITORY}/manifests/latest", paths, {}, None, manifest.size)


def _measure(candidates: list[Candidate], large: Source, rounds: int, seconds: float) -> list[Row]:
    manifest = Row("manifest", "manifest 2 KiB", "requests/s")
    files = {
        "4k": Row("4k", "file 4 KiB", "requests/s"),
        "1m": Row("1m", "file 1 MiB", "requests/s"),
    }
    small = {
        "4k": Row("4k_bytes", "file 4 KiB, read and answered as bytes", "requests/s"),
        "1m": Row("1m_bytes", "file 1 MiB, read and answered as bytes", "requests/s"),
    }
    get = Row("1g", "file 1 GiB", "MB/s")
    cpu = Row("1g_cpu", "file 1 GiB, server's processor time", "s")
    put = Row("put", "upload 1 GiB: hash, write, fsync", "MB/s")
    memory = Row("memory", "upload 1 GiB: peak memory", "MiB")
    console = Console(stderr=True)
    for number in range(1, rounds + 1):
        for item in candidates:
            target, name = item.target, item.target.name
            headers = {"Accept": MANIFEST_TYPE}
            rate = load.request_rate(target.port, item.manifest, headers, item.manifest_size, seconds)
            manifest.add(name, rate)
        for rows, paths in ((files, "files"), (small, "small")):
            for key, row in rows.items():
                for item in candidates:
                    path = getattr(item, paths).get(key)
                    if path:
                        row.add(
                            item.target.name,
                            load.request_rate(item.target.port, path, {}, _SIZES[key], seconds),
                        )
        for item in candidates:
            before = item.target.process.cpu_seconds()
            get.add(item.target.name, load.get_speed(item.target.port, item.files["1g"], {}, GIB))
            cpu.add(item.target.name, item.target.process.cpu_seconds() - before)
        for item in candidates:
            if item.upload == "":
                continue
            speed, peak = _upload(item, large)
            put.add(item.target.name, speed)
            memory.add(item.target.name, peak / MIB)
        console.print(f"round {number}/{rounds} done", highlight=False)
    return [manifest, *files.values(), *small.values(), get, cpu, put, memory]


def _upload(item: Candidate, source: Source) -> tuple[float, int]:
    if item.upload is None:
        return load.put_speed(item.target, source)
    body = source.variant()
    os.sync()
    with Connection(item.target.port) as connection, MemorySampler(item.target.process) as memory:
        started = time.perf_counter()
        answer = connection.request("PUT", item.upload, expect=201, body=body)
        elapsed = time.perf_counter() - started
    if f"sha256:{answer.body.decode()}" != body.digest:
        raise UnexpectedAnswerError("the upload arrived damaged")
    return body.size / elapsed / 1e6, memory.peak


if __name__ == "__main__":
    sys.exit(main())
