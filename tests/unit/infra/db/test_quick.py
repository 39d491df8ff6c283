"""Statements that are handed to SQLite as they are give what SQLAlchemy gives for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    create_engine,
    delete,
    event,
    exists,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError

from seawall.infra.db import batch, quick
from seawall.infra.db.dialect import add_all
from seawall.infra.db.faults import FENCE_MESSAGE

TABLES = MetaData()
THINGS = Table(
    "things",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("name", String(40), nullable=False, unique=True),
    Column("on", Boolean),
    Column("data", JSON),
    Column("raw", LargeBinary),
    Column("at", Float),
    Column("made", Integer, default=lambda: 7),
)
PLAIN = [column.name for column in THINGS.columns if column.name != "made"]

Row = dict[str, Any]
rows_of_things = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.integers(min_value=-(2**63), max_value=2**63 - 1),
            "name": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10),
            "on": st.none() | st.booleans(),
            "data": st.none() | st.dictionaries(st.text(max_size=3), st.integers() | st.text(), max_size=3),
            "raw": st.none() | st.binary(max_size=10),
            "at": st.none() | st.floats(allow_nan=False, allow_infinity=False),
            "made": st.integers(min_value=0, max_value=9),
        }
    ),
    max_size=8,
    unique_by=(lambda row: row["id"], lambda row: row["name"]),
)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    made = create_engine("sqlite://")
    event.listen(made, "connect", lambda raw, _: setattr(raw, "isolation_level", None))
    event.listen(made, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    TABLES.create_all(made)
    yield made
    made.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as made:
        made.execute(delete(THINGS))
        yield made
        made.rollback()


def twice(connection: Connection, statement: Any, parameters: Any = None) -> quick.Done:
    """What it gives when it is met again; SQLAlchemy does it the first time."""
    before = connection.begin_nested()
    assert quick.do(connection, statement, parameters) is None
    before.rollback()
    done = quick.do(connection, statement, parameters)
    assert done is not None
    return done


BY_NAMES = select(THINGS).where(THINGS.c.name.in_(bindparam("b_names", expanding=True))).order_by(THINGS.c.id)
INSERT = insert(THINGS)


@given(rows_of_things, st.lists(st.integers(min_value=0, max_value=7)))
def test_values_come_back_as_they_are_with_sqlalchemy(
    engine: Engine, things: list[Row], picked: list[int]
) -> None:
    names = [things[number % len(things)]["name"] for number in picked] if things else ["none"]
    with engine.connect() as connection:
        connection.execute(delete(THINGS))
        if things:
            batch.changed(connection, INSERT, things)
        stored = [tuple(row) for row in connection.execute(select(THINGS).order_by(THINGS.c.id))]
        assert stored == sorted(
            (tuple(row[column.name] for column in THINGS.columns) for row in things), key=lambda row: row[0]
        )
        quick.do(connection, BY_NAMES, {"b_names": names})
        done = quick.do(connection, BY_NAMES, {"b_names": names})
        assert done is not None
        assert done.rows == [tuple(row) for row in connection.execute(BY_NAMES, {"b_names": names})]
        connection.rollback()


def test_what_returns_and_what_counts(connection: Connection) -> None:
    row = dict.fromkeys(PLAIN) | {"id": 1, "name": "a", "on": True, "made": 1}
    given = {f"b_{key}": value for key, value in row.items()}
    one: Any = sqlite.insert(THINGS).values(
        {name: bindparam(f"b_{name}", type_=THINGS.c[name].type) for name in row}
    )
    one = one.on_conflict_do_nothing(index_elements=["id"]).returning(THINGS.c.on, THINGS.c.id)
    assert twice(connection, one, given).rows == [(True, 1)]
    assert batch.rows(connection, one, given) == []
    rename = update(THINGS).where(THINGS.c.id == bindparam("b_id")).values(name=bindparam("b_name"))
    assert twice(connection, rename, {"b_id": 1, "b_name": "b"}).count == 1
    assert batch.changed(connection, rename, {"b_id": 2, "b_name": "c"}) == 0
    there = select(exists().where(THINGS.c.name == "b"), func.count()).select_from(THINGS)
    assert twice(connection, there).rows == [(True, 1)]


def test_rows_together(connection: Connection) -> None:
    rows = [{**dict.fromkeys(PLAIN), "id": number, "name": str(number), "made": 0} for number in range(5)]
    for _ in range(3):
        batch.later(connection, *add_all("sqlite", THINGS, ("id",), rows))
    assert batch.rows(connection, select(func.count()).select_from(THINGS)) == [(5,)]


def test_what_is_left_to_sqlalchemy(connection: Connection, engine: Engine) -> None:
    outside = select(THINGS.c.id).where(THINGS.c.name.not_in(bindparam("b_names", expanding=True)))
    left = [
        (INSERT, {"id": 1, "name": "a"}),  # `made` is filled in
        (outside, {"b_names": ["a"]}),
        (text("SELECT 1"), None),
        (INSERT.returning(THINGS.c.id), [{"id": 9, "name": "x", "made": 1}]),
    ]
    for statement, parameters in left:
        for _ in range(3):
            assert quick.do(connection, statement, parameters) is None
    with engine.connect() as fresh:
        for _ in range(3):
            # Without a transaction each would be its own.
            assert quick.do(fresh, BY_NAMES, {"b_names": []}) is None


def test_errors_are_sqlalchemys(connection: Connection) -> None:
    row = {**dict.fromkeys(PLAIN), "id": 1, "name": "a", "made": 1}
    batch.changed(connection, INSERT, row)
    batch.changed(connection, INSERT, {**row, "id": 2, "name": "b"})
    with pytest.raises(IntegrityError, match="UNIQUE"):
        batch.changed(connection, INSERT, {**row, "id": 3})
    limited = BY_NAMES.limit(1)
    batch.rows(connection, limited, {"b_names": []})
    with pytest.raises(KeyError):
        quick.do(connection, limited, {"b_other": 1})
    rename = update(THINGS).values(name=bindparam("b_name"))
    twice(connection, rename.where(THINGS.c.id == 1), {"b_name": "a"})
    connection.exec_driver_sql(
        "CREATE TEMP TRIGGER refuse BEFORE UPDATE ON main.things"
        f" BEGIN SELECT RAISE(ABORT, '{FENCE_MESSAGE}'); END"
    )
    try:
        quick.do(connection, rename, {"b_name": "c"})
        with pytest.raises(DatabaseError) as refused:
            quick.do(connection, rename, {"b_name": "c"})
        assert not isinstance(refused.value, IntegrityError)
    finally:
        connection.exec_driver_sql("DROP TRIGGER refuse")
    broken = select(func.no_such_function(THINGS.c.id))
    assert quick.do(connection, broken, None) is None
    with pytest.raises(OperationalError, match="no_such_function"):
        quick.do(connection, broken, None)


def test_lists_use_the_index(connection: Connection) -> None:
    form = quick.FORMS.get(connection, BY_NAMES, {"b_names": []}) or quick.FORMS.get(
        connection, BY_NAMES, {"b_names": []}
    )
    assert form is not None
    plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {form.text}", ("[]",)).all()
    assert any("SEARCH things USING INDEX" in row[3] for row in plan), plan
