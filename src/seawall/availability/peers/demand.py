"""Bringing what clients ask for, at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from seawall.availability.peers import schema as t
from seawall.availability.peers.blobs import BlobFetcher, PeerCopyEnd
from seawall.availability.peers.client import Peer, PeerError
from seawall.availability.peers.fill import Filler
from seawall.availability.peers.model import dump
from seawall.availability.peers.pull import Puller
from seawall.availability.peers.store import Store
from seawall.availability.peers.tasks import Tasks
from seawall.infra.db import Database
from seawall.kernel.context import REPLICATOR, actor
from seawall.kernel.errors import RegistryError, SeawallError
from seawall.registry import manifest as manifests
from seawall.registry.local import LocalRegistry

_READY_SECONDS = 20.0


class Demand:
    """What a request may need of peers before it is answered."""

    def __init__(
        self,
        db: Database,
        store: Store,
        content: LocalRegistry,
        local: PeerCopyEnd,
        puller: Puller,
        filler: Filler,
        blobs: BlobFetcher,
        peers: list[Peer],
        tasks: Tasks,
    ) -> None:
        self._db = db
        self._store = store
        self._content = content
        self._local = local
        self._puller = puller
        self._filler = filler
        self._blobs = blobs
        self._peers = peers
        self._tasks = tasks
        self._owners: OrderedDict[str, Peer] = OrderedDict()

    async def ready_manifest(self, repository: str, reference: str) -> None:
        """Before a manifest is read: bring what a peer has announced, or could announce now."""
        kind = "manifest" if ":" in reference else "tag"
        key = dump([repository, reference])
        told = await self._db.point(lambda c: self._store.pending.find(c, kind, key))
        if told is None:
            if await self._local.resolve(repository, reference) is not None:
                return
            await self._puller.pull_all()
            told = await self._db.point(lambda c: self._store.pending.find(c, kind, key))
        if told is not None and told.document is not None:
            await self._filler.bring_pending(kind, key)

    async def ready_repository(self, repository: str) -> None:
        """Before tags or referrers of a repository are listed: bring what peers have announced about it."""
        rows = await self._db.point(lambda c: _pending_of(c, repository))
        if rows:
            work = [self._tasks.start(self._filler.bring_pending(kind, key)) for kind, key in rows]
            await asyncio.wait(work, timeout=_READY_SECONDS)

    async def announced(self, repositories: Sequence[str]) -> bool:
        """Bring what peers have announced about the repositories; whether there was any."""
        found = False
        for repository in repositories:
            if await self._db.point(lambda c, name=repository: _pending_of(c, name)):  # type: ignore[misc]
                found = True
                await self.ready_repository(repository)
        return found

    async def catch_up(self) -> bool:
        """Take what peers have new; whether each of them could be asked."""
        await self._puller.pull_all()
        return all(peer.up or peer.mine for peer in self._peers)

    async def blob_size(self, repository: str, digest: str) -> int | None:
        """The size of a blob that a peer has, for a client that only asks whether it is there."""
        for peer in self._peers:
            if peer.up:
                with contextlib.suppress(PeerError):
                    answer = await peer.call("blob", repository=repository, digest=digest)
                    if "size" in answer:
                        return int(answer["size"])
        return None

    async def drop_blob(self, repository: str, digest: str) -> bool:
        """Have peers delete a blob; whether one had it. Raises DENIED when a manifest of a peer's needs it.

        A peer that is away keeps it, without a manifest that names it, until its garbage collection.
        """
        dropped = False
        for peer in self._peers:
            if peer.up:
                with contextlib.suppress(PeerError):
                    answer = await peer.call("drop blob", repository=repository, digest=digest)
                    if answer.get("used"):
                        raise RegistryError("DENIED", str(answer["used"]), status=405)
                    dropped = dropped or bool(answer.get("dropped"))
        return dropped

    async def ready_blob(self, repository: str, digest: str) -> bool:
        """Have a blob here that only a peer has; whether it is here then."""
        # Asked first: a repository is not made for whatever somebody asks for.
        if await self.blob_size(repository, digest) is None or not await self._is_repository(repository):
            return False
        try:
            await self._replicating(lambda: self._blobs.bring(repository, digest))
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
        missing = [blob for blob in parsed.blobs if not await self._local.has_blob(repository, blob)]
        for blob in missing:
            await self.ready_blob(repository, blob)

    async def _is_repository(self, repository: str) -> bool:
        try:
            await self._content.repositories.ensure(repository)
        except RegistryError:
            return False
        return True

    async def _replicating(self, work: Callable[[], Awaitable[None]]) -> None:
        async def as_replicator() -> None:
            actor.set(REPLICATOR)
            await work()

        await self._tasks.start(as_replicator())

    async def owner(self, repository: str, upload_id: str) -> Peer | None:
        """The peer that has an upload session."""
        known = self._owners.get(upload_id)
        if known is not None:
            return known
        for peer in self._peers:
            if peer.up:
                with contextlib.suppress(PeerError):
                    answer = await peer.call("upload", repository=repository, id=upload_id)
                    if answer["here"]:
                        self._owners[upload_id] = peer
                        while len(self._owners) > 4096:
                            self._owners.popitem(last=False)
                        return peer
        return None


def _pending_of(connection: Connection, repository: str) -> list[Any]:
    table = t.peer_pending.c
    prefix = dump([repository])[:-1] + ","
    query = select(table.kind, table.key).where(
        table.kind.in_(("manifest", "tag")), func.substr(table.key, 1, len(prefix)) == prefix
    )
    return list(connection.execute(query.limit(100)))
