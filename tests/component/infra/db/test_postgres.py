"""PostgreSQL: failover, commits in doubt, conflicts, TLS, and faults that no retry mends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, column, insert, table, text, update
from sqlalchemy.exc import DBAPIError, OperationalError

from seawall.infra.db import batch, migrate
from seawall.infra.db.postgres import PostgresDatabase
from seawall.infra.db.watched import WatchedConnection
from seawall.kernel.errors import UnavailableError
from tests.support.processes import free_port
from tests.support.servers.certificates import Authority
from tests.support.servers.postgres import Postgres, PostgresNode, PostgresPair
from tests.support.servers.proxy import TcpProxy
from tests.support.waiting import until

_COUNTER = table("counter", column("value"))
_DONE = table("done", column("number"))


def open_db(url: str, pool_size: int = 6, retry_seconds: float = 20) -> PostgresDatabase:
    return PostgresDatabase(url, pool_size=pool_size, retry_seconds=retry_seconds)


def add(connection: Connection, number: int) -> int:
    """Not idempotent on purpose: doing it twice shows."""
    connection.execute(text("UPDATE counter SET value = value + 1"))
    connection.execute(text("INSERT INTO done (number) VALUES (:n)"), {"n": number})
    return number


def prepare(db: PostgresDatabase) -> None:
    db.sync_write(lambda c: c.execute(text("CREATE TABLE counter (value int)")))
    db.sync_write(lambda c: c.execute(text("INSERT INTO counter VALUES (0)")))
    db.sync_write(lambda c: c.execute(text("CREATE TABLE done (number int)")))


def test_plans_are_not_compiled(postgres: Postgres) -> None:
    db = open_db(postgres.migrated())
    try:
        assert db.sync_read(lambda c: c.execute(text("SHOW jit")).scalar()) == "off"
    finally:
        asyncio.run(db.close())


def numbers(db: PostgresDatabase) -> tuple[int, list[int]]:
    """(counter, numbers written)."""
    return db.sync_read(
        lambda c: (
            c.execute(text("SELECT value FROM counter")).scalar_one(),
            sorted(c.execute(text("SELECT number FROM done")).scalars()),
        )
    )


def test_writes_find_the_promoted_replica(postgres_pair: PostgresPair) -> None:
    pair = postgres_pair
    url = pair.database()
    migrate.upgrade(url)
    # As many connections for writes as there are writers: one that waited for the connection of another would
    # wait until its pool's time is over, since the pool is dropped with the primary.
    db = open_db(url, pool_size=17, retry_seconds=60)
    prepare(db)
    acknowledged: set[int] = set()
    stop = threading.Event()
    failed: list[Exception] = []

    def work(worker: int) -> None:
        number = worker
        try:
            while not stop.is_set():
                acknowledged.add(db.sync_write(lambda c, n=number: add(c, n)))  # type: ignore[misc]
                number += 8
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    try:
        for crash in (True, False):
            before = len(acknowledged)
            until(lambda before=before: len(acknowledged) > before + 50)  # type: ignore[misc]
            if crash:
                pair.primary.kill()
            else:
                pair.primary.stop("fast")
            pair.promote()
            before = len(acknowledged)
            until(lambda before=before: len(acknowledged) > before + 50)  # type: ignore[misc]
            if crash:
                pair.rejoin()
    finally:
        stop.set()
        for thread in threads:
            thread.join(90)
    assert failed == []
    counter, written = numbers(db)
    assert set(written) == acknowledged
    assert len(written) == len(acknowledged) == counter
    asyncio.run(db.close())


def add_later(connection: Connection, number: int) -> int:
    """`add` with all that it says sent together with COMMIT."""
    batch.later(connection, update(_COUNTER).values(value=_COUNTER.c.value + 1))
    batch.later(connection, insert(_DONE), {"number": number})
    return number


@pytest.mark.parametrize("fate", ["drop", "last", "late"])
# Whether the number of the transaction arrives with COMMIT, or before it as the server happens to read.
@pytest.mark.parametrize("gathered", [0.0, 0.05])
@pytest.mark.parametrize("write", [add, add_later])
def test_commit_in_doubt_happens_once(
    postgres: Postgres, fate: str, gathered: float, write: Callable[[Connection, int], int]
) -> None:
    proxy = TcpProxy(("127.0.0.1", postgres.port))
    proxy.gather_seconds = gathered
    try:
        direct = postgres.database()
        migrate.upgrade(direct)
        db = open_db(direct.replace(f":{postgres.port}/", f":{proxy.port}/") + "?sslmode=disable")
        prepare(db)
        broken: list[bool] = []

        def on_request(data: bytes) -> str:
            if b"COMMIT" in data and not broken:
                broken.append(True)
                return fate
            return "pass"

        # A connection's first commit and a later one differ: the first has no marker row yet.
        for number in range(3):
            if number != 1:
                broken.clear()
            proxy.on_request = on_request
            assert db.sync_write(lambda c, n=number: write(c, n)) == number  # type: ignore[misc]
            assert broken
            time.sleep(1.2 if fate == "late" else 0)
            assert numbers(db) == (number + 1, list(range(number + 1)))
        # A read-only "write" in doubt has nothing to lose.
        broken.clear()
        db.sync_write(lambda c: c.execute(text("SELECT 1")).scalar())
        assert broken
        asyncio.run(db.close())
    finally:
        proxy.close()


def written_once(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch, leave: Callable[[WatchedConnection, int], None]
) -> None:
    """Four writes, each done once, though `leave` breaks the connection after the first two commits.

    `leave` gets the connection and whether it is the first (0) or second (1) time; it raises.
    """
    url = postgres.database()
    migrate.upgrade(url)
    db = open_db(url)
    prepare(db)
    send = batch.send
    broken: list[int] = []

    def send_and_break(connection: Connection, raw: WatchedConnection, *items: Any, **options: Any) -> None:
        send(connection, raw, *items, **options)
        if options.get("commit") and len(broken) < 2:
            broken.append(len(broken))
            leave(raw, broken[-1])

    monkeypatch.setattr(batch, "send", send_and_break)
    for number in range(4):
        assert db.sync_write(lambda c, n=number: add(c, n)) == number  # type: ignore[misc]
        assert numbers(db) == (number + 1, list(range(number + 1)))
    assert broken == [0, 1]
    asyncio.run(db.close())


def test_a_connection_that_breaks_after_its_commit(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server said that it has committed: nothing is asked, and nothing done again."""

    def leave(raw: WatchedConnection, time_: int) -> None:
        if time_ == 0:
            raw.close()
        raw.leave("the server was left")

    written_once(postgres, monkeypatch, leave)


