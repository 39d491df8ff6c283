"""The scan service: what is to be scanned, running a scan, reports, the gate on pulls.

A report belongs to an artifact of a repository (by digest), a scanner and a kind (vulnerability or sbom).
Inventories belong to a digest alone, so the same image in ten repositories is read once, and new advisories
are matched with stored inventories without reading a layer.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from argon2 import PasswordHasher
from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from seawall.access.tables import projects, robots
from seawall.access.tokens import Scope, TokenService
from seawall.features.scan import catalog, foreign, match, overview, report, sbom, scanners
from seawall.features.scan.adapter import AUTHORIZATION, AdapterClient, Request, capability, sbom_format
from seawall.features.scan.analyze import Delta
from seawall.features.scan.inventory import LAYER_TYPES, LayerSource, ScanError, build
from seawall.features.scan.model import Inventory, Limits
from seawall.features.scan.overview import ACTIVE
from seawall.features.scan.scanners import EMBEDDED, Scanner, Scanners
from seawall.features.scan.tables import scan_findings, scan_inventories, scan_layers, scan_reports, scan_runs
from seawall.features.trust.service import TrustService
from seawall.features.trust.signatures import BUNDLE_PREFIX, DSSE, SIGNERS
from seawall.infra.db import Database
from seawall.infra.jobs.service import JobService
from seawall.infra.outbox.events import Subscribers
from seawall.infra.secrets.keyring import KeyRing
from seawall.kernel.errors import ConflictError, InvalidError, NotFoundError, RegistryError
from seawall.registry.manifest import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from seawall.registry.service import ContentService
from seawall.registry.tables import manifest_payloads, manifest_references, manifests, repositories, tags

IMAGE_CONFIGS = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)
KINDS = ("vulnerability", "sbom")
# Subject of the tokens that adapters pull with; no user or robot can have a name with a space.
PULLER = "seawall scanner"
IN_TOTO = "application/vnd.in-toto+json"
_BUILDKIT_SUBJECT = "vnd.docker.reference.digest"
_FINDINGS = 20_000
_UNUSED_SECONDS = 90 * 86400
Log = Callable[[str], Awaitable[None]]
Step = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Target:
    """A scannable image: a manifest of a repository."""

    manifest_id: int
    repository_id: int
    repository: str
    project_id: int
    digest: str
    media_type: str


@dataclass(frozen=True, slots=True)
class ReportRow:
    """A stored report without its data; times in Unix seconds."""

    id: int
    uuid: str
    repository_id: int
    digest: str
    scanner: str
    kind: str
    status: str
    job_id: str | None
    severity: str
    total: int
    fixable: int
    counts: dict[str, int] | None
    sbom_digest: str | None
    scanner_info: dict[str, str] | None
    error: str | None
    started_at: float | None
    ended_at: float | None


_REPORT = tuple(
    scan_reports.c[name]
    for name in (
        *("id", "uuid", "repository_id", "digest", "scanner", "kind", "status", "job_id", "severity"),
        *("total", "fixable", "counts", "sbom_digest", "scanner_info", "error", "started_at", "ended_at"),
    )
)
_TARGET = (
    manifests.c.id,
    manifests.c.repository_id,
    repositories.c.name,
    repositories.c.project_id,
    manifests.c.digest,
    manifests.c.media_type,
)


def _targets() -> Any:
    return (
        select(*_TARGET)
        .join(repositories, repositories.c.id == manifests.c.repository_id)
        .where(
            manifests.c.media_type.in_((OCI_MANIFEST, DOCKER_MANIFEST)),
            manifests.c.config_media_type.in_(IMAGE_CONFIGS),
            manifests.c.subject_digest.is_(None),
        )
    )


def resolve(connection: Connection, repository: str, reference: str) -> list[Target]:
    """The images that a reference stands for: itself, or those of an index.

    Raises NotFoundError when there is no such artifact; empty when nothing of it can be scanned.
    """
    query = (
        select(manifests.c.id, manifests.c.media_type, manifests.c.digest, manifests.c.repository_id)
        .join(repositories, repositories.c.id == manifests.c.repository_id)
        .where(repositories.c.name == repository)
    )
    if ":" in reference:
        query = query.where(manifests.c.digest == reference)
    else:
        query = query.join(tags, tags.c.manifest_id == manifests.c.id).where(tags.c.name == reference)
    row = connection.execute(query).first()
    if row is None:
        raise NotFoundError(f"artifact {repository}:{reference} not found")
    if row.media_type in (OCI_INDEX, DOCKER_LIST):
        children = select(manifest_references.c.digest).where(
            manifest_references.c.manifest_id == row.id, manifest_references.c.kind == "manifest"
        )
        found = _targets().where(
            manifests.c.repository_id == row.repository_id, manifests.c.digest.in_(children)
        )
        images = [Target(*item) for item in connection.execute(found.order_by(manifests.c.id))]
        return [item for item in images if not _attestation(connection, item)]
    return [Target(*item) for item in connection.execute(_targets().where(manifests.c.id == row.id))]


def _attestation(connection: Connection, target: Target) -> bool:
    # BuildKit puts attestations into an index as images whose layers are in-toto statements.
    payload = connection.execute(
        select(manifest_payloads.c.payload).where(manifest_payloads.c.manifest_id == target.manifest_id)
    ).scalar()
    try:
        layers = json.loads(bytes(payload or b"{}")).get("layers") or []
    except (ValueError, RecursionError):
        return True
    return bool(layers) and not any(str(item.get("mediaType", "")).startswith(LAYER_TYPES) for item in layers)


class ScanService:
    """Everything about scans; jobs call `run`, the API everything else."""

    def __init__(
        self,
        db: Database,
        content: ContentService,
        jobs: JobService,
        keys: KeyRing,
        events: Subscribers,
        *,
        limits: Limits | None = None,
        registry_url: str = "",
        internal_url: str = "",
        attached_sboms: str = "never",
    ) -> None:
        """`registry_url` is where adapters find this registry, `internal_url` from inside the cluster.

        `attached_sboms`: whether SBOMs that others attached are package lists: "never", "fallback" where the
        layers cannot be read, "prefer".
        """
        self.db = db
        self.trust: TrustService | None = None
        self._attached = attached_sboms
        self.limits = limits or Limits()
        self.scanners = Scanners(db, keys)
        self.tokens: TokenService | None = None
        self.robot_prefix: Callable[[], Awaitable[str]] | None = None
        self._content = content
        self._jobs = jobs
        self._events = events
        self.registry_url = registry_url
        self._internal_url = internal_url

    # -- asking for scans ----------------------------------------------------------------------------

    async def request(
        self, repository: str, reference: str, kind: str = "vulnerability", *, run_id: int | None = None
    ) -> list[str]:
        """Start scanning an artifact (or the images of an index); returns the reports' uuids.

        Raises NotFoundError, InvalidError (nothing to scan, no scanner) and ConflictError (being scanned).
        """
        if kind not in KINDS:
            raise InvalidError(f"scan_type must be one of {', '.join(KINDS)}")

        def run(connection: Connection) -> list[str]:
            found = resolve(connection, repository, reference)
            if not found:
                raise NotScannableError(f"{repository}:{reference} is not an image that can be scanned")
            return [uuid_ for target in found if (uuid_ := self.request_in(connection, target, kind, run_id))]

        started = await self.db.write(run)
        if not started:
            raise ConflictError("a scan of this artifact is running already")
        self._jobs.nudge()
        return started

    def request_in(
        self,
        connection: Connection,
        target: Target,
        kind: str,
        run_id: int | None = None,
        trigger: str = "manual",
    ) -> str | None:
        """`request` for one image inside the caller's transaction; None when it is being scanned.

        Raises InvalidError when the project has no usable scanner.
        """
        scanner = scanners.of_project(connection, target.project_id)
        if scanner is None:
            scanners.ensure_embedded(connection)
            scanner = scanners.of_project(connection, target.project_id)
        if scanner is None or scanner.disabled:
            raise InvalidError("the project's scanner is disabled")
        where = (
            (scan_reports.c.repository_id == target.repository_id)
            & (scan_reports.c.digest == target.digest)
            & (scan_reports.c.scanner == scanner.uuid)
            & (scan_reports.c.kind == kind)
        )
        old = connection.execute(
            select(scan_reports.c.id, scan_reports.c.uuid, scan_reports.c.status)
            .where(where)
            .with_for_update()
        ).first()
        if old is not None and old.status in ACTIVE:
            return None
        identifier = str(uuid.uuid4())
        job_id = self._jobs.enqueue_in(connection, "scan", {"report": identifier}, trigger=trigger)
        values = {
            "uuid": identifier,
            "status": "Pending",
            "job_id": job_id,
            "run_id": run_id,
            "error": None,
            "started_at": None,
            "ended_at": None,
            "created_at": time.time(),
        }
        if old is not None:
            # The last result stays (and goes on to guard pulls) until the new one is there.
            connection.execute(update(scan_reports).where(scan_reports.c.id == old.id).values(values))
        else:
            connection.execute(
                insert(scan_reports).values(
                    repository_id=target.repository_id,
                    digest=target.digest,
                    scanner=scanner.uuid,
                    kind=kind,
                    **values,
                )
            )
        return identifier

    async def stop(self, repository: str, reference: str, kind: str = "vulnerability") -> int:
        """Stop the running scans of an artifact; returns how many. Raises NotFoundError."""

        def active(connection: Connection) -> list[ReportRow]:
            digests = [target.digest for target in resolve(connection, repository, reference)]
            query = select(*_REPORT).join(repositories, repositories.c.id == scan_reports.c.repository_id)
            query = query.where(
                repositories.c.name == repository,
                scan_reports.c.digest.in_(digests),
                scan_reports.c.kind == kind,
                scan_reports.c.status.in_(ACTIVE),
            )
            return [_report(row) for row in connection.execute(query)]

        found = await self.db.read(active)
        for item in found:
            await self.stop_report(item)
        return len(found)

    async def stop_report(self, item: ReportRow) -> None:
        """Stop one report's job; one that has not started ends here and now."""
        if item.job_id is None or not await self._jobs.stop(item.job_id):
            return
        info = await self._jobs.get(item.job_id)
        if info is None or info.status == "stopped":
            await self.db.write(lambda c: self._finish(c, item.uuid, "Stopped", None))

    async def log(self, identifier: str) -> str:
        """The log of a report's job. Raises NotFoundError."""
        row = await self.db.point(lambda c: find_report(c, identifier))
        if row is None or row.job_id is None:
            raise NotFoundError(f"report {identifier[:64]} not found")
        return await self._jobs.log(row.job_id)

    # -- running a scan --------------------------------------------------------------------------------

    async def run(self, identifier: str, *, log: Log, step: Step) -> dict[str, Any]:
        """Do the scan of a report. Raises what made it fail, after the report says so."""
        started = time.time()

        def begin(connection: Connection) -> tuple[ReportRow, Target, Scanner] | None:
            row = find_report(connection, identifier)
            if row is None or row.status not in ACTIVE:
                return None
            target = connection.execute(
                _targets().where(
                    manifests.c.repository_id == row.repository_id, manifests.c.digest == row.digest
                )
            ).first()
            scanner = scanners.find(connection, row.scanner)
            if target is None or scanner is None:
                # Deleted since it was asked for.
                connection.execute(delete(scan_reports).where(scan_reports.c.id == row.id))
                return None
            connection.execute(
                update(scan_reports)
                .where(scan_reports.c.id == row.id)
                .values(status="Running", started_at=started)
            )
            return row, Target(*target), scanner

        begun = await self.db.write(begin)
        if begun is None:
            await log("nothing to do: the artifact or the request is gone")
            return {"status": "gone"}
        row, target, scanner = begun
        await log(f"{row.kind} scan of {target.repository}@{target.digest} by {scanner.name}")
        if scanner.embedded:
            result = await self._embedded(row, target, log, step)
        else:
            result = await self._adapter(row, target, scanner, log, step)
        await log(f"done in {time.time() - started:.2f} s")
        return result

    async def failed(self, identifier: str, message: str) -> None:
        """Record that the scan of a report failed."""
        await self.db.write(lambda c: self._finish(c, identifier, "Error", message))

    async def stopped(self, identifier: str) -> None:
        """Record that the scan of a report was stopped."""
        await self.db.write(lambda c: self._finish(c, identifier, "Stopped", None))

    def _finish(self, connection: Connection, identifier: str, status: str, message: str | None) -> None:
        row = find_report(connection, identifier)
        if row is None or row.status not in ACTIVE:
            return
        connection.execute(
            update(scan_reports)
            .where(scan_reports.c.id == row.id)
            .values(status=status, error=message[:2000] if message else None, ended_at=time.time())
        )
        self._event(connection, row, status)

    async def _embedded(self, row: ReportRow, target: Target, log: Log, step: Step) -> dict[str, Any]:
        inventory = await self.inventory(target, log=log, step=step)
        await log(f"{len(inventory.packages)} packages, {inventory.distribution.name or 'no distribution'}")
        for note in inventory.notes[:50]:
            await log(f"note: {note}")
        if row.kind == "sbom":
            at = time.time()
            documents = [
                (kind, sbom.make(kind, inventory, target.repository, target.digest, at))
                for kind in sbom.FORMATS
            ]
            return await self._store_sbom(row, target, documents, report.SCANNER)

        matched = await self.db.read(lambda c: _match(c, inventory, target))
        result = await self.db.write(lambda c: self._store(c, row, matched[0], report.SCANNER, matched[1]))
        await log(f"{result['total']} vulnerabilities, severity {result['severity']}")
        return result

    async def inventory(self, target: Target, *, log: Log, step: Step) -> Inventory:
        """The image's package list, from the database or else read from its layers. Raises ScanError.

        Or from an SBOM that somebody attached, where the settings say so. Such a list belongs to this
        repository only and is not kept.
        """

        async def layers() -> list[LayerSource]:
            return await self._layers(target)

        if self._attached == "prefer":
            found = await self.attached_sbom(target, log)
            if found is not None:
                return found
        try:
            return await self.inventory_of(target.digest, layers, log=log, step=step)
        except ScanError as error:
            found = await self.attached_sbom(target, log) if self._attached == "fallback" else None
            if found is None:
                raise
            await log(f"the layers cannot be read: {error}")
            return found

    async def attached_sbom(self, target: Target, log: Log) -> Inventory | None:
        """The package list of the newest usable SBOM that others attached to an image.

        In a project that trusts keys, only attestations signed by those count. What cannot be used is named
        in the log.
        """
        wanted = await self.db.point(lambda c: _attached(c, target))
        trusted: set[tuple[str, str]] | None = None
        anchors = await self.trust.keys(target.project_id) if wanted and self.trust is not None else []
        if self.trust is not None and any(key.kind in SIGNERS for key in anchors):
            signed = await self.trust.verify(target.repository, target.digest)
            trusted = {
                (item.digest, item.layer) for item in signed if item.verdict.valid and item.verdict.predicate
            }
        for digest, payload in wanted:
            layers = report.json_items(payload, "layers")
            for layer in layers[:20]:
                kind, blob = str(layer.get("mediaType", "")), str(layer.get("digest", ""))
                plain = kind in foreign.TYPES
                if not plain and not kind.startswith((DSSE, BUNDLE_PREFIX, IN_TOTO)):
                    continue
                if trusted is not None and (plain or (digest, blob) not in trusted):
                    await log(f"SBOM {digest}: left out, as no key that the project trusts has signed it")
                    continue
                try:
                    data = await self._read_blob(target.repository, blob)
                    # Validation takes seconds for thousands of packages.
                    found = await asyncio.to_thread(
                        _read_sbom, data, None if plain else target.digest, self.limits.packages
                    )
                except (RegistryError, InvalidError) as error:
                    await log(f"SBOM {digest}: left out: {error}")
                    continue
                if found is not None:
                    await log(f"package list from the SBOM {digest}")
                    return found
        return None

    async def _read_blob(self, repository: str, digest: str) -> bytes:
        blob = await self._content.blob(repository, digest)
        if blob.size > 2 * foreign.MAX_BYTES:
            raise InvalidError("the SBOM is too large")
        parts = [part async for part in self._content.storage.stream(blob.key, 0, blob.size)]
        return b"".join(parts)

    async def inventory_of(
        self, digest: str, find_layers: Callable[[], Awaitable[list[LayerSource]]], *, log: Log, step: Step
    ) -> Inventory:
        """The package list of the image `digest`, whose layers `find_layers` gives. Raises ScanError."""
        stored = await self.db.read(lambda c: stored_inventory(c, digest))
        if stored is not None:
            await log("package list known")
            return stored
        layers = await find_layers()
        await log(f"reading {len(layers)} layers")
        inventory = await build(layers, self.limits, load=self._load_layer, save=self._save_layer, step=step)
        data = report.pack(inventory.as_dict())
        now = time.time()

        def save(connection: Connection) -> None:
            values = {
                "digest": digest,
                "revision": catalog.REVISION,
                "packages": len(inventory.packages),
                "data": data,
                "created_at": now,
            }
            _upsert(connection, scan_inventories, values, "digest")

        await self.db.write(save)
        return inventory

    async def _layers(self, target: Target) -> list[LayerSource]:
        try:
            stored = await self._content.manifest(target.repository, target.digest)
            document = json.loads(stored.payload)
        except (RegistryError, ValueError) as error:
            raise ScanError(f"the manifest cannot be read: {error}") from None
        layers = []
        for descriptor in document.get("layers") or []:
            kind = str(descriptor.get("mediaType", ""))
            if not kind.startswith(LAYER_TYPES):
                continue
            digest = descriptor["digest"]
            try:
                blob = await self._content.blob(target.repository, digest)
            except RegistryError:
                if "foreign" in kind or "nondistributable" in kind:
                    continue  # the registry need not hold these
                raise ScanError(f"layer {digest} is not in the registry") from None
            layers.append(self._source(digest, blob.key, blob.size))
        return layers

    def _source(self, digest: str, key: str, size: int) -> LayerSource:
        storage = self._content.storage
        path = storage.locate(key).path
        if path is not None:
            return LayerSource(digest, path)

        def stream() -> AsyncIterator[bytes]:
            return storage.stream(key, 0, size)

        return LayerSource(digest, stream=stream)

    async def _load_layer(self, chain: str) -> Delta | None:
        now = time.time()
        row = await self.db.point(
            lambda c: c.execute(
                select(scan_layers.c.data, scan_layers.c.used_at).where(scan_layers.c.chain == chain)
            ).first()
        )
        if row is None:
            return None
        if now - row[1] > 86400:
            await self.db.write(
                lambda c: c.execute(
                    update(scan_layers).where(scan_layers.c.chain == chain).values(used_at=now)
                ),
                durable=False,
            )
        return Delta.from_dict(report.unpack(bytes(row[0])))

    async def _save_layer(self, chain: str, digest: str, delta: Delta) -> None:
        values = {
            "chain": chain,
            "digest": digest,
            "data": report.pack(delta.as_dict()),
            "used_at": time.time(),
        }
        await self.db.write(lambda c: _upsert(c, scan_layers, values, "chain"), durable=False)

    async def forget_unused(self) -> int:
        """Drop layer results that no scan has used for long, and inventories of images that are gone."""
        before = time.time() - _UNUSED_SECONDS

        def run(connection: Connection) -> int:
            done = connection.execute(delete(scan_layers).where(scan_layers.c.used_at < before)).rowcount
            alive = select(manifests.c.id).where(manifests.c.digest == scan_inventories.c.digest).exists()
            done += connection.execute(
                delete(scan_inventories).where(scan_inventories.c.created_at < time.time() - 86400, ~alive)
            ).rowcount
            return int(done)

        return await self.db.write(run)

    # -- adapters --------------------------------------------------------------------------------------

    async def _adapter(
        self, row: ReportRow, target: Target, scanner: Scanner, log: Log, step: Step
    ) -> dict[str, Any]:
        async with AdapterClient(self.scanners.registration(scanner)) as client:
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
            mime = report.SBOM if row.kind == "sbom" else _pick(produces)
            basic = metadata["properties"].get(AUTHORIZATION, "Basic") == "Basic"
            tag, size = await self.db.read(lambda c: _tag_and_size(c, target))
            authorization, robot_id = await self._pull_credential(target, basic=basic)
            url = self._internal_url if scanner.use_internal_addr else self.registry_url
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
                        sbom_media_type=wanted,
                    )
                )
                await log(f"submitted as {identifier}")
                document = await client.report(
                    identifier, mime, seconds=self.limits.seconds * 4, wait=step, sbom_media_type=wanted
                )
            finally:
                if robot_id is not None:
                    await self.db.write(lambda c: c.execute(delete(robots).where(robots.c.id == robot_id)))
        if row.kind == "sbom":
            content = document.get("sbom")
            if not isinstance(content, dict):
                raise ScanError("the adapter's report has no sbom")
            kind = document.get("media_type") or sbom.SPDX
            data = json.dumps(content, separators=(",", ":")).encode()
            return await self._store_sbom(row, target, [(str(kind)[:255], data)], info)
        checked = report.check(document, target.digest)
        result = await self.db.write(lambda c: self._store(c, row, checked, info, None))
        await log(f"{result['total']} vulnerabilities, severity {result['severity']}")
        return result

    async def _pull_credential(self, target: Target, *, basic: bool) -> tuple[str, int | None]:
        """(Authorization header, robot to delete afterwards) that lets an adapter pull this image."""
        if self.tokens is None:
            return "", None  # anybody may pull
        if not basic or self.robot_prefix is None:
            scope = Scope("repository", target.repository, frozenset({"pull"}))
            token, _ = self.tokens.issue(PULLER, [scope])
            return f"Bearer {token}", None
        secret = secrets.token_urlsafe(32)
        hashed = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1).hash(secret)
        name = f"scanner-{secrets.token_hex(8)}"
        now = time.time()
        project = target.repository.partition("/")[0]
        access = [{"resource": "repository", "action": "pull"}]

        def run(connection: Connection) -> int:
            connection.execute(
                insert(robots).values(
                    name=f"{project}+{name}",
                    project_id=target.project_id,
                    description="pulls for one scan",
                    secret_hash=hashed,
                    permissions=[{"kind": "project", "namespace": project, "access": access}],
                    disabled=False,
                    duration=1,
                    expires_at=int(now) + self.limits.seconds * 5,
                    creator_type="scanner",
                    created_at=now,
                    updated_at=now,
                )
            )
            return int(
                connection.execute(
                    select(robots.c.id).where(robots.c.name == f"{project}+{name}")
                ).scalar_one()
            )

        robot_id = await self.db.write(run)
        pair = f"{await self.robot_prefix()}{project}+{name}:{secret}"
        return "Basic " + base64.b64encode(pair.encode()).decode(), robot_id

    # -- storing results -------------------------------------------------------------------------------

    def _store(
        self,
        connection: Connection,
        row: ReportRow,
        document: dict[str, Any],
        scanner: dict[str, str],
        database_at: float | None,
        *,
        rematch: bool = False,
    ) -> dict[str, Any]:
        summary = report.summarize(document)
        now = time.time()
        values: dict[str, Any] = {
            "severity": summary.severity,
            "total": summary.total,
            "fixable": summary.fixable,
            "counts": summary.counts,
            "cves": summary.cves,
            "data": report.pack(document),
            "scanner_info": {key: str(scanner.get(key, ""))[:200] for key in ("name", "vendor", "version")},
            "database_at": database_at,
        }
        query = update(scan_reports).where(scan_reports.c.id == row.id)
        if rematch:
            query = query.where(scan_reports.c.status == "Success")
        else:
            query = query.where(scan_reports.c.uuid == row.uuid, scan_reports.c.status.in_(ACTIVE))
            values |= {"status": "Success", "error": None, "ended_at": now}
        if not connection.execute(query.values(values)).rowcount:
            return {"status": "superseded", "total": summary.total, "severity": summary.severity}
        connection.execute(delete(scan_findings).where(scan_findings.c.report_id == row.id))
        findings = [_finding(row.id, item) for item in document["vulnerabilities"][:_FINDINGS]]
        for start in range(0, len(findings), 500):
            connection.execute(insert(scan_findings), findings[start : start + 500])
        self._event(connection, row, "Success")
        return {"status": "success", "total": summary.total, "severity": summary.severity}

    async def _store_sbom(
        self,
        row: ReportRow,
        target: Target,
        documents: list[tuple[str, bytes]],
        scanner: dict[str, str],
    ) -> dict[str, Any]:
        """Push the documents as a referrer of the image, in place of the one made before."""
        config = b"{}"
        blobs = [(sbom.ACCESSORY, config), *documents]
        descriptors = []
        for media_type, data in blobs:
            digest = "sha256:" + hashlib.sha256(data).hexdigest()
            await self._put_blob(target.repository, digest, data)
            descriptors.append({"mediaType": media_type, "digest": digest, "size": len(data)})
        size = len((await self._content.manifest(target.repository, target.digest)).payload)
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": sbom.ACCESSORY,
            "config": descriptors[0],
            "layers": descriptors[1:],
            "subject": {"mediaType": target.media_type, "digest": target.digest, "size": size},
            "annotations": {
                "org.opencontainers.image.created": report.moment(time.time()),
                "org.opencontainers.image.description": "SBOM",
                "created-by": str(scanner.get("name", "")),
            },
        }
        payload = json.dumps(manifest, separators=(",", ":")).encode()
        digest = "sha256:" + hashlib.sha256(payload).hexdigest()
        await self._content.put_manifest(target.repository, digest, payload, OCI_MANIFEST)
        now = time.time()

        def run(connection: Connection) -> str | None:
            old = connection.execute(
                select(scan_reports.c.sbom_digest).where(scan_reports.c.id == row.id).with_for_update()
            ).scalar()
            done = connection.execute(
                update(scan_reports)
                .where(
                    scan_reports.c.id == row.id,
                    scan_reports.c.uuid == row.uuid,
                    scan_reports.c.status.in_(ACTIVE),
                )
                .values(
                    status="Success",
                    error=None,
                    ended_at=now,
                    sbom_digest=digest,
                    scanner_info={k: str(scanner.get(k, ""))[:200] for k in ("name", "vendor", "version")},
                )
            ).rowcount
            if done:
                self._event(connection, row, "Success")
            return old if done and old != digest else None

        old = await self.db.write(run)
        if old is not None:
            # Somebody may have deleted it already.
            with contextlib.suppress(RegistryError):
                await self._content.delete_manifest(target.repository, old)
        return {"status": "success", "sbom_digest": digest}

    async def _put_blob(self, repository: str, digest: str, data: bytes) -> None:
        writer = await self._content.storage.open_upload(str(uuid.uuid4()), 0, {})
        try:
            await writer.write(data)
            await self._content.finish_upload(None, writer, repository, digest)
        except BaseException:
            await writer.abort()
            raise

    def _event(self, connection: Connection, row: ReportRow, status: str) -> None:
        kinds = {"Success": "SCANNING_COMPLETED", "Error": "SCANNING_FAILED", "Stopped": "SCANNING_STOPPED"}
        where = connection.execute(
            select(
                repositories.c.name,
                repositories.c.project_id,
                repositories.c.created_at,
                projects.c.public,
            )
            .join(projects, projects.c.id == repositories.c.project_id)
            .where(repositories.c.id == row.repository_id)
        ).one()
        names = connection.execute(
            select(tags.c.name)
            .join(manifests, manifests.c.id == tags.c.manifest_id)
            .where(manifests.c.repository_id == row.repository_id, manifests.c.digest == row.digest)
        ).scalars()
        resource: dict[str, Any] = {"digest": row.digest, "tag": next(iter(sorted(names)), row.digest)}
        now = find_report(connection, row.uuid)
        if now is not None and row.kind == "vulnerability":
            resource["scan_overview"] = {report.GENERIC: overview.of([now])}
        elif now is not None:
            shown = {"scan_status": status, "sbom_digest": now.sbom_digest, "report_id": row.uuid}
            resource["sbom_overview"] = {key: value for key, value in shown.items() if value is not None}
        self._events.record(
            connection,
            kinds[status],
            {
                "id": str(uuid.uuid4()),
                "occur_at": time.time(),
                "operator": "auto",
                "project_id": where.project_id,
                "repository": where.name,
                "repository_created": where.created_at,
                "public": where.public,
                "resources": [resource],
            },
        )

    # -- new advisories --------------------------------------------------------------------------------

    async def rematch(self, *, log: Log, step: Step) -> dict[str, int]:
        """Match stored inventories with advisories that were imported after their reports were made."""
        newest = await self.db.read(match.database_time)
        counts = {"reports": 0, "changed": 0}
        if newest is None:
            return counts
        after = 0
        while True:
            await step()

            def stale(connection: Connection, after: int = after) -> Sequence[Row[Any]]:
                return connection.execute(
                    select(*_REPORT)
                    .where(
                        scan_reports.c.id > after,
                        scan_reports.c.scanner == EMBEDDED,
                        scan_reports.c.kind == "vulnerability",
                        scan_reports.c.status == "Success",
                        (scan_reports.c.database_at.is_(None)) | (scan_reports.c.database_at < newest),
                    )
                    .order_by(scan_reports.c.id)
                    .limit(50)
                ).fetchall()

            rows = [_report(row) for row in await self.db.read(stale)]
            if not rows:
                break
            for row in rows:
                after = row.id
                counts["reports"] += 1
                counts["changed"] += await self._rematch_one(row)
                await step()
        await log(f"{counts['reports']} reports matched anew, {counts['changed']} changed")
        return counts

    async def _rematch_one(self, row: ReportRow) -> int:
        def compute(connection: Connection) -> tuple[dict[str, Any] | None, float | None]:
            inventory = stored_inventory(connection, row.digest)
            found = connection.execute(
                _targets().where(
                    manifests.c.repository_id == row.repository_id, manifests.c.digest == row.digest
                )
            ).first()
            if found is None:
                return None, None
            if inventory is None:
                raise _InventoryGone(Target(*found))
            document, at = _match(connection, inventory, Target(*found))
            old = report_data(connection, row.id)
            same = old is not None and old["vulnerabilities"] == document["vulnerabilities"]
            return (None if same else document), at

        try:
            document, at = await self.db.read(compute)
        except _InventoryGone as gone:
            # Made by other catalogers than these: the layers are read once more.
            target = gone.target
            with contextlib.suppress(InvalidError):
                await self.db.write(lambda c: self.request_in(c, target, "vulnerability", trigger="rematch"))
            self._jobs.nudge()
            return 0
        if document is not None:
            await self.db.write(lambda c: self._store(c, row, document, report.SCANNER, at, rematch=True))
            return 1
        if at is not None:
            await self.db.write(
                lambda c: c.execute(
                    update(scan_reports).where(scan_reports.c.id == row.id).values(database_at=at)
                )
            )
        return 0

    # -- scan all --------------------------------------------------------------------------------------

    async def scan_all(self, trigger: str, job_id: str, *, log: Log, step: Step) -> dict[str, int]:
        """Ask for a scan of every image; the reports' jobs then run on their own."""
        now = time.time()

        def begin(connection: Connection) -> int:
            # A taken-over job goes on with the run it began.
            known = connection.execute(select(scan_runs.c.id).where(scan_runs.c.job_id == job_id)).scalar()
            if known is not None:
                return int(known)
            connection.execute(
                insert(scan_runs).values(trigger=trigger, job_id=job_id, status="Running", started_at=now)
            )
            return int(
                connection.execute(select(scan_runs.c.id).where(scan_runs.c.job_id == job_id)).scalar_one()
            )

        run_id = await self.db.write(begin)
        after = total = refused = 0
        while True:
            await step()

            def batch(connection: Connection, after: int = after) -> tuple[int, int, int]:
                query = _targets().where(manifests.c.id > after).order_by(manifests.c.id).limit(100)
                last, done, bad = 0, 0, 0
                for row in connection.execute(query).fetchall():
                    target = Target(*row)
                    last = target.manifest_id
                    if _attestation(connection, target):
                        continue
                    try:
                        if self.request_in(connection, target, "vulnerability", run_id, "scan-all"):
                            done += 1
                    except InvalidError:
                        bad += 1
                connection.execute(
                    update(scan_runs).where(scan_runs.c.id == run_id).values(total=scan_runs.c.total + done)
                )
                return last, done, bad

            last, done, bad = await self.db.write(batch)
            total, refused = total + done, refused + bad
            if not last:
                break
            after = last
            self._jobs.nudge()
        await log(f"{total} scans asked for, {refused} images have no usable scanner")
        await self.db.write(
            lambda c: c.execute(update(scan_runs).where(scan_runs.c.id == run_id).values(status="Success"))
        )
        return {"total": total, "refused": refused}

    async def stop_all(self) -> None:
        """Stop the latest scan-all run and its scans. Raises NotFoundError when there is none."""

        def latest(connection: Connection) -> tuple[Any, list[ReportRow]]:
            row = connection.execute(select(scan_runs).order_by(scan_runs.c.id.desc())).first()
            if row is None:
                raise NotFoundError("nothing has been scanned by scan all")
            query = select(*_REPORT).where(scan_reports.c.run_id == row.id, scan_reports.c.status.in_(ACTIVE))
            return row, [_report(item) for item in connection.execute(query)]

        run, active = await self.db.read(latest)
        if run.job_id:
            await self._jobs.stop(run.job_id)
        for item in active:
            await self.stop_report(item)
        await self.db.write(
            lambda c: c.execute(
                update(scan_runs)
                .where(scan_runs.c.id == run.id)
                .values(status="Stopped", ended_at=time.time())
            )
        )


