"""A release, rehearsed: `make release-check`. It is built twice, compared, signed, pushed and installed.

What is released is in dist/release afterwards. docs/release.md says what is done, in words.
"""

from __future__ import annotations

import filecmp
import functools
import gzip
import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support import release_image
from tests.support.foreign import PROGRAMS, BuildError, build
from tests.support.processes import ROOT, free_port
from tests.support.steps import ReleaseError, run, say

OUTPUT = ROOT / "dist" / "release"
CHART = ROOT / "deploy" / "helm" / "seawall"
LEGAL = ("LICENSE", "NOTICE")
PASSWORD = "Rehearsal-12345"


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


@functools.cache
def revision() -> str:
    """The commit that is released: the newest one when the rehearsal began."""
    return run("git", "rev-parse", "HEAD", cwd=ROOT).strip()


@functools.cache
def epoch() -> int:
    """SOURCE_DATE_EPOCH: that of the environment, or the time of the last commit."""
    return int(
        os.environ.get("SOURCE_DATE_EPOCH") or run("git", "log", "-1", "--format=%ct", revision(), cwd=ROOT)
    )


def checkout(folder: Path) -> Path:
    """A copy of what is committed, with the built portal."""
    folder.mkdir(parents=True)
    archive = folder / "tree.tar"
    run("git", "archive", "-o", archive, revision(), cwd=ROOT)
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


class Signer:
    """A key of this rehearsal: cosign's, or openssl's where cosign cannot be built."""

    def __init__(self, home: Path) -> None:
        home.mkdir()
        self._home = home
        self.cosign: Path | None = None
        try:
            build(PROGRAMS["cosign2"])
        except BuildError as error:
            say(f"signed by openssl: {error}")
            self.key, self.public = home / "release.key", home / "release.pub"
            run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.key)
            run("openssl", "ec", "-in", self.key, "-pubout", "-out", self.public)
            return
        self.cosign = PROGRAMS["cosign2"].path
        self.key, self.public = home / "cosign.key", home / "cosign.pub"
        self.run("generate-key-pair")

    def run(self, *words: str | Path) -> str:
        """Run cosign."""
        assert self.cosign is not None
        env = {"COSIGN_PASSWORD": "rehearsal", "HOME": str(self._home)}
        return run(self.cosign, *words, env=env, cwd=self._home)

    def sign_file(self, file: Path) -> None:
        """Write the signature next to `file`, and verify it."""
        signature = file.with_name(f"{file.name}.sig")
        if self.cosign is None:
            run("openssl", "dgst", "-sha256", "-sign", self.key, "-out", signature, file)
            run("openssl", "dgst", "-sha256", "-verify", self.public, "-signature", signature, file)
            return
        self.run("sign-blob", "--yes", "--tlog-upload=false", "--key", self.key,
                 "--output-signature", signature, file)  # fmt: skip
        self.run("verify-blob", "--insecure-ignore-tlog=true", "--key", self.public,
                 "--signature", signature, file)  # fmt: skip

    def sign_image(self, image: str, statements: Mapping[str, Path]) -> None:
        """Sign an image and its parts, and attest `statements` (type of predicate: file); verify all."""
        login = ("--registry-username", "admin", "--registry-password", PASSWORD)
        key = ("--key", self.key, "--tlog-upload=false", "--yes")
        known = ("--key", self.public, "--insecure-ignore-tlog=true")
        self.run("sign", "--recursive", *key, *login, image)
        self.run("verify", *known, *login, image)
        for kind, file in statements.items():
            self.run("attest", "--type", kind, "--predicate", file, *key, *login, image)
            self.run("verify-attestation", "--type", kind, *known, *login, image)


def sign(folder: Path, signer: Signer) -> None:
    """SHA256SUMS and its signature, verified."""
    sums = folder / "SHA256SUMS"
    files = sorted(path for path in folder.iterdir() if path != sums)
    sums.write_text("".join(f"{digest_of(path)}  {path.name}\n" for path in files))
    shutil.copy(signer.public, folder / "rehearsal.pub")
    signer.sign_file(sums)
    by = "cosign" if signer.cosign else "openssl"
    say(f"SHA256SUMS signed and verified by {by}, with a key of this rehearsal")


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def ready(address: str, process: subprocess.Popen[bytes], log: Path) -> str:
    """The address, once the registry there is ready. Raises ReleaseError when it ends, or in five minutes."""
    end = time.monotonic() + 300
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"http://{address}/readyz", timeout=5):
                return address
        except OSError:
            if process.poll() is not None:
                raise ReleaseError(f"seawall serve ended: {log.read_text()[-300:]}") from None
            time.sleep(0.2)
    raise ReleaseError(f"seawall serve is not ready after five minutes: {log.read_text()[-300:]}")


