"""Rows of a backup go into an empty database whole or not at all, also beside an instance that starts."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, insert, inspect, select

from seawall.infra.db import dialect, dump, migrate
from seawall.infra.tables import configurations
from seawall.kernel.errors import ConfigError
from seawall.process import tables as tables  # declares every table
from tests.support.servers.postgres import Postgres

HEAD = max(migrate.revisions())
ROWS = {f"item{number}": f"value {number}" for number in range(700)}


@pytest.fixture(params=["sqlite", "postgresql"])
def new(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Makes an empty database; gives its URL."""
    server: Postgres | None = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    made: list[str] = []

    def one() -> str:
        made.append(server.database() if server else f"sqlite:///{tmp_path}/{len(made)}.db")
        return made[-1]

    return one


def using(url: str, work: Callable[[Connection], Any]) -> Any:
    """What `work` gives, in a transaction of its own connection."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        with engine.begin() as connection:
            return work(connection)
    finally:
        engine.dispose()


def fill(connection: Connection) -> None:
    rows = [{"name": name, "value": value, "updated_at": 1.0} for name, value in ROWS.items()]
    connection.execute(insert(configurations), rows)


def content(connection: Connection) -> dict[str, str]:
    query = select(configurations.c.name, configurations.c.value)
    return {row.name: row.value for row in connection.execute(query)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables of a database with ROWS in it."""
    folder = tmp_path_factory.mktemp("made")
    migrate.upgrade(url := f"sqlite:///{folder}/source.db")
    using(url, fill)
    using(url, lambda c: dump.write_tables(c, folder / "tables"))
    return folder / "tables"


@pytest.fixture
def backup(made: Path, tmp_path: Path) -> Path:
    """A copy of `made`, for one test."""
    shutil.copytree(made, tmp_path / "tables")
    return tmp_path / "tables"


@pytest.mark.parametrize("at", [0, 40])
def test_a_killed_restore_is_run_again(
    at: int, new: Callable[[], str], backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new()
    child = os.fork()
    if child == 0:
        load, count = dump._load_table, iter(range(at))

        def dies(*arguments: Any) -> None:
            if next(count, None) is None:
                os._exit(9)
            load(*arguments)

        monkeypatch.setattr(dump, "_load_table", dies)
        dump.load_tables(url, backup, HEAD, {})
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    dump.check_empty(url)
    dump.load_tables(url, backup, HEAD, {})
    assert using(url, content) == ROWS


def test_a_backup_of_an_older_schema_is_brought_up(new: Callable[[], str], backup: Path) -> None:
    (older,) = sorted(migrate.revisions())[-2:-1]
    migrate.upgrade(old := new(), older)
    there = set(using(old, lambda c: inspect(c).get_table_names()))
    for path in backup.iterdir():
        if path.stem not in there:
            path.unlink()
    dump.load_tables(url := new(), backup, older, {})
    assert using(url, content) == ROWS
    assert using(url, migrate.current) == HEAD


def test_an_instance_that_was_first_keeps_what_it_has(
    new: Callable[[], str], backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, lock = new(), dialect.lock_all

    def late(connection: Connection, names: Any) -> None:
        using(url, lambda c: c.execute(insert(configurations).values(name="mine", value="1", updated_at=1.0)))
        lock(connection, names)

    monkeypatch.setattr(dialect, "lock_all", late)
    with pytest.raises(ConfigError, match="not empty"):
        dump.load_tables(url, backup, HEAD, {})
    assert using(url, content) == {"mine": "1"}


def test_an_instance_that_starts_meanwhile_waits_for_the_rows(
    new: Callable[[], str], backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, load = new(), dump._load_table
    found: list[dict[str, str]] = []
    blocked = threading.Event()

    def start(connection: Connection) -> None:
        # What an instance does first: it writes.
        connection.execute(insert(configurations).values(name="mine", value="1", updated_at=1.0))
        found.append(content(connection))

    thread = threading.Thread(target=using, args=(url, start))

    def slow(connection: Connection, *arguments: Any) -> None:
        if not blocked.is_set():
            blocked.set()
            thread.start()
            thread.join(0.3)
            assert thread.is_alive()
        load(connection, *arguments)

    monkeypatch.setattr(dump, "_load_table", slow)
    dump.load_tables(url, backup, HEAD, {})
    thread.join(30)
    assert found == [{**ROWS, "mine": "1"}]
