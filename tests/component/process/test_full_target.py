"""Commands that write where nothing can be written: one line that names the place, exit code 1."""

from __future__ import annotations

import base64
import subprocess
import sys
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


BAD_PLACES = [
    ("/sys/new", "/sys/new: Permission denied; run it as a user who may, or name another place"),
    ("small", "small: Is a directory; name a file"),
    ("file/new", "file/new: Not a directory; a part of this path is a file"),
    ("nowhere/new", "nowhere/new: No such file or directory; correct the path, or make it first"),
]


@pytest.mark.parametrize(("where", "said"), BAD_PLACES)
def test_a_file_that_cannot_be_written(place: Place, source: Registry, where: str, said: str) -> None:
    """Each option that names a file to write is tried before anything is done."""
    ends = ["--source", source.url, "--target", source.url]
    before = sorted(place.root.rglob("*"))
    for command in (
        ["bundle", "--output"],
        ["migrate-from-harbor", *ends, "--secrets-file"],
        ["migrate-from-registry", *ends, "--type", "seawall", "--source-user", "admin", "--state"],
    ):
        assert said in place.refused(*command, where), command
    place.patch.setenv("SEAWALL_MASTER_KEY", base64.b64encode(bytes(32)).decode())
    if where != "nowhere/new":  # which it makes
        refused = place.refused("dr", "witness", "--port", str(free_port()), "--state", where)
        assert where in refused
    assert sorted(place.root.rglob("*")) == before


def in_small(place: Place, script: str) -> str:
    """What a script prints where `small`, its first argument, is a file system of 8 KiB."""
    command = ["unshare", "--mount", "sh", "-c", MOUNT, "8k", str(place.small), sys.executable, "-c"]
    done = subprocess.run(
        [*command, script, str(place.small)], capture_output=True, text=True, timeout=300, check=True
    )
    return done.stdout


def test_a_bundle_that_does_not_fit(place: Place) -> None:
    """Nothing is left of it, and an older one stays. (The wheels before it take minutes.)"""
    said = in_small(
        place,
        "import os, sys, pathlib; from seawall.install import bundle\n"
        "old = pathlib.Path(sys.argv[1], 'b.tar.gz'); old.write_text('old')\n"
        "try: bundle._tar(old, 'top', {'a': (os.urandom(9000), 0o644)})\n"
        "except OSError as error: print(error.filename, error.strerror)\n"
        "print(os.listdir(sys.argv[1]), old.read_text())\n",
    )
    assert said == f"{place.small}/b.tar.gz {FULL}\n['b.tar.gz'] old\n"


def test_the_state_of_a_migration(place: Place) -> None:
    """The older state stays, and is one to go on from."""
    said = in_small(
        place,
        "import asyncio, os, sys, pathlib; from seawall.install.registry_move import State\n"
        "place = pathlib.Path(sys.argv[1]); file = place / 'state.json'; state = State(file)\n"
        "state.of('p/a')['sha256:1'] = 'there'; asyncio.run(state.save())\n"
        "(place / 'filler').write_bytes(bytes(4096)); state.of('p/b')['sha256:2'] = 'there'\n"
        "try: asyncio.run(state.save())\n"
        "except OSError as error: print(error.filename, error.strerror)\n"
        "print(sorted(os.listdir(place)))\n"
        "(place / 'filler').unlink(); print(State(file).of('p/a'))\n",
    )
    state = f"{place.small}/state.json {FULL}\n"
    assert said == f"{state}['filler', 'state.json']\n{{'sha256:1': 'there'}}\n"


def test_no_half_line_of_secrets(place: Place) -> None:
    """A line that does not fit is not there by half: the next run would go on in it."""
    said = in_small(
        place,
        "import sys, pathlib; from seawall.install import migrate\n"
        "from seawall.install.harbor_api import Side\n"
        "place = pathlib.Path(sys.argv[1]); (place / 'filler').write_bytes(bytes(4096))\n"
        "secrets = place / 'secrets'; secrets.write_text('x' * 4085 + chr(10))\n"
        "side = Side('http://127.0.0.1:9', 'a', 'b', False)\n"
        "run = migrate.Migration(side, side, secrets_file=secrets)\n"
        "try: run._secret('user', 'alice', 'Correct-horse-1')\n"
        "except Exception as error: print(error)\n"
        "print(len(secrets.read_text()))\n",
    )
    assert "user alice was made, but its secret is in no file" in said
    assert FULL in said
    assert said.endswith("\n4086\n")


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
