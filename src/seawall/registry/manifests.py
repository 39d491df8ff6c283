"""Manifests: found by tag or digest, stored with everything that their rows say of them."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Select, bindparam, insert, select, update

from seawall.access.views import projects
from seawall.infra.db import Database
from seawall.infra.db.batch import Asked, flush, later, many
from seawall.infra.db.dialect import add_all, dialect_of, next_id, upsert
from seawall.kernel.context import actor
from seawall.kernel.errors import RegistryError
from seawall.kernel.names import check_digest, digest_of, is_tag
from seawall.registry import accounting, index
from seawall.registry.belongings import is_attached
from seawall.registry.found import FoundManifests, find_manifest
from seawall.registry.hooks import Push
from seawall.registry.manifest import Manifest, parse
from seawall.registry.model import Repository, StoredManifest
from seawall.registry.reads import PointReads
from seawall.registry.receipts import Receipt
from seawall.registry.repositories import GoneError, Repositories
from seawall.registry.tables import (
    blobs,
    manifest_payloads,
    manifest_references,
    manifests,
    repositories,
    repository_blobs,
    tags,
)
from seawall.registry.writes import ContentWrites


class Manifests:
    """The manifests of the registry. Errors are RegistryError with OCI codes."""

    def __init__(
        self, db: Database, reads: PointReads, repositories: Repositories, writes: ContentWrites
    ) -> None:
        self._found = FoundManifests(db, writes.hooks)
        self._reads = reads
        self._repositories = repositories
        self._writes = writes

    async def get(self, name: str, reference: str) -> StoredManifest:
        """The manifest a tag or digest names. Raises MANIFEST_UNKNOWN, NAME_UNKNOWN, DIGEST_INVALID."""
        if ":" in reference:
            check_digest(reference)
        elif not is_tag(reference):
            raise RegistryError("MANIFEST_UNKNOWN", detail={"reference": reference[:128]})
        found = await self._reads.get(
            ("m", name, reference),
            lambda c: find_manifest(c, name, reference, self._writes.hooks.policies),
            lambda: self._found.get(name, reference),
        )
        assert found is not None
        return found

    async def pulling(self, name: str, found: StoredManifest, reference: str) -> None:
        """Tell the hooks that a manifest is about to be sent; they may refuse with RegistryError."""
        for hook in self._writes.hooks.of("before_pull"):
            if found.guarded or not hook.__self__.policies:
                await hook(name, found, reference)

    async def put(
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
        replica: bool = False,
        first: Callable[[Connection], None] | None = None,
    ) -> tuple[str, str | None]:
        """Store a manifest under a tag or digest; returns its digest and its subject's, if it has one.

        `extra_tags` are set in the same transaction. `sparse` lets an index lack children (a proxy cache
        holds those that were pulled), and has indexes that name this manifest count its size. `at`: when it
        was pushed, if not now. `replica`: a copy of what a peer has acknowledged; neither quota nor rule
        refuses it. `first` begins the transaction, and may refuse by an error of its own. `digest` asks a
        push by tag to be stored under that digest, which may be a sha512. Raises MANIFEST_INVALID,
        MANIFEST_BLOB_UNKNOWN, DIGEST_INVALID, NAME_UNKNOWN.
        """
        wanted = list(extra_tags)
        if ":" in reference:
            digest = check_digest(reference)
        else:
            wanted.insert(0, reference)
        for tag in wanted:
            if not is_tag(tag):
                raise RegistryError("MANIFEST_INVALID", "tag is not valid", detail={"tag": tag[:128]})
        parsed = parse(payload, content_type)
        algorithm = check_digest(digest).partition(":")[0] if digest else "sha256"
        actual = digest_of(payload, algorithm)
        if digest is not None and digest != actual:
            raise RegistryError("DIGEST_INVALID", detail={"digest": digest})
        now = time.time() if at is None else at
        who = actor.get()
        # A tag that a peer took a moment ago is taken, and what moves it comes after that.
        taken = {} if replica else await self._writes.elsewhere.ready_tags(name, wanted)

        async def store(repository: Repository) -> None:
            push = Push(repository, actual, parsed, len(payload), tuple(wanted), who, now, taken=taken)
            await self._writes.charged(
                lambda c, exact: self._store(
                    c, push, payload, exact=exact, sparse=sparse, replica=replica, first=first
                )
            )

        await self._repositories.writing(name, store)
        if not replica:
            self._writes.committed()
            if not sparse:
                receipt = Receipt(name, actual, parsed.media_type, tuple(wanted), now, payload)
                await self._writes.receipts.add(receipt)
        return actual, parsed.subject

    def _store(
        self,
        connection: Connection,
        push: Push,
        payload: bytes,
        *,
        exact: bool,
        sparse: bool,
        replica: bool,
        first: Callable[[Connection], None] | None,
    ) -> None:
        """Write a manifest: ask all that must be known, decide, then write all. Raises GoneError."""
        if first is not None:
            first(connection)
        hooks = self._writes.hooks
        found = _look(connection, push, [look(push) for look in hooks.of("looks", replica=replica)])
        push = found.push
        for hook in hooks.of("before_push", replica=replica):
            hook(connection, push)
        references = _references(push.manifest, found, sparse)
        manifest_id = _write(connection, push, payload, found, references)
        if sparse and found.known is None:
            total = len(payload) + sum(push.manifest.blobs.values())
            total += sum(size for _, size in found.children.values())
            later(connection, _grown(push, total))
        if found.known is None:
            account = self._writes.account(push.repository.project_id, free=replica, exact=exact)
            accounting.charge(connection, account, push.digest, len(payload))
            self._writes.warn(connection, account)
        after = hooks.of("after_push", replica=replica)
        if not all(hook.__self__.blind for hook in after):
            flush(connection)
        for hook in after:
            hook(connection, push, manifest_id)


@dataclass(frozen=True, slots=True)
class _Found:
    """What is there before a manifest is written.

    `known`: of the manifest itself its id, the subject that it belongs to, and whether that keeps it.
    """

    push: Push
    sizes: dict[str, int]
    children: dict[str, tuple[int, int]]
    holders: list[int]
    known: tuple[int, str | None, bool] | None
    accessories: list[int]
    next_id: int


# The queries of every push, built once (see `batch.Asked`).
_REPOSITORY = (
    select(
        repositories.c.id,
        repositories.c.name,
        repositories.c.project_id,
        projects.c.public,
        repositories.c.created_at,
    )
    .join(projects, projects.c.id == repositories.c.project_id)
    .where(repositories.c.id == bindparam("b_repository"))
    .with_for_update(key_share=True, of=repositories)
)
_KNOWN = select(manifests.c.id, manifests.c.accessory_of, is_attached()).where(
    manifests.c.repository_id == bindparam("b_repository"), manifests.c.digest == bindparam("b_digest")
)
_ACCESSORIES = select(manifests.c.id).where(
    manifests.c.repository_id == bindparam("b_repository"), manifests.c.accessory_of == bindparam("b_digest")
)
_LINKS = (
    update(repository_blobs)
    .where(
        repository_blobs.c.repository_id == bindparam("b_repository"),
        repository_blobs.c.digest.in_(bindparam("b_digests", expanding=True)),
    )
    .values(touched_at=bindparam("b_now"))
    .returning(repository_blobs.c.digest)
)
_SIZES = select(blobs.c.digest, blobs.c.size).where(
    blobs.c.digest.in_(bindparam("b_digests", expanding=True))
)
_CHILDREN = (
    select(manifests.c.digest, manifests.c.id, manifests.c.total_size)
    .where(
        manifests.c.repository_id == bindparam("b_repository"),
        manifests.c.digest.in_(bindparam("b_digests", expanding=True)),
    )
    .order_by(manifests.c.digest)
    .with_for_update(read=True)
)
_TAGS = (
    select(tags.c.name, tags.c.manifest_id, manifests.c.digest)
    .join(manifests, manifests.c.id == tags.c.manifest_id)
    .where(
        tags.c.repository_id == bindparam("b_repository"),
        tags.c.name.in_(bindparam("b_names", expanding=True)),
    )
)
_INSERTS = {table: insert(table) for table in (manifests, manifest_payloads)}


@functools.cache
def _next_id(dialect: str) -> Select[Any]:
    return next_id(dialect, manifests)


@functools.cache
def _tag(dialect: str) -> Any:
    row: dict[str, Any] = {
        name: bindparam(f"b_{name}") for name in ("repository_id", "name", "manifest_id", "pushed_at")
    }
    return upsert(dialect, tags, row, ["repository_id", "name"], ["manifest_id", "pushed_at"])


def _grown(push: Push, size: int) -> Any:
    """Add a manifest's size to the indexes that named it before it came."""
    named = select(manifest_references.c.manifest_id).where(
        manifest_references.c.repository_id == push.repository.id,
        manifest_references.c.digest == push.digest,
        manifest_references.c.kind == "manifest",
    )
    query = update(manifests).where(manifests.c.id.in_(named))
    return query.values(total_size=manifests.c.total_size + size)


