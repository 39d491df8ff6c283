"""The composition root: the one file that knows how a process is put together from settings.

Every kind of process uses it: a server, the job runner, a command. `open_process` makes each object from
those made before it, from top to bottom, and hands each one what it needs by its constructor. Features and
rooms add their jobs, hooks, subscriptions and background work as parts (`seawall.infra.part`). Nothing below
`seawall.process` imports this module.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from seawall.access import identities
from seawall.access.erasure import Erasure
from seawall.access.federation import Federation
from seawall.access.issuer_keys import IssuerKeys
from seawall.access.ldap import Directory
from seawall.access.logins import Logins
from seawall.access.oidc import OidcService
from seawall.access.second_factor import SecondFactors
from seawall.access.service import AuthService
from seawall.access.sessions import SessionStore
from seawall.access.sources import Sources
from seawall.access.throttle import LoginThrottle
from seawall.access.tokens import TokenService
from seawall.access.user_tokens import TokenLogins
from seawall.availability.cluster.figures import Figures
from seawall.availability.cluster.health import DRAIN_VARIABLE, Health
from seawall.availability.cluster.instances import ID_VARIABLE, InstanceRegistry
from seawall.availability.cluster.part import part as cluster_part
from seawall.availability.cluster.probe import Probe
from seawall.availability.sites.part import part as sites_part
from seawall.availability.sites.service import DrService
from seawall.features.audit.admissions import note_admission, note_reuse
from seawall.features.audit.part import part as audit_part
from seawall.features.audit.trail import AuditTrail
from seawall.features.immutability.part import part as immutability_part
from seawall.features.preheat.part import part as preheat_part
from seawall.features.preheat.service import Preheat, open_preheat
from seawall.features.proxycache.cache import PullThrough
from seawall.features.proxycache.mirror import Mirror
from seawall.features.proxycache.part import part as proxy_part
from seawall.features.proxycache.registry import ProxyCache
from seawall.features.replication.part import part as replication_part
from seawall.features.replication.service import Replication, open_replication
from seawall.features.retention.executions import erase_operator
from seawall.features.retention.part import part as retention_part
from seawall.features.scan.adapter_requests import AdapterRequests
from seawall.features.scan.export import erase_exporter
from seawall.features.scan.model import MIB, Limits
from seawall.features.scan.part import part as scan_part
from seawall.features.scan.scanning import Scanning
from seawall.features.trust.exempt import Exemptions
from seawall.features.trust.notary import NotaryService
from seawall.features.trust.part import part as trust_part
from seawall.features.trust.service import TrustService
from seawall.features.webhooks.part import part as webhooks_part
from seawall.features.webhooks.policies import erase_creator
from seawall.infra.addresses import networks
from seawall.infra.ca import ca_digest
from seawall.infra.configuration import Configuration
from seawall.infra.db import Database, open_database
from seawall.infra.jobs.live import JobSource
from seawall.infra.jobs.purge import PURGE_SCHEDULE, purge_kind
from seawall.infra.jobs.service import JobService
from seawall.infra.live.feed import Feed
from seawall.infra.outbox.events import Subscribers
from seawall.infra.part import Background, Closer, Part
from seawall.infra.ratelimit import RateLimiter
from seawall.infra.redis import RedisClient
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.settings import Settings
from seawall.infra.storage import BlobStorage
from seawall.infra.storage.measured import MeasuredStorage
from seawall.kernel.errors import UnavailableError
from seawall.process import tables as tables  # declares every table
from seawall.process.storage import open_cache, open_storage
from seawall.registry import history, live, pulls, receipts
from seawall.registry import jobs as content_jobs
from seawall.registry.artifacts import ArtifactService
from seawall.registry.hooks import Hooks
from seawall.registry.ledger import Folding
from seawall.registry.local import LocalRegistry
from seawall.registry.part import ContentPart
from seawall.registry.projects import default_quota
from seawall.registry.protocol import Registry
from seawall.registry.virtual import VirtualProjects
from seawall.web.caller import Callers
from seawall.web.harbor.schedules import vendor_of

if TYPE_CHECKING:
    from seawall.availability.peers.service import PeerService

log: Any = structlog.get_logger("seawall")


# How long after a failure background work begins again, and how often the same passing failure is said.
_AGAIN_SECONDS = 1.0
_SAID_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What `open_process` has made, for the modules of `seawall.process`; nobody else gets all of it."""

    settings: Settings
    db: Database
    storage: BlobStorage
    content: LocalRegistry
    hooks: Hooks
    events: Subscribers
    keys: KeyRing
    redis: RedisClient
    sessions: SessionStore
    health: Health
    instances: InstanceRegistry
    figures: Figures
    probe: Probe
    configuration: Configuration
    jobs: JobService
    feed: Feed
    replication: Replication
    artifacts: ArtifactService
    scan: Scanning
    scan_requests: AdapterRequests
    notary: NotaryService
    audit: AuditTrail
    erasure: Erasure
    trust: TrustService
    rates: RateLimiter
    dr: DrService
    preheat: Preheat
    auth: AuthService
    directory: Directory
    sources: Sources
    oidc: OidcService
    tokens: TokenService
    logins: Logins
    factors: SecondFactors
    # What the registry API serves: `content`, with all that wraps it.
    registry: Registry
    mirror: Mirror
    virtual: VirtualProjects
    callers: Callers
    peers: PeerService
    background: tuple[Background, ...]
    closers: tuple[Closer, ...]
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def start(self) -> None:
        """Start the background work of this process; call on the event loop that will serve."""
        for work in self.background:
            self._tasks.append(asyncio.create_task(_forever(work)))

    async def close(self) -> None:
        """Stop background work, then close what was opened, last opened first."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for close in reversed(self.closers):
            with contextlib.suppress(Exception):
                await close()
        await self.db.close()


async def _forever(work: Background) -> None:
    said = -math.inf
    while True:
        try:
            await work()
            return
        except Exception as error:
            # Background work must outlive a database that is away for a while, which needs no stack trace,
            # and no line each second.
            passing = isinstance(error, UnavailableError)
            if not passing or time.monotonic() - said >= _SAID_SECONDS:
                said = time.monotonic()
                log.error(
                    "background work failed; starting it again",
                    work=getattr(work, "__qualname__", "?"),
                    error=str(error),
                    exc_info=not passing,
                )
            await asyncio.sleep(_AGAIN_SECONDS)


def open_scanner(
    settings: Settings,
    db: Database,
    content: LocalRegistry,
    jobs: JobService,
    keys: KeyRing,
    events: Subscribers,
    trust: TrustService,
    tokens: TokenService,
    auth: AuthService,
) -> Scanning:
    """Scanning with the limits and addresses of the settings."""
    scan = settings.scan
    here = f"http{'s' if settings.http.tls_certificate else ''}://{settings.http.host}:{settings.http.port}"
    return Scanning.open(
        db,
        content,
        jobs,
        keys,
        events,
        trust,
        auth,
        tokens,
        limits=Limits(
            unpacked_bytes=scan.layer_gib * 1024 * MIB,
            ratio=scan.layer_ratio,
            seconds=scan.layer_seconds,
            memory_bytes=scan.memory_mib * MIB,
        ),
        registry_url=settings.external_url or here,
        internal_url=settings.ha.address or here,
        attached_sboms=scan.attached_sboms,
    )


def _rates_file() -> Path | None:
    """A file next to the drain mark, in the directory that an instance's processes share."""
    drain = os.environ.get(DRAIN_VARIABLE)
    return Path(drain).with_name("rates") if drain else None


