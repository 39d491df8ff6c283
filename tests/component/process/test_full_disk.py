"""A disk that takes no writes: pulls go on, pushes are refused clearly and leave nothing, probes say why."""

from __future__ import annotations

import errno
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.digests import digest_of
from tests.support.registry import Registry
from tests.support.waiting import until

MIB = 1024 * 1024
LAYER = secrets.token_bytes(MIB)


class Disk:
    """A server whose blobs are on a file system of 16 MiB, which only its own mount namespace has."""

    def __init__(self, registry: Registry, place: Path) -> None:
        self.registry = registry
        self.place = place
        self.http = httpx.Client(base_url=registry.url, auth=registry.admin, timeout=60)

    @property
    def inside(self) -> Path:
        """The file system, seen from outside of the namespace."""
        assert self.registry.process is not None
        return Path(f"/proc/{self.registry.process.pid}/root{self.place}")

    def fill(self) -> None:
        """Take all space that is left."""
        size = 64 * 1024
        with (self.inside / "filler").open("wb", buffering=0) as filler:
            while size:
                try:
                    filler.write(bytes(size))
                except OSError as error:
                    assert error.errno == errno.ENOSPC
                    size //= 2

    def remount(self, option: str) -> None:
        """Make the file system read-only (`ro`) or writable (`rw`)."""
        assert self.registry.process is not None
        subprocess.run(
            [
                *("nsenter", "--mount", f"--target={self.registry.process.pid}"),
                *("mount", "-o", f"remount,{option}", str(self.place)),
            ],
            check=True,
        )

    def push(self, data: bytes) -> httpx.Response:
        """Upload a blob in one request of its session."""
        started = self.http.post("/v2/p/a/blobs/uploads/")
        if started.status_code != 202:
            return started
        location = started.headers["Location"]
        return self.http.put(location, params={"digest": digest_of(data)}, content=data)

    def push_in_chunks(self, data: bytes) -> httpx.Response:
        """Upload a blob in several requests; the first one that fails is the answer."""
        location = self.http.post("/v2/p/a/blobs/uploads/").headers["Location"]
        for start in range(0, len(data), MIB):
            answer = self.http.patch(location, content=data[start : start + MIB])
            if answer.status_code != 202:
                return answer
            location = answer.headers["Location"]
        return self.http.put(location, params={"digest": digest_of(data)})

    def leftovers(self) -> list[str]:
        """Files of upload sessions."""
        return [item.name for item in (self.inside / "uploads").iterdir()]


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    place = tmp_path_factory.mktemp("disk") / "storage"
    place.mkdir()
    registry = Registry(
        tmp_path_factory.mktemp("full") / "data",
        {
            "SEAWALL_STORAGE__ROOT": str(place),
            "SEAWALL_HTTP__WORKERS": "1",
            "SEAWALL_JOBS__EMBEDDED": "false",
        },
    )
    mount = 'mount -t tmpfs -o size=16m tmpfs "$0" && exec "$@"'
    registry.prefix = ["unshare", "--mount", "sh", "-c", mount, str(place)]
    registry.start()
    try:
        registry.create_project("p", public=True)
        found = Disk(registry, place)
        assert found.push(LAYER).status_code == 201
        yield found
    finally:
        registry.close()


@pytest.fixture
def one_disk(tmp_path: Path) -> Iterator[Disk]:
    """The database is on this disk too, as where one command starts everything."""
    place = tmp_path / "disk"
    place.mkdir()
    registry = Registry(place / "data", {"SEAWALL_HTTP__WORKERS": "1", "SEAWALL_JOBS__EMBEDDED": "false"})
    registry.log = tmp_path / "server.log"
    mount = 'mount -t tmpfs -o size=16m tmpfs "$0" && exec "$@"'
    registry.prefix = ["unshare", "--mount", "sh", "-c", mount, str(place)]
    registry.start()
    try:
        registry.create_project("p", public=True)
        yield Disk(registry, place)
    finally:
        registry.close()


