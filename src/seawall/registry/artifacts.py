"""Artifacts as the management API sees them: what a manifest is, and all that belongs to it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    delete,
    insert,
    literal,
    select,
    tuple_,
    update,
)

from seawall.access.tables import projects
from seawall.infra.db import Database
from seawall.kernel.context import Actor, actor
from seawall.kernel.errors import (
    ConflictError,
    InvalidError,
    NotFoundError,
    PreconditionError,
    RegistryError,
    StandbyError,
)
from seawall.kernel.names import check_digest, is_tag
from seawall.registry import accounting, additions, index, windows
from seawall.registry.hooks import Deletion, Tagging
from seawall.registry.local import LocalRegistry
from seawall.registry.manifest import DOCKER_LIST, OCI_INDEX
from seawall.registry.model import Repository
from seawall.registry.tables import (
    labels,
    manifest_labels,
    manifest_payloads,
    manifest_references,
    manifests,
    repositories,
    repository_blobs,
    tags,
)

INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})
_CONFIG_LIMIT = 4 * 1024 * 1024
_COPY_LIMIT = 1000
_DELETE_BATCH = 200
# Artifacts that are passed over in the index sooner than looked up in the counts.
_WALK = 200
NEWEST_FIRST = (manifests.c.pushed_at.desc(), manifests.c.id.desc())


@dataclass(frozen=True, slots=True)
class Artifact:
    """A manifest row with its repository's name; `size` counts everything it names, in bytes."""

    id: int
    repository_id: int
    repository: str
    project_id: int
    digest: str
    manifest_media_type: str
    artifact_type: str | None
    config_media_type: str | None
    stored_kind: str | None
    size: int
    pushed_at: float
    pulled_at: float | None
    annotations: dict[str, str] | None
    attributes: dict[str, Any] | None
    accessory_type: str | None
    accessory_of: str | None

    @property
    def kind(self) -> str:
        """IMAGE, CHART, ..."""
        return self.stored_kind or index.kind_of(
            self.manifest_media_type, self.artifact_type, self.config_media_type
        )

    @property
    def media_type(self) -> str:
        """Harbor's `media_type`: the config's, or the manifest's where there is none."""
        return self.config_media_type or self.manifest_media_type

    @property
    def is_index(self) -> bool:
        """Whether it names other manifests."""
        return self.manifest_media_type in INDEXES


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag of an artifact."""

    repository_id: int
    artifact_id: int
    name: str
    pushed_at: float
    pulled_at: float | None

    @property
    def id(self) -> int:
        """A number as Harbor's clients expect; tags are known by name here, so it is made from that."""
        text = f"{self.repository_id}/{self.name}".encode()
        return int.from_bytes(hashlib.sha256(text).digest()[:6], "big") + 1


@dataclass(frozen=True, slots=True)
class Label:
    """A label; `project_id` None for global ones."""

    id: int
    name: str
    description: str
    color: str
    project_id: int | None
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class Reference:
    """A child of an index; `child_id` is 0 when the child is not there any more."""

    parent_id: int
    child_id: int
    child_digest: str
    platform: dict[str, Any] | None
    annotations: dict[str, str] | None
    urls: list[str] | None


@dataclass(slots=True)
class Belongings:
    """What a page of artifacts has, by artifact id."""

    tags: dict[int, list[Tag]] = field(default_factory=dict)
    labels: dict[int, list[Label]] = field(default_factory=dict)
    accessories: dict[int, list[Artifact]] = field(default_factory=dict)
    references: dict[int, list[Reference]] = field(default_factory=dict)


_COLUMNS = (
    manifests.c.id,
    manifests.c.repository_id,
    repositories.c.name,
    repositories.c.project_id,
    manifests.c.digest,
    manifests.c.media_type,
    manifests.c.artifact_type,
    manifests.c.config_media_type,
    manifests.c.kind,
    manifests.c.total_size,
    manifests.c.pushed_at,
    manifests.c.pulled_at,
    manifests.c.annotations,
    manifests.c.attributes,
    manifests.c.accessory_type,
    manifests.c.accessory_of,
)
TAG_COLUMNS = (
    tags.c.repository_id,
    tags.c.manifest_id,
    tags.c.name,
    tags.c.pushed_at,
    tags.c.pulled_at,
)
LABEL_COLUMNS = (
    labels.c.id,
    labels.c.name,
    labels.c.description,
    labels.c.color,
    labels.c.project_id,
    labels.c.created_at,
    labels.c.updated_at,
)


