"""Upload sessions: bytes come in, and become a blob of a repository.

Order of writes, everywhere: bytes durable in storage first, then the metadata commit, then the answer to
the client. A crash between the first two leaves bytes that no metadata names; garbage collection sweeps
those up. Nothing that was acknowledged can be lost this way.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import secrets
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import structlog
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from seawall.access.views import projects
from seawall.infra import leases
from seawall.infra.db import Database, fence
from seawall.infra.db.batch import Later, flush, later
from seawall.infra.db.dialect import dialect_of, upsert
from seawall.infra.db.faults import DatabaseError, Fault
from seawall.infra.storage import BlobStorage, UploadWriter
from seawall.infra.storage.base import UploadBusyError, UploadLostError
from seawall.kernel.errors import RegistryError, StandbyError, StorageFullError, UnavailableError
from seawall.kernel.names import check_digest
from seawall.registry import accounting
from seawall.registry.hooks import BlobPush
from seawall.registry.model import Blob, Repository, Upload
from seawall.registry.repositories import Repositories
from seawall.registry.stored import StoredBlobs
from seawall.registry.tables import blobs, repositories, uploads
from seawall.registry.writes import ContentWrites

log: Any = structlog.get_logger("seawall.storage")


@contextlib.contextmanager
def session_errors() -> Iterator[None]:
    """Say as the Distribution specification does what a storage writer says of its session.

    BLOB_UPLOAD_INVALID (409) while another request writes to it, BLOB_UPLOAD_UNKNOWN when its bytes are gone.
    """
    try:
        yield
    except UploadBusyError:
        raise RegistryError(
            "BLOB_UPLOAD_INVALID", "another request is writing to this upload session", status=409
        ) from None
    except UploadLostError as error:
        raise RegistryError("BLOB_UPLOAD_UNKNOWN", f"upload session cannot go on: {error}") from None


# Statements of every push, built once (see `seawall.infra.db.batch.Asked`).
_SESSION = (
    select(
        repositories.c.id,
        repositories.c.name,
        repositories.c.project_id,
        projects.c.public,
        uploads.c.upload_offset,
        uploads.c.state,
    )
    .join(uploads, uploads.c.repository_id == repositories.c.id)
    .join(projects, projects.c.id == repositories.c.project_id)
    .where(uploads.c.id == bindparam("b_id"), repositories.c.name == bindparam("b_name"))
)
_OPENED = insert(uploads)
_ENDED = delete(uploads).where(uploads.c.id == bindparam("b_id"))


# Custom ids of RFC 9562; those of sessions with a row are random (version 4).
_OWN_VERSION = 8


@functools.cache
def _recording(dialect: str) -> Any:
    """Gives a session its row, unless it has one."""
    names = ("id", "repository_id", "upload_offset", "state", "started_at", "updated_at")
    row = {name: bindparam(f"b_{name}", type_=uploads.c[name].type) for name in names}
    return upsert(dialect, uploads, row, ["id"], None)


@functools.cache
def _storing(dialect: str) -> Any:
    """Names the key of a blob's bytes, or touches the blob that is there; gives the key that is named."""
    row: dict[str, Any] = {
        "digest": bindparam("b_digest"),
        "size": bindparam("b_size"),
        "storage_key": bindparam("b_key"),
        "created_at": bindparam("b_now"),
        "touched_at": bindparam("b_now"),
    }
    return upsert(dialect, blobs, row, ["digest"], ["touched_at"]).returning(blobs.c.storage_key)


