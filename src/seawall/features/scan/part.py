"""What scanning adds to a process."""

from __future__ import annotations

from seawall.access.service import AuthService
from seawall.features.scan.adapter_requests import AdapterRequests
from seawall.features.scan.hook import ScanHook
from seawall.features.scan.jobs import FORGET_SCHEDULE, ScanJobs
from seawall.features.scan.scanning import Scanning
from seawall.features.trust.exempt import Exemptions
from seawall.infra.configuration import Configuration
from seawall.infra.db import Database
from seawall.infra.jobs.base import DefaultSchedule
from seawall.registry.part import ContentPart


def part(
    db: Database,
    scan: Scanning,
    requests: AdapterRequests,
    auth: AuthService,
    exemptions: Exemptions,
    configuration: Configuration,
) -> ContentPart:
    """Scan what is pushed where the project wants it; refuse pulls of what is too vulnerable."""
    return ContentPart(
        hooks=(ScanHook(db, scan.requests, auth, exemptions),),
        jobs=ScanJobs(db, scan, requests, configuration).kinds(),
        schedules=(DefaultSchedule(FORGET_SCHEDULE, "0 30 4 * * *", "scan-forget"),),
    )
