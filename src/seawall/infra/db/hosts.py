"""The hosts of a PostgreSQL URL: which one to use, and when to leave it.

A server can stop answering while its kernel still acknowledges every packet (a stuck disk, a paused virtual
machine). No keepalive finds that out, and no timeout of the server's own ends a statement there. So a thread
watches what is waited for:

* When an answer takes longer than `_PATIENCE`, every host is asked on a new connection. If the host of the
  waiting statement is silent and another one takes writes, or if it stays silent for `_SILENCE`, every
  connection to it is closed, and those that wait on one get psycopg.OperationalError.
* A promotion starts a new timeline. Hosts are asked for it now and then, and a server with an older timeline
  than the newest one seen is left at once and never connected to again: an old primary that wakes up still
  believes that it takes writes.
* A statement that takes longer than its limit is given up, also while the server answers others.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from seawall.infra.db.faults import refused
from seawall.infra.db.watched import Standing, WatchedConnection

_HEAD_START = 0.3
# How long the first connection of a process waits for the other hosts' answers, to compare timelines.
_COMPARE = 1.0
_PATIENCE = 1.5
_SILENCE = 5.0
_LOOK = 0.25
# Time between two surveys: while somebody waits, and otherwise (only where there are several hosts).
_SURVEY_WAITING = 1.0
_SURVEY_CALM = 5.0
_SURVEY_TIMEOUT = 2
# A server that cannot tell (another product that speaks the protocol) is not compared.
STANDING = (
    "SELECT (SELECT system_identifier FROM pg_control_system())::text,"
    " ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int"
)


class Hosts:
    """Connects to whichever host takes writes, and watches the connections.

    libpq would try the hosts one after the other, and one that is cut off costs it `connect_timeout` each
    time. Here the host that was right the last time gets a head start, then all are tried at once.
    `on_leave` is called, from a thread of its own, after connections were left.
    """

    def __init__(self, conninfo: str, on_leave: Callable[[], None] | None = None) -> None:
        params = {key: str(value) for key, value in conninfo_to_dict(conninfo).items()}
        hosts = params.get("host", "").split(",")
        ports = params.get("port", "").split(",")
        self.each = [conninfo]
        if len(hosts) > 1 and "hostaddr" not in params:
            ports = ports * len(hosts) if len(ports) == 1 else ports
            self.each = [
                make_conninfo("", **{**params, "host": host, "port": port or "5432"})
                for host, port in zip(hosts, ports, strict=True)
            ]
        self._best: int | None = None if len(self.each) > 1 else 0
        self._lock = threading.Lock()
        self._newest: Standing | None = None
        self._open: weakref.WeakSet[WatchedConnection] = weakref.WeakSet()
        self._silent: dict[int, float] = {}
        self._surveyed = 0.0
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self.on_leave = on_leave
        # Counts how often connections were left for another server: then trying again is worth it.
        self.moves = 0

    def connect(self) -> WatchedConnection:
        """A connection in autocommit mode. Raises psycopg.OperationalError when no host takes writes."""
        connection = self._race()
        with self._lock:
            self._open.add(connection)
            if self._thread is None and not self._closed.is_set():
                self._surveyed = time.monotonic()
                watch = weakref.ref(self)
                self._thread = threading.Thread(target=_watch, args=(watch,), name="db-watch", daemon=True)
                self._thread.start()
        return connection

    def _race(self) -> WatchedConnection:
        best = self._best
        race = _Race(self)
        if len(self.each) == 1:
            return race.attempt(0)
        if best is None:
            # Two may take writes: the newest one is found only by asking all.
            race.start(range(len(self.each)))
            race.wait(len(self.each))
            race.settle(len(self.each), _COMPARE)
        else:
            race.start([best])
            if race.wait(1, _HEAD_START) is None:
                race.start(index for index in range(len(self.each)) if index != best)
                race.wait(len(self.each))
        connection = race.end()
        self._best = connection.host
        return connection

    def accept(self, connection: WatchedConnection) -> None:
        """Note a new connection's server. Raises psycopg.OperationalError for one that was superseded."""
        connection.standing = found = _standing(connection)
        if found is None:
            return
        with self._lock:
            if found.older(self._newest):
                assert self._newest is not None
                raise psycopg.OperationalError(
                    f"this server was superseded (timeline {found.timeline}, the newest is "
                    f"{self._newest.timeline}); nothing is written to it"
                )
            self._newest = found

    def current(self, connection: WatchedConnection) -> bool:
        """Whether a connection's server is, as far as is known, the newest one."""
        return connection.standing is None or not connection.standing.older(self._newest)

    def superseded(self, system: str, timeline: int) -> bool:
        """Whether a server that says so of itself is older than the newest one seen."""
        return Standing(system, timeline).older(self._newest)

    def close(self) -> None:
        """Stop watching and leave every connection."""
        self._closed.set()
        self._leave(list(self._open), "the database is being closed")

    # -- the watch -----------------------------------------------------------------------------------

    def look(self) -> bool:
        """One look at what waits. Returns whether to go on."""
        if self._closed.is_set():
            return False
        now = time.monotonic()
        with self._lock:
            connections = list(self._open)
        waiting = [item for item in connections if item.waits_since and now - item.waits_since > _PATIENCE]
        pause = _SURVEY_WAITING if waiting else _SURVEY_CALM
        if (waiting or (len(self.each) > 1 and connections)) and now - self._surveyed > pause:
            self._survey(connections, {item.host for item in waiting})
            self._surveyed = time.monotonic()
        return True

    def _survey(self, connections: list[WatchedConnection], waited_for: set[int]) -> None:
        began = time.monotonic()
        answers = self._ask_all()
        writable = {index: found for index, found in answers.items() if isinstance(found, Standing | None)}
        for index, found in writable.items():
            if found is not None:
                with self._lock:
                    newer = self._newest is None or self._newest.older(found)
                    if newer or self._newest == found:
                        self._newest, self._best = found, index
        for index, answer in answers.items():
            if isinstance(answer, TimeoutError):
                self._silent.setdefault(index, began)
            else:
                self._silent.pop(index, None)
        old = [item for item in connections if not self.current(item)]
        silent = {
            index
            for index in waited_for & set(self._silent)
            if any(self._usable(answers, other) for other in writable if other != index)
            or time.monotonic() - self._silent[index] > _SILENCE
        }
        if old:
            self._leave(old, "another server was promoted")
        if silent:
            self._leave([item for item in connections if item.host in silent], "the server does not answer")

    def _usable(self, answers: dict[int, Any], index: int) -> bool:
        found = answers[index]
        return found is None or not found.older(self._newest)

    def _leave(self, connections: list[WatchedConnection], reason: str) -> None:
        if not connections:
            return
        self.moves += 1
        for item in connections:
            item.leave(reason)
        with self._lock:
            for item in connections:
                self._open.discard(item)
        if self.on_leave is not None:
            self.on_leave()

    def _ask_all(self) -> dict[int, Standing | Exception | None]:
        """What each host says on a new connection; TimeoutError for one that is silent."""
        answers: dict[int, Standing | Exception | None] = {}

        def ask(index: int) -> None:
            answers[index] = self._ask(index)

        threads = [
            threading.Thread(target=ask, args=(index,), daemon=True) for index in range(len(self.each))
        ]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + _SURVEY_TIMEOUT + 0.5
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        found = dict(answers)
        return {index: found.get(index, TimeoutError()) for index in range(len(self.each))}

    def _ask(self, index: int) -> Standing | Exception | None:
        conninfo = make_conninfo(self.each[index], connect_timeout=_SURVEY_TIMEOUT)
        try:
            with contextlib.closing(WatchedConnection.connect(conninfo, autocommit=True)) as connection:
                connection.limit = _SURVEY_TIMEOUT
                found = _standing(connection)
                return TimeoutError() if connection.closed else found
        except psycopg.errors.ConnectionTimeout:
            return TimeoutError()
        except psycopg.Error as error:
            # A standby, or one that has too many clients: it answers.
            return error


