"""Commands that write where nothing can be written: one line that names the place, exit code 1."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from seawall.process.commands import boundary
from tests.support.folders import open_folder
from tests.support.processes import PASSWORD, SEAWALL, clean_environment, free_port
from tests.support.registry import Registry

MOUNT = 'mount -t tmpfs -o size="$0" tmpfs "$1" && shift && exec "$@"'
FULL = "No space left on device"


class Place:
    """A folder with a file `file`, and a folder `small` that is a small file system for a command."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.patch = patch
        self.capsys = capsys
        self.small = root / "small"
        self.small.mkdir()
        (root / "file").write_text("")

    def refused(self, *arguments: str) -> str:
        """What a command says on one line; it must end with 1."""
        self.patch.setattr("sys.argv", ["seawall", *arguments])
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            boundary.main()
        return one_line(int(ended.value.code or 0), self.capsys.readouterr().err)

    def full(self, size: str, *arguments: str, then: str = "true") -> str:
        """The same where `small` is a file system of that size; `then` must print nothing."""
        command = ["unshare", "--mount", "sh", "-c", MOUNT, size, str(self.small)]
        inner = ["sh", "-c", f'"$@"; code=$?; {then}; exit $code', "sh", *SEAWALL, *arguments]
        done = subprocess.run(
            [*command, *inner], capture_output=True, text=True, timeout=300, check=False, cwd=self.root
        )
        assert done.stdout == ""
        return one_line(done.returncode, done.stderr)

    def harbor_yml(self, data: Path) -> str:
        """A harbor.yml whose data volume is `data`."""
        content = {"hostname": "localhost", "http": {"port": free_port()}, "data_volume": str(data)}
        (self.root / "harbor.yml").write_text(yaml.safe_dump(content))
        return str(self.root / "harbor.yml")


def one_line(code: int, said: str) -> str:
    assert code == 1, said
    assert said.startswith("seawall: "), said
    assert said.count("\n") == 1, said
    assert "internal error" not in said, said
    return said


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry on SQLite with a tiny image."""
    made = Registry(tmp_path_factory.mktemp("source") / "data", {"SEAWALL_JOBS__EMBEDDED": "false"})
    try:
        made.start()
        done = made.cli("demo", "library/app", "--url", made.url, stdin=PASSWORD + "\n")
        assert done.returncode == 0, done.stderr
        yield made
    finally:
        made.close()


@pytest.fixture
def place(
    source: Registry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Place]:
    with open_folder() as root:
        for name, value in clean_environment(
            SEAWALL_DATA_DIR=str(source.data_dir),
            SEAWALL_SOURCE_PASSWORD=PASSWORD,
            SEAWALL_TARGET_PASSWORD=PASSWORD,
        ).items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(root)
        yield Place(root, monkeypatch, capsys)


def test_backup_and_restore(place: Place, source: Registry) -> None:
    said = place.full("64k", "backup", str(place.small / "new"))
    assert str(place.small / "new") in said
    assert FULL in said
    assert "/sys/new: Operation not permitted" in place.refused("backup", "/sys/new")
    assert "file: Not a directory" in place.refused("backup", "file")
    assert "is not a complete backup" in place.refused("restore", "nowhere", "--data-dir", "elsewhere")
    kept = str(place.root / "kept")
    assert source.cli("backup", kept).returncode == 0
    said = place.full("64k", "restore", kept, "--data-dir", str(place.small / "new"))
    assert "there is no space left where the data directory is" in said
    assert "/sys/new: Operation not permitted" in place.refused("restore", kept, "--data-dir", "/sys/new")
    assert "Not a directory" in place.refused("restore", kept, "--data-dir", "file")


def test_demo_as_files(place: Place) -> None:
    said = place.full("8k", "demo", "--layout", str(place.small / "image"))
    assert f"{place.small / 'image'}: {FULL}" in said
    assert "/sys/new: Operation not permitted" in place.refused("demo", "--layout", "/sys/new")
    assert "Not a directory" in place.refused("demo", "--layout", "file")


def test_prepare(place: Place) -> None:
    out = str(place.root / "out")
    # A key that is half written would be kept by the next run, as any key is: there must be none.
    halves = f"find {place.small}/data/secret -type f -size -15c"
    harbor_yml = place.harbor_yml(place.small / "data")
    said = place.full("12k", "prepare", "-f", harbor_yml, "--output", out, then=halves)
    assert f"{place.small}/data/secret" in said
    assert FULL in said
    harbor_yml = place.harbor_yml(place.root / "data")
    said = place.full("4k", "prepare", "-f", harbor_yml, "--output", str(place.small / "out"))
    assert f"{place.small / 'out'}" in said
    assert FULL in said
    assert "/sys/new: Operation not permitted" in place.refused(
        "prepare", "-f", harbor_yml, "--output", "/sys/new"
    )


def test_migrations(place: Place, source: Registry) -> None:
    ends = ["--source", source.url, "--target", source.url]
    harbor = ["migrate-from-harbor", *ends, "--secrets-file"]
    assert "/sys/new: Permission denied" in place.refused(*harbor, "/sys/new")
    assert "file/new: Not a directory" in place.refused(*harbor, "file/new")
    assert "nowhere" in place.refused("migrate-from-registry", "--tree", "nowhere", "--target", source.url)


def test_output_that_nobody_can_take(place: Place) -> None:
    """Standard output is a file on a full disk."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*SEAWALL, "user", "list"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=300,
            check=False,
        )
    assert one_line(done.returncode, done.stderr) == f"seawall: {FULL}\n"