def artifacts() -> Select[Any]:
    """A query of artifacts; its rows make `Artifact(*row)`."""
    return select(*_COLUMNS).join(repositories, repositories.c.id == manifests.c.repository_id)


def find(connection: Connection, repository_id: int, reference: str) -> Artifact | None:
    """The artifact a tag or digest names."""
    query = artifacts().where(manifests.c.repository_id == repository_id)
    if ":" in reference:
        query = query.where(manifests.c.digest == reference)
    else:
        query = query.join(
            tags, and_(tags.c.repository_id == repository_id, tags.c.manifest_id == manifests.c.id)
        ).where(tags.c.name == reference)
    row = connection.execute(query).first()
    return Artifact(*row) if row else None


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a list by push time, newest first: the last artifact of the page before."""

    pushed_at: float
    id: int
    # Of a filtered list: how many there were when the first page was asked for.
    total: int | None = None

    def __str__(self) -> str:
        counted = "" if self.total is None else f"_{self.total}"
        return f"{self.pushed_at!r}_{self.id}{counted}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Reverse of str. Raises InvalidError."""
        time_text, *numbers = text.split("_")
        try:
            if len(text) > 64 or len(numbers) not in (1, 2):
                raise ValueError
            if not all(n.isascii() and n.isdigit() and int(n) < 2**63 for n in numbers):
                raise ValueError
            return cls(float(time_text), *map(int, numbers))
        except ValueError:
            raise InvalidError("after is not a cursor of this list") from None


def before_cursor(after: Cursor) -> ColumnElement[bool]:
    """The artifacts that come after the cursor in a list by push time, newest first."""
    return tuple_(manifests.c.pushed_at, manifests.c.id) < tuple_(literal(after.pushed_at), literal(after.id))


def page(
    connection: Connection,
    scope: tuple[str, int],
    *,
    limit: int,
    offset: int = 0,
    after: Cursor | None = None,
    total: int | None = None,
    kind: str | None = None,
) -> list[Artifact]:
    """A page of the listed artifacts of a repository or project, newest push first.

    `scope` is ("repository_id", id) or ("project_id", id), `kind` an artifact type. The time is the same for
    every page: `after` is a place in the index, and `offset` is looked up in the counts of
    `content.windows`. Where those are not equal to `total`, which is kept apart from them, the ids before
    the page are walked in the index, from the nearer end.
    """
    column = manifests.c[scope[0]]
    ids = select(manifests.c.id).where(column == scope[1], manifests.c.listed.is_(True))
    if kind is not None:
        ids = ids.where(manifests.c.kind == kind)
    if after is None and total is not None and offset > _WALK:
        if offset >= total:
            return []
        counted = windows.count(connection, scope, kind) == total
        place = windows.locate(connection, scope, offset, kind) if counted else None
        if place is not None:
            before, offset = place
            ids = ids.where(manifests.c.pushed_at < before)
            total = None
    if after is not None:
        ids = ids.where(before_cursor(after))
        ids = ids.order_by(*NEWEST_FIRST).limit(limit)
    elif total is not None and offset > total // 2:
        rest = max(total - offset - limit, 0)
        here = max(min(limit, total - offset), 0)
        ids = ids.order_by(manifests.c.pushed_at, manifests.c.id).limit(here).offset(rest)
    else:
        ids = ids.order_by(*NEWEST_FIRST).limit(limit).offset(offset)
    chosen = ids.subquery()
    query = artifacts().join(chosen, chosen.c.id == manifests.c.id).order_by(*NEWEST_FIRST)
    return [Artifact(*row) for row in connection.execute(query)]


def tags_of(connection: Connection, ids: Sequence[int]) -> dict[int, list[Tag]]:
    """Tags by artifact, newest first."""
    result: dict[int, list[Tag]] = {}
    if ids:
        query = (
            select(*TAG_COLUMNS)
            .where(tags.c.manifest_id.in_(ids))
            .order_by(tags.c.pushed_at.desc(), tags.c.name)
        )
        for row in connection.execute(query):
            result.setdefault(row[1], []).append(Tag(*row))
    return result