class Uploads:
    """The upload sessions of the registry. Errors are RegistryError with OCI codes."""

    def __init__(
        self,
        db: Database,
        storage: BlobStorage,
        stored: StoredBlobs,
        repositories: Repositories,
        writes: ContentWrites,
        *,
        blob_limit: int,
        fenced: bool,
    ) -> None:
        """`blob_limit`: bytes of the largest blob, 0 for any size. `fenced`: see LocalRegistry."""
        self._fenced = fenced
        self.blob_limit = blob_limit
        self._db = db
        self._storage = storage
        self._stored = stored
        self._repositories = repositories
        self._writes = writes

    async def start(self, name: str) -> Upload:
        """Open an upload session in repository `name`.

        Where storage keeps sessions by itself the database gets a row when a request has left bytes of a
        blob; most blobs come whole.
        """
        upload_id = _own_id(name, secrets.token_bytes(8))
        repository = await self._repositories.ensure(name)
        if self._fenced:
            # A row would be refused; a file is not, and the client would send all its bytes for nothing.
            await self._db.point(fence.check)
        if await self._storage.begin_upload(upload_id):
            return _unrecorded(upload_id, repository, 0)
        row = _row(Upload(str(uuid.uuid4()), repository, 0, {}))

        async def open_session(repository: Repository) -> Upload:
            mine = {**row, "repository_id": repository.id}
            await self._db.write(lambda c: later(c, _OPENED, mine), durable=False)
            return Upload(row["id"], repository, 0, {})

        return await self._repositories.writing(name, open_session)

    async def fresh(self, name: str, upload_id: str) -> Upload | None:
        """The session `upload_id` of repository `name`, taken to be there and without bytes.

        Its writer finds out with its first write, or its commit. None for an id of another kind.
        """
        if not _is_own(upload_id) or _own_id(name, uuid.UUID(upload_id).bytes[:8]) != upload_id:
            return None
        return _unrecorded(upload_id, await self._repositories.ensure(name), 0)

    async def get(self, name: str, upload_id: str, *, sure: bool = False) -> Upload:
        """The session `upload_id` of repository `name`. Raises BLOB_UPLOAD_UNKNOWN, NAME_UNKNOWN.

        `sure`: the database is asked whether the repository's project is there still. Else a session that has
        no row may be one of a project that was deleted, which only the write at its end finds out.
        """
        if sure:
            await self._repositories.renew(name)
        size = None
        if _is_own(upload_id):
            size = await self._storage.upload_size(upload_id)
            if size is None or _own_id(name, uuid.UUID(upload_id).bytes[:8]) != upload_id:
                raise RegistryError("BLOB_UPLOAD_UNKNOWN")
            if size == 0:
                return _unrecorded(upload_id, await self._repositories.ensure(name), 0)

        def find_upload(connection: Connection) -> Upload | None:
            row = connection.execute(_SESSION, {"b_id": upload_id, "b_name": name}).first()
            if row is None:
                return None
            return Upload(upload_id, Repository(*row[:4]), row[4], row[5])

        found = await self._db.point(find_upload)
        if found is None and size is not None:
            # No request has recorded what the file has: one may be writing, or was killed.
            return _unrecorded(upload_id, await self._repositories.ensure(name), size)
        if found is None:
            raise RegistryError("BLOB_UPLOAD_UNKNOWN")
        return found

    async def open_writer(self, upload: Upload, *, last: bool = False) -> UploadWriter:
        """A storage writer at the session's offset. Raises BLOB_UPLOAD_INVALID when it is in use.

        `last`: the request is to end the session.
        """
        with session_errors():
            if self._storage.locks_sessions:
                writer = await self._storage.open_upload(upload.id, upload.offset, upload.state, last=last)
                if writer.surplus:
                    await self._require_leftovers(upload, writer)
                return writer
            lease = await leases.acquire(self._db, upload.id)
            try:
                writer = await self._storage.open_upload(upload.id, upload.offset, upload.state)
            except BaseException:
                await asyncio.shield(lease.release())
                raise
            return leases.LeasedWriter(writer, lease)

    async def _require_leftovers(self, upload: Upload, writer: UploadWriter) -> None:
        """Raise UploadBusyError when another request has recorded the bytes past the offset.

        It did so between the look at the session and its lock. Bytes without a record are of a request that
        broke off.
        """
        query = select(uploads.c.upload_offset).where(uploads.c.id == upload.id)
        try:
            recorded = await self._db.point(lambda c: c.execute(query).scalar())
        except BaseException:
            await asyncio.shield(writer.release())
            raise
        if recorded != (upload.offset if upload.recorded else None):
            await asyncio.shield(writer.release())
            raise UploadBusyError

    async def save_progress(self, upload: Upload, writer: UploadWriter) -> int:
        """Close `writer` and record how far the session got; returns the new offset in bytes.

        Raises BLOB_UPLOAD_INVALID (416) when another request moved the session in the meantime.
        """
        offset = writer.offset
        try:
            # The order matters only for backends without a lock: state first, then the record.
            try:
                with session_errors():
                    # Held until the record is there: another writer would cut what it does not name yet.
                    state = await writer.pause(held=True)
            except StorageFullError:
                await asyncio.shield(self.discard_full(upload, writer))
                raise

            changed = RegistryError(
                "BLOB_UPLOAD_INVALID", "upload session was changed by another request", status=416
            )
            if upload.recorded:
                mine = (uploads.c.id == upload.id) & (uploads.c.upload_offset == upload.offset)
                values = {"upload_offset": offset, "state": state, "updated_at": time.time()}
                progress = update(uploads).where(mine).values(**values)
                await self._db.write(lambda c: later(c, progress, otherwise=changed), durable=False)
            elif offset:
                row = _row(replace(upload, offset=offset, state=state))

                async def record(repository: Repository) -> None:
                    mine = {f"b_{key}": value for key, value in row.items()}
                    mine["b_repository_id"] = repository.id
                    await self._db.write(
                        lambda c: later(c, _recording(dialect_of(c)), mine, otherwise=changed), durable=False
                    )

                await self._repositories.writing(upload.repository.name, record)
            return offset
        finally:
            await asyncio.shield(writer.leave())
            await _unlock(writer)

    async def finish(
        self,
        upload: Upload | None,
        writer: UploadWriter,
        name: str,
        digest: str,
        *,
        replica: bool = False,
    ) -> Blob:
        """Verify, store and link the uploaded blob; returns once all of it is durable.

        `upload` is None for a single-request upload that has no session row. `replica`: a copy of what a peer
        has acknowledged; neither quota nor rule refuses it. On a digest mismatch the
        session is dropped and DIGEST_INVALID raised.
        """
        try:
            with session_errors():
                return await self._finish(upload, writer, name, digest, replica)
        finally:
            await asyncio.shield(writer.release())
            await _unlock(writer)

    async def _finish(
        self, upload: Upload | None, writer: UploadWriter, name: str, digest: str, replica: bool
    ) -> Blob:
        algorithm, _, expected = check_digest(digest).partition(":")
        if await writer.digest(algorithm) != expected:
            await self.discard(upload, writer)
            raise RegistryError("DIGEST_INVALID")
        if self.blob_limit and writer.offset > self.blob_limit:
            await self.discard(upload, writer)
            raise RegistryError("SIZE_INVALID", "blob is larger than this registry allows", status=413)
        size = writer.offset
        wanted = _new_key(digest)
        try:
            key = await writer.commit(wanted)
        except StorageFullError:
            # What arrived would keep the disk full; the client already knows that it cannot stay.
            await asyncio.shield(self.discard_full(upload, writer))
            raise
        now = time.time()
        before = self._writes.hooks.of("before_blob", replica=replica)

        def link_upload(connection: Connection, repository: Repository, exact: bool) -> Later:
            for hook in before:
                hook(connection, BlobPush(repository, digest, size))
            if upload is not None and upload.recorded:
                # The caller that deletes the session's row owns its bytes: this push, or a cancellation
                # that came first.
                gone = RegistryError("BLOB_UPLOAD_UNKNOWN")
                later(connection, _ENDED, {"b_id": upload.id}, otherwise=gone)
            row = {"b_digest": digest, "b_size": size, "b_key": key, "b_now": now}
            named = later(connection, _storing(dialect_of(connection)), row)
            if exact:
                flush(connection)
            account = self._writes.account(repository.project_id, free=replica, exact=exact)
            accounting.charge_link(connection, account, repository.id, digest, size, now)
            self._writes.warn(connection, account)
            return named

        async def link(repository: Repository) -> str:
            named = await self._writes.charged(lambda c, exact: link_upload(c, repository, exact))
            return str(named.rows[0][0]) if named.rows else await self._named(digest)

        try:
            if upload is not None and upload.recorded:
                used = await link(upload.repository)
            else:
                used = await self._repositories.writing(name, link)
        except (RegistryError, StandbyError, DatabaseError) as error:
            if _was_refused(error):
                # Nothing names these bytes, and nothing will; and they may fill the database's disk.
                await asyncio.shield(self._drop_refused(upload, key, error, own=key == wanted))
            raise
        if used != key and not await self._stored.has(used, size):
            used = await self._replace(digest, used, key)
        if used != key:
            # The registry had these bytes already; ours are a second copy that nothing names. What cannot be
            # deleted now is swept later: the push has happened.
            with contextlib.suppress(UnavailableError, TimeoutError):
                await asyncio.wait_for(self._storage.delete(key), 2)
        await writer.finish()
        return Blob(digest, size, used)

    async def _drop_refused(self, upload: Upload | None, key: str, error: Exception, *, own: bool) -> None:
        """Delete the bytes of a blob that was refused; `own`: they are under a key of this request alone.

        Others are a session's part at an object store, where the session can go on. They go only when the
        quota refused them, with the one that ends the session.
        """
        over = isinstance(error, accounting.QuotaExceededError)
        with contextlib.suppress(UnavailableError, OSError):
            if own:
                await self._storage.delete(key)
            if over or (own and self._storage.locks_sessions):
                ended = upload is None or await self._forget(upload)
                if ended and not own:
                    await self._storage.delete(key)

    async def _named(self, digest: str) -> str:
        """The key of the blob's bytes, after a commit whose answers were lost with the connection."""
        query = select(blobs.c.storage_key).where(blobs.c.digest == digest)
        key = await self._db.point(lambda c: c.execute(query).scalar())
        if key is None:
            raise UnavailableError("the blob was collected while it was pushed; push it again")
        return str(key)

    async def _replace(self, digest: str, lost: str, key: str) -> str:
        """Name the bytes at `key` instead of those at `lost`, which are gone; returns the named key."""

        def name_key(connection: Connection) -> str | None:
            mine = (blobs.c.digest == digest) & (blobs.c.storage_key == lost)
            connection.execute(update(blobs).where(mine).values(storage_key=key))
            return connection.execute(select(blobs.c.storage_key).where(blobs.c.digest == digest)).scalar()

        named = await self._db.write(name_key)
        if named is None:
            raise UnavailableError("the blob was collected while it was pushed; push it again")
        log.warning("a push brought back bytes that storage had lost", digest=digest)
        return named

    async def cancel(self, name: str, upload_id: str) -> None:
        """End a session and drop its bytes. Raises BLOB_UPLOAD_UNKNOWN."""
        upload = await self.get(name, upload_id)
        if not await self._forget(upload):
            raise RegistryError("BLOB_UPLOAD_UNKNOWN")
        await self._storage.drop_upload(upload.id, upload.state)

    async def discard(self, upload: Upload | None, writer: UploadWriter) -> None:
        """End the session, if there is one, and drop its bytes."""
        if upload is None or await self._forget(upload):
            await writer.abort()

    async def discard_full(self, upload: Upload | None, writer: UploadWriter) -> None:
        """`discard` when storage is full, which the database may be too: one disk for both.

        The bytes go first where the writer has locked the session: as long as they are there, nothing can be
        written to the database. A row that stays is of a session without bytes, and goes when it has rested.
        """
        if upload is None or not self._storage.locks_sessions:
            await self.discard(upload, writer)
            return
        await writer.abort()
        with contextlib.suppress(UnavailableError):
            await self._forget(upload)

    async def _forget(self, upload: Upload) -> bool:
        """Delete the session's row, if it has one; whether the caller is the one that ended the session."""
        if not upload.recorded:
            return True
        return await self._db.write(lambda c: _delete_session(c, upload), durable=False)


