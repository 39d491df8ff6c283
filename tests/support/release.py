"""A release, rehearsed: `make release-check`. It is built twice, compared, signed, pushed and installed.

What is released is in dist/release afterwards. docs/release.md says what is done, in words.
"""

from __future__ import annotations

import filecmp
import gzip
import hashlib
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.foreign import PROGRAMS, BuildError, build
from tests.support.processes import ROOT

OUTPUT = ROOT / "dist" / "release"
CHART = ROOT / "deploy" / "helm" / "seawall"
LEGAL = ("LICENSE", "NOTICE")
PASSWORD = "Rehearsal-12345"


class ReleaseError(Exception):
    """The release must not go out; one line says why."""


def version() -> str:
    """The version of pyproject.toml. Raises ReleaseError where the chart or the tag has another one."""
    found = str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])
    chart = (CHART / "Chart.yaml").read_text()
    for key in ("version", "appVersion"):
        said = re.search(rf'^{key}: "?([^"\n]+)"?$', chart, re.MULTILINE)
        if said is None or said[1] != found:
            raise ReleaseError(f"Chart.yaml: {key} is {said and said[1]}, pyproject.toml has {found}")
    tag = os.environ.get("SEAWALL_RELEASE_TAG")
    if tag and tag != f"v{found}":
        raise ReleaseError(f"the tag is {tag}, and must be v{found}")
    return found


