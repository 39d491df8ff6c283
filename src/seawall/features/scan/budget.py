"""How much processor time parsing a layer may take, checked inside the parsers too."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

from seawall.features.scan.model import MIB, Limits
from seawall.features.scan.parsers.base import ParseError, TooMuchError

_AGAIN = 0.05


class Budget:
    """Of one layer.

    A signal of the process's own clock ends a parser wherever it is; so it works on the main thread only,
    which is where the worker parses. Elsewhere a parser is judged once it returns.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._left = float(limits.parse_seconds)
        self._spent = False

    @contextlib.contextmanager
    def parsing(self, size: int) -> Iterator[None]:
        """Parse `size` bytes inside. Raises TooMuchError when the layer's time is used up."""
        self._left += size / MIB
        if self._left <= 0:
            raise TooMuchError("the layer takes too long to read")
        start = time.process_time()
        armed = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGPROF, self._ring) if armed else None
        try:
            if armed:
                # Again and again: what is raised within a callback of C code may be lost there.
                signal.setitimer(signal.ITIMER_PROF, self._left, _AGAIN)
            yield
        except ParseError:
            # What the signal raised, as a library passed it on.
            if self._spent:
                raise TooMuchError("the layer takes too long to read") from None
            raise
        finally:
            if armed:
                signal.setitimer(signal.ITIMER_PROF, 0)
                signal.signal(signal.SIGPROF, before)
            self._left -= time.process_time() - start
        if self._spent or self._left < 0:
            raise TooMuchError("the layer takes too long to read")

    def _ring(self, _signal: int, _frame: FrameType | None) -> None:
        self._spent = True
        raise TooMuchError("the layer takes too long to read")