def _was_refused(error: Exception) -> bool:
    """Whether a transaction ended with it before it was committed, for certain."""
    return not isinstance(error, DatabaseError) or error.fault is not Fault.BROKEN


def _delete_session(connection: Connection, upload: Upload) -> bool:
    return bool(connection.execute(delete(uploads).where(uploads.c.id == upload.id)).rowcount)


def _own_id(name: str, random: bytes) -> str:
    """The id of a session that storage keeps by itself: it says by its version what it is.

    Half of it is computed from the repository's name, so it is not a session of another repository.
    """
    first = uuid.UUID(bytes=random + bytes(8)).int & ~(0xF << 76) | (_OWN_VERSION << 76)
    digest = hashlib.sha256(first.to_bytes(16, "big")[:8] + name.encode()).digest()
    second = int.from_bytes(digest[:8], "big") & ~(0x3 << 62) | (0x2 << 62)
    return str(uuid.UUID(int=first | second))


def _is_own(upload_id: str) -> bool:
    return upload_id[14:15] == str(_OWN_VERSION)


def _unrecorded(upload_id: str, repository: Repository, size: int) -> Upload:
    return Upload(upload_id, repository, 0, {"begun": size}, recorded=False)


def _row(upload: Upload) -> dict[str, Any]:
    """The row of a session that has none yet."""
    now = time.time()
    return {
        "id": upload.id,
        "upload_offset": upload.offset,
        "state": upload.state,
        "started_at": now,
        "updated_at": now,
    }


async def _unlock(writer: UploadWriter) -> None:
    if isinstance(writer, leases.LeasedWriter):
        await writer.lease.release()


def _new_key(digest: str) -> str:
    # The random part gives a blob that is pushed again while its old bytes are being collected a new
    # place. Digest first, so that shards are even and fsck can name what a stray file was.
    algorithm, _, value = digest.partition(":")
    return f"{value}.{algorithm}.{secrets.token_hex(4)}"