def test_a_doubt_is_not_hidden_by_what_is_left_of_the_connection(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that ends in the middle of its answers can leave a connection that cannot even roll back."""

    def leave(raw: WatchedConnection, _time: int) -> None:
        raw.pgconn.exec_(b"BEGIN")
        raw.pgconn.enter_pipeline_mode()
        error = psycopg.OperationalError("cannot exit pipeline mode while busy")
        raise OperationalError(None, None, error)

    written_once(postgres, monkeypatch, leave)


def test_conflicts_are_run_again(postgres: Postgres) -> None:
    url = postgres.database()
    migrate.upgrade(url)
    db = open_db(url)
    db.sync_write(lambda c: c.execute(text("CREATE TABLE pair (id int PRIMARY KEY, value int)")))
    db.sync_write(lambda c: c.execute(text("INSERT INTO pair VALUES (1, 0), (2, 0)")))
    meet = threading.Barrier(2)
    runs: list[int] = []

    def work(first: int, second: int) -> None:
        waited = False

        def run(connection: Connection) -> None:
            nonlocal waited
            runs.append(first)
            connection.execute(text("UPDATE pair SET value = value + 1 WHERE id = :i"), {"i": first})
            if not waited:
                waited = True
                meet.wait(30)
            connection.execute(text("UPDATE pair SET value = value + 1 WHERE id = :i"), {"i": second})

        db.sync_write(run)

    threads = [threading.Thread(target=work, args=pair) for pair in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    values = db.sync_read(lambda c: list(c.execute(text("SELECT value FROM pair")).scalars()))
    assert values == [2, 2]
    assert len(runs) > 2, "there was no deadlock to recover from"
    asyncio.run(db.close())


def test_errors_that_waiting_does_not_mend(postgres: Postgres) -> None:
    url = postgres.database()
    db = open_db(url.rsplit("/", 1)[0] + "/nosuch", retry_seconds=3600)
    with pytest.raises(UnavailableError, match="does not exist"):
        db.sync_read(lambda c: c.execute(text("SELECT 1")))
    db = open_db(url, retry_seconds=3600)
    with pytest.raises(DBAPIError, match="nowhere"):
        db.sync_write(lambda c: c.execute(text("SELECT * FROM nowhere")))
    away = open_db(f"postgresql://seawall@127.0.0.1:{free_port()}/x", retry_seconds=0.3)
    with pytest.raises(UnavailableError, match="database does not answer"):
        away.sync_read(lambda c: c.execute(text("SELECT 1")))

    async def queue_fails_together() -> None:
        results = await asyncio.gather(
            *(away.read(lambda c: c.execute(text("SELECT 1"))) for _ in range(200)), return_exceptions=True
        )
        assert all(isinstance(result, UnavailableError) for result in results)
        with pytest.raises(UnavailableError):
            await away.check()

    asyncio.run(queue_fails_together())


def test_a_request_waits_for_a_database_that_is_away_once() -> None:
    """What it does next, such as noting how far an upload got, is not tried at all; a later request is."""
    came = 0
    server = socket.create_server(("127.0.0.1", 0))

    def turn_away() -> None:
        nonlocal came
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                came += 1
                connection.close()

    thread = threading.Thread(target=turn_away, daemon=True)
    thread.start()
    db = open_db(f"postgresql://seawall@127.0.0.1:{server.getsockname()[1]}/x", retry_seconds=0.5)

    async def ask() -> None:
        with pytest.raises(UnavailableError):
            await db.write(lambda c: c.execute(text("SELECT 1")))

    async def request() -> None:
        await ask()
        before = came
        await ask()
        await asyncio.shield(asyncio.ensure_future(ask()))
        assert came == before > 0

    async def work() -> None:
        await asyncio.create_task(request())
        before = came
        await asyncio.create_task(request())
        assert came > before
        await db.close()

    try:
        asyncio.run(work())
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5)


@pytest.fixture(scope="module")
def tls_server() -> Iterator[tuple[PostgresNode, Authority]]:
    """A PostgreSQL that takes TLS only, with a certificate for `localhost`."""
    # Not below pytest's own directory, which only its owner may enter.
    root = Path(tempfile.mkdtemp(prefix="seawall-tls-"))
    root.chmod(0o755)
    authority = Authority(root / "ca")
    node = PostgresNode(root / "node")
    node.init()
    certificate, key = authority.issue("localhost")
    for source, name in ((certificate, "server.crt"), (key, "server.key")):
        target = node.data / name
        target.write_bytes(source.read_bytes())
        _own(target, node.data)
        target.chmod(0o600)
    (node.data / "pg_hba.conf").write_text("local all all trust\nhostssl all all all trust\n")
    node.options["ssl"] = "on"
    node.start()
    try:
        yield node, authority
    finally:
        node.kill()
        shutil.rmtree(root, ignore_errors=True)


def _own(path: Path, like: Path) -> None:
    owner = like.stat()
    if os.getuid() == 0:
        os.chown(path, owner.st_uid, owner.st_gid)


def test_tls_is_verified(tls_server: tuple[PostgresNode, Authority], tmp_path: Path) -> None:
    node, authority = tls_server

    def ask(host: str, **options: str) -> str:
        query = "&".join(f"{key}={value}" for key, value in options.items())
        db = open_db(f"postgresql://seawall@{host}:{node.port}/postgres?{query}", retry_seconds=0)
        try:
            return str(
                db.sync_read(
                    lambda c: c.execute(
                        text("SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
                    ).scalar_one()
                )
            )
        finally:
            asyncio.run(db.close())

    ca = str(authority.certificate)
    assert ask("localhost", sslmode="verify-full", sslrootcert=ca).startswith("TLSv1")
    assert ask("127.0.0.1", sslmode="verify-ca", sslrootcert=ca).startswith("TLSv1")
    other = Authority(tmp_path / "other")
    with pytest.raises(UnavailableError, match="certificate verify failed"):
        ask("localhost", sslmode="verify-full", sslrootcert=str(other.certificate))
    with pytest.raises(UnavailableError, match="does not match host name"):
        ask("127.0.0.1", sslmode="verify-full", sslrootcert=ca)
    with pytest.raises(UnavailableError, match="no encryption"):
        ask("localhost", sslmode="disable")


def test_host_that_hangs_is_passed_by(postgres: Postgres) -> None:
    """Its connect_timeout is an hour here: were the hosts tried in turn, the test would not end."""
    name = postgres.database().rsplit("/", 1)[1]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hosts = f"127.0.0.1:{silent.getsockname()[1]},127.0.0.1:{postgres.port}"
        db = open_db(f"postgresql://seawall@{hosts}/{name}?connect_timeout=3600")
        assert db.sync_read(lambda c: c.execute(text("SELECT 1")).scalar_one()) == 1
        asyncio.run(db.close())
    both = f"postgresql://seawall@127.0.0.1:{free_port()},127.0.0.1:{postgres.port}/nosuch"
    with pytest.raises(UnavailableError, match="does not exist"):
        open_db(both, retry_seconds=3600).sync_read(lambda c: c.execute(text("SELECT 1")))
