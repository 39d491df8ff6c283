"""Scanning by an adapter of Harbor's pluggable scanner API."""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import time
from typing import Any

from argon2 import PasswordHasher
from sqlalchemy import Connection

from seawall.access import robots
from seawall.access.service import AuthService
from seawall.access.tokens import Scope, TokenService
from seawall.features.scan import report, sbom
from seawall.features.scan.adapter import AUTHORIZATION, AdapterClient, Request, capability, sbom_format
from seawall.features.scan.inventory import ScanError
from seawall.features.scan.model import Limits, Log, ReportRow, Step
from seawall.features.scan.reports import ScanReports
from seawall.features.scan.sbom_push import SbomPublisher
from seawall.features.scan.scanners import Scanner, Scanners
from seawall.features.scan.targets import Target
from seawall.infra.db import Database
from seawall.kernel.errors import NotFoundError
from seawall.registry.lookups import total_size
from seawall.registry.tags import newest_tag

# Subject of the tokens that adapters pull with; no user or robot can have a name with a space.
PULLER = "seawall scanner"


class PullCredentials:
    """What lets an adapter pull an image for one scan."""

    def __init__(
        self,
        db: Database,
        auth: AuthService,
        tokens: TokenService,
        limits: Limits,
    ) -> None:
        """Where nobody has to sign in (`auth.required`), no credential is made."""
        self._db = db
        self._tokens = tokens
        self._auth = auth
        self._limits = limits

    async def issue(self, target: Target, *, basic: bool) -> tuple[str, int | None]:
        """(Authorization header, robot to delete afterwards) that lets an adapter pull this image."""
        if not self._auth.required:
            return "", None  # anybody may pull
        if not basic:
            scope = Scope("repository", target.repository, frozenset({"pull"}))
            token, _ = self._tokens.issue(PULLER, [scope])
            return f"Bearer {token}", None
        secret = secrets.token_urlsafe(32)
        hashed = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1).hash(secret)
        name = f"scanner-{secrets.token_hex(8)}"
        project = (target.project_id, target.repository.partition("/")[0])
        expires_at = int(time.time()) + self._limits.seconds * 5
        robot_id = await self._db.write(
            lambda c: robots.create_for_scan(c, project, name, hashed, expires_at)
        )
        pair = f"{await self._auth.robot_prefix()}{project[1]}+{name}:{secret}"
        return "Basic " + base64.b64encode(pair.encode()).decode(), robot_id

    async def revoke(self, robot_id: int | None) -> None:
        """Delete the robot account of `issue`, if it made one."""
        if robot_id is not None:
            # Gone already with its project.
            with contextlib.suppress(NotFoundError):
                await self._db.write(lambda c: robots.remove(c, robot_id))


class ExternalScanner:
    """Has adapters scan, and takes their reports."""

    def __init__(
        self,
        db: Database,
        scanners: Scanners,
        reports: ScanReports,
        publisher: SbomPublisher,
        credentials: PullCredentials,
        limits: Limits,
        *,
        registry_url: str,
        internal_url: str,
    ) -> None:
        """`registry_url` is where adapters find this registry, `internal_url` from inside the cluster."""
        self._db = db
        self._scanners = scanners
        self._reports = reports
        self._publisher = publisher
        self._credentials = credentials
        self._limits = limits
        self._registry_url = registry_url
        self._internal_url = internal_url

    async def scan(
        self, row: ReportRow, target: Target, scanner: Scanner, log: Log, step: Step
    ) -> dict[str, Any]:
        """Have an adapter scan an image and store the result; returns the job's. Raises ScanError."""
        async with AdapterClient(self._scanners.registration(scanner)) as client:
            metadata = await client.metadata()
            info = metadata["scanner"]
            await log(f"adapter: {info['name']} {info['version']} of {info['vendor']}")
            able = capability(metadata, row.kind, target.media_type)
            if able is None:
                raise ScanError(f"{scanner.name} makes no {row.kind} report for {target.media_type}")
            produces = [str(item) for item in able["produces_mime_types"]]
            wanted = (sbom_format(able, sbom.FORMATS) or "") if row.kind == "sbom" else ""
            if row.kind == "sbom" and not wanted:
                raise ScanError(f"{scanner.name} makes neither SPDX nor CycloneDX")
            mime = _pick(produces, [report.SBOM] if row.kind == "sbom" else [report.GENERIC, report.NATIVE])
            basic = metadata["properties"].get(AUTHORIZATION, "Basic") == "Basic"
            tag, size = await self._db.read(lambda c: _tag_and_size(c, target))
            authorization, robot_id = await self._credentials.issue(target, basic=basic)
            url = self._internal_url if scanner.use_internal_addr else self._registry_url
            try:
                identifier = await client.submit(
                    Request(
                        registry=url,
                        authorization=authorization,
                        repository=target.repository,
                        digest=target.digest,
                        media_type=target.media_type,
                        tag=tag,
                        size=size,
                        kind=row.kind,
                        produces=mime,
                        sbom_media_type=wanted,
                    )
                )
                await log(f"submitted as {identifier}")
                document = await client.report(
                    identifier, mime, seconds=self._limits.seconds * 4, wait=step, sbom_media_type=wanted
                )
            finally:
                await self._credentials.revoke(robot_id)
        if row.kind == "sbom":
            content = document.get("sbom")
            if not isinstance(content, dict):
                raise ScanError("the adapter's report has no sbom")
            kind = document.get("media_type") or sbom.SPDX
            data = json.dumps(content, separators=(",", ":")).encode()
            return await self._publisher.publish(row, target, [(str(kind)[:255], data)], info)
        checked = report.check(document, target.digest)
        result = await self._db.write(lambda c: self._reports.store(c, row, checked, info, None))
        await log(f"{result['total']} vulnerabilities, severity {result['severity']}")
        return result


def _pick(produces: list[str], readable: list[str]) -> str:
    """The first of `readable` that an adapter makes, as the adapter writes it. Raises ScanError."""

    def plain(text: str) -> str:
        return text.replace(" ", "").lower()

    known = {plain(item): item for item in produces}
    for wanted in readable:
        if plain(wanted) in known:
            return known[plain(wanted)]
    raise ScanError("the adapter makes no report that Seawall reads")


def _tag_and_size(connection: Connection, target: Target) -> tuple[str, int]:
    tag = newest_tag(connection, target.manifest_id)
    return tag or "", total_size(connection, target.manifest_id)
