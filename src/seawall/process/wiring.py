"""The services of one process, wired together from settings.

Used by every kind of process: a server worker, the job runner, a CLI command. Each domain adds its service
as a field here, opens it in `open_services` and, where it needs work in the background, appends to
`background` (coroutines that run until cancelled) or `closers`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from seawall.access import users
from seawall.access.ldap import Directory
from seawall.access.oidc import OidcService
from seawall.access.service import AuthService
from seawall.access.sessions import SessionStore
from seawall.access.tokens import TokenService
from seawall.availability.cluster.health import DRAIN_VARIABLE, Health
from seawall.availability.cluster.instances import ID_VARIABLE, InstanceRegistry
from seawall.availability.sites.service import DrService
from seawall.features.audit.trail import AuditHook, AuditTrail
from seawall.features.immutability.rules import ImmutableTags
from seawall.features.preheat import work as preheat_work
from seawall.features.preheat.service import PreheatService
from seawall.features.replication.service import ReplicationService
from seawall.features.retention import retention  # noqa: F401 - registers its kinds of jobs
from seawall.features.scan import jobs as scan_jobs
from seawall.features.scan.hook import ScanHook
from seawall.features.scan.model import MIB, Limits
from seawall.features.scan.scanning import Scanning
from seawall.features.trust.hook import TrustHook
from seawall.features.trust.notary import NotaryService
from seawall.features.trust.service import TrustService
from seawall.features.webhooks import wiring as webhooks
from seawall.infra.configuration import Configuration
from seawall.infra.db import Database, open_database
from seawall.infra.db.postgres import PostgresDatabase
from seawall.infra.jobs.service import JobService
from seawall.infra.outbox.events import Subscribers
from seawall.infra.ratelimit import RateLimiter
from seawall.infra.redis import RedisClient
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.settings import Settings
from seawall.infra.storage import BlobStorage, FilesystemStorage
from seawall.infra.storage.connect import open_objects
from seawall.registry import jobs as job_kinds
from seawall.registry.artifacts import ArtifactService
from seawall.registry.hooks import Hooks
from seawall.registry.local import LocalRegistry
from seawall.registry.pulls import PullCounter

if TYPE_CHECKING:
    from seawall.availability.peers.service import PeerService
    from seawall.features.proxycache.cache import ProxyCache

log: Any = structlog.get_logger("seawall")


@dataclass(slots=True)
class Services:
    """Everything a transport or a job may use. `auth` and `tokens` are None with `auth.mode: none`."""

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
    configuration: Configuration
    jobs: JobService
    replication: ReplicationService
    artifacts: ArtifactService
    scan: Scanning
    notary: NotaryService
    audit: AuditTrail
    trust: TrustService
    rates: RateLimiter
    dr: DrService
    preheat: PreheatService
    auth: AuthService | None = None
    ldap: Directory | None = None
    oidc: OidcService | None = None
    tokens: TokenService | None = None
    proxy: ProxyCache | None = None
    peers: PeerService | None = None
    background: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    closers: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
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


async def _forever(work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
            return
        except Exception:
            # Background work must outlive a database that is away for a while.
            log.exception(
                "background work failed; starting it again", work=getattr(work, "__qualname__", "?")
            )
            await asyncio.sleep(1)


def open_storage(settings: Settings) -> BlobStorage:
    """The storage backend that the settings choose."""
    if settings.storage.driver == "filesystem":
        return FilesystemStorage(settings.storage_root)
    return open_objects(settings.storage)


def open_scanner(
    settings: Settings,
    db: Database,
    content: LocalRegistry,
    jobs: JobService,
    keys: KeyRing,
    events: Subscribers,
    trust: TrustService,
    tokens: TokenService | None,
    auth: AuthService | None,
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
        tokens=tokens,
        robot_prefix=auth.robot_prefix if auth is not None else None,
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
    """A file beside the drain mark, in the directory that an instance's processes share."""
    drain = os.environ.get(DRAIN_VARIABLE)
    return Path(drain).with_name("rates") if drain else None


def wire_dr(services: Services) -> None:
    """Let a server process take part in the site's work, and writes be checked against the lease."""
    from seawall.availability.sites import rescue

    dr = services.dr
    services.closers.append(dr.close)
    dr.rescue = rescue.Rescue(services).run
    if isinstance(services.db, PostgresDatabase):
        services.db.leased = dr.settings.witness is not None
    if ID_VARIABLE in os.environ:
        services.background.append(dr.run)


