"""What routes need of the rest of the process: they ask for it in their signature.

    @router.get("/labels/{label_id}")
    async def get_label(label_id: Id, access: Annotated[Access, ...], db: Db) -> Label: ...

The composition root offers the objects, by class (`build_api`); an application that lacks one of them does
not start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from seawall.access.erasure import Erasure
from seawall.access.ldap import Directory
from seawall.access.logins import Logins
from seawall.access.oidc import OidcService
from seawall.access.second_factor import SecondFactors
from seawall.access.service import AuthService
from seawall.access.sessions import SessionStore
from seawall.access.sources import Sources
from seawall.availability.cluster.instances import InstanceRegistry
from seawall.availability.peers.service import PeerService
from seawall.availability.sites.service import DrService
from seawall.features.audit.trail import AuditTrail
from seawall.features.preheat.service import Preheat
from seawall.features.replication.service import Replication
from seawall.features.scan.scanning import Scanning
from seawall.features.trust.service import TrustService
from seawall.infra.configuration import Configuration
from seawall.infra.db import Database
from seawall.infra.jobs.service import JobService
from seawall.infra.outbox.events import Subscribers
from seawall.infra.redis import RedisClient
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.settings import Settings
from seawall.infra.storage import BlobStorage
from seawall.registry.artifacts import ArtifactService
from seawall.web.harbor.sessions import BrowserSessions
from seawall.web.harbor.streams import Streams

Offered = Mapping[Any, object]


class Given:
    """The dependency that gives a route the object offered for a class."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind

    async def __call__(self, request: Request) -> Any:
        """The object; `offer` has made sure that there is one."""
        return request.app.state.offered[self.kind]


def given(kind: Any) -> Any:
    """What a parameter of a route is annotated with to get the process's object of that class."""
    return Depends(Given(kind))


def offer(app: FastAPI, routers: Iterable[APIRouter], offered: Offered) -> None:
    """Let the routes of `app`, those of `routers`, have the objects.

    Raises TypeError when a route needs one that is not there.
    """
    for route in (route for router in routers for route in router.routes):
        if isinstance(route, APIRoute):
            for kind in _kinds(route.dependant):
                if kind not in offered:
                    raise TypeError(f"route {route.path} needs {kind.__name__}, which nobody offers")
    app.state.offered = offered


def _kinds(dependant: Dependant) -> list[Any]:
    found = [dependant.call.kind] if isinstance(dependant.call, Given) else []
    return found + [kind for item in dependant.dependencies for kind in _kinds(item)]


Accounts = Annotated[AuthService, given(AuthService)]
Artifacts = Annotated[ArtifactService, given(ArtifactService)]
Audit = Annotated[AuditTrail, given(AuditTrail)]
Browsers = Annotated[BrowserSessions, given(BrowserSessions)]
Config = Annotated[Configuration, given(Configuration)]
Db = Annotated[Database, given(Database)]
Dr = Annotated[DrService, given(DrService)]
Events = Annotated[Subscribers, given(Subscribers)]
Instances = Annotated[InstanceRegistry, given(InstanceRegistry)]
Jobs = Annotated[JobService, given(JobService)]
ErasureDep = Annotated[Erasure, given(Erasure)]
Keys = Annotated[KeyRing, given(KeyRing)]
Ldap = Annotated[Directory, given(Directory)]
LoginsDep = Annotated[Logins, given(Logins)]
Oidc = Annotated[OidcService, given(OidcService)]
Peers = Annotated[PeerService, given(PeerService)]
Preheating = Annotated[Preheat, given(Preheat)]
RedisDep = Annotated[RedisClient, given(RedisClient)]
Replicating = Annotated[Replication, given(Replication)]
Scans = Annotated[Scanning, given(Scanning)]
SecondFactorsDep = Annotated[SecondFactors, given(SecondFactors)]
SessionsDep = Annotated[SessionStore, given(SessionStore)]
SettingsDep = Annotated[Settings, given(Settings)]
SourcesDep = Annotated[Sources, given(Sources)]
StreamsDep = Annotated[Streams, given(Streams)]
StorageDep = Annotated[BlobStorage, given(BlobStorage)]
Trust = Annotated[TrustService, given(TrustService)]
