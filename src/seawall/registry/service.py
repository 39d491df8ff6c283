"""Registry content as the Distribution API sees it, over database and storage.

Order of writes, everywhere: bytes durable in storage first, then the metadata commit, then the answer to
the client. A crash between the first two leaves bytes that no metadata names; garbage collection sweeps
those up. Nothing that was acknowledged can be lost this way.

Garbage collection runs beside all this (see `seawall.registry.gc`). The rule that makes it safe: whoever
relies on a blob first moves its `touched_at` forward in the same transaction, and the collector's DELETE
asks for an old `touched_at`, so the two cannot both succeed.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, and_, delete, func, insert, literal, or_, select, update

from seawall.access.tables import projects
from seawall.infra import leases
from seawall.infra.db import Database
from seawall.infra.db.dialect import upsert
from seawall.infra.storage import BlobStorage, UploadWriter
from seawall.infra.storage.base import UploadBusyError, UploadLostError
from seawall.kernel.context import SYSTEM, Actor, actor, replica
from seawall.kernel.errors import RegistryError, UnavailableError
from seawall.kernel.names import check_digest, digest_of, is_tag
from seawall.registry import accounting, index
from seawall.registry import manifest as manifests_
from seawall.registry.hooks import BlobPush, Deletion, Hooks, Push, QuotaNotice
from seawall.registry.tables import (
    blobs,
    manifest_payloads,
    manifest_references,
    manifests,
    repositories,
    repository_blobs,
    tags,
    uploads,
)

T = TypeVar("T")
PAGE_LIMIT = 1000
# Blobs up to this size (image configs, mostly) are answered from memory: handing a file to the server
# costs more than its few bytes. The cache holds at most the second number of bytes a process.
SMALL_BLOB = 64 * 1024
_SMALL_TOTAL = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository row: ids, full name, and whether its project is public."""

    id: int
    name: str
    project_id: int
    public: bool


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob of a repository: digest, size in bytes, storage key."""

    digest: str
    size: int
    key: str


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest as it was pushed, byte for byte."""

    digest: str
    media_type: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload session: `offset` bytes received so far; `state` belongs to the storage backend."""

    id: str
    repository: Repository
    offset: int
    state: dict[str, Any]


class ContentService:
    """Every operation of the registry on content. Errors are RegistryError with OCI codes."""

    def __init__(
        self,
        db: Database,
        storage: BlobStorage,
        *,
        create_projects: bool = False,
        grace_seconds: float = 7200,
        manifest_limit: int = 4 * 1024 * 1024,
        blob_limit: int = 0,
        hooks: Hooks | None = None,
    ) -> None:
        """`create_projects`: a push makes a missing project (only sensible without authentication)."""
        self.hooks = hooks or Hooks()
        self.db = db
        self.storage = storage
        self.manifest_limit = manifest_limit
        self.blob_limit = blob_limit
        self._create_projects = create_projects
        self._grace = grace_seconds
        self._cache: OrderedDict[tuple[Any, ...], tuple[int, Any]] = OrderedDict()
        self._small: OrderedDict[str, bytes] = OrderedDict()
        self._small_bytes = 0

    # -- repositories ------------------------------------------------------------------------------

    async def repository(self, name: str) -> Repository:
        """The repository called `name`. Raises NAME_UNKNOWN."""
        found = await self._cached(("r", name), lambda c: _repository(c, name))
        if found is None:
            raise RegistryError("NAME_UNKNOWN", detail={"name": name})
        return found

    async def ensure_repository(self, name: str) -> Repository:
        """The repository called `name`, made on first push. Raises NAME_UNKNOWN without its project."""
        found = await self._cached(("r", name), lambda c: _repository(c, name))
        if found is not None:
            return found
        return await self.db.write(lambda c: _create_repository(c, name, self._create_projects))

    async def catalog(
        self, n: int, last: str | None, visible: Callable[[Connection], set[int] | None]
    ) -> list[str]:
        """Up to `n` repository names after `last`, in name order.

        `visible` gives the ids of projects the caller may read, None meaning all.
        """

        def run(connection: Connection) -> list[str]:
            query = select(repositories.c.name).order_by(repositories.c.name).limit(n)
            # A repository shows once it holds a manifest.
            query = query.where(
                select(literal(1)).where(manifests.c.repository_id == repositories.c.id).exists()
            )
            if last is not None:
                query = query.where(repositories.c.name > last)
            allowed = visible(connection)
            if allowed is not None:
                query = query.where(repositories.c.project_id.in_(allowed))
            return list(connection.execute(query).scalars())

        return await self.db.read(run)

    # -- blobs -------------------------------------------------------------------------------------

    async def blob(self, name: str, digest: str) -> Blob:
        """The blob `digest` of repository `name`. Raises BLOB_UNKNOWN, DIGEST_INVALID, NAME_UNKNOWN."""
        check_digest(digest)
        row = await self._cached(("b", name, digest), lambda c: _blob(c, name, digest))
        if row is None:
            await self.repository(name)
            raise RegistryError("BLOB_UNKNOWN", detail={"digest": digest})
        found, touched_at = row
        # "It exists" is a promise to a client that then skips the upload: make it hold for a while.
        # Written at most once per half grace period, so ordinary pulls stay reads.
        if time.time() - touched_at > self._grace / 2 and not await self._touch(name, digest):
            raise RegistryError("BLOB_UNKNOWN", detail={"digest": digest})
        return found

    async def small_blob(self, blob: Blob) -> bytes | None:
        """The bytes of a blob of at most SMALL_BLOB bytes, None for larger ones.

        Kept by storage key, which never gets other bytes; that the blob is still there is `blob`'s to know.
        """
        if blob.size > SMALL_BLOB:
            return None
        data = self._small.get(blob.key)
        if data is None:
            data = b"".join([part async for part in self.storage.stream(blob.key, 0, blob.size)])
            if blob.key not in self._small:  # another request may have read it in the meantime
                self._small[blob.key] = data
                self._small_bytes += len(data)
            while self._small_bytes > _SMALL_TOTAL:
                self._small_bytes -= len(self._small.popitem(last=False)[1])
        return data

    async def mount(self, name: str, digest: str, source: str) -> bool:
        """Link blob `digest` of repository `source` into `name`; False when there is none to link."""
        check_digest(digest)
        target = await self.ensure_repository(name)

        free = replica.get()
        before = self.hooks.of("before_blob", replica=free)

        def run(connection: Connection) -> bool:
            found = _blob(connection, source, digest)
            if found is None:
                return False
            account = accounting.lock(connection, target.project_id, free=free)
            for hook in before:
                hook(connection, BlobPush(target, digest, found[0].size))
            accounting.charge_link(connection, account, target.id, digest, found[0].size)
            self._warn(connection, account)
            return _link(connection, target.id, digest)

        return await self._charged(run)

    async def delete_blob(self, name: str, digest: str) -> None:
        """Remove the blob from the repository; its bytes go with the next garbage collection.

        Raises BLOB_UNKNOWN, and DENIED while a manifest of the repository needs the blob.
        """
        check_digest(digest)
        repository = await self.repository(name)

        def run(connection: Connection) -> int:
            account = accounting.lock(connection, repository.project_id)
            link = and_(
                repository_blobs.c.repository_id == repository.id, repository_blobs.c.digest == digest
            )
            # The lock orders this against a manifest push that is about to refer to the blob.
            row = connection.execute(select(repository_blobs.c.digest).where(link).with_for_update()).first()
            if row is None:
                raise RegistryError("BLOB_UNKNOWN", detail={"digest": digest})
            used = connection.execute(
                select(literal(1)).where(
                    manifest_references.c.repository_id == repository.id,
                    manifest_references.c.digest == digest,
                )
            ).first()
            if used:
                raise RegistryError("DENIED", "blob is in use by a manifest of this repository", status=405)
            removed = connection.execute(delete(repository_blobs).where(link)).rowcount
            accounting.release(connection, account, [digest] * removed)
            return removed

        await self.db.write(run)

    # -- uploads -----------------------------------------------------------------------------------

    async def start_upload(self, name: str) -> Upload:
        """Open an upload session in repository `name`."""
        repository = await self.ensure_repository(name)
        upload = Upload(str(uuid.uuid4()), repository, 0, {})
        now = time.time()
        row = {
            "id": upload.id,
            "repository_id": repository.id,
            "upload_offset": 0,
            "state": {},
            "started_at": now,
            "updated_at": now,
        }
        await self.db.write(lambda c: c.execute(insert(uploads), row), durable=False)
        return upload

    async def upload(self, name: str, upload_id: str) -> Upload:
        """The session `upload_id` of repository `name`. Raises BLOB_UPLOAD_UNKNOWN."""

        def run(connection: Connection) -> Upload | None:
            row = connection.execute(
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
                .where(uploads.c.id == upload_id, repositories.c.name == name)
            ).first()
            if row is None:
                return None
            return Upload(upload_id, Repository(*row[:4]), row[4], row[5])

        found = await self.db.point(run)
        if found is None:
            raise RegistryError("BLOB_UPLOAD_UNKNOWN")
        return found

    async def open_writer(self, upload: Upload) -> UploadWriter:
        """A storage writer at the session's offset. Raises BLOB_UPLOAD_INVALID when it is in use."""
        lease = None
        try:
            if not self.storage.locks_sessions:
                lease = await leases.acquire(self.db, upload.id)
            writer = await self.storage.open_upload(upload.id, upload.offset, upload.state)
            return writer if lease is None else leases.LeasedWriter(writer, lease)
        except UploadBusyError:
            raise RegistryError(
                "BLOB_UPLOAD_INVALID", "another request is writing to this upload session", status=409
            ) from None
        except UploadLostError as error:
            if lease is not None:
                await lease.release()
            raise RegistryError("BLOB_UPLOAD_UNKNOWN", f"upload session cannot go on: {error}") from None

    async def save_progress(self, upload: Upload, writer: UploadWriter) -> int:
        """Close `writer` and record how far the session got; returns the new offset in bytes.

        Raises BLOB_UPLOAD_INVALID (416) when another request moved the session in the meantime.
        """
        offset = writer.offset
        try:
            # The order matters only for backends without a lock: state first, then the record.
            state = await writer.pause()

            def run(connection: Connection) -> int:
                return connection.execute(
                    update(uploads)
                    .where(uploads.c.id == upload.id, uploads.c.upload_offset == upload.offset)
                    .values(upload_offset=offset, state=state, updated_at=time.time())
                ).rowcount

            if not await self.db.write(run, durable=False):
                raise RegistryError(
                    "BLOB_UPLOAD_INVALID", "upload session was changed by another request", status=416
                )
            return offset
        finally:
            await _unlock(writer)

    async def finish_upload(
        self, upload: Upload | None, writer: UploadWriter, name: str, digest: str
    ) -> Blob:
        """Verify, store and link the uploaded blob; returns once all of it is durable.

        `upload` is None for a single-request upload that has no session row. On a digest mismatch the
        session is dropped and DIGEST_INVALID raised.
        """
        try:
            return await self._finish_upload(upload, writer, name, digest)
        except UploadLostError as error:
            raise RegistryError("BLOB_UPLOAD_UNKNOWN", f"upload session cannot go on: {error}") from None
        finally:
            await asyncio.shield(writer.release())
            await _unlock(writer)

    async def _finish_upload(
        self, upload: Upload | None, writer: UploadWriter, name: str, digest: str
    ) -> Blob:
        algorithm, _, expected = check_digest(digest).partition(":")
        if await writer.digest(algorithm) != expected:
            await self._discard(upload, writer)
            raise RegistryError("DIGEST_INVALID")
        if self.blob_limit and writer.offset > self.blob_limit:
            await self._discard(upload, writer)
            raise RegistryError("SIZE_INVALID", "blob is larger than this registry allows", status=413)
        repository = upload.repository if upload else await self.ensure_repository(name)
        size = writer.offset
        key = await writer.commit(_new_key(digest))
        now = time.time()
        free = replica.get()
        before = self.hooks.of("before_blob", replica=free)

        def run(connection: Connection) -> str:
            account = accounting.lock(connection, repository.project_id, free=free)
            for hook in before:
                hook(connection, BlobPush(repository, digest, size))
            accounting.charge_link(connection, account, repository.id, digest, size)
            self._warn(connection, account)
            _upsert(
                connection,
                blobs,
                {"digest": digest, "size": size, "storage_key": key, "created_at": now, "touched_at": now},
                ["digest"],
                {"touched_at": now},
            )
            used = connection.execute(
                select(blobs.c.storage_key).where(blobs.c.digest == digest)
            ).scalar_one()
            _upsert(
                connection,
                repository_blobs,
                {"repository_id": repository.id, "digest": digest, "touched_at": now},
                ["repository_id", "digest"],
                {"touched_at": now},
            )
            # Whoever deletes the session's row owns its bytes: this push, or a cancellation that came first.
            if upload is not None and not _delete_session(connection, upload):
                raise RegistryError("BLOB_UPLOAD_UNKNOWN")
            return str(used)

        try:
            used = await self._charged(run)
        except accounting.QuotaExceededError:
            if upload is None or await self._forget(upload):
                await self.storage.delete(key)
            raise
        if used != key:
            # The registry had these bytes already; ours are a second copy that nothing names. What cannot be
            # deleted now is swept later: the push has happened.
            with contextlib.suppress(UnavailableError, TimeoutError):
                await asyncio.wait_for(self.storage.delete(key), 2)
        await writer.finish()
        return Blob(digest, size, used)

    async def cancel_upload(self, name: str, upload_id: str) -> None:
        """End a session and drop its bytes. Raises BLOB_UPLOAD_UNKNOWN."""
        upload = await self.upload(name, upload_id)
        if not await self._forget(upload):
            raise RegistryError("BLOB_UPLOAD_UNKNOWN")
        await self.storage.drop_upload(upload.id, upload.state)

    async def _discard(self, upload: Upload | None, writer: UploadWriter) -> None:
        if upload is None or await self._forget(upload):
            await writer.abort()

    async def _forget(self, upload: Upload) -> bool:
        """Delete the session's row; whether it was there."""
        return await self.db.write(lambda c: _delete_session(c, upload), durable=False)

    # -- manifests ---------------------------------------------------------------------------------

    async def manifest(self, name: str, reference: str) -> StoredManifest:
        """The manifest a tag or digest names. Raises MANIFEST_UNKNOWN, NAME_UNKNOWN, DIGEST_INVALID."""
        if ":" in reference:
            check_digest(reference)
        elif not is_tag(reference):
            raise RegistryError("MANIFEST_UNKNOWN", detail={"reference": reference[:128]})
        found = await self._cached(("m", name, reference), lambda c: _manifest(c, name, reference))
        if found is None:
            await self.repository(name)
            raise RegistryError("MANIFEST_UNKNOWN", detail={"reference": reference})
        return found

    async def pulling(self, name: str, found: StoredManifest, reference: str) -> None:
        """Tell the hooks that a manifest is about to be sent; they may refuse with RegistryError."""
        for hook in self.hooks.of("before_pull"):
            await hook(name, found, reference)

    async def put_manifest(
        self,
        name: str,
        reference: str,
        payload: bytes,
        content_type: str | None,
        extra_tags: tuple[str, ...] = (),
        digest: str | None = None,
        *,
        sparse: bool = False,
        at: float | None = None,
    ) -> tuple[str, str | None]:
        """Store a manifest under a tag or digest; returns its digest and its subject's, if it has one.

        `extra_tags` are set in the same transaction. `sparse` lets an index lack children (a proxy cache
        holds those that were pulled). `at`: when it was pushed, if not now. `digest` asks a push by tag to
        be stored under that digest, which may be a sha512. Raises MANIFEST_INVALID, MANIFEST_BLOB_UNKNOWN,
        DIGEST_INVALID, NAME_UNKNOWN.
        """
        wanted = list(extra_tags)
        if ":" in reference:
            digest = check_digest(reference)
        else:
            wanted.insert(0, reference)
        for tag in wanted:
            if not is_tag(tag):
                raise RegistryError("MANIFEST_INVALID", "tag is not valid", detail={"tag": tag[:128]})
        parsed = manifests_.parse(payload, content_type)
        algorithm = check_digest(digest).partition(":")[0] if digest else "sha256"
        actual = digest_of(payload, algorithm)
        if digest is not None and digest != actual:
            raise RegistryError("DIGEST_INVALID", detail={"digest": digest})
        repository = await self.ensure_repository(name)
        now = time.time() if at is None else at
        push = Push(repository, actual, parsed, len(payload), tuple(wanted), actor.get(), now)
        free = replica.get()
        before = self.hooks.of("before_push", replica=free)
        after = self.hooks.of("after_push", replica=free)

        def run(connection: Connection) -> None:
            account = accounting.lock(connection, repository.project_id, free=free)
            for hook in before:
                hook(connection, push)
            references = _check_references(connection, repository.id, parsed, time.time(), sparse)
            affected = set(index.holders(connection, repository.id, wanted))
            manifest_id, new = _insert_manifest(connection, repository, actual, parsed, payload, wanted, now)
            if new:
                accounting.charge(connection, account, actual, len(payload))
                self._warn(connection, account)
            for target, kind in references:
                _upsert(
                    connection,
                    manifest_references,
                    {
                        "manifest_id": manifest_id,
                        "digest": target,
                        "kind": kind,
                        "repository_id": repository.id,
                    },
                    ["manifest_id", "digest", "kind"],
                    None,
                )
            for tag in wanted:
                _upsert(
                    connection,
                    tags,
                    {
                        "repository_id": repository.id,
                        "name": tag,
                        "manifest_id": manifest_id,
                        "pushed_at": now,
                    },
                    ["repository_id", "name"],
                    {"manifest_id": manifest_id, "pushed_at": now},
                )
            affected |= {manifest_id, *index.accessories(connection, repository.id, [actual])}
            if parsed.manifests:
                affected |= set(index.children(connection, manifest_id))
            index.relist(connection, repository.id, affected)
            connection.execute(
                update(repositories)
                .where(repositories.c.id == repository.id)
                .values(updated_at=now, pushed_at=now)
            )
            for hook in after:
                hook(connection, push, manifest_id)

        await self._charged(run)
        if not free:
            self.committed()
        return actual, parsed.subject

    async def delete_manifest(self, name: str, reference: str) -> None:
        """Delete a manifest with all its tags (by digest), or one tag only (by tag).

        Raises MANIFEST_UNKNOWN, NAME_UNKNOWN, DIGEST_INVALID.
        """
        repository = await self.repository(name)
        if ":" in reference:
            check_digest(reference)
        elif not is_tag(reference):
            raise RegistryError("MANIFEST_UNKNOWN", detail={"reference": reference[:128]})
        who = actor.get()
        if not await self.db.write(lambda c: self.delete_in(c, repository, reference, who)):
            raise RegistryError("MANIFEST_UNKNOWN", detail={"reference": reference[:128]})
        self.committed()

    def delete_in(
        self,
        connection: Connection,
        repository: Repository,
        reference: str,
        who: Actor,
        *,
        deep: bool = False,
        root: bool = True,
        replica: bool = False,
    ) -> bool:
        """`delete_manifest` inside a transaction of the caller's; False when `reference` is unknown.

        `replica`: a peer has deleted it already, so nobody is asked.
        `deep`: what belongs to the manifest goes with it: accessories (signatures, SBOMs, ...), and
        children that have no tag and no other parent. `root` is for the method's own use.
        """
        account = accounting.lock(connection, repository.project_id)
        deletion = _deletion(connection, repository, reference, who, root)
        if deletion is None:
            return False
        for hook in self.hooks.of("before_delete", replica=replica):
            hook(connection, deletion)
        below: list[int] = []
        if deletion.tag is None:
            below = index.children(connection, deletion.manifest_id)
            listed = connection.execute(
                delete(manifests).where(manifests.c.id == deletion.manifest_id).returning(manifests.c.listed)
            ).scalar_one()
            accounting.release(connection, account, [deletion.digest])
            attached_ids = index.accessories(connection, repository.id, [deletion.digest])
            index.relist(connection, repository.id, [*below, *attached_ids], removed=int(listed))
        else:
            connection.execute(
                delete(tags).where(tags.c.repository_id == repository.id, tags.c.name == deletion.tag)
            )
            index.relist(connection, repository.id, [deletion.manifest_id])
        for hook in self.hooks.of("after_delete", replica=replica):
            hook(connection, deletion)
        if deep and deletion.tag is None:
            attached = select(manifests.c.digest).where(
                manifests.c.repository_id == repository.id, manifests.c.accessory_of == deletion.digest
            )
            # A child that is listed now has lost its last parent; one with a tag was pushed for itself.
            orphans = select(manifests.c.digest).where(
                manifests.c.id.in_(below),
                manifests.c.listed.is_(True),
                ~select(literal(1)).where(tags.c.manifest_id == manifests.c.id).exists(),
            )
            for digest in [*connection.execute(attached).scalars(), *connection.execute(orphans).scalars()]:
                self.delete_in(connection, repository, digest, who, deep=True, root=False)
        return True

    async def tags(self, name: str, n: int, last: str | None) -> list[str]:
        """Up to `n` tags after `last`, in ASCII order. Raises NAME_UNKNOWN."""
        repository = await self.repository(name)

        def run(connection: Connection) -> list[str]:
            query = (
                select(tags.c.name)
                .where(tags.c.repository_id == repository.id)
                .order_by(tags.c.name)
                .limit(n)
            )
            if last is not None:
                query = query.where(tags.c.name > last)
            return list(connection.execute(query).scalars())

        return await self.db.read(run)

    async def referrers(
        self, name: str, digest: str, artifact_type: str | None, limit: int, after: int
    ) -> tuple[list[dict[str, Any]], int | None]:
        """Descriptors of manifests whose subject is `digest`, and the `after` of the next page if any."""
        check_digest(digest)
        repository = await self._cached(("r", name), lambda c: _repository(c, name))
        if repository is None:
            # A 404 would tell clients that this registry has no referrers API at all (spec, "Listing
            # Referrers"), and they would fall back to the tag scheme.
            return [], None

        def run(connection: Connection) -> list[Any]:
            query = (
                select(
                    manifests.c.id,
                    manifests.c.media_type,
                    manifests.c.digest,
                    manifests.c.size,
                    manifests.c.artifact_type,
                    manifests.c.config_media_type,
                    manifests.c.annotations,
                )
                .where(
                    manifests.c.repository_id == repository.id,
                    manifests.c.subject_digest == digest,
                    manifests.c.id > after,
                )
                .order_by(manifests.c.id)
                .limit(limit + 1)
            )
            if artifact_type is not None:
                # An image manifest without artifactType has its config's media type instead.
                query = query.where(
                    or_(
                        manifests.c.artifact_type == artifact_type,
                        and_(
                            func.coalesce(manifests.c.artifact_type, "") == "",
                            manifests.c.config_media_type == artifact_type,
                        ),
                    )
                )
            return list(connection.execute(query))

        rows = await self.db.read(run)
        result: list[dict[str, Any]] = []
        for row in rows[:limit]:
            item: dict[str, Any] = {"mediaType": row[1], "digest": row[2], "size": row[3]}
            kind = row[4] or row[5]
            if kind:
                item["artifactType"] = kind
            if row[6]:
                item["annotations"] = row[6]
            result.append(item)
        return result, rows[limit - 1][0] if len(rows) > limit else None

    # -- helpers -----------------------------------------------------------------------------------

    async def _charged(self, run: Callable[[Connection], T]) -> T:
        """Write; when the quota refuses, the hooks hear of it in a transaction of its own."""
        try:
            return await self.db.write(run)
        except accounting.QuotaExceededError as error:
            notice = QuotaNotice(error.project_id, error.used, error.hard, True, actor.get(), str(error))
            hooks = self.hooks.of("quota")
            if hooks:

                def tell(connection: Connection) -> None:
                    for hook in hooks:
                        hook(connection, notice)

                await self.db.write(tell)
                self.committed()
            raise

    def _warn(self, connection: Connection, account: accounting.Account) -> None:
        if not account.warned:
            return
        message = (
            f"quota usage reached 85%: {accounting.human(account.used)} of {accounting.human(account.hard)}"
        )
        notice = QuotaNotice(account.project_id, account.used, account.hard, False, SYSTEM, message)
        for hook in self.hooks.of("quota"):
            hook(connection, notice)

    def committed(self) -> None:
        """Tell the hooks that a change has been committed."""
        for hook in self.hooks.of("committed"):
            hook()

    async def _touch(self, name: str, digest: str) -> bool:
        def run(connection: Connection) -> bool:
            repository = _repository(connection, name)
            return repository is not None and _link(connection, repository.id, digest, create=False)

        return await self.db.write(run)

    async def _cached(self, key: tuple[Any, ...], fn: Callable[[Connection], T | None]) -> T | None:
        """A point read, remembered for as long as the database's change token stays the same.

        Only things that exist are remembered, so a flood of wrong names cannot push them out.
        """
        token = self.db.change_token()
        if token is None:
            return await self.db.point(fn)
        hit = self._cache.get(key)
        if hit is not None and hit[0] == token:
            return hit[1]  # type: ignore[no-any-return]
        # The token was read before the data, so a commit in between makes the entry stale, not wrong.
        value = await self.db.point(fn)
        if value is not None:
            self._cache[key] = (token, value)
            if len(self._cache) > 4096:
                self._cache.popitem(last=False)
        return value


