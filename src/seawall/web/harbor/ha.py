"""Instances of the cluster, and the check of every pair of them; Seawall's own, below `/seawall/ha`."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import Response
from pydantic import BaseModel

from seawall.availability.cluster import check as check_
from seawall.availability.cluster.report import shown
from seawall.availability.peers.check import check_peers
from seawall.availability.sites.check import check_sites
from seawall.infra.ca import read_ca
from seawall.kernel.errors import NotFoundError
from seawall.web.harbor.deps import Access, anyone, system_access, timestamp
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Db, Dr, Instances, Keys, Peers, SettingsDep
from seawall.web.harbor.routing import ApiRouter

router = ApiRouter(tags=["ha"])


class InstanceModel(BaseModel):
    """One instance. `clock_skew`: its clock minus the database's, in seconds."""

    id: str
    hostname: str
    address: str
    version: str
    alive: bool
    seen_seconds_ago: float
    started_at: str | None
    clock_skew: float
    external_url: str
    health: dict[str, Any]


class FaultModel(BaseModel):
    """Something that is wrong, between which instances (addresses), and its cure."""

    kind: str
    instances: list[str]
    message: str
    cure: str


class CheckModel(BaseModel):
    """What a check found; `pairs` is how many ordered pairs of instances were tested."""

    ok: bool
    pairs: int
    tested: list[str]
    instances: list[InstanceModel]
    faults: list[FaultModel]


def _instance(item: dict[str, Any]) -> InstanceModel:
    return InstanceModel(**{**item, "started_at": timestamp(item["started_at"])})


@router.get("/seawall/ha/instances")
async def list_instances(
    access: Annotated[Access, system_access("ha", "read")], instances: Instances
) -> list[InstanceModel]:
    """Every instance that was alive in the last day."""
    return [_instance(shown(item)) for item in await instances.list()]


@router.get("/seawall/ha/check")
async def check_instances(
    access: Annotated[Access, system_access("ha", "read")],
    db: Db,
    keys: Keys,
    settings: SettingsDep,
    peers: Peers,
    dr: Dr,
) -> CheckModel:
    """Test every pair of living instances; takes some seconds."""
    report = await check_.check(db, settings, keys)
    if peers.enabled:
        await check_peers(peers.statuses, report)
    if dr.enabled:
        check_sites(await dr.status(), report)
    return CheckModel(
        ok=report.ok,
        pairs=report.pairs,
        tested=report.tested,
        instances=[_instance(item) for item in report.instances],
        faults=[
            FaultModel(kind=f.kind, instances=f.instances, message=f.message, cure=f.cure)
            for f in report.faults
        ],
    )


@router.get("/systeminfo/getcert", response_class=Response)
async def get_cert(access: Annotated[Access, anyone()], settings: SettingsDep) -> Response:
    """The balancer's CA certificate (`ca_download`)."""
    try:
        data = await asyncio.to_thread(read_ca, settings)
    except NotFoundError as error:
        raise ApiError(404, str(error)) from None
    return Response(
        data,
        media_type="application/x-x509-ca-cert",
        headers={"Content-Disposition": "attachment; filename=ca.crt"},
    )
