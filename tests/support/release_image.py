"""The image of a release: its base made of Debian packages, for each processor that can be had here.

Nothing is pulled from a public registry: mmdebstrap makes the base, which `deploy/docker/Dockerfile` takes as
its build argument BASE, and buildah builds without a network. Another processor than this machine's needs a
handler of the kernel (binfmt_misc) that runs its programs, which Debian's qemu-user-static has.
"""

from __future__ import annotations

import email.parser
import hashlib
import json
import os
import platform
import resource
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.steps import ReleaseError, run, say

# What images call a processor, and what `uname -m` does.
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
# The Debian of the base. Its Python must be one of the bundle's.
SUITE, PYTHON = "bookworm", "3.11"
TOOLS = ("buildah", "podman", "skopeo", "mmdebstrap")
DOCKERFILE = "deploy/docker/Dockerfile"


def lacking() -> str:
    """Why no image can be built here; empty where one can."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"there is no {', no '.join(missing)}; they are Debian packages"
    here = ".".join(platform.python_version_tuple()[:2])
    if here != PYTHON:
        return f"the bundle is for Python {here}, and Debian {SUITE} has {PYTHON}"
    return ""


def emulated(machine: str, handlers: Path = Path("/proc/sys/fs/binfmt_misc")) -> str:
    """Why this kernel cannot run programs of `machine`; empty where it can, in every container."""
    if machine == platform.machine():
        return ""
    handler = handlers / f"qemu-{machine}"
    if not handler.exists():
        return f"the kernel has no {handler}; install qemu-user-static and binfmt-support"
    text = handler.read_text()
    if not text.startswith("enabled"):
        return f"{handler} is not enabled"
    flags = next((line for line in text.splitlines() if line.startswith("flags:")), "")
    # F: the interpreter is opened when it is registered. Without it a container would have to have it.
    return "" if "F" in flags.partition(":")[2] else f"{handler} has no flag F: containers lack its program"


def base(archive: Path, architecture: str, moment: int) -> None:
    """Write a tar of a minimal Debian with Python, for an architecture, which depends on `moment` only."""
    foreign = [] if MACHINES[architecture] == platform.machine() else ["--skip=check/qemu"]
    leave = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info")]
    run(
        "mmdebstrap", "--quiet", "--variant=required", "--include=python3,ca-certificates",
        f"--architectures={architecture}", *foreign, *leave,
        "--dpkgopt=path-include=/usr/share/doc/*/copyright", SUITE, archive,
        env={"SOURCE_DATE_EPOCH": str(moment)}, before=_few_files,
    )  # fmt: skip


def _few_files() -> None:
    # apt closes every descriptor that it may have, one after the other: with a million, for minutes.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))


def debian_packages(archive: Path, architecture: str) -> list[dict[str, Any]]:
    """The packages of a base as components of CycloneDX, by name."""
    with tarfile.open(archive) as tar:
        status = tar.extractfile("./var/lib/dpkg/status")
        assert status is not None
        parts = status.read().decode().split("\n\n")
    found = []
    for part in filter(str.strip, parts):
        field = email.parser.HeaderParser().parsestr(part)
        purl = f"pkg:deb/debian/{field['Package']}@{field['Version']}?arch={architecture}&distro={SUITE}"
        found.append(
            {
                "type": "library",
                "name": field["Package"],
                "version": field["Version"],
                "purl": purl,
                "bom-ref": purl,
            }
        )
    return sorted(found, key=lambda item: str(item["name"]))


def sbom(bundled: Path, packages: list[dict[str, Any]]) -> bytes:
    """The bundle's SBOM, and what the base has."""
    document = json.loads(bundled.read_text())
    document["components"] = [*document["components"], *packages]
    # Of the content and not of the moment.
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    document["serialNumber"] = (
        f"urn:uuid:{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-a{digest[17:20]}-{digest[20:32]}"
    )
    return json.dumps(document, indent=2).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Built:
    """An image in a store: its name there and the architectures that it has."""

    store: Store
    name: str
    architectures: tuple[str, ...]


