"""Peers of own-storage HA: how this instance stands to them, conflicts, a round now."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Response
from pydantic import BaseModel

from seawall.web.harbor.deps import Access, Id, system_access, timestamp
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Peers
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["peers"])
# Seconds that an answer waits for a peer: the page must not hang because another host does.
_WITHIN = 1.0


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

    id: int
    at: str | None
    kind: str
    key: str
    kept: dict[str, Any] | None
    dropped: dict[str, Any] | None
    by: str
    note: str
    acknowledged_at: str | None = None
    acknowledged_by: str | None = None


@router.get("/peers")
async def list_peers(access: Annotated[Access, system_access("ha", "read")], peers: Peers) -> list[PeerModel]:
    """Every peer, asked now; none where own-storage HA is not set up.

    A peer that does not answer within a second is shown as not reachable, with what is known of it here.
    """
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
        for item in await peers.statuses.all(within=_WITHIN)
    ]


@router.get("/peers/conflicts")
async def list_peer_conflicts(
    access: Annotated[Access, system_access("ha", "read")], peers: Peers
) -> list[ConflictModel]:
    """What the conflict rule discarded, newest first (at most 500), without secrets."""
    if not peers.enabled:
        return []
    found = await peers.statuses.conflicts()
    return [
        ConflictModel(
            **{
                **item,
                "at": timestamp(item["at"]),
                "acknowledged_at": timestamp(item["acknowledged_at"]),
            }
        )
        for item in found
    ]


@router.post("/peers/conflicts/{conflict_id}/acknowledge", response_class=Response)
async def acknowledge_peer_conflict(
    conflict_id: Id, access: Annotated[Access, system_access("ha", "update")], peers: Peers
) -> Response:
    """Note that somebody has seen a conflict; it no longer counts among the open ones."""
    if not peers.enabled or not await peers.statuses.acknowledge(
        conflict_id, access.principal.name, also=access.trace
    ):
        raise ApiError(404, f"conflict {conflict_id} not found")
    access.audited("update", "peer_conflict", str(conflict_id), f"acknowledge conflict {conflict_id}")
    return Response(status_code=200)


@router.post("/peers/sync", status_code=202, response_class=Response)
async def sync_peers(access: Annotated[Access, system_access("ha", "update")], peers: Peers) -> Response:
    """Start a round with every peer now."""
    if peers.enabled:
        peers.rounds.start_round()
    return Response(status_code=202)
