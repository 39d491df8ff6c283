"""The two sites of active-standby data centers, below `/dr`; Seawall's own."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel

from seawall.web.harbor.deps import Access, system_access, timestamp
from seawall.web.harbor.needs import Dr
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["dr"])


class DrPeerModel(BaseModel):
    """The other site as it was seen last."""

    url: str
    site: str | None = None
    role: str | None = None
    epoch: int | None = None
    reachable: bool


class WitnessModel(BaseModel):
    """The witness; `held_by` is the site that has its lease."""

    url: str
    reachable: bool
    held_by: str | None = None


class DrModel(BaseModel):
    """This site. `lag_seconds`: how old the standby's content is; on the active, as the standby reported."""

    role: Literal["off", "active", "standby", "fenced"]
    site: str
    epoch: int
    writable: bool
    peer: DrPeerModel | None = None
    witness: WitnessModel | None = None
    lag_seconds: float | None = None
    behind_changes: int | None = None
    last_applied_at: str | None = None
    syncing: Literal["snapshot", "following", "paused"] | None = None
    error: str | None = None
    divergences: int
    can: list[Literal["promote", "demote", "failback"]]


class PromoteModel(BaseModel):
    """`force`: the other site is stopped for good; it is not asked."""

    force: bool = False


class DivergenceModel(BaseModel):
    """Something that an old active acknowledged and the new one never received.

    `outcome`: carried (it is here now), kept (under its digest; the tag stays), same, listed (only here, in
    `detail`) or refused.
    """

    id: str
    kind: str
    name: str
    detail: dict[str, Any]
    outcome: str
    at: str | None


def _model(told: dict[str, Any]) -> DrModel:
    return DrModel(**{**told, "last_applied_at": timestamp(told["last_applied_at"])})


@router.get("/dr")
async def get_dr(access: Annotated[Access, system_access("dr", "read")], dr: Dr) -> DrModel:
    """This site's role, and how far the standby is behind."""
    return _model(await dr.status())


@router.post("/dr/promote")
async def promote_dr(
    body: PromoteModel, access: Annotated[Access, system_access("dr", "update")], dr: Dr
) -> DrModel:
    """Make this site the active one, once the other site or the witness says that the other has stopped."""
    access.audited("update", "dr", dr.settings.site, "promote site")
    return _model(await dr.promote(force=body.force, also=access.trace))


@router.post("/dr/demote")
async def demote_dr(access: Annotated[Access, system_access("dr", "update")], dr: Dr) -> DrModel:
    """Take no more writes at this site."""
    access.audited("update", "dr", dr.settings.site, "demote site")
    return _model(await dr.demote(also=access.trace))


@router.post("/dr/failback")
async def failback_dr(access: Annotated[Access, system_access("dr", "update")], dr: Dr) -> DrModel:
    """Switch the roles of the two sites without losing anything."""
    access.audited("update", "dr", dr.settings.site, "failback")
    return _model(await dr.failback(also=access.trace))


@router.get("/dr/divergences")
async def list_dr_divergences(
    access: Annotated[Access, system_access("dr", "read")],
    dr: Dr,
) -> list[DivergenceModel]:
    """What was not carried over at switches, newest first."""
    found = await dr.divergences()
    return [DivergenceModel(**{**item, "at": timestamp(item["at"])}) for item in found]
