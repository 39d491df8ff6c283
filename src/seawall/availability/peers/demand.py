"""Bringing what clients ask for, at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, or_, select

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
# For requests that have an answer without it too.
_MOMENT_SECONDS = 5.0
_AT_ONCE = 100
_LABEL = "artifact-label"


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
        """Before what is in a repository is listed or changed: bring what peers have announced about it."""
        rows = await self._db.point(lambda c: _pending_of(c, repository))
        await self._bring(rows, _READY_SECONDS)

    async def ready_tags(self, repository: str, tags: Sequence[str]) -> Mapping[str, str]:
        """Before tags are put on a manifest: bring them as peers have announced them.

        Returns the digests of those that did not come in time.
        """
        keys = {dump([repository, tag]): tag for tag in tags}
        if not keys:
            return {}
        rows = await self._db.point(lambda c: _pending_tags(c, keys))
        if not rows:
            return {}
        await self._bring(rows, _READY_SECONDS)

        def left(connection: Connection) -> dict[str, str]:
            waiting = {tag: self._store.pending.find(connection, "tag", key) for key, tag in keys.items()}
            return {
                tag: str(told.document["digest"])
                for tag, told in waiting.items()
                if told is not None and told.document is not None
            }

        return await self._db.read(left)

    async def ready_newest(self) -> None:
        """Before repositories are listed: bring what peers have announced last, if that takes moments."""
        rows = await self._db.point(_newest)
        await self._bring(rows, _MOMENT_SECONDS)

    async def _bring(self, rows: Sequence[Any], seconds: float) -> None:
        """Bring pending entities, for at most `seconds`; their coming goes on after that."""
        content = [(kind, key) for kind, key in rows if kind != _LABEL]
        if content:
            work = [self._tasks.start(self._filler.bring_pending(kind, key)) for kind, key in content]
            await asyncio.wait(work, timeout=seconds)
        if len(content) < len(rows):
            await self._filler.apply_labels()

    async def announced(self, repositories: Sequence[str]) -> bool:
        """Bring what peers have announced about the repositories; whether there was any."""
        found = False
        for repository in repositories:
            rows = await self._db.point(lambda c, name=repository: _pending_of(c, name))  # type: ignore[misc]
            if rows:
                found = True
                await self._bring(rows, _READY_SECONDS)
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

    async def ready_mount(self, repository: str, digest: str) -> bool:
        """`ready_blob` for a mount: the client can send the bytes instead, so it waits for moments only."""
        work = self._tasks.start(self.ready_blob(repository, digest))
        done, _ = await asyncio.wait([work], timeout=_MOMENT_SECONDS)
        return bool(done) and work.result()

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
    inside = dump([repository])[:-1] + ","
    # A label's key begins with that of the manifest that has it.
    labelled = "[" + inside
    query = select(table.kind, table.key).where(
        or_(
            table.kind.in_(("manifest", "tag")) & (func.substr(table.key, 1, len(inside)) == inside),
            (table.kind == _LABEL) & (func.substr(table.key, 1, len(labelled)) == labelled),
        )
    )
    # Labels last: those that wait are applied together.
    return list(connection.execute(query.order_by(table.kind == _LABEL).limit(_AT_ONCE)))


def _pending_tags(connection: Connection, keys: Iterable[str]) -> list[Any]:
    table = t.peer_pending.c
    query = select(table.kind, table.key).where(table.kind == "tag", table.key.in_(list(keys)))
    return list(connection.execute(query))


def _newest(connection: Connection) -> list[Any]:
    table = t.peer_pending.c
    query = select(table.kind, table.key).where(table.kind.in_(("manifest", "tag")))
    return list(connection.execute(query.order_by(table.since.desc()).limit(_AT_ONCE)))