def _delete_session(connection: Connection, upload: Upload) -> bool:
    return bool(connection.execute(delete(uploads).where(uploads.c.id == upload.id)).rowcount)


async def _unlock(writer: UploadWriter) -> None:
    if isinstance(writer, leases.LeasedWriter):
        await writer.lease.release()


def _new_key(digest: str) -> str:
    # The random part gives a blob that is pushed again while its old bytes are being collected a new
    # place. Digest first, so that shards are even and fsck can name what a stray file was.
    algorithm, _, value = digest.partition(":")
    return f"{value}.{algorithm}.{secrets.token_hex(4)}"


def _upsert(
    connection: Connection,
    table: Any,
    values: dict[str, Any],
    conflict: list[str],
    changes: dict[str, Any] | None,
) -> None:
    connection.execute(upsert(connection, table, values, conflict, changes))


def _repository(connection: Connection, name: str) -> Repository | None:
    row = connection.execute(
        select(repositories.c.id, repositories.c.name, repositories.c.project_id, projects.c.public)
        .join(projects, projects.c.id == repositories.c.project_id)
        .where(repositories.c.name == name)
    ).first()
    return Repository(*row) if row else None


def _create_repository(connection: Connection, name: str, create_project: bool) -> Repository:
    found = _repository(connection, name)
    if found is not None:
        return found
    project_name = name.partition("/")[0]
    now = time.time()
    if create_project:
        _upsert(
            connection,
            projects,
            {"name": project_name, "public": True, "created_at": now, "updated_at": now},
            ["name"],
            None,
        )
    row = connection.execute(select(projects.c.id).where(projects.c.name == project_name)).first()
    if row is None:
        raise RegistryError("NAME_UNKNOWN", f"project {project_name} not found", detail={"name": name})
    _upsert(
        connection,
        repositories,
        {"project_id": row[0], "name": name, "created_at": now, "updated_at": now},
        ["name"],
        None,
    )
    created = _repository(connection, name)
    assert created is not None
    return created


