"""One instance among its peers: the parts of a process, put together.

A change goes two ways. Before the client has its answer, the peers that can be reached learn that there is
something new, and take it (`settle`); so the next request finds it whichever instance it comes to. And each
instance asks each peer every second what is new (`rounds`), which is what makes it right: the first way may
be cut off at any time.
"""

from __future__ import annotations

from seawall.access.erasure import Erasure
from seawall.access.sessions import SessionStore
from seawall.availability.peers.blobs import BlobFetcher, PeerCopyEnd
from seawall.availability.peers.client import Peer
from seawall.availability.peers.demand import Demand
from seawall.availability.peers.fill import Filler
from seawall.availability.peers.model import Context
from seawall.availability.peers.observer import Observer
from seawall.availability.peers.pull import Puller
from seawall.availability.peers.rounds import Rounds
from seawall.availability.peers.settle import Settler
from seawall.availability.peers.status import Statuses
from seawall.availability.peers.store import Store
from seawall.availability.peers.tasks import Tasks
from seawall.infra.db import Database
from seawall.infra.jobs.service import JobService
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.settings import PeerSettings
from seawall.registry.local import LocalRegistry


class PeerService:
    """The peers of this process; each part has one job."""

    def __init__(
        self,
        db: Database,
        content: LocalRegistry,
        jobs: JobService,
        keys: KeyRing,
        sessions: SessionStore,
        settings: PeerSettings,
        erasure: Erasure | None = None,
    ) -> None:
        self.settings = settings
        # Without peers (`peers.urls`) all this has nothing to do, and nobody starts it.
        self.enabled = bool(settings.urls)
        self.db = db
        self.store = Store(Context(keys, jobs, erasure), content, settings.name)
        self.peers = [Peer(url, keys, settings.timeout_seconds) for url in settings.urls]
        self.local = PeerCopyEnd(db, content)
        self._tasks = Tasks()
        self.observer = Observer(self.db, self.store)
        self.settler = Settler(self.observer, self.peers, self._tasks, settings)
        blobs = BlobFetcher(self.db, content, self.local, self.peers)
        self.filler = Filler(self.db, self.store, content, self.local, blobs, self.peers, self._tasks)
        self.puller = Puller(
            self.db,
            self.store,
            self.observer,
            self.filler,
            sessions,
            self.peers,
            self._tasks,
            settings.name,
        )
        self.rounds = Rounds(
            self.db,
            self.store,
            self.observer,
            self.puller,
            self.filler,
            self.peers,
            self._tasks,
            settings,
        )
        self.demand = Demand(
            self.db,
            self.store,
            content,
            self.local,
            self.puller,
            self.filler,
            blobs,
            self.peers,
            self._tasks,
        )
        self.statuses = Statuses(self.db, self.store, self.observer, self.peers, self._tasks)

    async def close(self) -> None:
        """Stop what is under way and close connections."""
        await self._tasks.stop()
        for peer in self.peers:
            await peer.close()
