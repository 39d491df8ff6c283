"""Manifests: found by tag or digest, stored with everything that their rows say of them."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection, and_, insert, select, update

from seawall.infra.db.dialect import upsert
from seawall.kernel.context import actor
from seawall.kernel.errors import RegistryError
from seawall.kernel.names import check_digest, digest_of, is_tag
from seawall.registry import accounting, index
from seawall.registry.belongings import is_attached
from seawall.registry.hooks import Push
from seawall.registry.manifest import Manifest, parse
from seawall.registry.model import Repository, StoredManifest
from seawall.registry.reads import PointReads
from seawall.registry.repositories import Repositories
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

    def __init__(self, reads: PointReads, repositories: Repositories, writes: ContentWrites) -> None:
        self._reads = reads
        self._repositories = repositories
        self._writes = writes

    async def get(self, name: str, reference: str) -> StoredManifest:
        """The manifest a tag or digest names. Raises MANIFEST_UNKNOWN, NAME_UNKNOWN, DIGEST_INVALID."""
        if ":" in reference:
            check_digest(reference)
        elif not is_tag(reference):
            raise RegistryError("MANIFEST_UNKNOWN", detail={"reference": reference[:128]})
        found = await self._reads.get(("m", name, reference), lambda c: find_manifest(c, name, reference))
        if found is None:
            await self._repositories.get(name)
            raise RegistryError("MANIFEST_UNKNOWN", detail={"reference": reference})
        return found

    async def pulling(self, name: str, found: StoredManifest, reference: str) -> None:
        """Tell the hooks that a manifest is about to be sent; they may refuse with RegistryError."""
        for hook in self._writes.hooks.of("before_pull"):
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
    ) -> tuple[str, str | None]:
        """Store a manifest under a tag or digest; returns its digest and its subject's, if it has one.

        `extra_tags` are set in the same transaction. `sparse` lets an index lack children (a proxy cache
        holds those that were pulled). `at`: when it was pushed, if not now. `replica`: a copy of what a peer
        has acknowledged; neither quota nor rule refuses it. `digest` asks a push by tag to be stored under
        that digest, which may be a sha512. Raises MANIFEST_INVALID, MANIFEST_BLOB_UNKNOWN,
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
        parsed = parse(payload, content_type)
        algorithm = check_digest(digest).partition(":")[0] if digest else "sha256"
        actual = digest_of(payload, algorithm)
        if digest is not None and digest != actual:
            raise RegistryError("DIGEST_INVALID", detail={"digest": digest})
        repository = await self._repositories.ensure(name)
        now = time.time() if at is None else at
        push = Push(repository, actual, parsed, len(payload), tuple(wanted), actor.get(), now)
        before = self._writes.hooks.of("before_push", replica=replica)
        after = self._writes.hooks.of("after_push", replica=replica)

        def store_manifest(connection: Connection) -> None:
            account = accounting.lock(connection, repository.project_id, free=replica)
            for hook in before:
                hook(connection, push)
            references = _check_references(connection, repository.id, parsed, time.time(), sparse)
            affected = set(index.holders(connection, repository.id, wanted))
            manifest_id, new = _insert_manifest(connection, repository, actual, parsed, payload, wanted, now)
            if new:
                accounting.charge(connection, account, actual, len(payload))
                self._writes.warn(connection, account)
            for target, kind in references:
                connection.execute(
                    upsert(
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
                )
            for tag in wanted:
                connection.execute(
                    upsert(
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

        await self._writes.charged(store_manifest)
        if not replica:
            self._writes.committed()
        return actual, parsed.subject


def find_manifest(connection: Connection, name: str, reference: str) -> StoredManifest | None:
    """The manifest that a tag or digest names in the repository called `name`."""
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


def _check_references(
    connection: Connection, repository_id: int, parsed: Manifest, now: float, sparse: bool = False
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
    parsed: Manifest,
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
        # A manifest pushed again counts as new, so retention and collection see the latest push. One that its
        # subject keeps does not: a signature counts from when it was first seen, and whoever pushed it again
        # would else take a signature away whose certificate has expired since.
        values: dict[str, Any] = {"media_type": parsed.media_type}
        kept = select(manifests.c.id).where(manifests.c.id == found[0], is_attached())
        if connection.execute(kept).first() is None:
            values["pushed_at"] = now
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
