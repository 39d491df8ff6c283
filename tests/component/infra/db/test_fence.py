"""The fence in the database: who may write, on both databases, with writers under way and leases that end."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from seawall.access.tables import sessions, users
from seawall.availability.sites import state
from seawall.features.audit.tables import audit_log
from seawall.infra.db import Database, fence, migrate, open_database
from seawall.infra.db.dialect import clock
from seawall.infra.db.metadata import metadata
from seawall.infra.db.postgres import PostgresDatabase
from seawall.infra.db.tables import dr_state
from seawall.infra.settings import DrSettings
from seawall.kernel.errors import ConflictError, PreconditionError, StandbyError
from seawall.registry.tables import labels
from tests.support.servers.postgres import Postgres

SETTINGS = DrSettings(site="a", peer="http://127.0.0.1:9")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with the fence."""
    found = f"sqlite:///{tmp_path_factory.mktemp('fence') / 'x.db'}"
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        found = server.database()
    migrate.upgrade(found)
    return found


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    """The database, its site active at epoch 1."""
    found = open_database(url)
    found.sync_write(lambda c: state.begin(c, SETTINGS))
    found.sync_write(
        lambda c: state.put(c, role="active", epoch=1, writable_until=None, promised_until=0.0, peer=None)
    )
    yield found
    asyncio.run(found.close())


def label(connection: Connection, name: str = "x") -> None:
    """A write to content."""
    connection.execute(
        insert(labels).values(name=f"{name}{time.monotonic_ns()}", created_at=0.0, updated_at=0.0)
    )


def label_or_conflict(connection: Connection) -> None:
    """As all who make something with a name of its own: what is unique is not the only thing to refuse."""
    try:
        label(connection)
    except IntegrityError:
        raise ConflictError("there is one already") from None


def audit(connection: Connection) -> None:
    """A write to the audit log."""
    connection.execute(
        insert(audit_log).values(
            at=1.0,
            username="u",
            address="",
            operation="pull",
            resource_type="artifact",
            resource="r",
            description="",
            success=True,
        )
    )


def count(db: Database, table: Any) -> int:
    """Rows."""
    return db.sync_read(lambda c: int(c.execute(select(func.count()).select_from(table)).scalar_one()))


def test_every_table_of_content_is_fenced(db: Database) -> None:
    query = (
        "SELECT DISTINCT tbl_name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'seawall_fence_%'"
        if db.dialect == "sqlite"
        else "SELECT relname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid "
        "WHERE starts_with(tgname, 'seawall_fence_')"
    )
    found = db.sync_read(lambda c: set(c.exec_driver_sql(query).scalars()))
    own = {table.name for table in metadata.sorted_tables} - found
    assert own == {
        "blob_proofs",
        "blob_trash",
        "change_feed",
        "change_log",
        "cluster_figures",
        "commit_markers",
        "content_changes",
        "dr_blobs",
        "dr_nonces",
        "dr_state",
        "instances",
        "job_runners",
        "login_failures",
        "peer_nonces",
        "schema_compatibility",
        "sessions",
        "upload_leases",
        "used_tokens",
    }


def test_only_an_active_site_writes(db: Database) -> None:
    db.sync_write(label)
    before = count(db, labels), count(db, audit_log)
    for role in ("standby", "fenced"):
        db.sync_write(
            lambda c, role=role: state.put(  # type: ignore[misc]
                c, role=role, peer={"role": "active", "external_url": "https://active.example.test"}
            )
        )
        with pytest.raises(StandbyError, match=r"writes go to https://active\.example\.test"):
            db.sync_write(label)
        with pytest.raises(StandbyError):
            db.sync_write(lambda c: c.execute(labels.delete()))
        with pytest.raises(StandbyError):
            db.sync_write(label_or_conflict)
        with pytest.raises(StandbyError):
            db.sync_write(lambda c: c.execute(update(labels).values(color="#fff")))
        # The log drops what a standby says, and logins go on.
        db.sync_write(audit)
        assert (count(db, labels), count(db, audit_log)) == before
    user = {"username": "u1", "sysadmin": False, "created_at": 0.0, "updated_at": 0.0}

    def follow(connection: Connection) -> None:
        with fence.applying(connection):
            connection.execute(insert(users).values(id=7, **user))

    db.sync_write(follow)
    db.sync_write(
        lambda c: c.execute(
            insert(sessions).values(
                id_hash="h", user_id=7, created_at=0.0, seen_at=0.0, expires_at=0.0, data={}
            )
        )
    )
    with pytest.raises(StandbyError):
        db.sync_write(label)