@contextmanager
def served(seawall: Path, folder: Path) -> Iterator[str]:
    """The address of a registry that is started from an installed Seawall."""
    port = free_port()
    env = {**os.environ, "SEAWALL_ADMIN_PASSWORD": PASSWORD}
    command = [str(seawall), "serve", "--port", str(port), "--data-dir", str(folder / "data")]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=env, cwd=folder, stdout=log, stderr=log)
    try:
        yield ready(f"127.0.0.1:{port}", process, folder / "log")
    finally:
        process.terminate()
        process.wait(60)


def install(folder: Path, *arguments: str | Path) -> Path:
    """`seawall` in a clean environment, installed by pip without an index."""
    run(sys.executable, "-m", "venv", folder)
    run(folder / "bin" / "pip", "--isolated", "install", "-q", "--no-index", *arguments)
    return folder / "bin" / "seawall"


def smoke(
    seawall: Path, address: str, data: Path, number: str, fsck: Callable[[], object] | None = None
) -> None:
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
    if fsck is not None:
        fsck()
    else:
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


class Image:
    """The image, built twice; what two stores push must be one digest."""

    def __init__(self, temporary: Path, bundle: Path, number: str, moment: int) -> None:
        self._number = number
        architectures = release_image.reasons(release_image.MACHINES)
        bundles = {}
        for architecture in architectures:
            machine = release_image.MACHINES[architecture]
            bundles[architecture] = bundle
            if machine != platform.machine():
                bundles[architecture] = _bundle_for(machine, temporary, bundle, number)
        self._bundle, self._built = bundle, []
        self._bases: dict[str, Path] = {}
        for turn in ("one", "two"):
            # Short: podman takes no long paths.
            folder = temporary / turn[0]
            folder.mkdir()
            self._bases = {name: folder / f"{name}.tar" for name in architectures}
            for name, archive_ in self._bases.items():
                release_image.base(archive_, name, moment)
            store = release_image.Store(folder)
            self._built.append(store.make(bundles, self._bases, number, revision(), moment))
            say(f"image built ({turn}): {', '.join(architectures)}")

    def push(self, address: str, out: Path, work: Path, moment: int) -> None:
        """Push both builds into a started Seawall, compare, pull; the files of the release go to `out`."""
        name = f"{address}/library/seawall-image"
        digests = []
        for built, tag in zip(self._built, (f"{self._number}-again", self._number), strict=True):
            digests.append(built.store.push(built, f"{name}:{tag}", PASSWORD))
        if digests[0] != digests[1]:
            raise ReleaseError(f"two builds of the image differ: {' and '.join(digests)}")
        self.name = f"{name}@{digests[0]}"
        say(f"image built twice and pushed into a started Seawall, equal: {digests[0]}")
        run("skopeo", "copy", "-q", "--all", "--preserve-digests", "--src-tls-verify=false",
            f"docker://{name}:{self._number}", f"dir:{work / 'image'}")  # fmt: skip
        if (got := f"sha256:{digest_of(work / 'image' / 'manifest.json')}") != digests[0]:
            raise ReleaseError(f"the image was pulled as {got}, not {digests[0]}")
        packed(out / f"seawall-image-{self._number}.tar", work / "image", moment)
        found = [release_image.debian_packages(path, name) for name, path in sorted(self._bases.items())]
        self.sbom = out / "image-sbom.cdx.json"
        every = [item for packages in found for item in packages]
        self.sbom.write_bytes(release_image.sbom(self._bundle / "sbom.cdx.json", every))
        self.provenance = out / "image-provenance.json"
        stated = release_image.provenance(self._number, revision(), moment, self._bases)
        self.provenance.write_text(json.dumps(stated, indent=2) + "\n")

    def try_out(self, seawall: Path, signer: Signer, work: Path) -> None:
        """Sign the image that was pushed, pull it and run it as a registry."""
        if signer.cosign is not None:
            signer.sign_image(self.name, {"cyclonedx": self.sbom, "slsaprovenance1": self.provenance})
            say("image signed; SBOM and provenance attested; all of it verified by cosign")
        else:
            say("LEFT OUT: the image is not signed, since there is no cosign")
        built, number = self._built[-1], self._number
        for architecture in built.architectures:
            store, image = built.store, self.name
            store.podman("pull", "-q", "--tls-verify=false", "--arch", architecture, image)
            options = store.runs(image, architecture)
            if (said := store.podman("run", "--rm", *options, image, "version").strip()) != number:
                raise ReleaseError(f"{architecture}: seawall version says {said}, not {number}")
            folder = work / architecture
            (folder / "data").mkdir(parents=True)
            # For the image's user, whatever its number is in this user's namespace.
            (folder / "data").chmod(0o777)
            kept = ("-v", f"{folder / 'data'}:/var/lib/seawall")
            check = functools.partial(store.podman, "run", "--rm", *options, *kept, image, "fsck")
            with contained(store, image, (*options, *kept), folder, architecture) as there:
                smoke(seawall, there, folder, number, check)
            say(f"image of {architecture} run as it was pulled: pushed, pulled, no fault found")