class Store:
    """podman and buildah with images of their own, in `folder` (short: podman takes no long paths)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        driver = "overlay" if os.geteuid() == 0 else "vfs"
        self._where = (
            "--root", str(folder / "store"), "--runroot", str(folder / "run"), "--storage-driver", driver,
        )  # fmt: skip

    def buildah(self, *words: str | Path, offline: bool = False) -> str:
        """Run buildah; `offline`: without a network, where this user may take it away."""
        # With chroot isolation `RUN` has the network of buildah itself.
        apart = ("unshare", "--net") if offline and os.geteuid() == 0 else ()
        return run(*apart, "buildah", *self._where, *words)

    def podman(self, *words: str | Path) -> str:
        """Run podman."""
        quiet = ("--cgroup-manager", "cgroupfs", "--events-backend", "none")
        return run("podman", *self._where, *quiet, *words)

    def command(self, *words: str) -> list[str]:
        """The command line of podman, for what runs longer."""
        return ["podman", *self._where, "--cgroup-manager", "cgroupfs", "--events-backend", "none", *words]

    def make(
        self, bundles: dict[str, Path], bases: dict[str, Path], number: str, revision: str, moment: int
    ) -> Built:
        """Build the image for each architecture of `bundles` (unpacked ones), and a list of them."""
        name = f"localhost/seawall:{number}"
        self.buildah("manifest", "create", name)
        for architecture, bundle in sorted(bundles.items()):
            self.folder.joinpath(architecture).mkdir()
            shutil.copy(bases[architecture], self.folder / architecture / "base.tar")
            (self.folder / architecture / "Base").write_text("FROM scratch\nADD base.tar /\n")
            # Docker's format would have the builder's host name and container in it, which differ each time;
            # OCI's has no HEALTHCHECK. Compose files and units have their own.
            common = ("-q", "--isolation", "chroot", "--timestamp", str(moment), "--format", "oci",
                      "--arch", architecture, "--no-cache", "--layers=false")  # fmt: skip
            tag = f"localhost/base:{architecture}"
            folder = self.folder / architecture
            self.buildah("bud", *common, "-t", tag, "-f", folder / "Base", folder, offline=True)
            self.buildah(
                "bud", *common, "--network", "host", "--build-arg", f"BASE={tag}", "--build-arg",
                f"VERSION={number}", "--build-arg", f"REVISION={revision}", "-t", f"{name}-{architecture}",
                "-f", bundle / DOCKERFILE, bundle, offline=True,
            )  # fmt: skip
            self.buildah("manifest", "add", "--arch", architecture, name, f"{name}-{architecture}")
        return Built(self, name, tuple(sorted(bundles)))

    def push(self, image: Built, to: str, password: str) -> str:
        """Push the list and its images; returns the list's digest."""
        file = self.folder / "digest"
        self.buildah(
            "manifest", "push", "--all", "-q", "--tls-verify=false", "--creds", f"admin:{password}",
            "--digestfile", file, image.name, f"docker://{to}",
        )  # fmt: skip
        return file.read_text().strip()

    def runs(self, image: str, architecture: str) -> tuple[str, ...]:
        """podman's options with which a container starts here. Raises ReleaseError with the last reason."""
        # A host that may not raise limits, and one whose control groups crun does not take.
        limits = [
            word for name, most in _LIMITS.items() for word in ("--ulimit", f"{name}={_most(name, most)}")
        ]
        last: ReleaseError | None = None
        for options in ((), tuple(limits), ("--runtime", "runc", *limits)):
            chosen = ("--arch", architecture, "--network", "host", *options)
            try:
                self.podman("run", "--rm", *chosen, image, "version")
            except ReleaseError as error:
                last = error
            else:
                return chosen
        assert last is not None
        raise last


# What a container needs at most: podman asks for more by itself, which not every host may give.
_LIMITS = {"nofile": 65536, "nproc": 4096}


def _most(name: str, wanted: int) -> int:
    hard = resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))[1]
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


def provenance(number: str, revision: str, moment: int, bases: dict[str, Path]) -> dict[str, Any]:
    """How the image came to be: a predicate of SLSA 1.0."""
    made_of: list[dict[str, Any]] = [{"name": "seawall", "digest": {"gitCommit": revision}}]
    for architecture, archive in sorted(bases.items()):
        with archive.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        made_of.append({"name": f"debian-{SUITE}-{architecture}.tar", "digest": {"sha256": digest}})
    return {
        "buildDefinition": {
            "buildType": "https://slsa.dev/container-based-build/v0.1",
            "externalParameters": {"version": number, "sourceDateEpoch": moment, "file": DOCKERFILE},
            "resolvedDependencies": made_of,
        },
        "runDetails": {"builder": {"id": "make release-check"}},
    }


def reasons(wanted: dict[str, str]) -> list[str]:
    """Architectures that can be built here; says why not of the others."""
    found = []
    chosen = os.environ.get("RELEASE_ARCHITECTURES", ",".join(wanted)).split(",")
    for architecture, machine in wanted.items():
        why = "" if architecture in chosen else "RELEASE_ARCHITECTURES does not name it"
        if why := why or emulated(machine):
            say(f"LEFT OUT: the image for {architecture}: {why}")
        else:
            found.append(architecture)
    return found
