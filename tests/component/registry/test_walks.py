"""What walks all artifacts or blobs page by page reads, in each page, little more than the page.

PostgreSQL does not know that what is joined by a key is after the last page too. Where that was not said,
each page read again what all before had read: a check of a million artifacts took 57 times that of a tenth.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from seawall.infra.db import Database, open_database
from seawall.registry import fsck, garbage, images, scrub, tags
from tests.support.servers.postgres import Postgres

ARTIFACTS = 20_000
# Of all rows that the steps of a page's plan give. A page has at most a hundred or so.
_MOST = 3_000
_FILL = f"""
INSERT INTO projects (id, name, public, created_at, updated_at) VALUES (1000, 'p', true, 1, 1);
INSERT INTO repositories (id, project_id, name, created_at, updated_at, pushed_at, artifact_count)
    SELECT 1000 + n, 1000, 'p/r' || lpad(n::text, 5, '0'), 1, 1, 1, 50
    FROM generate_series(0, {ARTIFACTS // 50}) n;
INSERT INTO manifests (id, repository_id, project_id, digest, media_type, config_media_type, kind, size,
        total_size, listed, attributes, pushed_at)
    SELECT 1000 + n, 1000 + n / 50, 1000, 'sha256:' || encode(sha256(('{{"n":' || n || '}}')::bytea), 'hex'),
        'application/vnd.oci.image.manifest.v1+json', 'application/vnd.oci.image.config.v1+json', 'IMAGE',
        9, 9, true, '{{}}', n FROM generate_series(0, {ARTIFACTS - 1}) n;
INSERT INTO manifest_payloads (manifest_id, payload)
    SELECT 1000 + n, ('{{"n":' || n || '}}')::bytea FROM generate_series(0, {ARTIFACTS - 1}) n;
INSERT INTO tags (repository_id, name, manifest_id, pushed_at)
    SELECT 1000 + n / 50, 't' || n % 50, 1000 + n, n FROM generate_series(0, {ARTIFACTS - 1}) n;
INSERT INTO blobs (digest, size, storage_key, created_at, touched_at)
    SELECT 'sha256:' || encode(sha256(n::text::bytea), 'hex'), 1, n::text, 1, 1
    FROM generate_series(0, {ARTIFACTS - 1}) n;
INSERT INTO blob_proofs (digest, proven_at) SELECT digest, 1 FROM blobs;
INSERT INTO repository_blobs (repository_id, digest, touched_at)
    SELECT 1000 + n / 50, 'sha256:' || encode(sha256(n::text::bytea), 'hex'), 1
    FROM generate_series(0, {ARTIFACTS - 1}) n;
INSERT INTO manifest_references (manifest_id, digest, kind, repository_id)
    SELECT 1000 + n, 'sha256:' || encode(sha256(n::text::bytea), 'hex'), 'blob', 1000 + n / 50
    FROM generate_series(0, {ARTIFACTS - 1}) n;
"""


@pytest.fixture(scope="module")
def url(postgres: Postgres) -> str:
    made = postgres.migrated()
    with psycopg.connect(made.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        for statement in _FILL.split(";\n"):
            if statement.strip():
                connection.execute(statement)
        connection.execute("VACUUM ANALYZE")
    return made


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    opened = open_database(url, pool_size=1)
    yield opened
    asyncio.run(opened.close())


async def manifests_checked(db: Database) -> None:
    report = fsck.FsckReport()
    assert [finding async for finding in fsck._check_manifests(db, report)] == []
    assert report.manifests == ARTIFACTS


async def blobs_scrubbed(db: Database) -> None:
    last, count = "", 0
    while rows := await db.read(lambda c, last=last: scrub._after(c, last)):  # type: ignore[misc]
        last, count = rows[-1][0], count + len(rows)
    assert count == ARTIFACTS


async def tags_warmed(db: Database) -> None:
    after, count = ("", ""), 0
    while rows := await db.read(lambda c, after=after: tags.served_tags(c, "p", after, 100)):  # type: ignore[misc]
        after, count = (rows[-1].repository, rows[-1].name), count + len(rows)
    assert count == ARTIFACTS


async def images_walked(db: Database) -> None:
    last, count = 0, 0
    while rows := await db.read(lambda c, last=last: images.images_after(c, last, 100)):  # type: ignore[misc]
        last, count = rows[-1].id, count + len(rows)
    assert count == ARTIFACTS


async def untagged_collected(db: Database) -> None:
    after: int | None = 0
    while after is not None:
        gone, after = await db.write(
            lambda c, after=after: garbage.delete_untagged(c, 1e12, after)  # type: ignore[misc]
        )
        assert gone == []


async def links_and_blobs_collected(db: Database) -> None:
    link: tuple[int, str] | None = (0, "")
    while link is not None:
        done, link = await db.write(lambda c, link=link: garbage.delete_links(c, 1e12, link))  # type: ignore[misc]
        assert done == 0
    blob: str | None = ""
    while blob is not None:
        gone, blob = await db.write(lambda c, blob=blob: garbage.trash_blobs(c, 1e12, blob))  # type: ignore[misc]
        assert gone == []


_WALKS = [
    manifests_checked,
    blobs_scrubbed,
    tags_warmed,
    images_walked,
    untagged_collected,
    links_and_blobs_collected,
]


@pytest.mark.parametrize("walk", _WALKS)
def test_each_page_reads_little_more_than_itself(
    db: Database, url: str, walk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, Any]] = []

    def record(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: object) -> None:
        seen.append((statement, parameters))

    monkeypatch.setattr(garbage, "_LOOK", 200)
    event.listen(Engine, "before_cursor_execute", record)
    try:
        asyncio.run(walk(db))
    finally:
        event.remove(Engine, "before_cursor_execute", record)
    pages = [item for item in seen if "LIMIT" in item[0]]
    assert len(pages) > 10
    # Every statement of the last pages but one: the walk is near its end there.
    late = dict(pages[-len(pages) // 4 : -2])
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        for statement, parameters in late.items():
            row = connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters).fetchone()
            assert row is not None
            plan = row[0][0]["Plan"]
            assert read(plan) < _MOST, plan


def read(plan: dict[str, Any]) -> int:
    """Rows that all steps of a plan have given, and those that they have left out."""
    loops = plan["Actual Loops"]
    removed = sum(value for key, value in plan.items() if key.startswith("Rows Removed"))
    return int((plan["Actual Rows"] + removed) * loops) + sum(read(part) for part in plan.get("Plans", ()))