def _blob(connection: Connection, name: str, digest: str) -> tuple[Blob, float] | None:
    row = connection.execute(
        select(blobs.c.digest, blobs.c.size, blobs.c.storage_key, repository_blobs.c.touched_at)
        .join(repository_blobs, repository_blobs.c.digest == blobs.c.digest)
        .join(repositories, repositories.c.id == repository_blobs.c.repository_id)
        .where(repositories.c.name == name, blobs.c.digest == digest)
    ).first()
    return (Blob(row[0], row[1], row[2]), row[3]) if row else None


def _link(connection: Connection, repository_id: int, digest: str, *, create: bool = True) -> bool:
    """Touch blob and link (made if missing and `create`); False when the blob is gone."""
    now = time.time()
    if not connection.execute(update(blobs).where(blobs.c.digest == digest).values(touched_at=now)).rowcount:
        return False
    if not create:
        return bool(
            connection.execute(
                update(repository_blobs)
                .where(repository_blobs.c.repository_id == repository_id, repository_blobs.c.digest == digest)
                .values(touched_at=now)
            ).rowcount
        )
    _upsert(
        connection,
        repository_blobs,
        {"repository_id": repository_id, "digest": digest, "touched_at": now},
        ["repository_id", "digest"],
        {"touched_at": now},
    )
    return True


