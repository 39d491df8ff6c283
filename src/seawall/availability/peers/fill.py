"""Filling what only a peer has: manifests that peers announced, with everything that they name.

The names, versions and tags of content come with `pull`; the bytes are fetched by one process of the instance
in the background, and at once when a client asks for them (`demand`).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time

from sqlalchemy import Connection, func, or_, select, update

from seawall.availability.peers import schema as t
from seawall.availability.peers.blobs import BlobFetcher, PeerCopyEnd
from seawall.availability.peers.client import Peer, PeerError
from seawall.availability.peers.model import dump
from seawall.availability.peers.store import Store
from seawall.availability.peers.tasks import Tasks
from seawall.infra.db import Database
from seawall.kernel.context import REPLICATOR, actor
from seawall.kernel.errors import RegistryError, SeawallError
from seawall.registry import manifest as manifests
from seawall.registry.local import LocalRegistry

_FETCHERS = 4
_DEEPEST = 8
BY_CONTENT = ("manifest", "tag", "artifact-label")


class Filler:
    """Brings content from peers."""

    def __init__(
        self,
        db: Database,
        store: Store,
        content: LocalRegistry,
        local: PeerCopyEnd,
        blobs: BlobFetcher,
        peers: list[Peer],
        tasks: Tasks,
    ) -> None:
        self._db = db
        self._store = store
        self._content = content
        self._local = local
        self._blobs = blobs
        self._peers = peers
        self._tasks = tasks
        self._flights: dict[tuple[str, str], asyncio.Task[bool]] = {}
        self._not_before: dict[tuple[str, str], float] = {}
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Something is pending: look now."""
        self._wake.set()

    async def retry_pulled(self) -> bool:
        """Apply what is pending and needs no content; whether something is pending."""
        if not await self._db.read(pending_count):
            return False
        await self._db.write(lambda c: self._store.applier.retry(c, t.peer_pending.c.kind.not_in(BY_CONTENT)))
        self.wake()
        return True

    async def run(self) -> None:
        """Bring the content that peers announced, until cancelled."""
        places = asyncio.Semaphore(_FETCHERS)

        async def one(kind: str, key: str) -> bool:
            async with places:
                return await self.bring_pending(kind, key)

        while True:
            self._wake.clear()
            now = time.monotonic()
            self._not_before = {k: at for k, at in self._not_before.items() if at > now}
            table = t.peer_pending.c
            query = select(table.kind, table.key).where(table.kind.in_(BY_CONTENT)).order_by(table.since)
            rows = await self._db.read(lambda c, query=query: c.execute(query.limit(2000)).all())  # type: ignore[misc]
            due = [(kind, key) for kind, key in rows if (kind, key) not in self._not_before][:100]
            done = await asyncio.gather(*(one(kind, key) for kind, key in due))
            if any(done):
                await self.apply_labels()
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), 2)

    async def apply_labels(self) -> None:
        """Put on manifests the labels that have waited for them."""
        await self._db.write(
            lambda c: self._store.applier.retry(c, t.peer_pending.c.kind == "artifact-label")
        )

    async def bring_all(self) -> None:
        """Bring all content that is pending now, once."""
        table = t.peer_pending.c
        query = select(table.kind, table.key).where(table.kind.in_(BY_CONTENT)).order_by(table.since)
        for kind, key in await self._db.read(lambda c: c.execute(query).all()):
            await self.bring_pending(kind, key)
        await self.retry_everything()

    async def retry_everything(self) -> None:
        """Apply what is pending and can be applied now."""
        await self._db.write(self._store.applier.retry)

    async def bring_pending(self, kind: str, key: str) -> bool:
        """Bring what a pending entity needs and apply it; whether that worked."""
        if kind == "artifact-label":
            self._not_before[(kind, key)] = time.monotonic() + 5
            return False
        told = await self._db.read(lambda c: self._store.pending.find(c, kind, key))
        if told is None:
            return False
        try:
            if told.document is not None:
                repository, name = json.loads(key)
                digest = told.document["digest"] if kind == "tag" else name
                if not await self.bring(repository, digest, (kind, key)):
                    raise PeerError("no peer that can be reached has its content")
            table = t.peer_pending.c
            done = await self._db.write(
                lambda c: self._store.applier.retry(
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
            await self._db.write(
                lambda c: c.execute(
                    update(t.peer_pending)
                    .where(t.peer_pending.c.kind == kind, t.peer_pending.c.key == key)
                    .values(reason=reason)
                ),
                durable=False,
            )
        return False

    async def bring(self, repository: str, digest: str, wanted: tuple[str, str], depth: int = 0) -> bool:
        """Have a manifest here, with everything that it names, from whichever peer has it.

        `wanted`: kind and key of the pending entity that needs it. False when no reachable peer has it.
        Raises SeawallError, also when a deletion has come meanwhile. Calls at the same time share one.
        """
        if await self._local.resolve(repository, digest) is not None:
            return True
        key = (repository, digest)
        flight = self._flights.get(key)
        if flight is None:
            flight = self._tasks.start(self._bring(repository, digest, wanted, depth))
            self._flights[key] = flight
            flight.add_done_callback(lambda _: self._flights.pop(key, None))
        return await asyncio.shield(flight)

    async def _bring(self, repository: str, digest: str, wanted: tuple[str, str], depth: int) -> bool:
        actor.set(REPLICATOR)
        if depth > _DEEPEST:
            raise PeerError(f"{repository}@{digest}: indexes are nested too deep")
        for peer in self._peers:
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
            children = [await self.bring(repository, child, wanted, depth + 1) for child in parsed.manifests]
            for blob, size in parsed.blobs.items():
                await self._blobs.bring(repository, blob, size)
            await self._content.manifests.put(
                repository,
                digest,
                payload,
                found["media_type"],
                # An index of a proxy-cache project may lack children at the peer too.
                sparse=not all(children),
                at=found["pushed_at"],
                replica=True,
                first=lambda c: self._check_wanted(c, wanted, ("manifest", dump([repository, digest]))),
            )
            return True
        return False

    def _check_wanted(self, connection: Connection, *wanted: tuple[str, str]) -> None:
        """Raise PeerError when none of the entities is pending any more: what came would undo a deletion.

        The lock is that under which deletions are taken, so none comes between this look and the commit.
        """
        self._store.entries.lock(connection)
        for kind, key in wanted:
            told = self._store.pending.find(connection, kind, key)
            if told is not None and told.document is not None:
                return
        raise PeerError("a peer has deleted it meanwhile")


def pending_count(connection: Connection) -> int:
    """How many entities are pending."""
    return int(connection.execute(select(func.count()).select_from(t.peer_pending)).scalar_one())
