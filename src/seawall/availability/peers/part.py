"""What peers add to a process."""

from __future__ import annotations

from seawall.availability.peers.service import PeerService
from seawall.infra.part import Part


def part(peers: PeerService, *, serving: bool) -> Part:
    """Keep up with the peers (`serving`: a server process), and close connections to them."""
    return Part(background=(peers.rounds.run, peers.settler.watch) if serving else (), closers=(peers.close,))