def open_services(settings: Settings) -> Services:
    """Open database and storage and wire the services; the schema must be migrated."""
    db = open_database(
        settings.database_url,
        pool_size=settings.database.pool_size,
        retry_seconds=settings.database.retry_seconds,
        statement_seconds=settings.database.statement_seconds,
    )
    storage = open_storage(settings)
    hooks = Hooks()
    open_access = settings.auth.mode == "none"
    content = LocalRegistry(
        db,
        storage,
        create_projects=open_access,
        grace_seconds=settings.gc.grace_minutes * 60,
        manifest_limit=settings.limits.manifest_bytes,
        blob_limit=settings.limits.blob_bytes,
        hooks=hooks,
    )
    keys = KeyRing.open(db, settings)
    subscribers = Subscribers()
    redis = RedisClient(settings.redis)
    configuration = Configuration(db, keys, settings, has_other_users=users.has_others)
    sessions = SessionStore(
        db,
        redis,
        hours=settings.auth.session_hours,
        idle_minutes=settings.auth.session_idle_minutes,
        configured_idle=lambda: configuration.get("session_timeout"),
    )
    health = Health(db, storage, redis, unready_seconds=settings.ha.unready_seconds)
    instances = InstanceRegistry(db, settings, keys, health)
    jobs = JobService(db)
    artifacts = ArtifactService(db, content)
    trust = TrustService(db, artifacts)
    trust_hook = TrustHook(trust)
    ldap: Directory | None = None
    oidc: OidcService | None = None
    auth: AuthService | None = None
    tokens: TokenService | None = None
    if not open_access:
        ldap = Directory(db, configuration)
        oidc = OidcService(db, configuration, keys)
        auth = AuthService(
            db,
            attempts=settings.auth.login_attempts,
            wait_seconds=settings.auth.login_wait_seconds,
            configuration=configuration,
            keys=keys,
            external=ldap,
            oidc=oidc,
            redis=redis,
        )
        trust_hook.auth = auth
        tokens = TokenService(keys, service=settings.auth.service, minutes=settings.auth.token_minutes)
    services = Services(
        settings,
        db,
        storage,
        content,
        hooks,
        subscribers,
        keys,
        redis,
        sessions,
        health,
        instances,
        configuration,
        jobs,
        ReplicationService(db, keys, jobs),
        artifacts,
        open_scanner(settings, db, content, jobs, keys, subscribers, trust, tokens, auth),
        NotaryService(db, keys),
        AuditTrail(configuration, subscribers),
        trust,
        RateLimiter(settings.rate, redis, _rates_file()),
        DrService(db, storage, settings),
        PreheatService(db, keys, jobs),
        auth=auth,
        ldap=ldap,
        oidc=oidc,
        tokens=tokens,
    )
    trail = AuditHook(db, services.audit, configuration)
    hooks.add(trail)
    services.background.append(trail.run)
    services.closers.append(trail.flush)
    prefix = auth.robot_prefix if auth is not None else None
    hooks.add(ScanHook(db, services.scan.requests, prefix))
    hooks.add(trust_hook)
    jobs.default_schedule(scan_jobs.FORGET_SCHEDULE, "0 30 4 * * *", "scan-forget", {})
    services.background += [keys.watch, sessions.sweep]
    services.closers += [redis.close, services.rates.close]
    if settings.gc.schedule:
        jobs.default_schedule(job_kinds.GC_SCHEDULE, settings.gc.schedule, "gc", {})
    jobs.default_schedule(job_kinds.PURGE_SCHEDULE, "0 45 3 * * *", "purge-jobs", {})
    pulls = PullCounter(db, configuration)
    hooks.add(ImmutableTags())
    hooks.add(pulls)
    services.background.append(pulls.run)
    services.closers.append(pulls.flush)
    if services.dr.enabled:
        wire_dr(services)
    if ID_VARIABLE in os.environ:
        services.background.append(instances.beat)
        services.closers.append(instances.leave)
    webhooks.install(services)
    preheat_work.install(services)
    # Imported here: its jobs and hooks use the services that this module makes.
    from seawall.features.proxycache import cache as proxy
    from seawall.features.replication import work as replication_work

    replication_work.install(services)
    services.proxy = proxy.install(services)
    if settings.peers.urls:
        from seawall.availability.peers import service as peers

        services.peers = peers.install(services)
    return services