def ready(disk: Disk) -> dict[str, Any]:
    answer = disk.http.get("/readyz")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    # These servers run no jobs, which shows when they have run for a while.
    if found["checks"].pop("jobs", "ok") != "ok" and all(part == "ok" for part in found["checks"].values()):
        found["status"] = "ok"
    return found


def serves(disk: Disk) -> None:
    """What is there can be had."""
    url = f"/v2/p/a/blobs/{digest_of(LAYER)}"
    assert disk.http.head(url).status_code == 200
    assert disk.http.get(url).content == LAYER


@pytest.mark.parametrize("way", ["push", "push_in_chunks"])
def test_a_push_that_does_not_fit(disk: Disk, way: str) -> None:
    answer = getattr(disk, way)(secrets.token_bytes(24 * MIB))
    assert answer.status_code == 507, answer.text
    (error,) = answer.json()["errors"]
    assert error["code"] == "UNAVAILABLE"
    assert error["message"] == "storage is full: no space left on device"
    assert disk.leftovers() == []
    # So there is space for what fits.
    assert getattr(disk, way)(secrets.token_bytes(MIB)).status_code == 201


def test_a_full_disk(disk: Disk) -> None:
    disk.fill()
    try:
        assert disk.push(secrets.token_bytes(MIB)).status_code == 507
        shown = until(lambda: s if (s := ready(disk))["status"] == "degraded" else None)
        assert shown["checks"]["storage"] == "storage is full: no space left on device"
        serves(disk)
    finally:
        (disk.inside / "filler").unlink()
    until(lambda: ready(disk)["status"] == "ok", lambda: ready(disk))
    assert disk.push(secrets.token_bytes(MIB)).status_code == 201


def test_a_disk_that_became_read_only(disk: Disk) -> None:
    disk.remount("ro")
    try:
        answer = disk.push(secrets.token_bytes(MIB))
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert answer.json()["errors"][0]["message"] == "storage takes no writes: read-only file system"
        until(lambda: ready(disk)["status"] == "degraded")
        serves(disk)
    finally:
        disk.remount("rw")
    until(lambda: ready(disk)["status"] == "ok", lambda: ready(disk))
    assert disk.push(secrets.token_bytes(MIB)).status_code == 201
    assert "Traceback" not in disk.registry.log.read_text()


def test_what_does_not_fit_leaves_the_database_its_space(one_disk: Disk) -> None:
    """Bytes of a session with a row: the row cannot go as long as they fill the disk."""
    first = secrets.token_bytes(MIB)
    location = one_disk.http.post("/v2/p/a/blobs/uploads/").headers["Location"]
    assert one_disk.http.patch(location, content=first).status_code == 202

    def rest() -> Iterator[bytes]:
        for _ in range(24):
            yield secrets.token_bytes(MIB)

    answer = one_disk.http.patch(location, content=rest())
    assert answer.status_code == 507, answer.text
    assert list((one_disk.inside / "data/blobs/uploads").iterdir()) == []
    assert one_disk.http.get(location).status_code == 404
    assert one_disk.push(secrets.token_bytes(MIB)).status_code == 201


def test_a_blob_without_a_record_leaves_the_database_its_space(one_disk: Disk) -> None:
    """All bytes are there, and the record does not fit any more."""
    data = secrets.token_bytes(MIB)
    location = one_disk.http.post("/v2/p/a/blobs/uploads/").headers["Location"]
    assert one_disk.http.patch(location, content=data).status_code == 202
    one_disk.fill()
    closed = one_disk.http.put(location, params={"digest": digest_of(data)})
    assert closed.status_code == 503, closed.text
    assert closed.headers["Retry-After"]
    stored = one_disk.inside / "data/blobs"
    assert [item for item in stored.rglob("*") if item.is_file()] == []
    # What the filler still has does not matter: there is room for the record of a smaller blob.
    assert one_disk.push(secrets.token_bytes(1000)).status_code == 201
