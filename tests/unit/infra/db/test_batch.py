"""Statements for the end of a transaction where there is none to wait for: on SQLite."""

from __future__ import annotations

import contextlib

import pytest
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    Table,
    bindparam,
    create_engine,
    delete,
    func,
    insert,
    select,
    update,
)

from seawall.infra.db.batch import flush, keeps, later, many, savepoint

NUMBERS = Table("numbers", MetaData(), Column("n", Integer, primary_key=True), Column("v", Integer))


def test_at_once_on_sqlite() -> None:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        NUMBERS.create(connection)
        assert not keeps(connection)
        later(connection, insert(NUMBERS), [{"n": 1, "v": 10}, {"n": 2, "v": 20}], last=True)
        count = select(func.count()).select_from(NUMBERS)
        values = select(NUMBERS.c.v).where(NUMBERS.c.n > bindparam("least")).order_by(NUMBERS.c.n)
        assert many(connection, (count, {}), (values, {"least": 0})) == [[(2,)], [(10,), (20,)]]
        changed = later(connection, update(NUMBERS).values(v=1).returning(NUMBERS.c.n))
        assert sorted(changed.rows or []) == [(1,), (2,)]
        flush(connection)
        with pytest.raises(KeyError):
            later(connection, delete(NUMBERS).where(NUMBERS.c.n == 3), otherwise=KeyError(3))
        with pytest.raises(KeyError):
            later(connection, select(func.count()).where(NUMBERS.c.n == 3), otherwise=KeyError(3))
        later(connection, delete(NUMBERS).where(NUMBERS.c.n == 2), otherwise=KeyError(2))
        with contextlib.suppress(KeyError), savepoint(connection):
            later(connection, delete(NUMBERS))
            raise KeyError
        assert many(connection, (count, {})) == [[(1,)]]