def _manifest(connection: Connection, name: str, reference: str) -> StoredManifest | None:
    query = (
        select(manifests.c.digest, manifests.c.media_type, manifest_payloads.c.payload)
        .join(manifest_payloads, manifest_payloads.c.manifest_id == manifests.c.id)
        .join(repositories, repositories.c.id == manifests.c.repository_id)
        .where(repositories.c.name == name)
    )
    if ":" in reference:
        query = query.where(manifests.c.digest == reference)
    else:
        query = query.join(
            tags, and_(tags.c.repository_id == repositories.c.id, tags.c.manifest_id == manifests.c.id)
        ).where(tags.c.name == reference)
    row = connection.execute(query).first()
    return StoredManifest(row[0], row[1], bytes(row[2])) if row else None


def _deletion(
    connection: Connection, repository: Repository, reference: str, who: Actor, root: bool
) -> Deletion | None:
    """What deleting `reference` means, its manifest's row locked until commit; None when it is unknown."""
    query = select(manifests.c.id, manifests.c.digest, manifests.c.media_type).where(
        manifests.c.repository_id == repository.id
    )
    if ":" in reference:
        query = query.where(manifests.c.digest == reference)
    else:
        query = query.join(tags, tags.c.manifest_id == manifests.c.id).where(
            tags.c.repository_id == repository.id, tags.c.name == reference
        )
    row = connection.execute(query.with_for_update(of=manifests)).first()
    if row is None:
        return None
    names = connection.execute(select(tags.c.name).where(tags.c.manifest_id == row[0])).scalars()
    tag = None if ":" in reference else reference
    return Deletion(repository, row[0], row[1], row[2], tag, tuple(names), who, time.time(), root)


