"""A layer that costs too much or cannot be read is an error, never a layer without packages."""

from __future__ import annotations

import io
import sqlite3
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from seawall.features.scan import catalog
from seawall.features.scan.analyze import analyze
from seawall.features.scan.layers import LayerError, LayerLimitError
from seawall.features.scan.model import Found, Limits
from seawall.features.scan.parsers.base import ParseError

RPM = "var/lib/rpm/rpmdb.sqlite"


def layer(path: str, data: bytes) -> bytes:
    """A layer with one file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        item = tarfile.TarInfo(path)
        item.size = len(data)
        tar.addfile(item, io.BytesIO(data))
    return out.getvalue()


def read(path: str, data: bytes, limits: Limits | None = None) -> list[str]:
    """Notes about the layer. Raises LayerError."""
    packed = layer(path, data)
    return analyze(lambda: io.BytesIO(packed), (), limits or Limits()).notes


def rpm_database(tmp_path: Path, *statements: str) -> bytes:
    file = tmp_path / "rpmdb.sqlite"
    connection = sqlite3.connect(file)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    return file.read_bytes()


def bomb(member: str) -> bytes:
    """A small archive whose member unpacks to 100 MiB."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, bytes(100 * 1024 * 1024))
    return out.getvalue()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob AS (hex(zeroblob(400000000))))",
        "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB, more AS (hex(zeroblob(400000000))))",
    ],
)
def test_a_computed_column_is_not_computed(tmp_path: Path, statement: str) -> None:
    data = rpm_database(tmp_path, statement, "INSERT INTO Packages (hnum) VALUES (1), (2), (3)")
    start = time.process_time()
    with pytest.raises(LayerLimitError, match="computes"):
        read(RPM, data)
    assert time.process_time() - start < 5


@pytest.mark.parametrize("path", [RPM, "var/lib/rpm/Packages", "usr/share/rpm/Packages.db"])
def test_a_list_of_packages_that_cannot_be_read_is_an_error(path: str) -> None:
    with pytest.raises(LayerError):
        read(path, b"no database at all")
    with pytest.raises(LayerLimitError):
        read(path, b"x" * 2000, Limits(binary_bytes=1000, file_bytes=1000))


@pytest.mark.parametrize("member", ["inner.jar", "META-INF/MANIFEST.MF"])
def test_an_archive_that_unpacks_to_too_much_is_an_error(member: str) -> None:
    with pytest.raises(LayerLimitError):
        read("app/a.jar", bomb(member))


def test_a_broken_archive_among_others_is_noted() -> None:
    [note] = read("app/a.jar", b"no archive")
    assert "not a readable archive" in note


@pytest.mark.parametrize("swallowed", [False, True], ids=["ended", "told on by a library"])
def test_a_parser_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch, *, swallowed: bool) -> None:
    def endless(_data: bytes, _path: str) -> list[Found]:
        try:
            while True:
                pass
        except Exception as error:
            if not swallowed:
                raise
            raise ParseError(f"library: {error}") from None

    monkeypatch.setattr(catalog, "choose", lambda _path, _mode: catalog.Cataloger("x", endless))
    with pytest.raises(LayerLimitError, match="too long"):
        read("x", b"x", Limits(parse_seconds=1))
