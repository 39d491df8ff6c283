"""Receipts: pushes that were acknowledged, written next to the bytes before the answer.

A database that replicates asynchronously loses its last commits when a standby is promoted, and with them
pushes that clients know to be stored. Their blobs are still in storage. A receipt names what was pushed,
with the manifest itself, so that such a loss can be named and undone (`lost`, `seawall fsck --repair`).

What is written at the same time shares one object. It holds a line of JSON for each push: `repository`,
`digest`, `media_type`, `tags`, `at` (Unix seconds), `payload` (base64; empty for a tag given to what is there
already), and `deleted` for a deletion.

Content that was deleted since is not lost. `removals` has a row for each deletion of the last hours, written
with it. A deletion has a receipt too, for when the database has lost that row as well; it follows the answer
closely.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Protocol

import structlog
from sqlalchemy import Connection, delete, insert, select, tuple_

from seawall.access.views import projects
from seawall.infra.db import Database
from seawall.infra.db.durability import may_lose_commits
from seawall.infra.storage import BlobStorage
from seawall.kernel.errors import RegistryError
from seawall.kernel.names import digest_of
from seawall.registry.hooks import ContentHook, Deletion
from seawall.registry.manifest import Manifest, parse
from seawall.registry.model import Repository
from seawall.registry.part import ContentPart
from seawall.registry.tables import manifests, removals, repositories, tags

log: Any = structlog.get_logger("seawall.registry")

Wanted = Literal["auto", "always", "never"]
# No digest starts with it, so no blob has such a key.
PREFIX = "receipt."
# How long receipts and removals are kept: a loss must be looked for within this time.
KEEP_SECONDS = 24 * 3600
# A push waits no longer than this for its receipt, in seconds.
_PATIENCE = 5.0
# Instances' clocks differ by less; a deletion counts for what was pushed up to this much later.
_SKEW = 60.0
_ASK_SECONDS = 60.0
_BATCH = 200
# No transaction takes longer.
_UNDECIDED_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Receipt:
    """One acknowledged push, or a tag given to an artifact (`payload` empty). `at`: Unix seconds.

    `deleted`: the manifest was deleted, those of its `tags` only when there are some, the whole repository
    when `digest` is empty.
    """

    repository: str
    digest: str
    media_type: str
    tags: tuple[str, ...]
    at: float
    payload: bytes = b""
    deleted: bool = False

    def removes(self, repository: str, digest: str, tag: str | None, at: float) -> bool:
        """Whether this deletion took a manifest, or its tag, that was pushed at that time."""
        if self.repository != repository or self.at < at - _SKEW:
            return False
        return tag in self.tags if self.tags else self.digest in ("", digest)

    def manifest(self) -> Manifest:
        """The manifest, parsed. Raises RegistryError."""
        return parse(self.payload, self.media_type)


@dataclass(frozen=True, slots=True)
class Loss:
    """What the database lacks of a receipt: its manifest (`whole`), or only that `tags` name it.

    Of a receipt that is `deleted` it lacks the deletion: what was deleted is there.
    """

    receipt: Receipt
    whole: bool
    tags: tuple[str, ...]


class Recorder(Protocol):
    """Keeps receipts."""

    async def add(self, receipt: Receipt) -> None:
        """Keep it durably where that is wanted. A receipt that cannot be kept fails no push."""

    async def is_wanted(self) -> bool:
        """Whether any is kept now."""
        ...


class NoReceipts:
    """Keeps none."""

    async def add(self, receipt: Receipt) -> None:
        """See Recorder."""

    async def is_wanted(self) -> bool:
        """See Recorder."""
        return False


class Receipts:
    """Writes receipts to storage, those that arrive together into one object."""

    def __init__(self, db: Database, storage: BlobStorage, *, always: bool) -> None:
        """`always`: also while the database confirms no commit that a failover could lose."""
        self._db = db
        self._storage = storage
        self._always = always
        # Until the database has said that nothing can be lost.
        self._wanted = True
        self._asked = -_ASK_SECONDS
        self._waiting: list[tuple[Receipt, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def add(self, receipt: Receipt) -> None:
        """See Recorder."""
        if not await self.is_wanted():
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((receipt, done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        await done

    async def is_wanted(self) -> bool:
        """See Recorder."""
        if not self._always and time.monotonic() - self._asked >= _ASK_SECONDS:
            self._asked = time.monotonic()
            try:
                self._wanted = await self._db.read(may_lose_commits)
            except Exception as error:
                # The push is committed: it is not refused because the database is gone since.
                log.warning("cannot find out whether receipts are needed", error=str(error))
        return self._wanted

    async def _write(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting, []
            lines = [_line(receipt) for receipt, _ in taken]
            key = f"{PREFIX}{int(time.time() * 1000):013d}.{secrets.token_hex(8)}"
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self._storage.put(key, b"".join(lines))
            except Exception as error:
                log.warning("pushes have no receipt", pushes=len(taken), error=str(error))
            finally:
                for _, done in taken:
                    if not done.done():
                        done.set_result(None)


class Removals(ContentHook):
    """Remembers deletions, so that what was deleted does not count as lost."""

    replicas = True

    def __init__(self, db: Database, recorder: Recorder) -> None:
        self._db = db
        self._recorder = recorder
        # Deletions whose receipts are not written yet: some are not committed yet, or never will be.
        self._waiting: list[Receipt] = []
        self._committed = False
        self._writer: asyncio.Task[None] | None = None

    def after_delete(self, connection: Connection, deletion: Deletion) -> None:
        """See ContentHook."""
        tags = (deletion.tag,) if deletion.tag else ()
        self._note(connection, deletion.repository.name, deletion.digest, tags)

    def before_delete_repository(self, connection: Connection, repository: Repository) -> None:
        """See ContentHook."""
        self._note(connection, repository.name, "", ())

    def committed(self) -> None:
        """See ContentHook."""
        busy = self._writer is not None and not self._writer.done()
        if not self._waiting and not busy:
            return
        self._committed = True
        if not busy:
            self._writer = asyncio.create_task(self._write())

    def _note(self, connection: Connection, repository: str, digest: str, tags: tuple[str, ...]) -> None:
        at = note(connection, repository, [digest], tags[0] if tags else None)
        self._waiting.append(Receipt(repository, digest, "", tags, at, deleted=True))

    async def _write(self) -> None:
        while self._committed:
            self._committed = False
            noted: list[Receipt] = []
            # Transactions append to the list in threads of their own.
            while self._waiting:
                noted.append(self._waiting.pop())
            if not await self._recorder.is_wanted():
                continue
            happened: list[Receipt] = []
            try:
                for start in range(0, len(noted), _BATCH):
                    part = noted[start : start + _BATCH]
                    happened += await self._db.read(lambda c, part=part: _recorded(c, part))  # type: ignore[misc]
            except Exception as error:
                log.warning("cannot find out which deletions happened", error=str(error))
            # What was refused, or is done a second time, leaves no row.
            youngest = time.time() - _UNDECIDED_SECONDS
            left = set(noted) - set(happened)
            self._waiting += [receipt for receipt in left if receipt.at > youngest]
            await asyncio.gather(*(self._recorder.add(receipt) for receipt in happened))


def _recorded(connection: Connection, noted: list[Receipt]) -> list[Receipt]:
    """Those of the deletions that have their rows."""
    columns = (removals.c.repository, removals.c.digest, removals.c.tag, removals.c.at)
    wanted = tuple_(removals.c.repository, removals.c.at).in_({(item.repository, item.at) for item in noted})
    rows = {tuple(row) for row in connection.execute(select(*columns).where(wanted))}
    return [
        item
        for item in noted
        if (item.repository, item.digest, item.tags[0] if item.tags else None, item.at) in rows
    ]


def note(connection: Connection, repository: str, digests: Iterable[str], tag: str | None = None) -> float:
    """Remember that manifests were deleted, or a tag of one of them only ("": the whole repository).

    Returns when that was, for the receipt.
    """
    now = time.time()
    rows = [{"repository": repository, "digest": digest, "tag": tag, "at": now} for digest in digests]
    if rows:
        connection.execute(insert(removals), rows)
    return now


async def lost(db: Database, storage: BlobStorage) -> AsyncIterator[Loss]:
    """What was acknowledged within KEEP_SECONDS and is not in the database, the oldest first."""
    losses: list[Loss] = []
    deletions: list[Receipt] = []
    waiting: list[Receipt] = []
    # When a tag was given last: what it named before lost it rightfully.
    given: dict[tuple[str, str], float] = {}
    keys = [item.key async for item in storage.list(PREFIX)]
    for key in sorted(key for key in keys if _written(key) > time.time() - KEEP_SECONDS):
        async for item in _read(storage, key):
            waiting.append(item)
            for tag in () if item.deleted else item.tags:
                given[item.repository, tag] = max(item.at, given.get((item.repository, tag), 0.0))
        if len(waiting) >= _BATCH:
            losses += await _losses(db, waiting)
            deletions += [item for item in waiting if item.deleted]
            waiting = []
    losses += await _losses(db, waiting)
    deletions += [item for item in waiting if item.deleted]
    for loss in losses:
        item = loss.receipt
        if item.deleted:
            yield loss
            continue
        gone = [one for one in deletions if one.repository == item.repository]
        if any(one.removes(item.repository, item.digest, None, item.at) for one in gone if not one.tags):
            continue
        tags = [
            tag
            for tag in loss.tags
            if given[item.repository, tag] <= item.at
            and not any(one.removes(item.repository, item.digest, tag, item.at) for one in gone if one.tags)
        ]
        if loss.whole or tags:
            yield replace(loss, tags=tuple(tags))


async def forget(storage: BlobStorage) -> None:
    """Delete all receipts: what they name is accounted for elsewhere."""
    async for item in storage.list(PREFIX):
        await storage.delete(item.key)


async def purge(db: Database, storage: BlobStorage, now: float) -> None:
    """Delete the receipts and removals that are older than KEEP_SECONDS."""
    async for item in storage.list(PREFIX):
        if item.modified < now - KEEP_SECONDS:
            await storage.delete(item.key)
    await db.write(lambda c: c.execute(delete(removals).where(removals.c.at < now - KEEP_SECONDS - _SKEW)))


def needed(losses: Iterable[Loss]) -> set[str]:
    """The digests of the blobs that lost manifests need."""
    found: set[str] = set()
    for loss in losses:
        if loss.whole and not loss.receipt.deleted:
            parsed = loss.receipt.manifest()
            found |= {*parsed.blobs, *parsed.optional}
    return found


def _written(key: str) -> float:
    """When a receipt was written (Unix seconds); 0 for what is none."""
    at = key.removeprefix(PREFIX).partition(".")[0]
    return int(at) / 1000 if at.isdecimal() else 0.0


def _line(receipt: Receipt) -> bytes:
    told = {**asdict(receipt), "payload": base64.b64encode(receipt.payload).decode()}
    return json.dumps(told, separators=(",", ":")).encode() + b"\n"


async def _read(storage: BlobStorage, key: str) -> AsyncIterator[Receipt]:
    """The receipts of an object; a line that is damaged, or is not what its digest says, is passed over."""
    size = await storage.size(key)
    if size is None:
        return
    try:
        data = b"".join([chunk async for chunk in storage.stream(key, 0, size)])
    except FileNotFoundError:
        return
    for line in data.splitlines():
        try:
            told = json.loads(line)
            receipt = Receipt(
                told["repository"],
                told["digest"],
                told["media_type"],
                tuple(told["tags"]),
                float(told["at"]),
                base64.b64decode(told["payload"], validate=True),
                bool(told["deleted"]),
            )
            if receipt.payload:
                receipt.manifest()
                if digest_of(receipt.payload, receipt.digest.partition(":")[0]) != receipt.digest:
                    raise ValueError("the manifest does not have its digest")
        except (ValueError, KeyError, TypeError, RegistryError) as error:
            log.warning("a receipt is damaged", key=key, error=str(error))
            continue
        yield receipt


async def _losses(db: Database, found: list[Receipt]) -> list[Loss]:
    if not found:
        return []
    return await db.read(lambda c: list(_compare(c, found)))


@dataclass(frozen=True, slots=True)
class _Known:
    """What the database has of the repositories of some receipts."""

    projects: set[str]
    # When each (repository, digest) was pushed, and (digest, time) of each (repository, tag).
    manifests: dict[tuple[str, str], float]
    tags: dict[tuple[str, str], tuple[str, float]]
    removed: list[Receipt]


def _known(connection: Connection, found: list[Receipt]) -> _Known:
    names = sorted({item.repository for item in found})
    owners = sorted({name.partition("/")[0] for name in names})
    wanted = sorted({(item.repository, item.digest) for item in found})
    pushed = (
        select(repositories.c.name, manifests.c.digest, manifests.c.pushed_at)
        .join(manifests, manifests.c.repository_id == repositories.c.id)
        .where(tuple_(repositories.c.name, manifests.c.digest).in_(wanted))
    )
    tagged = (
        select(repositories.c.name, tags.c.name, manifests.c.digest, tags.c.pushed_at)
        .join(tags, tags.c.repository_id == repositories.c.id)
        .join(manifests, manifests.c.id == tags.c.manifest_id)
        .where(
            repositories.c.name.in_(names),
            tags.c.name.in_(sorted({tag for item in found for tag in item.tags})),
        )
    )
    removed = select(removals.c.repository, removals.c.digest, removals.c.tag, removals.c.at).where(
        removals.c.repository.in_(names)
    )
    return _Known(
        set(connection.execute(select(projects.c.name).where(projects.c.name.in_(owners))).scalars()),
        {(row[0], row[1]): row[2] for row in connection.execute(pushed)},
        {(row[0], row[1]): (row[2], row[3]) for row in connection.execute(tagged)},
        [
            Receipt(row[0], row[1], "", (row[2],) if row[2] else (), row[3], deleted=True)
            for row in connection.execute(removed)
        ],
    )


def _compare(connection: Connection, found: list[Receipt]) -> Iterable[Loss]:
    known = _known(connection, found)
    for item in found:
        if item.repository.partition("/")[0] not in known.projects:
            continue
        here = (item.repository, item.digest)
        if item.deleted:
            if any(_is_same(one, item) for one in known.removed):
                # What is there was pushed after it, whatever the clocks of two instances say.
                continue
            back = tuple(
                tag for tag in item.tags if known.tags.get((item.repository, tag), ("", item.at))[1] < item.at
            )
            if back or (not item.tags and known.manifests.get(here, item.at) < item.at):
                yield Loss(item, not item.tags, back)
            continue
        if any(
            one.removes(item.repository, item.digest, None, item.at) for one in known.removed if not one.tags
        ):
            continue
        whole = here not in known.manifests
        if whole and not item.payload:
            continue
        missing = tuple(tag for tag in item.tags if _lacks(known, item, tag))
        if whole or missing:
            yield Loss(item, whole, missing)


def _is_same(row: Receipt, deletion: Receipt) -> bool:
    """Whether a row of `removals` is that of a deletion; earlier versions read the clock for each of them."""
    what = (deletion.repository, deletion.digest, deletion.tags)
    return (row.repository, row.digest, row.tags) == what and abs(row.at - deletion.at) < 1


def _lacks(known: _Known, item: Receipt, tag: str) -> bool:
    """Whether nothing says why a tag does not name the manifest: no later push, no deletion."""
    digest, at = known.tags.get((item.repository, tag), ("", 0.0))
    if digest == item.digest or at >= item.at:
        return False
    return not any(
        one.removes(item.repository, item.digest, tag, item.at) for one in known.removed if one.tags
    )


def recorder(db: Database, storage: BlobStorage, wanted: Wanted) -> Recorder:
    """What keeps the receipts of a process."""
    return Receipts(db, storage, always=wanted == "always") if _may_be_wanted(db, wanted) else NoReceipts()


def part(db: Database, wanted: Wanted, kept: Recorder) -> ContentPart:
    """Deletions are remembered where receipts may be kept."""
    return ContentPart(hooks=(Removals(db, kept),) if _may_be_wanted(db, wanted) else ())


def _may_be_wanted(db: Database, wanted: Wanted) -> bool:
    return wanted == "always" or (wanted == "auto" and db.dialect == "postgresql")
