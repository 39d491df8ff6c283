"""How pytest-xdist spreads the tests over its workers.

The tests of one file stay together, since they share what the file's fixtures start; so do those of folders
whose fixtures are costly, and those that measure the host, which must not run beside each other. What takes
longest goes first, so that no worker is left with it at the end.
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# Tests that stay together, by the starts of their ids; longest first.
_TOGETHER: dict[str, tuple[str, ...]] = {
    # Memory, network namespaces, a machine's worth of servers.
    "host": (
        "tests/system/cluster/test_chaos.py",
        "tests/system/sites/test_dr_sites.py",
        "tests/system/cluster/test_storage.py",
        "tests/system/host/",
    ),
    "portal": ("tests/system/portal/",),
    "replication": ("tests/system/replication/",),
    "deploy": ("tests/system/deploy/",),
    "clients": ("tests/system/clients/",),
    # One registry for all of them.
    "harbor": ("tests/system/harbor/",),
}
# Files follow in this order of folders.
_FOLDERS = ("tests/system/", "tests/component/web/harbor/", "tests/component/", "tests/")


class Spread(LoadScopeScheduling):  # type: ignore[misc]
    """Scopes are files, and the groups of `_TOGETHER`."""

    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid)


def scope(nodeid: str) -> str:
    """What the test stays together with: the name of a group or its file."""
    for name, starts in _TOGETHER.items():
        if nodeid.startswith(starts):
            return name
    return nodeid.partition("::")[0]


def sort(items: list[pytest.Item]) -> None:
    """Put what takes longest first; the tests of one scope keep their order."""
    groups = list(_TOGETHER)

    def place(item: pytest.Item) -> int:
        name = scope(item.nodeid)
        if name in groups:
            return groups.index(name)
        return len(groups) + next(n for n, folder in enumerate(_FOLDERS) if name.startswith(folder))

    items.sort(key=place)


def scheduler(config: pytest.Config, log: Any) -> Spread:
    """The scheduler of a run with `-n`."""
    # xdist would order scopes by their number of tests: the longest have few.
    config.option.loadscopereorder = False
    return Spread(config, log)
