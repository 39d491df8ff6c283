"""Threads for work that blocks, asked for by the event loop.

What `ThreadPoolExecutor` does, at a third of its processor time: nobody here waits for an answer in a thread,
so an answer is one call on the event loop, without a lock of its own. A push hands over a dozen times.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import queue
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
# What it gives is called when the thread is free again: the answer, so that who gets it finds the thread.
Job = Callable[[], Callable[[], None] | None]


class _Shared:
    """What the threads know. Not the object that gives them work: they end when that is gone."""

    def __init__(self) -> None:
        self.jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.lock = threading.Lock()
        self.threads: list[threading.Thread] = []
        # Jobs that are waiting or being done.
        self.under_way = 0
        self.closed = False

    def close(self) -> None:
        """Let each thread end when the jobs before are done."""
        with self.lock:
            if not self.closed:
                self.closed = True
                for _ in self.threads:
                    self.jobs.put(None)


class Threads:
    """Up to `size` threads, each started when there is work that no other is free for.

    They end when this object is gone, and never keep the process from ending.
    """

    def __init__(self, size: int, name: str) -> None:
        """`name`: what the threads' names begin with."""
        self._size = size
        self._name = name
        self._shared = _Shared()
        weakref.finalize(self, self._shared.close)

    def submit(self, job: Job) -> None:
        """Have `job` done, which must not raise. Raises RuntimeError when this is closed."""
        shared = self._shared
        with shared.lock:
            if shared.closed:
                raise RuntimeError("the threads are closed")
            if shared.under_way >= len(shared.threads) < self._size:
                self._grow()
            shared.under_way += 1
            shared.jobs.put(job)

    def _grow(self) -> None:
        threads = self._shared.threads
        name = f"{self._name}_{len(threads)}"
        thread = threading.Thread(target=_work, args=(self._shared,), name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # The system has no more; with some the work is done, later.
            if not threads:
                raise
        else:
            threads.append(thread)

    async def run(self, fn: Callable[..., T], *args: Any) -> T:
        """What `fn(*args)` gives in a thread, or raises there.

        A caller that is cancelled leaves it; it is not begun then, unless it was before.
        """
        answer = Answer()

        def job() -> Callable[[], None] | None:
            if not answer.wanted:
                return None
            try:
                value = fn(*args)
            except BaseException as error:
                return functools.partial(answer.fail, error)
            return functools.partial(answer.give, value)

        self.submit(job)
        return await answer.future  # type: ignore[no-any-return]

    def close(self, *, wait: bool = False) -> None:
        """Take no more work; `wait` until what there is has been done."""
        self._shared.close()
        if wait:
            for thread in self._shared.threads:
                thread.join()


class Answer:
    """Brings a value or an error from another thread to the event loop that made it; the first one counts."""

    __slots__ = ("_loop", "future")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self._loop.create_future()

    @property
    def wanted(self) -> bool:
        """Whether somebody still waits, as far as this thread knows."""
        return not self.future.done()

    def give(self, value: Any) -> None:
        """From any thread."""
        # RuntimeError: the event loop was closed, and nobody waits.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_give, self.future, value)

    def fail(self, error: BaseException) -> None:
        """From any thread."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_fail, self.future, error)


def _give(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


def _work(shared: _Shared) -> None:
    take, lock = shared.jobs.get, shared.lock
    while (job := take()) is not None:
        told = None
        try:
            told = job()
        except Exception as error:
            # Said as of a thread that ends with it; this one has others to serve.
            about = (type(error), error, error.__traceback__, threading.current_thread())
            threading.excepthook(threading.ExceptHookArgs(about))
        finally:
            # What the job holds must not live until the next one comes.
            del job
            with lock:
                shared.under_way -= 1
        if told is not None:
            told()
            told = None