def _look(connection: Connection, push: Push, looks: list[dict[str, Asked]]) -> _Found:
    """Lock the repository, hold what the manifest refers to in place, and read what is to be known.

    Blob links are touched, which both proves they are there and keeps the collector off; child manifests
    are locked against deletion until commit. Raises GoneError.
    """
    repository, parsed = push.repository, push.manifest
    here = {"b_repository": repository.id}
    itself = {**here, "b_digest": push.digest}
    queries: dict[str, Asked] = {
        # First: the rest is read when nobody else changes the repository any more.
        "repository": (_REPOSITORY, here),
        "known": (_KNOWN, itself),
        "accessories": (_ACCESSORIES, itself),
        "id": (_next_id(dialect_of(connection)), {}),
    }
    digests = sorted({*parsed.blobs, *parsed.optional})
    if digests:
        queries["links"] = (_LINKS, {**here, "b_digests": digests, "b_now": time.time()})
        queries["sizes"] = (_SIZES, {"b_digests": digests})
    if parsed.manifests:
        queries["children"] = (_CHILDREN, {**here, "b_digests": list(parsed.manifests)})
    if push.tags:
        queries["tags"] = (_TAGS, {**here, "b_names": list(push.tags)})
    own = len(queries)
    for look in looks:
        queries |= look
    rows = dict(zip(queries, many(connection, *queries.values()), strict=True))
    if not rows["repository"]:
        raise GoneError
    *fields, created = rows["repository"][0]
    sizes = dict(rows.get("sizes", []))
    push = replace(
        push,
        repository=Repository(*fields),
        repository_created=created,
        taken={**{row[0]: row[2] for row in rows.get("tags", [])}, **push.taken},
        seen={name: rows[name] for name in list(queries)[own:]},
    )
    return _Found(
        push,
        {row[0]: sizes[row[0]] for row in rows.get("links", [])},
        {row[0]: (row[1], row[2]) for row in rows.get("children", [])},
        [row[1] for row in rows.get("tags", [])],
        (rows["known"][0][0], rows["known"][0][1], rows["known"][0][2]) if rows["known"] else None,
        [row[0] for row in rows["accessories"]],
        rows["id"][0][0],
    )


