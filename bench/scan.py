"""Scan throughput beside syft, in one run: `python -m bench.scan [--rounds N] [--json FILE]`.

One image is built from this machine's own packages: Debian packages with all their files (Go programs among
them), the Python packages of the environment, and a tree of node packages; an OCI layout with gzip layers.
Each round reads it with syft as it comes, with syft kept to the catalogers that Seawall has too, with
Seawall from nothing, and with Seawall when all layers but the top one are known (what a push of a new
application layer costs). Medians are shown; it never fails because of a time.

What the numbers do not say: syft also hashes files and tells relations between packages, so it does more;
Seawall's include the start of its worker process, syft's the start of syft.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from tests.support.scan import images, syft

from seawall.features.scan.analyze import Delta
from seawall.features.scan.inventory import LayerSource, build
from seawall.features.scan.model import Inventory, Limits

MIB = 1024 * 1024
CATALOGERS = ",".join(
    (
        "dpkg-db-cataloger",
        "apk-db-cataloger",
        "rpm-db-cataloger",
        "python-installed-package-cataloger",
        "javascript-package-cataloger",
        "go-module-binary-cataloger",
        "java-archive-cataloger",
        "cargo-auditable-binary-cataloger",
        "ruby-installed-gemspec-cataloger",
    )
)
PACKAGES = (
    "bash",
    "coreutils",
    "git",
    "libc6",
    "openssl",
    "perl-base",
    "podman",
    "skopeo",
    "umoci",
    "util-linux",
)


def main() -> int:
    """Run; exit code 1 when a scanner did not work at all."""
    parser = argparse.ArgumentParser(prog="python -m bench.scan", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="seawall-bench-scan-"))
    try:
        result = run(root, options.rounds)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    show(result, Console(width=None if sys.stdout.isatty() else 140))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2))
    return 0


def run(root: Path, rounds: int) -> dict[str, Any]:
    """Build the image and take the samples, in turns."""
    site = Path(sysconfig.get_path("purelib"))
    node = {
        f"app/node_modules/p{n}/package.json": json.dumps({"name": f"p{n}", "version": f"{n}.0.0"}).encode()
        for n in range(1000)
    }
    raw = [
        images.debian(PACKAGES),
        images.tree([(p, f"usr/local/lib/python3/site-packages/{p.name}") for p in site.glob("*.dist-info")]),
        images.tar(node),
    ]
    layers = images.layout(root / "image", raw)
    unpacked = sum(map(len, raw))
    known: dict[str, Delta] = {}

    def seawall() -> Inventory:
        return asyncio.run(build([LayerSource(digest, path) for digest, path in layers], Limits()))

    async def load(chain: str) -> Delta | None:
        return known.get(chain)

    async def save(chain: str, digest: str, delta: Delta) -> None:
        if digest != layers[-1][0]:
            known[chain] = delta

    def cached() -> Inventory:
        sources = [LayerSource(digest, path) for digest, path in layers]
        return asyncio.run(build(sources, Limits(), load=load, save=save))

    cached()
    contenders: dict[str, Callable[[], object]] = {
        "syft": lambda: _syft(root / "image"),
        "syft, same catalogers": lambda: _syft(root / "image", "--override-default-catalogers", CATALOGERS),
        "Seawall": seawall,
        "Seawall, base known": cached,
    }
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, scan in contenders.items():
            started = time.perf_counter()
            scan()
            samples[name].append(time.perf_counter() - started)
    theirs = syft.packages(root / "image")
    ours = {(p.found.kind, p.found.name, p.found.version) for p in seawall().packages}
    return {
        "unpacked_bytes": unpacked,
        "packed_bytes": sum(path.stat().st_size for _, path in layers),
        "packages": {"syft": len(theirs), "Seawall": len(ours)},
        "recall": len(ours & theirs) / len(theirs),
        "missed": sorted(map(list, theirs - ours)),
        "samples": samples,
    }


def _syft(image: Path, *options: str) -> None:
    subprocess.run(
        [
            str(Path(sys.executable).with_name("syft")),
            "scan",
            f"oci-dir:{image}",
            "-o",
            "json",
            "-q",
            *options,
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "SYFT_CHECK_FOR_APP_UPDATE": "false"},
        timeout=600,
    )


def show(result: dict[str, Any], console: Console) -> None:
    """The table."""
    unpacked = result["unpacked_bytes"] / MIB
    console.print(
        f"image: {unpacked:.0f} MiB unpacked, {result['packed_bytes'] / MIB:.0f} MiB packed; "
        f"packages: syft {result['packages']['syft']}, Seawall {result['packages']['Seawall']}; "
        f"recall {result['recall']:.4f}"
    )
    table = Table("scanner", "seconds (median)", "MiB/s unpacked", "beside syft")
    base = statistics.median(result["samples"]["syft"])
    for name, values in result["samples"].items():
        middle = statistics.median(values)
        table.add_row(name, f"{middle:.2f}", f"{unpacked / middle:.0f}", f"{base / middle:.1f} x")
    console.print(table)


if __name__ == "__main__":
    raise SystemExit(main())
