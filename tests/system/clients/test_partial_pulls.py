"""zstd:chunked with podman: of a changed image only the changed chunks come over the wire."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.oci.client import unique
from tests.support.oci.clients import Shell, Team
from tests.support.servers.proxy import TcpProxy

PROGRAMS = ("podman", "buildah")
FILES, SIZE = 100, 50_000
CHANGED = (7, 8, 30, 77)


class Store:
    """A store of images with the overlay driver, which partial pulls need."""

    def __init__(self, shell: Shell, root: Path) -> None:
        root.mkdir()
        conf = root / "storage.conf"
        conf.write_text(
            f'[storage]\ndriver = "overlay"\nrunroot = "{root}/run"\ngraphroot = "{root}/graph"\n'
            '[storage.options]\npull_options = {enable_partial_images = "true", use_hard_links = "false"}\n'
        )
        self._env = ("env", f"CONTAINERS_STORAGE_CONF={conf}")
        self._shell = shell

    def __call__(self, *command: str | Path) -> str:
        return self._shell(*self._env, *command)

    def podman(self, *command: str | Path) -> str:
        return self("podman", "--cgroup-manager", "cgroupfs", "--events-backend", "none", *command)


@pytest.fixture
def stores(shell: Shell) -> Iterator[tuple[Store, Store]]:
    # podman takes no run folder with a path longer than 50 characters.
    with tempfile.TemporaryDirectory(prefix="box-", ignore_cleanup_errors=True) as root:
        made = Store(shell, Path(root) / "a"), Store(shell, Path(root) / "b")
        yield made
        for store in made:
            store("buildah", "rm", "--all")
            store.podman("rmi", "--all", "--force")


def test_only_changed_chunks_are_fetched(stores: tuple[Store, Store], team: Team, shell: Shell) -> None:
    ours, theirs = stores
    link = TcpProxy(("127.0.0.1", int(team.registry.host.rpartition(":")[2])))
    there = f"127.0.0.1:{link.port}"
    user = ["--tls-verify=false", "--creds", ":".join(team.developer)]
    files = shell.home / "files"
    files.mkdir()
    for number in range(FILES):
        (files / f"{number:03}").write_bytes(os.urandom(SIZE))
    repository = f"{there}/{team.private}/{unique('chunked')}"
    fetched = []
    try:
        for tag in ("v1", "v2"):
            container = ours("buildah", "from", "scratch").strip()
            ours("buildah", "copy", "-q", container, files, "/data")
            ours("buildah", "commit", "-q", container, f"img:{tag}")
            image = f"{repository}:{tag}"
            ours("buildah", "push", "-q", *user, "--compression-format", "zstd:chunked", f"img:{tag}", image)
            before = link.answered
            theirs.podman("pull", "-q", *user, image)
            fetched.append(link.answered - before)
            for number in CHANGED:
                (files / f"{number:03}").write_bytes(os.urandom(SIZE))
        # The files of both versions are what was pushed.
        container = theirs("buildah", "from", "--pull-never", f"{repository}:v2").strip()
        mounted = Path(theirs("buildah", "mount", container).strip())
        pushed = Path(ours("buildah", "mount", ours("buildah", "from", "img:v2").strip()).strip())
        for path in sorted((pushed / "data").iterdir()):
            assert (mounted / "data" / path.name).read_bytes() == path.read_bytes()
    finally:
        link.close()
    whole, part = fetched
    assert whole > FILES * SIZE
    # The chunks, and the table of contents that says which they are.
    assert len(CHANGED) * SIZE < part < len(CHANGED) * SIZE + whole // 20, fetched
    print(f"the changed image: {part:,} of {whole:,} bytes")