class _InventoryGone(Exception):  # noqa: N818 - a signal between two functions
    def __init__(self, target: Target) -> None:
        self.target = target


class NotScannableError(InvalidError):
    """The artifact is nothing that scanners read."""


def _report(row: Any) -> ReportRow:
    return ReportRow(*row)


def find_report(connection: Connection, identifier: str) -> ReportRow | None:
    """The report of that uuid."""
    row = connection.execute(select(*_REPORT).where(scan_reports.c.uuid == identifier)).first()
    return _report(row) if row else None


def stored_inventory(connection: Connection, digest: str) -> Inventory | None:
    """The package list of an image, if one made by these catalogers is stored."""
    row = connection.execute(
        select(scan_inventories.c.data).where(
            scan_inventories.c.digest == digest, scan_inventories.c.revision == catalog.REVISION
        )
    ).first()
    return Inventory.from_dict(report.unpack(bytes(row[0]))) if row else None


def reports_of(
    connection: Connection, repository_id: int, project_id: int, digests: Sequence[str], kind: str
) -> dict[str, ReportRow]:
    """digest -> the report of the project's scanner, for those that have one."""
    scanner = scanners.of_project(connection, project_id)
    if scanner is None or not digests:
        return {}
    query = select(*_REPORT).where(
        scan_reports.c.repository_id == repository_id,
        scan_reports.c.digest.in_(list(digests)),
        scan_reports.c.scanner == scanner.uuid,
        scan_reports.c.kind == kind,
    )
    return {row.digest: _report(row) for row in connection.execute(query)}


