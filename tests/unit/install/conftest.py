"""`prepare` tries files as the user who will run Seawall, who must get at them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.folders import open_folder


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder that other users may look into."""
    with open_folder() as folder:
        yield folder
