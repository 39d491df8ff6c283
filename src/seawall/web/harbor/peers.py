"""Peers of own-storage HA: how this instance stands to them, conflicts, a round now."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Response
from pydantic import BaseModel

from seawall.web.harbor.deps import Access, ApiRouter, system_access, timestamp
from seawall.web.harbor.needs import Peers

router = ApiRouter(tags=["peers"])


class DifferenceModel(BaseModel):
    """An entity that is not the same: `here` and `there` are digests, or say that it is missing and why."""

    kind: str
    key: str
    here: str
    there: str


class PeerModel(BaseModel):
    """A peer. `behind`: changes of its that are not here yet; `lag_seconds`: 0 when both are equal."""

    name: str
    url: str
    reachable: bool
    last_sync_at: str | None
    lag_seconds: float | None
    behind: int
    differences: list[DifferenceModel]
    conflicts: int
    error: str | None


class ConflictModel(BaseModel):
    """Changes made at two instances that did not know of each other; `by` made the one that was kept."""

    at: str | None
    kind: str
    key: str
    kept: dict[str, Any] | None
    dropped: dict[str, Any] | None
    by: str
    note: str


@router.get("/peers")
async def list_peers(access: Annotated[Access, system_access("ha", "read")], peers: Peers) -> list[PeerModel]:
    """Every peer, asked now; none where own-storage HA is not set up."""
    if not peers.enabled:
        return []
    return [
        PeerModel(
            name=item.name,
            url=item.url,
            reachable=item.reachable,
            last_sync_at=timestamp(item.last_sync_at),
            lag_seconds=item.lag_seconds,
            behind=item.behind,
            differences=[DifferenceModel(**entry) for entry in item.differences],
            conflicts=item.conflicts,
            error=item.error,
        )
        for item in await peers.statuses.all()
    ]


@router.get("/peers/conflicts")
async def list_peer_conflicts(
    access: Annotated[Access, system_access("ha", "read")], peers: Peers
) -> list[ConflictModel]:
    """What lost by the conflict rule, newest first (at most 500), without secrets."""
    if not peers.enabled:
        return []
    found = await peers.statuses.conflicts()
    return [ConflictModel(**{**item, "at": timestamp(item["at"])}) for item in found]


@router.post("/peers/sync", status_code=202, response_class=Response)
async def sync_peers(access: Annotated[Access, system_access("ha", "update")], peers: Peers) -> Response:
    """Start a round with every peer now."""
    if peers.enabled:
        peers.rounds.start_round()
    return Response(status_code=202)