def _standing(connection: WatchedConnection) -> Standing | None:
    limit, connection.limit = connection.limit, _SURVEY_TIMEOUT
    try:
        row = connection.execute(STANDING).fetchone()
    except psycopg.Error:
        return None
    finally:
        connection.limit = limit
    return Standing(row[0], row[1]) if row else None


def _watch(watched: weakref.ref[Hosts]) -> None:
    while True:
        time.sleep(_LOOK)
        hosts = watched()
        if hosts is None:
            return
        with contextlib.suppress(psycopg.Error, OSError, RuntimeError):
            if not hosts.look():
                return
        del hosts


class _Race:
    """Attempts to connect; the best connection is kept, the others are closed."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._changed = threading.Condition()
        self._found: list[WatchedConnection] = []
        self._errors: list[Exception] = []
        self._over = False

    def attempt(self, index: int) -> WatchedConnection:
        """One attempt. Raises psycopg.Error."""
        connection = WatchedConnection.connect(self._hosts.each[index], autocommit=True)
        connection.host = index
        try:
            self._hosts.accept(connection)
            if connection.closed:
                raise psycopg.OperationalError("connection timeout expired")
        except BaseException:
            connection.close()
            raise
        return connection

    def start(self, indexes: Any) -> None:
        """Begin an attempt at each host."""
        for index in indexes:
            threading.Thread(target=self._run, args=(index,), daemon=True).start()

    def _run(self, index: int) -> None:
        try:
            connection = self.attempt(index)
        except Exception as error:
            with self._changed:
                self._errors.append(error)
                self._changed.notify_all()
            return
        with self._changed:
            late = self._over
            if not late:
                self._found.append(connection)
                self._changed.notify_all()
        if late:
            connection.close()

    def wait(self, attempts: int, seconds: float | None = None) -> WatchedConnection | None:
        """The first one; None when `attempts` attempts failed or `seconds` went by."""
        with self._changed:
            self._changed.wait_for(lambda: self._found or len(self._errors) >= attempts, seconds)
            return self._found[0] if self._found else None

    def settle(self, attempts: int, seconds: float) -> None:
        """Wait up to `seconds` for the attempts that have not ended."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._found) + len(self._errors) >= attempts, seconds)

    def end(self) -> WatchedConnection:
        """The connection to the newest server. Raises an error that waiting cannot help first."""
        with self._changed:
            self._over = True
            found = self._found
        if not found:
            lasting = [error for error in self._errors if refused(error)]
            raise (lasting or self._errors)[0]
        best = max(found, key=lambda item: item.standing.timeline if item.standing else 0)
        # A server may have turned out to be superseded after it was taken.
        best = best if self._hosts.current(best) else max(found, key=self._hosts.current)
        for item in found:
            if item is not best:
                item.close()
        return best
