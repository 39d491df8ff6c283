"""The database's part of peers, put together."""

from __future__ import annotations

from seawall.availability.peers.apply import Applier
from seawall.availability.peers.conflicts import Conflicts
from seawall.availability.peers.content import ContentWriter
from seawall.availability.peers.deletions import Deletions
from seawall.availability.peers.entries import Entries
from seawall.availability.peers.local import LocalChanges
from seawall.availability.peers.model import Context
from seawall.availability.peers.pending import Pending
from seawall.registry.local import LocalRegistry


class Store:
    """The entities of one instance: each part has one job."""

    def __init__(self, context: Context, content: LocalRegistry, name: str) -> None:
        """`name` is that of this instance."""
        self.entries = Entries(context, name)
        self.pending = Pending(context)
        self.local = LocalChanges(context, self.entries, self.pending)
        self.conflicts = Conflicts(context, self.entries)
        self.applier = Applier(
            context,
            self.entries,
            self.local,
            self.pending,
            ContentWriter(context, content),
            Deletions(self.pending),
            self.conflicts,
        )
