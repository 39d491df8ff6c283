"""Counts by time of push: kept by the database whatever happens to rows, and what pages are found by."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, delete, func, insert, select, update

from seawall.access.tables import projects
from seawall.infra.db import Database, migrate, open_database
from seawall.registry import windows
from seawall.registry.artifacts import pages as listing
from seawall.registry.artifacts.queries import NEWEST_FIRST
from seawall.registry.tables import artifact_windows, manifests, repositories
from tests.support.databases import with_schema
from tests.support.servers.postgres import Postgres

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
                select(table.scope_id, table.number, table.kind, func.sum(table.artifacts))
                .where(table.scope == scope, windows.of_width(bits))
                .group_by(table.scope_id, table.number, table.kind)
            )
            assert {tuple(item[:3]): item[3] for item in found} == expected
    assert connection.execute(select(func.min(artifact_windows.c.artifacts))).scalar() in (
        None,
        *range(1, 999),
    )


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


def several(url: str, count: int) -> list[psycopg.Connection[Any]]:
    """Connections of which no two count in the same row."""
    found: dict[int, psycopg.Connection[Any]] = {}
    spare = []
    while len(found) < count:
        connection = psycopg.connect(url.replace("+psycopg", ""))
        slot = connection.info.backend_pid % 16
        if slot in found:
            spare.append(connection)
        else:
            found[slot] = connection
    for connection in spare:
        connection.close()
    return list(found.values())


_LISTED = """INSERT INTO manifests
    (project_id, repository_id, digest, media_type, kind, size, listed, pushed_at)
    VALUES (%s, %s, %s, 'm', 'IMAGE', 1, true, 1.7e9) RETURNING id"""


def test_pushes_to_one_project_do_not_wait_for_each_other(postgres: Postgres) -> None:
    url = postgres.migrated()
    opened = open_database(url, pool_size=1)
    project, repository_id = opened.sync_write(lambda c: repository(c, 1))
    # The counters of a repository are not shared out: its pushes take turns at its row.
    owners = [repository_id, *(opened.sync_write(lambda c: another(c, project)) for _ in range(4))]
    connections = several(url, 5)
    try:
        ids = []
        # Each holds what it has counted until it commits.
        for number, connection in enumerate(connections):
            connection.execute("SET lock_timeout = '5s'")
            digest = f"sha256:{number:064x}"
            ids.append(connection.execute(_LISTED, (project, owners[number], digest)).fetchone())
            connection.execute("UPDATE manifests SET kind = 'CHART' WHERE id = %s", ids[-1])
        for connection in connections:
            connection.commit()
        opened.sync_read(check)
        # All remove at once, also what others have counted.
        for connection, gone in zip(connections, reversed(ids), strict=True):
            connection.execute("DELETE FROM manifests WHERE id = %s", gone)
        for connection in connections:
            connection.commit()
        opened.sync_read(check)
        assert opened.sync_read(lambda c: c.execute(select(artifact_windows)).all()) == []
    finally:
        for connection in connections:
            connection.close()
        asyncio.run(opened.close())


def another(connection: Connection, project: int) -> int:
    """One more repository of a project."""
    count = connection.execute(select(func.count()).select_from(repositories)).scalar_one()
    row = {"project_id": project, "name": f"p1/r{count}", "created_at": 0, "updated_at": 0}
    return int(connection.execute(insert(repositories).values(row).returning(repositories.c.id)).scalar_one())


def test_counts_are_right_whoever_adds_and_removes(postgres: Postgres) -> None:
    url = postgres.migrated()
    opened = open_database(url, pool_size=1)
    first = opened.sync_write(lambda c: repository(c, 1))
    owners = [first[1], *(opened.sync_write(lambda c: another(c, first[0])) for _ in range(3))]
    failures: list[BaseException] = []

    def client(number: int, connection: psycopg.Connection[Any]) -> None:
        chance = random.Random(number)
        try:
            for step in range(60):
                digest = f"sha256:{number * 1000 + step:064x}"
                connection.execute(_LISTED, (first[0], owners[number], digest))
                if chance.random() < 0.6:
                    # Those of all: counted by others.
                    connection.execute(
                        "DELETE FROM manifests WHERE id = (SELECT id FROM manifests WHERE repository_id = %s "
                        "ORDER BY random() LIMIT 1 FOR UPDATE SKIP LOCKED)",
                        (owners[number],),
                    )
                connection.commit()
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    try:
        threads = [
            threading.Thread(target=client, args=pair) for pair in enumerate(several(url, len(owners)))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not failures
        opened.sync_read(check)
        left = opened.sync_read(lambda c: c.execute(select(func.count()).select_from(manifests)).scalar_one())
        assert opened.sync_read(lambda c: windows.count(c, ("project_id", first[0]))) == left
    finally:
        asyncio.run(opened.close())


def test_the_version_before_counts_on(postgres: Postgres) -> None:
    url = postgres.migrated()
    opened = open_database(url, pool_size=1)
    try:
        project, _ = opened.sync_write(lambda c: repository(c, 1))
        owners = [opened.sync_write(lambda c: another(c, project)) for _ in range(4)]
        connections = several(url, 4)
        for number, connection in enumerate(connections):
            connection.execute(_LISTED, (project, owners[number], f"sha256:{number:064x}"))
            connection.commit()
            connection.close()
        migrate.downgrade(url, "0017")
        mine = artifact_windows.c.scope == "project_id"
        query = select(artifact_windows.c.bits, artifact_windows.c.artifacts).where(mine)
        assert {tuple(item) for item in opened.sync_read(lambda c: c.execute(query).all())} == {
            (bits, 4) for bits in windows.BITS
        }
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            connection.execute("DELETE FROM manifests WHERE repository_id = %s", (owners[0],))
        opened.sync_read(check)
        migrate.upgrade(url)
        opened.sync_write(lambda c: c.execute(delete(manifests)))
        assert opened.sync_read(lambda c: c.execute(select(artifact_windows)).all()) == []
    finally:
        asyncio.run(opened.close())
