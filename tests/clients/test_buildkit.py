"""BuildKit against one instance: images, their base images, attestations, and its cache in each form."""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support.foreign import PROGRAMS, build
from tests.support.oci.clients import Shell
from tests.support.oci.remote import Remote
from tests.support.setups import ADMIN, Setup
from tests.support.waiting import until

CLIENT = "buildctl"
FORMS = {"as an index": "image-manifest=false", "as a manifest": "image-manifest=true"}


@dataclass
class Builder:
    """A buildkitd of its own, signed in, and a private project."""

    setup: Setup
    shell: Shell
    address: str
    project: str

    def __post_init__(self) -> None:
        self.remote = Remote(self.setup.url, ADMIN)
        secret = base64.b64encode(":".join(ADMIN).encode()).decode()
        (self.shell.home / "docker" / "config.json").write_text(
            json.dumps({"auths": {self.setup.host: {"auth": secret}}})
        )

    def name(self, reference: str) -> str:
        return f"{self.setup.host}/{self.project}/{reference}"

    def build(self, dockerfile: str, image: str, *flags: str) -> str:
        """Build and push; returns what it said of its steps."""
        context = self.shell.home / "context"
        context.mkdir(exist_ok=True)
        (context / "Dockerfile").write_text(dockerfile)
        if not (context / "data").exists():
            (context / "data").write_bytes(secrets.token_bytes(300_000))
        return self.shell.both(
            CLIENT, "--addr", self.address, "build", "--progress=plain", "--frontend=dockerfile.v0",
            f"--local=context={context}", f"--local=dockerfile={context}",
            f"--output=type=image,name={self.name(image)},push=true,registry.insecure=true", *flags,
        )  # fmt: skip

    def forget(self) -> None:
        """Remove all that the builder has in its own cache."""
        self.shell(CLIENT, "--addr", self.address, "prune", "--all")

    def collect(self) -> None:
        """Run garbage collection, with what no tag names."""
        url = f"{self.setup.url}/api/v2.0/system/gc"
        made = httpx.post(
            f"{url}/schedule",
            json={"schedule": {"type": "Manual"}, "parameters": {"delete_untagged": True}},
            auth=ADMIN,
        )
        assert made.status_code == 201, made.text
        [run] = httpx.get(url, params={"page_size": 1, "sort": "-creation_time"}, auth=ADMIN).json()
        until(
            lambda: httpx.get(f"{url}/{run['id']}", auth=ADMIN).json()["job_status"] == "Success",
            "garbage collection did not end",
        )


@pytest.fixture
def builder(
    single: Setup, shell: Shell, tmp_path: Path, record_property: Callable[[str, object], None]
) -> Iterator[Builder]:
    for name in (CLIENT, "buildkitd"):
        build(PROGRAMS[name])
    record_property("client", CLIENT)
    address = f"unix://{tmp_path}/buildkitd.sock"
    (tmp_path / "buildkitd.toml").write_text(
        f'[registry."{single.host}"]\n  http = true\n'
        f'[worker.oci]\n  snapshotter = "native"\n  gc = false\n[worker.containerd]\n  enabled = false\n'
    )
    command = [
        str(PROGRAMS["buildkitd"].path), f"--config={tmp_path}/buildkitd.toml", f"--root={tmp_path}/state",
        f"--addr={address}",
    ]  # fmt: skip
    with (tmp_path / "log").open("ab") as log:
        daemon = subprocess.Popen(command, stdout=log, stderr=log, env=shell.env)
    try:
        made = Builder(single, shell, address, single.project())
        until(
            lambda: made.shell(CLIENT, "--addr", address, "debug", "workers"),
            lambda: (tmp_path / "log").read_text(),
            ignoring=(AssertionError,),
        )
        yield made
    finally:
        daemon.terminate()
        daemon.wait()


def test_build_on_a_base_image(builder: Builder) -> None:
    builder.build("FROM scratch\nCOPY data /data\n", "base:v1")
    said = builder.build(f"FROM {builder.name('base:v1')}\nCOPY data /more\n", "app:v1")
    assert "pushing manifest" in said
    builder.remote.check(f"{builder.project}/base", "v1")
    builder.remote.check(f"{builder.project}/app", "v1")


def test_attestations(builder: Builder) -> None:
    """An index with the image and what was said of how it was built."""
    builder.build("FROM scratch\nCOPY data /data\n", "app:v1", "--opt=attest:provenance=mode=max")
    builder.remote.check(f"{builder.project}/app", "v1")
    url = f"{builder.setup.url}/api/v2.0/projects/{builder.project}/repositories/app/artifacts/v1"
    found = httpx.get(url, auth=ADMIN).json()
    assert found["manifest_media_type"] == "application/vnd.oci.image.index.v1+json"
    kinds = [(item.get("annotations") or {}).get("vnd.docker.reference.type") for item in found["references"]]
    assert kinds.count("attestation-manifest") == 1, found


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_cache(
    builder: Builder, form: str, compression: str, record_property: Callable[[str, object], None]
) -> None:
    """What the cache holds outlives garbage collection, and spares a builder that knows nothing the work."""
    record_property("way", f"{form}, {compression}")
    dockerfile = "FROM scratch AS one\nCOPY data /data\nFROM scratch\nCOPY --from=one /data /copied\n"
    cache = f"ref={builder.name('cache:v1')},registry.insecure=true"
    builder.build(
        dockerfile,
        "app:v1",
        f"--export-cache=type=registry,{cache},mode=max,{FORMS[form]},compression={compression},force-compression=true",
    )
    builder.forget()
    builder.collect()
    said = builder.build(dockerfile, "app:v2", f"--import-cache=type=registry,{cache}")
    assert said.count("CACHED") == 2, said
    # With it the image is made of what the cache stored.
    builder.remote.check(f"{builder.project}/app", "v2")


def test_a_guest_is_refused(builder: Builder) -> None:
    user, password = builder.setup.member(builder.project, 3)
    secret = base64.b64encode(f"{user}:{password}".encode()).decode()
    (builder.shell.home / "docker" / "config.json").write_text(
        json.dumps({"auths": {builder.setup.host: {"auth": secret}}})
    )
    (builder.shell.home / "context").mkdir()
    with pytest.raises(AssertionError, match=r"unauthorized to access repository|denied|403"):
        builder.build("FROM scratch\nCOPY data /data\n", "app:v1")
    assert builder.remote.digest(f"{builder.project}/app", "v1") is None
