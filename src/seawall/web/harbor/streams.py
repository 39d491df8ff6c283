"""Event streams: those that are open in this process, and what each may hear.

One task looks once a second, for all streams of the process together, and only while there are any. It reads
what changed, then the sessions and rights as they are after that, and gives each stream what its caller may
see now. A stream keeps no list that grows: what waits is what is to be asked for again, each once, and beyond
a number "everything".
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from seawall.access.access import may_system
from seawall.access.onlookers import Rights, rights
from seawall.access.principal import Principal
from seawall.access.sessions import Session, SessionStore
from seawall.access.sources import Sources
from seawall.infra import telemetry
from seawall.infra.db import Database
from seawall.infra.live.events import Event
from seawall.infra.live.feed import Feed
from seawall.web.harbor.errors import ApiError

log: Any = structlog.get_logger("seawall")

# What a caller needs in the event's project, or in the system.
IN_PROJECT = {
    "artifact": ("artifact", "list"),
    "scan": ("scan", "read"),
    "retention": ("tag-retention", "list"),
    "preheat": ("preheat-policy", "list"),
    "webhook": ("notification-policy", "list"),
}
IN_SYSTEM = {
    "replication": ("replication", "list"),
    "gc": ("garbage-collection", "list"),
    "purge": ("purge-audit", "list"),
    "scan-all": ("scan-all", "read"),
    "job": ("jobservice-monitor", "list"),
}
LOOK_SECONDS = 1.0
# How long an ended session may keep its stream when nothing happens.
CHECK_SECONDS = 4.0
# A browser's stream; it comes back, perhaps to another instance. Others show their credentials again.
_SESSION_SECONDS = 1800.0
_CREDENTIALS_SECONDS = 120.0
# More waiting events than this are "everything".
MOST_WAITING = 128
OPEN = telemetry.Gauge("seawall_event_streams", "Event streams that are open")
REFUSED = telemetry.Counter(
    "seawall_event_streams_refused_total", "Event streams that were refused", ["bound"]
)


@dataclass(eq=False, slots=True)
class Stream:
    """One caller's stream: what waits to be sent."""

    caller: Principal
    # `id_hash` of the session; "" for callers with credentials.
    session: str
    ends_at: float
    waiting: dict[tuple[Event, str], None] = field(default_factory=dict)
    everything: bool = False
    # Why it ends, once it does: session, renew or drain.
    ended: str = ""
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, event: Event, project: str) -> None:
        """Let the stream tell of `event`, in the project of that name."""
        if not self.everything:
            self.waiting[event, project] = None
            if len(self.waiting) > MOST_WAITING:
                self.refetch()
            self._news.set()

    def refetch(self) -> None:
        """Let the stream say that everything may have changed."""
        self.waiting.clear()
        self.everything = True
        self._news.set()

    def end(self, reason: str) -> None:
        """End the stream. A reason that was given first stays."""
        self.ended = self.ended or reason
        if reason == "session":
            # What waits was allowed to somebody who is signed in no more.
            self.waiting.clear()
            self.everything = False
        self._news.set()

    async def news(self, seconds: float) -> bool:
        """Whether there is something to send, waited for so long."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), seconds)
            self._news.clear()
            return True
        return False

    def take(self) -> tuple[list[tuple[Event, str]], bool]:
        """What waits, and whether it is everything; nothing waits afterwards."""
        taken, everything = list(self.waiting), self.everything
        self.waiting.clear()
        self.everything = False
        return taken, everything


class Streams:
    """The streams of a server process."""

    def __init__(
        self,
        db: Database,
        feed: Feed,
        sessions: SessionStore,
        sources: Sources,
        draining: Callable[[], bool],
        *,
        most: int,
        most_of_caller: int,
    ) -> None:
        """`most`, `most_of_caller`: how many there may be, in all and of one caller."""
        self._db = db
        self._feed = feed
        self._sessions = sessions
        self._sources = sources
        self._draining = draining
        self._most = most
        self._most_of_caller = most_of_caller
        self._streams: set[Stream] = set()
        self._of_caller: Counter[tuple[str, int]] = Counter()
        self._task: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def open(self, caller: Principal, session: str) -> Iterator[Stream]:
        """A stream while the block runs. Raises ApiError 429, and 503 while this process ends."""
        key = caller.kind, caller.id
        if self._draining():
            raise ApiError(503, "this instance is stopping", headers={"Retry-After": "1"})
        if self._of_caller[key] >= self._most_of_caller:
            REFUSED.inc("caller")
            raise ApiError(429, "too many event streams of this user", headers={"Retry-After": "30"})
        if len(self._streams) >= self._most:
            REFUSED.inc("process")
            raise ApiError(429, "too many event streams at this instance", headers={"Retry-After": "30"})
        life = _SESSION_SECONDS if session else _CREDENTIALS_SECONDS
        # Not all at once, where all of them began at once.
        stream = Stream(caller, session, time.monotonic() + life * random.uniform(0.8, 1))  # noqa: S311
        self._streams.add(stream)
        self._of_caller[key] += 1
        OPEN.set(len(self._streams))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look(), name="event streams")
        try:
            yield stream
        finally:
            self._streams.discard(stream)
            self._of_caller[key] -= 1
            if not self._of_caller[key]:
                del self._of_caller[key]
            OPEN.set(len(self._streams))

    async def _look(self) -> None:
        self._feed.forget()
        missed, checked = False, 0.0
        while self._streams:
            try:
                if self._draining():
                    for stream in self._streams:
                        stream.end("drain")
                events = await self._feed.changes()
                missed = missed or events is None
                if events or missed or time.monotonic() - checked >= CHECK_SECONDS:
                    # What is read now of sessions and rights is newer than the events.
                    await self._tell(events or [], missed)
                    checked = time.monotonic()
                missed = False
            except Exception as error:
                # Streams stay open and say nothing; afterwards everything is asked for again.
                if not missed:
                    log.warning("event streams: cannot look", error=f"{type(error).__name__}: {error}")
                missed = True
            await asyncio.sleep(LOOK_SECONDS)

    async def _tell(self, events: Sequence[Event], everything: bool) -> None:
        streams = list(self._streams)
        alive = await self._alive({stream.session for stream in streams} - {""})
        projects = {event.project_id for event in events} - {None}
        callers = {stream.caller for stream in streams}
        now = await self._db.read(lambda c: rights(c, callers, {key for key in projects if key is not None}))
        for stream in streams:
            caller = now.callers.get(stream.caller)
            session = alive.get(stream.session)
            if caller is None or (stream.session and session is None):
                stream.end("session")
                continue
            if session is not None and session.data.get("admin"):
                caller = replace(caller, sysadmin=True)
            if time.monotonic() >= stream.ends_at:
                stream.end("renew")
            if everything:
                stream.refetch()
            for event in events:
                project = visible(event, caller, now)
                if project is not None:
                    stream.put(event, project)

    async def _alive(self, hashes: set[str]) -> dict[str, Session]:
        found = await self._sessions.alive(hashes) if hashes else {}
        # A source that is gone or switched off lets nobody in any more.
        named = {session.data.get("source") for session in found.values()} - {None, ""}
        off = {name for name in named if not await self._sources.is_enabled(str(name))}
        return {key: item for key, item in found.items() if item.data.get("source") not in off}


def visible(event: Event, caller: Principal, now: Rights) -> str | None:
    """The name of the event's project ("" without one); None unless the caller may know of the event."""
    if event.user_id is not None:
        # A token for some projects is not shown what its user has of all of them.
        limited = caller.limits is not None and caller.limits.projects is not None
        return "" if caller.kind == "user" and caller.id == event.user_id and not limited else None
    if event.project_id is None:
        right = IN_SYSTEM.get(event.kind)
        return "" if right is not None and may_system(caller, *right) else None
    right, project = IN_PROJECT.get(event.kind), now.projects.get(event.project_id)
    if right is None or project is None or not now.may(caller, project, *right):
        return None
    return project.name
