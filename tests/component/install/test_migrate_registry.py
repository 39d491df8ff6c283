"""`seawall migrate-from-registry` from Debian's docker-registry: over the API, and from its folder."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from seawall.features.replication.adapter import RemoteRegistry
from seawall.features.replication.adapters import open_adapter
from seawall.features.replication.copy import CopyReport
from seawall.features.replication.remote import RemoteError
from seawall.install import registry_move
from tests.support import forked
from tests.support.oci.remote import Remote, Signed, push_signed
from tests.support.processes import PASSWORD, free_port
from tests.support.registry import Registry
from tests.support.servers.docker_registry import DockerRegistry


@dataclass
class Old:
    """The registry to be left, with what was pushed to it."""

    server: DockerRegistry
    remote: Remote
    signed: Signed
    base: bytes

    @property
    def tree(self) -> Path:
        return self.server.root / "data"


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Old]:
    """Two repositories that share a layer, and one with a signed index."""
    server = DockerRegistry(tmp_path_factory.mktemp("old"))
    server.start()
    try:
        remote = Remote(server.url)
        base = os.urandom(200_000)
        remote.push_image("app", "1.0", [base, os.urandom(100)])
        remote.push_image("app", "1.1", [base, os.urandom(100)])
        remote.push_image("team/tool", "2.0", [base])
        signed = push_signed(remote, "team/signed", "v1")
        yield Old(server, remote, signed, base)
    finally:
        server.stop()


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """The Seawall, on SQLite."""
    server = Registry(tmp_path_factory.mktemp("new") / "data")
    server.start()
    try:
        yield server
    finally:
        server.close()


def run(new: Registry, folder: Path, *arguments: str, code: int = 0, **environment: str) -> str:
    given = {**new.environment, "SEAWALL_TARGET_PASSWORD": PASSWORD, **environment}
    command = ["migrate-from-registry", "--target", new.url, *arguments]
    done = forked.run(*command, environment=given, cwd=folder)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_over_the_api(old: Old, new: Registry, tmp_path: Path) -> None:
    here = Remote(new.url, new.admin)
    said = run(new, tmp_path, "--source", old.server.url, "--dry-run")
    assert "app -> library/app: 2 of 2 tags to copy: 1.0, 1.1" in said
    assert here.tags("library/app") == []
    said = run(new, tmp_path, "--source", old.server.url)
    assert "3 repositories" in said
    assert "0 faults" in said
    for repository, there in (
        ("app", "library/app"),
        ("team/tool", "team/tool"),
        ("team/signed", "team/signed"),
    ):
        assert here.tags(there) == old.remote.tags(repository)
        for tag in here.tags(there):
            assert here.digest(there, tag) == old.remote.digest(repository, tag)
            here.check(there, tag)
    assert old.signed.cosign_tag in here.tags("team/signed")
    # The layer that all of them have was sent once.
    counted = re.findall(r"(\d+) blobs \((\d+) bytes\), (\d+) mounted", said)
    assert sum(int(sent) for _, sent, _ in counted) < 2 * len(old.base)
    assert sum(int(mounted) for *_, mounted in counted) >= 1
    assert new.api("GET", "/projects/team").json()["metadata"]["public"] == "false"
    # Again: nothing; then just what is new.
    assert " 0 artifacts copied" in run(new, tmp_path, "--source", old.server.url).splitlines()[-1]
    old.remote.push_image("app", "1.2", [old.base])
    said = run(new, tmp_path, "--source", old.server.url, "--repository", "app")
    assert said.splitlines()[-1].startswith("1 repositories, 1 artifacts copied")
    assert here.digest("library/app", "1.2") == old.remote.digest("app", "1.2")
    assert "0 tags to copy" in run(new, tmp_path, "--source", old.server.url, "--dry-run").splitlines()[-1]


def test_from_the_folder(old: Old, new: Registry, tmp_path: Path) -> None:
    here = Remote(new.url, new.admin)
    untagged = old.remote.push_image("team/tool", None)["digest"]
    damaged = os.urandom(5000)
    old.remote.push_image("broken", "1", [damaged])
    (file,) = [path for path in old.tree.rglob("data") if path.is_file() and path.read_bytes() == damaged]
    file.write_bytes(damaged[:-1] + b"x" if damaged[-1:] != b"x" else damaged[:-1] + b"y")
    said = run(new, tmp_path, "--tree", str(old.tree), "--project", "archive", "--untagged", code=1)
    assert re.search(r"FAILED broken:1: .*damaged", said)
    assert said.splitlines()[-1].endswith(" faults")
    assert here.tags("archive/broken") == []
    for repository in ("app", "team/tool", "team/signed"):
        assert here.tags(f"archive/{repository}") == old.remote.tags(repository)
        for tag in old.remote.tags(repository):
            assert here.digest(f"archive/{repository}", tag) == old.remote.digest(repository, tag)
            here.check(f"archive/{repository}", tag)
    assert here.digest("archive/team/tool", untagged) == untagged
    # The folder tells of referrers, which docker-registry's API does not.
    assert old.signed.signature in here.referrers("archive/team/signed", old.signed.index)
    # Once that is repaired, the rest arrives.
    file.write_bytes(damaged)
    run(new, tmp_path, "--tree", str(old.tree), "--project", "archive", "--repository", "broken")
    here.check("archive/broken", "1")


class Breaking(registry_move.ApiOrigin):
    """A source whose connection breaks within each blob after some MiB."""

    def __init__(self, server: DockerRegistry, after: int) -> None:
        self._opened = open_adapter(RemoteRegistry(0, "old", "docker-registry", server.url))
        super().__init__(self._opened)
        self._after = after
        self.asked: list[int] = []
        self._whole = self.source.blob
        self.source.blob = self._broken  # type: ignore[method-assign]

    async def _broken(self, repository: str, digest: str, offset: int = 0) -> AsyncIterator[bytes]:
        self.asked.append(offset)
        passed = 0
        async for piece in self._whole(repository, digest, offset):
            yield piece
            passed += len(piece)
            if self._after and passed > self._after:
                raise RemoteError("the connection broke")

    async def close(self) -> None:
        await self._opened.close()


def test_goes_on_within_a_large_blob(old: Old, new: Registry, tmp_path: Path) -> None:
    old.remote.push_image("large", "1", [os.urandom(24 * 1024 * 1024)])
    state = tmp_path / "state.json"

    async def attempt(after: int) -> tuple[registry_move.Outcome, list[int]]:
        origin = Breaking(old.server, after)
        target = open_adapter(RemoteRegistry(0, "new", "seawall", new.url, *new.admin))
        try:
            outcome = await registry_move.move(
                origin, target, wanted=["large"], state=registry_move.State(state), say=lambda _: None
            )
            return outcome, origin.asked
        finally:
            await target.close()
            await origin.close()

    first, _ = asyncio.run(attempt(9 * 1024 * 1024))
    assert len(first.failed) == 1
    assert first.report == CopyReport(blobs=first.report.blobs, bytes=first.report.bytes)
    assert state.exists()
    second, asked = asyncio.run(attempt(0))
    assert second.failed == []
    # The large blob was asked for from where it had broken off.
    assert max(asked) > 0
    assert not state.exists()
    Remote(new.url, new.admin).check("library/large", "1")


def test_faults_are_one_line(old: Old, new: Registry, tmp_path: Path) -> None:
    source = ["--source", old.server.url]
    (tmp_path / "wrong").write_text("wrong\n")
    for arguments, said in (
        ([], "either --source or --tree"),
        ([*source, "--tree", str(old.tree)], "either --source or --tree"),
        ([*source, "--untagged"], "--untagged needs --tree"),
        (["--source", "old.example.com"], "must start with http"),
        (["--source", f"http://127.0.0.1:{free_port()}"], "127.0.0.1"),
        (["--tree", str(tmp_path)], "no registry there"),
        ([*source, "--type", "nonsense"], "nonsense"),
        ([*source, "--repository", "nobody/**"], "no repository nobody/**"),
        ([*source, "--target-password-file", str(tmp_path / "wrong")], "401"),
        ([*source, "--target-password-file", str(tmp_path / "none")], "No such file"),
        ([*source, "--source-user", "me"], "SEAWALL_SOURCE_PASSWORD"),
    ):
        last = run(new, tmp_path, *arguments, code=1).strip().splitlines()[-1]
        assert last.startswith("seawall: "), last
        assert said in last, last