def open_process(settings: Settings, *more: Part, serving: bool = False) -> Process:
    """Open database and storage and put the process together; the schema must be migrated.

    `more`: parts beyond the product's own. `serving`: this is a server process.
    """
    db = open_database(
        settings.database_url,
        pool_size=settings.database.pool_size,
        retry_seconds=settings.database.retry_seconds,
        statement_seconds=settings.database.statement_seconds,
        leased=bool(settings.dr.site) and settings.dr.witness is not None,
    )
    storage: BlobStorage = MeasuredStorage(open_storage(settings), settings.storage.driver)
    hooks = Hooks()
    kept = receipts.recorder(db, storage, settings.storage.receipts)
    open_access = settings.auth.mode == "none"
    keys = KeyRing.open(db, settings)
    configuration = Configuration(db, keys, settings, has_other_users=identities.has_unlinked)
    content = LocalRegistry(
        db,
        storage,
        create_projects=open_access,
        grace_seconds=settings.gc.grace_minutes * 60,
        blob_limit=settings.limits.blob_bytes,
        hooks=hooks,
        receipts=kept,
        cache=open_cache(settings) if serving else None,
        default_quota=default_quota(configuration.get),
        fenced=bool(settings.dr.site),
    )
    events = Subscribers()
    redis = RedisClient(settings.redis)
    rates = RateLimiter(settings.rate, redis, _rates_file())
    sessions = SessionStore(
        db,
        redis,
        hours=settings.auth.session_hours,
        idle_minutes=lambda: configuration.get("session_timeout"),
    )
    sources = Sources(db, configuration, keys, peers=bool(settings.peers.urls))
    directory = Directory(db, sources)
    oidc = OidcService(db, sources, keys)
    trail = AuditTrail(configuration, events)
    erasure = Erasure.of(settings, keys)
    issuers = Federation(
        db,
        IssuerKeys(networks(settings.auth.issuer_networks)),
        note_admission(trail),
        longest_seconds=settings.auth.issuer_token_hours * 3600,
    )
    auth = AuthService(
        db,
        attempts=settings.auth.login_attempts,
        wait_seconds=settings.auth.login_wait_seconds,
        configuration=configuration,
        keys=keys,
        external=directory,
        oidc=oidc,
        issuers=issuers,
        redis=redis,
        required=not open_access,
    )
    tokens = TokenService(
        keys, service=settings.auth.service, minutes=settings.auth.token_minutes, now=db.now
    )
    throttle = LoginThrottle(
        db, redis, attempts=settings.auth.login_attempts, wait_seconds=settings.auth.login_wait_seconds
    )
    user_tokens = TokenLogins(db, throttle, oidc, directory)
    logins = Logins(db, throttle, user_tokens, note_reuse(trail))
    jobs = JobService(db)
    dr = DrService(db, storage, settings)

    async def runners() -> bool:
        # A standby's jobs are the active site's.
        return bool(await jobs.runners()) or not await dr.writable()

    async def peers_away() -> list[str]:
        return await peers.statuses.away() if peers.enabled else []

    health = Health(
        db,
        storage,
        redis,
        runners=runners,
        peers_away=peers_away,
        unready_seconds=settings.ha.unready_seconds,
    )
    instances = InstanceRegistry(db, settings, keys)
    figures = Figures(
        db,
        every_seconds=settings.metrics.cluster_seconds,
        projects=settings.metrics.projects,
        dead_seconds=settings.ha.dead_seconds,
        kinds=lambda: jobs.kinds,
        subscribers=lambda: events.handlers,
        harbors=vendor_of,
    )
    replication = open_replication(db, keys, jobs)
    pull_through = PullThrough(db, content, jobs, replication.registries, settings.proxy)
    registry: Registry = ProxyCache(content, pull_through)
    # Imported here: `seawall serve` imports this module before it has said where its processes count
    # together, which prometheus-client wants to know when it is imported.
    from seawall.availability.peers.part import part as peers_part
    from seawall.availability.peers.registry import PeerRegistry
    from seawall.availability.peers.service import PeerService

    peers = PeerService(db, content, jobs, keys, sessions, settings.peers, erasure)
    complete = pull_through.completer.complete
    artifacts = ArtifactService(db, content, complete)
    trust = TrustService(db, artifacts)
    exemptions = Exemptions(db, artifacts, auth)
    scanner = open_scanner(settings, db, content, jobs, keys, events, trust, tokens, auth)
    scan_requests = AdapterRequests(db, keys, jobs, scanner.packages, settings.scan.internal_networks)
    preheat = open_preheat(db, keys, jobs)
    authority = functools.partial(ca_digest, settings)
    probe = Probe(db, storage, redis, keys, instances, health, settings.external_url, authority)
    if peers.enabled:
        content.writes.join(peers.demand)
        registry = PeerRegistry(registry, peers.demand)
    # Server processes of one instance share its id.
    leading = ID_VARIABLE in os.environ
    parts: list[Part] = [
        audit_part(db, trail, configuration, erasure, (erase_creator, erase_operator, erase_exporter)),
        scan_part(db, scanner, scan_requests, auth, exemptions, configuration),
        trust_part(trust, exemptions),
        Part(background=(keys.watch, sessions.sweep, Folding(db).run), closers=(redis.close, rates.close)),
        history.part(db),
        content_jobs.part(db, storage, settings.gc, settings.scrub),
        Part(jobs=(purge_kind(jobs, settings.jobs.keep_days),), schedules=(PURGE_SCHEDULE,)),
        immutability_part(),
        retention_part(db, content, jobs, events, settings.external_url),
        pulls.part(db, configuration),
        live.part(db),
        receipts.part(db, settings.storage.receipts, kept),
        *([sites_part(dr, leading=leading)] if dr.enabled else []),
        *([cluster_part(instances, health)] if leading else []),
        webhooks_part(db, events, jobs, keys, configuration, settings),
        preheat_part(db, jobs, preheat, auth, tokens, scanner.registry_url),
        replication_part(db, content, jobs, events, keys, replication, settings.external_url, complete),
        proxy_part(db, content, pull_through, settings.proxy.keep_days),
        *([peers_part(peers, serving=serving)] if peers.enabled else []),
        *more,
    ]
    for part in parts:
        jobs.register(part.jobs, part.schedules)
        events.subscribe(*part.subscriptions)
        for hook in part.hooks if isinstance(part, ContentPart) else ():
            hooks.add(hook)
    return Process(
        settings=settings,
        db=db,
        storage=storage,
        content=content,
        hooks=hooks,
        events=events,
        keys=keys,
        redis=redis,
        sessions=sessions,
        health=health,
        instances=instances,
        figures=figures,
        probe=probe,
        configuration=configuration,
        jobs=jobs,
        feed=Feed(db, (JobSource(lambda: jobs.kinds), live.ContentSource())),
        replication=replication,
        artifacts=artifacts,
        scan=scanner,
        scan_requests=scan_requests,
        notary=NotaryService(db, keys),
        audit=trail,
        erasure=erasure,
        trust=trust,
        rates=rates,
        dr=dr,
        preheat=preheat,
        auth=auth,
        directory=directory,
        sources=sources,
        oidc=oidc,
        tokens=tokens,
        logins=logins,
        factors=SecondFactors(db, keys, throttle),
        registry=registry,
        mirror=Mirror(db, settings.mirror),
        virtual=VirtualProjects(db, content.writes.elsewhere),
        callers=Callers(auth, tokens, oidc, rates, user_tokens),
        peers=peers,
        background=tuple(work for part in parts for work in part.background),
        closers=tuple(close for part in parts for close in part.closers),
    )
