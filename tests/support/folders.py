"""Folders for tests of files that belong to somebody else."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that other users may look into, which pytest's own may not be; deleted afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="seawall-test-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
