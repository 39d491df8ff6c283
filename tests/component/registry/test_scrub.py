"""The scrub proves every blob, goes on where it stopped and names faults; repair brings bytes back."""

from __future__ import annotations

import secrets

from sqlalchemy import select

from seawall.kernel.names import digest_of
from seawall.registry import fsck
from seawall.registry.repair import Outcome, repair
from seawall.registry.scrub import ScrubReport, oldest_proof, scrub
from seawall.registry.tables import blob_proofs
from tests.support.lab import Lab, Run


async def round_of(lab: Lab, *, seconds: float = 60, rate: float = 0) -> tuple[ScrubReport, list[str]]:
    report = ScrubReport()
    storage = lab.services.storage
    found = [
        f"{item.kind} {item.digest}"
        async for item in scrub(lab.db, storage, report, bytes_per_second=rate, seconds=seconds)
    ]
    return report, found


async def proofs(lab: Lab) -> dict[str, float]:
    rows = await lab.db.read(lambda c: c.execute(select(blob_proofs.c.digest, blob_proofs.c.proven_at)).all())
    return {row[0]: row[1] for row in rows}


async def damage(lab: Lab, digest: str) -> None:
    blob = await lab.content.blobs.get("p/a", digest)
    path = lab.services.storage.locate(blob.key).path
    assert path is not None
    path.chmod(0o600)
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])


def test_every_blob_is_proven_and_faults_are_named(run: Run) -> None:
    async def body(lab: Lab) -> None:
        await lab.project()
        digests = [await lab.blob("p/a", secrets.token_bytes(1000)) for _ in range(7)]
        before = await lab.db.read(oldest_proof)
        report, found = await round_of(lab)
        assert (report.blobs, report.bytes, report.faults, found) == (7, 7000, 0, [])
        assert set(await proofs(lab)) == set(digests)
        assert report.oldest >= before
        await damage(lab, digests[3])
        lost = await lab.content.blobs.get("p/a", digests[5])
        await lab.services.storage.delete(lost.key)
        report, found = await round_of(lab)
        assert sorted(found) == sorted([f"damaged {digests[3]}", f"missing {digests[5]}"])
        assert report.faults == 2
        # What is not proven stays as old as it was.
        assert min(await proofs(lab), key=(await proofs(lab)).__getitem__) in (digests[3], digests[5])

    run(body)


def test_a_run_goes_on_where_the_last_one_stopped(run: Run) -> None:
    async def body(lab: Lab) -> None:
        await lab.project()
        for _ in range(6):
            await lab.blob("p/a", secrets.token_bytes(1000))
        seen = 0
        # At this rate the time of a run is over after a blob or two.
        for _ in range(20):
            report, _ = await round_of(lab, seconds=0.01, rate=1e5)
            assert 1 <= report.blobs < 6
            seen = len(await proofs(lab))
            if seen == 6:
                break
        assert seen == 6

    run(body)


def test_repair(run: Run) -> None:
    async def body(lab: Lab) -> None:
        await lab.project()
        storage = lab.services.storage
        layers = [secrets.token_bytes(500) for _ in range(3)]
        image = await lab.image("p/a", "v1", layers=layers)
        moved, bad, gone = (digest_of(data) for data in layers)
        # One has its bytes under another name, as after a copy of the bucket by hand.
        key = (await lab.content.blobs.get("p/a", moved)).key
        await storage.put(f"{moved.partition(':')[2]}.sha256.0badcafe", layers[0])
        await storage.delete(key)
        await damage(lab, bad)
        await storage.delete((await lab.content.blobs.get("p/a", gone)).key)
        findings = [item async for item in fsck.check(lab.db, storage, fsck.FsckReport())]
        outcomes = [item async for item in repair(lab.db, storage, lab.services.registry, findings)]
        broken = (f"p/a@{image} (v1)",)
        assert sorted(outcomes, key=lambda item: item.digest) == sorted(
            [Outcome(moved, "relinked"), Outcome(bad, "lost", broken), Outcome(gone, "lost", broken)],
            key=lambda item: item.digest,
        )
        assert await lab.content.blob_size("p/a", moved) == 500
        # What is lost counts as not there, so a push brings it back.
        for data in layers[1:]:
            await lab.blob("p/a", data)
        assert [item async for item in fsck.check(lab.db, storage, fsck.FsckReport())] == []

    run(body)
