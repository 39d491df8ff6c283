"""Scanning's part in pushes and pulls: scan on push, and the gate that refuses vulnerable images."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Connection, delete, select

from seawall.access import projects as project_rules
from seawall.access import robots
from seawall.access.access import project_by_id
from seawall.access.service import AuthService
from seawall.features.scan import scanners
from seawall.features.scan.external import PULLER
from seawall.features.scan.requests import ScanRequests
from seawall.features.scan.severity import ORDER, RANK
from seawall.features.scan.tables import scan_reports
from seawall.features.scan.targets import Target
from seawall.features.trust.exempt import Exemptions
from seawall.infra.db import Database
from seawall.infra.db.batch import Asked
from seawall.infra.db.gather import Gatherer
from seawall.kernel.context import REPLICATOR, actor
from seawall.kernel.errors import PreconditionError, RegistryError
from seawall.registry.hooks import ContentHook, Deletion, Push
from seawall.registry.images import IMAGE_CONFIGS
from seawall.registry.lookups import find_manifest
from seawall.registry.manifest import DOCKER_MANIFEST, OCI_MANIFEST, parse

if TYPE_CHECKING:
    from seawall.registry.model import StoredManifest

_CHART = "application/vnd.cncf.helm.config.v1+json"
_CHART_LAYERS = {
    "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
    "application/vnd.cncf.helm.chart.provenance.v1.prov",
}
_ON_PUSH = {"auto_scan": "vulnerability", "auto_sbom_generation": "sbom"}
_LOOK = "scan.settings"
# The setting of projects that hold images back.
_HOLDING = "prevent_vul"


class ScanHook(ContentHook):
    """Registered by `seawall.process.wiring`."""

    replicas = True
    blind = True
    policies = (_HOLDING,)

    def __init__(
        self, db: Database, requests: ScanRequests, auth: AuthService, exemptions: Exemptions
    ) -> None:
        self._exemptions = exemptions
        self._db = db
        self._requests = requests
        self._auth = auth
        self._policies: Gatherer[str, tuple[int, str]] = Gatherer(db, _policies)

    def after_delete(self, connection: Connection, deletion: Deletion) -> None:
        """Forget the reports about an artifact that goes."""
        if deletion.tag is None:
            connection.execute(
                delete(scan_reports).where(
                    scan_reports.c.repository_id == deletion.repository.id,
                    scan_reports.c.digest == deletion.digest,
                )
            )

    def looks(self, push: Push) -> dict[str, Asked]:
        """See ContentHook.looks."""
        manifest = push.manifest
        if (
            manifest.media_type not in (OCI_MANIFEST, DOCKER_MANIFEST)
            or manifest.config_media_type not in IMAGE_CONFIGS
            or manifest.subject is not None
        ):
            return {}
        return {_LOOK: (project_rules.SETTINGS, {"b_project": push.repository.project_id})}

    def after_push(self, connection: Connection, push: Push, manifest_id: int) -> None:
        """Ask for the scans that the project wants of what is pushed, in the push's transaction."""
        settings = dict(push.seen.get(_LOOK, ()))
        if not any(settings.get(name) == "true" for name in _ON_PUSH):
            return
        repository, manifest = push.repository, push.manifest
        target = Target(
            manifest_id,
            repository.id,
            repository.name,
            repository.project_id,
            push.digest,
            manifest.media_type,
        )
        for name, kind in _ON_PUSH.items():
            if settings.get(name) != "true":
                continue
            # The instance that took the push makes the SBOM; it comes from there.
            if name == "auto_sbom_generation" and push.actor == REPLICATOR:
                continue
            try:
                self._requests.request_in(connection, target, kind, trigger="push")
            except PreconditionError:
                # A project without a usable scanner takes pushes all the same.
                continue

    async def before_pull(self, repository: str, manifest: StoredManifest, reference: str) -> None:
        """Refuse images that the project's policy holds back. Raises RegistryError DENIED (412)."""
        if manifest.media_type not in (OCI_MANIFEST, DOCKER_MANIFEST):
            # An index runs nothing; the image that a client takes from it is looked at.
            return
        who = actor.get().name
        if who == PULLER:
            return
        policy = await self._policies.get(repository.partition("/")[0])
        if policy is None or _is_chart(manifest):
            return
        message = await self._db.point(lambda c: _refusal(c, policy, repository, manifest.digest))
        if message is None or await self._exemptions.exempt(repository, manifest, reference):
            return
        if self._auth.required and who:
            name = who.removeprefix(await self._auth.robot_prefix())
            if name != who and await self._db.point(lambda c: robots.is_of_scan(c, name)):
                return
        raise RegistryError("DENIED", message, status=412)


def _is_chart(stored: StoredManifest) -> bool:
    """Whether a manifest is a Helm chart, by all its types: text that no container engine runs."""
    try:
        manifest = parse(stored.payload, stored.media_type)
    except RegistryError:
        return False
    return manifest.config_media_type == _CHART and manifest.layer_types <= _CHART_LAYERS


def _policies(connection: Connection, names: Sequence[str]) -> dict[str, tuple[int, str]]:
    """(project id, severity from which images are held back) of the projects that hold some back."""
    found = project_rules.settings_of_each(connection, names, (_HOLDING, "severity"))
    return {
        name: (identifier, settings.get("severity", "low").capitalize())
        for name, (identifier, settings) in found.items()
        if settings.get(_HOLDING) == "true"
    }


def _refusal(connection: Connection, policy: tuple[int, str], repository: str, digest: str) -> str | None:
    """Why the image may not be pulled, None when it may."""
    project_id, limit = policy
    image = find_manifest(connection, repository, digest)
    rule = f'the project does not let images with vulnerabilities of severity "{limit}" or higher be pulled'
    if image is None:
        return f"{rule}, and this image is being fetched and has not been scanned; try again later"
    if image.config_media_type not in IMAGE_CONFIGS:
        # What a client makes of an unknown type nobody knows, so it may run.
        return f"{rule}, and this is of a type that cannot be scanned"
    scanner = scanners.of_project(connection, project_id)
    row = None
    if scanner is not None:
        row = connection.execute(
            select(scan_reports.c.cves).where(
                scan_reports.c.repository_id == image.repository_id,
                scan_reports.c.digest == digest,
                scan_reports.c.scanner == scanner.uuid,
                scan_reports.c.kind == "vulnerability",
            )
        ).first()
    if row is None or row[0] is None:
        return f"{rule}, and this image has not been scanned"
    project = project_by_id(connection, project_id)
    allowed = project_rules.allowed_cves(connection, project, time.time()) if project else frozenset()
    left = {cve: rank for cve, rank in row[0].items() if cve not in allowed}
    threshold = RANK.get(limit, 0)
    bad = [cve for cve, rank in left.items() if rank >= threshold]
    if not bad:
        return None
    worst = ORDER[max(left[cve] for cve in bad)]
    return (
        f"{rule}; this image has {len(bad)}, the worst of severity {worst}. "
        "A project administrator can put them on the CVE allowlist"
    )
