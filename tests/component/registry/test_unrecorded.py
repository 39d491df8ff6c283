"""Upload sessions that are a file: the database learns of one when a request has left bytes in it."""

from __future__ import annotations

import os
import secrets
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from seawall.infra.storage import FilesystemStorage
from seawall.kernel.errors import RegistryError
from seawall.registry.gc import collect
from seawall.registry.model import Chunk
from seawall.registry.tables import uploads
from tests.support.digests import digest_of
from tests.support.lab import Lab, Run


def chunk(data: bytes, *, announced: bool = True) -> Chunk:
    """All of `data` in one piece; `announced`: its length was."""

    async def body() -> AsyncIterator[bytes]:
        yield data

    return Chunk(body(), length=len(data) if announced else None)


def rows(connection: Connection) -> int:
    return int(connection.execute(select(func.count()).select_from(uploads)).scalar_one())


def files(lab: Lab) -> list[Path]:
    folder = lab.services.settings.storage_root / "uploads"
    return [item for item in folder.iterdir() if not item.name.startswith(".")]


async def unknown(lab: Lab, session: str, name: str = "p/app") -> None:
    with pytest.raises(RegistryError) as refused:
        await lab.content.upload_offset(name, session)
    assert (refused.value.code, refused.value.status) == ("BLOB_UPLOAD_UNKNOWN", 404)


@pytest.mark.parametrize("announced", [True, False])
def test_a_blob_that_comes_whole_has_no_row(run: Run, announced: bool) -> None:
    async def body(lab: Lab) -> None:
        await lab.project()
        data = secrets.token_bytes(100)
        session = await lab.content.start_upload("p/app")
        assert await lab.content.upload_offset("p/app", session) == 0
        assert await lab.db.read(rows) == 0
        whole = chunk(data, announced=announced)
        await lab.content.close_upload("p/app", session, digest_of(data), whole)
        assert await lab.content.blob_size("p/app", digest_of(data)) == 100
        assert files(lab) == []
        await unknown(lab, session)
        # An instance may die between the commit and its answer; the client asks again.
        whole = chunk(data, announced=announced)
        again = await lab.content.close_upload("p/app", session, digest_of(data), whole)
        assert again == digest_of(data)

    run(body)