def run(*command: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """Standard output of a command. Raises ReleaseError with its last line when it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **(env or {})},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        why = lines[-1] if lines else done.returncode
        raise ReleaseError(f"{Path(str(command[0])).name} {command[1]}: {why}")
    return done.stdout


def say(text: str) -> None:
    """A step, as it is done."""
    print(f"release-check: {text}", flush=True)


def epoch() -> int:
    """SOURCE_DATE_EPOCH: that of the environment, or the time of the last commit."""
    return int(os.environ.get("SOURCE_DATE_EPOCH") or run("git", "log", "-1", "--format=%ct", cwd=ROOT))


def checkout(folder: Path) -> Path:
    """A copy of what is committed, with the built portal."""
    folder.mkdir(parents=True)
    archive = folder / "tree.tar"
    run("git", "archive", "-o", archive, "HEAD", cwd=ROOT)
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "tree", filter="data")
    archive.unlink()
    portal = ROOT / "src" / "seawall" / "portal_dist"
    if portal.is_dir():
        shutil.copytree(portal, folder / "tree" / "src" / "seawall" / "portal_dist")
    return folder / "tree"


def archive(target: Path, files: Mapping[str, bytes], moment: int) -> None:
    """A .tar.gz that depends on nothing but `files` and `moment`."""
    with (
        target.open("wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", mtime=moment, filename="") as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(content), 0o644, moment
            tar.addfile(entry, io.BytesIO(content))


def normalised(path: Path, moment: int) -> None:
    """The sdist with times and owners that do not depend on when and by whom it was built."""
    with tarfile.open(path) as tar:
        files = {item.name: tar.extractfile(item).read() for item in tar if item.isfile()}  # type: ignore[union-attr]
    archive(path, files, moment)


def chart(tree: Path, target: Path, moment: int) -> None:
    """The Helm chart as `helm package` lays it out, with LICENSE and NOTICE; it does not vary."""
    source = tree / "deploy" / "helm" / "seawall"
    files = {
        f"seawall/{path.relative_to(source)}": path.read_bytes()
        for path in source.rglob("*")
        if path.is_file() and "ci" not in path.relative_to(source).parts[:1]
    }
    archive(target, {**files, **{f"seawall/{name}": (tree / name).read_bytes() for name in LEGAL}}, moment)


def make(folder: Path, number: str, moment: int, wheels: Path | None = None) -> Path:
    """Everything that is released, built in a folder of its own."""
    tree, out = checkout(folder), folder / "out"
    out.mkdir()
    env = {"SOURCE_DATE_EPOCH": str(moment), "SEAWALL_NO_PORTAL": "1"}
    # The wheel is built from the sdist, so the sdist is complete.
    run(sys.executable, "-m", "build", "--outdir", out, tree, env=env)
    normalised(out / f"seawall-{number}.tar.gz", moment)
    chart(tree, out / f"seawall-chart-{number}.tgz", moment)
    bundle = out / f"seawall-offline-{number}.tar.gz"
    found = ["--wheels", str(wheels)] if wheels else []
    run(Path(sys.executable).parent / "seawall", "bundle", "-o", bundle, "--source", tree, *found, env=env)
    with tarfile.open(bundle) as tar:
        for name in ("sbom.cdx.json",):
            held = tar.extractfile(f"seawall-{number}/{name}")
            assert held is not None
            (out / name).write_bytes(held.read())
    return out


def compare(one: Path, two: Path) -> None:
    """Raises ReleaseError for a file that differs between two builds."""
    names = sorted(path.name for path in one.iterdir())
    if names != sorted(path.name for path in two.iterdir()):
        raise ReleaseError("two builds have different files")
    wrong = [name for name in names if not filecmp.cmp(one / name, two / name, shallow=False)]
    if wrong:
        raise ReleaseError(f"two builds differ in {', '.join(wrong)}")
    say(f"built twice, equal: {', '.join(names)}")


def names_in(path: Path) -> list[str]:
    """The files in an archive."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as package:
            return package.namelist()
    with tarfile.open(path) as tar:
        return tar.getnames()


def check_legal(folder: Path) -> None:
    """LICENSE and NOTICE are in each archive."""
    for path in sorted(folder.glob("*.whl")) + sorted(folder.glob("*gz")):
        found = {name.rpartition("/")[2] for name in names_in(path)}
        if missing := [name for name in LEGAL if name not in found]:
            raise ReleaseError(f"{path.name} lacks {', '.join(missing)}")
    say("LICENSE and NOTICE are in wheel, sdist, chart and bundle")


def sign(folder: Path) -> None:
    """SHA256SUMS and its signature, verified: by cosign, or by openssl where cosign cannot be built."""
    sums = folder / "SHA256SUMS"
    files = sorted(path for path in folder.iterdir() if path != sums)
    sums.write_text("".join(f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in files))
    with tempfile.TemporaryDirectory() as home:
        try:
            build(PROGRAMS["cosign2"])
        except BuildError as error:
            say(f"signed by openssl: {error}")
            key = Path(home) / "release.key"
            run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
            run("openssl", "ec", "-in", key, "-pubout", "-out", folder / "rehearsal.pub")
            run("openssl", "dgst", "-sha256", "-sign", key, "-out", folder / "SHA256SUMS.sig", sums)
            public, signature = folder / "rehearsal.pub", folder / "SHA256SUMS.sig"
            run("openssl", "dgst", "-sha256", "-verify", public, "-signature", signature, sums)
            return
        cosign, env = PROGRAMS["cosign2"].path, {"COSIGN_PASSWORD": "rehearsal", "HOME": home}
        run(cosign, "generate-key-pair", env=env, cwd=Path(home))
        shutil.copy(Path(home) / "cosign.pub", folder / "rehearsal.pub")
        signature = folder / "SHA256SUMS.sig"
        key = Path(home) / "cosign.key"
        run(cosign, "sign-blob", "--yes", "--tlog-upload=false", "--key", key,
            "--output-signature", signature, sums, env=env)  # fmt: skip
        run(cosign, "verify-blob", "--insecure-ignore-tlog=true", "--key", folder / "rehearsal.pub",
            "--signature", signature, sums, env=env)  # fmt: skip
    say("SHA256SUMS signed and verified by cosign, with a key of this rehearsal")


@contextmanager
def served(seawall: Path, folder: Path) -> Iterator[str]:
    """The address of a registry that is started from an installed Seawall."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {**os.environ, "SEAWALL_ADMIN_PASSWORD": PASSWORD}
    command = [str(seawall), "serve", "--port", str(port), "--data-dir", str(folder / "data")]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=env, cwd=folder, stdout=log, stderr=log)
    try:
        address = f"127.0.0.1:{port}"
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"http://{address}/readyz", timeout=5):
                    break
            except OSError:
                if process.poll() is not None:
                    said = (folder / "log").read_text()[-300:]
                    raise ReleaseError(f"seawall serve ended: {said}") from None
                time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait(60)


def install(folder: Path, *arguments: str | Path) -> Path:
    """`seawall` in a clean environment, installed by pip without an index."""
    run(sys.executable, "-m", "venv", folder)
    run(folder / "bin" / "pip", "--isolated", "install", "-q", "--no-index", *arguments)
    return folder / "bin" / "seawall"


def smoke(seawall: Path, address: str, data: Path, number: str) -> None:
    """The installed Seawall says its version, takes an image, gives it back and finds no fault."""
    if (said := run(seawall, "version").strip()) != number:
        raise ReleaseError(f"seawall version says {said}, not {number}")
    env = {"SEAWALL_PASSWORD": PASSWORD}
    run(seawall, "demo", "library/smoke", "--url", f"http://{address}", env=env, cwd=data)
    accept = {"Accept": "application/vnd.oci.image.index.v1+json"}
    request = urllib.request.Request(f"http://{address}/v2/library/smoke/manifests/1.0", headers=accept)
    with urllib.request.urlopen(request, timeout=30) as answer:
        content, digest = answer.read(), answer.headers["Docker-Content-Digest"]
    if digest != f"sha256:{hashlib.sha256(content).hexdigest()}":
        raise ReleaseError("the pulled manifest does not have its digest")
    run(seawall, "fsck", "--data-dir", data / "data", cwd=data)


def check_extras(seawall: Path, folder: Path) -> None:
    """Without extras nothing of theirs is installed, and a setting that needs one says how to install it."""
    code = "from seawall.kernel.extras import *; print(*(e for e in EXTRAS if installed(e)))"
    if found := run(seawall.parent / "python", "-c", code).strip():
        raise ReleaseError(f"extras that nobody asked for are installed: {found}")
    for extra, settings in {
        "postgresql": {"SEAWALL_DATABASE__URL": "postgresql://nobody@127.0.0.1/none"},
        "redis": {"SEAWALL_REDIS__URL": "redis://127.0.0.1"},
        "s3": {"SEAWALL_STORAGE__DRIVER": "s3", "SEAWALL_STORAGE__S3__BUCKET": "none"},
        "ldap": {"SEAWALL_CONFIGURATION": '{"auth_mode": "ldap_auth"}'},
        "oidc": {"SEAWALL_CONFIGURATION": '{"auth_mode": "oidc_auth"}'},
    }.items():
        done = subprocess.run(
            [seawall, "serve", "--data-dir", folder / "none", "--port", "0"],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        line = done.stderr.strip()
        if done.returncode != 1 or "\n" in line or f"'seawall[{extra}]'" not in line:
            raise ReleaseError(f"without the extra {extra}, serve says: {line[-300:]}")


def push_chart(folder: Path, address: str, number: str, temporary: Path) -> None:
    """The chart, pushed as an OCI artifact and pulled again by helm."""
    try:
        build(PROGRAMS["helm"])
    except BuildError as error:
        say(f"LEFT OUT: the chart was not pushed: {error}")
        return
    helm, env = PROGRAMS["helm"].path, {"HELM_CONFIG_HOME": str(temporary), "HELM_CACHE_HOME": str(temporary)}
    package = folder / f"seawall-chart-{number}.tgz"
    run(helm, "registry", "login", address, "-u", "admin", "-p", PASSWORD, "--plain-http", env=env)
    run(helm, "push", package, f"oci://{address}/library", "--plain-http", env=env)
    run(helm, "pull", f"oci://{address}/library/seawall", "--version", number, "--plain-http",
        "-d", temporary, env=env)  # fmt: skip
    if not filecmp.cmp(package, temporary / f"seawall-{number}.tgz", shallow=False):
        raise ReleaseError("the chart that was pulled is not the one that was pushed")
    # A helm that was built from source takes the cluster for Kubernetes 1.20.
    run(helm, "template", "try", package, "--kube-version", "1.34.0", env=env)
    say("chart pushed into a started Seawall, pulled, equal, rendered")


def push_image(folder: Path, address: str, number: str, temporary: Path) -> None:
    """The image, built from the bundle, pushed; or a line that says why there is none."""
    tool = shutil.which("buildah") or shutil.which("podman")
    if tool is None:
        say("LEFT OUT: no image, since there is neither podman nor buildah")
        return
    with tarfile.open(folder / f"seawall-offline-{number}.tar.gz") as tar:
        tar.extractall(temporary, filter="data")
    context, name = temporary / f"seawall-{number}", f"{address}/library/seawall:{number}"
    revision = run("git", "rev-parse", "HEAD", cwd=ROOT).strip()
    try:
        run(tool, "build", "--timestamp", str(epoch()), "-f", context / "deploy/docker/Dockerfile",
            "-t", name, "--build-arg", f"VERSION={number}",
            "--build-arg", f"REVISION={revision}", context)  # fmt: skip
    except ReleaseError as error:
        say(f"LEFT OUT: no image: {error}")
        return
    run(tool, "push", "--tls-verify=false", "--creds", f"admin:{PASSWORD}", name)
    say("image built from the bundle and pushed into a started Seawall")


def notes(number: str) -> str:
    """What the release says of itself: the fragments, or the newest part of the changelog."""
    fragments = sorted(p for p in (ROOT / "changelog.d").glob("*.*.md"))
    if fragments:
        return f"# Seawall {number}\n\n" + "".join(f"- {p.read_text().strip()}\n" for p in fragments)
    parts = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    return f"# Seawall {number}\n\n{parts[1].partition(chr(10))[2].strip()}\n"


def rehearse() -> None:
    """Do all of it. Raises ReleaseError."""
    number, moment = version(), epoch()
    if run("git", "status", "--porcelain", "--untracked-files=no", cwd=ROOT):
        say("note: what is not committed is not in the release")
    with tempfile.TemporaryDirectory(prefix="seawall-release-") as name:
        temporary = Path(name)
        say(f"building {number}, SOURCE_DATE_EPOCH={moment}")
        one = make(temporary / "one", number, moment)
        with tarfile.open(one / f"seawall-offline-{number}.tar.gz") as tar:
            tar.extractall(temporary / "bundle", filter="data")
        bundle = temporary / "bundle" / f"seawall-{number}"
        compare(one, make(temporary / "two", number, moment, bundle / "wheels"))
        check_legal(one)
        (one / "NOTES.md").write_text(notes(number))
        sign(one)
        (wheel,) = one.glob("*.whl")
        # Not from where the bundle's own wheel of Seawall is: pip must take the file that is named.
        seawall = install(temporary / "venv", "--find-links", bundle / "wheels", wheel)
        work = temporary / "work"
        work.mkdir()
        with served(seawall, work) as address:
            smoke(seawall, address, work, number)
            say("wheel installed in a clean environment, without extras: pushed, pulled, no fault found")
            check_extras(seawall, work)
            say("settings that need an extra say so")
            push_chart(one, address, number, temporary / "helm")
            push_image(one, address, number, temporary / "image")
        pinned = ("--find-links", bundle / "wheels", "--require-hashes", "-r", bundle / "requirements.txt")
        other = install(temporary / "offline", *pinned)
        work = temporary / "work-offline"
        work.mkdir()
        with served(other, work) as address:
            smoke(other, address, work, number)
        say("bundle installed by its hashes in a clean environment: pushed, pulled, no fault found")
        shutil.rmtree(OUTPUT, ignore_errors=True)
        shutil.copytree(one, OUTPUT)
    say(f"done: {OUTPUT.relative_to(ROOT)}")


if __name__ == "__main__":
    try:
        rehearse()
    except ReleaseError as fault:
        sys.exit(f"release-check: {fault}")