def labels_of(connection: Connection, ids: Sequence[int]) -> dict[int, list[Label]]:
    """Labels by artifact."""
    result: dict[int, list[Label]] = {}
    if ids:
        query = (
            select(manifest_labels.c.manifest_id, *LABEL_COLUMNS)
            .join(labels, labels.c.id == manifest_labels.c.label_id)
            .where(manifest_labels.c.manifest_id.in_(ids))
            .order_by(labels.c.id)
        )
        for row in connection.execute(query):
            result.setdefault(row[0], []).append(Label(*row[1:]))
    return result


def accessories_of(connection: Connection, found: Iterable[Artifact]) -> dict[int, list[Artifact]]:
    """Accessories by the id of their subject."""
    subjects = {(item.repository_id, item.digest): item.id for item in found}
    result: dict[int, list[Artifact]] = {}
    for repository_id in {key[0] for key in subjects}:
        digests = [digest for owner, digest in subjects if owner == repository_id]
        query = (
            artifacts()
            .where(manifests.c.repository_id == repository_id, manifests.c.accessory_of.in_(digests))
            .order_by(manifests.c.id)
        )
        for row in connection.execute(query):
            item = Artifact(*row)
            result.setdefault(subjects[repository_id, item.accessory_of or ""], []).append(item)
    return result


def inherited_accessories_of(
    connection: Connection, found: Iterable[Artifact]
) -> dict[int, list[tuple[Artifact, Artifact]]]:
    """(accessory, its subject) of the indexes that name an artifact, by the artifact's id."""
    result: dict[int, list[tuple[Artifact, Artifact]]] = {}
    for item in found:
        parents = [
            Artifact(*row)
            for row in connection.execute(
                artifacts().where(
                    manifests.c.id.in_(
                        select(manifest_references.c.manifest_id).where(
                            manifest_references.c.repository_id == item.repository_id,
                            manifest_references.c.digest == item.digest,
                            manifest_references.c.kind == "manifest",
                        )
                    )
                )
            )
        ]
        attached = accessories_of(connection, parents) if parents else {}
        pairs = [(part, parent) for parent in parents for part in attached.get(parent.id, [])]
        if pairs:
            result[item.id] = pairs
    return result


def references_of(connection: Connection, found: Iterable[Artifact]) -> dict[int, list[Reference]]:
    """Children by the id of their index, in the index's order."""
    parents = {item.id: item for item in found if item.is_index}
    result: dict[int, list[Reference]] = {}
    if not parents:
        return result
    payloads = connection.execute(
        select(manifest_payloads.c.manifest_id, manifest_payloads.c.payload).where(
            manifest_payloads.c.manifest_id.in_(parents)
        )
    ).all()
    for parent_id, payload in payloads:
        children = {
            row[0]: row[1]
            for row in connection.execute(
                select(manifests.c.digest, manifests.c.id)
                .join(
                    manifest_references,
                    and_(
                        manifest_references.c.repository_id == manifests.c.repository_id,
                        manifest_references.c.digest == manifests.c.digest,
                    ),
                )
                .where(manifest_references.c.manifest_id == parent_id)
            )
        }
        listed = msgspec.json.decode(bytes(payload)).get("manifests") or []
        result[parent_id] = [
            Reference(
                parent_id,
                children.get(item["digest"], 0),
                item["digest"],
                item["platform"] if isinstance(item.get("platform"), dict) else None,
                item["annotations"] if isinstance(item.get("annotations"), dict) else None,
                item["urls"] if isinstance(item.get("urls"), list) else None,
            )
            for item in listed
        ]
    return result


