"""Client programs of others, built with Go from pinned sources into a cache outside the checkout.

`python -m tests.support.foreign` builds what is missing. `make test-clients` calls it, nothing of `make test`
does. The cache is `$SEAWALL_CLIENTS_CACHE`, or `seawall-clients` in `$XDG_CACHE_HOME` (by default
`~/.cache`). It has a folder for each program and version, so that a new version is built beside the old one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import ROOT

# What Go says when the network, and not the source, is the reason.
_NO_NETWORK = re.compile(
    r"dial tcp|no such host|[Cc]ould not resolve|connection refused|network is unreachable|i/o timeout|"
    r"TLS handshake timeout|GOPROXY=off|proxyconnect"
)


class BuildError(Exception):
    """A program cannot be built; the message is one line."""


@dataclass(frozen=True)
class Program:
    """A program that `go install PACKAGE@VERSION` builds; versions of one program differ in `name`.

    `source`: a folder of the checkout whose go.mod names the package as a tool, at this version.
    """

    name: str
    package: str
    version: str
    source: str = ""

    @property
    def built(self) -> str:
        """What Go calls it: the last part of the package."""
        return self.package.rpartition("/")[2]

    @property
    def path(self) -> Path:
        """Where it is once it is built."""
        return cache() / f"{self.name}@{self.version}" / self.name


PROGRAMS = {
    program.name: program
    for program in (
        # The suite has no releases of its own since it was rewritten; this is a commit of 31 August 2026.
        Program(
            "conformance",
            "github.com/opencontainers/distribution-spec/conformance",
            "v0.0.0-20260831232431-97274622c111",
        ),
        Program("crane", "github.com/google/go-containerregistry/cmd/crane", "v0.22.1"),
        Program("regctl", "github.com/regclient/regclient/cmd/regctl", "v0.11.7"),
        Program("oras", "oras.land/oras/cmd/oras", "v1.3.6"),
        Program("cosign2", "github.com/sigstore/cosign/v2/cmd/cosign", "v2.6.5"),
        Program("cosign3", "github.com/sigstore/cosign/v3/cmd/cosign", "v3.1.3"),
        # The proxy has this version and no list of its versions, without which `go install` does nothing.
        Program(
            "notation", "github.com/notaryproject/notation/cmd/notation", "v1.3.2", "tests/clients/notation"
        ),
        # Not zot: the Go module proxy gives none of its versions. See tests/support/servers/zot.py.
        Program("distribution", "github.com/distribution/distribution/v3/cmd/registry", "v3.1.2"),
        Program("helm", "helm.sh/helm/v3/cmd/helm", "v3.22.0"),
        # Its go.mod excludes versions, which `go install` does not take.
        Program("buildctl", "github.com/moby/buildkit/cmd/buildctl", "v0.34.2", "tests/clients/buildkit"),
        Program("buildkitd", "github.com/moby/buildkit/cmd/buildkitd", "v0.34.2", "tests/clients/buildkit"),
        # Gives certificates to identities, for signatures without keys.
        Program("fulcio", "github.com/sigstore/fulcio", "v1.8.8"),
    )
}


def cache() -> Path:
    """The folder that programs are kept in."""
    if chosen := os.environ.get("SEAWALL_CLIENTS_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seawall-clients"


def build(program: Program) -> None:
    """Build `program` unless the cache has it. Raises BuildError with one line that says why it cannot be."""
    if program.path.exists():
        return
    wanted = f"{program.name} {program.version}"
    go = shutil.which("go")
    if go is None:
        raise BuildError(f"cannot build {wanted}: there is no Go toolchain (`go`) on the path")
    cache().mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="build-", dir=cache()))
    try:
        if program.source:
            output = str(folder / program.built)
            work = ["build", "-trimpath", "-buildvcs=false", "-o", output, program.package]
        else:
            work = ["install", "-trimpath", "-buildvcs=false", f"{program.package}@{program.version}"]
        done = subprocess.run(
            [go, *work],
            env={**os.environ, "GOBIN": str(folder), "CGO_ENABLED": "0"},
            cwd=ROOT / program.source,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise BuildError(f"cannot build {wanted}: {_why(done.stderr)}")
        program.path.parent.mkdir(exist_ok=True)
        (folder / program.built).replace(program.path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _why(said: str) -> str:
    if _NO_NETWORK.search(said):
        proxy = os.environ.get("GOPROXY") or "https://proxy.golang.org"
        return f"the Go module proxy ({proxy}) cannot be reached, and {cache()} does not have the program"
    lines = [line for line in said.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "go install failed and said nothing"


def main() -> int:
    """Build all; 1 when one of them cannot be."""
    for program in PROGRAMS.values():
        if not program.path.exists():
            began = time.monotonic()
            print(f"building {program.name} {program.version} ...", file=sys.stderr)
            try:
                build(program)
            except BuildError as error:
                print(f"test-clients: {error}", file=sys.stderr)
                return 1
            print(f"built in {time.monotonic() - began:.0f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