def test_a_lease_ends(db: Database) -> None:
    db.sync_write(lambda c: state.put(c, writable_until=clock(c) + 0.5))
    db.sync_write(label)
    deadline = time.monotonic() + 10

    def keep_writing() -> None:
        while time.monotonic() < deadline:
            db.sync_write(label)
            time.sleep(0.05)

    with pytest.raises(StandbyError, match="lease"):
        keep_writing()
    with pytest.raises(StandbyError):
        # Not dropped: the site is the active one.
        db.sync_write(audit)


def test_a_lease_that_ends_before_the_commit(postgres: Postgres) -> None:
    # SQLite's writers take turns of milliseconds.
    url = postgres.database()
    migrate.upgrade(url)
    db = PostgresDatabase(url, pool_size=2)
    db.sync_write(lambda c: state.begin(c, SETTINGS))
    db.leased = True
    db.sync_write(lambda c: state.put(c, writable_until=clock(c) + 0.5))

    def slow(connection: Connection) -> None:
        label(connection)
        time.sleep(1)

    with pytest.raises(StandbyError, match="lease"):
        db.sync_write(slow)
    # What is not content needs no lease.
    db.sync_write(lambda c: state.put(c, error=None))
    asyncio.run(db.close())


def test_giving_way_waits_for_writers_under_way(db: Database) -> None:
    begun, order = threading.Event(), []

    def slow(connection: Connection) -> None:
        label(connection, "slow")
        begun.set()
        time.sleep(0.6)
        order.append("written")

    writer = threading.Thread(target=lambda: db.sync_write(slow))
    writer.start()
    assert begun.wait(10)
    db.sync_write(lambda c: state.give_way(c, 1))
    order.append("fenced")
    writer.join()
    assert order == ["written", "fenced"]
    with pytest.raises(StandbyError):
        db.sync_write(label)
    with pytest.raises(PreconditionError, match="epoch 1"):
        db.sync_write(lambda c: state.give_way(c, 9))


def test_one_of_two_promotions_wins(db: Database) -> None:
    db.sync_write(lambda c: state.put(c, role="standby", cursor=None))
    db.sync_write(lambda c: state.lead(c, "one", steal=True))
    db.sync_write(lambda c: state.lead(c, "two", steal=True))
    with pytest.raises(PreconditionError):
        db.sync_write(lambda c: state.reign(c, "one", "standby", 1, lease=None))
    db.sync_write(lambda c: state.reign(c, "two", "standby", 1, lease=None))
    row = db.sync_read(state.read)
    assert row is not None
    assert (row["role"], row["epoch"]) == ("active", 2)
    db.sync_write(label)


def test_a_promise_holds_a_promotion_back(db: Database) -> None:
    db.sync_write(lambda c: state.put(c, role="standby", promised_until=clock(c) + 60))
    db.sync_write(lambda c: state.lead(c, "one", steal=True))
    with pytest.raises(Exception, match="promised"):
        db.sync_write(lambda c: state.reign(c, "one", "standby", 1, lease=5.0))
    assert db.sync_read(lambda c: c.execute(select(dr_state.c.role)).scalar()) == "standby"


def test_a_copied_database_does_not_think_that_it_is_the_active(db: Database) -> None:
    external = DrSettings(site="b", peer="http://127.0.0.1:9", metadata="external")
    db.sync_write(lambda c: state.begin(c, external))
    row = db.sync_read(state.read)
    assert row is not None
    assert (row["site"], row["role"]) == ("b", "fenced")
    with pytest.raises(StandbyError):
        db.sync_write(label)
    db.sync_write(lambda c: state.begin(c, SETTINGS))


def test_taking_the_section_out(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    migrate.upgrade(url)
    db = open_database(url)
    db.sync_write(lambda c: state.begin(c, SETTINGS))
    db.sync_write(lambda c: state.put(c, role="standby"))
    with pytest.raises(PreconditionError, match="section dr"):
        db.sync_write(state.end)
    db.sync_write(lambda c: state.put(c, role="active"))
    db.sync_write(state.end)
    db.sync_write(label)
    asyncio.run(db.close())
