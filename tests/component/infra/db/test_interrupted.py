"""A first start or an upgrade that is killed leaves nothing that the next one cannot go on from."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Engine

from seawall.infra.db import migrate
from seawall.kernel.errors import ConfigError
from tests.support.servers.postgres import Postgres


@contextmanager
def statements() -> Iterator[list[str]]:
    """Every statement that any engine of this process executes in the block, before it is executed."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def killed_before(number: int, url: str) -> None:
    """Migrate in a child that kills itself with SIGKILL before statement `number`."""
    child = os.fork()
    if child == 0:
        try:
            seen = 0

            def count(*_: object) -> None:
                nonlocal seen
                seen += 1
                if seen > number:
                    os.kill(os.getpid(), signal.SIGKILL)

            event.listen(Engine, "before_cursor_execute", count)
            migrate.upgrade(url)
        finally:
            os._exit(7)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def names(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    try:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    finally:
        connection.close()


@contextmanager
def left_at_each_statement(path: Path, check: Callable[[Path, str], None]) -> Iterator[None]:
    """`check` a copy of what a kill would leave of a database, before each statement in the block.

    What a process has written stays when it is killed (the kernel has it), and the process stands still here:
    the files of the database are what it would leave. `killed_before` runs all up to there again for each.
    """
    copies = path.parent / "left"

    def look(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        shutil.rmtree(copies, ignore_errors=True)
        copies.mkdir()
        # The database, its journal, and the two files of its log, if they are there.
        for file in path.parent.glob(f"{path.name}*"):
            shutil.copy(file, copies)
        check(copies / path.name, statement)

    event.listen(Engine, "before_cursor_execute", look)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", look)
        shutil.rmtree(copies, ignore_errors=True)


def test_start_killed_before_any_statement_is_resumed(tmp_path: Path) -> None:
    whole = tmp_path / "whole.db"
    looked: list[str] = []

    def nothing(path: Path, statement: str) -> None:
        # All or nothing, so that a few resumed starts stand for all that found nothing.
        assert names(path) == set(), statement
        looked.append(statement)

    with left_at_each_statement(whole, nothing):
        migrate.upgrade(f"sqlite:///{whole}")
    assert len(looked) > 100
    for number in [*range(0, len(looked), 40), len(looked) - 1]:
        path = tmp_path / f"{number}.db"
        killed_before(number, f"sqlite:///{path}")
        assert names(path) == set(), looked[number]
        migrate.upgrade(f"sqlite:///{path}")
        assert names(path) == names(whole)


def revision(url: str) -> str | None:
    """The schema revision that a database is at."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    try:
        with engine.connect() as connection:
            return migrate.current(connection)
    finally:
        engine.dispose()


def test_killed_upgrade_is_resumed(tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    migrate.upgrade(f"sqlite:///{old}", "0001")
    path = tmp_path / "new.db"
    url = f"sqlite:///{path}"
    shutil.copy(old, path)
    looked: list[str] = []

    def as_before(left: Path, statement: str) -> None:
        assert names(left) == names(old), statement
        looked.append(statement)

    with left_at_each_statement(path, as_before):
        migrate.upgrade(url)
    whole = names(path)
    for number in [*range(0, len(looked), 40), len(looked) - 1]:
        for file in tmp_path.glob("new.db*"):
            file.unlink()
        shutil.copy(old, path)
        killed_before(number, url)
        assert names(path) == names(old), looked[number]
    assert revision(url) == "0001"
    migrate.upgrade(url)
    assert names(path) == whole


@pytest.mark.parametrize("start", ["base", "0001"])
def test_killed_on_postgresql(postgres: Postgres, start: str) -> None:
    """Points all over a first start and an upgrade: all or nothing, and the lock goes with the session."""
    old = postgres.database()
    if start != "base":
        migrate.upgrade(old, start)
    template = old.rpartition("/")[2]
    with statements() as seen:
        migrate.upgrade(postgres.database(template))
    # The last one lets go of the lock, after the commit.
    last = len(seen) - 2
    for number in [*range(0, last, last // 5), last]:
        url = postgres.database(template)
        killed_before(number, url)
        assert revision(url) == (None if start == "base" else start), seen[number]
    migrate.upgrade(url)
    assert revision(url) == max(migrate.revisions())


def remains(path: Path) -> None:
    """What a first start of a Seawall without transactions left when it was killed half-way."""
    migrate.upgrade(f"sqlite:///{path}")
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("DROP TABLE alembic_version")
        connection.execute("DROP TABLE tags")
    connection.close()


def test_remains_of_a_killed_start_are_cleared(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    remains(path)
    migrate.upgrade(f"sqlite:///{path}")
    assert {"tags", "alembic_version", "blob_trash"} <= names(path)


def test_remains_with_content_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    remains(path)
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(
            "INSERT INTO projects (name, public, created_at, updated_at) VALUES ('kept', 1, 1, 1)"
        )
    connection.close()
    with pytest.raises(ConfigError, match="rows in projects but no schema revision; restore it"):
        migrate.upgrade(f"sqlite:///{path}")
    assert "tags" not in names(path)
