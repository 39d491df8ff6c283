"""Servers that serve a whole run of tests, and rest while a test runs that does not use them.

A started Seawall looks for jobs, events and settings twice a second, whether or not anybody calls it. Each
worker has several that live as long as the run; together they took half of the processors' time.
"""

from __future__ import annotations

import contextlib
import os
import signal

import pytest

from tests.support.registry import Registry

# By the fixture that gives it and that fixture's parameter (its database), if it has one.
_kept: dict[tuple[str, str], Registry] = {}
_resting: set[tuple[str, str]] = set()
# The file that used it last: what the file's fixtures end may use it too.
_users: dict[tuple[str, str], str] = {}


def keep(server: Registry, fixture: str, parameter: str = "") -> None:
    """Let this started server rest while no test uses the fixture with this parameter."""
    _kept[fixture, parameter] = server


def forget(server: Registry) -> None:
    """Wake the server: its fixture ends it."""
    for key in [key for key, other in _kept.items() if other is server]:
        _signal(key, signal.SIGCONT)
        _resting.discard(key)
        del _kept[key]


def before(item: pytest.Item) -> None:
    """Wake what this test uses, and let the others rest; before the test's own fixtures are made."""
    names = set(getattr(item, "fixturenames", ()))
    database = str(getattr(getattr(item, "callspec", None), "params", {}).get("database", ""))
    file = item.nodeid.partition("::")[0]
    for key in _kept:
        fixture, parameter = key
        if fixture in names and parameter in ("", database):
            _users[key] = file
            if key in _resting:
                _signal(key, signal.SIGCONT)
                _resting.discard(key)
        elif key not in _resting and _users.get(key) != file:
            _signal(key, signal.SIGSTOP)
            _resting.add(key)


def _signal(key: tuple[str, str], number: signal.Signals) -> None:
    process = _kept[key].process
    if process is not None:
        with contextlib.suppress(ProcessLookupError):
            # A server leads a group, its processes are in it.
            os.killpg(process.pid, number)
