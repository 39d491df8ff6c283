"""One instance among its peers: rounds, telling changes at once, filling what only a peer has.

A change goes two ways. Before the client has its answer, the peers that can be reached are told that there is
something new, and take it (`settle`); so the next request finds it whichever instance it comes to. And each
instance asks each peer every second what is new (`run`), which is what makes it right: the first way may be
cut off at any time.

The names, versions and tags of content come that way; the bytes are fetched by one process of the instance
in the background, and at once when a client asks for them (`ready_manifest`, `ready_blob`).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import contextvars
import hashlib
import json
import time
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import Connection, delete, func, or_, select, update
from starlette.types import Message, Send

from seawall.access.sessions import SessionStore
from seawall.availability.peers import documents
from seawall.availability.peers import schema as t
from seawall.availability.peers.client import Peer, PeerError
from seawall.availability.peers.documents import KINDS
from seawall.availability.peers.store import BATCH, Store, Told, dump, turn
from seawall.features.replication.client import WHOLE_LIMIT
from seawall.features.replication.endpoint import LocalEndpoint
from seawall.infra import leases
from seawall.infra.db import Database, changes
from seawall.infra.jobs.service import JobService
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.settings import PeerSettings
from seawall.infra.storage.base import UploadBusyError
from seawall.kernel.context import REPLICATOR, actor
from seawall.kernel.errors import RegistryError, SeawallError
from seawall.registry import manifest as manifests
from seawall.registry.local import LocalRegistry

log: Any = structlog.get_logger("seawall.peers")

REACHABLE = Gauge("seawall_peer_reachable", "Whether a peer answers", ["peer"], multiprocess_mode="max")
LAG = Gauge(
    "seawall_peer_lag_seconds", "How far this instance is behind a peer", ["peer"], multiprocess_mode="max"
)
PENDING = Gauge("seawall_peer_pending", "Known of peers, not here yet", multiprocess_mode="max")
TAKEN = Counter("seawall_peer_changes_total", "Changes of peers that were applied")
FILLED = Counter("seawall_peer_blobs_total", "Blobs brought from peers")
FILLED_BYTES = Counter("seawall_peer_blob_bytes_total", "Bytes of blobs brought from peers")

_FETCHERS = 4
# Changes that one transaction takes: others want to write too.
_AT_ONCE = 40
_DEEPEST = 8
_LOG_DAYS = 7
_READY_SECONDS = 20.0
_PULLS_SECONDS = 60.0
_NOT_COMPARED = frozenset({"session"})


@dataclass(slots=True)
class Status:
    """How this instance stands to a peer.

    `behind`: changes of its that are not here. `clock`: its clock minus the one here, in seconds.
    """

    name: str
    url: str
    reachable: bool
    last_sync_at: float | None
    lag_seconds: float | None
    behind: int
    differences: list[dict[str, Any]]
    conflicts: int
    error: str | None
    clock: float | None = None


class _Local(LocalEndpoint):
    """This registry as the end of a copy from a peer: projects come by themselves, and no quota refuses."""

    replica = True

    async def prepare(self, repository: str) -> None:
        """A project that is not here must not be made by what is in it."""
        await self._content.repositories.get(repository)


class PeerService:
    """The peers of this process."""

    def __init__(
        self,
        db: Database,
        content: LocalRegistry,
        jobs: JobService,
        keys: KeyRing,
        sessions: SessionStore,
        settings: PeerSettings,
    ) -> None:
        self.settings = settings
        self.db = db
        self._content = content
        self._keys = keys
        self._sessions = sessions
        self.store = Store(documents.Context(keys, jobs), content, settings.name)
        self.peers = [Peer(url, keys, settings.timeout_seconds) for url in settings.urls]
        self.local = _Local(db, content)
        self._prepared = False
        self._preparing = asyncio.Lock()
        self._settling: asyncio.Task[None] | None = None
        self._settle_lock = asyncio.Lock()
        self._flights: dict[tuple[str, str], asyncio.Task[bool]] = {}
        self._owners: OrderedDict[str, Peer] = OrderedDict()
        self._not_before: dict[tuple[str, str], float] = {}
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def close(self) -> None:
        """Stop what is under way and close connections."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for peer in self.peers:
            await peer.close()

    def _later(self, work: Any) -> asyncio.Task[Any]:
        # A context of its own: what a request's writes carry along is not for these.
        task = asyncio.create_task(work, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # -- noticing and telling --------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Have this instance's row, and everything that is here recorded."""
        async with self._preparing:
            if self._prepared:
                return
            await self.db.write(self.store.prepare)
            cursor = await self.db.read(lambda c: c.execute(select(t.peer_state.c.feed_cursor)).scalar())
            if cursor is None:
                await self.compare(first=True)
            self._prepared = True

    async def compare(self, *, first: bool = False) -> int:
        """Compare everything with what is recorded; returns how many entities got a version.

        `first`: what is not recorded yet is as old as its row says, not new.
        """
        cursor = await self.db.read(changes.position)
        count = 0
        for kind in KINDS.values():
            found = sorted(await self.db.read(lambda c, kind=kind: self.store.differing(c, kind)))  # type: ignore[misc]
            for start in range(0, len(found), BATCH):
                part = found[start : start + BATCH]
                count += await self.db.write(
                    lambda c, part=part: self.store.check(c, part, first=first)  # type: ignore[misc]
                )
        await self.db.write(
            lambda c: c.execute(
                update(t.peer_state).where(t.peer_state.c.feed_cursor.is_(None)).values(feed_cursor=cursor)
            )
        )
        return count

    async def observe(self) -> None:
        """Give versions to what changed here."""
        await self.prepare()
        if not await self.db.read(self.store.pending_changes):
            return
        if await self.db.write(self.store.observe) is None:
            await self.db.write(lambda c: c.execute(update(t.peer_state).values(feed_cursor=None)))
            await self.compare()

    async def settle(self) -> None:
        """Have reachable peers take what changed here, for as long as `settle_seconds`; never fails."""
        if self._settling is None:
            self._settling = self._later(self._settle())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._settling), self.settings.settle_seconds)

    async def _settle(self) -> None:
        async with self._settle_lock:
            # Who comes from now on may have changed something that is not seen now: another one is for them.
            self._settling = None
            try:
                await self.observe()
                await asyncio.gather(*(self._nudge(peer) for peer in self.peers if not peer.mine))
            except Exception as error:
                log.warning("peers were not told", error=f"{type(error).__name__}: {error}")

    async def _nudge(self, peer: Peer) -> None:
        if peer.up:
            with contextlib.suppress(PeerError):
                await peer.call(
                    "nudge", name=self.settings.name, _timeout=self.settings.settle_seconds or 0.1
                )

    async def watch(self) -> None:
        """In every process: look whether peers that were away are there again, until cancelled."""
        while True:
            await asyncio.sleep(1)
            for peer in self.peers:
                if not peer.up and not peer.mine:
                    with contextlib.suppress(PeerError):
                        await peer.call("hello", name=self.settings.name)

    def settling(self, send: Send) -> Send:
        """`send` that has peers told before it says that a change was made."""

        async def settled(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400:
                await self.settle()
            await send(message)

        return settled

    # -- taking ----------------------------------------------------------------------------------------

    async def pull_from(self, name: str) -> None:
        """Take what the peer of that name has new; of all, while it is not known which that is."""
        wanted = [peer for peer in self.peers if peer.name == name] or self.peers
        await asyncio.gather(*(self.pull(peer) for peer in wanted if not peer.mine), return_exceptions=True)

    async def pull(self, peer: Peer) -> None:
        """Take what a peer has new as of now. Calls at the same time share one. Raises PeerError."""
        if peer.waiting is None:
            peer.waiting = self._later(self._pull_next(peer))
        await asyncio.shield(peer.waiting)

    async def _pull_next(self, peer: Peer) -> None:
        async with peer.running:
            peer.waiting = None
            try:
                await self._pull(peer)
                peer.error = None
            except PeerError as error:
                if not peer.mine:
                    await self._note(peer, {"error": str(error)[:500]})
                raise

    async def _pull(self, peer: Peer) -> None:
        await self.prepare()
        link = await self._link(peer)
        cursor = link.cursor if link is not None else 0
        epoch = link.epoch if link is not None else ""
        taken = 0
        while True:
            answer = await peer.call("entries", after=cursor)
            peer.name = answer["name"]
            if peer.name == self.settings.name:
                state = await self.db.read(lambda c: c.execute(select(t.peer_state.c.epoch)).scalar())
                if state == answer["epoch"]:
                    peer.mine = True
                    return
                raise PeerError(f"{peer.url} has the name of this instance: each needs its own peers.name")
            if answer["epoch"] != epoch or cursor > answer["seq"]:
                # A new database, or one from a backup: from the beginning.
                epoch = answer["epoch"]
                if cursor:
                    cursor = 0
                    continue
            if 0 < cursor < answer["purged"]:
                raise PeerError(
                    f"{peer.url} has forgotten deletions that this instance never heard of: it was away "
                    "for longer than peers.tombstone_days; empty its database and start it again"
                )
            told = sorted((Told.of(item) for item in answer["entries"]), key=turn)
            for start in range(0, len(told), _AT_ONCE):
                part = told[start : start + _AT_ONCE]
                taken += await self.db.write(lambda c, part=part: self.store.take(c, part, peer.url))  # type: ignore[misc]
            for item in told:
                if item.entry.kind == "session" and item.entry.deleted:
                    await self._sessions.forget(json.loads(item.entry.key)[0])
            cursor = answer["next"]
            now = time.time()
            values = {"name": peer.name, "epoch": epoch, "cursor": cursor, "seen_at": now, "error": None}
            if not answer["left"]:
                values["synced_at"] = now
            await self._note(peer, values, unless=(link, values))
            if not answer["left"]:
                break
        TAKEN.inc(taken)
        if await self.db.read(_waiting):
            await self.db.write(lambda c: self.store.retry(c, t.peer_pending.c.kind.not_in(_BY_CONTENT)))
            self._wake.set()

    async def _link(self, peer: Peer) -> Any:
        query = select(t.peer_links).where(t.peer_links.c.url == peer.url)
        return await self.db.read(lambda c: c.execute(query).first())

    async def _note(
        self, peer: Peer, values: dict[str, Any], unless: tuple[Any, dict[str, Any]] | None = None
    ) -> None:
        """Write down how things stand with a peer; times alone no more often than every two seconds."""
        if unless is not None and unless[0] is not None:
            old, new = unless
            same = (old.cursor, old.epoch, old.name, old.error) == (
                new["cursor"],
                new["epoch"],
                new["name"],
                None,
            )
            if same and old.seen_at is not None and new["seen_at"] - old.seen_at < 2 and old.synced_at:
                return

        def run(connection: Connection) -> None:
            here = t.peer_links.c.url == peer.url
            if not connection.execute(update(t.peer_links).where(here).values(**values)).rowcount:
                connection.execute(t.peer_links.insert().values(url=peer.url, **values))

        await self.db.write(run, durable=False)

    # -- rounds ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Rounds with every peer, in one process of this instance, until cancelled."""
        while True:
            try:
                lease = await leases.acquire(self.db, "peers")
            except UploadBusyError:
                await asyncio.sleep(4)
                continue
            try:
                await self._rounds()
            finally:
                await lease.release()

    async def _rounds(self) -> None:
        await self.prepare()
        filler = self._later(self._fill())
        compared = pulled = 0.0
        try:
            while True:
                now = time.monotonic()
                if now - compared > self.settings.compare_minutes * 60:
                    await self.compare()
                    await self.db.write(lambda c: self.store.purge(c, self.settings.tombstone_days))
                    await self.db.write(lambda c: changes.forget(c, _LOG_DAYS * 86400))
                    await self._retry_everything()
                    compared = now
                await self.round()
                if now - pulled > _PULLS_SECONDS:
                    await self._exchange_pull_times()
                    pulled = now
                if filler.done():
                    filler.result()
                await asyncio.sleep(self.settings.interval_seconds)
        finally:
            filler.cancel()

    async def round(self) -> None:
        """Notice what changed here, and take what is new from every peer."""
        await self.observe()
        await asyncio.gather(
            *(self._pull_quietly(peer) for peer in self.peers if not peer.mine), return_exceptions=True
        )
        waiting = await self.db.read(_waiting)
        PENDING.set(waiting)
        if waiting:
            self._wake.set()

    def start_round(self) -> None:
        """A round now, in the background."""

        async def run() -> None:
            await self.compare()
            await self.round()

        self._later(run())

    async def _pull_quietly(self, peer: Peer) -> None:
        label = peer.url
        try:
            await self.pull(peer)
            REACHABLE.labels(label).set(1)
            LAG.labels(label).set(0)
        except PeerError as error:
            REACHABLE.labels(label).set(0)
            link = await self._link(peer)
            if link is not None and link.synced_at is not None:
                LAG.labels(label).set(time.time() - link.synced_at)
            log.warning("a peer is away", peer=peer.name or label, error=str(error))

    async def _retry_everything(self) -> None:
        await self.db.write(self.store.retry)

    async def _exchange_pull_times(self) -> None:
        """Take over when peers' content was last pulled, so that retention keeps what is used anywhere."""
        for peer in self.peers:
            if not peer.up:
                continue
            with contextlib.suppress(PeerError):
                after = time.time() - 2 * _PULLS_SECONDS - 60
                answer = await peer.call("pulls", after=after)
                rows = answer["pulls"]
                for start in range(0, len(rows), BATCH):
                    part = rows[start : start + BATCH]
                    await self.db.write(lambda c, part=part: _set_pulled(c, part), durable=False)  # type: ignore[misc]

    # -- bytes -----------------------------------------------------------------------------------------

    async def _fill(self) -> None:
        """Bring the content that peers told of, until cancelled."""
        places = asyncio.Semaphore(_FETCHERS)

        async def one(kind: str, key: str) -> bool:
            async with places:
                return await self._bring_pending(kind, key)

        while True:
            self._wake.clear()
            now = time.monotonic()
            self._not_before = {k: at for k, at in self._not_before.items() if at > now}
            table = t.peer_pending.c
            query = select(table.kind, table.key).where(table.kind.in_(_BY_CONTENT)).order_by(table.since)
            rows = await self.db.read(lambda c, query=query: c.execute(query.limit(2000)).all())  # type: ignore[misc]
            due = [(kind, key) for kind, key in rows if (kind, key) not in self._not_before][:100]
            done = await asyncio.gather(*(one(kind, key) for kind, key in due))
            if any(done):
                # Labels wait for manifests.
                await self.db.write(self._retry_labels)
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), 2)

    def _retry_labels(self, connection: Connection) -> int:
        return self.store.retry(connection, t.peer_pending.c.kind == "artifact-label")

    async def bring_all(self) -> None:
        """Bring all content that is pending now, once."""
        table = t.peer_pending.c
        query = select(table.kind, table.key).where(table.kind.in_(_BY_CONTENT)).order_by(table.since)
        for kind, key in await self.db.read(lambda c: c.execute(query).all()):
            await self._bring_pending(kind, key)
        await self._retry_everything()

    async def _bring_pending(self, kind: str, key: str) -> bool:
        """Bring what a pending entity needs and apply it; whether that worked."""
        if kind == "artifact-label":
            self._not_before[(kind, key)] = time.monotonic() + 5
            return False
        told = await self.db.read(lambda c: self.store.pending(c, kind, key))
        if told is None:
            return False
        try:
            if told.document is not None:
                repository, name = json.loads(key)
                digest = told.document["digest"] if kind == "tag" else name
                if not await self.bring(repository, digest):
                    raise PeerError("no peer that can be reached has its content")
            table = t.peer_pending.c
            done = await self.db.write(
                lambda c: self.store.retry(
                    c,
                    or_(
                        (table.kind == kind) & (table.key == key),
                        # Its manifest was brought along.
                        (table.kind == "manifest") & (table.key == dump([json.loads(key)[0], digest]))
                        if told.document is not None
                        else (table.kind == kind) & (table.key == key),
                    ),
                )
            )
            if done:
                return True
            self._not_before[(kind, key)] = time.monotonic() + 2
        except (SeawallError, RegistryError) as error:
            self._not_before[(kind, key)] = time.monotonic() + 3
            reason = str(error)[:500]
            await self.db.write(
                lambda c: c.execute(
                    update(t.peer_pending)
                    .where(t.peer_pending.c.kind == kind, t.peer_pending.c.key == key)
                    .values(reason=reason)
                ),
                durable=False,
            )
        return False

    async def bring(self, repository: str, digest: str, depth: int = 0) -> bool:
        """Have a manifest here, with everything that it names, from whichever peer has it.

        False when no reachable one does. Raises SeawallError. Calls at the same time share one.
        """
        if await self.local.resolve(repository, digest) is not None:
            return True
        key = (repository, digest)
        flight = self._flights.get(key)
        if flight is None:
            flight = self._later(self._bring(repository, digest, depth))
            self._flights[key] = flight
            flight.add_done_callback(lambda _: self._flights.pop(key, None))
        return await asyncio.shield(flight)

    async def _bring(self, repository: str, digest: str, depth: int) -> bool:
        actor.set(REPLICATOR)
        if depth > _DEEPEST:
            raise PeerError(f"{repository}@{digest}: indexes are nested too deep")
        for peer in self.peers:
            if not peer.up:
                continue
            try:
                found = await peer.call("manifest", repository=repository, reference=digest)
            except PeerError:
                continue
            if not found:
                continue
            payload = base64.b64decode(found["payload"])
            parsed = manifests.parse(payload, found["media_type"])
            await self._content.repositories.ensure(repository)
            children = [await self.bring(repository, child, depth + 1) for child in parsed.manifests]
            for blob, size in parsed.blobs.items():
                await self._bring_blob(repository, blob, size)
            await self._content.manifests.put(
                repository,
                digest,
                payload,
                found["media_type"],
                # An index of a proxy-cache project may lack children at the peer too.
                sparse=not all(children),
                at=found["pushed_at"],
                replica=True,
            )
            return True
        return False

    async def _bring_blob(self, repository: str, digest: str, size: int | None = None) -> None:
        """Have a blob here. Raises PeerError when no reachable peer has it."""
        if await self.local.has_blob(repository, digest):
            return
        holder = await self.local.holder(digest)
        if holder is not None and await self._content.blobs.mount(repository, digest, holder, replica=True):
            return
        if size is not None and size <= WHOLE_LIMIT and await self._copy_small(repository, digest):
            return
        lease = await self._lease(repository, digest)
        if lease is None:
            return
        try:
            await self._copy_blob(repository, digest, size)
        finally:
            await lease.release()

    async def _copy_small(self, repository: str, digest: str) -> bool:
        """Fetch a blob in one request; that two processes may do so at once costs less than a lease."""
        content = self._content
        for peer in self.peers:
            if not peer.up:
                continue
            try:
                _, parts = await peer.open_blob(repository, digest)
            except PeerError:
                continue
            writer = await content.storage.open_upload(str(uuid.uuid4()), 0, {})
            try:
                async with contextlib.aclosing(parts):
                    async for part in parts:
                        await writer.write(part)
                blob = await content.uploads.finish(None, writer, repository, digest, replica=True)
            except BaseException as error:
                await asyncio.shield(writer.abort())
                if isinstance(error, SeawallError):
                    continue
                raise
            FILLED.inc()
            FILLED_BYTES.inc(blob.size)
            return True
        return False

    async def _copy_blob(self, repository: str, digest: str, size: int | None) -> None:
        table = t.peer_transfers
        here = (table.c.digest == digest, table.c.repository == repository)
        session = await self.db.read(lambda c: c.execute(select(table.c.session).where(*here)).scalar())
        error: SeawallError | None = None
        for peer in self.peers:
            if not peer.up:
                continue
            try:
                answer = await peer.call("blob", repository=repository, digest=digest)
                if "size" not in answer:
                    continue

                async def opened(location: str) -> None:
                    def run(connection: Connection) -> None:
                        connection.execute(delete(table).where(*here))
                        row = {"digest": digest, "repository": repository, "session": location}
                        connection.execute(table.insert().values(**row, at=time.time()))

                    await self.db.write(run, durable=False)

                sent = await self.local.put_blob(
                    repository,
                    digest,
                    answer["size"] if size is None else size,
                    lambda offset, peer=peer: peer.blob(repository, digest, offset),  # type: ignore[misc]
                    session=session,
                    opened=opened,
                    by_chunk=False,
                    mount_from=None,
                )
            except SeawallError as failure:
                error = failure
                continue
            FILLED.inc()
            FILLED_BYTES.inc(sent)
            await self.db.write(lambda c: c.execute(delete(table).where(*here)), durable=False)
            return
        raise error or PeerError(f"no peer that can be reached has blob {digest} of {repository}")

    async def _lease(self, repository: str, digest: str) -> leases.Lease | None:
        """The right to fetch a blob; None once it is here."""
        seed = hashlib.sha256(f"{repository}@{digest}".encode()).hexdigest()
        while not await self.local.has_blob(repository, digest):
            try:
                return await leases.acquire(self.db, f"px-{seed[:32]}")
            except UploadBusyError:
                await asyncio.sleep(0.2)
        return None

    # -- what clients ask for --------------------------------------------------------------------------

    async def ready_manifest(self, repository: str, reference: str) -> None:
        """Before a manifest is read: bring what a peer has told of, or could tell now."""
        kind = "manifest" if ":" in reference else "tag"
        key = dump([repository, reference])
        told = await self.db.point(lambda c: self.store.pending(c, kind, key))
        if told is None:
            if await self.local.resolve(repository, reference) is not None:
                return
            await self._pull_all()
            told = await self.db.point(lambda c: self.store.pending(c, kind, key))
        if told is not None and told.document is not None:
            await self._bring_pending(kind, key)

    async def ready_repository(self, repository: str) -> None:
        """Before tags or referrers of a repository are listed: bring what peers have told of it."""
        table = t.peer_pending.c
        prefix = dump([repository])[:-1] + ","

        def run(connection: Connection) -> list[Any]:
            query = select(table.kind, table.key).where(
                table.kind.in_(("manifest", "tag")), func.substr(table.key, 1, len(prefix)) == prefix
            )
            return list(connection.execute(query.limit(100)))

        rows = await self.db.point(run)
        if rows:
            work = [self._later(self._bring_pending(kind, key)) for kind, key in rows]
            await asyncio.wait(work, timeout=_READY_SECONDS)

    async def blob_size(self, repository: str, digest: str) -> int | None:
        """The size of a blob that a peer has, for a client that only asks whether it is there."""
        for peer in self.peers:
            if peer.up:
                with contextlib.suppress(PeerError):
                    answer = await peer.call("blob", repository=repository, digest=digest)
                    if "size" in answer:
                        return int(answer["size"])
        return None

    async def ready_blob(self, repository: str, digest: str) -> bool:
        """Have a blob here that only a peer has; whether it is here then."""
        # Asked first: a repository is not made for whatever somebody asks for.
        if await self.blob_size(repository, digest) is None or not await self._is_repository(repository):
            return False
        try:
            await self._replicating(lambda: self._bring_blob(repository, digest))
        except SeawallError:
            return False
        return True

    async def ready_content(self, repository: str, payload: bytes, content_type: str | None) -> None:
        """Before a manifest is stored: bring the blobs and children it names and only a peer has."""
        try:
            parsed = manifests.parse(payload, content_type)
        except RegistryError:
            # The push itself says what is wrong.
            return
        for child in parsed.manifests:
            await self.ready_manifest(repository, child)
        missing = [blob for blob in parsed.blobs if not await self.local.has_blob(repository, blob)]
        for blob in missing:
            await self.ready_blob(repository, blob)

    async def _is_repository(self, repository: str) -> bool:
        try:
            await self._content.repositories.ensure(repository)
        except RegistryError:
            return False
        return True

    async def _replicating(self, work: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            actor.set(REPLICATOR)
            await work()

        await self._later(run())

    async def _pull_all(self) -> None:
        up = [self.pull(peer) for peer in self.peers if peer.up]
        if up:
            await asyncio.gather(*up, return_exceptions=True)

    async def owner(self, repository: str, upload_id: str) -> Peer | None:
        """The peer that has an upload session."""
        known = self._owners.get(upload_id)
        if known is not None:
            return known
        for peer in self.peers:
            if peer.up:
                with contextlib.suppress(PeerError):
                    answer = await peer.call("upload", repository=repository, id=upload_id)
                    if answer["here"]:
                        self._owners[upload_id] = peer
                        while len(self._owners) > 4096:
                            self._owners.popitem(last=False)
                        return peer
        return None

    # -- how things stand ------------------------------------------------------------------------------

    async def summary(self) -> dict[str, Any]:
        """What is here, in short: a number and a digest of each kind."""

        def run(connection: Connection) -> dict[str, Any]:
            kinds: dict[str, Any] = {}
            for kind, count, digest in _digests(connection):
                kinds[kind] = [count, digest]
            state = connection.execute(select(t.peer_state)).one()
            return {
                "name": state.name,
                "epoch": state.epoch,
                "seq": state.seq,
                "time": time.time(),
                "kinds": kinds,
            }

        return await self.db.read(run)

    async def digests(self, kind: str) -> dict[str, str]:
        """Digest of each entity of a kind that is here."""
        table = t.peer_entries.c
        query = select(table.key, table.digest).where(table.kind == kind, table.deleted.is_(False))
        rows = await self.db.read(lambda c: c.execute(query).all())
        return {row.key: row.digest for row in rows}

    async def statuses(self, limit: int = 100) -> list[Status]:
        """How this instance stands to each peer, as asked now."""
        found: list[Status] = await self._later(self._statuses(limit))
        return found

    async def _statuses(self, limit: int) -> list[Status]:
        await self.prepare()
        with contextlib.suppress(PeerError):
            await self.observe()
        mine = await self.summary()
        found = await asyncio.gather(*(self._status(peer, mine, limit) for peer in self.peers))
        return [item for item in found if item is not None]

    async def _status(self, peer: Peer, mine: dict[str, Any], limit: int) -> Status | None:
        link = await self._link(peer)
        conflicts = t.peer_conflicts
        total = await self.db.read(lambda c: c.execute(select(func.count(conflicts.c.id))).scalar_one())
        waiting = await self.db.read(
            lambda c: c.execute(
                select(func.count()).select_from(t.peer_pending).where(t.peer_pending.c.url == peer.url)
            ).scalar_one()
        )
        synced = link.synced_at if link is not None else None
        status = Status(
            peer.name or (link.name if link is not None else ""),
            peer.url,
            False,
            synced,
            None if synced is None else time.time() - synced,
            waiting,
            [],
            total,
            link.error if link is not None else None,
        )
        try:
            asked = time.time()
            theirs = await peer.call("summary")
            status.clock = theirs["time"] - (asked + time.time()) / 2
            if theirs["epoch"] == mine["epoch"]:
                return None
            peer.name = status.name = theirs["name"]
            status.reachable = True
            cursor = link.cursor if link is not None and link.epoch == theirs["epoch"] else 0
            if theirs["seq"] > cursor:
                answer = await peer.call("entries", after=cursor)
                status.behind += len(answer["entries"]) + answer["left"]
            status.error = link.error if link is not None and link.error else None
            for kind in KINDS:
                if kind in _NOT_COMPARED or mine["kinds"].get(kind) == theirs["kinds"].get(kind):
                    continue
                here = await self.digests(kind)
                there = (await peer.call("digests", kind=kind))["digests"]
                for key in sorted(here.keys() | there.keys()):
                    if here.get(key) == there.get(key):
                        continue
                    if len(status.differences) < limit:
                        status.differences.append(await self._difference(kind, key, here, there))
            if not status.behind and not status.differences:
                status.lag_seconds = 0.0
        except PeerError as error:
            status.error = str(error)
        return status

    async def _difference(
        self, kind: str, key: str, here: dict[str, str], there: dict[str, str]
    ) -> dict[str, Any]:
        table = t.peer_pending.c
        query = select(table.reason).where(table.kind == kind, table.key == key)
        reason = await self.db.read(lambda c: c.execute(query).scalar())
        return {
            "kind": kind,
            "key": documents.show(json.loads(key)),
            "here": here.get(key, "")[:12] or (f"not here: {reason}" if reason else "not here"),
            "there": there.get(key, "")[:12] or "not there",
        }

    async def conflicts(self, limit: int = 500) -> list[dict[str, Any]]:
        """What lost by the conflict rule, newest first; documents without what is secret."""
        table = t.peer_conflicts
        query = select(table).order_by(table.c.id.desc()).limit(limit)
        rows = await self.db.read(lambda c: c.execute(query).all())

        def document(text: str) -> Any:
            plain = json.loads(self._keys.decrypt("peers", text))
            return documents.shown_document(plain)

        return [
            {
                "at": row.at,
                "kind": row.kind,
                "key": documents.show(json.loads(row.key)),
                "kept": document(row.kept),
                "dropped": document(row.dropped),
                "by": row.kept_version.partition("@")[2],
                "note": row.note,
            }
            for row in rows
        ]


_BY_CONTENT = ("manifest", "tag", "artifact-label")


async def one_round(service: PeerService) -> None:
    """A round of a process that does nothing else (a command), with the content that it tells of."""
    await service.prepare()
    await service.compare()
    await service.round()
    await service.bring_all()


def _waiting(connection: Connection) -> int:
    return int(connection.execute(select(func.count()).select_from(t.peer_pending)).scalar_one())


def _digests(connection: Connection) -> Iterable[tuple[str, int, str]]:
    table = t.peer_entries.c
    query = select(table.kind, table.key, table.digest).where(table.deleted.is_(False))
    sums: dict[str, tuple[int, int]] = {}
    for kind, key, digest in connection.execute(query):
        value = int.from_bytes(hashlib.blake2b(f"{key}\0{digest}".encode(), digest_size=16).digest())
        count, total = sums.get(kind, (0, 0))
        sums[kind] = (count + 1, total ^ value)
    return [(kind, count, f"{total:032x}") for kind, (count, total) in sorted(sums.items())]


def _set_pulled(connection: Connection, rows: list[list[Any]]) -> None:
    for repository, name, at in rows:
        table = t.manifests if ":" in name else t.tags
        column = t.manifests.c.digest if ":" in name else t.tags.c.name
        inside = select(t.repositories.c.id).where(t.repositories.c.name == repository).scalar_subquery()
        connection.execute(
            update(table)
            .where(
                table.c.repository_id == inside,
                column == name,
                or_(table.c.pulled_at.is_(None), table.c.pulled_at < at),
            )
            .values(pulled_at=at)
        )
