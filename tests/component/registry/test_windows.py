"""Counts by time of push: kept by the database whatever happens to rows, and what pages are found by."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, delete, insert, select, update

from seawall.access.tables import projects
from seawall.infra.db import Database, open_database
from seawall.registry import windows
from seawall.registry.artifacts import pages as listing
from seawall.registry.artifacts.queries import NEWEST_FIRST
from seawall.registry.tables import artifact_windows, manifests, repositories
from tests.support.databases import with_schema

KINDS = ("IMAGE", "CHART", None)


@pytest.fixture
def url(database_settings: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest) -> str:
    if database_settings:
        return str(request.getfixturevalue("postgres").migrated())
    return f"sqlite:///{tmp_path / 'w.db'}"


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    with_schema(url)
    opened = open_database(url, pool_size=1)
    yield opened
    asyncio.run(opened.close())


def repository(connection: Connection, number: int) -> tuple[int, int]:
    project = connection.execute(
        insert(projects)
        .values(name=f"p{number}", public=True, created_at=0, updated_at=0)
        .returning(projects.c.id)
    ).scalar_one()
    made = connection.execute(
        insert(repositories)
        .values(project_id=project, name=f"p{number}/r", created_at=0, updated_at=0)
        .returning(repositories.c.id)
    ).scalar_one()
    return int(project), int(made)


def row(project: int, repository: int, number: int, at: float, kind: str | None, listed: bool) -> Any:
    return {
        "project_id": project,
        "repository_id": repository,
        "digest": f"sha256:{number:064x}",
        "media_type": "m",
        "kind": kind,
        "size": 1,
        "listed": listed,
        "pushed_at": at,
    }


def check(connection: Connection) -> None:
    """Every count is that of the rows; nothing is left of what is gone."""
    for bits in windows.BITS:
        for scope in ("repository_id", "project_id"):
            rows = connection.execute(
                select(manifests.c[scope], manifests.c.pushed_at, manifests.c.kind).where(
                    manifests.c.listed.is_(True)
                )
            )
            expected: dict[tuple[int, int, str], int] = {}
            for owner, at, kind in rows:
                key = (owner, int(at) >> bits, kind or "")
                expected[key] = expected.get(key, 0) + 1
            table = artifact_windows.c
            found = connection.execute(
                select(table.scope_id, table.number, table.kind, table.artifacts).where(
                    table.scope == scope, table.bits == bits
                )
            )
            assert {tuple(item[:3]): item[3] for item in found} == expected


def test_counted_by_the_database(db: Database) -> None:
    chance = random.Random(4)

    def fill(connection: Connection) -> list[tuple[int, int]]:
        places = [repository(connection, n) for n in range(2)]
        connection.execute(
            insert(manifests),
            [
                row(
                    *places[n % 2],
                    n,
                    # Many in a minute, hours of some, years between others.
                    chance.choice([1.7e9, 1.7e9 + chance.random() * 1e5, chance.random() * 1.7e9]),
                    chance.choice(KINDS),
                    chance.random() < 0.8,
                )
                for n in range(400)
            ],
        )
        return places

    def change(connection: Connection) -> None:
        ids = list(connection.execute(select(manifests.c.id)).scalars())
        some = [manifests.c.id.in_(chance.sample(ids, 60)) for _ in range(5)]
        connection.execute(update(manifests).where(some[0]).values(listed=~manifests.c.listed))
        connection.execute(update(manifests).where(some[1]).values(kind="WASM", pulled_at=1.0))
        connection.execute(update(manifests).where(some[2]).values(pushed_at=manifests.c.pushed_at + 90))
        connection.execute(update(manifests).where(some[3]).values(pulled_at=5.0, listed=manifests.c.listed))
        connection.execute(delete(manifests).where(some[4]))

    places = db.sync_write(fill)
    db.sync_read(check)
    db.sync_write(change)
    db.sync_read(check)
    db.sync_read(lambda c: pages(c, places))
    db.sync_write(lambda c: c.execute(delete(repositories).where(repositories.c.id == places[0][1])))
    db.sync_read(check)
    assert db.sync_read(lambda c: windows.count(c, ("project_id", places[0][0]))) == 0


def pages(connection: Connection, places: list[tuple[int, int]]) -> None:
    """Each ordinal is found, of all and of a kind; past the end there is nothing."""
    for scope in (("repository_id", places[0][1]), ("project_id", places[1][0])):
        for kind in (None, "IMAGE", "NONE"):
            query = select(manifests.c.id).where(
                manifests.c[scope[0]] == scope[1], manifests.c.listed.is_(True)
            )
            query = query if kind is None else query.where(manifests.c.kind == kind)
            ids = list(connection.execute(query.order_by(*NEWEST_FIRST)).scalars())
            assert windows.count(connection, scope, kind) == len(ids)
            for ordinal, expected in enumerate(ids):
                place = windows.locate(connection, scope, ordinal, kind)
                assert place is not None
                before, rest = place
                assert rest <= ordinal
                later = query.where(manifests.c.pushed_at < before).order_by(*NEWEST_FIRST)
                assert connection.execute(later.limit(1).offset(rest)).scalar_one() == expected
            assert windows.locate(connection, scope, len(ids), kind) is None


def test_pages_by_number_with_and_without_counts(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_WALK", 0)

    def fill(connection: Connection) -> tuple[int, int]:
        place = repository(connection, 1)
        rows = [row(*place, n, n * 37.0, KINDS[n % 2], True) for n in range(100)]
        connection.execute(insert(manifests), rows)
        return place

    place = db.sync_write(fill)
    scope = ("repository_id", place[1])

    def walk(connection: Connection, kind: str | None, total: int) -> list[str]:
        found: list[str] = []
        for offset in range(0, total + 14, 7):
            part = listing.page(connection, scope, limit=7, offset=offset, total=total, kind=kind)
            found += [item.digest for item in part]
        return found

    newest = [f"sha256:{n:064x}" for n in reversed(range(100))]
    for counted in (True, False):
        if not counted:
            # As after writes that no trigger saw: the page is still right, only slower.
            db.sync_write(
                lambda c: c.execute(
                    update(artifact_windows).values(artifacts=artifact_windows.c.artifacts + 1)
                )
            )
        assert db.sync_read(lambda c: walk(c, None, 100)) == newest
        assert db.sync_read(lambda c: walk(c, "IMAGE", 50)) == newest[1::2]