def _check_references(
    connection: Connection, repository_id: int, parsed: manifests_.Manifest, now: float, sparse: bool = False
) -> list[tuple[str, str]]:
    """Hold every referenced blob and child manifest in place and return (digest, kind) of each.

    Blob links are touched, which both proves they are there and keeps the collector off; child manifests
    are locked against deletion until commit.
    """
    missing: list[str] = []
    result: list[tuple[str, str]] = []
    # Sorted: two pushes that share blobs then lock rows in one order and cannot deadlock.
    for digest in sorted({*parsed.blobs, *parsed.optional}):
        touched = connection.execute(
            update(repository_blobs)
            .where(repository_blobs.c.repository_id == repository_id, repository_blobs.c.digest == digest)
            .values(touched_at=now)
        ).rowcount
        if touched:
            result.append((digest, "blob"))
            size = parsed.blobs.get(digest)
            stored = connection.execute(select(blobs.c.size).where(blobs.c.digest == digest)).scalar_one()
            if size is not None and size != stored:
                raise RegistryError(
                    "MANIFEST_INVALID", f"{digest} has {stored} bytes, the manifest says {size}"
                )
        elif digest in parsed.blobs:
            missing.append(digest)
    for digest in sorted(parsed.manifests):
        row = connection.execute(
            select(manifests.c.id)
            .where(manifests.c.repository_id == repository_id, manifests.c.digest == digest)
            .with_for_update(read=True)
        ).first()
        if row is not None:
            result.append((digest, "manifest"))
        elif not sparse:
            missing.append(digest)
    if missing:
        raise RegistryError("MANIFEST_BLOB_UNKNOWN", detail={"digest": missing[0], "missing": missing[:100]})
    return result


