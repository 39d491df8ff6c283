"""Scans for other registries, which ask the embedded scanner through its adapter endpoint.

A request is a row and a job; its outcome is kept for a day. The credential for the other registry is stored
sealed and goes as soon as the request is over.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from seawall.features.scan import match, report, sbom
from seawall.features.scan.inventory import ScanError
from seawall.features.scan.model import Inventory
from seawall.features.scan.packages import PackageLists
from seawall.features.scan.pull import RemoteImage
from seawall.features.scan.tables import scan_requests
from seawall.infra.addresses import networks
from seawall.infra.db import Database
from seawall.infra.jobs.service import JobService
from seawall.infra.secrets.keyring import KeyRing

_PURPOSE = "scan-request"
_KEEP_SECONDS = 86400


class AdapterRequests:
    """Requests of other registries: taken by the endpoint, done by the job `scan-request`."""

    def __init__(
        self,
        db: Database,
        keys: KeyRing,
        jobs: JobService,
        packages: PackageLists,
        internal_networks: Sequence[str] = (),
    ) -> None:
        """`internal_networks`: inside ours, where registries may send us on to."""
        self._db = db
        self._keys = keys
        self._jobs = jobs
        self._packages = packages
        self._allow = networks(internal_networks)

    async def updated_at(self) -> float | None:
        """When the vulnerability database was updated last, in Unix seconds; None while it is empty."""
        return await self._db.read(match.database_time)

    async def add(self, wanted: dict[str, Any], authorization: str) -> str:
        """Take a request, as `seawall.web.internal.scanner_adapter.parse_request` gives it; returns its id.

        `authorization` is the header for the other registry, empty for none.
        """
        identifier = str(uuid.uuid4())
        sealed = self._keys.encrypt(_PURPOSE, authorization.encode()) if authorization else None

        def add_request(connection: Connection) -> None:
            connection.execute(
                insert(scan_requests).values(
                    id=identifier,
                    request=wanted,
                    credential=sealed,
                    status="Pending",
                    created_at=time.time(),
                )
            )
            self._jobs.enqueue_in(connection, "scan-request", {"request": identifier})

        await self._db.write(add_request)
        self._jobs.nudge()
        return identifier

    async def find(self, identifier: str) -> Row[Any] | None:
        """The stored request, None when unknown."""
        query = select(scan_requests).where(scan_requests.c.id == identifier)
        return await self._db.read(lambda c: c.execute(query).first())

    async def run(
        self,
        identifier: str,
        *,
        log: Callable[[str], Awaitable[None]],
        step: Callable[[], Awaitable[None]],
    ) -> dict[str, Any]:
        """Do one request; its outcome is stored. Raises what made it fail."""
        row = await self.find(identifier)
        if row is None or row.data is not None:
            return {"status": "gone"}
        wanted = {
            "kinds": [row.request["kind"]],
            "sbom_media_types": [row.request["sbom_media_type"]],
            **row.request,
        }
        authorization = self._keys.decrypt(_PURPOSE, row.credential).decode() if row.credential else ""
        await log(
            f"{' and '.join(wanted['kinds'])} of {wanted['repository']}@{wanted['digest']} at {wanted['url']}"
        )
        try:
            async with RemoteImage(
                wanted["url"], authorization, wanted["repository"], wanted["digest"], allow=self._allow
            ) as image:
                inventory = await self._packages.inventory_of(image.digest, image.layers, log=log, step=step)
            documents = await self._documents(wanted, inventory)
        except Exception as error:
            message = (
                str(error) if isinstance(error, ScanError) else f"internal error: {type(error).__name__}"
            )
            await self._db.write(lambda c: _close(c, identifier, status="Error", error=message[:2000]))
            raise
        # A request of the version before is read by it.
        plain = next(iter(documents.values()))
        data = report.pack({"documents": documents} if "kinds" in row.request else plain)
        await self._db.write(lambda c: _close(c, identifier, status="Success", data=data))
        return {"status": "success", "packages": len(inventory.packages)}

    async def forget_old(self) -> int:
        """Drop requests older than a day; returns how many."""
        old = delete(scan_requests).where(scan_requests.c.created_at < time.time() - _KEEP_SECONDS)
        return await self._db.write(lambda c: int(c.execute(old).rowcount))

    async def _documents(self, wanted: dict[str, Any], inventory: Inventory) -> dict[str, Any]:
        """Everything that was asked for, by "vulnerability" or the SBOM's media type."""
        repository, digest = wanted["repository"], wanted["digest"]
        now = time.time()
        documents: dict[str, Any] = {}
        if "sbom" in wanted["kinds"]:
            for kind in wanted["sbom_media_types"]:
                documents[kind] = {
                    "generated_at": report.moment(now),
                    "artifact": {
                        "repository": repository,
                        "digest": digest,
                        "mime_type": wanted["media_type"],
                    },
                    "scanner": report.SCANNER,
                    "media_type": kind,
                    "sbom": json.loads(sbom.make(kind, inventory, repository, digest, now)),
                }
        if "vulnerability" in wanted["kinds"]:
            found = await self._db.read(lambda c: match.vulnerabilities(c, inventory))
            made = report.build(found, repository, digest, wanted["media_type"], now)
            for item in (made, *made["vulnerabilities"]):
                # The specification's word for the least severe; and of nothing found nothing is known.
                item["severity"] = "Negligible" if item["severity"] == "None" else item["severity"]
            if not made["vulnerabilities"]:
                made["severity"] = "Unknown"
            documents["vulnerability"] = made
        return documents


def _close(connection: Connection, identifier: str, **values: Any) -> None:
    # The credential has served its purpose.
    connection.execute(
        update(scan_requests).where(scan_requests.c.id == identifier).values(credential=None, **values)
    )