def report_data(connection: Connection, report_id: int) -> dict[str, Any] | None:
    """The stored report itself."""
    data = connection.execute(select(scan_reports.c.data).where(scan_reports.c.id == report_id)).scalar()
    if data is None:
        return None
    document: dict[str, Any] = report.unpack(bytes(data))
    return document


def _match(
    connection: Connection, inventory: Inventory, target: Target
) -> tuple[dict[str, Any], float | None]:
    """(report, import time it knows of) of an inventory."""
    # The time first: an import in between makes the report look older than it is, never newer.
    at = match.database_time(connection)
    found = match.vulnerabilities(connection, inventory)
    return report.build(found, target.repository, target.digest, target.media_type, time.time()), at


def _attached(connection: Connection, target: Target) -> list[tuple[str, bytes]]:
    """(digest, manifest) of what may be an SBOM of the image by others, newest first."""
    query = (
        select(manifests.c.digest, manifest_payloads.c.payload)
        .join(manifest_payloads, manifest_payloads.c.manifest_id == manifests.c.id)
        .where(
            manifests.c.repository_id == target.repository_id,
            manifests.c.accessory_of == target.digest,
            # Our own, made of the layers.
            manifests.c.accessory_type != "sbom.harbor",
        )
        .order_by(manifests.c.pushed_at.desc(), manifests.c.id.desc())
        .limit(100)
    )
    found = [(row[0], bytes(row[1])) for row in connection.execute(query)]
    return found + _beside(connection, target)


