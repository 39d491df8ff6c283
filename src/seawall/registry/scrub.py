"""Scrubbing: the bytes of every blob are read and hashed in the background, round after round.

A disk or a bucket loses bytes without a word; only reading finds it, as ZFS and Ceph do. A run goes on where
the last one stopped, in the order of digests, at a bounded rate and for a bounded time. `blob_proofs` holds
when each blob was last proven; what is wrong is a line in the job's log and in the report, as fsck has it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from prometheus_client import Counter, Gauge
from sqlalchemy import Connection, delete, func, select

from seawall.infra.db import Database
from seawall.infra.db.dialect import upsert
from seawall.infra.storage import BlobStorage
from seawall.registry.fsck import Finding, check_blob, still_named, users_of
from seawall.registry.tables import blob_proofs, blobs

_BATCH = 100
OLDEST = Gauge(
    "seawall_scrub_oldest_proof_timestamp_seconds",
    "When the blob that has waited longest for the scrub was last checked, or pushed",
    multiprocess_mode="mostrecent",
)
FAULTS = Counter("seawall_scrub_faults_total", "Blobs found missing or damaged by the scrub")


@dataclass(slots=True)
class ScrubReport:
    """Totals of a run; `oldest` is the time (Unix seconds) of the oldest proof, 0 without blobs."""

    blobs: int = 0
    bytes: int = 0
    faults: int = 0
    rounds: int = 0
    oldest: float = 0


async def scrub(
    db: Database, storage: BlobStorage, report: ScrubReport, *, bytes_per_second: float, seconds: float
) -> AsyncIterator[Finding]:
    """Prove blobs for at most `seconds`, or until each was proven once in this run; yields the faults.

    `bytes_per_second`: the rate of reading, 0 for as fast as storage gives them.
    """
    started = time.monotonic()
    begun = db.now()
    last = await db.read(_newest_proof)
    # However slow the database is, a run gets on.
    while report.blobs == 0 or time.monotonic() - started < seconds:
        rows = await db.read(lambda c, last=last: _after(c, last))  # type: ignore[misc]
        if not rows:
            if report.rounds:
                break
            report.rounds, last = 1, ""
            continue
        for digest, size, key, proven_at in rows:
            if report.rounds and proven_at is not None and proven_at >= begun:
                # Once round.
                await _finish(db, report)
                return
            last = digest
            fault, read = await check_blob(storage, digest, size, key)
            report.blobs += 1
            report.bytes += read
            if fault is None:
                await db.write(lambda c, d=digest: _proven(c, d, db.now()), durable=False)  # type: ignore[misc]
            elif await still_named(db, digest, key):
                report.faults += 1
                FAULTS.inc()
                yield Finding(fault[0], digest, fault[1], await users_of(db, digest))
            if bytes_per_second:
                ahead = report.bytes / bytes_per_second - (time.monotonic() - started)
                await asyncio.sleep(max(0.0, min(ahead, seconds)))
            if time.monotonic() - started >= seconds:
                break
    await _finish(db, report)


async def _finish(db: Database, report: ScrubReport) -> None:
    await db.write(_forget_gone, durable=False)
    report.oldest = await db.read(oldest_proof)
    OLDEST.set(report.oldest)


def _newest_proof(connection: Connection) -> str:
    newest = select(blob_proofs.c.digest).order_by(
        blob_proofs.c.proven_at.desc(), blob_proofs.c.digest.desc()
    )
    return connection.execute(newest.limit(1)).scalar() or ""


def _after(connection: Connection, last: str) -> list[tuple[str, int, str, float | None]]:
    rows = connection.execute(
        select(blobs.c.digest, blobs.c.size, blobs.c.storage_key, blob_proofs.c.proven_at)
        # Bounded too: PostgreSQL would read the proofs of all pages before, each time.
        .outerjoin(blob_proofs, (blob_proofs.c.digest == blobs.c.digest) & (blob_proofs.c.digest > last))
        .where(blobs.c.digest > last)
        .order_by(blobs.c.digest)
        .limit(_BATCH)
    )
    return [(row[0], row[1], row[2], row[3]) for row in rows]


def _proven(connection: Connection, digest: str, now: float) -> None:
    connection.execute(
        upsert(connection, blob_proofs, {"digest": digest, "proven_at": now}, "digest", ["proven_at"])
    )


def _forget_gone(connection: Connection) -> None:
    connection.execute(delete(blob_proofs).where(blob_proofs.c.digest.not_in(select(blobs.c.digest))))


def oldest_proof(connection: Connection) -> float:
    """When the blob that waits longest was last proven, or pushed where it never was; 0 without blobs."""
    proven = func.coalesce(blob_proofs.c.proven_at, blobs.c.created_at)
    query = select(func.min(proven)).select_from(
        blobs.outerjoin(blob_proofs, blob_proofs.c.digest == blobs.c.digest)
    )
    return float(connection.execute(query).scalar() or 0)
