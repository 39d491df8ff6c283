"""Side-by-side benchmark: Seawall, docker-registry, nginx, and where wanted Distribution 3.

`python -m bench` takes about eight minutes, `--quick` about two. All servers are started on loopback,
with their data below one temporary directory, and measured in turns (A, B, C, A, B, C, ...) so that a
disturbance of the machine falls on all alike; medians are shown. It never fails because of a time.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from bench import load
from bench.client import Connection, Source, UnexpectedAnswerError
from bench.host import missing_packages
from bench.report import Report, Row
from bench.targets import (
    DISTRIBUTION,
    MANIFEST_TYPE,
    NGINX,
    REGISTRY,
    REPOSITORY,
    Target,
    start_accelerated,
    start_nginx,
    start_registry,
    start_seawall,
)

KIB, MIB, GIB = 1024, 1024**2, 1024**3
_GET_GOALS = {REGISTRY: 1.5, NGINX: 0.9}
_CLIENTS = 64


def main() -> int:
    """Run; exit code 0 unless something is missing or a server could not be measured at all."""
    options = _options()
    missing = missing_packages()
    if missing:
        print(f"bench: install these Debian packages first: {' '.join(missing)}", file=sys.stderr)
        return 1
    console = Console(stderr=True)
    root = Path(tempfile.mkdtemp(prefix="seawall-bench-", dir=options.directory))
    try:
        report = Benchmark(root, options, console).run()
    finally:
        shutil.rmtree(root, ignore_errors=True)
    report.show(Console(width=None if sys.stdout.isatty() else 160))
    if options.json:
        options.json.write_text(report.json())
    if options.markdown:
        options.markdown.write_text(report.markdown())
    return 1 if report.errors else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about two minutes: 3 rounds of 1 second each")
    parser.add_argument("--rounds", type=int, help="rounds to take medians of (5, or 3 with --quick)")
    parser.add_argument("--seconds", type=float, help="length of one rate measurement (2, or 1 with --quick)")
    parser.add_argument("--only", default="", help="comma-separated keys of measurements, as in the JSON")
    parser.add_argument("--no-auth", action="store_true", help="leave out Seawall with authentication")
    parser.add_argument("--distribution", action="store_true", help="CNCF Distribution 3 too, built with Go")
    parser.add_argument("--no-access-log", action="store_true", help="turn every server's access log off")
    parser.add_argument("--directory", help="where the temporary directory is made (choose the disk)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there")
    return parser.parse_args()


class Benchmark:
    """One run: the servers, the content they serve, and the rounds."""

    def __init__(self, root: Path, options: argparse.Namespace, console: Console) -> None:
        self._root = root
        self._console = console
        self._quiet: bool = options.no_access_log
        self._auth: bool = not options.no_auth
        self._distribution: bool = options.distribution
        self._rounds: int = options.rounds or (3 if options.quick else 5)
        self._seconds: float = options.seconds or (1 if options.quick else 2)
        self._only = {key for key in options.only.split(",") if key}
        self._targets: list[Target] = []

    def run(self) -> Report:
        """Measure everything."""
        machine: dict[str, object] = {
            "processors": os.cpu_count(),
            "system": f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Python {sys.version.split()[0]}",
            "load_average": " ".join(f"{value:.2f}" for value in os.getloadavg()),
            "rounds": self._rounds,
            "access_log": not self._quiet,
        }
        sources = {size: Source(self._root / f"source-{size}", size) for size in (4 * KIB, MIB, GIB)}
        try:
            return self._measure(machine, sources)
        finally:
            for target in self._targets:
                target.process.stop()

    def _start(self, files: Path) -> None:
        root, quiet, add = self._root, self._quiet, self._targets.append
        add(start_seawall(root / "seawall", auth=False, quiet=quiet))
        add(start_registry(root / "registry", quiet=quiet))
        if self._distribution:
            add(start_registry(root / "distribution", quiet=quiet, name=DISTRIBUTION))
        add(start_nginx(root / "nginx", files, quiet=quiet))
        add(start_accelerated(root / "front", self._targets[0], root / "seawall" / "data", quiet=quiet))
        if self._auth:
            add(start_seawall(root / "seawall-auth", auth=True, quiet=quiet))

    def _measure(self, machine: dict[str, object], sources: dict[int, Source]) -> Report:
        files = self._root / "files"
        manifest_path, digest_path, blob_paths, manifest_size = self._content(files, sources)
        accept = {"Accept": MANIFEST_TYPE}
        seconds = self._seconds
        put_memory = Row("put_1g_memory", "peak memory, 1 GiB PUT", "MiB", less_is_better=True)
        peak_memory = Row("peak_memory", "peak memory, whole run", "MiB", less_is_better=True)

        put_goals = {REGISTRY: 1.2, **({DISTRIBUTION: 1.0} if self._distribution else {})}

        def rate(path: str, size: int, headers: dict[str, str]) -> Callable[[Target], float]:
            return lambda target: load.request_rate(
                target.port, path, {**headers, **target.token(REPOSITORY)}, size, seconds
            )

        def get_large(target: Target) -> float:
            return load.get_speed(target.port, blob_paths[GIB], target.token(REPOSITORY), GIB)

        def put_large(target: Target) -> float:
            speed, memory = load.put_speed(target, sources[GIB])
            put_memory.add(target.name, memory / MIB)
            return speed

        plan: list[tuple[Row, bool, Callable[[Target], float]]] = [
            (
                Row("manifest_tag", "manifest GET by tag", "requests/s", {REGISTRY: 1.2}),
                False,
                rate(manifest_path, manifest_size, accept),
            ),
            (
                Row("manifest_digest", "manifest GET by digest", "requests/s", {REGISTRY: 1.2}),
                False,
                rate(digest_path, manifest_size, accept),
            ),
            (
                Row("get_4k", "blob GET 4 KiB", "requests/s", _GET_GOALS),
                False,
                rate(blob_paths[4 * KIB], 4 * KIB, {}),
            ),
            (
                Row("get_1m", "blob GET 1 MiB", "requests/s", _GET_GOALS),
                False,
                rate(blob_paths[MIB], MIB, {}),
            ),
            (Row("get_1g", "blob GET 1 GiB", "MB/s", _GET_GOALS), False, get_large),
            (
                Row("put_1m", "blob PUT 1 MiB, 4 clients", "blobs/s", put_goals),
                True,
                lambda target: load.put_rate(target, sources[MIB], 4, seconds),
            ),
            (Row("put_1g", "blob PUT 1 GiB", "MB/s", put_goals), True, put_large),
            (
                Row("images", f"small images, {_CLIENTS} clients", "images/s", put_goals),
                True,
                lambda target: load.image_rate(target, _CLIENTS, seconds),
            ),
        ]
        if self._only:
            plan = [step for step in plan if step[0].key in self._only]
        report = Report(machine, [*(step[0] for step in plan), put_memory, peak_memory])
        self._start(files)
        self._seed(sources)
        for number in range(1, self._rounds + 1):
            for row, writing, sample in plan:
                for target in self._targets:
                    if writing and not target.writes:
                        continue
                    try:
                        value = sample(target)
                    except (UnexpectedAnswerError, OSError) as error:
                        report.errors.append(f"{row.title} of {target.name}: {error}")
                        continue
                    row.add(target.name, value)
                    self._console.print(
                        f"round {number}/{self._rounds}  {row.title:28} {target.name:18} "
                        f"{value:12,.1f} {row.unit}",
                        highlight=False,
                        soft_wrap=True,
                    )
        for target in self._targets:
            peak_memory.add(target.name, target.process.peak_memory() / MIB)
        return report

    def _content(self, files: Path, sources: dict[int, Source]) -> tuple[str, str, dict[int, str], int]:
        """Lay out for nginx what the registries will hold; returns the paths and the manifest's size."""
        base = f"/v2/{REPOSITORY}"
        blob_paths = {}
        for size, source in sources.items():
            blob_paths[size] = f"{base}/blobs/{source.as_written().digest}"
            place = files / blob_paths[size][1:]
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(source.path, place)
        config, layer = sources[4 * KIB].as_written(), sources[MIB].as_written()
        # About 2 KiB, as the manifests of ordinary images are.
        self._manifest = load.manifest_of(config, [layer], "x" * 1500)
        manifest_path = f"{base}/manifests/latest"
        digest_path = f"{base}/manifests/{self._manifest.digest}"
        for path in (manifest_path, digest_path):
            place = files / path[1:]
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(self._manifest.tail)
        return manifest_path, digest_path, blob_paths, self._manifest.size

    def _seed(self, sources: dict[int, Source]) -> None:
        """Push the content to be read, and read everything once so that it is in the page cache."""
        for target in self._targets:
            started = time.perf_counter()
            if target.writes:
                with Connection(target.port, target.token(REPOSITORY)) as connection:
                    for source in sources.values():
                        connection.push_blob(REPOSITORY, source.as_written())
                    connection.push_manifest(REPOSITORY, "latest", MANIFEST_TYPE, self._manifest)
            for source in sources.values():
                path = f"/v2/{REPOSITORY}/blobs/{source.as_written().digest}"
                load.get_speed(target.port, path, target.token(REPOSITORY), source.size)
            elapsed = time.perf_counter() - started
            self._console.print(f"{target.name} is ready ({elapsed:.1f} s)", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