def _beside(connection: Connection, target: Target) -> list[tuple[str, bytes]]:
    """The same of attestations that BuildKit puts beside an image, into the index that has it."""
    payloads = (
        select(manifest_payloads.c.payload)
        .join(manifest_references, manifest_references.c.manifest_id == manifest_payloads.c.manifest_id)
        .where(
            manifest_references.c.repository_id == target.repository_id,
            manifest_references.c.digest == target.digest,
            manifest_references.c.kind == "manifest",
        )
        .limit(20)
    )
    wanted = set()
    for payload in connection.execute(payloads).scalars().fetchall():
        for item in report.json_items(bytes(payload), "manifests"):
            notes = item.get("annotations")
            if isinstance(notes, dict) and notes.get(_BUILDKIT_SUBJECT) == target.digest:
                wanted.add(str(item.get("digest")))
    query = (
        select(manifests.c.digest, manifest_payloads.c.payload)
        .join(manifest_payloads, manifest_payloads.c.manifest_id == manifests.c.id)
        .where(
            manifests.c.repository_id == target.repository_id, manifests.c.digest.in_(sorted(wanted)[:100])
        )
        .order_by(manifests.c.pushed_at.desc(), manifests.c.id.desc())
    )
    return [(row[0], bytes(row[1])) for row in connection.execute(query)]


