"""What is on disk is for the registry's own account."""

from __future__ import annotations

import stat
from pathlib import Path

from tests.support.registry import Registry


def others(folder: Path) -> list[str]:
    """What other accounts than the owner could reach: files in folders that are open to them, and those."""
    found = []
    for path in [folder, *folder.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        closed = any(not stat.S_IMODE(p.stat().st_mode) & 0o077 for p in [path, *path.parents])
        if mode & 0o077 and not closed:
            found.append(f"{path} {mode:o}")
    return found


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_data_and_backups_are_private(fresh_registry: Registry, tmp_path: Path) -> None:
    data = fresh_registry.data_dir
    # As an older version left it.
    data.mkdir(parents=True, exist_ok=True)
    data.chmod(0o755)
    (data / "seawall.db").touch(0o644)
    fresh_registry.start()
    assert mode_of(data) == 0o700
    assert mode_of(data / "seawall.db") == 0o600
    for path in data.glob("seawall.db-*"):
        assert mode_of(path) == 0o600
    backup = tmp_path / "backup"
    backup.mkdir(mode=0o755)
    done = fresh_registry.cli("backup", str(backup))
    assert done.returncode == 0, done.stderr
    assert mode_of(backup) == 0o700
    files = [path for path in backup.rglob("*") if path.is_file()]
    assert files
    assert {mode_of(path) for path in files} == {0o600}
