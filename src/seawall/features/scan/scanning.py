"""The parts of scanning, put together."""

from __future__ import annotations

from dataclasses import dataclass

from seawall.access.service import AuthService
from seawall.access.tokens import TokenService
from seawall.features.scan.attached import AttachedSboms
from seawall.features.scan.embedded import EmbeddedScanner
from seawall.features.scan.external import ExternalScanner, PullCredentials
from seawall.features.scan.model import Limits
from seawall.features.scan.packages import PackageLists
from seawall.features.scan.rematch import Rematcher
from seawall.features.scan.reports import ScanReports
from seawall.features.scan.requests import ScanRequests
from seawall.features.scan.runner import ScanRunner
from seawall.features.scan.sbom_push import SbomPublisher
from seawall.features.scan.scan_all import ScanAll
from seawall.features.scan.scanners import Scanners
from seawall.features.trust.service import TrustService
from seawall.infra.db import Database
from seawall.infra.jobs.service import JobService
from seawall.infra.outbox.events import Subscribers
from seawall.infra.secrets.keyring import KeyRing
from seawall.registry.local import LocalRegistry


@dataclass(frozen=True, slots=True)
class Scanning:
    """What scanning gives to the rest of a process; the API, the hook and the jobs use its parts."""

    scanners: Scanners
    requests: ScanRequests
    everything: ScanAll
    runner: ScanRunner
    reports: ScanReports
    packages: PackageLists
    rematcher: Rematcher
    registry_url: str

    @classmethod
    def open(
        cls,
        db: Database,
        content: LocalRegistry,
        jobs: JobService,
        keys: KeyRing,
        events: Subscribers,
        trust: TrustService,
        auth: AuthService,
        tokens: TokenService,
        *,
        limits: Limits | None = None,
        registry_url: str = "",
        internal_url: str = "",
        attached_sboms: str = "never",
    ) -> Scanning:
        """`registry_url` is where adapters find this registry, `internal_url` from inside the cluster.

        `tokens` let scanners pull, unless anybody may (`auth.required`). `attached_sboms`: see PackageLists.
        """
        limits = limits or Limits()
        scanners = Scanners(db, keys)
        reports = ScanReports(db, events)
        requests = ScanRequests(db, jobs, reports)
        publisher = SbomPublisher(db, content, reports)
        attached = AttachedSboms(db, content, trust, limits)
        packages = PackageLists(db, content, attached, limits, attached_sboms)
        credentials = PullCredentials(db, auth, tokens, limits)
        external = ExternalScanner(
            db,
            scanners,
            reports,
            publisher,
            credentials,
            limits,
            registry_url=registry_url,
            internal_url=internal_url,
        )
        embedded = EmbeddedScanner(db, packages, reports, publisher)
        return cls(
            scanners=scanners,
            requests=requests,
            everything=ScanAll(db, jobs, requests),
            runner=ScanRunner(db, embedded, external),
            reports=reports,
            packages=packages,
            rematcher=Rematcher(db, jobs, requests, reports),
            registry_url=registry_url,
        )
