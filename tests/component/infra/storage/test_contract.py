"""What every storage backend must do: filesystem, a real S3 server, Azure's Blob service (Azurite),
and the XML API of Google Cloud Storage (moto's S3 behind Google's authentication)."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seawall.infra.settings import StorageSettings
from seawall.infra.storage import BlobStorage, FilesystemStorage, ObjectStorage
from seawall.infra.storage.base import UploadLostError
from seawall.infra.storage.connect import open_objects
from seawall.infra.storage.objects import MIB, SESSION_SECONDS
from seawall.infra.storage.tree import tree_key
from seawall.kernel.errors import UnavailableError
from tests.support.processes import free_port
from tests.support.servers.azurite import AzuriteServer
from tests.support.servers.gcs import GcsServer
from tests.support.servers.swift import SwiftServer

PART = 5 * MIB
KEY = "ab" * 32 + ".sha256.00000000"
ID = "0f1e2d3c-0000-4000-8000-000000000001"


@dataclass
class Backend:
    """`open()` gives the storage as another instance would open it."""

    name: str
    open: Callable[[], BlobStorage]


@pytest.fixture(scope="session")
def azurite() -> Iterator[AzuriteServer]:
    server = AzuriteServer()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def gcs() -> Iterator[GcsServer]:
    server = GcsServer()
    server.start()
    yield server
    server.stop()


# "s3-files": with nothing of uploads in memory, as when there are many clients.
@pytest.fixture(params=["filesystem", "s3", "s3-files", "azure", "gcs"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    if request.param == "filesystem":
        return Backend("filesystem", lambda: FilesystemStorage(tmp_path / "store"))
    if request.param in ("azure", "gcs"):
        if request.param == "azure":
            azure: AzuriteServer = request.getfixturevalue("azurite")
            where = azure.settings(azure.container(), "some/where")
        else:
            google: GcsServer = request.getfixturevalue("gcs")
            where = google.settings(google.bucket(), "some/where")

        def opened() -> BlobStorage:
            storage = open_objects(where)
            storage.part_bytes, storage.parallel = PART, 2
            return storage

        return Backend(request.param, opened)
    server: SwiftServer = request.getfixturevalue("s3_server")
    bucket = server.bucket()
    memory = 0 if request.param == "s3-files" else 128 * MIB
    return Backend(
        "s3",
        lambda: ObjectStorage(
            server.store(bucket), prefix="some/where", part_bytes=PART, parallel=2, upload_memory=memory
        ),
    )


def test_broken_multipart_uploads_are_aborted(s3_server: SwiftServer) -> None:
    """Of the prefix only, and only the old ones; seen with another client."""
    bucket = s3_server.bucket()
    values = s3_server.settings(bucket)
    s3 = {key.rpartition("__")[2].lower(): value for key, value in values.items() if "__S3__" in key}
    client = boto3.client(
        "s3",
        endpoint_url=s3["regionendpoint"],
        region_name=s3["region"],
        aws_access_key_id=s3["accesskey"],
        aws_secret_access_key=s3["secretkey"],
        config=Config(proxies={}, s3={"addressing_style": "path"}),
    )
    names = ["in/uploads/a b+c", "in/uploads/d", "out/uploads/e"]
    for name in names:
        upload = client.create_multipart_upload(Bucket=bucket, Key=name)["UploadId"]
        client.upload_part(Bucket=bucket, Key=name, UploadId=upload, PartNumber=1, Body=b"x" * 100)

    def left() -> list[str]:
        return [item["Key"] for item in client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]

    section = {**s3, "rootdirectory": "in"}
    storage = open_objects(StorageSettings.model_validate({"driver": "s3", "s3": section}))
    assert sorted(left()) == names
    assert run(storage.drop_broken(time.time() - 3600)) == 0
    assert sorted(left()) == names
    assert run(storage.drop_broken(time.time() + 60)) == 2
    assert left() == names[2:]


def run(work: Awaitable[Any]) -> Any:
    async def main() -> Any:
        return await work

    return asyncio.run(main())


async def everything(storage: BlobStorage, key: str, start: int = 0, end: int | None = None) -> bytes:
    if end is None:
        end = await storage.size(key)
        assert end is not None, "absent"
    return b"".join([chunk async for chunk in storage.stream(key, start, end)])


async def keys(storage: BlobStorage) -> dict[str, int]:
    return {item.key: item.size async for item in storage.list()}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_put_and_read(backend: Backend, size: int) -> None:
    data = random.Random(size).randbytes(size)

    async def work() -> None:
        storage = backend.open()
        assert await storage.size(KEY) is None
        await storage.put(KEY, data)
        other = backend.open()
        assert await other.size(KEY) == size
        assert await everything(other, KEY) == data
        assert await keys(other) == {KEY: size}
        await other.delete(KEY)
        await other.delete(KEY)
        assert await storage.size(KEY) is None
        assert await keys(storage) == {}
        with pytest.raises(FileNotFoundError):
            await everything(storage, KEY, 0, 1)
        await storage.check()

    run(work())


def test_many_are_deleted_at_once(backend: Backend) -> None:
    """Absent ones among them, in the order of the list before and after those that are there."""
    names = [f"{number:02x}" * 32 + ".sha256.00000000" for number in range(6)]

    async def body() -> None:
        storage = backend.open()
        for key in (names[1], names[2], names[4], names[5]):
            await storage.put(key, b"x")
        await storage.delete_all(names[:5])
        assert [key for key in names if await storage.size(key) is not None] == [names[5]]
        await storage.delete_all([])
        await storage.delete_all([names[5]])
        assert not set(names) & set(await keys(storage))

    run(body())


def test_blobs_of_an_adopted_tree(backend: Backend) -> None:
    """They are read as others, listed apart, and no orphans."""
    data = b"of the tree"
    key = tree_key(f"sha256:{sha256(data)}")

    async def work() -> None:
        storage = backend.open()
        assert [item async for item in storage.list_tree()] == []
        await storage.put(key, data)
        await storage.put(KEY, b"ours")
        other = backend.open()
        assert {item.key: item.size async for item in other.list_tree()} == {key: len(data)}
        assert await keys(other) == {KEY: 4}
        assert await other.size(key) == len(data)
        assert await everything(other, key, 3) == data[3:]
        await other.delete(key)
        assert [item async for item in storage.list_tree()] == []

    run(work())


def test_ranges_of_a_large_blob(backend: Backend) -> None:
    size = 23 * MIB + 17
    data = random.Random(1).randbytes(size)

    async def work() -> None:
        storage = backend.open()
        writer = await storage.open_upload(ID, 0, {})
        for start in range(0, size, MIB):
            await writer.write(data[start : start + MIB])
        assert writer.offset == size
        assert await writer.digest("sha256") == sha256(data)
        key = await writer.commit(KEY)
        await writer.finish()
        await writer.release()
        assert await storage.size(key) == size
        for start, end in ((0, size), (0, 1), (size - 1, size), (3 * MIB, 22 * MIB + 5), (5, 5)):
            assert await everything(storage, key, start, end) == data[start:end]
        found = [item async for item in storage.list()]
        assert [item.key for item in found] == [key]
        # Never older than it is: the sweep for orphans goes by this.
        assert found[0].modified > time.time() - 120
        await storage.delete(key)
        assert await keys(storage) == {}

    run(work())


def test_session_moves_between_instances(backend: Backend) -> None:
    chunks = [random.Random(n).randbytes(size) for n, size in enumerate([7, 6 * MIB, 0, 11 * MIB + 3, 1])]
    data = b"".join(chunks)

    async def work() -> None:
        state: dict[str, Any] = {}
        offset = 0
        for chunk in chunks:
            writer = await backend.open().open_upload(ID, offset, state)
            await writer.write(chunk)
            offset, state = writer.offset, await writer.pause()
        assert offset == len(data)
        last = backend.open()
        writer = await last.open_upload(ID, offset, state)
        assert await writer.digest("sha512") == hashlib.sha512(data).hexdigest()
        assert await writer.digest("sha256") == sha256(data)
        key = await writer.commit(KEY)
        await writer.finish()
        assert await everything(backend.open(), key) == data
        assert await keys(last) == {key: len(data)}, "the parts are still there"

    run(work())


def test_one_request_needs_no_second_look_at_its_bytes(backend: Backend) -> None:
    """The usual push: one request with the bytes, a closing one without, on another instance."""
    data = random.Random(3).randbytes(2 * MIB)

    async def work() -> None:
        writer = await backend.open().open_upload(ID, 0, {})
        await writer.write(data)
        state = await writer.pause()
        writer = await backend.open().open_upload(ID, len(data), state)
        assert await writer.digest("sha256") == sha256(data)
        key = await writer.commit(KEY)
        await writer.finish()
        assert await everything(backend.open(), key) == data

    run(work())


def test_broken_request_leaves_the_session_as_it_was(backend: Backend) -> None:
    first, second = random.Random(4).randbytes(7 * MIB), random.Random(5).randbytes(8 * MIB)

    async def work() -> None:
        writer = await backend.open().open_upload(ID, 0, {})
        await writer.write(first)
        state = await writer.pause()
        lost = await backend.open().open_upload(ID, len(first), state)
        await lost.write(b"x" * 6 * MIB)
        await lost.release()
        writer = await backend.open().open_upload(ID, len(first), state)
        assert writer.offset == len(first)
        await writer.write(second)
        assert await writer.digest("sha256") == sha256(first + second)
        key = await writer.commit(KEY)
        await writer.finish()
        assert await everything(backend.open(), key) == first + second

    run(work())


@pytest.mark.parametrize("sizes", [(0,), (1,), (20_000,), (20_000, 20_000), (32_768, 1), (20_000, 200_000)])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_the_request_that_ends_a_session(backend: Backend, sizes: tuple[int, ...], algorithm: str) -> None:
    """Whatever is written with the commit only is hashed, counted and durable as everything else."""

    async def body() -> None:
        storage = backend.open()
        pieces = [os.urandom(size) for size in sizes]
        data = b"".join(pieces)
        writer = await storage.open_upload(ID, 0, {}, last=True)
        for piece in pieces:
            await writer.write(piece)
        assert writer.offset == len(data)
        assert await writer.digest(algorithm) == hashlib.new(algorithm, data).hexdigest()
        key = await writer.commit(KEY)
        await writer.finish()
        await writer.release()
        assert await everything(backend.open(), key) == data
        await storage.delete(key)

    asyncio.run(body())


def test_the_request_that_ends_a_session_breaks_off(backend: Backend) -> None:
    async def body() -> None:
        storage = backend.open()
        writer = await storage.open_upload(ID, 0, {}, last=True)
        await writer.write(b"kept")
        state = await writer.pause()
        other = await backend.open().open_upload(ID, 4, state, last=True)
        await other.write(b" and gone")
        await other.release()
        third = await storage.open_upload(ID, 4, state, last=True)
        await third.write(b" and ended")
        key = await third.commit(KEY)
        await third.finish()
        await third.release()
        assert await everything(storage, key) == b"kept and ended"
        await storage.delete(key)
        dropped = await storage.open_upload(ID, 0, {}, last=True)
        await dropped.write(b"dropped")
        await dropped.abort()
        assert await keys(storage) == {}

    asyncio.run(body())


def test_abort_and_drop_leave_nothing(backend: Backend) -> None:
    async def work() -> None:
        storage = backend.open()
        writer = await storage.open_upload(ID, 0, {})
        await writer.write(b"x" * 12 * MIB)
        await writer.abort()
        assert await keys(storage) == {}
        writer = await storage.open_upload(ID, 0, {})
        await writer.write(b"y" * 12 * MIB)
        state = await writer.pause()
        await backend.open().drop_upload(ID, state)
        await backend.open().drop_upload(ID, state)
        with pytest.raises(UploadLostError):
            await (await storage.open_upload(ID, 12 * MIB, state)).digest("sha512")
        assert await keys(storage) == {}

    run(work())


def test_abort_after_commit_keeps_the_blob(backend: Backend) -> None:
    """The metadata may name it already, though this request does not know."""

    async def work() -> None:
        storage = backend.open()
        for size in (100, 12 * MIB):
            writer = await storage.open_upload(ID, 0, {})
            await writer.write(b"z" * size)
            key = await writer.commit(KEY)
            await writer.abort()
            assert await storage.size(key) == size
            await storage.delete(key)

    run(work())


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.integers(0, 200_000), st.booleans(), st.booleans()), max_size=6))
def test_any_way_of_cutting_a_blob(backend: Backend, steps: list[tuple[int, bool, bool]]) -> None:
    """Requests of any size, some broken off, on the same or another instance: the bytes add up."""

    async def work() -> None:
        storage = backend.open()
        session = os.urandom(16).hex()
        state: dict[str, Any] = {}
        kept = b""
        for size, broken, elsewhere in steps:
            storage = backend.open() if elsewhere else storage
            writer = await storage.open_upload(session, len(kept), state)
            data = os.urandom(size)
            await writer.write(data)
            if broken:
                await writer.release()
            else:
                state = await writer.pause()
                kept += data
        writer = await storage.open_upload(session, len(kept), state)
        assert await writer.digest("sha256") == sha256(kept)
        key = await writer.commit(f"{sha256(kept)}.sha256.{os.urandom(4).hex()}")
        await writer.finish()
        assert await everything(storage, key) == kept

    run(work())


def test_parts_of_running_sessions_are_out_of_the_sweeps_reach(s3_server: SwiftServer) -> None:
    storage = ObjectStorage(s3_server.store(s3_server.bucket()))

    async def work() -> None:
        writer = await storage.open_upload(ID, 0, {})
        await writer.write(b"x" * 1000)
        state = await writer.pause()
        found = [item async for item in storage.list()]
        assert len(found) == 1
        assert found[0].modified > time.time() + SESSION_SECONDS - 120
        # And no session goes on long enough to lose them.
        old = {**state, "since": time.time() - SESSION_SECONDS}
        with pytest.raises(UploadLostError, match="too old"):
            await storage.open_upload(ID, 1000, old)

    run(work())


def test_presigned_redirect_of_google(gcs: GcsServer) -> None:
    storage = open_objects(gcs.settings(gcs.bucket(), "some/where"))

    async def main() -> str:
        await storage.put(KEY, b"0123456789")
        return str(storage.locate(KEY).url)

    url = run(main())
    with httpx.Client() as client:
        assert client.get(url).content == b"0123456789", gcs.refused
        assert client.get(url, headers={"Range": "bytes=2-4"}).content == b"234"
        assert client.get(url.replace(KEY[:8], "cd" * 4)).status_code == 403
        assert client.get(url.partition("?")[0]).status_code == 403


def test_presigned_redirect(s3_server: SwiftServer) -> None:
    bucket = s3_server.bucket()
    store = s3_server.store(bucket)
    public = f"http://localhost:{s3_server.port}"
    signer = s3_server.store(bucket, url=public)
    storage = ObjectStorage(store, redirect=True, signer=signer)

    async def work() -> str:
        await storage.put(KEY, b"0123456789")
        assert ObjectStorage(store).locate(KEY).url is None
        return str(storage.locate(KEY).url)

    url = run(work())
    assert url.startswith(public)
    assert httpx.get(url).content == b"0123456789"
    answer = httpx.get(url, headers={"Range": "bytes=2-4"})
    assert (answer.status_code, answer.content) == (206, b"234")
    assert httpx.get(url.replace("X-Amz-Signature=", "X-Amz-Signature=0")).status_code == 403


def test_store_that_does_not_answer(s3_server: SwiftServer) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    storage = ObjectStorage(
        s3_server.store("b", url=nowhere, retry_config={"max_retries": 1}), part_bytes=PART
    )

    async def work() -> None:
        with pytest.raises(OSError, match="S3"):
            await storage.check()
        with pytest.raises(UnavailableError):
            await storage.size(KEY)
        with pytest.raises(UnavailableError):
            await storage.put(KEY, b"x")
        writer = await storage.open_upload(ID, 0, {})

        async def push() -> None:
            for _ in range(64):
                await writer.write(b"x" * MIB)
            await writer.pause()

        with pytest.raises(UnavailableError) as caught:
            await push()
        assert s3_server.secret_key not in str(caught.value)
        await writer.release()

    run(work())
