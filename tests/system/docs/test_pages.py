"""Every page's commands as written, in the order in which a reader meets them, a fresh machine each walk."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.docs.machine import walk
from tests.support.docs.walks import WALKS
from tests.support.folders import open_folder

pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize("name", [item.name for item in WALKS])
def test_walk(name: str) -> None:
    (journey,) = [item for item in WALKS if item.name == name]
    with open_folder() as folder:
        said = walk(journey, Path(folder))
    assert "Traceback" not in said