def _bundle_for(machine: str, temporary: Path, bundle: Path, number: str) -> Path:
    """An unpacked bundle with the wheels of another processor."""
    made = temporary / f"bundle-{machine}.tar.gz"
    run(Path(sys.executable).parent / "seawall", "bundle", "--machine", machine, "-o", made, "--source",
        temporary / "one" / "tree", "--wheels", bundle / "wheels",
        env={"SEAWALL_NO_PORTAL": "1", "SOURCE_DATE_EPOCH": str(epoch())})  # fmt: skip
    with tarfile.open(made) as tar:
        tar.extractall(temporary / machine, filter="data")
    return temporary / machine / f"seawall-{number}"


def packed(target: Path, folder: Path, moment: int) -> None:
    """A tar of a flat folder that depends on its content and `moment` only."""
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(folder.iterdir()):
            entry = tarfile.TarInfo(path.name)
            entry.size, entry.mode, entry.mtime = path.stat().st_size, 0o644, moment
            with path.open("rb") as file:
                tar.addfile(entry, file)


@contextmanager
def contained(
    store: release_image.Store, image: str, options: tuple[str, ...], folder: Path, name: str
) -> Iterator[str]:
    """The address of a registry in a container; its log is in `folder`."""
    port = free_port()
    settings = (f"SEAWALL_HTTP__PORT={port}", f"SEAWALL_ADMIN_PASSWORD={PASSWORD}", "SEAWALL_HTTP__WORKERS=1")
    words = [word for item in settings for word in ("-e", item)]
    command = store.command(
        "run", "--rm", "--name", f"rehearsal-{name}", "--read-only", *options, *words, image,
    )  # fmt: skip
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield ready(f"127.0.0.1:{port}", process, folder / "log")
    finally:
        process.terminate()
        process.wait(120)


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
    # A registry refuses a setting that it does not know, and this is not one.
    os.environ.pop("SEAWALL_RELEASE_TAG", None)
    if run("git", "status", "--porcelain", "--untracked-files=no", cwd=ROOT):
        say("note: what is not committed is not in the release")
    with tempfile.TemporaryDirectory(prefix="sw-", ignore_cleanup_errors=True) as name:
        temporary = Path(name)
        say(f"building {number}, SOURCE_DATE_EPOCH={moment}")
        one = make(temporary / "one", number, moment)
        with tarfile.open(one / f"seawall-offline-{number}.tar.gz") as tar:
            tar.extractall(temporary / "bundle", filter="data")
        bundle = temporary / "bundle" / f"seawall-{number}"
        compare(one, make(temporary / "two", number, moment, bundle / "wheels"))
        check_legal(one)
        (one / "NOTES.md").write_text(notes(number))
        image = None
        if why := release_image.lacking():
            say(f"LEFT OUT: no image: {why}")
        else:
            image = Image(temporary, bundle, number, moment)
        signer = Signer(temporary / "keys")
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
            if image is not None:
                image.push(address, one, work, moment)
            sign(one, signer)
            if image is not None:
                image.try_out(seawall, signer, work)
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
