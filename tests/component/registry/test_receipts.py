"""What a promoted standby did not have is named, and comes back."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import insert

from seawall.access.tables import projects
from seawall.infra.db import migrate, open_database
from seawall.infra.db.durability import may_lose_commits
from seawall.infra.storage import FilesystemStorage
from seawall.registry import receipts
from tests.support.digests import digest_of
from tests.support.oci.bare import MANIFEST, connect, image, push_blob, put_manifest
from tests.support.processes import free_port
from tests.support.registry import Registry
from tests.support.servers.postgres import PostgresPair
from tests.support.waiting import until

_PROJECT = {"name": "library", "public": True, "created_at": 0.0, "updated_at": 0.0}


@pytest.fixture
def pair() -> Iterator[PostgresPair]:
    made = PostgresPair(synchronous=False)
    try:
        made.start()
        yield made
    finally:
        made.close()


def push(server: Registry, repository: str, tag: str) -> str:
    """Push an image of one layer; returns its digest."""
    data = os.urandom(500)
    with connect(server) as client:
        push_blob(client, repository, data)
        manifest = image([data])
        assert put_manifest(client, repository, tag, manifest).status_code == 201
    return digest_of(manifest)


def lines(server: Registry) -> list[str]:
    done = server.cli("fsck", "--fast")
    found = [line for line in done.stdout.splitlines() if line.startswith("lost: ")]
    assert (done.returncode == 1) == bool(found), done.stdout + done.stderr
    return found


def test_an_asynchronous_standby_without_the_last_pushes_is_promoted(
    pair: PostgresPair, tmp_path: Path
) -> None:
    server = Registry(tmp_path / "data", {"SEAWALL_DATABASE__URL": pair.database()})
    try:
        server.start()
        before = push(server, "library/a", "v1")
        secret = push(server, "library/secret", "v1")
        lsn = pair.primary.sql("SELECT pg_current_wal_lsn()")
        until(lambda: pair.replica.sql(f"SELECT pg_last_wal_replay_lsn() >= '{lsn}'") == "t", "replayed")
        pair.replica.stop()
        moved, fresh = push(server, "library/a", "v1"), push(server, "library/b", "1.0")
        deleted = push(server, "library/c", "gone")
        with connect(server) as client:
            assert client.delete(f"/v2/library/c/manifests/{deleted}").status_code == 202
            assert client.delete(f"/v2/library/secret/manifests/{secret}").status_code == 202
            tagged = client.post(
                f"/api/v2.0/projects/library/repositories/a/artifacts/{before}/tags", json={"name": "stable"}
            )
            assert tagged.status_code == 201, tagged.text
        assert lines(server) == []
        pair.primary.kill()
        pair.replica.start()
        pair.promote()

        with connect(server) as client:
            until(lambda: client.get("/readyz").status_code == 200, "ready", seconds=30)
            assert client.get(f"/v2/library/b/manifests/{fresh}").status_code == 404
            found = lines(server)
            shown = "\n".join(found)
            assert f"library/a@{moved} v1 was acknowledged at" in shown
            assert f"library/b@{fresh} 1.0" in shown
            assert f"library/a@{before} as stable" in shown
            assert f"the deletion of library/secret@{secret}" in shown
            assert "library/c" not in shown
            assert len(found) == 4
            check = json.loads(server.cli("ha", "check", "--json").stdout)
            assert any(fault["kind"] == "lost" for fault in check["faults"])
            # The collector leaves the bytes of what is lost.
            server.cli("gc", "--grace-minutes", "0", "--reader-minutes", "0")

            repaired = server.cli("fsck", "--fast", "--repair")
            assert repaired.stdout.count("stored: library/") == 3, repaired.stdout + repaired.stderr
            assert client.get("/v2/library/a/manifests/v1").headers["Docker-Content-Digest"] == moved
            assert client.get("/v2/library/a/manifests/stable").headers["Docker-Content-Digest"] == before
            config = client.get("/v2/library/b/manifests/1.0").json()["config"]["digest"]
            assert client.get(f"/v2/library/b/blobs/{config}").status_code == 200
            # What came back wrongly is for somebody to decide.
            assert client.delete(f"/v2/library/secret/manifests/{secret}").status_code == 202
        assert lines(server) == []
    finally:
        server.close()


def test_receipts_go_with_time_and_damaged_ones_are_passed_over(tmp_path: Path) -> None:
    async def work() -> None:
        url = f"sqlite:///{tmp_path / 'seawall.db'}"
        migrate.upgrade(url)
        db = open_database(url)
        await db.write(lambda c: c.execute(insert(projects), _PROJECT))
        storage = FilesystemStorage(tmp_path / "blobs")
        recorder = receipts.Receipts(db, storage, always=True)
        payload = image([os.urandom(10)])
        now = time.time()
        good = receipts.Receipt("library/x", digest_of(payload), MANIFEST, ("t",), now, payload)
        wrong = replace(good, digest=digest_of(b"other"))
        await asyncio.gather(recorder.add(good), recorder.add(wrong))
        await storage.put(f"{receipts.PREFIX}{int(now * 1000)}.0", b'{"digest": 1}\nnonsense\n')
        found = [loss async for loss in receipts.lost(db, storage)]
        assert [(loss.receipt, loss.whole, loss.tags) for loss in found] == [(good, True, ("t",))]
        # Deleted in time: not lost.
        await db.write(lambda c: receipts.note(c, "library/x", [good.digest]))
        assert [loss async for loss in receipts.lost(db, storage)] == []
        await receipts.purge(db, storage, now + receipts.KEEP_SECONDS + 5)
        assert [item async for item in storage.list(receipts.PREFIX)] == []
        await db.close()

    asyncio.run(work())


def test_what_is_pushed_again_by_a_slower_clock_is_no_lost_deletion(tmp_path: Path) -> None:
    """Nor is a push that began before the deletion and was stored after it."""
    server = Registry(tmp_path / "data", {"SEAWALL_STORAGE__RECEIPTS": "always"})
    server.start()
    try:
        manifest = image([b"again"])
        with connect(server) as client:
            push_blob(client, "library/x", b"again")
            for reference in (digest_of(manifest), "v1"):
                assert put_manifest(client, "library/x", "v1", manifest).status_code == 201
                assert client.delete(f"/v2/library/x/manifests/{reference}").status_code == 202
                assert put_manifest(client, "library/x", "v1", manifest).status_code == 201
        with closing(sqlite3.connect(server.data_dir / "seawall.db")) as database, database:
            for table in ("manifests", "tags"):
                database.execute(f"UPDATE {table} SET pushed_at = pushed_at - 30")
        # The receipts of deletions follow the answers.
        time.sleep(1)
        assert lines(server) == []
        with closing(sqlite3.connect(server.data_dir / "seawall.db")) as database, database:
            database.execute("DELETE FROM removals")
        until(lambda: [line.count("it is there again") for line in lines(server)] == [1, 1], "both are lost")
    finally:
        server.close()


def test_a_deletion_that_was_refused_has_no_receipt(tmp_path: Path) -> None:
    """It was noted in a transaction that ended without a commit: an accessory has an immutable tag."""
    server = Registry(tmp_path / "data", {"SEAWALL_STORAGE__RECEIPTS": "always"})
    server.start()
    try:
        rule = {"kind": "doublestar", "pattern": "keep"}
        chosen = {
            "tag_selectors": [{**rule, "decoration": "matches"}],
            "scope_selectors": {
                "repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]
            },
        }
        body = {"action": "immutable", "template": "immutable_template", **chosen}
        server.api("POST", "/projects/library/immutabletagrules", json=body)
        manifest = image([b"refused"])
        subject = {"mediaType": MANIFEST, "digest": digest_of(manifest), "size": len(manifest)}
        attached = json.dumps({**json.loads(manifest), "subject": subject}).encode()
        with connect(server) as client:
            push_blob(client, "library/x", b"refused")
            assert put_manifest(client, "library/x", "v1", manifest).status_code == 201
            assert put_manifest(client, "library/x", "keep", attached).status_code == 201
            refused = client.delete("/api/v2.0/projects/library/repositories/x/artifacts/v1")
            assert refused.status_code == 412, refused.text
            # Every commit of the process writes what waits.
            assert put_manifest(client, "library/x", "v2", manifest).status_code == 201
            assert client.delete("/v2/library/x/manifests/v2").status_code == 202

        def receipts_of_deletions() -> list[str]:
            files = [path for path in (tmp_path / "data").rglob("receipt.*") if path.is_file()]
            found = [json.loads(line) for path in files for line in path.read_bytes().splitlines()]
            return ["".join(item["tags"]) for item in found if item["deleted"]]

        until(lambda: "v2" in receipts_of_deletions(), "the other deletion has one")
        assert receipts_of_deletions() == ["v2"]
        assert lines(server) == []
    finally:
        server.close()


def test_a_commit_that_waits_for_a_standby_needs_no_receipt(pair: PostgresPair) -> None:
    async def found() -> bool:
        db = open_database(pair.database())
        try:
            return await db.read(may_lose_commits)
        finally:
            await db.close()

    assert asyncio.run(found())
    pair.primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
    pair.primary.sql("SELECT pg_reload_conf()")
    until(lambda: not asyncio.run(found()), "waits for the standby")


def test_a_push_that_is_committed_is_not_refused_when_the_database_goes(tmp_path: Path) -> None:
    async def work() -> None:
        db = open_database(f"postgresql://seawall@127.0.0.1:{free_port()}/gone", retry_seconds=0)
        storage = FilesystemStorage(tmp_path / "blobs")
        payload = image([b"x"])
        receipt = receipts.Receipt("library/x", digest_of(payload), MANIFEST, ("t",), time.time(), payload)
        await receipts.Receipts(db, storage, always=False).add(receipt)
        assert len([item async for item in storage.list(receipts.PREFIX)]) == 1
        await db.close()

    asyncio.run(work())