def _insert_manifest(
    connection: Connection,
    repository: Repository,
    digest: str,
    parsed: manifests_.Manifest,
    payload: bytes,
    names: list[str],
    now: float,
) -> tuple[int, bool]:
    """Write the manifest's rows; returns its id and whether it is new to the repository."""
    found = connection.execute(
        select(manifests.c.id, manifests.c.accessory_of).where(
            manifests.c.repository_id == repository.id, manifests.c.digest == digest
        )
    ).first()
    attached = index.accessory(parsed, digest, names)
    if found is not None:
        # A manifest pushed again counts as new, so retention and collection see the latest push.
        values: dict[str, Any] = {"pushed_at": now, "media_type": parsed.media_type}
        if attached is not None and found[1] is None:
            values["accessory_type"], values["accessory_of"] = attached
        connection.execute(update(manifests).where(manifests.c.id == found[0]).values(**values))
        return int(found[0]), False
    total = len(payload) + sum(parsed.blobs.values())
    if parsed.manifests:
        total += index.children_size(connection, repository.id, parsed.manifests)
    manifest_id = int(
        connection.execute(
            insert(manifests)
            .values(
                repository_id=repository.id,
                project_id=repository.project_id,
                digest=digest,
                media_type=parsed.media_type,
                artifact_type=parsed.artifact_type,
                config_media_type=parsed.config_media_type,
                subject_digest=parsed.subject,
                size=len(payload),
                annotations=parsed.annotations,
                pushed_at=now,
                kind=index.kind_of(parsed.media_type, parsed.artifact_type, parsed.config_media_type),
                accessory_type=attached[0] if attached else None,
                accessory_of=attached[1] if attached else None,
                total_size=total,
                # Counted by `index.relist` once its tags and references are written.
                listed=False,
            )
            .returning(manifests.c.id)
        ).scalar_one()
    )
    connection.execute(insert(manifest_payloads).values(manifest_id=manifest_id, payload=payload))
    return manifest_id, True