def attached_sbom(connection: Connection, repository_id: int, digest: str) -> str | None:
    """Digest of the newest accessory that is an SBOM by others."""
    found = connection.execute(
        select(manifests.c.digest)
        .where(
            manifests.c.repository_id == repository_id,
            manifests.c.accessory_of == digest,
            manifests.c.accessory_type.in_(("sbom.cyclonedx", "sbom.spdx")),
        )
        .order_by(manifests.c.pushed_at.desc(), manifests.c.id.desc())
    ).scalar()
    return str(found) if found is not None else None


def _read_sbom(data: bytes, subject: str | None, limit: int) -> Inventory | None:
    """The package list of a document, or of an attestation about `subject`; None for another attestation."""
    if subject is None:
        return foreign.read(data, limit)
    try:
        document = json.loads(data)
        # A sigstore bundle, an envelope, or a bare statement.
        document = document.get("dsseEnvelope") or document
        if "payload" in document:
            document = json.loads(base64.b64decode(document["payload"]))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise InvalidError("the attestation is not valid") from None
    found = foreign.statement(document, subject)
    return None if found is None else foreign.read_document(found, limit)


def _pick(produces: list[str]) -> str:
    def plain(text: str) -> str:
        return text.replace(" ", "").lower()

    known = {plain(item): item for item in produces}
    for wanted in (report.GENERIC, report.NATIVE):
        if plain(wanted) in known:
            return wanted
    raise ScanError("the adapter makes no report that Seawall reads")


def _tag_and_size(connection: Connection, target: Target) -> tuple[str, int]:
    name = connection.execute(
        select(tags.c.name).where(tags.c.manifest_id == target.manifest_id).order_by(tags.c.pushed_at.desc())
    ).scalar()
    size = connection.execute(
        select(manifests.c.total_size).where(manifests.c.id == target.manifest_id)
    ).scalar()
    return name or "", int(size or 0)


def _finding(report_id: int, item: dict[str, Any]) -> dict[str, Any]:
    def text(key: str, limit: int) -> str:
        return str(item.get(key) or "").replace("\0", "")[:limit]

    return {
        "report_id": report_id,
        "cve": text("id", 128),
        "package": text("package", 255),
        "version": text("version", 255),
        "fixed_version": text("fix_version", 255),
        "severity": item["severity"],
        "score": report.score(item),
        "status": text("status", 32) or ("fixed" if item.get("fix_version") else "affected"),
        "description": text("description", 2000),
        "links": item["links"][:20],
        "cwes": item["cwe_ids"][:20],
    }


def _upsert(connection: Connection, table: Any, values: dict[str, Any], key: str) -> None:
    dialect: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table).values(**values)
    connection.execute(statement.on_conflict_do_update(index_elements=[key], set_=values))
