"""What the modules of peers have in common: documents, what a peer sent, what they are made with."""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass
from typing import Any

from seawall.access.erasure import Erasure
from seawall.availability.peers.versions import Clock, Entry
from seawall.infra.jobs.service import JobService
from seawall.infra.secrets.keyring import KeyRing

Document = dict[str, Any]
# What stored documents are sealed for.
PURPOSE = "peers"
# Entities in one message or transaction.
BATCH = 200


class MissingError(Exception):
    """A document refers to something that is not here (yet)."""


@dataclass(slots=True)
class Context:
    """What documents need in addition to a connection."""

    keys: KeyRing
    jobs: JobService
    erasure: Erasure | None = None
    _known: tuple[tuple[str, ...], list[bytes]] | None = None

    def digest(self, document: Document) -> str:
        """Tells documents apart; keyed, because some hold secrets that could be guessed."""
        return self.digests(document)[0]

    def digests(self, document: Document) -> list[str]:
        """`digest` under every master key that is held, the one in use first."""
        kept = {name: value for name, value in document.items() if not name.startswith("+")}
        data = json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()
        keys = self._digest_keys()
        return [hmac.digest(key, data, "sha256").hex()[:40] for key in keys]

    def _digest_keys(self) -> list[bytes]:
        # Deriving costs more than using, and every comparison does it.
        held = (self.keys.masters.fingerprint, *self.keys.masters.fingerprints)
        if self._known is None or self._known[0] != held:
            self._known = (held, list(self.keys.masters.peer_keys("digest").values()))
        return self._known[1]


@dataclass(slots=True)
class State:
    """This instance's row, locked: its epoch, its last sequence number, its clock."""

    epoch: str
    seq: int
    clock: Clock
    feed_cursor: str | None
    purged_seq: int


@dataclass(frozen=True, slots=True)
class Told:
    """What a peer sent: the state of an entity, and its document (None for a deletion)."""

    entry: Entry
    document: Document | None

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        e = self.entry
        return {
            "kind": e.kind,
            "key": e.key,
            "version": e.version,
            "vector": e.vector,
            "digest": e.digest,
            "deleted": e.deleted,
            "cascade": e.cascade,
            "document": self.document,
        }

    @classmethod
    def of(cls, raw: dict[str, Any]) -> Told:
        """From the JSON form."""
        rest = {name: value for name, value in raw.items() if name != "document"}
        return cls(Entry(**rest), raw["document"])


def dump(key: list[Any]) -> str:
    """A natural key as text."""
    return json.dumps(key, separators=(",", ":"), ensure_ascii=False)