class ArtifactService:
    """Operations on artifacts beyond the registry API."""

    def __init__(self, db: Database, content: LocalRegistry) -> None:
        self._db = db
        self._content = content

    async def repository(self, name: str) -> Repository:
        """The repository called `name`. Raises NotFoundError."""
        try:
            return await self._content.repositories.get(name)
        except RegistryError:
            raise NotFoundError(f"repository {name} not found") from None

    async def get(self, name: str, reference: str) -> Artifact:
        """The artifact a tag or digest names. Raises NotFoundError."""
        repository = await self.repository(name)
        found = None
        if _plausible(reference):
            found = await self._db.point(lambda c: find(c, repository.id, reference))
        if found is None:
            raise NotFoundError(f"artifact {name}{'@' if ':' in reference else ':'}{reference} not found")
        return found

    async def complete(self, found: list[Artifact]) -> list[Artifact]:
        """The same artifacts with the attributes of their configs, which are stored when first read."""
        missing = [item for item in found if item.attributes is None]
        if not missing:
            return found
        gate = asyncio.Semaphore(8)

        async def read(item: Artifact) -> tuple[Artifact, dict[str, Any] | None]:
            async with gate:
                return item, await self._attributes(item)

        values: dict[int, dict[str, Any]] = {}
        for item, attributes in await asyncio.gather(*(read(item) for item in missing)):
            if attributes is not None:
                values[item.id] = attributes

        def store(connection: Connection) -> None:
            for item_id, attributes in sorted(values.items()):
                connection.execute(
                    update(manifests).where(manifests.c.id == item_id).values(attributes=attributes)
                )

        if values:
            # A standby reads them again each time, until the active has stored them.
            with contextlib.suppress(StandbyError):
                await self._db.write(store, durable=False)
        return [
            replace(item, attributes=values.get(item.id)) if item.attributes is None else item
            for item in found
        ]

    async def _attributes(self, item: Artifact) -> dict[str, Any] | None:
        if item.kind not in ("IMAGE", "CHART", "CNAB", "WASM") or item.is_index:
            return {}
        try:
            config = await self.config(item)
        except (NotFoundError, OSError):
            # The bytes may be back later; nothing is stored.
            return None
        return additions.attributes(item.kind, config)

    async def payload(self, item: Artifact) -> dict[str, Any]:
        """The manifest's document."""
        payload = await self._db.point(
            lambda c: c.execute(
                select(manifest_payloads.c.payload).where(manifest_payloads.c.manifest_id == item.id)
            ).scalar()
        )
        if payload is None:
            raise NotFoundError(f"artifact {item.digest} not found")
        document: dict[str, Any] = msgspec.json.decode(bytes(payload))
        return document

    async def config(self, item: Artifact) -> dict[str, Any]:
        """The config blob as JSON; empty when it is none. Raises NotFoundError."""
        descriptor = (await self.payload(item)).get("config")
        if not descriptor or descriptor["size"] > _CONFIG_LIMIT:
            return {}
        return additions.json_object(await self.read(item.repository, descriptor["digest"], _CONFIG_LIMIT))

    async def read(self, name: str, digest: str, limit: int) -> bytes:
        """A whole blob of at most `limit` bytes. Raises NotFoundError, InvalidError when it is larger."""
        try:
            blob = await self._content.blobs.get(name, digest)
        except RegistryError as error:
            raise NotFoundError(error.message) from None
        if blob.size > limit:
            raise InvalidError(f"{digest} has {blob.size} bytes, more than the {limit} this can show")
        parts = [part async for part in self._content.storage.stream(blob.key, 0, blob.size)]
        return b"".join(parts)

    async def addition(self, item: Artifact, name: str) -> tuple[str, bytes]:
        """(media type, content) of an addition: build history, a file of a Helm chart, the manifest.

        Raises InvalidError (the kind has no such addition) and NotFoundError.
        """
        wanted = name.lower()
        if wanted == "manifest":
            # Of every kind; Seawall's own, for the portal's view of layers.
            return "application/json; charset=utf-8", msgspec.json.encode(await self.payload(item))
        if wanted not in additions.names(item.kind, item.is_index):
            raise InvalidError(f"addition {name[:50]!r} is not there for {item.kind} artifacts")
        if wanted == "build_history":
            history = (await self.config(item)).get("history") or []
            return "application/json; charset=utf-8", msgspec.json.encode(history)
        layers = (await self.payload(item)).get("layers") or []
        chart = next((layer for layer in layers if additions.is_chart(layer.get("mediaType", ""))), None)
        if chart is None:
            raise NotFoundError("the artifact has no chart layer")
        data = await self.read(item.repository, chart["digest"], additions.CHART_LIMIT)
        return await asyncio.to_thread(additions.chart_file, data, wanted)

    # -- changes -------------------------------------------------------------------------------------

    async def create_tag(self, name: str, reference: str, tag: str) -> Artifact:
        """Give an artifact one more tag. Raises NotFoundError, InvalidError, ConflictError."""
        if not is_tag(tag):
            raise InvalidError(f"tag {tag[:128]!r} is not valid")
        repository = await self.repository(name)
        item = await self.get(name, reference)
        who, now = actor.get(), time.time()
        hooks = self._content.writes.hooks.of("after_tag")

        def run(connection: Connection) -> None:
            accounting.lock(connection, repository.project_id)
            row = connection.execute(
                select(manifests.c.id).where(manifests.c.id == item.id).with_for_update(read=True)
            ).first()
            if row is None:
                raise NotFoundError(f"artifact {name}@{item.digest} not found")
            if connection.execute(
                select(literal(1)).where(tags.c.repository_id == repository.id, tags.c.name == tag)
            ).first():
                raise ConflictError(f"tag {name}:{tag} exists")
            connection.execute(
                insert(tags).values(repository_id=repository.id, name=tag, manifest_id=item.id, pushed_at=now)
            )
            index.relist(connection, repository.id, [item.id])
            connection.execute(
                update(repositories).where(repositories.c.id == repository.id).values(updated_at=now)
            )
            for hook in hooks:
                hook(connection, Tagging(repository, item.id, item.digest, tag, who, now))

        await self._db.write(run)
        self._content.writes.committed()
        return item

    async def delete_tag(self, name: str, reference: str, tag: str) -> None:
        """Take a tag from the artifact. Raises NotFoundError, RegistryError 412 (immutable)."""
        item = await self.get(name, reference)
        repository = await self.repository(name)
        who = actor.get()

        def run(connection: Connection) -> bool:
            owner = connection.execute(
                select(tags.c.manifest_id).where(tags.c.repository_id == repository.id, tags.c.name == tag)
            ).scalar()
            return owner == item.id and self._content.deletions.delete_in(connection, repository, tag, who)

        if not await self._db.write(run):
            raise NotFoundError(f"tag {name}:{tag} not found")
        self._content.writes.committed()

    async def delete(self, name: str, reference: str) -> Artifact:
        """Delete an artifact with its accessories and children.

        Raises NotFoundError, PreconditionError while an index names it, RegistryError 412 (immutable).
        """
        item = await self.get(name, reference)
        repository = await self.repository(name)
        who = actor.get()

        def run(connection: Connection) -> bool:
            accounting.lock(connection, repository.project_id)
            parent = connection.execute(
                select(manifest_references.c.manifest_id).where(
                    manifest_references.c.repository_id == repository.id,
                    manifest_references.c.digest == item.digest,
                    manifest_references.c.kind == "manifest",
                )
            ).first()
            if parent is not None:
                raise PreconditionError(f"artifact {item.digest} is part of another one")
            return self._content.deletions.delete_in(connection, repository, item.digest, who, deep=True)

        if not await self._db.write(run):
            raise NotFoundError(f"artifact {name}@{item.digest} not found")
        self._content.writes.committed()
        return item

    async def delete_repository(self, name: str) -> None:
        """Delete a repository with everything in it.

        Raises NotFoundError, RegistryError 412 when it has an immutable tag.
        """
        repository = await self.repository(name)
        who = actor.get()

        def ask_hooks(connection: Connection) -> None:
            for hook in self._content.writes.hooks.of("before_delete_repository"):
                hook(connection, repository)

        await self._db.read(ask_hooks)
        # In pieces: one transaction over a large repository would hold up every push to the project.
        while not await self._db.write(lambda c: _delete_some(c, self._content, repository, who)):
            pass
        self._content.writes.committed()

    async def copy(self, source: str, reference: str, target: str) -> str:
        """Copy an artifact with its children, accessories and tags; returns its digest.

        Blobs are linked, not copied. Raises NotFoundError, PreconditionError for an accessory,
        RegistryError (quota, immutable tag).
        """
        item = await self.get(source, reference)
        if item.accessory_type is not None:
            raise PreconditionError("an accessory is copied with its subject only")
        seen: set[str] = set()
        await self._copy(source, item, target, seen)
        names = await self._db.read(lambda c: [tag.name for tag in tags_of(c, [item.id]).get(item.id, [])])
        if names:
            stored = await self._content.manifest(source, item.digest)
            await self._content.put_manifest(
                target, item.digest, stored.payload, stored.media_type, tuple(names)
            )
        return item.digest

    async def _copy(self, source: str, item: Artifact, target: str, seen: set[str]) -> None:
        if item.digest in seen:
            return
        seen.add(item.digest)
        if len(seen) > _COPY_LIMIT:
            raise InvalidError(f"the artifact has more than {_COPY_LIMIT} parts")

        def parts(connection: Connection) -> tuple[list[str], list[Artifact], list[Artifact], list[str]]:
            named = connection.execute(
                select(manifest_references.c.digest, manifest_references.c.kind).where(
                    manifest_references.c.manifest_id == item.id
                )
            ).all()
            inside = index.children(connection, item.id)
            rows = connection.execute(artifacts().where(manifests.c.id.in_(inside)))
            below = [Artifact(*row) for row in rows]
            attached = accessories_of(connection, [item]).get(item.id, [])
            own = [tag.name for tag in tags_of(connection, [item.id]).get(item.id, [])]
            return [row[0] for row in named if row[1] == "blob"], below, attached, own

        blobs, below, attached, own = await self._db.read(parts)
        for child in below:
            await self._copy(source, child, target, seen)
        for digest in blobs:
            if not await self._content.blobs.mount(target, digest, source):
                raise NotFoundError(f"blob {digest} of {source} not found")
        stored = await self._content.manifest(source, item.digest)
        # cosign finds a signature by its tag, so an accessory keeps its tags.
        keep = tuple(own) if item.accessory_of is not None else ()
        await self._content.put_manifest(target, item.digest, stored.payload, stored.media_type, keep)
        for accessory in attached:
            await self._copy(source, accessory, target, seen)


