"""`prepare` and a migration's state, killed at every step: the next run finishes what was begun."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest
import yaml

from seawall.install import key_files
from seawall.install.certificates import check_pair
from seawall.install.key_files import Folders, key_paths, make_keys
from seawall.install.owner import Owner, owner_of
from seawall.install.prepare import prepare
from seawall.install.registry_move import State
from seawall.install.report import PrepareReport
from seawall.kernel.errors import ConfigError
from tests.support.killed import kill_everywhere, killed_at


def test_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Ourselves, and one pair for all: to become somebody else, and to make a pair, takes long.
    folders = Folders(Owner("", os.geteuid(), os.getegid()))
    pair = key_files._signing_pair()
    monkeypatch.setattr(key_files, "_signing_pair", lambda: pair)
    data = tmp_path / "data"
    paths = key_paths(data)
    alone = set()

    def look() -> None:
        before = {name: path.read_bytes() for name, path in paths.items() if path.exists()}
        alone.add(frozenset(before))
        make_keys(data, folders, PrepareReport())
        check_pair(paths["root_crt"], paths["private_key"])
        assert not list(data.rglob("*.new"))
        sizes = {name: len(paths[name].read_bytes()) for name in ("master", "secret", "csrf")}
        assert sizes == {"master": 45, "secret": 16, "csrf": 32}
        for name, content in before.items():
            assert paths[name].read_bytes() == content, f"{name} was there and is another one now"

    steps = kill_everywhere(
        data / "secret",
        lambda: shutil.rmtree(data, ignore_errors=True),
        lambda: make_keys(data, folders, PrepareReport()),
        look,
    )
    assert steps > 30
    # It was also killed between the two that belong together.
    assert any(len(names & {"private_key", "root_crt"}) == 1 for names in alone)


def test_what_was_begun_does_not_mix_with_a_key_that_was_brought(tmp_path: Path) -> None:
    folders = Folders(owner_of("seawall"))
    for name in ("a", "b"):
        make_keys(tmp_path / name, folders, PrepareReport())
    begun, brought = key_paths(tmp_path / "a"), key_paths(tmp_path / "b")
    journal = begun["private_key"].with_name(".private_key.pem.new")
    journal.write_bytes(begun["private_key"].read_bytes() + begun["root_crt"].read_bytes())
    begun["root_crt"].unlink()
    shutil.copy(brought["private_key"], begun["private_key"])
    with pytest.raises(ConfigError, match="they belong together"):
        make_keys(tmp_path / "a", folders, PrepareReport())


def test_files(tmp_path: Path) -> None:
    """All of `prepare`: some of its steps, for there are many."""
    content = {"hostname": "reg", "http": {"port": 80}, "data_volume": str(tmp_path / "data")}
    file = tmp_path / "harbor.yml"
    file.write_text(yaml.safe_dump(content))
    output = tmp_path / "out"

    def work() -> None:
        prepare(file, output)

    work()
    wanted = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    step = 1
    while True:
        shutil.rmtree(output)
        died = killed_at(step, output, work)
        for path in output.rglob("*"):
            if path in wanted:
                assert path.read_bytes() == wanted[path], path
        if not died:
            break
        work()
        assert all(path.read_bytes() == content for path, content in wanted.items())
        step += 23
    assert step > 20


def test_the_state_of_a_migration(tmp_path: Path) -> None:
    path = tmp_path / "state.json"

    def save(name: str) -> None:
        state = State(path)
        state.of(name)["sha256:1"] = "/v2/p/r/blobs/uploads/1"
        asyncio.run(state.save())

    steps = kill_everywhere(tmp_path, lambda: save("p/old"), lambda: save("p/new"), lambda: State(path))
    assert steps > 3
    assert path.stat().st_mode & 0o777 == 0o600
