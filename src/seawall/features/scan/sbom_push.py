"""Storing SBOMs: each is pushed as a referrer of its image."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
import uuid
from typing import Any

from seawall.features.scan import report, sbom
from seawall.features.scan.model import ReportRow
from seawall.features.scan.reports import ScanReports
from seawall.features.scan.targets import Target
from seawall.infra.db import Database
from seawall.kernel.errors import RegistryError
from seawall.registry.local import LocalRegistry
from seawall.registry.manifest import OCI_MANIFEST


class SbomPublisher:
    """Pushes the SBOMs that scans make."""

    def __init__(self, db: Database, content: LocalRegistry, reports: ScanReports) -> None:
        self._db = db
        self._content = content
        self._reports = reports

    async def publish(
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
        old = await self._db.write(lambda c: self._reports.sbom_made(c, row, digest, scanner))
        if old is not None:
            # Somebody may have deleted it already.
            with contextlib.suppress(RegistryError):
                await self._content.delete_manifest(target.repository, old)
        return {"status": "success", "sbom_digest": digest}

    async def _put_blob(self, repository: str, digest: str, data: bytes) -> None:
        writer = await self._content.storage.open_upload(str(uuid.uuid4()), 0, {})
        try:
            await writer.write(data)
            await self._content.uploads.finish(None, writer, repository, digest)
        except BaseException:
            await writer.abort()
            raise
