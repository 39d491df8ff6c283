"""Work of requests on PostgreSQL, queued for the connections of its kind."""

from __future__ import annotations

import threading
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from seawall.infra.threads import Answer, Threads
from seawall.kernel.errors import UnavailableError

if TYPE_CHECKING:
    from seawall.infra.db.hosts import Hosts

# How long a request waits for its turn, and how long for its commit.
ANSWER_SECONDS = 10.0
# How long it waits for its turn while others of its kind are answered: the database is only busy then.
BUSY_SECONDS = 30.0
_ANSWERING_SECONDS = 2.0
# When the current task's last wait for a database that is away ended (monotonic).
waited_until: ContextVar[float] = ContextVar("waited_until", default=-1e9)
# Since when the current task's question has waited before it is asked (monotonic; 0: it has not).
asked_at: ContextVar[float] = ContextVar("asked_at", default=0.0)


class Work:
    """A request's work: whether it is committing, and whether somebody still waits for it."""

    def __init__(self, deadline: float, queued: float = 0.0, answer: Answer | None = None) -> None:
        """`answer`: None for a caller that waits in its own thread."""
        self.deadline = deadline
        self.lock = threading.Lock()
        # Monotonic times: queued, and since when the commit waits (0: it does not).
        self.queued = queued or time.monotonic()
        self.started = False
        self.commits_since = 0.0
        self.given_up = False
        self.settled = False
        self._answer = answer

    @property
    def wanted(self) -> bool:
        """Whether somebody still waits for the answer."""
        return self._answer is None or self._answer.wanted

    def begin_commit(self) -> None:
        """Raises UnavailableError when nobody waits any more: then nothing must happen."""
        with self.lock:
            if self.given_up:
                raise UnavailableError("the request was given up")
            self.commits_since = self.commits_since or time.monotonic()

    def give_up(self, now: float, answered: float) -> None:
        """Answer the request if it has waited too long for its turn or its commit.

        `answered`: when a request of its kind was answered last (monotonic).
        """
        longest = BUSY_SECONDS if now - answered < _ANSWERING_SECONDS else ANSWER_SECONDS
        with self.lock:
            if self.settled or self.given_up or not self.wanted:
                return
            if not self.started and now - self.queued > longest:
                reason = "no database connection became free"
            elif self.commits_since and now - self.commits_since > ANSWER_SECONDS:
                reason = "database does not confirm the commit; whether it happened is not known"
            else:
                return
            self.given_up = True
        self.settle(error=UnavailableError(reason))

    def settle(self, value: Any = None, error: BaseException | None = None) -> None:
        """Give the answer, unless it was given, or nobody wants it."""
        self.settled = True
        if self._answer is None:
            return
        if error is None:
            self._answer.give(value)
        else:
            self._answer.fail(error)


class Lane:
    """Connections for one kind of work, and a thread for each."""

    def __init__(
        self, hosts: Hosts, size: int, name: str, statement_seconds: int, pool_seconds: float
    ) -> None:
        """`name`: of its threads; after the last dash it is the pool's in metrics."""
        self.pool = name.rpartition("-")[2]
        self.size = size
        # Not above: embedded instances queue nothing here, and need no psycopg.
        from seawall.infra.db.connections import pooled_engine

        self.engine = pooled_engine(
            hosts,
            size,
            statement_seconds=statement_seconds,
            lock_seconds=10,
            idle_seconds=30,
            pool_seconds=pool_seconds,
            autocommit=True,
        )
        self.auto = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self.threads = Threads(size, name)
        self.works: set[Work] = set()
        # When the database answered last here (monotonic).
        self.answered = 0.0