def _references(parsed: Manifest, found: _Found, sparse: bool) -> list[tuple[str, str]]:
    """(digest, kind) of each blob and child manifest that is there. Raises RegistryError.

    With `sparse` children that are not there yet count too, so that one that comes later, through whichever
    process, finds its index.
    """
    missing: list[str] = []
    result: list[tuple[str, str]] = []
    for digest in sorted({*parsed.blobs, *parsed.optional}):
        stored = found.sizes.get(digest)
        if stored is not None:
            result.append((digest, "blob"))
            size = parsed.blobs.get(digest)
            if size is not None and size != stored:
                raise RegistryError(
                    "MANIFEST_INVALID", f"{digest} has {stored} bytes, the manifest says {size}"
                )
        elif digest in parsed.blobs:
            missing.append(digest)
    for digest in sorted(parsed.manifests):
        if digest in found.children or sparse:
            result.append((digest, "manifest"))
        else:
            missing.append(digest)
    if missing:
        raise RegistryError("MANIFEST_BLOB_UNKNOWN", detail={"digest": missing[0], "missing": missing[:100]})
    return result


def _write(
    connection: Connection, push: Push, payload: bytes, found: _Found, references: list[tuple[str, str]]
) -> int:
    """Write the rows of the manifest and its tags; returns its id."""
    repository, parsed, now = push.repository, push.manifest, push.at
    attached = index.accessory(parsed, push.digest, push.tags)
    if found.known is not None:
        manifest_id = found.known[0]
        # A manifest pushed again counts as new, so retention and collection see the latest push. One that its
        # subject keeps does not: a signature counts from when it was first seen, and a user who pushed it
        # again would else take a signature away whose certificate has expired since.
        values: dict[str, Any] = {"media_type": parsed.media_type}
        if not found.known[2]:
            values["pushed_at"] = now
        if attached is not None and found.known[1] is None:
            values["accessory_type"], values["accessory_of"] = attached
        later(connection, update(manifests).where(manifests.c.id == manifest_id).values(**values))
    else:
        manifest_id = found.next_id
        total = len(payload) + sum(parsed.blobs.values())
        row = {
            "id": manifest_id,
            "repository_id": repository.id,
            "project_id": repository.project_id,
            "digest": push.digest,
            "media_type": parsed.media_type,
            "artifact_type": parsed.artifact_type,
            "config_media_type": parsed.config_media_type,
            "subject_digest": parsed.subject,
            "size": len(payload),
            "annotations": parsed.annotations,
            "pushed_at": now,
            "kind": index.kind_of(
                parsed.media_type, parsed.artifact_type, parsed.config_media_type, parsed.annotations
            ),
            "accessory_type": attached[0] if attached else None,
            "accessory_of": attached[1] if attached else None,
            "total_size": total + sum(size for _, size in found.children.values()),
            # Counted by `index.relist_later` once its tags and references are written.
            "listed": False,
        }
        later(connection, _INSERTS[manifests], row)
        later(connection, _INSERTS[manifest_payloads], {"manifest_id": manifest_id, "payload": payload})
    named = [
        {"manifest_id": manifest_id, "digest": target, "kind": kind, "repository_id": repository.id}
        for target, kind in references
    ]
    if named:
        # What was not there at an earlier push may be there now.
        key = ("manifest_id", "digest", "kind")
        later(connection, *add_all(dialect_of(connection), manifest_references, key, named))
    for tag in push.tags:
        row = {"repository_id": repository.id, "name": tag, "manifest_id": manifest_id, "pushed_at": now}
        later(connection, _tag(dialect_of(connection)), {f"b_{key}": value for key, value in row.items()})
    affected = {manifest_id, *found.holders, *found.accessories}
    affected |= {child for child, _ in found.children.values()}
    index.relist_later(connection, repository.id, affected, now)
    return manifest_id