def test_a_small_blob_is_handed_to_storage_twice(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for its session, once for its bytes: each time costs as much as writing them does."""
    done = []
    hand_over = FilesystemStorage._run

    async def counted(self: FilesystemStorage, fn: Any, *arguments: Any) -> Any:
        done.append(fn)
        return await hand_over(self, fn, *arguments)

    async def body(lab: Lab) -> None:
        await lab.project()
        data = secrets.token_bytes(100)
        monkeypatch.setattr(FilesystemStorage, "_run", counted)
        session = await lab.content.start_upload("p/app")
        await lab.content.close_upload("p/app", session, digest_of(data), chunk(data))
        assert len(done) == 2, done

    run(body)


def test_what_arrived_of_a_blob_that_breaks_off_is_kept(run: Run) -> None:
    class BrokenError(Exception):
        pass

    async def broken() -> AsyncIterator[bytes]:
        yield b"a" * 40
        raise BrokenError

    async def body(lab: Lab) -> None:
        await lab.project()
        data = b"a" * 100
        session = await lab.content.start_upload("p/app")
        with pytest.raises(BrokenError):
            await lab.content.close_upload("p/app", session, digest_of(data), Chunk(broken(), length=100))
        assert await lab.content.upload_offset("p/app", session) == 40
        await lab.content.close_upload("p/app", session, digest_of(data), chunk(data[40:]))
        assert await lab.content.blob_size("p/app", digest_of(data)) == 100

    run(body)


def test_a_whole_blob_in_a_session_with_bytes_is_not_the_whole(run: Run) -> None:
    """The digest is that of the session's bytes, also where the last request alone would have it."""

    async def body(lab: Lab) -> None:
        await lab.project()
        first, data = secrets.token_bytes(100), secrets.token_bytes(50)
        session = await lab.content.start_upload("p/app")
        await lab.content.append_upload("p/app", session, chunk(first))
        with pytest.raises(RegistryError) as refused:
            await lab.content.close_upload("p/app", session, digest_of(data), chunk(data))
        assert refused.value.code == "DIGEST_INVALID"
        await unknown(lab, session)
        with pytest.raises(RegistryError):
            await lab.content.blob_size("p/app", digest_of(data))

    run(body)


def test_a_blob_in_pieces_has_a_row_until_its_end(run: Run) -> None:
    async def body(lab: Lab) -> None:
        await lab.project()
        first, second = secrets.token_bytes(100), secrets.token_bytes(50)
        session = await lab.content.start_upload("p/app")
        assert await lab.content.append_upload("p/app", session, chunk(b"")) == 0
        assert await lab.content.append_upload("p/app", session, chunk(first)) == 100
        assert await lab.db.read(rows) == 1
        assert await lab.content.upload_offset("p/app", session) == 100
        await lab.content.close_upload("p/app", session, digest_of(first + second), chunk(second))
        assert await lab.content.blob_size("p/app", digest_of(first + second)) == 150
        assert await lab.db.read(rows) == 0
        await unknown(lab, session)

    run(body)


def test_a_session_is_of_one_repository(run: Run) -> None:
    async def body(lab: Lab) -> None:
        await lab.project()
        session = await lab.content.start_upload("p/app")
        assert uuid.UUID(session).version == 8
        await unknown(lab, session, "p/other")
        data = secrets.token_bytes(10)
        with pytest.raises(RegistryError, match="upload"):
            await lab.content.close_upload("p/other", session, digest_of(data), chunk(data))
        with pytest.raises(RegistryError):
            await lab.content.blob_size("p/other", digest_of(data))
        assert await lab.content.upload_offset("p/app", session) == 0
        await lab.content.cancel_upload("p/app", session)
        await unknown(lab, session)
        await unknown(lab, str(uuid.UUID(int=uuid.uuid4().int & ~(0xF << 76) | (8 << 76))))

    run(body)


def test_wrong_bytes_end_a_session(run: Run) -> None:
    async def body(lab: Lab) -> None:
        await lab.project()
        session = await lab.content.start_upload("p/app")
        with pytest.raises(RegistryError) as refused:
            await lab.content.close_upload("p/app", session, digest_of(b"other"), chunk(b"these"))
        assert refused.value.code == "DIGEST_INVALID"
        await unknown(lab, session)
        assert files(lab) == []

    run(body)


def test_bytes_that_no_request_recorded_are_cut(run: Run) -> None:
    """What a killed instance leaves: bytes in the file, no row."""

    async def body(lab: Lab) -> None:
        await lab.project()
        data = secrets.token_bytes(70)
        session = await lab.content.start_upload("p/app")
        files(lab)[0].write_bytes(b"left" * 100)
        assert await lab.content.upload_offset("p/app", session) == 0
        await lab.content.close_upload("p/app", session, digest_of(data), chunk(data))
        assert await lab.content.blob_size("p/app", digest_of(data)) == 70

    run(body)


def test_bytes_that_came_since_are_kept(run: Run) -> None:
    """A request writes later than it looked at the session: it must not cut what another one left."""

    async def body(lab: Lab) -> None:
        await lab.project()
        data = secrets.token_bytes(100)
        session = await lab.content.start_upload("p/app")
        late = await lab.content.uploads.get("p/app", session)
        await lab.content.append_upload("p/app", session, chunk(data))
        writer = await lab.content.uploads.open_writer(late)
        with pytest.raises(RegistryError) as refused:
            await writer_write(lab, writer, b"x")
        assert refused.value.status == 409
        await lab.content.close_upload("p/app", session, digest_of(data), chunk(b""))
        assert await lab.content.blob_size("p/app", digest_of(data)) == 100

    async def writer_write(lab: Lab, writer: object, data: bytes) -> None:
        from seawall.registry.uploads import session_errors

        with session_errors():
            await writer.write(data)  # type: ignore[attr-defined]

    run(body)


def test_collection_forgets_sessions_that_rest(run: Run) -> None:
    async def body(lab: Lab) -> None:
        await lab.project()
        old = await lab.content.start_upload("p/app")
        os.utime(files(lab)[0], (time.time() - 3 * 3600,) * 2)
        new = await lab.content.start_upload("p/app")
        used = await lab.content.start_upload("p/app")
        path = next(item for item in files(lab) if item.name == used)
        os.utime(path, (time.time() - 3 * 3600,) * 2)
        # A request without bytes is a sign of life too.
        assert await lab.content.append_upload("p/app", used, chunk(b"")) == 0
        report = await collect(lab.db, lab.services.storage, grace_seconds=3600, upload_seconds=3600)
        assert report.uploads == 1
        await unknown(lab, old)
        assert await lab.content.upload_offset("p/app", new) == 0
        assert await lab.content.upload_offset("p/app", used) == 0

    run(body)


def test_a_writer_does_not_make_a_session_that_was_ended(tmp_path: Path) -> None:
    import asyncio

    from seawall.infra.storage.base import UploadLostError

    async def body() -> None:
        storage = FilesystemStorage(tmp_path)
        assert await storage.begin_upload("s")
        writer = await storage.open_upload("s", 0, {"begun": 0}, last=True)
        await writer.write(b"x")
        await storage.drop_upload("s", {})
        with pytest.raises(UploadLostError):
            await writer.commit("ab.sha256.1")
        assert await storage.upload_size("s") is None

    asyncio.run(body())
