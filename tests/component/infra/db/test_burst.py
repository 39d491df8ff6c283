"""Statements that leave for PostgreSQL together: answers, errors, and what a connection has prepared."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Float,
    LargeBinary,
    MetaData,
    Table,
    Text,
    bindparam,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError

from seawall.infra.db import batch, burst
from seawall.infra.db.postgres import PostgresDatabase
from tests.support.servers.postgres import Postgres

_THINGS = Table(
    "things",
    MetaData(),
    Column("id", BigInteger, primary_key=True),
    Column("name", Text),
    Column("share", Float),
    Column("data", LargeBinary),
    Column("more", JSON),
)
_INSERT = insert(_THINGS)
_NAMED = select(_THINGS.c.id, _THINGS.c.name).where(_THINGS.c.name == bindparam("b_name"))
_RENAME = update(_THINGS).where(_THINGS.c.id == bindparam("b_id")).values(name=bindparam("b_name"))


def row(number: int, name: str) -> dict[str, object]:
    return {"id": number, "name": name, "share": number / 2, "data": b"\x00\xff", "more": {"n": number}}


@pytest.fixture
def db(postgres: Postgres) -> Iterator[PostgresDatabase]:
    # One connection to write with, so that all use what it has prepared.
    opened = PostgresDatabase(postgres.migrated(), pool_size=4, retry_seconds=1)
    opened.sync_write(lambda c: _THINGS.create(c))
    yield opened
    asyncio.run(opened.close())


def prepared(connection: Connection) -> list[str]:
    query = text("SELECT statement FROM pg_prepared_statements WHERE name LIKE 'seawall%'")
    return list(connection.execute(query).scalars())


def test_a_number_of_any_size_is_the_same_statement(db: PostgresDatabase) -> None:
    numbers = [1, 40_000, 2**31, 2**40, 7, 300]
    for number in numbers:
        db.sync_write(lambda c, n=number: batch.later(c, _INSERT, row(n, f"{n} 100%")))  # type: ignore[misc]
    assert len([item for item in db.sync_write(prepared) if "INTO things" in item]) == 1
    found = db.sync_read(lambda c: c.execute(select(_THINGS).order_by(_THINGS.c.id)).all())
    assert [tuple(item) for item in found] == [tuple(row(n, f"{n} 100%").values()) for n in sorted(numbers)]


def test_answers_belong_to_their_questions(db: PostgresDatabase) -> None:
    db.sync_write(lambda c: batch.later(c, _INSERT, [row(1, "one"), row(2, "two"), row(3, "%")]))

    def ask(connection: Connection) -> list[list[object]]:
        return batch.many(
            connection,
            (_NAMED, {"b_name": "two"}),
            (text("SELECT 'a%' || :x WHERE :x LIKE '%b%'"), {"x": "abc"}),
            (_NAMED, {"b_name": "four"}),
            (_RENAME, {"b_id": 1, "b_name": "four"}),
            (_NAMED, {"b_name": "four"}),
            (select(_THINGS.c.id).where(_THINGS.c.name.in_(["%", "two"])).order_by(_THINGS.c.id), {}),
        )

    wanted = [[(2, "two")], [("a%abc",)], [], [], [(1, "four")], [(2,), (3,)]]
    for _ in range(4):
        db.sync_write(lambda c: c.execute(_RENAME, {"b_id": 1, "b_name": "one"}))
        assert db.sync_write(ask) == wanted


def test_lists_of_all_lengths_are_one_statement(db: PostgresDatabase) -> None:
    db.sync_write(lambda c: batch.later(c, _INSERT, [row(1, "one"), row(2, "two"), row(2**40, "%")]))
    both = select(_THINGS.c.id).where(
        _THINGS.c.id.in_(bindparam("b_ids", expanding=True)),
        _THINGS.c.name.in_(bindparam("b_names", expanding=True)),
    )
    without = select(_THINGS.c.id).where(_THINGS.c.id.not_in(bindparam("b_ids", expanding=True)))
    for ids, names, found in (
        ([1, 2], ["one", "two"], {1, 2}),
        ([], ["one"], set()),
        ([2**40], [], set()),
        ([2**40, 1], ["%", "x", "y"], {2**40}),
    ):
        first, second = db.sync_write(
            lambda c, i=ids, n=names: batch.many(  # type: ignore[misc]
                c, (both, {"b_ids": i, "b_names": n}), (without, {"b_ids": i})
            )
        )
        assert {item[0] for item in first} == found
        assert {item[0] for item in second} == {1, 2, 2**40} - set(ids)
    assert len([item for item in db.sync_write(prepared) if "ANY" in item]) == 1


def test_the_statement_that_changed_nothing_says_so(db: PostgresDatabase) -> None:
    class FirstError(Exception):
        pass

    class SecondError(Exception):
        pass

    def change(connection: Connection, first: int, second: int) -> None:
        batch.later(connection, _RENAME, {"b_id": first, "b_name": "x"}, otherwise=FirstError())
        batch.later(connection, _INSERT, row(9, "nine"))
        batch.later(connection, _RENAME, {"b_id": second, "b_name": "y"}, otherwise=SecondError())

    def twice(connection: Connection) -> None:
        change(connection, 1, 1)
        batch.later(connection, _INSERT, row(1, "again"))

    db.sync_write(lambda c: batch.later(c, _INSERT, row(1, "one")))
    for _ in range(3):
        with pytest.raises(FirstError):
            db.sync_write(lambda c: change(c, 5, 1))
        with pytest.raises(SecondError):
            db.sync_write(lambda c: change(c, 1, 5))
        with pytest.raises(DBAPIError, match="duplicate key"):
            db.sync_write(twice)
        assert db.sync_read(lambda c: c.execute(select(_THINGS.c.name)).scalars().all()) == ["one"]


def test_going_back_to_a_savepoint_keeps_what_was_said_before(db: PostgresDatabase) -> None:
    """psycopg makes the server forget prepared statements then; those of ours must be prepared again."""

    class WantedError(Exception):
        pass

    def work(connection: Connection, number: int) -> None:
        batch.many(connection, (_NAMED, {"b_name": "x"}), (_NAMED, {"b_name": "y"}))
        # So often that psycopg itself prepares it.
        for _ in range(7):
            connection.execute(_NAMED, {"b_name": "x"})
        try:
            with batch.savepoint(connection):
                connection.execute(_INSERT, row(number, "undone"))
                raise WantedError
        except WantedError:
            pass
        batch.many(connection, (_NAMED, {"b_name": "x"}), (_NAMED, {"b_name": "y"}))
        batch.later(connection, _INSERT, row(number, "done"))

    for number in range(4):
        db.sync_write(lambda c, n=number: work(c, n))  # type: ignore[misc]
    assert db.sync_read(lambda c: c.execute(select(_THINGS.c.name)).scalars().all()) == ["done"] * 4


def test_old_statements_are_given_up(db: PostgresDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(burst, "_PREPARED", 5)
    queries = [(text(f"SELECT {number}, :x"), {"x": "x"}) for number in range(20)]
    for _ in range(2):
        for query in queries:
            for _ in range(3):
                (found,) = db.sync_write(lambda c, q=query: batch.many(c, q, q)[1:])  # type: ignore[misc]
                assert found == [(int(str(query[0]).split()[1].rstrip(",")), "x")]
        # The last burst may have added what the next one gives up.
        assert len(db.sync_write(prepared)) <= 6


def test_a_value_that_cannot_be_sent_leaves_the_connection_whole(db: PostgresDatabase) -> None:
    for _ in range(3):
        with pytest.raises(DBAPIError):
            db.sync_write(lambda c: batch.later(c, _INSERT, row(1, "a\x00b")))
    db.sync_write(lambda c: batch.later(c, _INSERT, row(1, "ab")))
    assert db.sync_read(lambda c: c.execute(select(_THINGS.c.name)).scalars().all()) == ["ab"]
