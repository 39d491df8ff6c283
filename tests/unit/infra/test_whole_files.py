"""Files that are there whole or not at all: killed at every step, on a full disk, written by two at once."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from seawall.infra.private import write_whole
from seawall.infra.secrets.carry import replace_file
from seawall.infra.secrets.master import load_master_key
from seawall.infra.settings import Settings
from tests.support.killed import kill_everywhere

OLD = b"the old content"
NEW = b"the new content, which is longer"


@pytest.mark.parametrize("write", [write_whole, replace_file])
def test_killed_at_every_step(tmp_path: Path, write: Callable[[Path, bytes], object]) -> None:
    path = tmp_path / "key"
    seen = set()

    def look() -> None:
        seen.add(path.read_bytes())

    steps = kill_everywhere(tmp_path, lambda: path.write_bytes(OLD), lambda: write(path, NEW), look)
    assert steps >= 3
    assert seen == {OLD, NEW}


def test_a_first_start_killed_at_every_step(tmp_path: Path) -> None:
    data = tmp_path / "data"
    settings = Settings(data_dir=data)
    seen = set()

    def look() -> None:
        before = (data / "master.key").read_bytes() if (data / "master.key").exists() else None
        key = load_master_key(settings)
        seen.add(before is None)
        assert len(key) == 32
        assert before in (None, base64.b64encode(key) + b"\n")

    steps = kill_everywhere(
        tmp_path, lambda: shutil.rmtree(data, ignore_errors=True), lambda: load_master_key(settings), look
    )
    assert steps >= 4
    assert seen == {True, False}


def test_nothing_is_left_where_it_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(OSError, match="folder") as refused:
        write_whole(path, NEW)
    assert refused.value.filename == str(path)
    with pytest.raises(OSError, match="nowhere"):
        write_whole(tmp_path / "nowhere" / "key", NEW)
    assert os.listdir(tmp_path) == ["folder"]


def test_of_two_one_wins(tmp_path: Path) -> None:
    path = tmp_path / "key"
    assert write_whole(path, OLD, replace=False)
    assert not write_whole(path, NEW, replace=False)
    assert path.read_bytes() == OLD
    assert write_whole(path, NEW, mode=0o640)
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["key"]
