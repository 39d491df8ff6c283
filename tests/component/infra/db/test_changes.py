"""The change feed on both databases: nothing missed, whatever the order of commits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, func, insert, select, update

from seawall.access.tables import projects, users
from seawall.infra.db import Database, changes, dump, migrate, open_database
from seawall.infra.db.tables import change_log
from seawall.infra.tables import configurations
from seawall.registry.tables import repositories, tags

LOGGED = [users, projects, repositories, tags, configurations]


@pytest.fixture
def url(database_settings: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest) -> str:
    if database_settings:
        return str(request.getfixturevalue("postgres").database())
    return f"sqlite:///{tmp_path / 'changes.db'}"


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    migrate.upgrade(url)
    database = open_database(url, pool_size=6)
    database.sync_write(lambda c: changes.ensure(c, LOGGED))
    yield database
    asyncio.run(database.close())


def user(connection: Connection, name: str) -> int:
    values = {"username": name, "sysadmin": False, "created_at": 1.0, "updated_at": 1.0}
    return int(connection.execute(insert(users).values(values).returning(users.c.id)).scalar_one())


def project(connection: Connection, name: str) -> int:
    values = {"name": name, "public": False, "created_at": 1.0, "updated_at": 1.0}
    return int(connection.execute(insert(projects).values(values).returning(projects.c.id)).scalar_one())


def after(db: Database, cursor: str) -> tuple[set[tuple[str, Any]], str]:
    found = db.sync_read(lambda c: changes.since(c, cursor))
    assert found is not None
    return {(change.table, *(value for _, value in change.key)) for change in found[0]}, found[1]


def test_insert_update_delete_cascade(db: Database) -> None:
    start = db.sync_read(changes.position)
    one = db.sync_write(lambda c: project(c, "one"))
    values = {"project_id": one, "name": "one/a", "created_at": 1.0, "updated_at": 1.0}
    repository = db.sync_write(
        lambda c: c.execute(insert(repositories).values(values).returning(repositories.c.id)).scalar_one()
    )
    found, cursor = after(db, start)
    assert found == {("projects", one), ("repositories", repository)}
    assert after(db, cursor)[0] == set()
    db.sync_write(lambda c: c.execute(update(projects).values(public=True)))
    found, cursor = after(db, cursor)
    assert found == {("projects", one)}
    # What goes by a foreign key is logged like what goes by itself.
    db.sync_write(lambda c: c.execute(delete(projects)))
    found, cursor = after(db, cursor)
    assert found == {("projects", one), ("repositories", repository)}
    # A key that changes is two rows.
    db.sync_write(lambda c: c.execute(insert(configurations).values(name="a", value=1, updated_at=1.0)))
    cursor = after(db, cursor)[1]
    db.sync_write(lambda c: c.execute(update(configurations).values(name="b")))
    assert after(db, cursor)[0] == {("configurations", "a"), ("configurations", "b")}


def test_unlogged(db: Database) -> None:
    start = db.sync_read(changes.position)

    def quietly(connection: Connection) -> None:
        with changes.unlogged(connection):
            user(connection, "quiet")
        user(connection, "loud")

    db.sync_write(quietly)

    def failing(connection: Connection) -> None:
        with changes.unlogged(connection):
            user(connection, "never")
            raise RuntimeError("undone")

    with pytest.raises(RuntimeError):
        db.sync_write(failing)
    db.sync_write(lambda c: user(c, "after"))
    names = select(users.c.id, users.c.username)
    by_id = {row.id: row.username for row in db.sync_read(lambda c: c.execute(names).all())}
    assert {by_id[key] for _, key in after(db, start)[0]} == {"loud", "after"}


def test_forgotten_and_foreign_cursors(db: Database) -> None:
    start = db.sync_read(changes.position)
    db.sync_write(lambda c: user(c, "a"))
    here = db.sync_read(changes.position)
    assert db.sync_write(lambda c: changes.forget(c, 60)) == 0
    assert db.sync_write(lambda c: changes.forget(c, -1)) == 1
    assert db.sync_read(lambda c: changes.since(c, start)) is None
    db.sync_write(lambda c: user(c, "b"))
    assert len(after(db, here)[0]) == 1
    feed, _, mark = here.partition("/")
    other = feed[::-1] + "/" + mark
    assert db.sync_read(lambda c: changes.since(c, other)) is None
    db.sync_write(changes.remove)
    assert db.sync_read(lambda c: changes.since(c, here)) is None
    db.sync_write(lambda c: user(c, "c"))
    assert db.sync_read(lambda c: c.execute(select(func.count()).select_from(change_log)).scalar()) == 0
    db.sync_write(lambda c: changes.ensure(c, LOGGED))
    assert db.sync_read(lambda c: changes.since(c, here)) is None


def test_downgrade_takes_triggers_along(db: Database, url: str) -> None:
    migrate.downgrade(url, "base")
    migrate.upgrade(url)
    db.sync_write(lambda c: user(c, "unwatched"))
    db.sync_write(lambda c: changes.ensure(c, LOGGED))
    start = db.sync_read(changes.position)
    db.sync_write(lambda c: user(c, "watched"))
    assert len(after(db, start)[0]) == 1


def test_commits_out_of_order(url: str, db: Database) -> None:
    """A transaction that took its number first and commits last is found by a cursor in between."""
    if db.dialect == "sqlite":
        return  # writers take turns: there is nothing to be out of order
    start = db.sync_read(changes.position)
    begun, go_on = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        user(connection, "slow")
        begun.set()
        assert go_on.wait(20)

    thread = threading.Thread(target=lambda: db.sync_write(slow))
    thread.start()
    assert begun.wait(20)
    fast = db.sync_write(lambda c: user(c, "fast"))
    found, cursor = after(db, start)
    assert found == {("users", fast)}
    with dump.snapshot(url) as connection:
        # In a snapshot rows and cursor are of one moment.
        inside = changes.position(connection)
        go_on.set()
        thread.join()
        assert changes.since(connection, cursor) == ([], inside)
    found, cursor = after(db, cursor)
    assert len(found) == 1
    assert ("users", fast) not in found
    assert after(db, cursor)[0] == set()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["set", "drop", "read"])), max_size=12))
def test_a_follower_that_reads_the_feed_has_all(db: Database, steps: list[tuple[str, str]]) -> None:
    """State-based following: whatever was done between the reads, the copy is equal after the last."""
    db.sync_write(lambda c: c.execute(delete(configurations)))
    cursor = db.sync_read(changes.position)
    copy: dict[str, Any] = {}

    def follow() -> None:
        nonlocal cursor
        found, cursor = after(db, cursor)
        for _, key in found:
            query = select(configurations.c.value).where(configurations.c.name == key)
            row = db.sync_read(lambda c, q=query: c.execute(q).first())  # type: ignore[misc]
            copy.pop(key, None)
            if row is not None:
                copy[key] = row.value

    for number, (key, step) in enumerate(steps):
        if step == "read":
            follow()
        else:

            def change(connection: Connection, key: str = key, step: str = step, n: int = number) -> None:
                connection.execute(delete(configurations).where(configurations.c.name == key))
                if step == "set":
                    connection.execute(insert(configurations).values(name=key, value=n, updated_at=1.0))

            db.sync_write(change)
    follow()
    query = select(configurations.c.name, configurations.c.value)
    assert copy == {row.name: row.value for row in db.sync_read(lambda c: c.execute(query).all())}