def _delete_some(connection: Connection, content: LocalRegistry, repository: Repository, who: Actor) -> bool:
    """Delete some of a repository's manifests, at last its links and row; True when all is gone."""
    digests = connection.execute(
        select(manifests.c.digest)
        .where(manifests.c.repository_id == repository.id)
        .order_by(manifests.c.id.desc())
        .limit(_DELETE_BATCH)
    ).scalars()
    for digest in digests.all():
        content.deletions.delete_in(connection, repository, digest, who)
    account = accounting.lock(connection, repository.project_id)
    if connection.execute(
        select(manifests.c.id).where(manifests.c.repository_id == repository.id).limit(1)
    ).first():
        return False
    linked = connection.execute(
        delete(repository_blobs)
        .where(repository_blobs.c.repository_id == repository.id)
        .returning(repository_blobs.c.digest)
    ).scalars()
    accounting.release(connection, account, linked.all())
    connection.execute(delete(repositories).where(repositories.c.id == repository.id))
    return True


def repository_row(connection: Connection, name: str) -> Any:
    """The repository's columns, None when it does not exist or never held a manifest."""
    query = repository_query().where(repositories.c.name == name, repositories.c.pushed_at.is_not(None))
    return connection.execute(query).first()


def repository_query() -> Select[Any]:
    """A query of repositories that have held a manifest."""
    return select(
        repositories.c.id,
        repositories.c.project_id,
        repositories.c.name,
        repositories.c.description,
        repositories.c.artifact_count,
        repositories.c.pull_count,
        repositories.c.created_at,
        repositories.c.updated_at,
        projects.c.name.label("project_name"),
        projects.c.public,
    ).join(projects, projects.c.id == repositories.c.project_id)


def _plausible(reference: str) -> bool:
    if ":" not in reference:
        return is_tag(reference)
    try:
        check_digest(reference)
    except RegistryError:
        return False
    return True


__all__ = ["Artifact", "ArtifactService", "Belongings", "Cursor", "Deletion", "Label", "Reference", "Tag"]
